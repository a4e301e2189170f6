//! Agents that wait for their next message while servers come and go.

use agent_runtime::proto::{SandboxStatus, SessionStatus, TurnStatus};
use rustix::process::Signal;

use crate::{
    house::{House, destroy, eventually},
    support::{get, play, scripted, snapshot},
};

#[tokio::test]
async fn an_idle_agent_is_there_for_the_next_message_after_a_restart() {
    for tier in ["auto", "process"] {
        let house = House::new(&["--sandbox", tier]);
        let mut server = house.open();
        let mut sessions = server.sessions().await;
        let id = scripted(&mut sessions).await.session_id;
        play(&mut sessions, &id, "hello").await;
        let before = house.agents();
        assert_eq!(before.len(), 1);
        let (_, head) = snapshot(&mut sessions, &id).await;
        for signal in [None, Some(Signal::TERM), None] {
            match signal {
                None => drop(server.kill()),
                Some(signal) => {
                    let said = server.end(signal).said;
                    let [line] = &said[..] else { panic!("{said:?}") };
                    assert!(line.starts_with(&format!("left running: session {id}, idle, until 2")), "{line}");
                }
            }
            assert_eq!(house.agents(), before, "{tier}: it ended with its server");
            server = house.open();
            sessions = server.sessions().await;
        }
        assert_eq!(snapshot(&mut sessions, &id).await.1, head, "taking over is nothing to tell of");
        assert_eq!(play(&mut sessions, &id, "hello again").await.turn.status(), TurnStatus::Completed);
        assert_eq!((house.agents(), house.execs().len()), (before, 1), "{tier}: another agent answered");
        house.close(server);
    }
}

#[tokio::test]
async fn an_idle_agent_that_is_gone_after_a_restart_is_no_turn_and_the_next_message_has_another_one() {
    let house = House::new(&[]);
    let server = house.open();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    play(&mut sessions, &id, "hello").await;
    server.kill();
    house.kill_all_but(None);
    destroy(&house.sandbox());
    let server = house.open();
    let mut sessions = server.sessions().await;
    let mut told = None;
    eventually("the sandbox is not there", || house.agents().is_empty()).await;
    while told != Some(SandboxStatus::Terminated) {
        told = get(&mut sessions, &id).await.sandbox.map(|sandbox| sandbox.status());
    }
    let (state, _) = snapshot(&mut sessions, &id).await;
    assert_eq!(state.turns.len(), 1);
    assert_eq!(state.session.expect("a session").status(), SessionStatus::Idle);
    assert_eq!(play(&mut sessions, &id, "hello again").await.turn.status(), TurnStatus::Completed);
    house.close(server);
}
