//! What was used adds up: in the turn, in its conversation and in the session; live and reloaded.

use agent_runtime::proto::{self, TurnStatus, Usage, session_event::Kind};

use serde_json::json;

use crate::support::{Server, get, play, scripted};

fn usage(factor: i64) -> Usage {
    Usage {
        input_tokens: 100 * factor,
        output_tokens: 20 * factor,
        cache_read_tokens: 3 * factor,
        cache_write_tokens: 4 * factor,
        thinking_tokens: 5 * factor,
        total_tokens: 127 * factor,
        cost_micro_usd: 600 * factor,
    }
}

#[tokio::test]
async fn what_was_used_adds_up_everywhere() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let step = |factor: i64, model: &str| {
        let used = usage(factor);
        format!(
            r#"{{"usage":{{"input_tokens":{},"output_tokens":{},"cache_read_tokens":{},"cache_write_tokens":{},
                "thinking_tokens":{},"cost_micro_usd":{}}},"model":"{model}"}}"#,
            used.input_tokens,
            used.output_tokens,
            used.cache_read_tokens,
            used.cache_write_tokens,
            used.thinking_tokens,
            used.cost_micro_usd
        )
    };
    let one = format!("[{},{{\"say\":\"Well.\"}},{}]", step(1, "scripted-1"), step(2, "scripted-1"));
    let played = play(&mut sessions, &id, &one).await;
    assert_eq!((played.turn.status(), played.turn.usage), (TurnStatus::Completed, Some(usage(3))));
    let failing = format!("[{},{{\"error\":\"no idea\"}}]", step(4, "scripted-2"));
    let played = play(&mut sessions, &id, &failing).await;
    assert_eq!((played.turn.status(), played.turn.usage), (TurnStatus::Failed, Some(usage(4))));
    let played = play(&mut sessions, &id, "hello").await;
    assert_eq!(played.turn.usage.unwrap_or_default(), Usage::default(), "words cost nothing");

    let told: Vec<(Usage, Usage)> = played
        .events
        .iter()
        .filter_map(|event| match &event.kind {
            Some(Kind::ConversationUpdated(update)) => {
                let conversation = update.conversation.as_ref().expect("a conversation");
                Some((conversation.usage.unwrap_or_default(), update.session_usage.unwrap_or_default()))
            }
            _ => None,
        })
        .collect();
    assert_eq!(told, [0, 1, 3, 7].map(|factor| (usage(factor), usage(factor))));
    let [conversation] = &played.state.conversations[..] else { panic!("{:?}", played.state.conversations) };
    assert_eq!((conversation.conversation_id.as_str(), conversation.model.as_str()), ("main", "scripted-2"));
    assert_eq!(conversation.usage, Some(usage(7)));
    assert_eq!(get(&mut sessions, &id).await.usage, Some(usage(7)));
}

#[tokio::test]
async fn a_turn_says_who_asked_for_it_and_its_blocks_whose_they_are() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let mut turns = Vec::new();
    for script in [r#"[{"say":"One."},{"tool":"Bash","output":"a"}]"#, r#"[{"think":"Two."}]"#, r#"[{"exit":1}]"#] {
        let played = play(&mut sessions, &id, script).await;
        assert_eq!(played.turn.origin(), proto::TurnOrigin::User);
        assert_eq!(played.turn.created_by.as_ref().expect("somebody").subject, "local");
        let mine = played.state.blocks.iter().filter(|block| block.turn_id == played.turn.turn_id);
        assert_eq!(mine.clone().next().expect("a block").block_id, played.turn.block_id, "the user's comes first");
        assert!(mine.clone().all(|block| block.conversation_id == "main"));
        turns.push((played.turn.turn_id.clone(), mine.count()));
        assert_eq!(played.state.turns.last(), Some(&played.turn));
    }
    assert_eq!(turns.iter().map(|(_, blocks)| *blocks).collect::<Vec<_>>(), [4, 2, 1]);
}

#[tokio::test]
async fn what_an_agent_says_unasked_is_a_turn_of_its_own() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    // As an agent would whose background work came to an end: a turn that ends, and another that nobody asked for.
    let usage = ["input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "thinking_tokens"];
    let usage: serde_json::Map<_, _> =
        usage.into_iter().chain(["cost_micro_usd"]).map(|name| (name.to_owned(), 0.into())).collect();
    let result = json!({ "result": { "outcome": "completed", "message": "", "retryable": false, "usage": usage } });
    let start = json!({ "turn_start": { "id": "nobody" } });
    let script = json!([
        { "say": "Asked." },
        { "raw": format!("{result}\n{start}\n") },
        { "say": "Unasked." },
    ]);
    let script = script.to_string();
    play(&mut sessions, &id, &script).await;
    // The last message is accepted only after the unasked turn.
    let played = loop {
        match get(&mut sessions, &id).await.active_turn {
            Some(_) => tokio::task::yield_now().await,
            None => break play(&mut sessions, &id, "hello").await,
        }
    };
    let turns = &played.state.turns;
    assert_eq!(turns.len(), 3, "{turns:#?}");
    let origins: Vec<_> = turns.iter().map(proto::Turn::origin).collect();
    assert_eq!(origins, [proto::TurnOrigin::User, proto::TurnOrigin::Agent, proto::TurnOrigin::User]);
    assert!(turns.iter().all(|turn| turn.status() == TurnStatus::Completed));
    assert_eq!(turns[1].created_by.as_ref().expect("somebody").kind(), proto::PrincipalKind::Agent);
    assert_eq!(turns[1].block_id, "");
    let owners: Vec<_> = played.state.blocks.iter().map(|block| block.turn_id.as_str()).collect();
    let [asked, unasked, last] = [0, 1, 2].map(|at| turns[at].turn_id.as_str());
    assert_eq!(owners, [asked, asked, unasked, last, last]);
}
