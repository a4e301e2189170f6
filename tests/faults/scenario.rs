//! What must hold through every fault: a turn runs and is watched, the fault begins, commands are refused, others read,
//! the fault ends, and all goes on.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use agent_runtime::proto::{self, SessionEvent, TurnStatus, block::Content};
use tokio::{sync::mpsc, task::JoinSet};
use tonic::{Code, Status};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_types::StatusExt as _;

use crate::support::{
    PATIENCE, Server, Sessions, check_ranges, ended, fold, get, last_turn, play, reason, scripted, send, snapshot,
    watch,
};

/// A caller hears within this time that it cannot be served.
const QUICK: Duration = Duration::from_secs(6);
const SERVICES: [&str; 5] = [
    "",
    "agentruntime.v1.SessionService",
    "agentruntime.v1.WorkspaceService",
    "agentruntime.v1.ProfileService",
    "agentruntime.v1.RuntimeService",
];

/// Runs it; `begin` and `end` make the fault and take it away.
pub(crate) async fn run(
    server: &Server,
    expected: (Code, &str),
    begin: impl Future<Output = ()>,
    end: impl Future<Output = ()>,
) {
    let mut sessions = server.sessions().await;
    let quiet = scripted(&mut sessions).await.session_id;
    play(&mut sessions, &quiet, "hello").await;
    let before = get(&mut sessions, &quiet).await;
    let busy = scripted(&mut sessions).await.session_id;
    // 14 s of talk: longer than the fault, so that it begins and ends in the middle.
    let said = "0123456789".repeat(140);
    let script = format!(r#"[{{"say":"{said}","size":10,"pace_ms":100}}]"#);
    let (mut watched, _reading) = follow(&mut sessions, &busy).await;
    let (turn, _) = send(&mut sessions, &busy, &script).await.expect("accepted");
    let mut events = Vec::new();
    gather(&mut watched, &mut events, |event| matches!(event.kind, Some(proto::session_event::Kind::BlockDelta(_))))
        .await;
    health_is(server, ServingStatus::Serving).await;

    begin.await;
    let (mut made, mut refused) = (Vec::new(), Vec::new());
    // What is said before anybody knows of the fault is either done or not; what is acknowledged is.
    let first = loop {
        let external_id = format!("try-{}", made.len());
        let request = proto::CreateSessionRequest {
            agent: "scripted".into(),
            external_id: external_id.clone(),
            ..Default::default()
        };
        let since = Instant::now();
        match sessions.create_session(request).await {
            Ok(response) => made.push(response.into_inner().session.expect("a session")),
            Err(status) => {
                assert!(since.elapsed() < QUICK, "the first refusal took {:?}", since.elapsed());
                refused.push(external_id);
                break status;
            }
        }
        assert!(made.len() < 10_000, "the fault has no effect");
    };
    is_told(&first, expected);
    health_is(server, ServingStatus::NotServing).await;
    for status in commands(server, &mut sessions, &quiet).await {
        is_told(&status, expected);
    }
    let external_id = "while-it-lasts".to_owned();
    let request = proto::CreateSessionRequest { external_id: external_id.clone(), ..Default::default() };
    is_told(&sessions.create_session(request).await.expect_err("refused"), expected);
    refused.push(external_id);
    // Reading goes on.
    assert_eq!(get(&mut sessions, &quiet).await, before);
    assert_eq!(snapshot(&mut sessions, &quiet).await.1, before.sequence);
    health_is(server, ServingStatus::NotServing).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(commands(server, &mut sessions, &quiet).await.iter().all(|status| reason(status) == expected.1));

    end.await;
    let since = Instant::now();
    while !healthy(server, ServingStatus::Serving).await {
        assert!(since.elapsed() < QUICK, "the fault is over, but nothing is served");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let played = play(&mut sessions, &quiet, "hello again").await;
    assert_eq!(played.turn.status(), TurnStatus::Completed);
    gather(&mut watched, &mut events, |event| ended(event, &turn.turn_id)).await;
    check_ranges(0, &events);
    assert_eq!(last_turn(&events).status(), TurnStatus::Completed, "{:?}", last_turn(&events).error);
    let is_text =
        |block: &proto::Block| matches!(&block.content, Some(Content::AssistantText(text)) if text.text == said);
    assert!(fold(&events).blocks.iter().any(is_text), "the watch did not bring all that was said");
    assert!(snapshot(&mut sessions, &busy).await.0.blocks.iter().any(is_text), "not all that was said is stored");
    for session in &made {
        assert_eq!(get(&mut sessions, &session.session_id).await.external_id, session.external_id);
    }
    for external_id in refused {
        let request = proto::ListSessionsRequest { external_id: external_id.clone(), ..Default::default() };
        let found = sessions.list_sessions(request).await.expect("a list").into_inner().sessions;
        assert!(found.is_empty(), "{external_id} was refused, and is there");
    }
}

/// The first kinds of command, each of which must be refused at once.
async fn commands(server: &Server, sessions: &mut Sessions, id: &str) -> Vec<Status> {
    let since = Instant::now();
    let id = || id.to_owned();
    let stop = proto::StopSessionRequest { session_id: id(), ..Default::default() };
    let delete = proto::DeleteSessionRequest { session_id: id(), ..Default::default() };
    let run = proto::RunTurnRequest { session_id: id(), text: "hello".into(), ..Default::default() };
    let profile = proto::AgentProfile { name: "other".into(), ..Default::default() };
    let profile = proto::CreateProfileRequest { profile: Some(profile), ..Default::default() };
    let refused = vec![
        send(sessions, &id(), "hello").await.expect_err("refused"),
        sessions.run_turn(run).await.expect_err("refused"),
        sessions.stop_session(stop).await.expect_err("refused"),
        sessions.delete_session(delete).await.expect_err("refused"),
        server.profiles().await.create_profile(profile).await.expect_err("refused"),
    ];
    assert!(since.elapsed() < Duration::from_secs(2), "refusals took {:?}", since.elapsed());
    refused
}

fn is_told(status: &Status, (code, why): (Code, &str)) {
    assert_eq!((status.code(), reason(status).as_str()), (code, why), "{status:?}");
    let delay = status.get_details_retry_info().and_then(|info| info.retry_delay);
    assert!(delay.is_some_and(|delay| delay > Duration::ZERO), "{status:?}");
}

async fn healthy(server: &Server, wanted: ServingStatus) -> bool {
    let mut client = HealthClient::new(server.channel().await);
    for service in SERVICES {
        let said = client.check(HealthCheckRequest { service: service.into() }).await.expect("health").into_inner();
        if said.status() != wanted {
            return false;
        }
    }
    true
}

async fn health_is(server: &Server, wanted: ServingStatus) {
    let since = Instant::now();
    while !healthy(server, wanted).await {
        assert!(since.elapsed() < Duration::from_secs(2), "health is not {wanted:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A watch from the beginning on, which reads all the time.
async fn follow(sessions: &mut Sessions, id: &str) -> (mpsc::UnboundedReceiver<SessionEvent>, JoinSet<()>) {
    let mut stream = watch(sessions, id, Some(0)).await.expect("a watch");
    let (sender, events) = mpsc::unbounded_channel();
    let mut reading = JoinSet::new();
    reading.spawn(async move {
        while let Ok(Some(response)) = stream.message().await {
            response.events.into_iter().for_each(|event| drop(sender.send(event)));
        }
    });
    (events, reading)
}

async fn gather(
    seen: &mut mpsc::UnboundedReceiver<SessionEvent>,
    events: &mut Vec<SessionEvent>,
    is_it: impl Fn(&SessionEvent) -> bool,
) {
    let found = async {
        loop {
            let event = seen.recv().await.expect("the watch goes on");
            let found = is_it(&event);
            events.push(event);
            if found {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, found).await.expect("what is waited for comes");
}
