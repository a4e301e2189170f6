//! Stopping and deleting.

use agent_runtime::proto::{
    self,
    BlockState::{Complete, Interrupted},
    SandboxStatus, SessionStatus, TurnStatus,
    block::Content,
    session_event::Kind,
};
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::{
    raw,
    support::{Server, check_ranges, get, play, reason, scripted, send, snapshot, stop, until, until_end_of, watch},
};

#[tokio::test]
async fn a_stop_in_the_middle_keeps_what_was_said_and_the_next_message_starts_again() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let script =
        r#"[{"say":"Done.","size":9},{"say":"So far.","size":9,"open":true},{"tool":"Bash","duration_ms":600000}]"#;
    let (turn, sequence) = send(&mut sessions, &id, script).await.expect("accepted");
    let mut stream = watch(&mut sessions, &id, Some(sequence)).await.expect("a watch");
    let mut events = until(&mut stream, |event| match &event.kind {
        Some(Kind::BlockStart(start)) => {
            matches!(start.block.as_ref().and_then(|block| block.content.as_ref()), Some(Content::ToolUse(_)))
        }
        _ => false,
    })
    .await;

    let stopped = stop(&mut sessions, &id).await;
    assert_eq!((stopped.status(), &stopped.active_turn), (SessionStatus::Stopped, &None));
    assert_eq!(stopped.sandbox.as_ref().expect("a sandbox").status(), SandboxStatus::Terminated);
    assert_eq!(get(&mut sessions, &id).await, stopped, "what a stop answers is what is stored");
    assert_eq!(stop(&mut sessions, &id).await.status(), SessionStatus::Stopped, "stopping again is OK");
    assert_eq!(get(&mut sessions, &id).await.sequence, stopped.sequence, "stopping again changes nothing");
    events.extend(until_end_of(&mut stream, &turn.turn_id).await);
    check_ranges(sequence, &events);
    let end = crate::support::last_turn(&events);
    assert_eq!((end.status(), &end.error), (TurnStatus::Interrupted, &None));
    let (state, _) = snapshot(&mut sessions, &id).await;
    assert_eq!(state.turns, [end]);
    let states: Vec<_> = state.blocks.iter().map(proto::Block::state).collect();
    assert_eq!(states, [Complete, Complete, Interrupted, Interrupted]);
    let Some(Content::AssistantText(text)) = &state.blocks[2].content else { panic!("{state:#?}") };
    assert_eq!(text.text, "So far.");
    let Some(Content::ToolUse(tool)) = &state.blocks[3].content else { panic!("{state:#?}") };
    assert_eq!(tool.status(), proto::ExecutionStatus::Failed);
    assert!(state.blocks.iter().all(|block| block.complete_time.is_some()));

    let played = play(&mut sessions, &id, r#"[{"say":"Here again."}]"#).await;
    assert_eq!(played.turn.status(), TurnStatus::Completed);
    let session = played.state.session.expect("a session");
    assert_eq!((session.status(), session.error), (SessionStatus::Idle, None));
    let sandbox = session.sandbox.expect("a sandbox");
    assert_eq!(sandbox.status(), SandboxStatus::Ready);
    assert_eq!(sandbox.sandbox_id, stopped.sandbox.expect("a sandbox").sandbox_id, "its files are still there");
}

#[tokio::test]
async fn a_session_that_did_nothing_can_be_stopped() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let stopped = stop(&mut sessions, &id).await;
    assert_eq!((stopped.status(), stopped.sandbox), (SessionStatus::Stopped, None));
    assert_eq!(play(&mut sessions, &id, "hello").await.turn.status(), TurnStatus::Completed);
}

#[tokio::test]
async fn a_deletion_checks_its_etag_and_leaves_nothing() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let session = scripted(&mut sessions).await;
    let id = session.session_id.clone();
    play(&mut sessions, &id, "hello").await;
    let sandbox = get(&mut sessions, &id).await.sandbox.expect("a sandbox").sandbox_id;
    let folder = server.data().join("sandboxes").join(sandbox);
    assert!(folder.is_dir());
    let delete =
        |etag: &str| proto::DeleteSessionRequest { session_id: id.clone(), etag: etag.into(), ..Default::default() };
    let refused = sessions.delete_session(delete("other")).await.expect_err("another etag");
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::Aborted, "ETAG_MISMATCH"));
    assert_eq!(refused.get_details_error_info().expect("details").metadata["etag"], session.etag);
    assert_eq!(get(&mut sessions, &id).await.status(), SessionStatus::Idle, "a refused deletion did something");
    // In the middle of a turn, too.
    send(&mut sessions, &id, r#"[{"pause_ms":600000}]"#).await.expect("accepted");
    sessions.delete_session(delete(&session.etag)).await.expect("deleted");
    assert!(!folder.exists(), "the sandbox's files are still there");

    let id_field = [&[0x0a, u8::try_from(id.len()).expect("short")], id.as_bytes()].concat();
    let with_text = [&id_field[..], &[0x12, 2, b'h', b'i']].concat();
    for (method, body) in [
        ("SessionService/GetSession", &id_field),
        ("SessionService/StopSession", &id_field),
        ("SessionService/DeleteSession", &id_field),
        ("SessionService/SendMessage", &with_text),
        ("SessionService/RunTurn", &with_text),
        ("SessionService/WatchSession", &id_field),
        ("SessionService/ListBlocks", &id_field),
    ] {
        let refused = raw::refusal(&server, method, Some(&server.key), body.clone()).await;
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::NotFound, "SESSION_NOT_FOUND"), "{method}");
        assert_eq!(refused.get_details_error_info().expect("details").metadata["session_id"], id);
    }
}
