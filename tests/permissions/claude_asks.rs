//! The real Claude Code CLI: its questions, its subagents' requests, standing answers and policies, and answers that come
//! after its server or its sandbox is gone.

use agent_runtime::proto::{self, InputOutcome, PermissionEffect, TurnStatus, block::Content};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    asked::{Asked, questioned, requested, resolve, text_of},
    claude::{Claude, session, start, workspace},
    policy::{rule, session_of},
    questions::{answer, decline, ends, given},
    rules::{always, ruled, rules},
    support::{Server, Sessions, fold, get},
};

fn bash(command: &str) -> Value {
    json!({ "answer": [{ "tool": "Bash", "input": { "command": command, "description": "Make it" } }] })
}

fn say(text: &str) -> Value {
    json!({ "answer": [{ "text": text }] })
}

fn questions() -> Value {
    json!({ "answer": [{ "tool": "AskUserQuestion", "input": { "questions": [
        {
            "question": "Which database?", "header": "DB", "multiSelect": false,
            "options": [{ "label": "Postgres", "description": "big" }, { "label": "SQLite", "description": "small" }],
        },
        {
            "question": "What else?", "header": "More", "multiSelect": true,
            "options": [{ "label": "Cache", "description": "c" }, { "label": "Queue", "description": "q" }],
        },
    ] } }] })
}

/// A new session whose CLI runs as its agent's default has it, and asks its user.
async fn question(sessions: &mut Sessions) -> (Asked, proto::Question) {
    let request = proto::CreateSessionRequest { agent: "claude-code".into(), ..Default::default() };
    let created = sessions.create_session(request).await.expect("created").into_inner();
    let id = created.session.expect("a session").session_id;
    let mut asked = Asked::given(sessions, id, "Make it.").await;
    let open = asked.question().await;
    (asked, open)
}

fn both(asked: &Asked, open: &proto::Question) -> proto::AnswerQuestionRequest {
    let answers = vec![given(&["SQLite"], "for now"), given(&["Cache", "Queue"], "")];
    proto::AnswerQuestionRequest { answers, ..decline(asked, open, "") }
}

const TOLD: &str = "\"Which database?\"=\"SQLite\" notes: for now, \"What else?\"=\"Cache, Queue\"";

#[tokio::test]
async fn the_real_cli_asks_questions_and_is_told_the_answers() {
    let Some((server, model)) = start(json!([questions(), say("{{result}}")])).await else { return };
    let mut sessions = server.sessions().await;
    let (mut asked, open) = question(&mut sessions).await;
    let [database, what] = &open.items[..] else { panic!("{open:?}") };
    assert_eq!((&*database.header, &*database.text, database.multiple), ("DB", "Which database?", false));
    assert_eq!(database.choices[0], proto::QuestionChoice { label: "Postgres".into(), description: "big".into() });
    assert!(what.multiple && !open.tool_use_id.is_empty());
    answer(&mut sessions, both(&asked, &open)).await.expect("answered");
    assert_eq!(asked.end().await.status(), TurnStatus::Completed);
    assert!(text_of(&asked.results()[0]).contains(TOLD), "{:?}", asked.results());

    let (mut asked, open) = question(&mut sessions).await;
    answer(&mut sessions, decline(&asked, &open, "decide yourself")).await.expect("declined");
    assert_eq!(asked.end().await.status(), TurnStatus::Completed);
    assert_eq!(text_of(&asked.results()[0]), "decide yourself");
    assert!(asked.results()[0].is_error);
    assert_eq!(ends(&asked)[0].outcome(), InputOutcome::Rejected);
    model.shutdown().await;
}

#[tokio::test]
async fn the_real_cli_is_answered_by_the_server_that_comes_after() {
    let Some(claude) = Claude::playing(json!([questions(), say("{{result}}")])).await else { return };
    let data = TempDir::new().expect("a folder");
    let open_server = || {
        claude
            .server(|args, env| Server::start_on_with(data.path(), &[args, &["--on-shutdown", "detach"]].concat(), env))
    };
    let server = open_server();
    let (mut asked, open) = question(&mut server.sessions().await).await;
    drop(server.kill());
    let mut server = open_server();
    let mut sessions = server.sessions().await;
    asked.watch_again(&mut sessions).await;
    answer(&mut sessions, both(&asked, &open)).await.expect("answered");
    assert_eq!(asked.end().await.status(), TurnStatus::Completed);
    assert!(text_of(&asked.results()[0]).contains(TOLD), "{:?}", asked.results());
    assert!(server.end(Signal::INT).status.success());
    claude.model.shutdown().await;
}

#[tokio::test]
async fn a_question_of_the_real_cli_outlives_its_sandbox() {
    // The model reads the answers in words, and asks the same all the same: nobody is asked again.
    let mut again = questions();
    again["when"] = json!("was answered by the user");
    let steps = json!([questions(), say("Never."), again, say("{{result}}")]);
    let Some(claude) = Claude::playing(steps).await else { return };
    let data = TempDir::new().expect("a folder");
    let open_server = || {
        claude
            .server(|args, env| Server::start_on_with(data.path(), &[args, &["--on-shutdown", "detach"]].concat(), env))
    };
    let mut server = open_server();
    let (mut asked, open) = question(&mut server.sessions().await).await;
    let sandbox = get(&mut server.sessions().await, &asked.id).await.sandbox.expect("a sandbox").sandbox_id;
    assert!(server.end(Signal::TERM).status.success());
    let folder = data.path().join("sandboxes").join(sandbox);
    while std::fs::remove_dir_all(&folder).is_err_and(|error| error.kind() != std::io::ErrorKind::NotFound) {}
    let mut server = open_server();
    let mut sessions = server.sessions().await;
    asked.watch_again(&mut sessions).await;
    answer(&mut sessions, both(&asked, &open)).await.expect("answered");
    let turn = asked.end().await;
    assert_eq!(turn.status(), TurnStatus::Completed, "{:?}", turn.error);
    assert_eq!(asked.events.iter().filter_map(questioned).count(), 1, "asked once");
    let told = asked.results().iter().any(|result| !result.is_error && text_of(result).contains(TOLD));
    assert!(told, "{:?}", asked.results());
    assert!(get(&mut sessions, &asked.id).await.sandbox.expect("a sandbox").generation > 1);
    assert!(server.end(Signal::INT).status.success());
    claude.model.shutdown().await;
}

#[tokio::test]
async fn what_is_always_allowed_to_the_real_cli_is_not_asked_about_until_the_rule_is_gone() {
    let steps = json!([bash("touch made.txt"), say("Made.")]);
    let Some((server, model)) = start(steps).await else { return };
    let mut sessions = server.sessions().await;
    let id = session(&mut sessions).await;
    let mut asked = Asked::of(&mut sessions, id, "Make it.").await;
    let kept = always(&mut sessions, &asked, "allow_always").await;
    assert_eq!((&*kept.tool_name, &*kept.pattern), ("Bash", "touch made.txt"), "as the CLI suggests");
    assert_eq!(asked.end().await.status(), TurnStatus::Completed);
    let made = workspace(&server, &mut sessions, &asked.id).await.join("made.txt");
    std::fs::remove_file(&made).expect("it ran");

    assert_eq!(asked.next(&mut sessions, "Once more.").await.status(), TurnStatus::Completed);
    assert!(made.exists(), "it ran again");
    let [by] = &ruled(&asked)[..] else { panic!("{:?}", ruled(&asked)) };
    assert_eq!((&by.rule_id, by.effect()), (&kept.rule_id, PermissionEffect::Allow));

    let delete = proto::DeletePermissionRuleRequest {
        session_id: asked.id.clone(),
        rule_id: kept.rule_id,
        ..Default::default()
    };
    sessions.delete_permission_rule(delete).await.expect("deleted");
    assert_eq!(rules(&mut sessions, &asked.id).await, []);
    asked.turn = crate::support::send(&mut sessions, &asked.id, "And again.").await.expect("accepted").0;
    asked.again().await;
    resolve(&mut sessions, asked.reject("no more")).await.expect("answered");
    assert_eq!(asked.end().await.status(), TurnStatus::Completed);
    model.shutdown().await;
}

#[tokio::test]
async fn silence_is_answered_to_the_real_cli_as_its_profile_says() {
    let Some((server, model)) = start(json!([bash("touch made.txt"), say("{{result}}")])).await else { return };
    let mut sessions = server.sessions().await;
    for effect in [PermissionEffect::Allow, PermissionEffect::Reject] {
        let policy = proto::PermissionPolicy {
            ask_timeout: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
            timeout_effect: effect.into(),
            ..Default::default()
        };
        // Without a mode of its own: with a policy the CLI asks.
        let id = session_of(&server, &mut sessions, "claude-code", policy).await.session_id;
        let mut asked = Asked::of(&mut sessions, id, "Make it.").await;
        assert_eq!(asked.end().await.status(), TurnStatus::Completed);
        assert_eq!(asked.outcome(), InputOutcome::Expired);
        let made = workspace(&server, &mut sessions, &asked.id).await.join("made.txt");
        assert_eq!(made.exists(), effect == PermissionEffect::Allow, "{effect:?}");
        let said = asked.said().concat();
        assert_eq!(said.contains("nobody answered in time"), effect == PermissionEffect::Reject, "{said}");
    }
    model.shutdown().await;
}

#[tokio::test]
async fn a_profile_rejects_what_the_real_cli_would_never_ask_about() {
    let steps = json!([bash("cd . && ls -a"), bash("touch made.txt"), say("{{result}}")]);
    let Some((server, model)) = start(steps).await else { return };
    let mut sessions = server.sessions().await;
    let policy = proto::PermissionPolicy {
        default_effect: PermissionEffect::Allow.into(),
        rules: vec![rule("Bash", "ls:*", PermissionEffect::Reject)],
        ..Default::default()
    };
    let id = session_of(&server, &mut sessions, "claude-code", policy).await.session_id;
    let mut asked = Asked::given(&mut sessions, id, "Make it.").await;
    assert_eq!(asked.end().await.status(), TurnStatus::Completed);
    let effects: Vec<_> = ruled(&asked).iter().map(proto::InputResolution::effect).collect();
    assert_eq!(effects, [PermissionEffect::Reject, PermissionEffect::Allow]);
    assert_eq!(text_of(&asked.results()[0]), "a rule rejects Bash(ls:*)");
    assert!(workspace(&server, &mut sessions, &asked.id).await.join("made.txt").exists());
    model.shutdown().await;
}

#[tokio::test]
async fn a_subagent_of_the_real_cli_asks_in_its_own_conversation() {
    let call = json!({ "answer": [{ "tool": "Agent", "input": {
        "description": "Make it", "prompt": "The subtask.", "subagent_type": "general-purpose",
        "run_in_background": false,
    } }] });
    let mut sub = bash("touch made.txt");
    sub["when"] = json!("The subtask.");
    let steps = json!([call, say("All done."), sub, say("Sub done.")]);
    let Some((server, model)) = start(steps).await else { return };
    let mut sessions = server.sessions().await;
    let id = session(&mut sessions).await;
    let mut asked = Asked::of(&mut sessions, id, "Make it.").await;
    let blocks = fold(&asked.events).blocks;
    let call = blocks.iter().find(|block| match &block.content {
        Some(Content::ToolUse(tool)) => tool.tool_name == "Agent",
        _ => false,
    });
    let call = call.expect("the call that spawned it");
    assert_eq!(call.conversation_id, "main");
    assert_eq!(asked.permission.conversation_id, call.block_id, "as its blocks do");
    let event = asked.events.iter().find(|event| requested(event).is_some()).expect("asked");
    assert_eq!(event.conversation_id, call.block_id);
    resolve(&mut sessions, asked.allow()).await.expect("answered");
    assert_eq!(asked.end().await.status(), TurnStatus::Completed);
    assert!(workspace(&server, &mut sessions, &asked.id).await.join("made.txt").exists());
    assert_eq!(asked.said().last().map(String::as_str), Some("All done."));
    model.shutdown().await;
}
