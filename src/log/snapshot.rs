//! Snapshots in pages: what a watch begins with, without a long session ever lying in memory for somebody who reads slowly.
//!
//! What is small, and the blocks that stream, are read at one moment. The other blocks are final and do not change, so
//! they can be read later, page by page. An agent may begin a final block again all the same; then the snapshot starts
//! over.

use std::collections::BTreeMap;

use super::{EventLog, failure, filter::Sieve};
use crate::{
    domain::{Block, Failure, SessionKey, SessionState},
    store::SnapshotHead,
};

/// Bytes of one page, about.
const PAGE_BYTES: usize = 256 * 1024;

/// A snapshot, and how far its blocks were read.
#[derive(Debug)]
pub struct Snapshot {
    state: SessionState,
    streaming: BTreeMap<i64, Block>,
    after: i64,
}

/// What a snapshot goes on with.
#[derive(Debug)]
pub enum Blocks {
    /// These.
    Next(Vec<Block>),
    /// Nothing: it is complete.
    Complete,
    /// A block is not what it was: start over.
    Changed,
}

impl Snapshot {
    pub(super) async fn read(log: &EventLog, key: &SessionKey, sieve: &Sieve) -> Result<Self, Failure> {
        let head = log.store().snapshot_head(key).await.map_err(|error| failure(error, key))?;
        let SnapshotHead { mut state, places } = head.ok_or_else(|| Failure::session_not_found(&key.session))?;
        let streaming = places.into_iter().zip(std::mem::take(&mut state.blocks)).collect();
        sieve.sift(&mut state);
        Ok(Self { state, streaming, after: 0 })
    }

    /// Sequence it is true at.
    #[must_use]
    pub fn sequence(&self) -> i64 {
        self.state.session.sequence
    }

    /// All but the blocks, of which it has none.
    #[must_use]
    pub fn state(&self) -> &SessionState {
        &self.state
    }

    pub(super) async fn blocks(&mut self, log: &EventLog, key: &SessionKey, sieve: &Sieve) -> Result<Blocks, Failure> {
        let page = log.store().final_blocks(key, self.sequence(), self.after, PAGE_BYTES).await;
        let page = page.map_err(|error| failure(error, key))?;
        let page = page.ok_or_else(|| Failure::session_not_found(&key.session))?;
        let Some(last) = page.last() else { return Ok(Blocks::Complete) };
        self.after = last.place;
        let mut blocks = Vec::with_capacity(page.len());
        for placed in page {
            match self.streaming.remove(&placed.place).or(placed.block) {
                Some(block) if sieve.has(&block.conversation_id) => blocks.push(block),
                Some(_) => {}
                None => return Ok(Blocks::Changed),
            }
        }
        Ok(Blocks::Next(blocks))
    }
}
