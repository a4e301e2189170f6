//! Paths in a workspace, as callers name them.

use std::fmt;

use super::{Failure, Reason};

/// The path of an entry of a workspace. There is none that breaks a rule of the contract, so whoever is given one need not
/// look at it again; where links lead is for whoever follows them to see.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkspacePath(String);

/// A rule that a path breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathRule {
    /// It names nothing.
    Empty,
    /// It is longer than [`WorkspacePath::MAX_BYTES`].
    TooLong,
    /// It begins with "/".
    Absolute,
    /// A part of it is empty.
    EmptyPart,
    /// A part of it is ".".
    DotPart,
    /// A part of it is "..".
    DotDotPart,
    /// A part of it is longer than [`WorkspacePath::MAX_PART_BYTES`].
    LongPart,
    /// It holds U+0000.
    Nul,
    /// It holds a control character, and would be new.
    Control,
}

impl WorkspacePath {
    /// Longest path.
    pub const MAX_BYTES: usize = 1024;
    /// Longest part of a path: what file systems take.
    pub const MAX_PART_BYTES: usize = 255;

    /// The path of an entry that may be there already: agents give their files any name.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn parse(path: impl Into<String>) -> Result<Self, PathRule> {
        let path = path.into();
        match broken(&path) {
            Some(rule) => Err(rule),
            None => Ok(Self(path)),
        }
    }

    /// The path of an entry that a caller makes. What could steer a terminal that lists it is not allowed there.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn parse_new(path: impl Into<String>) -> Result<Self, PathRule> {
        let path = Self::parse(path)?;
        if path.0.chars().any(char::is_control) { Err(PathRule::Control) } else { Ok(path) }
    }

    /// As the contract has it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The folders it lies in, the nearest first.
    pub fn folders(&self) -> impl Iterator<Item = &str> {
        self.0.rmatch_indices('/').map(|(at, _)| &self.0[..at])
    }
}

fn broken(path: &str) -> Option<PathRule> {
    if path.is_empty() {
        return Some(PathRule::Empty);
    }
    if path.len() > WorkspacePath::MAX_BYTES {
        return Some(PathRule::TooLong);
    }
    if path.contains('\0') {
        return Some(PathRule::Nul);
    }
    if path.starts_with('/') {
        return Some(PathRule::Absolute);
    }
    path.split('/').find_map(|part| match part {
        "" => Some(PathRule::EmptyPart),
        "." => Some(PathRule::DotPart),
        ".." => Some(PathRule::DotDotPart),
        part if part.len() > WorkspacePath::MAX_PART_BYTES => Some(PathRule::LongPart),
        _ => None,
    })
}

impl PathRule {
    /// In words, for people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "must not be empty",
            Self::TooLong => "at most 1024 bytes",
            Self::Absolute => "relative to the workspace, without a leading /",
            Self::EmptyPart => "no empty part",
            Self::DotPart => "no . part",
            Self::DotDotPart => "no .. part",
            Self::LongPart => "no part of more than 255 bytes",
            Self::Nul => "no U+0000",
            Self::Control => "no control characters",
        }
    }

    /// What a caller is told who named such a path.
    #[must_use]
    pub fn refusal(self, path: &str) -> Failure {
        let rule = self.as_str();
        Failure::new(Reason::WorkspacePath, format!("the path {:?} is refused: {rule}", shown(path)))
            .with("path", shown(path))
            .with("rule", rule)
    }
}

/// As much of a path as an error needs to show.
fn shown(path: &str) -> &str {
    &path[..path.floor_char_boundary(200)]
}

impl fmt::Display for WorkspacePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for PathRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_file_systems_take_is_taken() {
        let long = ["a".repeat(255), "\u{e9}".repeat(127), "c".repeat(255), "d".repeat(255)].join("/");
        for path in ["a", "a/b", ".a", "..a", "a..", "...", "a b", "-rf", "\u{1f980}", "a/.../b", "C:\\a", &long] {
            assert_eq!(WorkspacePath::parse_new(path).as_ref().map(WorkspacePath::as_str), Ok(path));
        }
        assert_eq!(WorkspacePath::parse("a\n\u{1b}[2Jb").map(|path| path.to_string()), Ok("a\n\u{1b}[2Jb".into()));
        let path = WorkspacePath::parse("a/b/c").unwrap();
        assert_eq!(path.folders().collect::<Vec<_>>(), ["a/b", "a"]);
    }

    #[test]
    fn each_rule_is_told_by_name() {
        let full = format!("{}a", "a/".repeat(512));
        let cases = [
            ("", PathRule::Empty),
            (full.as_str(), PathRule::TooLong),
            ("/a", PathRule::Absolute),
            ("/", PathRule::Absolute),
            ("a//b", PathRule::EmptyPart),
            ("a/", PathRule::EmptyPart),
            (".", PathRule::DotPart),
            ("a/./b", PathRule::DotPart),
            ("..", PathRule::DotDotPart),
            ("a/../../b", PathRule::DotDotPart),
            ("a/..", PathRule::DotDotPart),
            ("a\0b", PathRule::Nul),
            ("a\nb", PathRule::Control),
            ("a\u{9b}b", PathRule::Control),
        ];
        for (path, rule) in cases {
            assert_eq!(WorkspacePath::parse_new(path), Err(rule), "{path:?}");
            let refusal = rule.refusal(path);
            assert_eq!(refusal.reason, Reason::WorkspacePath);
            assert_eq!(refusal.metadata["rule"], rule.as_str());
            assert!(path.starts_with(&refusal.metadata["path"]));
        }
        assert_eq!(WorkspacePath::parse("a".repeat(256)), Err(PathRule::LongPart));
        assert!(WorkspacePath::parse(format!("{}aa", "a/".repeat(511))).is_ok());
    }
}
