//! Paths of entries as texts. Which ones there are stands in the domain.

use super::Error;
use crate::domain::WorkspacePath;

/// Longest path, in bytes.
pub(super) const PATH_MAX: usize = WorkspacePath::MAX_BYTES;

/// Refuses what is not the path of an entry.
///
/// # Errors
/// [`Error::Path`], which names the rule.
pub fn check(path: &str) -> Result<(), Error> {
    WorkspacePath::check(path)
        .map_err(|rule| Error::path(path.chars().take(PATH_MAX).collect::<String>(), format!("is refused: {rule}")))
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
    fn what_the_domain_refuses_is_refused_with_its_rule() {
        assert_eq!(check("a\n/..b/...").ok(), Some(()));
        let Err(Error::Path { path, rule }) = check("a/../b") else { panic!("it passed") };
        assert_eq!((path.as_str(), rule.as_str()), ("a/../b", "is refused: no .. part"));
    }

    #[test]
    fn folders_above() {
        assert_eq!(above("a/b/c").collect::<Vec<_>>(), ["a/b", "a"]);
        assert_eq!(above("a").count(), 0);
        assert_eq!((split("a/b/c"), split("a")), (("a/b", "c"), ("", "a")));
        assert!(is_within("a/b", "a") && is_within("a", "a") && !is_within("ab", "a"));
    }
}
