//! What is kept, and for how long: tasks of the server that make its database and its caches smaller, a little at a time, while
//! it serves.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::config::Config;
use crate::{
    domain::Timestamp,
    packages::Packages,
    session::{Manager, Reaper},
    store::{SqliteStore, Store as _},
};

/// Time between a session's deletion and the removal of what is stored of it, so that whoever watches can read its end.
const PURGE_AFTER: Duration = Duration::from_mins(10);
/// How often what providers elsewhere hold is compared with what sessions want.
const REAP_EVERY: Duration = Duration::from_mins(5);
/// The pause after a look at them that could not be finished; each further one is twice as long, up to the usual one.
const REAP_AGAIN: Duration = Duration::from_secs(1);
/// How often deleted sessions are looked for.
const PURGE_EVERY: Duration = Duration::from_mins(1);
/// Time between the last naming of bytes and their removal, when nothing names them.
const BLOBS_AFTER: Duration = Duration::from_hours(1);
/// Shortest and longest pause between two looks at what can be compacted.
const COMPACT_EVERY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(15));
/// Shortest and longest pause between two looks at packages that nobody uses.
const PACKAGES_EVERY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_hours(1));
/// Longest pause between two looks at what retention removes.
const TRIM_EVERY: Duration = Duration::from_mins(10);

/// Starts the tasks; they end when the server stops.
pub(super) fn start(
    config: &Config,
    manager: &Manager,
    store: &Arc<SqliteStore>,
    tasks: &TaskTracker,
    drain: &CancellationToken,
) {
    tasks.spawn(reap(manager.clone(), drain.clone()));
    tasks.spawn(purge(manager.clone(), Arc::clone(store), drain.clone()));
    let shrink = shrink(Arc::clone(store), config.compact_after, config.retain_events);
    let clean = clean(super::packages(&config.data), config.keep_packages);
    let until = drain.clone();
    // What a stop cuts short is gone on with by the next server, or whoever shares the folder.
    tasks.spawn(async move { until.run_until_cancelled_owned(clean).await.unwrap_or(()) });
    let drain = drain.clone();
    // What a stop cuts short is undone by the store, and done by the next server.
    tasks.spawn(async move { drain.run_until_cancelled_owned(shrink).await.unwrap_or(()) });
}

/// At once, for what an earlier server left, and again and again.
async fn reap(manager: Manager, drain: CancellationToken) {
    let (mut reaper, mut again) = (Reaper::new(manager.clone()), REAP_AGAIN);
    // What a stop cuts short is looked at by the next server.
    while let Some(whole) = drain.run_until_cancelled(reaper.look()).await {
        let pause = if whole { REAP_EVERY } else { again };
        again = if whole { REAP_AGAIN } else { (again * 2).min(REAP_EVERY) };
        let passed = drain.run_until_cancelled(async {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = manager.wants_a_look() => {
                    again = REAP_AGAIN;
                    // Who wants it looks after the session itself until then.
                    tokio::time::sleep(REAP_AGAIN).await;
                }
            }
        });
        if passed.await.is_none() {
            return;
        }
    }
}

async fn purge(manager: Manager, store: Arc<SqliteStore>, drain: CancellationToken) {
    while drain.run_until_cancelled(tokio::time::sleep(PURGE_EVERY)).await.is_some() {
        if let Err(failure) = manager.purge(before(PURGE_AFTER)).await {
            tracing::warn!(%failure, "deleted sessions could not be purged; trying again later");
        }
        if let Err(error) = store.collect_blobs(before(BLOBS_AFTER)).await {
            tracing::warn!(%error, "bytes that nothing names could not be removed; trying again later");
        }
    }
}

/// Removes packages that nobody has used for as long.
async fn clean(packages: Packages, unused_for: Duration) {
    loop {
        match packages.clean(unused_for).await {
            Ok(gone) if gone.is_empty() => {}
            Ok(gone) => tracing::info!(sets = %gone.join(", "), "packages that nobody used were removed"),
            Err(error) => tracing::warn!(%error, "packages that nobody uses could not be removed; trying again later"),
        }
        tokio::time::sleep((unused_for / 10).clamp(PACKAGES_EVERY.0, PACKAGES_EVERY.1)).await;
    }
}

/// Compacts logs, and removes old events where the server is told to.
async fn shrink(store: Arc<SqliteStore>, compact_after: Duration, retain_events: Option<Duration>) {
    let pause = (compact_after / 4).clamp(COMPACT_EVERY.0, COMPACT_EVERY.1);
    let mut trim_at = Instant::now();
    loop {
        tokio::time::sleep(pause).await;
        if let Err(error) = store.compact(before(compact_after)).await {
            tracing::warn!(%error, "logs could not be compacted; trying again later");
        }
        let Some(age) = retain_events.filter(|_| trim_at <= Instant::now()) else { continue };
        if let Err(error) = store.trim(before(age)).await {
            tracing::warn!(%error, "old events could not be removed; trying again later");
        }
        trim_at = Instant::now() + (age / 100).min(TRIM_EVERY);
    }
}

/// The time that was so long ago.
fn before(age: Duration) -> Timestamp {
    let micros = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
    Timestamp(Timestamp::now().0.saturating_sub(micros))
}
