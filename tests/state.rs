//! The client's fold, event by event: what each changes, and nothing else.

use agent_runtime::{
    client::State,
    proto::{self, SessionEvent},
};
use serde_json::{Value, json};

fn event(value: &Value) -> SessionEvent {
    proto::from_json("agentruntime.v1.SessionEvent", &value.to_string()).unwrap()
}

fn as_json(state: &State) -> Value {
    serde_json::from_str(&proto::to_json("agentruntime.v1.SessionState", state.as_proto())).unwrap()
}

/// A state after its creation at sequence 1 and these events from sequence 2 on.
fn fold(events: &[Value]) -> State {
    let mut state = State::default();
    state.apply(&event(&json!({"sequence": "1", "eventTime": time(1), "sessionCreated": {"session": {
        "sessionId": "s", "uid": "u", "status": "SESSION_STATUS_IDLE", "sequence": "1", "oldestSequence": "1",
    }}})));
    for (value, sequence) in events.iter().zip(2..) {
        let mut value = value.clone();
        value["sequence"] = json!(format!("{sequence}"));
        value["eventTime"] = json!(time(sequence));
        state.apply(&event(&value));
    }
    state
}

fn time(second: i64) -> String {
    format!("2026-01-01T00:00:{second:02}Z")
}

/// What of the state is not what the creation left, beside sequence and time, which are checked.
fn changed(events: &[Value]) -> Value {
    let mut state = as_json(&fold(events));
    let last = i64::try_from(events.len()).unwrap() + 1;
    assert_eq!(state["session"]["sequence"], json!(last.to_string()));
    assert_eq!(state["session"]["lastActivityTime"], json!(time(last)));
    let before = as_json(&fold(&[]));
    assert_eq!(before["session"]["oldestSequence"], Value::Null, "unset inside a state");
    let session = state["session"].as_object_mut().unwrap();
    session.retain(|name, value| {
        !matches!(name.as_str(), "sequence" | "lastActivityTime") && before["session"].get(name) != Some(&*value)
    });
    if session.is_empty() {
        state.as_object_mut().unwrap().remove("session");
    }
    state
}

fn block(id: &str, text: &str) -> Value {
    json!({"blockId": id, "state": "BLOCK_STATE_STREAMING", "assistantText": {"text": text}})
}

#[test]
fn blocks_start_grow_are_patched_and_end() {
    let start = json!({"blockStart": {"block": block("b", "")}});
    let delta = |text: &str, offset: usize| json!({"blockDelta": {"blockId": "b", "delta": text, "offset": offset.to_string()}});
    let text = |events: &[Value]| changed(events)["blocks"][0]["assistantText"]["text"].clone();
    assert_eq!(text(&[start.clone(), delta("ab", 0), delta("cd", 2)]), json!("abcd"));
    assert_eq!(text(&[start.clone(), delta("ab", 0), delta("abcd", 0)]), json!("abcd"), "what is held is skipped");
    assert_eq!(text(&[start.clone(), delta("äb", 0), delta("äbc", 0)]), json!("äbc"), "offsets are bytes");
    assert_eq!(text(&[start.clone(), delta("ab", 0), delta("x", 7)]), json!("ab"), "a hole is not closed");
    let merged = text(&[start.clone(), delta("ab", 0), delta("cd", 2), delta("ef", 4)]);
    assert_eq!(text(&[start.clone(), delta("abcdef", 0)]), merged, "merged or not is the same");
    let done = json!({"blockComplete": {"block": {"blockId": "b", "assistantText": {"text": "whole"}}}});
    assert_eq!(text(&[start.clone(), delta("ab", 0), done.clone()]), json!("whole"));
    assert_eq!(
        changed(&[done, start.clone(), start])["blocks"],
        json!([block("b", "")
            .as_object()
            .unwrap()
            .iter()
            .map(|(k, v)| (k.clone(), v.clone()))
            .map(|(k, v)| if k == "assistantText" { (k, json!({})) } else { (k, v) })
            .collect::<serde_json::Map<_, _>>()])
    );
    assert_eq!(changed(&[delta("x", 0)]), json!({}), "a block that is not there does not grow");
}

#[test]
fn the_growing_field_is_the_kinds_own() {
    for (content, field) in [("thinking", "text"), ("toolUse", "inputJson"), ("toolResult", "text")] {
        let state = changed(&[
            json!({"blockStart": {"block": {"blockId": "b", content: {}}}}),
            json!({"blockDelta": {"blockId": "b", "delta": "x"}}),
        ]);
        assert_eq!(state["blocks"][0][content][field], json!("x"), "{content}");
    }
    let error = json!({"blockStart": {"block": {"blockId": "b", "error": {"message": "m"}}}});
    let grown = changed(&[error, json!({"blockDelta": {"blockId": "b", "delta": "x"}})]);
    assert_eq!(grown["blocks"][0]["error"], json!({"message": "m"}));
}

#[test]
fn a_patch_replaces_what_it_sets_and_what_the_content_has() {
    let patch = json!({"blockUpdate": {
        "blockId": "b", "status": "EXECUTION_STATUS_RUNNING", "inputJson": "{}", "truncatedBytes": "9",
        "duration": "1.500s", "displayName": "n", "description": "d", "summary": "s", "output": "o", "exitCode": 0,
    }});
    let patched = |content: &str, held: Value| {
        let start = json!({"blockStart": {"block": {"blockId": "b", content: held}}});
        let block = &changed(&[start, patch.clone()])["blocks"][0];
        assert_eq!(block["truncatedBytes"], json!("9"));
        block[content].clone()
    };
    assert_eq!(
        patched("toolUse", json!({"toolName": "Bash", "inputJson": "{\"a\":"})),
        json!({"toolName": "Bash", "inputJson": "{}", "status": "EXECUTION_STATUS_RUNNING", "displayName": "n", "description": "d"})
    );
    assert_eq!(patched("toolResult", json!({"text": "t"})), json!({"text": "t", "duration": "1.500s", "exitCode": 0}));
    assert_eq!(patched("thinking", json!({"text": "t"})), json!({"text": "t", "summary": "s"}));
    assert_eq!(
        patched("subagent", json!({"name": "x"})),
        json!({"name": "x", "status": "EXECUTION_STATUS_RUNNING", "output": "o", "duration": "1.500s"})
    );
    assert_eq!(patched("assistantText", json!({"text": "t"})), json!({"text": "t"}));
    let nothing = json!({"blockUpdate": {"blockId": "b"}});
    let start = json!({"blockStart": {"block": {"blockId": "b", "toolResult": {"exitCode": 3}}}});
    assert_eq!(changed(&[start, nothing])["blocks"][0]["toolResult"], json!({"exitCode": 3}));
}

#[test]
fn turns_give_the_active_one_and_the_queue() {
    let turn = |id: &str, status: &str| json!({"turnId": id, "status": format!("TURN_STATUS_{status}")});
    let updated = |id: &str, status: &str| json!({"turnUpdated": {"turn": turn(id, status)}});
    let queued = |id: &str| json!({"turnQueued": {"turn": turn(id, "QUEUED")}});
    let state = changed(&[updated("a", "RUNNING"), queued("b"), queued("c")]);
    assert_eq!(
        state,
        json!({
            "session": {"activeTurn": turn("a", "RUNNING"), "queuedTurns": [turn("b", "QUEUED"), turn("c", "QUEUED")]},
            "turns": [turn("a", "RUNNING"), turn("b", "QUEUED"), turn("c", "QUEUED")],
        })
    );
    for status in ["AWAITING_INPUT", "PARKED"] {
        assert_eq!(changed(&[updated("a", status)])["session"]["activeTurn"], turn("a", status));
    }
    let over = [updated("a", "RUNNING"), queued("b"), updated("a", "COMPLETED"), updated("b", "CANCELLED")];
    assert_eq!(changed(&over), json!({"turns": [turn("a", "COMPLETED"), turn("b", "CANCELLED")]}));
    assert!(fold(&over).is_idle() && !fold(&over[..3]).is_idle() && !fold(&over[..1]).is_idle());
}

#[test]
fn the_record_changes_by_totals() {
    let update = json!({"sessionUpdated": {"name": "n", "labels": {"k": "v"}, "metadata": {"m": 1.0}, "options": {"model": "o"}, "etag": "e"}});
    let set = json!({"session": {"name": "n", "labels": {"k": "v"}, "metadata": {"m": 1.0}, "options": {"model": "o"}, "etag": "e"}});
    assert_eq!(changed(std::slice::from_ref(&update)), set);
    assert_eq!(changed(&[update, json!({"sessionUpdated": {}})]), json!({}), "empty ones replace too");

    let failed =
        json!({"statusChanged": {"status": "SESSION_STATUS_FAILED", "reason": "r", "error": {"message": "m"}}});
    let state = changed(std::slice::from_ref(&failed));
    assert_eq!(state, json!({"session": {"status": "SESSION_STATUS_FAILED", "error": {"message": "m"}}}));
    let idle = json!({"statusChanged": {"status": "SESSION_STATUS_IDLE"}});
    assert_eq!(changed(&[failed, idle]), json!({}), "an unset error replaces too");

    let sandbox = json!({"sandboxId": "x", "generation": 2});
    assert_eq!(changed(&[json!({"sandboxChanged": {"sandbox": sandbox}})]), json!({"session": {"sandbox": sandbox}}));

    let talk = json!({"conversationUpdated": {"conversation": {"conversationId": "main", "model": "m"}, "sessionUsage": {"totalTokens": "5"}}});
    assert_eq!(
        changed(&[talk.clone(), talk]),
        json!({"session": {"usage": {"totalTokens": "5"}}, "conversations": [{"conversationId": "main", "model": "m"}]})
    );
    let anew = json!({"sessionCreated": {"session": {"sessionId": "t"}}});
    let state = as_json(&fold(&[json!({"blockStart": {"block": block("b", "x")}}), anew]));
    assert_eq!(state, json!({"session": {"sessionId": "t", "sequence": "3", "lastActivityTime": time(3)}}));
}

#[test]
fn questions_and_permissions_are_asked_and_answered() {
    let allowed = json!({"outcome": "INPUT_OUTCOME_ALLOWED"});
    for (list, name, id) in [("permissions", "permission", "permissionId"), ("questions", "question", "questionId")] {
        let request = json!({format!("{name}Requested"): {name: {id: "p", "turnId": "t"}}});
        let answer = |which: &str| json!({format!("{name}Resolved"): {id: which, "resolution": allowed}});
        assert_eq!(changed(&[request.clone(), answer("other")]), json!({list: [{id: "p", "turnId": "t"}]}));
        assert_eq!(
            changed(&[request.clone(), answer("p")]),
            json!({list: [{id: "p", "turnId": "t", "resolution": allowed}]})
        );
    }
    let rules = |tool: &str| json!({"permissionRulesChanged": {"rules": [{"toolName": tool}]}});
    assert_eq!(changed(&[rules("a"), rules("b")]), json!({"permissionRules": [{"toolName": "b"}]}));
}

#[test]
fn files_stay_sorted_by_the_bytes_of_their_paths() {
    let change = |kind: &str, path: &str, from: &str| json!({"kind": format!("FILE_CHANGE_KIND_{kind}"), "file": {"path": path, "sha256": kind}, "previousPath": from});
    let paths = |changes: Value| {
        let state = changed(&[json!({"filesChanged": {"changes": changes}})]);
        let files = state["files"].as_array().cloned().unwrap_or_default();
        files.iter().map(|file| format!("{}:{}", file["path"], file["sha256"]).replace('"', "")).collect::<Vec<_>>()
    };
    let (a, b, upper) = (change("CREATED", "a", ""), change("CREATED", "b", ""), change("CREATED", "B", ""));
    assert_eq!(paths(json!([b, a, upper])), ["B:CREATED", "a:CREATED", "b:CREATED"]);
    assert_eq!(paths(json!([a, change("MODIFIED", "a", "")])), ["a:MODIFIED"]);
    assert_eq!(paths(json!([a, change("DELETED", "a", ""), change("DELETED", "none", "")])), [""; 0]);
    assert_eq!(paths(json!([a, b, change("RENAMED", "b", "a")])), ["b:RENAMED"]);
}

#[test]
fn history_changes_nothing_but_the_cursor() {
    for kind in [json!({"error": {}}), json!({"log": {}}), json!({"unparsedOutput": {}}), json!({})] {
        assert_eq!(changed(&[kind]), json!({}));
    }
}

#[test]
fn a_snapshot_is_merged_from_its_chunks_and_a_bookmark_moves_the_cursor_only() {
    let mut state = fold(&[json!({"blockStart": {"block": block("old", "x")}})]);
    let frames = [
        json!({"snapshotStart": {}}),
        json!({"snapshotChunk": {"state": {
            "session": {"sessionId": "s", "sequence": "40", "lastActivityTime": time(40)}, "blocks": [block("b1", "1")],
        }}}),
        json!({"snapshotChunk": {"state": {"blocks": [block("b2", "2")], "turns": [{"turnId": "t"}]}}}),
        json!({"sequence": "40", "eventTime": time(50), "snapshotComplete": {}}),
    ];
    for frame in &frames {
        state.apply(&event(frame));
    }
    let mut whole = json!({
        "session": {"sessionId": "s", "sequence": "40", "lastActivityTime": time(50)},
        "turns": [{"turnId": "t"}], "blocks": [block("b1", "1"), block("b2", "2")],
    });
    assert_eq!(as_json(&state), whole, "the chunks are the state, and the last frame has a sequence as events have");
    state.apply(&event(&json!({"sequence": "45", "firstSequence": "41", "eventTime": time(55), "bookmark": {}})));
    whole["session"]["sequence"] = json!("45");
    assert_eq!(as_json(&state), whole);
}
