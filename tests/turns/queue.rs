//! Messages that wait their turn: visible, in order, each given when the one before is over, and never two at once.

use agent_runtime::proto::{
    self, BusyPolicy, SessionStatus, TurnStatus, block::Content, runtime_service_client::RuntimeServiceClient,
    session_event::Kind,
};
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::{
    at_work::{
        Seen, WORKS, allow, asks, cancel, cancel_as, cause, get_turn, interrupt, queue, send_with, status, text,
    },
    support::{Server, check_ranges, fold, get, reason, scripted, snapshot, stop},
};

#[tokio::test]
async fn queued_messages_are_given_one_after_the_other() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let (mut seen, first) = Seen::at_work(&mut sessions, &asks()).await;
    let asked = seen.asked().await;
    let id = seen.id.clone();
    let refused = send_with(&mut sessions, &id, "hello", BusyPolicy::Reject).await.expect_err("busy");
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "SESSION_BUSY"));

    let said: Vec<String> = (1..=3).map(|at| format!(r#"[{{"say":"Answer {at}."}}]"#)).collect();
    let mut queued = Vec::new();
    for text in &said {
        queued.push(queue(&mut sessions, &id, text).await);
    }
    let session = get(&mut sessions, &id).await;
    assert_eq!(session.queued_turns, queued, "next first, with their messages");
    assert_eq!(session.active_turn.expect("active").turn_id, first.turn_id);
    let (state, _) = snapshot(&mut sessions, &id).await;
    let blocks: Vec<_> = queued.iter().map(|turn| turn.block_id.as_str()).collect();
    assert!(blocks.iter().all(|id| !id.is_empty()), "known from acceptance on");
    assert!(state.blocks.iter().all(|block| !blocks.contains(&block.block_id.as_str())), "said before its turn");

    allow(&mut sessions, &id, &asked.permission_id).await.expect("answered");
    assert_eq!(seen.end_of(&first).await.status(), TurnStatus::Completed);
    for turn in &queued {
        let (turn_id, before) = (turn.turn_id.clone(), seen.events.len());
        assert_eq!(seen.end_of(turn).await.status(), TurnStatus::Completed);
        assert!(before <= seen.events.len(), "{turn_id}");
    }
    let mut expected = vec![format!("> {}", asks()), "Went on.".to_owned()];
    for (at, text) in said.iter().enumerate() {
        expected.extend([format!("> {text}"), format!("Answer {}.", at + 1)]);
    }
    assert_eq!(seen.said(), expected);
    let (state, head) = snapshot(&mut sessions, &id).await;
    seen.until(|event| event.sequence == head).await;
    check_ranges(0, &seen.events);
    assert_eq!(fold(&seen.events), state, "live is what a reload shows");
    assert_eq!(state.session.as_ref().expect("a session").status(), SessionStatus::Idle);
    one_at_a_time(&seen);
}

/// No turn is active before the end of the one before, and a message is said when its turn begins.
fn one_at_a_time(seen: &Seen) {
    let mut active: Option<String> = None;
    for event in &seen.events {
        match &event.kind {
            Some(Kind::TurnUpdated(updated)) => {
                let turn = updated.turn.as_ref().expect("a turn");
                match turn.status() {
                    TurnStatus::Running | TurnStatus::AwaitingInput | TurnStatus::Parked => {
                        assert!(active.as_ref().is_none_or(|id| *id == turn.turn_id), "two turns at once: {turn:?}");
                        assert!(turn.message.is_none() && !turn.goes_first, "{turn:?}");
                        active = Some(turn.turn_id.clone());
                    }
                    _ if active.as_ref() == Some(&turn.turn_id) => active = None,
                    _ => assert_eq!(turn.status(), TurnStatus::Cancelled, "ended without having begun"),
                }
            }
            Some(Kind::BlockStart(start)) => {
                let block = start.block.as_ref().expect("a block");
                if let Some(Content::UserMessage(_)) = &block.content {
                    assert_eq!(active.as_ref(), Some(&block.turn_id), "said when it was not its turn");
                }
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_cancelled_message_never_reaches_the_agent() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let (mut seen, first) = Seen::at_work(&mut sessions, &asks()).await;
    let asked = seen.asked().await;
    let id = seen.id.clone();
    let gone = queue(&mut sessions, &id, r#"[{"say":"Never."}]"#).await;
    let last = queue(&mut sessions, &id, r#"[{"say":"Last."}]"#).await;
    let cancelled = cancel(&mut sessions, &id, &gone.turn_id).await.expect("cancelled");
    assert_eq!((cancelled.status(), cause(&cancelled).as_str()), (TurnStatus::Cancelled, "cancel_turn"));
    assert!(cancelled.end_time.is_some() && cancelled.start_time.is_none() && cancelled.message.is_none());
    assert_eq!(cancel(&mut sessions, &id, &gone.turn_id).await.expect("again"), cancelled);
    let waits: Vec<_> = get(&mut sessions, &id).await.queued_turns.into_iter().map(|turn| turn.turn_id).collect();
    assert_eq!(waits, std::slice::from_ref(&last.turn_id));
    let started = cancel(&mut sessions, &id, &first.turn_id).await.expect_err("it runs");
    assert_eq!((started.code(), reason(&started).as_str()), (Code::FailedPrecondition, "TURN_STARTED"));
    assert_eq!(started.get_details_error_info().expect("info").metadata["turn_id"], first.turn_id);

    allow(&mut sessions, &id, &asked.permission_id).await.expect("answered");
    assert_eq!(seen.end_of(&last).await.status(), TurnStatus::Completed);
    let said = seen.said();
    assert_eq!(&said[1..], ["Went on.", r#"> [{"say":"Last."}]"#, "Last."], "{said:?}");
    let finished = cancel(&mut sessions, &id, &last.turn_id).await.expect_err("it is over");
    assert_eq!((finished.code(), reason(&finished).as_str()), (Code::FailedPrecondition, "TURN_FINISHED"));
    let info = finished.get_details_error_info().expect("info");
    assert_eq!(info.metadata["turn_status"], "TURN_STATUS_COMPLETED");
    let unknown = cancel(&mut sessions, &id, "turn_none").await.expect_err("there is none");
    assert_eq!((unknown.code(), reason(&unknown).as_str()), (Code::NotFound, "TURN_NOT_FOUND"));
    let unknown = cancel(&mut sessions, "ses_none", &last.turn_id).await.expect_err("there is no session");
    assert_eq!(reason(&unknown), "SESSION_NOT_FOUND");
    one_at_a_time(&seen);
}

#[tokio::test]
async fn a_repeated_cancellation_gets_its_first_answer() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let (seen, _) = Seen::at_work(&mut sessions, WORKS).await;
    let one = queue(&mut sessions, &seen.id, "one").await;
    let other = queue(&mut sessions, &seen.id, "other").await;
    let first = cancel_as(&mut sessions, &seen.id, &one.turn_id, "c-1").await.expect("cancelled");
    assert_eq!(cancel_as(&mut sessions, &seen.id, &one.turn_id, "c-1").await.expect("again"), first);
    let reused = cancel_as(&mut sessions, &seen.id, &other.turn_id, "c-1").await.expect_err("another request");
    assert_eq!(reason(&reused), "REQUEST_ID_REUSED");
    assert_eq!(get_turn(&mut sessions, &seen.id, &other.turn_id).await.expect("there").status(), TurnStatus::Queued);
}

#[tokio::test]
async fn a_queue_holds_what_the_server_says() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let mut runtime: RuntimeServiceClient<_> = server.runtime().await;
    let info = runtime.get_runtime_info(proto::GetRuntimeInfoRequest {}).await.expect("told").into_inner();
    let limit = usize::try_from(info.limits.expect("limits").max_queued_turns).expect("small");
    assert_eq!(limit, 32);
    let (seen, turn) = Seen::at_work(&mut sessions, WORKS).await;
    let mut queued = Vec::new();
    for at in 0..limit {
        queued.push(queue(&mut sessions, &seen.id, &at.to_string()).await);
    }
    for policy in [BusyPolicy::Queue, BusyPolicy::Interrupt] {
        let full = send_with(&mut sessions, &seen.id, "one more", policy).await.expect_err("full");
        assert_eq!((full.code(), reason(&full).as_str()), (Code::ResourceExhausted, "QUEUE_FULL"));
        assert_eq!(full.get_details_error_info().expect("info").metadata["limit"], "32");
    }
    let active = get_turn(&mut sessions, &seen.id, &turn.turn_id).await.expect("there");
    assert_eq!(active.status(), TurnStatus::Running, "what was refused interrupts nothing");
    cancel(&mut sessions, &seen.id, &queued[7].turn_id).await.expect("cancelled");
    queue(&mut sessions, &seen.id, "one more").await;

    // A session is shown with all that waits, so that has a size as well.
    let (seen, _) = Seen::at_work(&mut sessions, WORKS).await;
    let long = "x".repeat(256 << 10);
    for _ in 0..2 {
        queue(&mut sessions, &seen.id, &long).await;
    }
    let full = send_with(&mut sessions, &seen.id, "short", BusyPolicy::Queue).await.expect_err("full");
    assert_eq!(reason(&full), "QUEUE_FULL");
    assert_eq!(full.get_details_error_info().expect("info").metadata["limit_bytes"], "524288");
    assert_eq!(get(&mut sessions, &seen.id).await.queued_turns.len(), 2);
    assert_eq!(snapshot(&mut sessions, &seen.id).await.0.turns.len(), 3);
}

#[tokio::test]
async fn a_turn_that_waits_is_followed_to_its_end() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let (mut seen, _) = Seen::at_work(&mut sessions, &asks()).await;
    let asked = seen.asked().await;
    let run = |text: &str| proto::RunTurnRequest {
        session_id: seen.id.clone(),
        text: text.into(),
        busy_policy: BusyPolicy::Queue.into(),
        ..Default::default()
    };
    let mut streams = Vec::new();
    for text in ["[{\"say\":\"Mine.\"}]", "never said"] {
        let mut stream = sessions.run_turn(run(text)).await.expect("accepted").into_inner();
        let first = stream.message().await.expect("no error").expect("a first response");
        let turn = first.turn.expect("the turn as accepted");
        assert_eq!(turn.status(), TurnStatus::Queued);
        streams.push((stream, turn));
    }
    cancel(&mut sessions, &seen.id, &streams[1].1.turn_id).await.expect("cancelled");
    allow(&mut sessions, &seen.id, &asked.permission_id).await.expect("answered");
    let mut all = Vec::new();
    for (mut stream, turn) in streams {
        let mut events = Vec::new();
        while let Some(response) = stream.message().await.expect("no error") {
            events.extend(response.events);
        }
        let end = crate::support::last_turn(&events);
        assert_eq!(end.turn_id, turn.turn_id, "only its own");
        let turns = events.iter().filter_map(status).collect::<Vec<_>>();
        let texts = events.iter().filter_map(|event| match &event.kind {
            Some(Kind::BlockStart(start)) => match &start.block.as_ref().expect("a block").content {
                Some(Content::UserMessage(message)) => Some(text(message)),
                _ => None,
            },
            _ => None,
        });
        all.push((turns, texts.collect::<Vec<_>>()));
    }
    let ends = [TurnStatus::Queued, TurnStatus::Running, TurnStatus::Running, TurnStatus::Completed];
    assert_eq!(all[0], (ends.to_vec(), vec!["[{\"say\":\"Mine.\"}]".to_owned()]));
    assert_eq!(all[1], (vec![TurnStatus::Queued, TurnStatus::Cancelled], Vec::new()));
}

#[tokio::test]
async fn a_message_that_interrupts_goes_before_the_queue() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let (mut seen, first) =
        Seen::at_work(&mut sessions, r#"[{"run":"while ! test -e go; do sleep 0.02; done"}]"#).await;
    let id = seen.id.clone();
    let waits = queue(&mut sessions, &id, r#"[{"say":"Waits."}]"#).await;
    // The agent does not listen while it runs a command, so all of them wait for that.
    let mut urgent = Vec::new();
    for text in [r#"[{"say":"Urgent."}]"#, r#"[{"say":"More urgent."}]"#] {
        let turn = send_with(&mut sessions, &id, text, BusyPolicy::Interrupt).await.expect("accepted");
        assert!(turn.status() == TurnStatus::Queued && turn.goes_first, "{turn:?}");
        urgent.push(turn);
    }
    let order = [&urgent[1], &urgent[0], &waits].map(|turn| turn.turn_id.clone());
    let shown: Vec<_> = get(&mut sessions, &id).await.queued_turns.into_iter().map(|turn| turn.turn_id).collect();
    assert_eq!(shown, order, "the newest goes first");
    let (state, _) = snapshot(&mut sessions, &id).await;
    let shown = state.session.as_ref().expect("a session").queued_turns.iter().map(|turn| turn.turn_id.clone());
    assert_eq!(shown.collect::<Vec<_>>(), order);
    let sandbox = get(&mut sessions, &id).await.sandbox.expect("a sandbox").sandbox_id;
    let workspace = server.data().join("sandboxes").join(sandbox).join("workspace");
    std::fs::write(workspace.join("go"), "").expect("written");
    // The command is done, and so is the script: whichever of the two ends is told first.
    let end = seen.end_of(&first).await.status();
    assert!([TurnStatus::Completed, TurnStatus::Interrupted].contains(&end), "{end:?}");
    seen.end_of(&waits).await;
    let said = seen.said();
    let spoken: Vec<_> = said.iter().filter(|said| !said.starts_with('>')).collect();
    assert_eq!(spoken, ["More urgent.", "Urgent.", "Waits."]);
    one_at_a_time(&seen);

    // Where nothing is at work it runs at once; where an answer is waited for it does not wait for that.
    let turn = send_with(&mut sessions, &id, &asks(), BusyPolicy::Interrupt).await.expect("accepted");
    assert_eq!(turn.status(), TurnStatus::Running);
    seen.asked().await;
    let next = send_with(&mut sessions, &id, r#"[{"say":"Now."}]"#, BusyPolicy::Interrupt).await.expect("accepted");
    assert_eq!(seen.end_of(&turn).await.status(), TurnStatus::Interrupted);
    assert_eq!(seen.end_of(&next).await.status(), TurnStatus::Completed);
}

#[tokio::test]
async fn a_queue_ends_with_its_session_and_goes_on_after_everything_else() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let (mut seen, first) = Seen::at_work(&mut sessions, WORKS).await;
    let id = seen.id.clone();
    let gone = queue(&mut sessions, &id, r#"[{"exit":3}]"#).await;
    let stays = queue(&mut sessions, &id, r#"[{"say":"Still there."}]"#).await;
    interrupt(&mut sessions, &id, "").await.expect("told");
    assert_eq!(seen.end_of(&first).await.status(), TurnStatus::Interrupted);
    assert_eq!(seen.end_of(&gone).await.status(), TurnStatus::Failed, "its agent ended");
    assert_eq!(seen.end_of(&stays).await.status(), TurnStatus::Completed, "and another one was started");

    let active = seen.begin(&mut sessions, WORKS).await;
    let queued = queue(&mut sessions, &id, "never said").await;
    let stopped = stop(&mut sessions, &id).await;
    assert_eq!((stopped.status(), stopped.queued_turns.len()), (SessionStatus::Stopped, 0));
    let cancelled = seen.end_of(&queued).await;
    assert_eq!((cancelled.status(), cause(&cancelled).as_str()), (TurnStatus::Cancelled, "stop_session"));
    assert_eq!(get_turn(&mut sessions, &id, &active.turn_id).await.expect("there").status(), TurnStatus::Interrupted);
    one_at_a_time(&seen);

    let (mut seen, active) = Seen::at_work(&mut sessions, WORKS).await;
    let queued = queue(&mut sessions, &seen.id, "never said").await;
    let request = proto::DeleteSessionRequest { session_id: seen.id.clone(), ..Default::default() };
    sessions.delete_session(request).await.expect("deleted");
    assert_eq!(cause(&seen.end_of(&queued).await), "delete_session");
    assert_eq!(seen.end_of(&active).await.status(), TurnStatus::Interrupted);
    seen.until(|event| match &event.kind {
        Some(Kind::StatusChanged(changed)) => changed.status() == SessionStatus::Deleted,
        _ => false,
    })
    .await;
}

#[tokio::test]
async fn a_message_waits_its_turn_while_its_agent_is_still_being_started() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let mut seen = Seen::of(&mut sessions, id.clone()).await;
    let first = send_with(&mut sessions, &id, r#"[{"say":"One."}]"#, BusyPolicy::Queue).await.expect("accepted");
    assert_eq!(first.status(), TurnStatus::Running, "nothing to wait for");
    let second = queue(&mut sessions, &id, r#"[{"say":"Two."}]"#).await;
    assert_eq!(seen.end_of(&first).await.status(), TurnStatus::Completed);
    assert_eq!(seen.end_of(&second).await.status(), TurnStatus::Completed);
    one_at_a_time(&seen);
}
