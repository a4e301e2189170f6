//! Images of profiles: built before a session wants them, and once for all who do.

use std::time::Duration;

use agent_runtime::proto::{self, LogLevel, SandboxStatus, SessionEvent, session_event::Kind};
use rustix::process::Signal;
use serde_json::json;

use crate::{
    rig::{Rig, eventually, said, says},
    support::{Server, Sessions, play, read_on, send, until, until_end_of, watch},
};

/// A profile whose sandboxes begin with this image.
fn profile(image: &str) -> proto::AgentProfile {
    let modal = Some(proto::ModalSettings { image: image.into(), ..Default::default() });
    let sandbox = Some(proto::SandboxSpec { modal, ..Default::default() });
    proto::AgentProfile { name: "with an image".into(), agent: "scripted".into(), sandbox, ..Default::default() }
}

async fn create(server: &Server, image: &str) -> proto::AgentProfile {
    let request = proto::CreateProfileRequest { profile: Some(profile(image)), ..Default::default() };
    let made = server.profiles().await.create_profile(request).await.expect("a profile").into_inner();
    made.profile.expect("a profile")
}

async fn session(sessions: &mut Sessions, profile: &proto::AgentProfile) -> String {
    let request = proto::CreateSessionRequest { profile_id: profile.profile_id.clone(), ..Default::default() };
    sessions.create_session(request).await.expect("created").into_inner().session.expect("a session").session_id
}

/// How often a layer over this image was built.
fn builds(rig: &Rig, image: &str) -> usize {
    let from = json!(format!("FROM {image}"));
    rig.emulator.builds().iter().filter(|build| build["commands"][0] == from).count()
}

#[tokio::test]
async fn an_image_is_built_when_its_profile_is_stored_or_changed_and_when_a_server_starts() {
    let Some(mut rig) = Rig::new(&[]) else { return };
    let log = rig.path().join("told");
    let server = rig.open_telling(&log);
    let stored = create(&server, "debian:11").await;
    eventually("it is built without a session", || builds(&rig, "debian:11") == 1).await;
    let changed = proto::AgentProfile { profile_id: stored.profile_id.clone(), ..profile("debian:12") };
    let update_mask = Some(prost_types::FieldMask { paths: vec!["sandbox".into()] });
    let request = proto::UpdateProfileRequest { profile: Some(changed), update_mask, ..Default::default() };
    server.profiles().await.update_profile(request).await.expect("changed");
    eventually("that of the next revision too", || builds(&rig, "debian:12") == 1).await;
    let told = || std::fs::read_to_string(&log).unwrap_or_default();
    // The default profile's, and two revisions of this one.
    eventually("it is there", || told().matches("the image of a profile's sandboxes is there").count() == 3).await;
    // Others are not built for it, and what is there is not built again.
    let mut sessions = server.sessions().await;
    let id = session(&mut sessions, &stored).await;
    let played = play(&mut sessions, &id, &json!({ "say": "hello" }).to_string()).await;
    assert!(!played.events.iter().any(|event| says(event, SandboxStatus::Starting, "building")), "{:?}", played.events);
    drop(server);

    // One that begins where nothing is built yet.
    rig.forget_all();
    let _server = rig.open();
    eventually("the newest revision is built", || builds(&rig, "debian:12") == 1).await;
    assert_eq!(builds(&rig, "debian:11"), 0, "the newest alone");
}

#[tokio::test]
async fn all_who_wait_for_an_image_are_told_how_far_it_is() {
    let Some(rig) = Rig::new(&[]) else { return };
    let server = rig.open();
    rig.emulator.set_faults("ImageJoinStreaming=OK+600@0*1000");
    let stored = create(&server, "debian:11").await;
    eventually("it is being built", || rig.emulator.struck("ImageJoinStreaming") > 0).await;
    let mut sessions = server.sessions().await;
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let id = session(&mut sessions, &stored).await;
        let (turn, sequence) = send(&mut sessions, &id, &json!({ "say": "hello" }).to_string()).await.expect("taken");
        let mut stream = watch(&mut sessions, &id, Some(sequence)).await.expect("a watch");
        until(&mut stream, |event| says(event, SandboxStatus::Starting, "building the image (1 of 1)")).await;
        waiting.push((turn, stream));
    }
    rig.emulator.set_faults("");
    for (turn, stream) in &mut waiting {
        let events = until_end_of(stream, &turn.turn_id).await;
        assert_eq!(crate::support::last_turn(&events).status(), proto::TurnStatus::Completed);
    }
    assert_eq!(builds(&rig, "debian:11"), 1, "once for all of them");
}

/// This line warns of an image.
fn warns(event: &SessionEvent) -> bool {
    match &event.kind {
        Some(Kind::Log(line)) => line.level() == LogLevel::Warn && line.message.contains("could not be built ahead"),
        _ => false,
    }
}

#[tokio::test]
async fn an_image_that_cannot_be_built_ahead_is_told_and_tried_again_by_its_session() {
    let Some(rig) = Rig::new(&[]) else { return };
    let log = rig.path().join("told");
    let server = rig.open_telling(&log);
    eventually("the default image is there", || said(&log, "the image of sandboxes at Modal is there")).await;
    rig.emulator.set_faults("ImageGetOrCreate=PERMISSION_DENIED@0*1");
    let stored = create(&server, "debian:11").await;
    eventually("it is told", || said(&log, "the image of a profile could not be built ahead")).await;
    assert_eq!(builds(&rig, "debian:11"), 0);
    let mut sessions = server.sessions().await;
    for told in [true, false] {
        let id = session(&mut sessions, &stored).await;
        let played = play(&mut sessions, &id, &json!({ "say": "hello" }).to_string()).await;
        assert_eq!(played.turn.status(), proto::TurnStatus::Completed, "{:?}", played.turn);
        assert_eq!(played.events.iter().any(warns), told, "{:?}", played.logged());
    }
    assert_eq!(builds(&rig, "debian:11"), 1);
}

#[tokio::test]
async fn a_few_are_built_at_once_and_none_keeps_a_server_from_its_end() {
    let Some(rig) = Rig::new(&[]) else { return };
    let log = rig.path().join("told");
    let mut server = rig.open_telling(&log);
    eventually("the default image is there", || said(&log, "the image of sandboxes at Modal is there")).await;
    rig.emulator.set_faults("ImageGetOrCreate=OK+600@0*1000");
    for number in 1..=5 {
        create(&server, &format!("debian:{number}")).await;
    }
    eventually("two are built", || rig.emulator.struck("ImageGetOrCreate") == 2).await;
    // A session of another profile that wants what is not built is not held up by them: it is built beside them.
    let own = create(&server, "debian:20").await;
    let mut sessions = server.sessions().await;
    let id = session(&mut sessions, &own).await;
    let (_, sequence) = send(&mut sessions, &id, &json!({ "say": "hello" }).to_string()).await.expect("taken");
    eventually("its own is built too", || rig.emulator.struck("ImageGetOrCreate") == 3).await;
    let mut stream = watch(&mut sessions, &id, Some(sequence)).await.expect("a watch");
    let (mut events, mut at) = (Vec::new(), 0);
    read_on(&mut stream, &mut events, &mut at, |event| says(event, SandboxStatus::Starting, "")).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(rig.emulator.struck("ImageGetOrCreate"), 3, "the others wait");
    let ended = server.end(Signal::TERM);
    assert!(ended.status.success(), "{:?}", ended.said);
    rig.emulator.set_faults("");
}
