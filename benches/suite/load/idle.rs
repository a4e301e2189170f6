//! What the server holds in memory for sessions, watches and connections that do nothing.

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    Params,
    client::{self, Client},
};
use crate::{
    Failure, number,
    proc::{Memory, Threads},
};

/// Turns that run at once: each is a process more.
const AGENTS: usize = 16;

/// With `watches` or `connections`, of these; else of sessions that were loaded once and have come to rest.
pub(crate) async fn run(params: &Params) -> Result<String, Failure> {
    let (sessions, turns): (usize, usize) = (params.get("sessions", 1000)?, params.get("turns", 0)?);
    let (watches, connections): (usize, usize) = (params.get("watches", 0)?, params.get("connections", 0)?);
    let rest = Duration::from_millis(params.get("rest_ms", 1500)?);
    let pid = params.pid.ok_or("idle needs --pid: it reads the server's memory")?;
    let control = client::connect(params, 0).await?;
    // So that the first call is behind it.
    control.clone().list_sessions(agent_runtime::proto::ListSessionsRequest::default()).await?;
    tokio::time::sleep(rest).await;
    let base = Memory::of(pid)?;
    // In two halves: the second tells what one more takes, without what the first ones of all take.
    let mut ids = load(&control, sessions / 2, turns).await?;
    tokio::time::sleep(rest).await;
    let half = Memory::of(pid)?;
    ids.append(&mut load(&control, sessions - sessions / 2, turns).await?);
    tokio::time::sleep(rest).await;
    let loaded = Memory::of(pid)?;
    let told = format!("base_rss_kb={:.0} rss_kb={:.0}", base.rss_kb, loaded.rss_kb);
    if watches + connections == 0 {
        let each = (loaded.rss_kb - base.rss_kb) / number(sessions as u64);
        let further = (loaded.rss_kb - half.rss_kb) / number((sessions - sessions / 2) as u64);
        let by = if turns == 0 { "StopSession" } else { "RunTurn,StopSession" };
        return Ok(format!(
            "{told} kb_per_session={each:.2} kb_per_further_session={further:.2} loaded_by={by} peak_rss_kb={:.0}",
            loaded.peak_kb
        ));
    }
    let mut held = Vec::new();
    for at in 0..watches.max(connections) {
        let mut client = if connections > 0 { client::connect(params, 0).await? } else { control.clone() };
        let mut stream = client::watch(&mut client, &ids[at % sessions], Some(0)).await?;
        // Up to the last event there is: it stands behind the replay.
        let mut cursor = 0;
        while cursor < 2 {
            let response = stream.message().await?.ok_or("the watch ended")?;
            cursor = response.events.last().map_or(cursor, |event| event.sequence);
        }
        held.push((stream, client));
    }
    tokio::time::sleep(rest).await;
    let (now, before) = (Memory::of(pid)?, Threads::of(pid)?);
    tokio::time::sleep(rest).await;
    let (millis, _) = Threads::of(pid)?.since(&before);
    let each = (now.rss_kb - loaded.rss_kb) / number(held.len() as u64);
    let of = if connections > 0 { "connection" } else { "watch" };
    let cpu = millis / rest.as_secs_f64();
    Ok(format!("{told} watching_rss_kb={:.0} kb_per_{of}={each:.2} idle_cpu_ms_per_s={cpu:.2}", now.rss_kb))
}

/// For each session an actor is started, which takes it from the store, and ends again. With turns an agent ran, too.
async fn load(client: &Client, count: usize, turns: usize) -> Result<Vec<String>, Failure> {
    let ids = client::create_many(client, count).await?;
    for _ in 0..turns {
        let played = stream::iter(&ids).map(|id| {
            let mut client = client.clone();
            async move { client::run(&mut client, id, r#"[{"count":10}]"#).await }
        });
        played.buffer_unordered(AGENTS).try_for_each(|()| std::future::ready(Ok(()))).await?;
    }
    client::stop_all(client, &ids).await?;
    Ok(ids)
}
