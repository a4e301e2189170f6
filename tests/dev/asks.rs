//! The scripted agent asks: what it prints, what its parser makes of it at every cut, and what an answer does.

use std::io::Cursor;

use agent_runtime::{
    agent::{self, Action, Ask, Outcome, Parser},
    dev::scripted_agent,
    domain::{Agent, Asked, BlockId, CarriedAnswer, ExecId, PermissionAnswer},
};
use serde_json::{Value, json};

use super::{parser, read, text_of};

const SCRIPT: &str =
    r#"[{"ask":{"tool":"Bash","input":{"b":1,"a":2}},"then":[{"say":"Ran."}],"else":[{"say":"Not."}]}]"#;

/// What it prints when it is given this after its message.
fn printed(script: &str, more: &[Vec<u8>]) -> (Vec<u8>, u8) {
    let mut input = crate::prompt(&BlockId::new("a"), script);
    input.extend(more.concat());
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = scripted_agent::serve(Cursor::new(input), &mut out, &mut err).expect("it plays");
    (out, code)
}

fn asks(actions: &[Action]) -> Vec<&Ask> {
    actions.iter().filter_map(|action| if let Action::Ask(ask) = action { Some(&**ask) } else { None }).collect()
}

fn outcome(actions: &[Action]) -> Option<Outcome> {
    actions.iter().find_map(|action| if let Action::TurnEnded(end) = action { Some(end.outcome.clone()) } else { None })
}

fn allow(input: &str) -> PermissionAnswer {
    PermissionAnswer::Allow { updated_input_json: input.into() }
}

#[test]
fn it_waits_for_the_answer_to_its_request_and_no_other() {
    let reject = PermissionAnswer::Reject { message: "no".into() };
    for (answer, said) in [(allow(""), "Ran."), (allow("{}"), "Ran."), (reject, "Not.")] {
        let other = parser().answer("a/9", "", &allow(""));
        let (out, code) = printed(SCRIPT, &[other, parser().answer("a/1", "", &answer)]);
        assert_eq!(code, 0);
        let actions = read(&out);
        let [ask] = asks(&actions)[..] else { panic!("{actions:?}") };
        assert_eq!((ask.agent_request_id.as_str(), ask.tool_use_id.as_str(), &*ask.tool_name), ("a/1", "a/1", "Bash"));
        assert_eq!(ask.input_json, r#"{"a":2,"b":1}"#);
        assert_eq!(text_of(&actions, "a/3"), said);
        assert_eq!(outcome(&actions), Some(Outcome::Completed));
    }
    // Without an answer, and with nothing more to come.
    let (out, code) = printed(SCRIPT, &[]);
    assert_eq!((code, outcome(&read(&out))), (1, None));
}

#[test]
fn an_interrupt_withdraws_its_request() {
    let (out, _) = printed(SCRIPT, &[agent::interrupt(Agent::Scripted, "1")]);
    let actions = read(&out);
    assert!(actions.contains(&Action::AskWithdrawn { agent_request_id: "a/1".into() }), "{actions:?}");
    assert_eq!(outcome(&actions), Some(Outcome::Interrupted));
}

#[test]
fn what_another_process_is_to_play_is_remembered_over_every_cut() {
    let again = json!([{ "say": "Here again." }]);
    let script = json!([{ "ask": { "tool": "Bash", "input": {} }, "again": again }]).to_string();
    let (out, _) = printed(&script, &[]);
    let mut whole = parser();
    whole.feed(&out, &mut Vec::new());
    for cut in 0..=out.len() {
        let (mut before, mut after) = (parser(), Vec::new());
        before.feed(&out[..cut], &mut Vec::new());
        let checkpoint = before.checkpoint();
        let mut restored = Parser::restore(Agent::Scripted, &checkpoint).expect("its own");
        let offset = usize::try_from(checkpoint.offset).expect("small");
        restored.feed(&out[offset..], &mut after);
        assert_eq!(restored.checkpoint(), whole.checkpoint(), "cut at {cut}");
    }
    let carried = |request: &str| CarriedAnswer {
        permission_id: "perm_1".into(),
        asked: Asked { exec_id: ExecId::new("exec_1"), agent_request_id: request.into(), input_sha256: String::new() },
        tool_name: "Bash".into(),
        input_json: r#"{"a":1}"#.into(),
        answer: allow(""),
    };
    let go_on = |parser: &Parser, request: &str| -> Value {
        let text = agent::go_on(Agent::Scripted, Some(&parser.checkpoint().state), &[carried(request)]);
        serde_json::from_str(&text).expect("a script")
    };
    assert_eq!(go_on(&whole, "a/1"), again);
    let same = json!([{ "ask": { "tool": "Bash", "input": { "a": 1 } } }]);
    assert_eq!(go_on(&whole, "another"), same);
    whole.answer("a/1", "", &allow(""));
    assert_eq!(go_on(&whole, "a/1"), same, "what was answered leaves nothing");
}

#[test]
fn a_step_that_asks_is_read_strictly() {
    for bad in [
        r#"[{"ask":"Bash"}]"#,
        r#"[{"ask":{"tool":"Bash"},"than":[]}]"#,
        r#"[{"ask":{"tool":"Bash"},"then":[{"sya":"x"}]}]"#,
        r#"[{"ask":{"tool":"Bash"},"again":[{"sya":"x"}]}]"#,
        r#"[{"question":[{"question":"?"}],"than":[]}]"#,
        r#"[{"question":[{"question":"?"}],"else":[{"sya":"x"}]}]"#,
    ] {
        let (out, _) = printed(bad, &[]);
        assert!(matches!(outcome(&read(&out)), Some(Outcome::Failed(_))), "{bad}");
    }
}
