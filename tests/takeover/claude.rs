//! The real Claude Code CLI at work while its servers come and go.

use std::time::{Duration, Instant};

use agent_runtime::{
    dev::model::{self, Kind as Asked, Script},
    proto::{self, TurnStatus, content_part::Part},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use rustix::process::Signal;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;

use crate::{
    cli,
    house::{House, Seen, eventually, numbers},
    support::{
        Server, Sessions, get, last_turn, nothing_is_left_of, play, processes_of, send, stop, until_end_of, watch,
    },
};

const COUNTED: u64 = 1200;

struct Stage {
    house: House,
    model: model::Handle,
}

/// `None`: there is no CLI here.
async fn stage() -> Option<Stage> {
    stage_of(json!([
        { "answer": [
            { "count": COUNTED, "pace_us": 4000 },
            { "tool": "Bash", "input": { "command": "echo once >> ran; wc -l < ran" } },
        ] },
        { "answer": [{ "text": " It ran {{result}}" }] },
        { "answer": [{ "text": " The second answer." }] },
    ]))
    .await
}

async fn stage_of(steps: Value) -> Option<Stage> {
    let program = cli::installed().await?;
    let script = Script::parse(&json!({ "steps": steps }).to_string()).expect("a script");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let model = model::serve(listener, script).expect("loopback");
    let [(name, url), (key_name, key)] = model.env();
    let env = [(name, url.as_str()), (key_name, key.as_str()), ("CLAUDE_CODE_MAX_RETRIES", "1")];
    let house = House::with(&["--claude-code", program.to_str().expect("a path")], &env);
    Some(Stage { house, model })
}

async fn session(sessions: &mut Sessions) -> String {
    let request = proto::CreateSessionRequest { agent: "claude-code".into(), ..Default::default() };
    sessions.create_session(request).await.expect("created").into_inner().session.expect("a session").session_id
}

/// Processes of the CLI itself, not of what walls it off.
fn programs(house: &House) -> Vec<u32> {
    let of = |argv: &[String]| argv.first().is_some_and(|program| program.ends_with("/claude"));
    processes_of(house.path()).into_iter().filter(|process| of(&process.argv)).map(|process| process.pid).collect()
}

#[tokio::test]
async fn the_real_cli_goes_on_through_six_servers() {
    let Some(Stage { house, model }) = stage().await else { return };
    let mut rng = StdRng::seed_from_u64(11);
    let mut server = house.open();
    let mut sessions = server.sessions().await;
    let id = session(&mut sessions).await;
    let (turn, _) = send(&mut sessions, &id, "Count, then run it.").await.expect("accepted");
    let mut seen = Seen::default();
    let mut before = Vec::new();
    for end in [None, Some(Signal::TERM), None, None, None, None] {
        let until = Instant::now() + Duration::from_millis(rng.random_range(100..1200));
        seen.read(&mut sessions, &id, &turn.turn_id, until).await;
        match end {
            None => drop(server.kill()),
            Some(signal) => assert_eq!(server.end(signal).said.len(), 1),
        }
        before = programs(&house);
        server = house.open();
        sessions = server.sessions().await;
    }
    let end = seen.finish(&mut sessions, &id, &turn.turn_id).await;
    assert_eq!(end.status(), TurnStatus::Completed, "{:?}", end.error);
    let said = seen.said();
    assert!(said.starts_with(&numbers(COUNTED)), "what it printed is not what the log has: {} bytes", said.len());
    assert_eq!(said[numbers(COUNTED).len()..].trim(), "It ran 1", "its tool did not run once");
    assert_eq!(seen.starts_of(&turn.turn_id), 1);
    assert_eq!(programs(&house), before, "another process went on");
    let calls = model.requests().iter().filter(|seen| seen.kind == Asked::Call).count();
    assert_eq!(calls, 2, "the model was asked again for what it had said");
    let next = play(&mut sessions, &id, "And now?").await;
    assert_eq!(next.turn.status(), TurnStatus::Completed, "{:?}", next.turn.error);
    assert_eq!(programs(&house), before, "another process answered");
    house.close(server);
    model.shutdown().await;
}

async fn at_work(house: &House) -> (Server, String, String) {
    let server = house.open();
    let mut sessions = server.sessions().await;
    let id = session(&mut sessions).await;
    let (turn, _) = send(&mut sessions, &id, "Count.").await.expect("accepted");
    let mut seen = Seen::default();
    while seen.said().len() < 200 {
        seen.read(&mut sessions, &id, &turn.turn_id, Instant::now() + Duration::from_millis(100)).await;
    }
    (server, id, turn.turn_id)
}

/// It is asked by its own protocol, stores what it said, and knows it when it is started again.
#[tokio::test]
async fn the_real_cli_is_interrupted_when_its_server_is() {
    let Some(Stage { house, model }) = stage().await else { return };
    let (mut server, id, turn) = at_work(&house).await;
    let ended = server.end(Signal::INT);
    assert!(ended.status.success() && ended.took < Duration::from_secs(15), "{:?}", ended.took);
    nothing_is_left_of(house.path());
    let server = house.open();
    let mut sessions = server.sessions().await;
    let mut seen = Seen::default();
    let end = seen.finish(&mut sessions, &id, &turn).await;
    assert_eq!((end.status(), &end.error), (TurnStatus::Interrupted, &None));
    let said = seen.said();
    assert!(numbers(COUNTED).starts_with(&said) && said.len() >= 200, "{} bytes", said.len());
    let sandbox = get(&mut sessions, &id).await.sandbox.expect("a sandbox").sandbox_id;
    let home = house.path().join("sandboxes").join(sandbox).join("home/.claude/projects");
    let stored = || {
        let mut text = String::new();
        let mut folders = vec![home.clone()];
        while let Some(folder) = folders.pop() {
            for entry in folder.read_dir().into_iter().flatten().filter_map(Result::ok) {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    text += &std::fs::read_to_string(path).unwrap_or_default();
                }
            }
        }
        text
    };
    eventually("it stored nothing of what it said", || stored().contains("0000000000000000005 ")).await;
    let next = play(&mut sessions, &id, "And now?").await;
    assert_eq!(next.turn.status(), TurnStatus::Completed, "{:?}", next.turn.error);
    house.close(server);
    model.shutdown().await;
}

/// A message whose agent finds nothing of what was said before is given to a fresh one, also by a server that did not give
/// it to the first.
#[tokio::test]
async fn a_message_to_a_cli_that_has_lost_its_memory_is_answered_after_a_kill() {
    let steps = json!([{ "answer": [{ "text": "One." }] }, { "answer": [{ "text": "Two." }] }]);
    let Some(Stage { house, model }) = stage_of(steps).await else { return };
    let server = house.open();
    let mut sessions = server.sessions().await;
    let id = session(&mut sessions).await;
    play(&mut sessions, &id, "First.").await;
    stop(&mut sessions, &id).await;
    std::fs::remove_dir_all(house.sandbox().join("home/.claude/projects")).expect("removed");
    let (turn, _) = send(&mut sessions, &id, "Second.").await.expect("accepted");
    eventually("it is started again", || !programs(&house).is_empty()).await;
    server.kill();
    let server = house.open();
    let mut sessions = server.sessions().await;
    let mut seen = Seen::default();
    let end = seen.finish(&mut sessions, &id, &turn.turn_id).await;
    assert_eq!(end.status(), TurnStatus::Completed, "{:?}", end.error);
    // With nothing of the first message, the model begins again.
    assert_eq!((seen.said().as_str(), seen.starts_of(&turn.turn_id)), ("One.One.", 1));
    assert_eq!(house.execs().len(), 3, "the one that found nothing, and a fresh one");
    house.close(server);
    model.shutdown().await;
}

#[tokio::test]
async fn an_image_is_given_to_the_agent_by_the_next_server() {
    let Some(Stage { house, model }) = stage_of(json!([{ "answer": [{ "text": "A point." }] }])).await else { return };
    let server = house.open();
    let mut sessions = server.sessions().await;
    let id = session(&mut sessions).await;
    // One white point.
    let point = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==";
    let data = STANDARD.decode(point).expect("base64");
    let blob = proto::Blob { media_type: "image/png".into(), data: data.clone().into(), ..Default::default() };
    let parts = [Part::Text("What is this?".into()), Part::Image(blob)];
    let parts = parts.map(|part| proto::ContentPart { part: Some(part) }).into();
    let request = proto::SendMessageRequest { session_id: id.clone(), parts, ..Default::default() };
    let turn = sessions.send_message(request).await.expect("accepted").into_inner().turn.expect("a turn");
    // It has been accepted, and its agent is only about to be started.
    drop(server.kill());
    let server = house.open();
    let mut sessions = server.sessions().await;
    let mut stream = watch(&mut sessions, &id, Some(0)).await.expect("a watch");
    let ended = last_turn(&until_end_of(&mut stream, &turn.turn_id).await);
    assert_eq!((ended.status(), &ended.error), (TurnStatus::Completed, &None));
    let asked = model.requests();
    let shown = &asked.iter().find(|seen| seen.kind == Asked::Call).expect("a call").shown;
    assert_eq!(shown[..], [format!("image/png {:x}", Sha256::digest(&data))]);
    assert_eq!(stop(&mut sessions, &id).await.status(), proto::SessionStatus::Stopped);
    model.shutdown().await;
}
