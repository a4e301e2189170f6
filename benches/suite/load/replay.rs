//! One long log, read from its first event by some watchers at once.

use std::time::Instant;

use tokio::task::JoinSet;

use super::{
    Params, client,
    count::{self, Count},
    follow,
    meter::Meter,
    script,
};
use crate::{Failure, number, spread::Spread};

pub(crate) async fn run(params: &Params) -> Result<String, Failure> {
    // More blocks than a delta looks back for one to merge with: each delta is an event of its own.
    let (blocks, deltas): (u64, u64) = (params.get("blocks", 64)?, params.get("deltas", 100_000)?);
    let (watchers, rounds): (usize, u64) = (params.get("watchers", 1)?, params.get("rounds", 5)?);
    let window_kb: u32 = params.get("window_kb", 1024)?;
    let mut control = client::connect(params, 0).await?;
    let ids = client::create_warm(&control, 1).await?;
    let id = ids[0].as_str();
    let began = Instant::now();
    client::play(&mut control, id, &script::interleaved(deltas, blocks)).await?;
    let stored_in = began.elapsed().as_secs_f64();
    client::stop_all(&control, &ids).await?;
    let mut clients = Vec::new();
    for _ in 0..watchers {
        clients.push(client::connect(params, window_kb).await?);
    }
    let meter = Meter::begin(params)?;
    let (mut rates, mut events, mut carried) = (Vec::new(), 0, 0);
    for _ in 0..rounds {
        let mut tasks = JoinSet::new();
        let began = Instant::now();
        for client in &clients {
            let (mut client, id) = (client.clone(), id.to_owned());
            tasks.spawn(async move {
                let stream = client::watch(&mut client, &id, Some(0)).await?;
                follow::finish(Count::new(1, count::PLAIN), stream).await
            });
        }
        let mut seen = 0;
        while let Some(count) = tasks.join_next().await {
            let count = count??;
            count.check(deltas)?;
            seen += count.events;
            carried += count.last;
        }
        rates.push(number(seen) / began.elapsed().as_secs_f64());
        events += seen;
    }
    let cost = meter.end(events)?;
    let rate = Spread::of(rates);
    let seconds = number(events) / number(rounds) / rate.median;
    Ok(format!(
        "events={} carried={} stored_per_s={:.0} events_per_s={:.0} min={:.0} max={:.0} carried_per_s={:.0} lost=0 {cost}",
        events / rounds / watchers as u64,
        deltas,
        number(deltas) / stored_in,
        rate.median,
        rate.min,
        rate.max,
        number(carried / rounds) / seconds,
    ))
}
