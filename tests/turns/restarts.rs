//! What waits, and what was told to end, after the server is gone and another one is there.

use agent_runtime::proto::{BusyPolicy, TurnStatus};
use rustix::process::Signal;

use crate::{
    at_work::{Seen, WORKS, agents, allow, asks, interrupt, queue, send_with},
    support::{Server, check_ranges, fold, get, snapshot},
};

const DETACH: &[&str] = &["--on-shutdown", "detach"];

#[tokio::test]
async fn a_queue_goes_on_after_the_server_was_killed() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start_on(data.path(), DETACH);
    let mut sessions = server.sessions().await;
    let (mut seen, turn) = Seen::at_work(&mut sessions, &asks()).await;
    let id = seen.id.clone();
    let asked = seen.asked().await;
    let one = queue(&mut sessions, &id, r#"[{"say":"One."}]"#).await;
    let two = send_with(&mut sessions, &id, r#"[{"say":"Two."}]"#, BusyPolicy::Queue).await.expect("accepted");
    server.kill();

    let server = Server::start_on(data.path(), &[]);
    let mut sessions = server.sessions().await;
    let waits: Vec<_> = get(&mut sessions, &id).await.queued_turns;
    assert_eq!(waits, [one.clone(), two.clone()], "with their messages");
    seen.watch_again(&mut sessions).await;
    allow(&mut sessions, &id, &asked.permission_id).await.expect("answered");
    for turn in [&turn, &one, &two] {
        assert_eq!(seen.end_of(turn).await.status(), TurnStatus::Completed);
    }
    let said: Vec<_> = seen.said().into_iter().filter(|said| !said.starts_with('>')).collect();
    assert_eq!(said, ["Went on.", "One.", "Two."], "each once");
    let (state, head) = snapshot(&mut sessions, &id).await;
    seen.until(|event| event.sequence == head).await;
    check_ranges(0, &seen.events);
    assert_eq!(fold(&seen.events), state);
}

#[tokio::test]
async fn a_queue_goes_on_after_the_server_stopped_its_agents() {
    let data = tempfile::tempdir().expect("a folder");
    let mut server = Server::start_on(data.path(), DETACH);
    let mut sessions = server.sessions().await;
    let (mut seen, turn) = Seen::at_work(&mut sessions, WORKS).await;
    let id = seen.id.clone();
    let queued = queue(&mut sessions, &id, r#"[{"say":"Waited long."}]"#).await;
    drop(sessions);
    server.end(Signal::INT);
    assert!(agents(&server).is_empty());

    let server = Server::start_on(data.path(), &[]);
    let mut sessions = server.sessions().await;
    seen.watch_again(&mut sessions).await;
    assert_eq!(seen.end_of(&turn).await.status(), TurnStatus::Interrupted);
    assert_eq!(seen.end_of(&queued).await.status(), TurnStatus::Completed, "nobody has to ask for it again");
    assert_eq!(seen.said().last().map(String::as_str), Some("Waited long."));
}

#[tokio::test]
async fn a_turn_that_was_told_to_end_ends_under_the_next_server() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start_on(data.path(), &["--on-shutdown", "detach", "--interrupt-grace", "600"]);
    let mut sessions = server.sessions().await;
    // It does not listen while it runs a command.
    let (mut seen, turn) = Seen::at_work(&mut sessions, r#"[{"run":"sleep 600"}]"#).await;
    let id = seen.id.clone();
    let queued = queue(&mut sessions, &id, r#"[{"say":"After it."}]"#).await;
    interrupt(&mut sessions, &id, "").await.expect("told").expect("a turn");
    server.kill();

    let server = Server::start_on(data.path(), &["--interrupt-grace", "1"]);
    let mut sessions = server.sessions().await;
    seen.watch_again(&mut sessions).await;
    assert_eq!(seen.end_of(&turn).await.status(), TurnStatus::Interrupted);
    assert_eq!(seen.end_of(&queued).await.status(), TurnStatus::Completed);
}
