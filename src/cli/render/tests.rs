//! What people see, without its colours: each block once, in order, however its text came.

use std::{cell::RefCell, io, rc::Rc};

use serde_json::{Value, json};

use super::Renderer;
use crate::{client::State, proto};

#[derive(Clone, Default)]
struct Screen(Rc<RefCell<Vec<u8>>>);

impl io::Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Screen {
    fn raw(&self) -> String {
        String::from_utf8(self.0.borrow().clone()).unwrap()
    }

    fn text(&self) -> String {
        anstream::adapter::strip_str(&self.raw()).to_string()
    }
}

fn render(events: &[Value]) -> Screen {
    let screen = Screen::default();
    let (mut renderer, mut state) = (Renderer::new(screen.clone(), false), State::default());
    for value in events {
        let event = proto::from_json("agentruntime.v1.SessionEvent", &value.to_string()).unwrap();
        state.apply(&event);
        renderer.event(&event, &state).unwrap();
    }
    renderer.end().unwrap();
    screen
}

fn shown(events: &[Value]) -> String {
    render(events).text()
}

fn block(id: &str, state: &str, kind: &str, content: Value) -> Value {
    json!({"blockId": id, "conversationId": "main", "state": format!("BLOCK_STATE_{state}"), kind: content})
}

fn start(block: Value) -> Value {
    json!({"blockStart": {"block": block}})
}

fn complete(block: Value) -> Value {
    json!({"blockComplete": {"block": block}})
}

fn delta(id: &str, text: &str, offset: usize) -> Value {
    json!({"blockDelta": {"blockId": id, "delta": text, "offset": offset.to_string()}})
}

fn text(id: &str, state: &str, text: &str) -> Value {
    block(id, state, "assistantText", json!({"text": text}))
}

#[test]
fn text_looks_the_same_in_pieces_merged_whole_and_in_a_snapshot() {
    let words = "one **two** `three`\n\n```sh\nls # x\n```\n# Four\nfive * six";
    let expected = format!("{words}\n");
    let whole = complete(text("a", "COMPLETE", words));
    assert_eq!(shown(std::slice::from_ref(&whole)), expected);
    for size in 1..words.len() {
        let mut events = vec![start(text("a", "STREAMING", ""))];
        let pieces = words.as_bytes().chunks(size).map(|piece| std::str::from_utf8(piece).unwrap());
        events.extend(pieces.enumerate().map(|(index, piece)| delta("a", piece, index * size)));
        assert_eq!(shown(&events).trim_end(), expected.trim_end(), "in pieces of {size}, not complete");
        events.push(whole.clone());
        assert_eq!(shown(&events), expected, "in pieces of {size}");
    }
    let snapshot = [
        json!({"snapshotStart": {}}),
        json!({"snapshotChunk": {"state": {"session": {}, "blocks": [text("a", "COMPLETE", words)]}}}),
        json!({"sequence": "9", "snapshotComplete": {}}),
    ];
    assert_eq!(shown(&snapshot), expected);
    assert_eq!(shown(&[&snapshot[..], &snapshot[..], &[whole]].concat()), expected, "never twice");
}

#[test]
fn one_block_at_a_time_in_the_order_of_their_start() {
    let events = [
        start(text("a", "STREAMING", "")),
        start(text("b", "STREAMING", "")),
        delta("b", "second", 0),
        delta("a", "first", 0),
        complete(text("b", "COMPLETE", "second, done")),
    ];
    assert_eq!(shown(&events), "first\n");
    assert_eq!(shown(&[&events[..], &[complete(text("a", "COMPLETE", "first"))]].concat()), "first\n\nsecond, done\n");
}

fn tool(id: &str, status: &str, input: &str) -> Value {
    let state = if status == "SUCCEEDED" { "COMPLETE" } else { "STREAMING" };
    let tool = json!({
        "toolUseId": id, "toolName": "Bash", "inputJson": input, "status": format!("EXECUTION_STATUS_{status}"),
    });
    block(id, state, "toolUse", tool)
}

fn result(id: &str, state: &str, content: Value) -> Value {
    let mut content = content;
    content["toolUseId"] = json!(id);
    block(&format!("r{id}"), state, "toolResult", content)
}

#[test]
fn a_tool_call_is_shown_when_its_input_is_known_and_its_result_below_it() {
    let events = [
        start(tool("t", "PENDING", "")),
        delta("t", "{\"command\":", 0),
        delta("t", "\"ls -l\"}", 11),
        start(result("t", "STREAMING", json!({"text": ""}))),
        delta("rt", "a\nb", 0),
        complete(result("t", "COMPLETE", json!({"text": "a\nb\n", "exitCode": 2}))),
        complete(tool("t", "SUCCEEDED", "{\"command\":\"ls -l\"}")),
    ];
    assert_eq!(shown(&events[..2]), "");
    assert_eq!(shown(&events[..3]), "● Bash  ls -l\n");
    assert_eq!(shown(&events[..5]), "● Bash  ls -l\n  │ a\n", "a line that may still grow waits");
    assert_eq!(shown(&events), "● Bash  ls -l\n  │ a\n  │ b\n  │ exit status 2\n");
}

#[test]
fn results_away_from_their_call_say_whose_they_are() {
    let events = [
        start(tool("1", "RUNNING", "{\"command\":\"one\"}")),
        start(tool("2", "RUNNING", "{\"command\":\"two\"}")),
        complete(result("2", "COMPLETE", json!({"text": "of two"}))),
        complete(result("1", "COMPLETE", json!({}))),
    ];
    let expected = "● Bash  one\n\n● Bash  two\n  │ of two\n\n○ Bash  one\n  │ (no output)\n";
    assert_eq!(shown(&events), expected);
}

#[test]
fn a_long_result_is_cut_and_says_by_how_much() {
    let lines = |count: usize| (1..=count).map(|n| n.to_string()).collect::<Vec<_>>().join("\n");
    let cut = |count| shown(&[complete(result("t", "COMPLETE", json!({"text": lines(count)})))]);
    assert!(cut(10).ends_with("  │ 9\n  │ 10\n"), "{}", cut(10));
    assert!(cut(11).ends_with("  │ 10\n  │ … 1 more line\n"), "{}", cut(11));
    assert!(cut(90).ends_with("  │ 10\n  │ … 80 more lines\n"), "{}", cut(90));
}

#[test]
fn a_turn_ends_with_its_totals_once_and_below_its_blocks() {
    let turn = json!({"turnUpdated": {"turn": {
        "turnId": "t", "status": "TURN_STATUS_FAILED", "startTime": "2026-01-01T00:00:00Z",
        "endTime": "2026-01-01T00:01:02.500Z", "error": {"message": "broke"},
        "usage": {"inputTokens": "1000", "cacheReadTokens": "234", "outputTokens": "5", "costMicroUsd": "12300"},
    }}});
    let line = "✗ failed  1 min 2 s · 1,234 tokens in · 5 out · $0.0123\n";
    assert_eq!(shown(&[turn.clone(), turn.clone()]), format!("{line}  broke\n"));
    let error = complete(block("e", "COMPLETE", "error", json!({"message": "broke"})));
    assert_eq!(shown(&[error, turn]), format!("✗ broke\n\n{line}"), "an error is said once");
}

#[test]
fn what_agents_print_cannot_steer_the_terminal() {
    let screen = render(&[complete(text("a", "COMPLETE", "a\u{1b}]0;title\u{7}b\u{9b}2Jc\u{8}d"))]);
    assert_eq!(screen.raw(), "ab2Jcd\n");
}

#[test]
fn subagents_stand_behind_a_margin() {
    let mut inner = text("a", "COMPLETE", "one\ntwo");
    inner["conversationId"] = json!("agent-1");
    let call = block("s", "STREAMING", "subagent", json!({"name": "reviewer", "input": "look"}));
    assert_eq!(shown(&[start(call), complete(inner)]), "◆ reviewer  look\n\n┊ one\n┊ two\n");
}

#[test]
fn what_is_asked_and_what_changed_gets_a_line() {
    let events = [
        json!({"permissionRequested": {"permission": {"permissionId": "p1", "title": "Run npm test"}}}),
        json!({"filesChanged": {"changes": [
            {"kind": "FILE_CHANGE_KIND_CREATED", "file": {"path": "a.txt"}},
            {"kind": "FILE_CHANGE_KIND_DELETED", "file": {"path": "b.txt"}},
        ]}}),
        json!({"sequence": "1", "firstSequence": "1", "bookmark": {}}),
    ];
    assert_eq!(shown(&events), "? Run npm test (p1)\n\n+ a.txt  - b.txt\n");
}
