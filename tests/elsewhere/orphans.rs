//! Servers that are killed at any moment leave nothing that runs and that nobody wants, and nothing ends that somebody does.
//!
//! `ELSEWHERE_KILLS` and `ELSEWHERE_SESSIONS` set the sizes, `SEED` the moments.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use agent_runtime::proto::{self, SandboxStatus};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::json;

use crate::{
    rig::{Rig, created, size, text},
    support::{Sessions, send},
};

/// All sessions, and the sandboxes of those that have one that runs.
async fn wanted(sessions: &mut Sessions) -> BTreeSet<String> {
    let request = proto::ListSessionsRequest { page_size: 1000, ..Default::default() };
    let listed = sessions.list_sessions(request).await.expect("listed").into_inner().sessions;
    let sandboxes = listed.into_iter().filter_map(|session| session.sandbox);
    let running = sandboxes.filter(|sandbox| match sandbox.status() {
        SandboxStatus::Starting | SandboxStatus::Ready | SandboxStatus::Unhealthy => true,
        SandboxStatus::Terminated | SandboxStatus::Unspecified => false,
    });
    running.map(|sandbox| sandbox.sandbox_id).collect()
}

#[tokio::test]
async fn nothing_is_left_that_nobody_wants_and_nothing_ends_that_somebody_does() {
    let Some(rig) = Rig::new(&[]) else { return };
    let (kills, most) = (size("ELSEWHERE_KILLS", 4), size("ELSEWHERE_SESSIONS", 3));
    let mut rng = StdRng::seed_from_u64(size("SEED", 7) as u64);
    let mut ids = Vec::new();
    let script = json!([{ "pause_ms": 3_600_000 }]).to_string();
    for _ in 0..kills {
        let server = rig.open();
        let mut sessions = server.sessions().await;
        let work = async {
            while ids.len() < most {
                let id = created(&mut sessions, "scripted").await;
                send(&mut sessions, &id, &script).await.expect("taken");
                ids.push(id);
            }
            loop {
                // One goes, by a stop or a deletion, and another one comes.
                let at = rng.random_range(0..ids.len());
                let id = ids[at].clone();
                if rng.random_bool(0.5) {
                    ids.remove(at);
                    let request = proto::DeleteSessionRequest { session_id: id, ..Default::default() };
                    drop(sessions.delete_session(request).await);
                    let id = created(&mut sessions, "scripted").await;
                    send(&mut sessions, &id, &script).await.expect("taken");
                    ids.push(id);
                } else {
                    let request = proto::StopSessionRequest { session_id: id.clone(), ..Default::default() };
                    drop(sessions.stop_session(request).await);
                    drop(send(&mut sessions, &id, &script).await);
                }
            }
        };
        let moment = Duration::from_millis(rand::rng().random_range(50..4000));
        drop(tokio::time::timeout(moment, work).await);
        server.kill();
    }
    // The reaper looks when a server starts, and what it finds on its way then the next one sees.
    for _ in 0..2 {
        let server = rig.open();
        let mut sessions = server.sessions().await;
        settled(&rig, &mut sessions).await;
        server.kill();
    }
}

/// Waits until what is wanted runs, and what runs is wanted, one sandbox each.
async fn settled(rig: &Rig, sessions: &mut Sessions) {
    let running = || {
        let mut names: Vec<String> =
            rig.emulator.running().iter().map(|it| text(&it["tags"]["agent-runtime-sandbox"])).collect();
        names.sort();
        names
    };
    let patience = Instant::now() + Duration::from_mins(2);
    loop {
        let (before, wanted, after) = (running(), wanted(sessions).await, running());
        if before == after && after.iter().eq(&wanted) {
            return;
        }
        assert!(Instant::now() < patience, "wanted: {wanted:?}, running: {after:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
