//! The rules for the path of an entry, as the contract states them.

use super::Error;

/// Longest path, in bytes.
pub const PATH_MAX: usize = 1024;

/// Longest part of a path, in bytes: what file systems take.
pub(super) const NAME_MAX: usize = 255;

/// Refuses what is not the path of an entry: relative, "/"-separated, 1 to 1024 bytes, no NUL, no empty, "." or ".."
/// part.
///
/// # Errors
/// [`Error::Path`], which names the rule.
pub fn check(path: &str) -> Result<(), Error> {
    match broken(path) {
        Some(rule) => Err(Error::path(path.chars().take(PATH_MAX).collect::<String>(), rule)),
        None => Ok(()),
    }
}

fn broken(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        return Some("names nothing: a path has 1 to 1024 bytes");
    }
    if path.len() > PATH_MAX {
        return Some("is longer than 1024 bytes");
    }
    if path.starts_with('/') {
        return Some("is absolute: paths are relative to the folder");
    }
    path.split('/').find_map(|part| match part {
        "" => Some("has an empty part"),
        "." | ".." => Some("has a \".\" or \"..\" part"),
        part if part.contains('\0') => Some("holds a NUL"),
        part if part.len() > NAME_MAX => Some("has a part of more than 255 bytes"),
        _ => None,
    })
}

/// The folder that holds it, empty for the root, and its name there.
pub(super) fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// The path of `name` in `folder`, which is empty for the root.
pub(super) fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { [folder, "/", name].concat() }
}

/// Whether `path` is `folder` or lies in it.
pub(super) fn is_within(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The folders above `path`, nearest first, without the root.
pub(super) fn above(path: &str) -> impl Iterator<Item = &str> {
    path.char_indices().rev().filter(|(_, character)| *character == '/').map(|(at, _)| &path[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_paths_pass() {
        let long = format!("{}/{}", "a".repeat(255), "b".repeat(255));
        for path in ["a", "a/b", ".a", "..a", "a..", "a b", "ü/\n", "a/...", ".git/HEAD", long.as_str()] {
            assert_eq!(check(path), Ok(()), "{path}");
        }
    }

    #[test]
    fn bad_paths_are_refused_with_the_rule() {
        let (long, part) = ("a/".repeat(512) + "a", "a".repeat(256));
        for (path, rule) in [
            ("", "names nothing"),
            (long.as_str(), "longer than 1024"),
            (part.as_str(), "more than 255"),
            ("/a", "absolute"),
            ("a//b", "empty part"),
            ("a/", "empty part"),
            (".", "\".\" or \"..\""),
            ("..", "\".\" or \"..\""),
            ("a/../b", "\".\" or \"..\""),
            ("a/b/..", "\".\" or \"..\""),
            ("a\0b", "NUL"),
        ] {
            let Err(Error::Path { rule: said, .. }) = check(path) else { panic!("{path:?} passed") };
            assert!(said.contains(rule), "{path:?}: {said}");
        }
    }

    #[test]
    fn folders_above() {
        assert_eq!(above("a/b/c").collect::<Vec<_>>(), ["a/b", "a"]);
        assert_eq!(above("a").count(), 0);
        assert_eq!((split("a/b/c"), split("a")), (("a/b", "c"), ("", "a")));
        assert!(is_within("a/b", "a") && is_within("a", "a") && !is_within("ab", "a"));
    }
}
