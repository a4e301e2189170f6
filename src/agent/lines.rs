//! Lines: splits what a program prints into lines and counts the bytes that are done with.
//!
//! Shared by the parsers; knows no protocol. Memory is bounded: of a line over the limit only the beginning is kept.

/// The longest line that is handed out whole.
const LIMIT: usize = 16 << 20;
/// What is kept of a longer one.
const HEAD: usize = 64 << 10;
/// Capacity the buffer may keep between two lines.
const KEEP: usize = 1 << 20;

/// Splits output into lines and counts bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines {
    /// The line that has begun, without the part that was left out.
    buffer: Vec<u8>,
    /// Bytes of that line which are not in the buffer: it is too long.
    left_out: u64,
    offset: u64,
}

/// One line of output, or what there is of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// A line, without its end.
    Whole(&'a [u8]),
    /// A line over the limit.
    TooLong {
        /// Its first 64 KiB.
        head: &'a [u8],
        /// How many bytes followed.
        left_out: u64,
    },
    /// Half a line at the end of output.
    Partial(&'a [u8]),
}

impl Lines {
    /// Goes on at this offset, which is the beginning of a line.
    pub(super) fn at(offset: u64) -> Self {
        Self { offset, ..Self::default() }
    }

    /// Calls `line` for each line that `bytes` completes. A line that lies whole in `bytes` is not copied.
    pub(super) fn feed(&mut self, bytes: &[u8], mut line: impl FnMut(Line<'_>)) {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (piece, tail) = (&rest[..end], &rest[end + 1..]);
            self.offset += self.pending() + length(piece) + 1;
            if self.pending() == 0 && piece.len() <= LIMIT {
                line(Line::Whole(without_return(piece)));
            } else {
                self.keep(piece);
                line(match self.left_out {
                    0 => Line::Whole(without_return(&self.buffer)),
                    left_out => Line::TooLong { head: &self.buffer, left_out },
                });
                self.clear();
            }
            rest = tail;
        }
        self.keep(rest);
    }

    /// What is left at the end of output: half a line, or nothing. It is then done with, too.
    pub(super) fn finish(&mut self, mut line: impl FnMut(Line<'_>)) {
        self.offset += self.pending();
        match self.left_out {
            0 if self.buffer.is_empty() => {}
            0 => line(Line::Partial(&self.buffer)),
            left_out => line(Line::TooLong { head: &self.buffer, left_out }),
        }
        self.clear();
    }

    /// Bytes up to the end of the last whole line.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    fn pending(&self) -> u64 {
        length(&self.buffer) + self.left_out
    }

    fn keep(&mut self, piece: &[u8]) {
        if self.left_out > 0 {
            self.left_out += length(piece);
        } else if self.buffer.len() + piece.len() <= LIMIT {
            self.buffer.extend_from_slice(piece);
        } else {
            let total = self.pending() + length(piece);
            let missing = HEAD.saturating_sub(self.buffer.len()).min(piece.len());
            self.buffer.extend_from_slice(&piece[..missing]);
            self.buffer.truncate(HEAD);
            self.buffer.shrink_to_fit();
            self.left_out = total - length(&self.buffer);
        }
    }

    fn clear(&mut self) {
        self.buffer.clear();
        self.buffer.shrink_to(KEEP);
        self.left_out = 0;
    }
}

fn length(bytes: &[u8]) -> u64 {
    bytes.len() as u64
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, PartialEq)]
    enum Seen {
        Whole(Vec<u8>),
        TooLong(usize, u64),
        Partial(Vec<u8>),
    }

    fn see(line: Line<'_>) -> Seen {
        match line {
            Line::Whole(bytes) => Seen::Whole(bytes.to_vec()),
            Line::TooLong { head, left_out } => Seen::TooLong(head.len(), left_out),
            Line::Partial(bytes) => Seen::Partial(bytes.to_vec()),
        }
    }

    fn read<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Seen>, u64) {
        let (mut lines, mut seen) = (Lines::default(), Vec::new());
        for chunk in chunks {
            lines.feed(chunk, |line| seen.push(see(line)));
        }
        let offset = lines.offset();
        lines.finish(|line| seen.push(see(line)));
        (seen, offset)
    }

    #[test]
    fn lines_end_with_either_line_end_and_half_a_line_is_told_apart() {
        let (seen, offset) = read([&b"a\r\n\nb"[..], b"c\r", b"\nhalf"]);
        let whole = |bytes: &[u8]| Seen::Whole(bytes.to_vec());
        assert_eq!(seen, [whole(b"a"), whole(b""), whole(b"bc"), Seen::Partial(b"half".to_vec())]);
        assert_eq!(offset, 8);
    }

    #[test]
    fn a_line_inside_one_chunk_is_not_copied() {
        let mut lines = Lines::default();
        let bytes = b"one\ntwo\n";
        let mut at = Vec::new();
        lines.feed(bytes, |line| match line {
            Line::Whole(line) => at.push(line.as_ptr()),
            Line::TooLong { .. } | Line::Partial(_) => panic!("{line:?}"),
        });
        assert_eq!(at, [bytes.as_ptr(), bytes[4..].as_ptr()]);
        assert_eq!(lines.buffer.capacity(), 0);
    }

    #[test]
    fn the_limit_holds_in_one_chunk_and_in_many() {
        for (size, expected) in [
            (LIMIT, Seen::Whole(vec![b'x'; LIMIT])),
            (LIMIT + 1, Seen::TooLong(HEAD, (LIMIT + 1 - HEAD) as u64)),
            (3 * LIMIT, Seen::TooLong(HEAD, (3 * LIMIT - HEAD) as u64)),
        ] {
            let mut bytes = vec![b'x'; size];
            bytes.extend_from_slice(b"\nnext\n");
            for chunk in [usize::MAX, 1 << 20, (1 << 20) + 7] {
                let (seen, offset) = read(bytes.chunks(chunk.min(bytes.len())));
                assert!(seen[0] == expected, "{size} bytes in chunks of {chunk}");
                assert_eq!(seen[1], Seen::Whole(b"next".to_vec()));
                assert_eq!(offset, bytes.len() as u64);
            }
        }
    }

    #[test]
    fn a_long_line_that_never_ends_keeps_only_its_head() {
        let mut lines = Lines::default();
        for _ in 0..40 {
            lines.feed(&vec![b'x'; 1 << 20], |line| panic!("{line:?}"));
        }
        assert!(lines.buffer.capacity() <= 2 * HEAD);
        assert_eq!(lines.offset(), 0);
        lines.finish(|line| assert_eq!(see(line), Seen::TooLong(HEAD, (40 << 20) - HEAD as u64)));
    }

    proptest! {
        #[test]
        fn any_chunks_give_the_same_lines(bytes in prop::collection::vec(prop::sample::select(b"ab\r\n".to_vec()), 0..200),
                                          size in 1_usize..20) {
            prop_assert_eq!(read([&bytes[..]]), read(bytes.chunks(size)));
        }
    }
}
