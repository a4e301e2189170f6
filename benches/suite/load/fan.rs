//! Sessions whose agents count, and watchers that each must see every number in order.

use std::time::{Duration, Instant};

use agent_runtime::proto;
use tokio::task::JoinSet;

use super::{
    Params, client,
    count::{self, Count},
    follow,
    meter::Meter,
    script,
};
use crate::{Failure, number};

pub(crate) async fn run(params: &Params) -> Result<String, Failure> {
    let sessions: usize = params.get("sessions", 1)?;
    let watchers: usize = params.get("watchers", 1)?;
    let deltas: u64 = params.get("deltas", 100_000)?;
    let rate: u64 = params.get("rate", 0)?;
    let window_kb: u32 = params.get("window_kb", 1024)?;
    let connections: usize = params.get("connections", 0)?;
    let stalled: usize = params.get("stalled", 0)?;
    let delay: u64 = params.get("max_batch_delay_ms", 0)?;
    let size = if rate > 0 { count::STAMPED } else { count::PLAIN };

    let control = client::connect(params, 0).await?;
    let ids = client::create_warm(&control, sessions).await?;
    let mut shared = Vec::new();
    for _ in 0..connections {
        shared.push(client::connect(params, window_kb).await?);
    }
    let mut tasks = JoinSet::new();
    for at in 0..sessions * watchers {
        let mut client = match connections {
            0 => client::connect(params, window_kb).await?,
            _ => shared[at % connections].clone(),
        };
        let delay = (delay > 0)
            .then(|| prost_types::Duration { seconds: 0, nanos: i32::try_from(delay * 1_000_000).unwrap_or(i32::MAX) });
        let request = proto::WatchSessionRequest {
            session_id: ids[at % sessions].clone(),
            after_sequence: Some(0),
            max_batch_delay: delay,
            ..Default::default()
        };
        let stream = client::watch_with(&mut client, request).await?;
        tasks.spawn(async move {
            let counted = follow::finish(Count::new(1, size), stream).await;
            drop(client);
            counted
        });
    }
    // They hold their streams and read nothing.
    let mut held = Vec::new();
    for at in 0..stalled {
        let mut client = client::connect(params, 0).await?;
        held.push((client::watch(&mut client, &ids[at % sessions], Some(0)).await?, client));
    }
    // So that what opening and warming left to do is done.
    tokio::time::sleep(Duration::from_millis(300)).await;

    let meter = Meter::begin(params)?;
    let began = Instant::now();
    client::send_all(&control, &ids, &script::numbers(deltas, size, 1_000_000_u64.checked_div(rate).unwrap_or(0)))
        .await?;
    let mut all = Totals::default();
    while let Some(counted) = tasks.join_next().await {
        all.add(counted??, deltas)?;
    }
    if watchers == 0 {
        for id in &ids {
            client::at_rest(&mut control.clone(), id).await?;
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let lines = deltas * sessions as u64;
    let carried = lines * watchers.max(1) as u64;
    let cost = meter.end(carried)?;
    // What is stored, as one who comes now reads it.
    for id in &ids {
        let stream = client::watch(&mut control.clone(), id, Some(0)).await?;
        follow::finish(Count::new(1, size), stream).await?.check(deltas)?;
    }
    drop(held);
    client::stop_all(&control, &ids).await?;
    let told = if watchers == 0 {
        format!("lines_per_s={:.0}", number(lines) / seconds)
    } else {
        format!("carried_per_s={:.0} lost=0 {}", number(carried) / seconds, all.told())
    };
    Ok(format!("{told} seconds={seconds:.2} {cost} stored={lines}"))
}

/// What all watchers saw.
#[derive(Default)]
struct Totals {
    responses: u64,
    events: u64,
    latencies: Vec<u32>,
}

impl Totals {
    fn add(&mut self, mut count: Count, expected: u64) -> Result<(), Failure> {
        count.check(expected)?;
        self.responses += count.responses;
        self.events += count.events;
        self.latencies.append(&mut count.latencies);
        Ok(())
    }

    fn told(&mut self) -> String {
        let told = format!("events={} responses={}", self.events, self.responses);
        if self.latencies.is_empty() {
            return told;
        }
        self.latencies.sort_unstable();
        let at = |thousandth| count::quantile(&self.latencies, thousandth);
        format!("{told} p50_us={} p99_us={} p999_us={}", at(500), at(990), at(999))
    }
}
