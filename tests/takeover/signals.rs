//! How a server ends: what it leaves running, what it stops, and what it kills.

use std::time::{Duration, Instant};

use agent_runtime::proto::{BlockState, SandboxStatus, TurnStatus};
use rustix::process::{Signal, kill_process};

use crate::{
    house::{House, Seen, cause_of_loss, eventually},
    support::{Ended, Server, get, nothing_is_left_of, pid_of, play, scripted, send, snapshot, watch},
};

/// A server with an agent in the middle of its turn.
async fn at_work(house: &House, script: &str) -> (Server, String, String) {
    let server = house.open();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let (turn, _) = send(&mut sessions, &id, script).await.expect("accepted");
    let mut seen = Seen::default();
    while !seen.said().contains("So far.") {
        seen.read(&mut sessions, &id, &turn.turn_id, Instant::now() + Duration::from_millis(50)).await;
    }
    (server, id, turn.turn_id)
}

const LONG: &str = r#"[{"say":"So far.","open":true},{"pause_ms":600000}]"#;

async fn outcome(server: &Server, id: &str, turn: &str) -> (agent_runtime::proto::Turn, Seen) {
    let mut seen = Seen::default();
    let end = seen.finish(&mut server.sessions().await, id, turn).await;
    (end, seen)
}

#[tokio::test]
async fn sigterm_leaves_agents_at_work_and_says_which() {
    let house = House::new(&[]);
    let script = r#"[{"say":"So far."},{"pause_ms":1500},{"say":" And more."}]"#;
    let (mut server, id, turn) = at_work(&house, script).await;
    let mut sessions = server.sessions().await;
    let other = scripted(&mut sessions).await.session_id;
    play(&mut sessions, &other, "hello").await;
    let (agents, before) = (house.agents(), time_now());
    drop(sessions);
    let Ended { took, status, mut said } = server.end(Signal::TERM);
    assert!(status.success() && took < Duration::from_secs(6), "{status} after {took:?}");
    said.sort();
    let mut expected = [
        format!("left running: session {id}, turn {turn}, until "),
        format!("left running: session {other}, idle, until "),
    ];
    expected.sort();
    assert_eq!(said.len(), 2, "{said:?}");
    for (line, expected) in said.iter().zip(&expected) {
        let until = line.strip_prefix(expected.as_str()).unwrap_or_else(|| panic!("{line}"));
        assert!(until.ends_with('Z') && until > before.as_str(), "{line}");
    }
    assert_eq!(house.agents(), agents);
    let server = house.open();
    let (end, seen) = outcome(&server, &id, &turn).await;
    assert_eq!(end.status(), TurnStatus::Completed, "{:?}", end.error);
    assert_eq!((seen.said().as_str(), seen.starts_of(&turn)), ("So far. And more.", 1));
    assert_eq!(house.agents(), agents, "others went on");
    house.close(server);
}

#[tokio::test]
async fn sigint_lets_agents_end_their_turns_and_ends_them() {
    for tier in ["auto", "process"] {
        let house = House::new(&["--sandbox", tier]);
        let (mut server, id, turn) = at_work(&house, LONG).await;
        let Ended { took, status, said } = server.end(Signal::INT);
        assert!(status.success() && took < Duration::from_secs(8), "{status} after {took:?}");
        assert!(said.is_empty(), "{said:?}");
        nothing_is_left_of(house.path());
        let server = house.open();
        let (end, seen) = outcome(&server, &id, &turn).await;
        assert_eq!((end.status(), &end.error), (TurnStatus::Interrupted, &None), "{tier}");
        assert_eq!(seen.said(), "So far.", "what it said stays");
        let mut sessions = server.sessions().await;
        let (state, _) = snapshot(&mut sessions, &id).await;
        assert_eq!(state.blocks.last().expect("its text").state(), BlockState::Interrupted);
        assert_eq!(get(&mut sessions, &id).await.sandbox.expect("a sandbox").status(), SandboxStatus::Terminated);
        assert_eq!(play(&mut sessions, &id, "hello").await.turn.status(), TurnStatus::Completed);
        house.close(server);
    }
}

/// A server that is told to stop its agents does so on SIGTERM too.
#[tokio::test]
async fn a_server_can_be_told_to_stop_its_agents_on_sigterm() {
    let house = House::new(&[]);
    let (server, id, turn) = at_work(&house, LONG).await;
    server.kill();
    let mut server = Server::start_on(house.path(), &["--on-shutdown", "stop"]);
    // It is at work again only when it has found what was left.
    eventually("the agent is there", || house.agents().len() == 1).await;
    let Ended { status, said, .. } = server.end(Signal::TERM);
    assert!(status.success() && said.is_empty(), "{status} {said:?}");
    nothing_is_left_of(house.path());
    let server = house.open();
    assert_eq!(outcome(&server, &id, &turn).await.0.status(), TurnStatus::Interrupted);
    house.close(server);
}

/// One that does not listen is given a moment, then ended, and its turn is lost.
#[tokio::test]
async fn an_agent_that_does_not_listen_is_ended_all_the_same() {
    let house = House::new(&["--sandbox", "process"]);
    let (mut server, id, turn) = at_work(&house, LONG).await;
    for agent in house.agents() {
        kill_process(pid_of(agent), Signal::STOP).expect("there");
    }
    let Ended { took, status, .. } = server.end(Signal::INT);
    assert!(status.success() && took < Duration::from_secs(30), "{status} after {took:?}");
    nothing_is_left_of(house.path());
    let server = house.open();
    assert_eq!(cause_of_loss(&outcome(&server, &id, &turn).await.0), "server_stopped");
    house.close(server);
}

#[tokio::test]
async fn a_second_signal_kills_everything() {
    for tier in ["auto", "process"] {
        for (first, second) in [(Signal::TERM, Signal::INT), (Signal::INT, Signal::INT), (Signal::TERM, Signal::TERM)] {
            let house = House::new(&["--sandbox", tier]);
            let (mut server, id, turn) = at_work(&house, LONG).await;
            // Nobody must be quicker than the second signal: neither the agent, asked to end, nor the last connection.
            for agent in house.agents() {
                kill_process(pid_of(agent), Signal::STOP).expect("there");
            }
            let silent = std::net::TcpStream::connect(&server.addr).expect("a connection");
            let mut sessions = server.sessions().await;
            let mut stream = watch(&mut sessions, &id, Some(0)).await.expect("a watch");
            server.signal(first);
            while let Ok(Some(_)) = stream.message().await {}
            let Ended { took, said, status } = server.end(second);
            assert!(took < Duration::from_secs(2), "{first:?} and {second:?} took {took:?}");
            assert_eq!((status.code(), said), (Some(130), Vec::new()));
            nothing_is_left_of(house.path());
            drop(silent);
            let server = house.open();
            assert_eq!(cause_of_loss(&outcome(&server, &id, &turn).await.0), "sandbox_lost");
            house.close(server);
        }
    }
}

fn time_now() -> String {
    prost_types::Timestamp::from(std::time::SystemTime::now()).to_string()
}
