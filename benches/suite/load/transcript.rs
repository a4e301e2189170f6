//! Opening a session with a long history: its snapshot, and the newest of its blocks.

use std::time::Instant;

use agent_runtime::proto::{ListBlocksRequest, ListOrder, session_event::Kind};

use super::{
    Params,
    client::{self, Client},
    script,
};
use crate::{Failure, proc::Memory, spread::Spread};

/// Deltas of one block of 2 kB: a megabyte has 500.
const BLOCK: u64 = 100;

pub(crate) async fn run(params: &Params) -> Result<String, Failure> {
    let (megabytes, calls): (u64, usize) = (params.get("history_mb", 1)?, params.get("calls", 50)?);
    let mut control = client::connect(params, 1024).await?;
    let ids = client::create_many(&control, 1).await?;
    let id = ids[0].as_str();
    client::play(&mut control, id, &script::blocks(megabytes * 500, BLOCK)).await?;
    client::stop_all(&control, &ids).await?;
    let before = params.pid.map(Memory::of).transpose()?;
    let first = open(&mut control, id).await?;
    if first.bytes as u64 != megabytes * 1_000_000 {
        return Err(format!("the snapshot has {} bytes of text", first.bytes).into());
    }
    let again = open(&mut control, id).await?;
    let after = params.pid.map(Memory::of).transpose()?;
    let mut millis = Vec::new();
    for _ in 0..calls {
        let request = ListBlocksRequest {
            session_id: id.into(),
            order: ListOrder::NewestFirst.into(),
            page_size: 100,
            ..Default::default()
        };
        let began = Instant::now();
        let blocks = control.list_blocks(request).await?.into_inner().blocks.len();
        millis.push(began.elapsed().as_secs_f64() * 1e3);
        if blocks != 100 {
            return Err(format!("a page has {blocks} of the newest 100 blocks").into());
        }
    }
    let newest = Spread::of(millis);
    let told = format!(
        "blocks={} first_ms={:.2} complete_ms={:.1} again_first_ms={:.2} again_complete_ms={:.1} newest_100_ms={:.2} \
         newest_100_p99_ms={:.2}",
        megabytes * 500 + 1,
        first.frame,
        first.complete,
        again.frame,
        again.complete,
        newest.median,
        newest.p99
    );
    let (Some(before), Some(after)) = (before, after) else { return Ok(told) };
    let grown = after.peak_kb - before.rss_kb;
    Ok(format!("{told} rss_kb={:.0} rss_before_kb={:.0} peak_growth_kb={grown:.0}", after.rss_kb, before.rss_kb))
}

/// Milliseconds to the first frame and to the last of the snapshot, and the bytes of text in it.
struct Opened {
    frame: f64,
    complete: f64,
    bytes: usize,
}

async fn open(client: &mut Client, id: &str) -> Result<Opened, Failure> {
    use agent_runtime::proto::block::Content;
    let began = Instant::now();
    let mut stream = client::watch(client, id, None).await?;
    let (mut frame, mut bytes) = (None, 0);
    loop {
        let response = stream.message().await?.ok_or("the watch ended")?;
        let millis = began.elapsed().as_secs_f64() * 1e3;
        frame.get_or_insert(millis);
        for event in response.events {
            match event.kind {
                Some(Kind::SnapshotChunk(chunk)) => {
                    for block in chunk.state.into_iter().flat_map(|state| state.blocks) {
                        if let Some(Content::AssistantText(said)) = block.content {
                            bytes += said.text.len();
                        }
                    }
                }
                Some(Kind::SnapshotComplete(_)) => {
                    return Ok(Opened { frame: frame.unwrap_or(millis), complete: millis, bytes });
                }
                _ => {}
            }
        }
    }
}
