//! What helpers print about files, read without I/O: fields that NUL ends, which no name holds.

use rustix::fs::FileType as Sort;

use crate::workspace::{Listed, Told};

/// Longest field: a path and what is said of it.
const FIELD_MAX: usize = 16 * 1024;

/// One thing that was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// The sandbox's clock as it began, in nanoseconds.
    Now(i64),
    /// A directory that says of itself that it can be made again.
    Tag(Vec<u8>),
    /// An entry.
    Entry(Listed),
    /// A file that was read, as it looked afterwards, with the hash where it could be read.
    Read {
        /// The file.
        after: Listed,
        /// Of what was read.
        sha256: Option<String>,
        /// Exactly as much was read as `after` says.
        exactly: bool,
    },
    /// All was told.
    End,
}

/// What is not what a helper prints.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a helper in the sandbox printed what cannot be read: {0:?}")]
pub(super) struct Unreadable(String);

/// Where in the text it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Now,
    Tags,
    Entries,
    Reads,
}

/// Reads what comes, in whatever pieces.
#[derive(Debug)]
pub(super) struct Records {
    part: Part,
    rest: Vec<u8>,
    /// An entry whose target is still to come.
    entry: Option<Listed>,
    /// Hashes whose files are still to be described.
    sums: std::collections::HashMap<Vec<u8>, String>,
}

impl Records {
    /// Of a whole look.
    pub(super) fn of_a_look() -> Self {
        Self::beginning(Part::Now)
    }

    /// Of files that are read.
    pub(super) fn of_files() -> Self {
        Self::beginning(Part::Reads)
    }

    fn beginning(part: Part) -> Self {
        Self { part, rest: Vec::new(), entry: None, sums: std::collections::HashMap::new() }
    }

    /// Takes what came, and gives what it tells.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<Vec<Report>, Unreadable> {
        let mut reports = Vec::new();
        let mut pieces = bytes.split(|byte| *byte == 0);
        // What comes last is not ended.
        let last = pieces.next_back().unwrap_or_default();
        for piece in pieces {
            let mut field = std::mem::take(&mut self.rest);
            field.extend_from_slice(piece);
            reports.extend(self.field(field)?);
        }
        self.rest.extend_from_slice(last);
        if self.rest.len() > FIELD_MAX {
            return Err(unreadable(&self.rest));
        }
        Ok(reports)
    }

    fn field(&mut self, field: Vec<u8>) -> Result<Option<Report>, Unreadable> {
        if let Some(entry) = self.entry.take() {
            // The folder itself is none of its entries.
            let told = entry.path != b".";
            return Ok(told.then_some(Report::Entry(Listed { target: field, ..entry })));
        }
        match self.part {
            Part::Now => {
                self.part = Part::Tags;
                let now = std::str::from_utf8(&field).ok().and_then(decimal).ok_or_else(|| unreadable(&field))?;
                Ok(Some(Report::Now(now)))
            }
            Part::Tags if field.is_empty() => {
                self.part = Part::Entries;
                Ok(None)
            }
            Part::Tags => Ok(Some(Report::Tag(below(&field).to_owned()))),
            Part::Entries if field.is_empty() => {
                self.part = Part::Reads;
                Ok(None)
            }
            Part::Entries => {
                self.entry = Some(found(&field).ok_or_else(|| unreadable(&field))?);
                Ok(None)
            }
            Part::Reads if field == b"end" => Ok(Some(Report::End)),
            Part::Reads => self.read(&field),
        }
    }

    /// A hash, or what a file looks like.
    fn read(&mut self, field: &[u8]) -> Result<Option<Report>, Unreadable> {
        let broken = || unreadable(field);
        if let Some(text) = field.strip_prefix(b"s ") {
            let after = stated(text).ok_or_else(broken)?;
            let sha256 = self.sums.remove(&after.path);
            return Ok(Some(Report::Read { after, sha256, exactly: false }));
        }
        if let Some(text) = field.strip_prefix(b"x ") {
            return exactly(text).ok_or_else(broken).map(Some);
        }
        let (sum, path) = field.split_at_checked(66).ok_or_else(broken)?;
        self.sums.insert(below(path).to_owned(), hash(&sum[..64]).ok_or_else(broken)?);
        Ok(None)
    }
}

/// A file of which as much was read as it had: the hash and the size stand before what it looks like.
fn exactly(text: &[u8]) -> Option<Report> {
    let (sum, text) = text.split_at_checked(65)?;
    let mut words = text.splitn(3, |byte| *byte == b' ');
    let (size, mode, rest) = (words.next()?, words.next()?, words.next()?);
    let after = stated(&[mode, b" ", size, b" ", rest].concat())?;
    Some(Report::Read { after, sha256: Some(hash(&sum[..64])?), exactly: true })
}

/// An entry as `find` prints it.
fn found(field: &[u8]) -> Option<Listed> {
    let (closed, field) = field.strip_prefix(b"u").map_or((false, field), |rest| (true, rest));
    let mut words = field.splitn(9, |byte| *byte == b' ');
    let sort = match words.next()? {
        b"f" => Sort::RegularFile,
        b"d" => Sort::Directory,
        b"l" => Sort::Symlink,
        b"p" => Sort::Fifo,
        b"s" => Sort::Socket,
        b"c" => Sort::CharacterDevice,
        b"b" => Sort::BlockDevice,
        _ => Sort::Unknown,
    };
    let mut word = || std::str::from_utf8(words.next()?).ok();
    let mode = u32::from_str_radix(word()?, 8).ok()?;
    let (size, inode, device) = (word()?.parse().ok()?, word()?.parse().ok()?, word()?.parse().ok()?);
    let links = word()?.parse().ok()?;
    let (modified, changed) = (floored(word()?)?, floored(word()?)?);
    let path = below(words.next()?).to_owned();
    let told = Told { device, inode, size, modified, changed };
    Some(Listed { path, sort, mode, links, told, target: Vec::new(), closed })
}

/// An entry as `stat` prints it; its name may be missing.
pub(super) fn stated(field: &[u8]) -> Option<Listed> {
    let mut words = field.splitn(8, |byte| *byte == b' ');
    let mut word = || std::str::from_utf8(words.next()?).ok();
    let mode = u32::from_str_radix(word()?, 16).ok()?;
    let (size, inode, device) = (word()?.parse().ok()?, word()?.parse().ok()?, word()?.parse().ok()?);
    let links = word()?.parse().ok()?;
    let (modified, changed) = (decimal(word()?)?, decimal(word()?)?);
    let path = below(words.next().unwrap_or_default()).to_owned();
    let told = Told { device, inode, size, modified, changed };
    let sort = Sort::from_raw_mode(mode);
    Some(Listed { path, sort, mode, links, told, target: Vec::new(), closed: false })
}

/// Without the folder that helpers begin all paths with.
fn below(path: &[u8]) -> &[u8] {
    path.strip_prefix(b"./").unwrap_or(path)
}

/// 64 hex digits.
pub(super) fn hash(text: &[u8]) -> Option<String> {
    let right = text.len() == 64 && text.iter().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte));
    right.then(|| String::from_utf8_lossy(text).into_owned())
}

/// Nanoseconds of a decimal number of seconds.
pub(super) fn decimal(text: &str) -> Option<i64> {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (seconds, nanos) = parts(text)?;
    let value = seconds.checked_mul(1_000_000_000)?.checked_add(nanos)?;
    Some(if negative { -value } else { value })
}

/// The same as `find` prints it: the seconds below, and what is above them.
fn floored(text: &str) -> Option<i64> {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (seconds, nanos) = parts(text)?;
    let seconds = if negative { -seconds } else { seconds };
    seconds.checked_mul(1_000_000_000)?.checked_add(nanos)
}

fn parts(text: &str) -> Option<(i64, i64)> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
    Some((seconds.parse().ok()?, digits.parse().ok()?))
}

fn unreadable(field: &[u8]) -> Unreadable {
    Unreadable(String::from_utf8_lossy(&field[..field.len().min(200)]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: &str = "644 5 77 66305 1 1700000000.1234567890 -2.5000000000";

    fn all(text: &[u8], size: usize, mut records: Records) -> Result<Vec<Report>, Unreadable> {
        let pieces: Result<Vec<_>, _> = text.chunks(size).map(|piece| records.take(piece)).collect();
        Ok(pieces?.into_iter().flatten().collect())
    }

    fn listing(entries: &[(&[u8], &[u8], &[u8])]) -> Vec<u8> {
        let mut text = b"1700000001.5\0./target\0\0".to_vec();
        for (sort, path, target) in entries {
            text.extend([*sort, b" ", TOLD.as_bytes(), b" ", path, b"\0", target, b"\0"].concat());
        }
        text.extend_from_slice(b"\0end\0");
        text
    }

    #[test]
    fn names_are_bytes_and_pieces_may_end_anywhere() {
        let long = [&b"./"[..], &[b'n'; 255]].concat();
        let names: [&[u8]; 7] =
            [b"./a\nb\n", b"./it's \"quoted\" \\", b"./\xff\xfe", b"./ 644 5 77", b"./d/end", b"./s 1 2 3", &long];
        let entries: Vec<_> = names.iter().map(|name| (&b"f"[..], *name, &b""[..])).collect();
        let entries = [&[(&b"d"[..], &b"."[..], &b""[..])], &*entries, &[(b"l", b"./l", b"./to\na \xff")]].concat();
        let text = listing(&entries);
        for size in [1, 2, 7, 100, text.len()] {
            let reports = all(&text, size, Records::of_a_look()).expect("read");
            assert_eq!(reports[..2], [Report::Now(1_700_000_001_500_000_000), Report::Tag(b"target".to_vec())]);
            let paths: Vec<&[u8]> = reports
                .iter()
                .filter_map(|report| match report {
                    Report::Entry(listed) => Some(&*listed.path),
                    Report::Now(_) | Report::Tag(_) | Report::Read { .. } | Report::End => None,
                })
                .collect();
            let expected: Vec<&[u8]> = names.iter().map(|name| &name[2..]).chain([&b"l"[..]]).collect();
            assert_eq!(paths, expected);
            let Report::Entry(link) = &reports[reports.len() - 2] else { panic!("{reports:?}") };
            assert_eq!((link.sort, &*link.target), (Sort::Symlink, &b"./to\na \xff"[..]));
            // As `find` has it: half a second above two before the beginning.
            assert_eq!((link.told.modified, link.told.changed), (1_700_000_000_123_456_789, -1_500_000_000));
            assert_eq!(reports.last(), Some(&Report::End));
        }
    }

    #[test]
    fn what_was_read_goes_with_its_hash() {
        let hash = "a".repeat(64);
        let text = format!(
            "{hash}  ./x y\n\0s 81a4 5 77 66305 1 1.000000000 -0.000001000 ./x y\n\0s 81a4 5 78 66305 1 1 1 ./unread\0\
             x {hash} 3 81a4 77 66305 1 1 1 ./grows\0end\0"
        );
        let reports = all(text.as_bytes(), 5, Records::of_files()).expect("read");
        let read: Vec<(&[u8], bool, u64, bool)> = reports
            .iter()
            .filter_map(|report| match report {
                Report::Read { after, sha256, exactly } => {
                    Some((&*after.path, sha256.as_ref() == Some(&hash), after.told.size, *exactly))
                }
                Report::Now(_) | Report::Tag(_) | Report::Entry(_) | Report::End => None,
            })
            .collect();
        let expected: [(&[u8], bool, u64, bool); 3] =
            [(b"x y\n", true, 5, false), (b"unread", false, 5, false), (b"grows", true, 3, true)];
        assert_eq!(read, expected);
        let Report::Read { after, .. } = &reports[0] else { panic!("{reports:?}") };
        assert_eq!(after.told.changed, -1000);
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [&b"now\0"[..], b"1\0\0f 644 x\0", b"1\0\0\0zz\0", b"1\0\0\0s 81a4 5\0"] {
            assert!(all(text, 3, Records::of_a_look()).is_err(), "{}", String::from_utf8_lossy(text));
        }
        let endless = vec![b'x'; FIELD_MAX + 1];
        assert!(all(&endless, 4096, Records::of_a_look()).is_err());
    }
}
