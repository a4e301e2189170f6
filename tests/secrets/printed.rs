//! An agent that prints all it knows, in every way in which agents print something.

use agent_runtime::proto::{self, InputOutcome, SessionEvent, TurnStatus, block::Content, session_event::Kind};
use serde_json::{Value, json};

use crate::{
    canary::{Cage, content, read_until},
    support::{Sessions, check_ranges, ended, fold, last_turn, send, snapshot, watch},
};

/// Runs a message to its end; what the agent asks for is allowed.
pub(crate) async fn play(sessions: &mut Sessions, id: &str, text: &str) -> Vec<SessionEvent> {
    let mut stream = watch(sessions, id, Some(0)).await.expect("a watch");
    let (turn, _) = send(sessions, id, text).await.expect("accepted");
    let (mut events, mut answered) = (Vec::new(), 0);
    loop {
        let over = |events: &[SessionEvent]| events.iter().any(|event| ended(event, &turn.turn_id));
        let asks = |events: &[SessionEvent]| events.iter().filter_map(asked).nth(answered);
        read_until(&mut stream, &mut events, |events| over(events) || asks(events).is_some()).await;
        let Some(permission) = asks(&events) else {
            check_ranges(0, &events);
            return events;
        };
        answered += 1;
        let request = proto::ResolvePermissionRequest {
            session_id: id.into(),
            permission_id: permission.permission_id,
            option_id: "allow_once".into(),
            ..Default::default()
        };
        let resolved = sessions.resolve_permission(request).await.expect("answered").into_inner();
        let resolution = resolved.permission.and_then(|permission| permission.resolution).expect("resolved");
        assert_eq!(resolution.outcome(), InputOutcome::Allowed);
    }
}

fn asked(event: &SessionEvent) -> Option<proto::PermissionRequest> {
    match event.kind.clone() {
        Some(Kind::PermissionRequested(requested)) => requested.permission,
        _ => None,
    }
}

#[tokio::test]
async fn nothing_of_what_an_agent_prints_of_secrets_is_kept_or_shown() {
    let cage = Cage::new(&[], &[]).await;
    let server = cage.open();
    let mut sessions = server.sessions().await;
    let id = Cage::session(&mut sessions, "scripted", "").await;
    let (all, shown) = (cage.all(), cage.shown());
    let mut steps: Vec<Value> = (1..8).map(|size| json!({ "say": format!("{size}: {all}."), "size": size })).collect();
    // Octal digits for the shell, so that only its output is secret.
    let octal = all.bytes().map(|byte| format!("\\{byte:03o}")).collect::<Vec<_>>().concat();
    steps.extend([
        json!({ "think": all, "size": 3 }),
        json!({ "tool": all, "input": { "command": format!("echo {all}") }, "output": all }),
        json!({ "tool": "Json", "output": { "env": [all] } }),
        json!({ "run": format!("printf '{octal}'; env") }),
        // Far over what a block shows.
        json!({ "run": format!("for i in $(seq 4000); do printf '{octal}'; done") }),
        json!({ "stderr": all }),
        json!({ "raw": format!("no JSON: {all}\n") }),
        json!({ "ask": { "tool": "Bash", "input": { "command": all } }, "again": [{ "say": all }] }),
        json!({ "usage": { "input_tokens": 1 }, "model": all }),
        json!({ "say": all, "open": true, "size": 5 }),
        json!({ "error": all }),
    ]);
    let events = play(&mut sessions, &id, &cage.spelled(&json!(steps))).await;

    let turn = last_turn(&events);
    assert_eq!((turn.status(), &turn.error.expect("an error").message), (TurnStatus::Failed, &shown));
    let (state, _) = snapshot(&mut sessions, &id).await;
    assert_eq!(fold(&events).blocks, state.blocks, "live is not what a reload shows");
    let texts = |is_it: fn(&Content) -> Option<&str>| -> Vec<String> {
        state.blocks.iter().filter_map(|block| is_it(block.content.as_ref()?).map(str::to_owned)).collect()
    };
    let said = texts(|content| if let Content::AssistantText(text) = content { Some(&text.text) } else { None });
    let mut expected: Vec<_> = (1..8).map(|size| format!("{size}: {shown}.")).collect();
    expected.push(shown.clone());
    assert_eq!(said, expected);
    let thought = texts(|content| if let Content::Thinking(thought) = content { Some(&thought.text) } else { None });
    assert_eq!(thought, [shown.as_str()]);
    let inputs = texts(|content| if let Content::ToolUse(tool) = content { Some(&tool.input_json) } else { None });
    assert_eq!(serde_json::from_str::<Value>(&inputs[0]).expect("JSON"), json!({ "command": format!("echo {shown}") }));
    let kinds = || events.iter().filter_map(|event| event.kind.as_ref());
    assert!(kinds().any(|kind| matches!(kind, Kind::Log(line) if line.message == shown)), "nothing of stderr");
    let raw = format!("no JSON: {shown}");
    assert!(kinds().any(|kind| matches!(kind, Kind::UnparsedOutput(output) if output.raw == raw.as_bytes())));
    let permission = events.iter().find_map(asked).expect("it asked");
    assert_eq!(serde_json::from_str::<Value>(&permission.input_json).expect("JSON"), json!({ "command": shown }));

    // What is not inline is what it was without the bound.
    let long = state.blocks.iter().find(|block| block.truncated_bytes > 0).expect("a long block");
    let whole = String::from_utf8(content(&mut sessions, &id, &long.block_id).await).expect("text");
    assert!(whole == shown.repeat(4000), "{} bytes of {}", whole.len(), shown.len() * 4000);
    cage.search(server, &id, &events).await;
    cage.search_the_file();
}
