//! Answers of the model that break off in the middle, with the real Claude Code CLI before it: what was said stays, what comes
//! instead is there once, and the turn ends as the CLI says.

use agent_runtime::proto::{BlockState, ExecutionStatus, TurnStatus, block::Content};
use serde_json::{Value, json};

use crate::{
    claude::{sandbox, script, session, start, texts},
    support::{Played, play},
};

const WHOLE: &str = "One two three four five six seven eight nine ten.";

/// A section whose first call breaks off: after some of a text that comes slowly enough to be read until then.
fn breaks(when: &str, how: &Value) -> Value {
    let mut step = json!({ "when": when, "answer": [{ "text": WHOLE, "chunk": 4, "pace_ms": 30 }], "breaks_after": 8 });
    let fields = how.as_object().expect("fields").clone();
    step.as_object_mut().expect("a step").extend(fields);
    step
}

/// The end of the turn, of which all is told.
fn check(played: &Played, status: TurnStatus) {
    assert_eq!(played.turn.status(), status, "{:?}", played.turn);
    assert!(played.unparsed().is_empty(), "{:?}", played.unparsed());
    assert!(played.logged().is_empty(), "{:?}", played.logged());
    let open = played.state.blocks.iter().find(|block| block.state() == BlockState::Streaming);
    assert_eq!(open, None, "a block is left open");
}

/// What was said before the break: some of it, and nothing else.
fn is_part(said: &str) -> bool {
    !said.is_empty() && said.len() < WHOLE.len() && WHOLE.starts_with(said)
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_kept_as_far_as_it_came_and_asked_for_again() {
    let error = json!({ "error": "overloaded_error", "message": "Overloaded" });
    let once = |how: &Value| {
        let mut how = how.clone();
        how["times"] = json!(1);
        how
    };
    let again = json!({ "answer": [{ "text": "Whole." }] });
    let tool = json!({ "tool": "Bash", "input": { "command": "echo ran >> ran.txt", "description": "Run" } });
    let run = json!([{ "text": "I run it.", "pace_ms": 30 }, tool]);
    let mut cut_tool = json!({ "when": "cut in a call", "answer": run, "breaks_after": 7, "times": 1 });
    cut_tool["answer"][1]["pace_ms"] = json!(30);
    let steps = json!([
        breaks("cut once", &once(&json!({}))),
        again,
        breaks("error once", &once(&error)),
        again,
        breaks("cut always", &json!({})),
        breaks("error always", &error),
        cut_tool,
        { "answer": run },
        { "answer": [{ "text": "Done." }] },
    ]);
    let Some((server, model)) = start(script(steps)).await else { return };
    let mut sessions = server.sessions().await;
    for prompt in ["cut once", "error once"] {
        let id = session(&mut sessions).await;
        let played = play(&mut sessions, &id, prompt).await;
        check(&played, TurnStatus::Completed);
        let [part, whole] = texts(&played)[..] else { panic!("{prompt}: {:?}", texts(&played)) };
        assert!(is_part(part) && whole == "Whole.", "{prompt}: {part:?}, {whole:?}");
    }
    for prompt in ["cut always", "error always"] {
        let id = session(&mut sessions).await;
        let played = play(&mut sessions, &id, prompt).await;
        check(&played, TurnStatus::Failed);
        let said = texts(&played);
        assert!(!said.is_empty() && said.iter().all(|said| is_part(said)), "{prompt}: {said:?}");
        assert!(played.turn.error.is_some(), "{prompt}");
        // Its process goes on.
        let next = play(&mut sessions, &id, "cut once").await;
        check(&next, TurnStatus::Completed);
    }

    // A call of which half came is none, and is told of as one that did not run.
    let id = session(&mut sessions).await;
    let played = play(&mut sessions, &id, "cut in a call").await;
    check(&played, TurnStatus::Completed);
    let calls = played.state.blocks.iter().filter_map(|block| match &block.content {
        Some(Content::ToolUse(tool)) => Some((block.state(), tool.status())),
        _ => None,
    });
    let half = (BlockState::Interrupted, ExecutionStatus::Failed);
    let whole = (BlockState::Complete, ExecutionStatus::Succeeded);
    let calls: Vec<_> = calls.collect();
    assert_eq!(calls.last(), Some(&whole), "{calls:?}");
    // What comes just before a cut may be lost with it.
    assert!(calls.iter().rev().skip(1).all(|call| *call == half), "{calls:?}");
    assert_eq!(texts(&played).last(), Some(&"Done."));
    let file = sandbox(&server, &mut sessions, &id).await.join("workspace/ran.txt");
    assert_eq!(std::fs::read_to_string(file).expect("made"), "ran\n");
    model.shutdown().await;
}
