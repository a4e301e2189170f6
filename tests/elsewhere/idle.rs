//! Silence ends a sandbox, though a program waits in it; the next message begins another one, which takes its time and says
//! so, from what there is: the files that the provider kept, or the checkpoint.

use agent_runtime::proto::{self, SandboxStatus, TurnStatus};
use serde_json::json;

use crate::{
    rig::{Rig, created, eventually, printed, sandbox, says, shell, told},
    support::{play, stop, until, watch},
};

#[tokio::test]
async fn silence_ends_a_sandbox_in_which_a_program_waits() {
    let Some(rig) = Rig::new(&[]) else { return };
    let server = rig.open();
    let mut sessions = server.sessions().await;
    let idle_timeout = Some(prost_types::Duration { seconds: 10, nanos: 0 });
    let options = Some(proto::SessionOptions { idle_timeout, ..Default::default() });
    let request = proto::CreateSessionRequest { agent: "scripted".into(), options, ..Default::default() };
    let created = sessions.create_session(request).await.expect("created").into_inner().session.expect("a session");
    let id = created.session_id;
    // The agent's own program waits for the next message all the time, and what it left behind runs on.
    let played =
        play(&mut sessions, &id, &shell("echo one > kept; setsid sleep 600 > /dev/null 2>&1 & sleep 0.1")).await;
    let head = played.events.last().expect("events").sequence;
    let mut live = watch(&mut sessions, &id, Some(head)).await.expect("a watch");
    until(&mut live, |event| says(event, SandboxStatus::Terminated, "10 s of silence")).await;
    eventually("it is over", || rig.running().is_empty()).await;
    let played = play(&mut sessions, &id, &shell("cat kept")).await;
    assert!(printed(&played).contains("one"), "{}", printed(&played));
    assert_eq!(rig.running().len(), 1);
}

#[tokio::test]
async fn the_first_start_tells_what_it_waits_for() {
    let Some(rig) = Rig::new(&[]) else { return };
    let server = rig.open();
    let mut sessions = server.sessions().await;
    // An image that no server has built ahead.
    let modal = Some(proto::ModalSettings { image: "node:20-slim".into(), ..Default::default() });
    let spec = Some(proto::SandboxSpec { modal, ..Default::default() });
    let request = proto::CreateSessionRequest { agent: "scripted".into(), sandbox: spec, ..Default::default() };
    let created = sessions.create_session(request).await.expect("created").into_inner().session.expect("a session");
    // What it tells came live, and is held to what a reload shows.
    let played = play(&mut sessions, &created.session_id, &json!({ "say": "hello" }).to_string()).await;
    assert_eq!(played.turn.status(), TurnStatus::Completed, "{:?}", played.turn);
    let told = told(&played.events);
    let (ready, cold) = told.split_last().expect("it was told");
    assert_eq!((ready.0, ready.1.as_str()), (SandboxStatus::Ready, ""), "{told:?}");
    assert!(cold.iter().all(|(status, _, _)| *status == SandboxStatus::Starting), "{told:?}");
    let said: Vec<&str> = cold.iter().map(|(_, message, _)| message.as_str()).collect();
    let builds = said.iter().position(|said| said.contains("image")).expect("the image");
    assert_eq!(said.first().zip(said.last()), Some((&"starting", &"starting")), "from it, when it is there: {said:?}");
    assert!(0 < builds && builds + 1 < said.len(), "{said:?}");
}

#[tokio::test]
async fn a_checkpoint_brings_files_and_conversation_back_where_nothing_else_was_kept() {
    let steps = json!([
        { "answer": [{ "tool": "Bash", "input": { "command": "mkdir -p src && echo one > src/kept" } }] },
        { "answer": [{ "text": "It is written." }] },
        { "answer": [{ "tool": "Bash", "input": { "command": "cat src/kept" } }] },
        { "answer": [{ "text": "It says {{result}}" }] },
    ]);
    let Some((rig, model)) = Rig::with_model(steps, &[]).await else { return };
    let server = rig.open();
    let mut sessions = server.sessions().await;
    let id = created(&mut sessions, "claude-code").await;
    let first = play(&mut sessions, &id, "Write it.").await;
    assert_eq!(first.turn.status(), TurnStatus::Completed, "{:?}", first.turn);
    let before = sandbox(&mut sessions, &id).await;
    stop(&mut sessions, &id).await;
    eventually("it is over", || rig.running().is_empty()).await;
    rig.emulator.drop_snapshots();
    let second = play(&mut sessions, &id, "And read it.").await;
    assert_eq!(second.turn.status(), TurnStatus::Completed, "{:?}", second.turn);
    assert!(printed(&second).contains("It says one"), "{}", printed(&second));
    let after = sandbox(&mut sessions, &id).await;
    assert_ne!(after.sandbox_id, before.sandbox_id);
    assert_eq!((before.generation, after.generation), (1, 2));
    assert!(after.restored_to_sequence > 2, "{after:?}");
    let asked = model.calls().last().expect("a call").to_string();
    assert!(asked.contains("Write it.") && asked.contains("It is written."), "it remembers: {asked}");
    assert_eq!(rig.running().len(), 1);
}
