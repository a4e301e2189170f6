//! The model's API refuses, and the real Claude Code CLI tries again, gives up, or is killed; and what each turn cost.

use agent_runtime::proto::{
    self, BlockState, ErrorReason, SystemNoticeKind, TurnStatus, Usage, block::Content, session_event::Kind,
};
use serde_json::{Value, json};

use crate::{
    claude::{kill_programs, script, session, start, texts},
    support::{Played, last_turn, play, send, snapshot, stop, until, until_end_of, watch},
};

fn notices(played: &Played) -> Vec<&proto::SystemNotice> {
    let contents = played.contents().into_iter();
    contents.filter_map(|content| if let Content::System(notice) = content { Some(notice) } else { None }).collect()
}

#[tokio::test]
async fn a_busy_model_is_asked_again_and_the_turn_tells_so() {
    let script = script(json!([
        { "status": 529, "message": "overloaded", "times": 1, "retry_after": 0 },
        { "answer": [{ "text": "Now it works." }] },
    ]));
    let Some((server, model)) = start(script).await else { return };
    let mut sessions = server.sessions().await;
    let id = session(&mut sessions).await;
    let played = play(&mut sessions, &id, "Are you there?").await;
    assert_eq!((played.turn.status(), &played.turn.error), (TurnStatus::Completed, &None));
    assert_eq!(texts(&played), ["Now it works."]);
    let again = notices(&played).into_iter().find(|notice| notice.message.contains("trying again")).expect("a notice");
    assert_eq!(again.kind(), SystemNoticeKind::Status);
    let told: Value = serde_json::from_str(&again.metadata_json).expect("JSON");
    assert_eq!((&told["http_status"], &told["attempt"]), (&json!(529), &json!(1)));
    assert!(played.unparsed().is_empty() && played.logged().is_empty(), "{:?}", played.logged());
    model.shutdown().await;
}

#[tokio::test]
async fn a_request_that_is_wrong_fails_its_turn_for_good() {
    let script = script(json!([
        { "when": "wrong", "status": 400, "message": "messages: at least one is bad" },
        { "when": "right", "answer": [{ "text": "Fine." }] },
    ]));
    let Some((server, model)) = start(script).await else { return };
    let mut sessions = server.sessions().await;
    let id = session(&mut sessions).await;
    let played = play(&mut sessions, &id, "This is wrong.").await;
    assert_eq!(played.turn.status(), TurnStatus::Failed);
    let error = played.turn.error.clone().expect("a cause");
    assert_eq!((error.reason(), error.retryable), (ErrorReason::AgentFailed, false), "{error:?}");
    assert_eq!(error.metadata["http_status"], "400");
    let shown = played.contents().into_iter().find(|content| matches!(content, Content::Error(_)));
    assert!(shown.is_some(), "the failure is not shown: {:?}", played.contents());
    let played = play(&mut sessions, &id, "This is right.").await;
    assert_eq!(played.turn.status(), TurnStatus::Completed, "{:?}", played.turn.error);
    model.shutdown().await;
}

#[tokio::test]
async fn a_block_that_a_kill_cuts_is_interrupted_and_the_next_message_works() {
    let script = script(json!([
        { "answer": [{ "count": 100_000, "pace_us": 5000 }] },
        { "when": "after", "answer": [{ "text": "Here again." }] },
    ]));
    let Some((server, model)) = start(script).await else { return };
    let mut sessions = server.sessions().await;
    let id = session(&mut sessions).await;
    let (turn, sequence) = send(&mut sessions, &id, "Count.").await.expect("accepted");
    let mut stream = watch(&mut sessions, &id, Some(sequence)).await.expect("a watch");
    let mut events = until(&mut stream, |event| matches!(event.kind, Some(Kind::BlockDelta(_)))).await;
    kill_programs(&server);
    events.extend(until_end_of(&mut stream, &turn.turn_id).await);
    let failed = last_turn(&events);
    let error = failed.error.clone().expect("a cause");
    assert_eq!((failed.status(), error.reason()), (TurnStatus::Failed, ErrorReason::AgentFailed));
    assert!(error.message.contains("signal 9"), "{error:?}");
    let (state, _) = snapshot(&mut sessions, &id).await;
    let cut = state.blocks.iter().find(|block| matches!(block.content, Some(Content::AssistantText(_)))).expect("text");
    assert_eq!(cut.state(), BlockState::Interrupted);
    let Some(Content::AssistantText(text)) = &cut.content else { panic!("{cut:?}") };
    assert!(text.text.starts_with("0000000000000000001 "), "{text:?}");
    let played = play(&mut sessions, &id, "And after that?").await;
    assert_eq!(played.turn.status(), TurnStatus::Completed, "{:?}", played.turn.error);
    assert_eq!(texts(&played).last(), Some(&"Here again."));
    model.shutdown().await;
}

#[tokio::test]
async fn each_turn_costs_its_own_also_after_the_agent_was_resumed() {
    let step = |factor: i64| {
        let usage = json!({ "input_tokens": 10_000 * factor, "output_tokens": 100 * factor,
                            "cache_read_tokens": 5_000 * factor, "cache_write_tokens": 1_000 * factor });
        json!({ "answer": [{ "text": format!("Answer {factor}.") }], "usage": usage })
    };
    let Some((server, model)) = start(script(json!([step(1), step(2), step(3), step(4)]))).await else { return };
    let mut sessions = server.sessions().await;
    let id = session(&mut sessions).await;
    let mut costs = Vec::new();
    for factor in 1..=4 {
        if factor == 4 {
            stop(&mut sessions, &id).await;
        }
        let played = play(&mut sessions, &id, "Go on.").await;
        assert_eq!(texts(&played).last(), Some(&&*format!("Answer {factor}.")));
        let usage = played.turn.usage.expect("usage");
        let cost_micro_usd = usage.cost_micro_usd;
        let expected = Usage {
            input_tokens: 10_000 * factor,
            output_tokens: 100 * factor,
            cache_read_tokens: 5_000 * factor,
            cache_write_tokens: 1_000 * factor,
            thinking_tokens: 0,
            total_tokens: 16_100 * factor,
            cost_micro_usd,
        };
        assert_eq!(usage, expected, "turn {factor}");
        costs.push(cost_micro_usd);
        let all = played.state.session.expect("a session").usage.expect("usage");
        assert_eq!(all.cost_micro_usd, costs.iter().sum::<i64>());
        assert_eq!(played.state.conversations[0].usage, Some(all));
    }
    // The price is the CLI's; that it is the price of one turn, its growth shows.
    assert!(costs[0] > 0, "{costs:?}");
    for (cost, factor) in costs.iter().zip(1..) {
        assert!((cost - factor * costs[0]).abs() <= factor, "{costs:?}");
    }
    model.shutdown().await;
}
