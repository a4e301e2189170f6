//! Agents that go on unasked: their turns are like others, and never run beside one.

use agent_runtime::proto::{BusyPolicy, TurnOrigin, TurnStatus, block::Content, session_event::Kind};
use serde_json::json;

use crate::{
    at_work::{Seen, WORKS, agents, interrupt, send_with},
    support::{Server, get, play, reason, snapshot},
};

/// Ends the turn at work, and begins to work unasked after a while, in the words of the scripted agent.
fn goes_on_unasked(after_ms: u64, more: &serde_json::Value) -> String {
    let line = |line: &serde_json::Value| json!({ "raw": format!("{line}\n") });
    let result = json!({ "result": { "outcome": "completed", "message": "", "retryable": false, "usage": {
        "input_tokens": 0, "output_tokens": 0, "cache_read_tokens": 0, "cache_write_tokens": 0, "thinking_tokens": 0,
        "cost_micro_usd": 0 } } });
    let start = json!({ "turn_start": { "id": "unasked" } });
    let mut steps = vec![json!({ "say": "Done." }), line(&result), json!({ "pause_ms": after_ms }), line(&start)];
    steps.extend(more.as_array().expect("steps").iter().cloned());
    serde_json::Value::from(steps).to_string()
}

#[tokio::test]
async fn an_agent_that_goes_on_unasked_has_a_turn_of_its_own_and_messages_wait_for_it() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let script = goes_on_unasked(0, &json!([{ "say": "By the way." }, { "pause_ms": 600_000 }]));
    let (mut seen, first) = Seen::at_work(&mut sessions, &script).await;
    let id = seen.id.clone();
    assert_eq!(seen.end_of(&first).await.status(), TurnStatus::Completed);
    let by_itself = |event: &agent_runtime::proto::SessionEvent| match &event.kind {
        Some(Kind::TurnUpdated(updated)) => updated.turn.as_ref().expect("a turn").origin() == TurnOrigin::Agent,
        _ => false,
    };
    seen.until(by_itself).await;
    seen.until(|event| matches!(event.kind, Some(Kind::BlockComplete(_)))).await;
    let unasked = get(&mut sessions, &id).await.active_turn.expect("active");
    assert_eq!((unasked.origin(), unasked.status()), (TurnOrigin::Agent, TurnStatus::Running));
    assert_eq!((unasked.block_id.as_str(), unasked.message.as_ref()), ("", None));
    let busy = send_with(&mut sessions, &id, "hello", BusyPolicy::Reject).await.expect_err("busy");
    assert_eq!(reason(&busy), "SESSION_BUSY");
    let waits = send_with(&mut sessions, &id, r#"[{"say":"Asked."}]"#, BusyPolicy::Queue).await.expect("accepted");
    assert_eq!(waits.status(), TurnStatus::Queued);
    interrupt(&mut sessions, &id, "").await.expect("told").expect("a turn");
    assert_eq!(seen.end_of(&unasked).await.status(), TurnStatus::Interrupted);
    assert_eq!(seen.end_of(&waits).await.status(), TurnStatus::Completed);
    let state = seen.state();
    let of = |id: &str| state.blocks.iter().filter(|block| block.turn_id == id).count();
    assert_eq!((of(&unasked.turn_id), of(&waits.turn_id)), (1, 2));
}

#[tokio::test]
async fn a_message_that_was_given_before_is_answered_after_it() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let unasked = json!([{ "say": "By the way." }, { "usage": { "output_tokens": 5 }, "model": "m" }]);
    let (mut seen, first) = Seen::at_work(&mut sessions, &goes_on_unasked(500, &unasked)).await;
    let id = seen.id.clone();
    assert_eq!(seen.end_of(&first).await.status(), TurnStatus::Completed);
    // Given to the agent now, which will go on unasked before it reads it.
    let given = send_with(&mut sessions, &id, r#"[{"say":"Asked."}]"#, BusyPolicy::Reject).await.expect("accepted");
    assert_eq!(given.status(), TurnStatus::Running);
    let end = seen.end_of(&given).await;
    assert_eq!(end.status(), TurnStatus::Completed);
    let said = seen.said();
    assert_eq!(&said[1..], ["Done.", r#"> [{"say":"Asked."}]"#, "By the way.", "Asked."], "its own end is its end");
    assert_eq!(end.usage.expect("usage").output_tokens, 5, "all that was used is counted");
    assert_eq!(snapshot(&mut sessions, &id).await.0.turns.len(), 2);
}

#[tokio::test]
async fn an_interrupt_reaches_a_message_that_is_behind_what_the_agent_does_unasked() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let unasked = json!([{ "say": "By the way." }, { "pause_ms": 600_000 }]);
    let (mut seen, first) = Seen::at_work(&mut sessions, &goes_on_unasked(500, &unasked)).await;
    let id = seen.id.clone();
    assert_eq!(seen.end_of(&first).await.status(), TurnStatus::Completed);
    let given = send_with(&mut sessions, &id, WORKS, BusyPolicy::Reject).await.expect("accepted");
    let said = |event: &agent_runtime::proto::SessionEvent| match &event.kind {
        Some(Kind::BlockStart(start)) => {
            let block = start.block.as_ref().expect("a block");
            block.turn_id == given.turn_id && matches!(block.content, Some(Content::AssistantText(_)))
        }
        _ => false,
    };
    seen.until(said).await;
    let before = agents(&server);
    interrupt(&mut sessions, &id, &given.turn_id).await.expect("told").expect("a turn");
    assert_eq!(seen.end_of(&given).await.status(), TurnStatus::Interrupted);
    assert_eq!(agents(&server), before, "it had to be ended");
    let played = play(&mut sessions, &id, r#"[{"say":"Here."}]"#).await;
    assert_eq!(played.turn.status(), TurnStatus::Completed);
    assert_eq!(agents(&server), before);
}
