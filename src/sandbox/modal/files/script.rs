//! The helpers' programs: shell scripts for any POSIX shell with GNU's file tools, whose text is the same whatever they are
//! about. What they are about stands in their arguments and their input, or, where that is a list of things to do, in quotes
//! that no name can end.

use std::fmt::Write as _;

use crate::{
    domain::Timestamp,
    workspace::{Repair, Step},
};

/// What every one begins with.
const COMMON: &str = include_str!("sh/common.sh");

/// Longest list of names behind one command, in bytes.
const NAMES_MAX: usize = 60_000;

/// What is not what it says by its name, in a tree.
pub(super) const ASIDE: &str = ".agent-runtime-";

/// A helper of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Script {
    Look,
    Hash,
    Entry,
    Read,
    Small,
    Write,
    Delete,
    Stand,
    Gather,
    Bring,
    Empty,
}

impl Script {
    /// Its command line: for the folder `root`, which it does not leave.
    pub(super) fn command(self, root: &str, arguments: &[&str]) -> Vec<String> {
        let body = match self {
            Self::Look => include_str!("sh/look.sh"),
            Self::Hash => include_str!("sh/hash.sh"),
            Self::Entry => include_str!("sh/entry.sh"),
            Self::Read => include_str!("sh/read.sh"),
            Self::Small => include_str!("sh/small.sh"),
            Self::Write => include_str!("sh/write.sh"),
            Self::Delete => include_str!("sh/delete.sh"),
            Self::Stand => include_str!("sh/stand.sh"),
            Self::Gather => include_str!("sh/gather.sh"),
            Self::Bring => include_str!("sh/bring.sh"),
            Self::Empty => include_str!("sh/empty.sh"),
        };
        let fixed = ["sh".to_owned(), "-c".to_owned(), [COMMON, body].concat(), "agent-runtime".to_owned()];
        fixed.into_iter().chain([root.to_owned()]).chain(arguments.iter().map(|text| (*text).to_owned())).collect()
    }
}

/// What `bring` does before and after it unpacks.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Around {
    pub(super) before: Vec<u8>,
    pub(super) after: Vec<u8>,
}

/// Moves what was unpacked aside to where it belongs, all of it or nothing.
pub(super) fn moves(steps: &[Step]) -> Vec<u8> {
    let (mut done, mut undone) = (Vec::new(), Vec::new());
    let mut count = 0;
    let mut step = |what: Vec<u8>, back: Option<Vec<u8>>| {
        done.extend([&b"step "[..], &what, b"\n"].concat());
        count += 1;
        if let Some(back) = back {
            undone.push([format!("[ \"$done\" -lt {count} ] || ").as_bytes(), &back, b"\n"].concat());
        }
    };
    for (index, one) in steps.iter().enumerate() {
        match one {
            Step::Make(path) => {
                let path = quoted(path.as_bytes());
                step([b"mkdir -m 755 -- ", &*path].concat(), Some([b"rmdir -- ", &*path].concat()));
            }
            Step::Move { from, to, replaces } => {
                let (to, from) = (quoted(to.as_bytes()), quoted(from.as_bytes()));
                let new = [b"\"$aside/new\"/", &*from].concat();
                if *replaces {
                    let old = format!("\"$aside/old/{index}\"").into_bytes();
                    step(moved(&to, &old), Some(moved(&old, &to)));
                }
                step(moved(&new, &to), Some(moved(&to, &new)));
            }
            Step::Mode(path, mode) => {
                step([format!("chmod {mode:o} -- ").as_bytes(), &*quoted(path.as_bytes())].concat(), None);
            }
        }
    }
    undone.reverse();
    [b"undo() {\n:\n", &*undone.concat(), b"}\n", &*done].concat()
}

/// Does around the unpacking what puts a tree back.
pub(super) fn repair(repair: &Repair) -> Around {
    let mut around = Around::default();
    let open: Vec<_> = repair.open.iter().map(|path| ("700".to_owned(), path.as_bytes())).collect();
    around.before.extend(modes(&open));
    for path in &repair.enforce {
        around.before.extend([b"try be_directory ", &*quoted(path.as_bytes()), b"\n"].concat());
    }
    around.before.extend(each("rm -rf", repair.remove.iter().map(Vec::as_slice)));
    for (path, time) in &repair.times {
        let touch = format!("try touch -h -m -d @{} -- ", seconds(*time));
        around.after.extend([touch.as_bytes(), &quoted(path.as_bytes()), b"\n"].concat());
    }
    let set: Vec<_> = repair.modes.iter().map(|(path, mode)| (format!("{mode:o}"), path.as_bytes())).collect();
    around.after.extend(modes(&set));
    around
}

fn moved(from: &[u8], to: &[u8]) -> Vec<u8> {
    [b"mv -T -- ", from, b" ", to].concat()
}

/// Sets modes in this order, several at once where they are the same.
fn modes(paths: &[(String, &[u8])]) -> Vec<u8> {
    let same = paths.chunk_by(|(one, _), (other, _)| one == other);
    same.flat_map(|same| each(&format!("chmod {}", same[0].0), same.iter().map(|(_, path)| *path))).collect()
}

/// The same command for all, with as many names as one may have.
fn each<'p>(command: &str, paths: impl Iterator<Item = &'p [u8]>) -> Vec<u8> {
    let (mut text, mut length) = (Vec::new(), NAMES_MAX);
    for path in paths {
        let path = quoted(path);
        if length + path.len() >= NAMES_MAX {
            let end = if text.is_empty() { "" } else { "\n" };
            text.extend_from_slice(format!("{end}try {command} --").as_bytes());
            length = 0;
        }
        text.push(b' ');
        text.extend_from_slice(&path);
        length += path.len() + 1;
    }
    if !text.is_empty() {
        text.push(b'\n');
    }
    text
}

/// A path as a word of a shell: below the folder, whatever its bytes are.
pub(super) fn quoted(path: &[u8]) -> Vec<u8> {
    let mut word = b"'./".to_vec();
    for byte in path {
        match byte {
            b'\'' => word.extend_from_slice(b"'\\''"),
            byte => word.push(*byte),
        }
    }
    word.push(b'\'');
    word
}

/// As `touch` and `find` read it.
fn seconds(Timestamp(micros): Timestamp) -> String {
    nanoseconds(micros.saturating_mul(1000))
}

/// The same of nanoseconds.
pub(super) fn nanoseconds(nanos: i64) -> String {
    let mut text = if nanos < 0 { "-".to_owned() } else { String::new() };
    let nanos = nanos.unsigned_abs();
    // Writing to a string cannot fail.
    let _ = write!(text, "{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_ends_its_quotes() {
        assert_eq!(quoted(b"it's; rm -rf /\n$(x)\xff"), b"'./it'\\''s; rm -rf /\n$(x)\xff'");
    }

    #[test]
    fn commands_are_not_too_long_for_a_machine() {
        let names: Vec<Vec<u8>> = (0..5000).map(|at| format!("{at:0>100}").into_bytes()).collect();
        let text = each("rm -rf", names.iter().map(Vec::as_slice));
        let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
        assert!(lines.len() > 5 && lines.iter().all(|line| line.len() < 2 * NAMES_MAX));
        assert!(each("rm -rf", std::iter::empty()).is_empty());
        let modes = modes(&[("700".into(), b"a"), ("700".into(), b"b"), ("755".into(), b"c"), ("700".into(), b"d")]);
        assert_eq!(modes, b"try chmod 700 -- './a' './b'\ntry chmod 755 -- './c'\ntry chmod 700 -- './d'\n");
    }

    #[test]
    fn what_is_moved_can_be_moved_back() {
        let steps = [
            Step::Make("d".into()),
            Step::Move { from: "x".into(), to: "d/x".into(), replaces: false },
            Step::Move { from: "y".into(), to: "y".into(), replaces: true },
            Step::Mode("d".into(), 0o700),
        ];
        let text = String::from_utf8(moves(&steps)).expect("text");
        let expected = "undo() {\n:\n\
            [ \"$done\" -lt 4 ] || mv -T -- './y' \"$aside/new\"/'./y'\n\
            [ \"$done\" -lt 3 ] || mv -T -- \"$aside/old/2\" './y'\n\
            [ \"$done\" -lt 2 ] || mv -T -- './d/x' \"$aside/new\"/'./x'\n\
            [ \"$done\" -lt 1 ] || rmdir -- './d'\n}\n\
            step mkdir -m 755 -- './d'\n\
            step mv -T -- \"$aside/new\"/'./x' './d/x'\n\
            step mv -T -- './y' \"$aside/old/2\"\n\
            step mv -T -- \"$aside/new\"/'./y' './y'\n\
            step chmod 700 -- './d'\n";
        assert_eq!(text, expected);
    }
}
