//! What a checkpoint keeps of a workspace and of a home, as text: one line an entry, the same bytes for the same trees, and
//! a hash at the end. It names contents by hash and holds none.
//!
//! ```text
//! agent-runtime manifest 1
//! root workspace
//! d 700 "empty"
//! f 644 13 d9014c4624844aa5bac314773d6b689ad467fa4e1d1a50a1b8a99d5a95f72ff5 1700000000000000 "hello.txt"
//! l 777 1700000000000000 "link" "hello.txt"
//! root home
//! end 9e107d9d372bb6826bd81d3542a419d6...
//! ```

use std::{collections::BTreeMap, fmt::Write as _};

use super::{Error, Tree, digest, path, tree::directory};
use crate::domain::{FileType, Timestamp, WorkspaceFile};

const FIRST: &str = "agent-runtime manifest 1";
const WORKSPACE: &str = "root workspace";
const HOME: &str = "root home";

/// A workspace and what belongs to it of a home, without the contents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// Sorted by path.
    pub workspace: Vec<WorkspaceFile>,
    /// The same of the agent's home.
    pub home: Vec<WorkspaceFile>,
}

impl Manifest {
    /// Of what looks at both found.
    #[must_use]
    pub fn of(workspace: &Tree, home: &Tree) -> Self {
        Self { workspace: workspace.files().cloned().collect(), home: home.files().cloned().collect() }
    }

    /// Every content that is named, with its size, once each.
    #[must_use]
    pub fn contents(&self) -> BTreeMap<&str, i64> {
        let files = self.workspace.iter().chain(&self.home).filter(|file| file.file_type == FileType::File);
        files.map(|file| (file.sha256.as_str(), file.size_bytes)).collect()
    }

    /// As text. The same trees give the same bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut text = format!("{FIRST}\n");
        for (root, files) in [(WORKSPACE, &self.workspace), (HOME, &self.home)] {
            text.push_str(root);
            text.push('\n');
            for file in files {
                line(&mut text, file);
            }
        }
        let end = digest::of(text.as_bytes());
        // Writing to a string cannot fail.
        let _ = writeln!(text, "end {end}");
        text.into_bytes()
    }

    /// Reads what [`Manifest::encode`] wrote.
    ///
    /// # Errors
    /// [`Error::Manifest`] for anything else, down to a single bit, and for paths that no tree has.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let damaged = |what: &str| Error::Manifest(what.to_owned());
        let text = std::str::from_utf8(bytes).map_err(|_| damaged("it is not UTF-8"))?;
        let text = text.strip_suffix('\n').ok_or_else(|| damaged("it has no end"))?;
        let (body, end) = text.rsplit_once('\n').ok_or_else(|| damaged("it has no end"))?;
        let hash = end.strip_prefix("end ").ok_or_else(|| damaged("it has no end"))?;
        if digest::of(&bytes[..=body.len()]) != hash {
            return Err(damaged("its hash is another one"));
        }
        let mut lines = body.split('\n');
        if lines.next() != Some(FIRST) {
            return Err(damaged("it is of a version that is not known here"));
        }
        if lines.next() != Some(WORKSPACE) {
            return Err(damaged("the workspace does not come first"));
        }
        let (mut manifest, mut in_home) = (Self::default(), false);
        for text in lines {
            if text == HOME && !in_home {
                in_home = true;
                continue;
            }
            let file = parse(text).ok_or_else(|| Error::Manifest(format!("it has the line {text:?}")))?;
            if in_home { manifest.home.push(file) } else { manifest.workspace.push(file) }
        }
        if !in_home {
            return Err(damaged("the home is missing"));
        }
        for files in [&manifest.workspace, &manifest.home] {
            well_formed(files)?;
        }
        // One way to write it: so that the hash of the text is a name for what it says.
        if manifest.encode() != bytes {
            return Err(damaged("it is not written as this program writes it"));
        }
        Ok(manifest)
    }
}

fn line(text: &mut String, file: &WorkspaceFile) {
    let WorkspaceFile { path, file_type, size_bytes, sha256, mode, modify_time, symlink_target } = file;
    let time = modify_time.unwrap_or_default().0;
    let path = quoted(path);
    // Writing to a string cannot fail.
    let _ = match file_type {
        FileType::File => writeln!(text, "f {mode:o} {size_bytes} {sha256} {time} {path}"),
        FileType::Symlink => writeln!(text, "l {mode:o} {time} {path} {}", quoted(symlink_target)),
        FileType::Directory => writeln!(text, "d {mode:o} {path}"),
    };
}

fn parse(text: &str) -> Option<WorkspaceFile> {
    let (sort, rest) = text.split_once(' ')?;
    let (mode, rest) = rest.split_once(' ')?;
    let mode = u32::from_str_radix(mode, 8).ok()?;
    match sort {
        "f" => {
            let (size, rest) = rest.split_once(' ')?;
            let (sha256, rest) = rest.split_once(' ')?;
            let (time, path) = rest.split_once(' ')?;
            let hash = sha256.len() == 64 && sha256.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
            hash.then_some(WorkspaceFile {
                path: serde_json::from_str(path).ok()?,
                file_type: FileType::File,
                size_bytes: size.parse().ok().filter(|size| *size >= 0)?,
                sha256: sha256.to_owned(),
                mode,
                modify_time: Some(Timestamp(time.parse().ok()?)),
                symlink_target: String::new(),
            })
        }
        "l" => {
            let (time, rest) = rest.split_once(' ')?;
            let mut texts = serde_json::Deserializer::from_str(rest).into_iter::<String>();
            let (path, target) = (texts.next()?.ok()?, texts.next()?.ok()?);
            let complete = texts.next().is_none() && !target.is_empty();
            complete.then_some(WorkspaceFile {
                file_type: FileType::Symlink,
                modify_time: Some(Timestamp(time.parse().ok()?)),
                symlink_target: target,
                ..directory(&path, mode)
            })
        }
        "d" => Some(directory(&serde_json::from_str::<String>(rest).ok()?, mode)),
        _ => None,
    }
}

/// In quotes, with everything in it that could end the line written otherwise.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Refuses what no tree can be: bad paths, a wrong order, the same path twice, something below what is no directory.
fn well_formed(files: &[WorkspaceFile]) -> Result<(), Error> {
    let mut solid = std::collections::BTreeSet::new();
    for file in files {
        path::check(&file.path).map_err(|error| Error::Manifest(error.to_string()))?;
        let wrong = |what: &str| Err(Error::Manifest(format!("{:?} {what}", file.path)));
        if path::above(&file.path).any(|above| solid.contains(above)) {
            return wrong("lies in what is no directory");
        }
        if file.file_type != FileType::Directory {
            solid.insert(file.path.as_str());
        }
    }
    match files.windows(2).find(|pair| pair[0].path >= pair[1].path) {
        Some(pair) => Err(Error::Manifest(format!("{:?} stands in the wrong place", pair[1].path))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, size: i64, mode: u32) -> WorkspaceFile {
        WorkspaceFile {
            file_type: FileType::File,
            size_bytes: size,
            sha256: digest::of(path.as_bytes()),
            modify_time: Some(Timestamp(1_700_000_000_123_456)),
            ..directory(path, mode)
        }
    }

    fn link(path: &str, target: &str) -> WorkspaceFile {
        WorkspaceFile {
            file_type: FileType::Symlink,
            modify_time: Some(Timestamp(-1)),
            symlink_target: target.into(),
            ..directory(path, 0o777)
        }
    }

    fn sample() -> Manifest {
        Manifest {
            workspace: vec![
                file(" leading and \"quoted\" \\", 0, 0o644),
                directory("a/empty", 0o755),
                file("a/line\nbreak", 13, 0o4),
                link("dangling", "../out of\nhere"),
                directory("private", 0o700),
                file("private/x", i64::MAX, 0o777),
                file("ü\u{1f980}\u{7f}", 1, 0),
            ],
            home: vec![file(".agent/history.jsonl", 5, 0o600)],
        }
    }

    /// What is stored must be read by every later version: this text is never changed, only joined by others.
    #[test]
    fn version_1_stays_as_it_is() {
        let golden = include_bytes!("manifest-1.golden");
        assert_eq!(String::from_utf8_lossy(&sample().encode()), String::from_utf8_lossy(golden));
        assert_eq!(Manifest::decode(golden), Ok(sample()));
    }

    #[test]
    fn an_empty_one() {
        let empty = Manifest::default();
        assert_eq!(Manifest::decode(&empty.encode()), Ok(empty));
    }

    #[test]
    fn any_damage_is_refused() {
        let good = sample().encode();
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                assert!(Manifest::decode(&bad).is_err(), "bit {bit} of byte {at}");
            }
            assert!(Manifest::decode(&good[..at]).is_err(), "cut at {at}");
        }
        assert!(Manifest::decode(&[&*good, b"\n"].concat()).is_err());
    }

    /// A right hash is no licence: what leads out or cannot be is refused as well.
    #[test]
    fn trees_that_cannot_be_are_refused() {
        let cases = [
            vec![file("../up", 1, 0o644)],
            vec![file("/etc/passwd", 1, 0o644)],
            vec![file("a/./b", 1, 0o644)],
            vec![file("b", 1, 0o644), file("a", 1, 0o644)],
            vec![file("a", 1, 0o644), file("a", 1, 0o644)],
            vec![link("a", "/"), file("a/b", 1, 0o644)],
            vec![file("a", 1, 0o644), file("a b", 1, 0o644), file("a/b", 1, 0o644)],
            vec![link("a", "")],
            vec![WorkspaceFile { sha256: "short".into(), ..file("a", 1, 0o644) }],
            vec![WorkspaceFile { size_bytes: -1, ..file("a", 1, 0o644) }],
        ];
        for workspace in cases {
            let manifest = Manifest { workspace, home: Vec::new() };
            assert!(matches!(Manifest::decode(&manifest.encode()), Err(Error::Manifest(_))), "{manifest:?}");
        }
    }
}
