//! Calls made again: after an answer, at the same time, after a lost answer, and with something else under the same id.

use std::{
    task::Poll,
    time::{Duration, Instant},
};

use agent_runtime::proto::{self, ErrorReason, SessionStatus, TurnStatus};
use futures::future::join_all;
use prost::Message as _;
use tonic::Code;

use crate::{
    support::{Server, fields, get, reason, scripted, send, snapshot, stop, until, watch},
    table::{CASES, Effects, LONG, reused},
};

/// How many make the same call at the same time.
const AT_ONCE: usize = 16;

#[tokio::test]
async fn a_call_made_again_gets_the_first_answer_and_does_nothing() {
    let server = Server::start();
    for case in CASES {
        let session = case.session(&server).await;
        let before = Effects::on(&server).await;
        let id = format!("again-{}", case.method.replace('/', "_"));
        let first = case.call(&server, case.request(&session, &id)).await.expect(case.method);
        let after = Effects::on(&server).await;
        assert_ne!(after, before, "{}: its effect is not counted", case.method);
        for _ in 0..3 {
            let again = case.call(&server, case.request(&session, &id)).await.expect(case.method);
            assert_eq!(again, first, "{}: another answer", case.method);
        }
        assert_eq!(Effects::on(&server).await, after, "{}", case.method);
    }
}

#[tokio::test]
async fn of_many_that_make_a_call_at_the_same_time_one_does_it_and_all_are_answered() {
    let server = Server::start();
    for case in CASES {
        let before = Effects::on(&server).await;
        let session = case.session(&server).await;
        let requests = (0..AT_ONCE).map(|_| case.call(&server, case.request(&session, &format!("id-{session}"))));
        let answers = join_all(requests).await;
        let first = answers[0].as_ref().expect(case.method);
        for answer in &answers {
            assert_eq!(answer.as_ref().expect(case.method), first, "{}", case.method);
        }
        let together = Effects::on(&server).await;
        // What one call alone does, on a server of its own.
        let other = Server::start();
        let alone_before = Effects::on(&other).await;
        let session = case.session(&other).await;
        case.call(&other, case.request(&session, "alone")).await.expect(case.method);
        let alone = Effects::on(&other).await;
        assert_eq!(together.since(&before), alone.since(&alone_before), "{}", case.method);
    }
}

#[tokio::test]
async fn a_call_whose_answer_is_lost_with_the_server_was_made_once() {
    let folder = tempfile::tempdir().expect("a folder");
    for case in CASES {
        let server = Server::start_on(folder.path(), &[]);
        let session = case.session(&server).await;
        let before = Effects::on(&server).await;
        let id = format!("lost-{session}");
        let first = case.call(&server, case.request(&session, &id)).await.expect(case.method);
        server.kill();
        let server = Server::start_on(folder.path(), &[]);
        let then = Effects::on(&server).await;
        assert_ne!(then, before, "{}: what was answered is gone", case.method);
        let again = case.call(&server, case.request(&session, &id)).await.expect(case.method);
        assert_eq!(again, first, "{}: another answer after a restart", case.method);
        assert_eq!(Effects::on(&server).await, then, "{}", case.method);
    }
}

/// The answer is not waited for: the server is killed as soon as anybody can see the effect.
#[tokio::test]
async fn a_message_that_can_be_seen_is_remembered_whenever_the_server_dies() {
    let folder = tempfile::tempdir().expect("a folder");
    for round in 0..8 {
        let server = Server::start_on(folder.path(), &[]);
        let mut sessions = server.sessions().await;
        let id = scripted(&mut sessions).await.session_id;
        let mut stream = watch(&mut sessions, &id, Some(0)).await.expect("a watch");
        let (mut other, session_id, request_id) = (server.sessions().await, id.clone(), format!("seen-{round}"));
        let request = proto::SendMessageRequest { session_id, text: LONG.into(), request_id, ..Default::default() };
        let killed = async {
            until(&mut stream, |event| matches!(event.kind, Some(proto::session_event::Kind::TurnUpdated(_)))).await;
            server.kill();
        };
        let (sent, ()) = futures::future::join(other.send_message(request.clone()), killed).await;
        let told = sent.ok().and_then(|answer| answer.into_inner().turn);
        let server = Server::start_on(folder.path(), &[]);
        let mut sessions = server.sessions().await;
        let turn = sessions.send_message(request).await.expect("the first answer").into_inner().turn.expect("a turn");
        assert_eq!(turn.status(), TurnStatus::Running, "as it was answered the first time");
        assert!(told.is_none_or(|told| told == turn));
        let turns = snapshot(&mut sessions, &id).await.0.turns;
        assert_eq!(turns.iter().map(|turn| &turn.turn_id).collect::<Vec<_>>(), [&turn.turn_id]);
    }
}

#[tokio::test]
async fn a_call_whose_caller_hangs_up_at_any_point_is_made_once() {
    for case in CASES {
        let server = Server::start();
        for patience in [0, 1, 2, 3, 5] {
            let session = case.session(&server).await;
            let id = format!("cut-{session}");
            let before = Effects::on(&server).await;
            // Dropped after so many times that it waited: before it is sent, while it is at work, or when it is answered.
            let request = case.request(&session, &id).replace_external_id(patience);
            let mut call = Box::pin(case.call(&server, request.clone()));
            let mut waited = 0;
            futures::future::poll_fn(|cx| {
                waited += 1;
                if call.as_mut().poll(cx).is_ready() || waited > patience * 2 {
                    return Poll::Ready(());
                }
                Poll::Pending
            })
            .await;
            drop(call);
            case.call(&server, request.clone()).await.expect(case.method);
            let once = Effects::on(&server).await;
            assert_ne!(once, before, "{}", case.method);
            case.call(&server, request).await.expect(case.method);
            assert_eq!(Effects::on(&server).await, once, "{}", case.method);
        }
    }
}

/// The call is cut and made again over one connection, so that the second one reaches the server right after the cut: also
/// while the first one is being stored.
#[tokio::test]
async fn a_message_that_is_cut_while_it_is_stored_is_not_overtaken_by_its_repetition() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    for round in 0..60 {
        let (session_id, request_id) = (id.clone(), format!("cut-{round}"));
        let request = proto::SendMessageRequest { session_id, text: LONG.into(), request_id, ..Default::default() };
        let mut other = sessions.clone();
        let mut call = Box::pin(other.send_message(request.clone()));
        let (began, patience) = (Instant::now(), Duration::from_micros(100 * round));
        futures::future::poll_fn(|cx| {
            if call.as_mut().poll(cx).is_ready() || began.elapsed() >= patience {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        drop(call);
        let again = sessions.send_message(request).await.unwrap_or_else(|refused| panic!("{round}: {refused}"));
        let turn = again.into_inner().turn.expect("a turn");
        let active = get(&mut sessions, &id).await.active_turn.expect("a turn");
        assert_eq!(active.turn_id, turn.turn_id);
        stop(&mut sessions, &id).await;
    }
    assert_eq!(snapshot(&mut sessions, &id).await.0.turns.len(), 60);
}

#[tokio::test]
async fn an_id_is_not_taken_for_another_request_or_method() {
    let server = Server::start();
    for (case, next) in CASES.iter().zip(CASES.iter().cycle().skip(1)) {
        let session = case.session(&server).await;
        let id = format!("once-{session}");
        case.call(&server, case.request(&session, &id)).await.expect(case.method);
        let after = Effects::on(&server).await;
        reused(&case.refused(&server, case.another(&session, &id)).await, &id, case.method);
        reused(&next.refused(&server, next.request(&session, &id)).await, &id, case.method);
        assert_eq!(Effects::on(&server).await, after, "{}: a refused call did something", case.method);
        case.call(&server, case.request(&session, &id)).await.expect("the id still stands for the first call");
    }
    assert_eq!(ErrorReason::RequestIdReused.as_str_name(), "ERROR_REASON_REQUEST_ID_REUSED");
}

#[tokio::test]
async fn an_id_that_cannot_be_one_is_refused_by_name() {
    let server = Server::start();
    for case in CASES {
        let session = case.session(&server).await;
        let before = Effects::on(&server).await;
        let field = if case.method == "WorkspaceService/UploadFile" { "header.request_id" } else { "request_id" };
        for bad in ["a b", "a.b", "\u{e4}", &"x".repeat(129)] {
            let refused = case.refused(&server, case.request(&session, bad)).await;
            assert_eq!((refused.code(), fields(&refused)), (Code::InvalidArgument, vec![field.to_owned()]));
        }
        assert_eq!(Effects::on(&server).await, before, "{}", case.method);
    }
}

#[tokio::test]
async fn a_refusal_is_not_remembered() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    for case in
        CASES.iter().filter(|case| ["SessionService/SendMessage", "SessionService/RunTurn"].contains(&case.method))
    {
        let id = scripted(&mut sessions).await.session_id;
        send(&mut sessions, &id, LONG).await.expect("accepted");
        let request = || case.request(&id, &format!("busy-{id}"));
        // Many at once, too: each finds out by itself.
        for refused in join_all((0..4).map(|_| case.refused(&server, request()))).await {
            assert_eq!(reason(&refused), "SESSION_BUSY");
        }
        stop(&mut sessions, &id).await;
        let first = case.call(&server, request()).await.expect("accepted now");
        assert_eq!(case.call(&server, request()).await.expect("the same"), first);
        assert_eq!(snapshot(&mut sessions, &id).await.0.turns.len(), 2);
    }
    // Where there is no session there is nothing to remember either.
    for method in ["SessionService/StopSession", "SessionService/DeleteSession"] {
        let case = CASES.iter().find(|case| case.method == method).expect("a case");
        let refused = case.refused(&server, case.request("ses_none", "nobody")).await;
        assert_eq!(reason(&refused), "SESSION_NOT_FOUND");
    }
}

#[tokio::test]
async fn a_stop_made_again_does_not_end_the_next_turn() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let request =
        |id: &str, request_id: &str| proto::StopSessionRequest { session_id: id.into(), request_id: request_id.into() };
    // The last one finds nothing to do, and has nothing to store but that it was made.
    for (request_id, had_turn) in [("no-turn-yet", false), ("a-turn", true), ("stopped-already", false)] {
        if had_turn {
            send(&mut sessions, &id, LONG).await.expect("accepted");
        }
        let first = sessions.stop_session(request(&id, request_id)).await.expect("stopped").into_inner();
        assert_eq!(first.session.as_ref().expect("a session").status(), SessionStatus::Stopped);
        let (turn, _) = send(&mut sessions, &id, LONG).await.expect("accepted");
        let again = sessions.stop_session(request(&id, request_id)).await.expect("the first answer").into_inner();
        assert_eq!(again, first, "{request_id}");
        let active = get(&mut sessions, &id).await.active_turn.expect("the turn goes on");
        assert_eq!((active.turn_id.as_str(), active.status()), (turn.turn_id.as_str(), TurnStatus::Running));
        stop(&mut sessions, &id).await;
    }
}

#[tokio::test]
async fn calls_are_answered_again_when_their_session_is_gone() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let create = proto::CreateSessionRequest { agent: "scripted".into(), request_id: "c".into(), ..Default::default() };
    let created = sessions.create_session(create.clone()).await.expect("created").into_inner();
    let id = created.session.as_ref().expect("a session").session_id.clone();
    let message = proto::SendMessageRequest {
        session_id: id.clone(),
        text: "hello".into(),
        request_id: "m".into(),
        ..Default::default()
    };
    let sent = sessions.send_message(message.clone()).await.expect("accepted").into_inner();
    let delete = proto::DeleteSessionRequest { session_id: id.clone(), request_id: "d".into(), ..Default::default() };
    for _ in 0..2 {
        sessions.delete_session(delete.clone()).await.expect("deleted");
    }
    assert_eq!(sessions.create_session(create).await.expect("the first answer").into_inner(), created);
    assert_eq!(sessions.send_message(message).await.expect("the first answer").into_inner(), sent);
    let other = proto::DeleteSessionRequest { request_id: "e".into(), ..delete };
    assert_eq!(reason(&sessions.delete_session(other).await.expect_err("gone")), "SESSION_NOT_FOUND");
}

/// A caller's own key is one session's: each round needs another.
trait ReplaceExternalId {
    fn replace_external_id(self, round: usize) -> Self;
}

impl ReplaceExternalId for Vec<u8> {
    fn replace_external_id(self, round: usize) -> Self {
        let Ok(mut request) = proto::CreateSessionRequest::decode(&self[..]) else { return self };
        if request.external_id != "ticket" {
            return self;
        }
        request.external_id = format!("ticket-{round}");
        request.encode_to_vec()
    }
}
