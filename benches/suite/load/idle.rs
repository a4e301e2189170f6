//! What the server holds in memory for sessions, watches and connections that do nothing.

use std::time::Duration;

use super::{Params, client};
use crate::{
    Failure, number,
    proc::{Memory, Threads},
};

/// With `watches` or `connections`, of these; else of sessions that were loaded once and have come to rest.
pub(crate) async fn run(params: &Params) -> Result<String, Failure> {
    let sessions: usize = params.get("sessions", 1000)?;
    let (watches, connections): (usize, usize) = (params.get("watches", 0)?, params.get("connections", 0)?);
    let rest = Duration::from_millis(params.get("rest_ms", 1500)?);
    let pid = params.pid.ok_or("idle needs --pid: it reads the server's memory")?;
    let control = client::connect(params, 0).await?;
    // So that the first call is behind it.
    control.clone().list_sessions(agent_runtime::proto::ListSessionsRequest::default()).await?;
    tokio::time::sleep(rest).await;
    let base = Memory::of(pid)?;
    let ids = client::create_many(&control, sessions).await?;
    // For each an actor is started, which takes the session from the store, and ends again.
    client::stop_all(&control, &ids).await?;
    tokio::time::sleep(rest).await;
    let loaded = Memory::of(pid)?;
    let told = format!("base_rss_kb={:.0} rss_kb={:.0}", base.rss_kb, loaded.rss_kb);
    if watches + connections == 0 {
        let each = (loaded.rss_kb - base.rss_kb) / number(sessions as u64);
        return Ok(format!("{told} kb_per_session={each:.2} loaded_by=StopSession peak_rss_kb={:.0}", loaded.peak_kb));
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
