//! What a strict rule is about, the real Claude Code CLI asks about in every mode, however the rule is said.

use agent_runtime::proto::{self, PermissionEffect, TurnStatus};
use serde_json::{Value, json};

use crate::{
    asked::Asked,
    claude::{session, start, workspace},
    policy::{rule, session_of},
    rules::{always, ruled, rules},
    support::{Sessions, stop},
};

/// Changes when a session's agent asks.
async fn set_mode(sessions: &mut Sessions, id: &str, mode: &str) {
    let options = proto::SessionOptions { permission_mode: mode.into(), ..Default::default() };
    let session = proto::Session { session_id: id.into(), options: Some(options), ..Default::default() };
    let update_mask = Some(prost_types::FieldMask { paths: vec!["options.permission_mode".into()] });
    let request = proto::UpdateSessionRequest { session: Some(session), update_mask, ..Default::default() };
    sessions.update_session(request).await.expect("taken");
}

fn call(tool: &str, input: &Value) -> Value {
    json!({ "tool": tool, "input": input })
}

fn write(path: &str) -> Value {
    call("Write", &json!({ "file_path": format!("{{{{cwd}}}}/{path}"), "content": "x" }))
}

#[tokio::test]
async fn the_real_cli_asks_in_the_mode_that_asks_nothing_about_what_a_rule_rejects() {
    let path = |path: &str| json!({ "file_path": format!("{{{{cwd}}}}/{path}") });
    let agent = json!({ "description": "x", "prompt": "x", "subagent_type": "general-purpose" });
    // The rules of a profile, the calls, and whether a rule rejects each.
    let rows = [
        (
            vec![("Write", "src/**"), ("Edit", "/lib/**"), ("Read", "/secret/**"), ("Agent", "general-purpose")],
            vec![
                (write("secret/a"), false),
                (write("src/a"), true),
                (write("lib/a"), true),
                (call("Read", &path("secret/a")), true),
                (call("Agent", &agent), true),
                (write("other/a"), false),
            ],
        ),
        (vec![("Edit", ""), ("Read", "")], vec![(write("a"), true), (call("Read", &path("there")), true)]),
    ];
    for (rules, calls) in rows {
        let mut steps = vec![json!({ "answer": [call("Bash", &json!({ "command": "echo x > there" }))] })];
        steps.extend(calls.iter().map(|(call, _)| json!({ "answer": [call] })));
        steps.push(json!({ "answer": [{ "text": "Done." }] }));
        let Some((server, model)) = start(json!(steps)).await else { return };
        let mut sessions = server.sessions().await;
        let policy = proto::PermissionPolicy {
            rules: rules.iter().map(|(tool, pattern)| rule(tool, pattern, PermissionEffect::Reject)).collect(),
            // What is asked without a rule's need is seen, and nobody is waited for.
            default_effect: PermissionEffect::Allow.into(),
            ..Default::default()
        };
        let id = session_of(&server, &mut sessions, "claude-code", policy).await.session_id;
        set_mode(&mut sessions, &id, "bypassPermissions").await;
        let mut asked = Asked::given(&mut sessions, id, "Go.").await;
        assert_eq!(asked.end().await.status(), TurnStatus::Completed);
        let results = asked.results();
        let rejected: Vec<_> = results.iter().skip(1).map(|result| result.is_error).collect();
        let expected: Vec<_> = calls.iter().map(|(_, rejected)| *rejected).collect();
        assert_eq!(rejected, expected, "{rules:?}: {:#?}", ruled(&asked));
        let by_rule = ruled(&asked).into_iter().filter(|by| by.effect() == PermissionEffect::Reject).count();
        assert_eq!(by_rule, expected.iter().filter(|rejected| **rejected).count(), "{:#?}", ruled(&asked));
        model.shutdown().await;
    }
}

/// A turn of one shell command for each prompt.
fn commands(commands: &[(&str, &str)]) -> Value {
    let steps = commands.iter().flat_map(|(when, command)| {
        let call = call("Bash", &json!({ "command": command, "description": "Work" }));
        [json!({ "when": when, "answer": [call] }), json!({ "answer": [{ "text": "Done." }] })]
    });
    steps.collect()
}

#[tokio::test]
async fn what_an_answer_rejects_for_good_the_real_cli_does_not_do_in_the_mode_that_asks_nothing_either() {
    // One that the CLI never takes for what its own rules say: it looks at the pieces.
    let steps = commands(&[("make", "cd . && echo one >> made.txt"), ("other", "cd . && echo two >> other.txt")]);
    let Some((server, model)) = start(steps).await else { return };
    let mut sessions = server.sessions().await;
    let id = session(&mut sessions).await;
    let mut asked = Asked::of(&mut sessions, id.clone(), "make").await;
    let rule = always(&mut sessions, &asked, "reject_always").await;
    assert_eq!(asked.end().await.status(), TurnStatus::Completed);
    assert_eq!(rule.pattern, "cd . && echo one >> made.txt");
    let folder = workspace(&server, &mut sessions, &id).await;
    let made = || std::fs::read_to_string(folder.join("made.txt")).unwrap_or_default();

    set_mode(&mut sessions, &id, "bypassPermissions").await;
    assert_eq!(asked.next(&mut sessions, "make").await.status(), TurnStatus::Completed);
    assert_eq!((made().as_str(), rejections(&asked)), ("", 1), "the process that runs knows of it");
    // What is asked about only because the CLI knows the rule in wider words is not waited for.
    assert_eq!(asked.next(&mut sessions, "other").await.status(), TurnStatus::Completed);
    assert_eq!(std::fs::read_to_string(folder.join("other.txt")).expect("made"), "two\n");

    stop(&mut sessions, &id).await;
    assert_eq!(asked.next(&mut sessions, "make").await.status(), TurnStatus::Completed);
    assert_eq!((made().as_str(), rejections(&asked)), ("", 2), "and the next one");

    let rule_id = rules(&mut sessions, &id).await.remove(0).rule_id;
    let request = proto::DeletePermissionRuleRequest { session_id: id.clone(), rule_id, ..Default::default() };
    sessions.delete_permission_rule(request).await.expect("deleted");
    assert_eq!(asked.next(&mut sessions, "make").await.status(), TurnStatus::Completed);
    assert_eq!((made().as_str(), rejections(&asked)), ("one\n", 2), "it is taken back from the process that runs");
    model.shutdown().await;
}

#[tokio::test]
async fn what_is_rejected_for_good_in_the_middle_of_a_turn_the_real_cli_does_not_do_later_in_it() {
    // In this mode the CLI asks before it writes outside of its workspace, and writes inside without asking.
    let turn = [write("../outside"), write("inside")].map(|call| json!({ "answer": [call] }));
    let mut steps = turn.to_vec();
    steps.push(json!({ "answer": [{ "text": "Done." }] }));
    let Some((server, model)) = start(steps.into()).await else { return };
    let mut sessions = server.sessions().await;
    let id = session(&mut sessions).await;
    set_mode(&mut sessions, &id, "acceptEdits").await;
    let mut asked = Asked::of(&mut sessions, id.clone(), "Go.").await;
    let rule = always(&mut sessions, &asked, "reject_always").await;
    assert_eq!((rule.tool_name.as_str(), rule.pattern.as_str()), ("Write", ""));
    assert_eq!(asked.end().await.status(), TurnStatus::Completed);
    assert_eq!(rejections(&asked), 1, "the process was told while it worked: {:#?}", asked.results());
    assert!(!workspace(&server, &mut sessions, &id).await.join("inside").exists());
    model.shutdown().await;
}

#[tokio::test]
async fn in_the_mode_that_lets_files_be_changed_a_rejected_command_is_not_done_however_it_is_spelled() {
    let spellings =
        ["rm -rf  build", "mkdir a && rm -rf build", "rm -rf build > log", "rm -rf bu''ild", "'rm' -rf build &"];
    let bash = |command: &str| call("Bash", &json!({ "command": command, "description": "Work" }));
    let mut steps: Vec<Value> = spellings.iter().map(|command| json!({ "answer": [bash(command)] })).collect();
    // It may do this one without asking, and nobody is asked.
    steps.extend([json!({ "answer": [bash("mkdir build")] }), json!({ "answer": [{ "text": "Done." }] })]);
    let Some((server, model)) = start(json!(steps)).await else { return };
    let mut sessions = server.sessions().await;
    let policy = proto::PermissionPolicy {
        rules: vec![rule("Bash", "rm -rf build", PermissionEffect::Reject)],
        ..Default::default()
    };
    let id = session_of(&server, &mut sessions, "claude-code", policy).await.session_id;
    set_mode(&mut sessions, &id, "acceptEdits").await;
    let mut asked = Asked::given(&mut sessions, id.clone(), "Go.").await;
    assert_eq!(asked.end().await.status(), TurnStatus::Completed);
    let failed: Vec<_> = asked.results().iter().map(|result| result.is_error).collect();
    assert_eq!(failed, [true, true, true, true, true, false], "{:#?}", asked.results());
    assert_eq!(rejections(&asked), spellings.len(), "{:#?}", ruled(&asked));
    model.shutdown().await;
}

/// The calls that a rule rejected.
fn rejections(asked: &Asked) -> usize {
    ruled(asked).into_iter().filter(|by| by.effect() == PermissionEffect::Reject).count()
}
