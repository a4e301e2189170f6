//! Turns that are told to end: what was said is kept, the agent stays usable, and nothing else is hit.

use agent_runtime::proto::{
    self, BlockState, BusyPolicy, InputOutcome, SandboxStatus, SessionStatus, TurnStatus, block::Content,
    session_event::Kind,
};
use serde_json::json;
use tonic::Code;

use crate::{
    at_work::{Seen, WORKS, agents, allow, asks, cause, get_turn, interrupt, interrupt_as, queue, send_with, status},
    support::{Server, check_ranges, fold, get, play, reason, scripted, send, snapshot},
};

#[tokio::test]
async fn a_turn_at_work_is_interrupted_and_its_agent_goes_on() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let (mut seen, turn) = Seen::at_work(&mut sessions, r#"[{"count":100000,"pace_ms":5}]"#).await;
    let id = seen.id.clone();
    seen.until(|event| matches!(event.kind, Some(Kind::BlockDelta(_)))).await;
    let before = agents(&server);
    assert_eq!(before.len(), 1);
    let told = interrupt(&mut sessions, &id, "").await.expect("told").expect("a turn");
    assert_eq!((told.turn_id.as_str(), told.status()), (turn.turn_id.as_str(), TurnStatus::Running));
    let end = seen.end_of(&turn).await;
    assert_eq!((end.status(), &end.error), (TurnStatus::Interrupted, &None));
    assert!(end.end_time.is_some());
    let cut = seen.state().blocks.into_iter().last().expect("a block");
    assert_eq!(cut.state(), BlockState::Interrupted);
    let Some(Content::AssistantText(text)) = cut.content else { panic!("{cut:?}") };
    assert!(text.text.starts_with("0000000000000000001 "), "what was said is gone: {text:?}");

    let played = play(&mut sessions, &id, r#"[{"say":"Here."}]"#).await;
    assert_eq!(played.turn.status(), TurnStatus::Completed);
    assert_eq!(agents(&server), before, "the same process");
    let session = get(&mut sessions, &id).await;
    assert_eq!((session.status(), session.active_turn), (SessionStatus::Idle, None));
    check_ranges(0, &played.events);
    // Who told it to is told with the change.
    let actor = |event: &&proto::SessionEvent| {
        status(event) == Some(TurnStatus::Running) && event.actor.as_ref().is_some_and(|by| !by.subject.is_empty())
    };
    let by: Vec<_> = played.events.iter().filter(actor).collect();
    assert_eq!(by.len(), 3, "accepted, told to end, accepted: {by:?}");
}

#[tokio::test]
async fn what_is_named_and_not_at_work_is_told_as_it_is() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    assert_eq!(interrupt(&mut sessions, &id, "").await.expect("idle"), None, "it never had a turn");
    let played = play(&mut sessions, &id, "hello").await;
    assert_eq!(interrupt(&mut sessions, &id, "").await.expect("idle"), None);
    let finished = interrupt(&mut sessions, &id, &played.turn.turn_id).await.expect("told");
    assert_eq!(finished, Some(played.turn.clone()));
    assert_eq!(get(&mut sessions, &id).await.status(), SessionStatus::Idle);

    let (mut seen, active) = Seen::at_work(&mut sessions, WORKS).await;
    let queued = queue(&mut sessions, &seen.id, "never said").await;
    let cancelled = interrupt(&mut sessions, &seen.id, &queued.turn_id).await.expect("told").expect("a turn");
    assert_eq!((cancelled.status(), cause(&cancelled).as_str()), (TurnStatus::Cancelled, "interrupt_turn"));
    assert_eq!(get_turn(&mut sessions, &seen.id, &active.turn_id).await.expect("there").status(), TurnStatus::Running);
    let by_name = interrupt(&mut sessions, &seen.id, &active.turn_id).await.expect("told").expect("a turn");
    assert_eq!(by_name.turn_id, active.turn_id);
    assert_eq!(seen.end_of(&active).await.status(), TurnStatus::Interrupted);
    for (session, turn, expected) in [
        (id.as_str(), "turn_none", "TURN_NOT_FOUND"),
        (id.as_str(), active.turn_id.as_str(), "TURN_NOT_FOUND"),
        ("ses_none", "", "SESSION_NOT_FOUND"),
    ] {
        let refused = interrupt(&mut sessions, session, turn).await.expect_err("there is none");
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::NotFound, expected));
    }
}

#[tokio::test]
async fn a_repeated_interrupt_means_the_same_turn() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    assert_eq!(interrupt_as(&mut sessions, &id, "", "i-0").await.expect("idle"), None);
    let mut seen = Seen::of(&mut sessions, id.clone()).await;
    let first = seen.begin(&mut sessions, WORKS).await;
    assert_eq!(interrupt_as(&mut sessions, &id, "", "i-0").await.expect("told"), None, "it was about nothing");
    let told = interrupt_as(&mut sessions, &id, "", "i-1").await.expect("told").expect("a turn");
    assert_eq!(told.turn_id, first.turn_id);
    assert_eq!(seen.end_of(&first).await.status(), TurnStatus::Interrupted);

    let next = seen.begin(&mut sessions, &asks()).await;
    let asked = seen.asked().await;
    for request in ["i-0", "i-1", "i-1"] {
        let again = interrupt_as(&mut sessions, &id, "", request).await.expect("told");
        assert_eq!(again, (request == "i-1").then(|| told.clone()), "the first answer");
    }
    allow(&mut sessions, &id, &asked.permission_id).await.expect("it is open still");
    assert_eq!(seen.end_of(&next).await.status(), TurnStatus::Completed, "the next turn was hit");
    let reused = interrupt_as(&mut sessions, &id, &next.turn_id, "i-1").await.expect_err("another request");
    assert_eq!(reason(&reused), "REQUEST_ID_REUSED");
}

#[tokio::test]
async fn what_an_interrupted_turn_asks_is_over_with_it() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let (mut seen, turn) = Seen::at_work(&mut sessions, &asks()).await;
    let id = seen.id.clone();
    let asked = seen.asked().await;
    interrupt(&mut sessions, &id, "").await.expect("told");
    assert_eq!(seen.end_of(&turn).await.status(), TurnStatus::Interrupted);
    let permission = seen.state().permissions.into_iter().next().expect("a permission");
    assert_eq!(permission.resolution.expect("over").outcome(), InputOutcome::Interrupted);
    // At once, so that nobody can answer what nobody waits for.
    let resolved = |event: &proto::SessionEvent| matches!(event.kind, Some(Kind::PermissionResolved(_)));
    let told = |event: &proto::SessionEvent| status(event) == Some(TurnStatus::Running) && event.actor.is_some();
    let at = |found: Option<usize>| found.expect("told");
    let over = at(seen.events.iter().position(resolved));
    assert!(over < at(seen.events.iter().rposition(told)), "it waits for the agent");
    let late = allow(&mut sessions, &id, &asked.permission_id).await.expect_err("too late");
    assert_eq!(reason(&late), "ALREADY_RESOLVED");
    let played = play(&mut sessions, &id, r#"[{"say":"Here."}]"#).await;
    assert_eq!(played.turn.status(), TurnStatus::Completed);
    assert_eq!(played.logged(), Vec::<&str>::new(), "nothing strange happened");
}

#[tokio::test]
async fn a_parked_turn_ends_at_once_and_what_waits_goes_on() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let (mut seen, turn) = Seen::at_work(&mut sessions, &asks()).await;
    let id = seen.id.clone();
    seen.asked().await;
    let queued = queue(&mut sessions, &id, r#"[{"say":"After it."}]"#).await;
    for pid in agents(&server) {
        rustix::process::kill_process(crate::support::pid_of(pid), rustix::process::Signal::KILL).expect("killed");
    }
    seen.until(|event| status(event) == Some(TurnStatus::Parked)).await;
    assert_eq!(get(&mut sessions, &id).await.queued_turns.len(), 1, "what waits behind it waits");
    let ended = interrupt(&mut sessions, &id, &turn.turn_id).await.expect("told").expect("a turn");
    assert_eq!(ended.status(), TurnStatus::Interrupted, "there is nobody to wait for");
    let permission = seen.state().permissions.into_iter().next().expect("a permission");
    assert_eq!(permission.resolution, None, "as of before");
    assert_eq!(seen.end_of(&queued).await.status(), TurnStatus::Completed);
    let permission = seen.state().permissions.into_iter().next().expect("a permission");
    assert_eq!(permission.resolution.expect("over").outcome(), InputOutcome::Interrupted);
    assert_eq!(seen.said().last().map(String::as_str), Some("After it."));
}

#[tokio::test]
async fn an_agent_that_does_not_listen_is_ended() {
    for tier in ["auto", "process"] {
        let server = Server::start_with(&["--interrupt-grace", "1", "--sandbox", tier], &[]);
        let mut sessions = server.sessions().await;
        for command in ["sleep 600", "trap '' TERM INT; while true; do sleep 1; done"] {
            let script = json!([{ "say": "Half.", "open": true }, { "run": command }]).to_string();
            let (mut seen, turn) = Seen::at_work(&mut sessions, &script).await;
            let id = seen.id.clone();
            let queued = queue(&mut sessions, &id, r#"[{"say":"After it."}]"#).await;
            interrupt(&mut sessions, &id, "").await.expect("told");
            let end = seen.end_of(&turn).await;
            assert_eq!((end.status(), end.error), (TurnStatus::Interrupted, None), "{tier} {command}");
            assert_eq!(seen.end_of(&queued).await.status(), TurnStatus::Completed, "{tier} {command}");
            let blocks = seen.state().blocks;
            assert_eq!(blocks[1].state(), BlockState::Interrupted);
            assert!(matches!(&blocks[1].content, Some(Content::AssistantText(text)) if text.text == "Half."));
            assert_eq!(seen.said().last().map(String::as_str), Some("After it."));
        }
    }
}

#[tokio::test]
async fn a_turn_whose_agent_is_being_started_ends_too() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    for delay in [0, 0, 1, 2, 4, 8, 16, 32, 64] {
        let id = scripted(&mut sessions).await.session_id;
        let mut seen = Seen::of(&mut sessions, id.clone()).await;
        let (turn, _) = send(&mut sessions, &id, WORKS).await.expect("accepted");
        // Not waited for anything: it is to hit every step of the start.
        tokio::time::sleep(std::time::Duration::from_millis(delay)).await;
        let next = send_with(&mut sessions, &id, r#"[{"say":"Next."}]"#, BusyPolicy::Queue).await.expect("accepted");
        interrupt(&mut sessions, &id, &turn.turn_id).await.expect("told").expect("a turn");
        assert_eq!(seen.end_of(&turn).await.status(), TurnStatus::Interrupted, "after {delay} ms");
        assert_eq!(seen.end_of(&next).await.status(), TurnStatus::Completed, "after {delay} ms");
        let said = seen.said();
        let given = said.iter().filter(|text| *text == "Half.").count();
        assert!(given <= 1, "it was given twice: {said:?}");
        let (state, head) = snapshot(&mut sessions, &id).await;
        seen.until(|event| event.sequence == head).await;
        assert_eq!(fold(&seen.events), state);
        assert_eq!(state.turns.len(), 2);
    }
}

#[tokio::test]
async fn a_stop_lets_the_agent_end_its_turn_itself() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    // It says what it used only when it ends its turn.
    let script =
        json!([{ "usage": { "output_tokens": 7 }, "model": "m" }, { "say": "Half." }, { "pause_ms": 600_000 }]);
    let (mut seen, turn) = Seen::at_work(&mut sessions, &script.to_string()).await;
    let stopped = crate::support::stop(&mut sessions, &seen.id).await;
    assert_eq!(stopped.status(), SessionStatus::Stopped);
    assert_eq!((stopped.active_turn, stopped.sandbox.expect("one").status()), (None, SandboxStatus::Terminated));
    let end = seen.end_of(&turn).await;
    assert_eq!((end.status(), end.usage.expect("usage").output_tokens), (TurnStatus::Interrupted, 7));
    // One that does not listen is not waited for for ever.
    let (mut seen, turn) = Seen::at_work(&mut sessions, r#"[{"run":"echo made > made.txt; sleep 600"}]"#).await;
    crate::support::stop(&mut sessions, &seen.id).await;
    assert_eq!(seen.end_of(&turn).await.status(), TurnStatus::Interrupted);
    let files: Vec<_> = seen.state().files.into_iter().map(|file| file.path).collect();
    assert_eq!(files, ["made.txt"], "what it changed is told before its end");
    assert!(agents(&server).is_empty());
}
