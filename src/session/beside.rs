//! What is kept beside the log: the text of blocks past what they hold inline, and bytes that they name by hash. It waits
//! here for the batch of the events that lose the one and name the other.

use std::{collections::HashMap, mem};

use sha2::{Digest as _, Sha256};

use crate::{
    domain::{Block, BlockId},
    store::{Beside, BlobBytes, TextPiece},
};

/// Text of one block that is kept, inline and beside; what is beyond is only counted.
const MAX_KEPT_BYTES: usize = 64 << 20;
/// Bytes of one piece.
const PIECE_BYTES: usize = 256 << 10;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    beside: Beside,
    bytes: usize,
    /// The open blocks whose text was cut. How much they lost stands here, because no event tells it before the last one.
    tails: HashMap<BlockId, Tail>,
}

/// The text after the inline part, told apart without keeping it.
#[derive(Clone, Debug)]
struct Tail {
    inline: usize,
    lost: usize,
    /// `None`: an earlier owner saw the beginning.
    hash: Option<Sha256>,
}

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.beside.texts.is_empty() && self.beside.blobs.is_empty() && self.beside.names.is_empty()
    }

    /// How many bytes wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// So much waits that it should not wait for more.
    pub(super) fn is_urgent(&self) -> bool {
        self.bytes >= PIECE_BYTES
    }

    /// Takes what waits.
    pub(super) fn drain(&mut self) -> Beside {
        self.bytes = 0;
        mem::take(&mut self.beside)
    }

    /// A block of this id begins, and is whole.
    pub(super) fn forget(&mut self, id: &BlockId) {
        self.tails.remove(id);
    }

    /// Forgets the blocks that are not open any more.
    pub(super) fn prune(&mut self, is_open: impl Fn(&BlockId) -> bool) {
        self.tails.retain(|id, _| is_open(id));
    }

    /// Bytes that an event of this batch names.
    pub(super) fn blob(&mut self, sha256: String, data: Vec<u8>) {
        self.bytes += data.len();
        self.beside.blobs.push(BlobBytes { sha256, data });
    }

    /// Bytes that were put ahead, and that an event of this batch names.
    pub(super) fn name(&mut self, names: Vec<String>) {
        self.beside.names.extend(names);
    }

    /// How much of a block's text is not inline so far.
    pub(super) fn lost(&self, block: &Block) -> usize {
        let told = || usize::try_from(block.truncated_bytes).unwrap_or(0);
        self.tails.get(&block.block_id).map_or_else(told, |tail| tail.lost)
    }

    /// The text of a block goes on: `cut` bytes of it were lost before, after `inline` ones.
    pub(super) fn grow(&mut self, id: &BlockId, inline: usize, cut: usize, lost: &str) {
        if cut == 0 {
            return self.put(id, inline, lost);
        }
        let tail = self.tails.entry(id.clone()).or_insert(Tail { inline, lost: cut, hash: None });
        tail.lost = cut + lost.len();
        if let Some(hash) = &mut tail.hash {
            hash.update(lost);
        }
        self.push(id, inline + cut, lost.as_bytes(), false);
    }

    /// The text of a block was told whole; all but `inline` bytes of it are lost. Nothing is written twice.
    pub(super) fn put(&mut self, id: &BlockId, inline: usize, lost: &str) {
        let tail = Tail { inline, lost: lost.len(), hash: Some(Sha256::new_with_prefix(lost)) };
        let known = self.tails.get(id).is_some_and(|held| held.is(&tail));
        self.tails.insert(id.clone(), tail);
        if !known {
            self.beside.texts.retain(|piece| piece.block_id != *id);
            self.push(id, inline, lost.as_bytes(), true);
        }
    }

    fn push(&mut self, id: &BlockId, mut offset: usize, data: &[u8], mut anew: bool) {
        let mut data = &data[..data.len().min(MAX_KEPT_BYTES.saturating_sub(offset))];
        if !anew && let Some(last) = self.beside.texts.iter_mut().rev().find(|piece| piece.block_id == *id) {
            let fits = data.len().min(PIECE_BYTES.saturating_sub(last.data.len()));
            last.data.extend_from_slice(&data[..fits]);
            self.bytes += fits;
            (offset, data) = (offset + fits, &data[fits..]);
        }
        while anew || !data.is_empty() {
            let (piece, rest) = data.split_at(data.len().min(PIECE_BYTES));
            self.beside.texts.push(TextPiece {
                block_id: id.clone(),
                offset: offset as u64,
                data: piece.to_vec(),
                anew,
            });
            self.bytes += piece.len();
            (offset, data, anew) = (offset + piece.len(), rest, false);
        }
    }
}

impl Tail {
    fn is(&self, other: &Self) -> bool {
        let hash = |tail: &Self| tail.hash.clone().map(Sha256::finalize);
        self.hash.is_some() && self.inline == other.inline && self.lost == other.lost && hash(self) == hash(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(beside: &Beside) -> Vec<(u64, usize, bool)> {
        beside.texts.iter().map(|piece| (piece.offset, piece.data.len(), piece.anew)).collect()
    }

    #[test]
    fn what_is_lost_line_by_line_is_one_piece_and_a_long_line_is_many() {
        let (mut waiting, id) = (Waiting::default(), BlockId::new("b"));
        waiting.grow(&id, 10, 0, "a");
        waiting.grow(&id, 10, 1, "bc");
        assert_eq!((waiting.bytes(), waiting.is_urgent()), (3, false));
        let long = "x".repeat(PIECE_BYTES * 2);
        waiting.grow(&id, 10, 3, &long);
        assert!(waiting.is_urgent());
        let all = pieces(&waiting.drain());
        let after = 10 + PIECE_BYTES as u64;
        assert_eq!(all, [(10, PIECE_BYTES, true), (after, PIECE_BYTES, false), (after * 2 - 10, 3, false)]);
        assert!(waiting.is_empty());
        waiting.grow(&id, 10, 3 + long.len(), "d");
        assert_eq!(pieces(&waiting.drain()), [(after * 2 - 7, 1, false)]);
    }

    #[test]
    fn a_whole_text_is_written_only_where_it_is_another_one() {
        let (mut waiting, id) = (Waiting::default(), BlockId::new("b"));
        waiting.grow(&id, 10, 0, "ab");
        waiting.drain();
        waiting.grow(&id, 10, 2, "c");
        waiting.drain();
        waiting.put(&id, 10, "abc");
        assert!(waiting.is_empty());
        waiting.grow(&id, 10, 3, "d");
        // What waits of the old text goes with it.
        waiting.put(&id, 10, "abx");
        assert_eq!(pieces(&waiting.drain()), [(10, 3, true)]);
        waiting.put(&id, 9, "abx");
        assert_eq!(pieces(&waiting.drain()), [(9, 3, true)]);
        waiting.put(&id, 10, "");
        assert_eq!(pieces(&waiting.drain()), [(10, 0, true)]);
        // An owner that did not see the beginning cannot tell.
        waiting.prune(|_| false);
        waiting.grow(&id, 10, 3, "d");
        waiting.drain();
        waiting.put(&id, 10, "abcd");
        assert_eq!(pieces(&waiting.drain()), [(10, 4, true)]);
    }

    #[test]
    fn past_the_bound_text_is_only_counted() {
        let (mut waiting, id) = (Waiting::default(), BlockId::new("b"));
        waiting.grow(&id, 10, MAX_KEPT_BYTES - 12, "abc");
        waiting.grow(&id, 10, MAX_KEPT_BYTES - 9, "abc");
        assert_eq!(pieces(&waiting.drain()), [(MAX_KEPT_BYTES as u64 - 2, 2, false)]);
        waiting.grow(&id, 10, MAX_KEPT_BYTES, "abc");
        assert!(waiting.is_empty());
    }
}
