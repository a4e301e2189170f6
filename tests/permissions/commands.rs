//! The same from the command line: what is asked, answered and kept.

use agent_runtime::proto::TurnStatus;
use serde_json::json;

use crate::{
    asked::{Asked, json_of},
    rules::{rules, shell},
    support::Server,
};

/// What a command prints.
fn said(server: &Server, args: &[&str]) -> String {
    let output = command_of(server, args).output().expect("it runs");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn command_of(server: &Server, args: &[&str]) -> std::process::Command {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_agent-runtime"));
    command.args(args).arg("--data").arg(server.data()).env_remove("AGENT_RUNTIME_ADDR");
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_and_rules_are_seen_and_answered_from_the_command_line() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let items = json!([
        { "question": "Which one?", "options": [{ "label": "Red" }, { "label": "Blue" }] },
        { "question": "Why?" },
    ]);
    let script = json!([{ "question": items }, { "question": items }, shell("ls"), shell("ls")]);
    let mut asked = Asked::playing(&mut sessions, &script).await;
    let id = asked.id.clone();
    let open = asked.question().await.question_id;
    let listed = said(&server, &["questions", "list", &id]);
    assert!(listed.contains(&open) && listed.contains("Which one?") && listed.contains("Red, Blue"), "{listed}");
    assert_eq!(said(&server, &["questions", "answer", &id, &open, "2", "it is calm"]).trim(), "answered");
    let open = asked.question().await.question_id;
    let answers = json_of(&asked.results()[0])["answers"].clone();
    assert_eq!(answers, json!({ "Which one?": "Blue", "Why?": "it is calm" }));
    assert_eq!(said(&server, &["questions", "answer", &id, &open, "--decline", "not now"]).trim(), "rejected");

    asked.again().await;
    let open = asked.permission.permission_id.clone();
    let kept = said(&server, &["permissions", "answer", &id, &open, "allow-always"]);
    let [rule] = &rules(&mut sessions, &id).await[..] else { panic!("one rule") };
    assert!(kept.contains(&format!("kept as {}: Bash(ls)", rule.rule_id)), "{kept}");
    assert_eq!(asked.end().await.status(), TurnStatus::Completed);
    let listed = said(&server, &["permissions", "rules", &id]);
    assert!(listed.contains(&rule.rule_id) && listed.contains("Bash(ls)"), "{listed}");
    said(&server, &["permissions", "delete-rule", &id, &rule.rule_id]);
    assert_eq!(rules(&mut sessions, &id).await, []);
    let both = command_of(&server, &["questions", "answer", &id, &open]).output().expect("it runs");
    assert!(!both.status.success(), "without an answer it says how to decline");
}
