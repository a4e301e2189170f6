//! What one more short turn costs the server, by how long the history is already.

use std::time::Instant;

use super::{Params, client, script};
use crate::{Failure, number, proc::Threads};

/// Deltas of one block of 50 kB: a megabyte has twenty.
const BLOCK: u64 = 2500;

pub(crate) async fn run(params: &Params) -> Result<String, Failure> {
    let (megabytes, turns): (u64, u64) = (params.get("history_mb", 1)?, params.get("turns", 200)?);
    let pid = params.pid.ok_or("turn_cost needs --pid: it reads the server's CPU clocks")?;
    let control = client::connect(params, 0).await?;
    let ids = client::create_warm(&control, 1).await?;
    let (mut client, id) = (control.clone(), ids[0].as_str());
    client::run(&mut client, id, &script::blocks(megabytes * 20, BLOCK)).await?;
    // What the history left to do is done, and the way is warm.
    for _ in 0..20 {
        client::run(&mut client, id, r#"[{"count":1}]"#).await?;
    }
    let (before, began) = (Threads::of(pid)?, Instant::now());
    for _ in 0..turns {
        client::run(&mut client, id, r#"[{"count":1}]"#).await?;
    }
    let seconds = began.elapsed().as_secs_f64();
    let (millis, ended) = Threads::of(pid)?.since(&before);
    client::stop_all(&control, &ids).await?;
    let turns = number(turns);
    Ok(format!(
        "cpu_ms_per_turn={:.3} ms_per_turn={:.2} cpu_of=task_schedstat threads_ended={ended}",
        millis / turns,
        seconds * 1e3 / turns
    ))
}
