//! Servers that are killed at any moment leave nothing that runs and that nobody wants; nothing ends that somebody does, and what was
//! done is there.
//!
//! `ELSEWHERE_KILLS` and `ELSEWHERE_SESSIONS` set the sizes, `SEED` the moments and what is done until then.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use agent_runtime::proto::{self, SandboxStatus, SessionStatus, block::Content};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::json;

use crate::{
    rig::{Rig, created, printed, shell, size, text},
    support::{Sessions, play, send, snapshot, stop},
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

/// What works now: the sandboxes at Modal in which turns of sessions are, by session.
async fn at_work(rig: &Rig, sessions: &mut Sessions) -> BTreeMap<String, String> {
    let running = rig.emulator.running();
    let external = |sandbox: &str| running.iter().find(|it| it["tags"]["agent-runtime-sandbox"] == sandbox);
    let request = proto::ListSessionsRequest { page_size: 1000, ..Default::default() };
    let listed = sessions.list_sessions(request).await.expect("listed").into_inner().sessions;
    let works = listed.into_iter().filter_map(|session| {
        let sandbox = session.sandbox.filter(|sandbox| sandbox.status() == SandboxStatus::Ready)?;
        let works = session.status == i32::from(SessionStatus::Running);
        works.then_some((session.session_id, text(&external(&sandbox.sandbox_id)?["id"])))
    });
    works.collect()
}

/// A turn that does something that can be found again, and then has no end.
fn turn(number: usize) -> String {
    let run = format!("echo mark-{number}- | tee -a marks");
    json!([{ "run": run }, { "pause_ms": 3_600_000 }]).to_string()
}

/// The marks in a text.
fn marks(text: &str) -> BTreeSet<&str> {
    text.split("mark-").skip(1).filter_map(|rest| rest.split_once('-').map(|(number, _)| number)).collect()
}

#[tokio::test]
async fn nothing_is_left_that_nobody_wants_and_nothing_ends_that_somebody_does() {
    let Some(rig) = Rig::new(&[]) else { return };
    let (kills, most, seed) = (size("ELSEWHERE_KILLS", 4), size("ELSEWHERE_SESSIONS", 3), size("SEED", 7) as u64);
    let (mut rng, mut moments) = (StdRng::seed_from_u64(seed), StdRng::seed_from_u64(!seed));
    let (mut ids, mut turns): (Vec<String>, usize) = (Vec::new(), 0);
    // What works, and is to go on in the same sandbox until somebody stops it. The next server carries on a call that was cut by
    // a kill, or does not: of its session nothing is known until another call comes through.
    let (mut works, mut unsure) = (BTreeMap::new(), BTreeSet::new());
    for _ in 0..kills {
        let server = rig.open();
        let mut sessions = server.sessions().await;
        let work = async {
            while ids.len() < most {
                let id = created(&mut sessions, "scripted").await;
                ids.push(id.clone());
                turns += 1;
                send(&mut sessions, &id, &turn(turns)).await.expect("taken");
            }
            loop {
                // One goes, by a stop or a deletion, and another one comes.
                let at = rng.random_range(0..ids.len());
                let id = ids[at].clone();
                works.remove(&id);
                unsure.insert(id.clone());
                turns += 1;
                if rng.random_bool(0.5) {
                    ids.remove(at);
                    let request = proto::DeleteSessionRequest { session_id: id, ..Default::default() };
                    drop(sessions.delete_session(request).await);
                    let id = created(&mut sessions, "scripted").await;
                    ids.push(id.clone());
                    send(&mut sessions, &id, &turn(turns)).await.expect("taken");
                } else {
                    let request = proto::StopSessionRequest { session_id: id.clone(), ..Default::default() };
                    let stopped = sessions.stop_session(request).await;
                    if send(&mut sessions, &id, &turn(turns)).await.is_ok() && stopped.is_ok() {
                        unsure.remove(&id);
                    }
                }
            }
        };
        let moment = Duration::from_millis(moments.random_range(50..4000));
        drop(tokio::time::timeout(moment, work).await);
        let mut now = at_work(&rig, &mut sessions).await;
        now.retain(|id, _| !unsure.contains(id));
        unharmed(&works, &rig.running());
        works.extend(now);
        server.kill();
    }
    // The reaper looks when a server starts, and what it finds on its way then the next one sees.
    for _ in 0..2 {
        let server = rig.open();
        let mut sessions = server.sessions().await;
        settled(&rig, &mut sessions).await;
        unharmed(&works, &rig.running());
        let now = at_work(&rig, &mut sessions).await;
        let still: BTreeMap<_, _> = works.keys().filter_map(|id| Some((id.clone(), now.get(id)?.clone()))).collect();
        for id in works.keys().filter(|id| !now.contains_key(*id)) {
            let (state, _) = snapshot(&mut sessions, id).await;
            println!("{id} does not work: {:?} {:?}", state.session, state.turns);
        }
        assert_eq!(still, works, "their turns go on, where they were");
        server.kill();
    }
    println!("{kills} kills, {turns} turns, {} of which nobody touched", works.len());
    // Whatever was told to be done is there.
    let server = rig.open();
    let mut sessions = server.sessions().await;
    for id in &ids {
        stop(&mut sessions, id).await;
        let (told, _) = snapshot(&mut sessions, id).await;
        let results = told.blocks.iter().filter_map(|block| match &block.content {
            Some(Content::ToolResult(result)) => Some(format!("{result:?}")),
            _ => None,
        });
        let told = results.collect::<String>();
        let played = play(&mut sessions, id, &shell("cat marks || true")).await;
        let (told, found) = (marks(&told), printed(&played));
        assert!(marks(&found).is_superset(&told), "{id} had {told:?}, and has {found}");
    }
}

/// All of these run.
fn unharmed(works: &BTreeMap<String, String>, running: &[String]) {
    let ended: Vec<_> = works.iter().filter(|(_, external)| !running.contains(external)).collect();
    assert!(ended.is_empty(), "sandboxes were ended in which turns were: {ended:?}");
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
