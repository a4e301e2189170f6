//! How agents end in the middle of a turn, and what becomes of the turn and the session.

use agent_runtime::proto::{
    self, BlockState, ErrorReason, SandboxStatus, SessionStatus, TurnStatus, block::Content, session_event::Kind,
};

use crate::support::{
    Played, Server, play, processes_of, scripted, send, snapshot, taken_up, until, until_end_of, watch,
};

/// The turn failed with this exit code, once and never otherwise, and what was open is interrupted.
fn agent_failed(played: &Played, exit_code: &str) {
    assert_eq!(played.turn.status(), TurnStatus::Failed);
    let error = played.turn.error.as_ref().expect("a cause");
    assert_eq!((error.reason(), error.retryable), (ErrorReason::AgentFailed, true));
    assert_eq!((error.metadata["agent"].as_str(), error.metadata["exit_code"].as_str()), ("scripted", exit_code));
    let ends = played.events.iter().filter(|event| crate::support::ended(event, &played.turn.turn_id));
    assert_eq!(ends.count(), 1, "a turn ends once");
    let session = played.state.session.as_ref().expect("a session");
    assert_eq!((session.status(), &session.error, &session.active_turn), (SessionStatus::Idle, &None, &None));
    assert_eq!(session.sandbox.as_ref().expect("a sandbox").status(), SandboxStatus::Terminated);
    assert!(played.state.blocks.iter().all(|block| block.state() != BlockState::Streaming), "a block is open");
}

#[tokio::test]
async fn an_agent_that_exits_fails_its_turn_and_the_next_one_has_a_new_agent() {
    for tier in ["auto", "process"] {
        let server = Server::start_with(&["--sandbox", tier], &[]);
        let mut sessions = server.sessions().await;
        let id = scripted(&mut sessions).await.session_id;
        for code in [1, 0, 77] {
            let script = format!(r#"[{{"say":"Whole."}},{{"say":"Half.","open":true}},{{"exit":{code}}}]"#);
            let played = play(&mut sessions, &id, &script).await;
            agent_failed(&played, &code.to_string());
            let last = &played.state.blocks[played.state.blocks.len() - 2..];
            let states: Vec<_> = last.iter().map(proto::Block::state).collect();
            assert_eq!(states, [BlockState::Complete, BlockState::Interrupted]);
            let Some(Content::AssistantText(text)) = &last[1].content else { panic!("{last:?}") };
            assert_eq!(text.text, "Half.");
            let played = play(&mut sessions, &id, r#"[{"say":"Here again."}]"#).await;
            assert_eq!(played.turn.status(), TurnStatus::Completed, "{:?}", played.turn);
            assert_eq!(played.turn.error, None);
        }
    }
}

#[tokio::test]
async fn an_agent_that_says_it_failed_stays_and_takes_the_next_message() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let played = play(&mut sessions, &id, r#"[{"say":"Hm."},{"error":"no idea","retryable":true}]"#).await;
    let error = played.turn.error.clone().expect("a cause");
    assert_eq!((played.turn.status(), error.reason()), (TurnStatus::Failed, ErrorReason::AgentFailed));
    assert_eq!((error.message.as_str(), error.retryable), ("no idea", true));
    let session = played.state.session.expect("a session");
    assert_eq!(session.sandbox.expect("a sandbox").status(), SandboxStatus::Ready);
    let played = play(&mut sessions, &id, r#"[{"sya":"a step that is none"}]"#).await;
    assert_eq!(played.turn.status(), TurnStatus::Failed);
    assert_eq!(played.state.blocks.len(), 3, "nothing of a script that is none is played");
    let played = play(&mut sessions, &id, "hello").await;
    assert_eq!(played.turn.status(), TurnStatus::Completed);
    let ready = |event: &&proto::SessionEvent| match &event.kind {
        Some(Kind::SandboxChanged(change)) => {
            change.sandbox.as_ref().expect("a sandbox").status() == SandboxStatus::Ready
        }
        _ => false,
    };
    assert_eq!(played.events.iter().filter(ready).count(), 1, "one process for all of it");
}

#[tokio::test]
async fn an_agent_that_is_killed_fails_its_turn() {
    for tier in ["auto", "process"] {
        let server = Server::start_with(&["--sandbox", tier], &[]);
        let mut sessions = server.sessions().await;
        let id = scripted(&mut sessions).await.session_id;
        for signal in [rustix::process::Signal::KILL, rustix::process::Signal::ABORT] {
            let (turn, sequence) = send(&mut sessions, &id, r#"[{"say":"Half.","open":true},{"pause_ms":600000}]"#)
                .await
                .expect("accepted");
            let mut stream = watch(&mut sessions, &id, Some(sequence)).await.expect("a watch");
            let mut events = until(&mut stream, taken_up).await;
            let agents = processes_of(server.data());
            let is_agent = |argv: &[String]| argv.len() == 2 && argv[1] == "scripted-agent";
            let agent = agents.iter().find(|process| is_agent(&process.argv)).unwrap_or_else(|| panic!("{agents:?}"));
            let pid = rustix::process::Pid::from_raw(i32::try_from(agent.pid).expect("a pid")).expect("a pid");
            rustix::process::kill_process(pid, signal).expect("killed");
            events.extend(until_end_of(&mut stream, &turn.turn_id).await);
            let turn = crate::support::last_turn(&events);
            assert_eq!(turn.status(), TurnStatus::Failed);
            let error = turn.error.expect("a cause");
            assert_eq!(error.reason(), ErrorReason::AgentFailed);
            assert_eq!(error.metadata["exit_code"], format!("signal {}", signal.as_raw()), "{tier}");
            let played = play(&mut sessions, &id, "hello").await;
            assert_eq!(played.turn.status(), TurnStatus::Completed);
        }
    }
}

#[tokio::test]
async fn an_agent_that_ends_between_turns_is_started_again() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    play(&mut sessions, &id, "hello").await;
    let mut stream = watch(&mut sessions, &id, Some(0)).await.expect("a watch");
    let agents = processes_of(server.data());
    let agent = agents.iter().find(|process| process.argv.get(1).is_some_and(|name| name == "scripted-agent"));
    let pid = rustix::process::Pid::from_raw(i32::try_from(agent.expect("an agent").pid).expect("a pid"));
    rustix::process::kill_process(pid.expect("a pid"), rustix::process::Signal::KILL).expect("killed");
    until(&mut stream, |event| match &event.kind {
        Some(Kind::SandboxChanged(change)) => {
            change.sandbox.as_ref().expect("a sandbox").status() == SandboxStatus::Terminated
        }
        _ => false,
    })
    .await;
    let (state, _) = snapshot(&mut sessions, &id).await;
    assert_eq!(state.turns.len(), 1, "an end between turns is no turn");
    assert_eq!(state.turns[0].status(), TurnStatus::Completed);
    assert_eq!(state.session.expect("a session").status(), SessionStatus::Idle);
    assert_eq!(play(&mut sessions, &id, "hello").await.turn.status(), TurnStatus::Completed);
}
