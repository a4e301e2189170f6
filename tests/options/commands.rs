//! The same from the command line.

use std::process::{Command, Output};

use agent_runtime::proto::{Budget, SessionOptions};

use crate::support::{Server, get, play};

fn run(server: &Server, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent-runtime"));
    command.args(["--addr", &server.addr, "--key", &server.key, "sessions"]).args(arguments);
    command.output().expect("it runs")
}

#[track_caller]
fn told(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).expect("text").trim().to_owned()
}

#[tokio::test]
async fn a_session_is_changed_and_saved_from_the_command_line() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = told(&run(&server, &["create", "--agent", "scripted", "--budget-steps", "7", "--idle-timeout", "1h"]));
    let seconds = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    let created = get(&mut sessions, &id).await.options.expect("options");
    let steps = Budget { turn_steps: 7, ..Budget::default() };
    let expected = SessionOptions { budget: Some(steps), idle_timeout: seconds(3600), ..SessionOptions::default() };
    assert_eq!(created, expected);

    let flags = ["--name", "renamed", "--label", "team=red", "--label", "a=1", "--model", "scripted-2"];
    let limits = ["--idle-timeout", "90s", "--budget-session", "2.5", "--budget-time", "10m"];
    let update = run(&server, &[&["update", &id][..], &flags, &limits].concat());
    assert_eq!(told(&update), format!("updated {id}"));
    told(&run(&server, &["update", &id, "--label", "a", "--label", "b=2", "--budget-turn", "0.25"]));
    let updated = get(&mut sessions, &id).await;
    assert_eq!(updated.name, "renamed");
    let labels: Vec<_> = updated.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let mut labels = labels;
    labels.sort();
    assert_eq!(labels, ["b=2", "team=red"]);
    let budget = Budget {
        session_cost_micro_usd: 2_500_000,
        turn_cost_micro_usd: 250_000,
        turn_steps: 7,
        turn_duration: seconds(600),
    };
    let model = "scripted-2".to_owned();
    let expected =
        SessionOptions { model, budget: Some(budget), idle_timeout: seconds(90), ..SessionOptions::default() };
    assert_eq!(updated.options, Some(expected));

    let refused = run(&server, &["update", &id, "--permission-mode", "plan"]);
    assert!(!refused.status.success());
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(why.contains("permission_mode") && why.contains("default"), "{why}");
    let nothing = run(&server, &["update", &id]);
    assert!(!nothing.status.success(), "nothing was to be changed, and it was not said");

    play(&mut sessions, &id, r#"[{"run":"echo x > made.txt"}]"#).await;
    assert_eq!(told(&run(&server, &["sync", &id])), format!("saved {id}"));
    let shown = told(&run(&server, &["show", &id]));
    for part in ["scripted-2", "90 s", "$2.5000 a session", "$0.2500 a turn", "7 calls a turn", "600 s a turn"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}
