//! A watcher: opens, is cut wherever chance says, and comes back with its cursor. Resuming is its own, written from the
//! contract alone.

use std::{collections::BTreeMap, time::Duration};

use agent_runtime::proto::session_event::Kind;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use tokio::time::{Instant, sleep, timeout};

use crate::{
    history::{Filter, Open},
    link::{Closed, Link},
    stage::Stage,
};

/// What a watcher remembers of one session.
#[derive(Default)]
struct Memory {
    uid: String,
    /// Every cursor it had under this filter; the last is the newest.
    cursors: Vec<i64>,
    filter: Filter,
}

/// Watches one session after the other until the run is over.
pub async fn watch(link: Link, stage: Stage, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut memories: BTreeMap<String, Memory> = BTreeMap::new();
    while !stage.is_over() {
        let Some(session) = stage.session(&mut rng) else {
            sleep(Duration::from_millis(5)).await;
            continue;
        };
        // Some watches in a row, so that what is cut is cut in the middle.
        for _ in 0..rng.random_range(1..12) {
            if stage.is_over() {
                return;
            }
            let memory = memories.entry(session.clone()).or_default();
            if let Err(closed) = once(&link, &stage, &session, memory, &mut rng).await {
                match closed.reason.as_str() {
                    "SESSION_NOT_FOUND" => {
                        stage.forget(&session);
                        break;
                    }
                    "SEQUENCE_TRUNCATED" | "SEQUENCE_AHEAD" | "SESSION_REPLACED" => *memory = Memory::default(),
                    _ => {}
                }
                sleep(Duration::from_millis(rng.random_range(5..40))).await;
            }
        }
    }
}

async fn once(link: &Link, stage: &Stage, session: &str, memory: &mut Memory, rng: &mut StdRng) -> Result<(), Closed> {
    let newest = memory.cursors.last().copied();
    let after = match rng.random_range(0..20) {
        0 => None,
        1 if memory.filter.is_none() => Some(0),
        2 | 3 => memory.cursors.choose(rng).copied().or(newest),
        _ => newest,
    };
    if after.is_none() {
        // Another filter needs a snapshot.
        *memory = Memory { filter: stage.abilities().filter(rng), ..Memory::default() };
    }
    let expected_uid = if after.is_some() && rng.random_bool(0.5) { memory.uid.clone() } else { String::new() };
    let open = Open {
        session: session.to_owned(),
        after,
        expected_uid,
        or_snapshot: rng.random_bool(0.1),
        filter: memory.filter.clone(),
        ..Open::default()
    };
    let mut watching = link.watch(open).await?;
    let mut left = rng.random_range(1..40);
    let until = Instant::now() + Duration::from_millis(rng.random_range(5..250));
    while left > 0 && !stage.is_over() {
        // Silence longer than this, with a bookmark every second, is a connection that died.
        let wait = (until - Instant::now()).max(Duration::from_millis(1));
        let Ok(next) = timeout(wait, watching.next()).await else { break };
        let events = next?;
        for event in &events {
            left -= 1;
            match &event.kind {
                Some(Kind::SnapshotStart(_)) => memory.cursors.clear(),
                Some(Kind::SnapshotChunk(_)) => {}
                _ => memory.cursors.push(event.sequence),
            }
        }
        if memory.uid.is_empty() {
            memory.uid.clone_from(&watching.uid);
        }
        if after.is_some() && !events.is_empty() {
            stage.resumed(watching.stream);
        }
    }
    Ok(())
}
