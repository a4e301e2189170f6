//! Patterns for files, as gitignore has them. Paths are compared as they are written: what a link leads to, nobody here
//! sees.

use crate::agent::Covers;

/// Whether a pattern covers a file. `cwd` is where relative ones begin; empty: not known.
pub(super) fn covers(pattern: &str, path: &str, cwd: &str) -> Covers {
    // What stands for more than its letters is not guessed at.
    if pattern.contains(['[', ']', '!', '\\', '{', '}']) || pattern.starts_with('~') || path.starts_with('~') {
        return Covers::Unclear;
    }
    let (base, pattern, from_base) = match pattern.strip_prefix("//") {
        Some(absolute) => ("/", absolute, true),
        None => (cwd, pattern, pattern.starts_with('/') || pattern.starts_with("./")),
    };
    if !base.starts_with('/') || (!path.starts_with('/') && !cwd.starts_with('/')) {
        return Covers::Unclear;
    }
    let whole = if path.starts_with('/') { path.to_owned() } else { format!("{cwd}/{path}") };
    let (whole, base) = (segments(&whole), segments(base));
    let Some(below) = whole.strip_prefix(&base[..]) else { return Covers::No };
    let pattern = pattern.trim_start_matches("./").trim_start_matches('/');
    let wanted: Vec<&str> = pattern.split('/').filter(|segment| !segment.is_empty()).collect();
    if wanted.is_empty() || wanted.contains(&"..") || wanted.contains(&".") {
        return Covers::Unclear;
    }
    // Without a slash but at its end, a pattern is about a name wherever it stands.
    let anywhere = !from_base && !pattern.trim_end_matches('/').contains('/');
    // A folder stands for all that is in it.
    let folder = pattern.ends_with('/');
    let longest = if folder { below.len().saturating_sub(1) } else { below.len() };
    let begins = |from: usize| (from + 1..=longest).any(|to| fits(&wanted, &below[from..to]));
    let covered = if anywhere { (0..below.len()).any(begins) } else { begins(0) };
    if covered { Covers::Yes } else { Covers::No }
}

/// With `.` and `..` worked out.
fn segments(path: &str) -> Vec<&str> {
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    segments
}

/// By the places that can be reached, so that many stars cost no more than a few.
fn fits(pattern: &[&str], path: &[&str]) -> bool {
    let mut at = vec![0];
    for (index, wanted) in pattern.iter().enumerate() {
        let Some(first) = at.first().copied() else { return false };
        at = if *wanted == "**" {
            // At the end it stands for what is in a folder, and not for the folder.
            let least = usize::from(index + 1 == pattern.len());
            (first + least..=path.len()).collect()
        } else {
            let next = |at: &usize| path.get(*at).filter(|name| fits_name(wanted, name)).map(|_| at + 1);
            at.iter().filter_map(next).collect()
        };
    }
    at.contains(&path.len())
}

fn fits_name(pattern: &str, name: &str) -> bool {
    let name: Vec<char> = name.chars().collect();
    let mut at: Vec<usize> = vec![0];
    for wanted in pattern.chars() {
        let Some(first) = at.first().copied() else { return false };
        at = if wanted == '*' {
            (first..=name.len()).collect()
        } else {
            let next = |at: &usize| name.get(*at).filter(|char| wanted == '?' || **char == wanted).map(|_| at + 1);
            at.iter().filter_map(next).collect()
        };
    }
    at.contains(&name.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::covers;
    use crate::agent::Covers;

    const CWD: &str = "/box/workspace";

    #[test]
    fn files_are_named_as_gitignore_names_them() {
        for (pattern, path, covered) in [
            ("src/**", "/box/workspace/src/a/b.rs", true),
            ("src/**", "src/a.rs", true),
            ("src/**", "/box/workspace/src", false),
            ("src/**", "/box/workspace/lib/src/a.rs", false),
            ("src/**", "/box/workspace/src/../../etc/passwd", false),
            ("src/**", "/box/workspace/lib/../src/a.rs", true),
            ("src/**", "/box/workspace2/src/a.rs", false),
            ("/src/*.rs", "src/a.rs", true),
            ("/src/*.rs", "src/a/b.rs", false),
            ("./src/*.rs", "src/a.rs", true),
            ("src", "src/a/b", true),
            ("src/", "src/a", true),
            ("src/", "src", false),
            ("*.md", "docs/deep/a.md", true),
            ("/*.md", "docs/a.md", false),
            (".env", "a/.env", true),
            (".env", "a/.environment", false),
            ("docs/**/a.md", "docs/a.md", true),
            ("docs/**/a.md", "docs/x/y/a.md", true),
            ("**/a.md", "a.md", true),
            ("**", "any/thing", true),
            ("**", "/etc/passwd", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("//etc/hosts", "/etc/hosts", true),
            ("//etc/*", "/etc/hosts", true),
            ("//tmp/**", "/tmp/../etc/hosts", false),
            ("/etc/hosts", "/etc/hosts", false),
        ] {
            let expected = if covered { Covers::Yes } else { Covers::No };
            assert_eq!(covers(pattern, path, CWD), expected, "{pattern} and {path}");
        }
    }

    #[test]
    fn what_cannot_be_judged_is_unclear() {
        for (pattern, path, cwd) in [
            ("[a-z]*.rs", "a.rs", CWD),
            ("!src/**", "src/a", CWD),
            ("~/x", "/home/x", CWD),
            ("src/**", "~/x", CWD),
            ("../x", "x", CWD),
            ("/", "x", CWD),
            ("src/**", "src/a", ""),
            ("src/**", "/box/workspace/src/a", ""),
        ] {
            assert_eq!(covers(pattern, path, cwd), Covers::Unclear, "{pattern} and {path}");
        }
    }

    proptest! {
        /// However a path is written, what is relative never reaches out of the workspace.
        #[test]
        fn nothing_outside_is_covered(up in 3..6_usize, inside in "[a-z/.]{0,20}", outside in "[a-z]{1,8}") {
            let path = format!("{CWD}/x/{}{outside}", "../".repeat(up));
            for pattern in ["**", "*", "x/**", "**/*", &outside] {
                prop_assert_eq!(covers(pattern, &path, CWD), Covers::No, "{} and {}", pattern, path);
            }
            let path = format!("/{inside}");
            let mut depth = Vec::new();
            for segment in path.split('/') {
                match segment {
                    "" | "." => {}
                    ".." => drop(depth.pop()),
                    segment => depth.push(segment),
                }
            }
            prop_assume!(depth.first() != Some(&"box"));
            prop_assert_ne!(covers("**", &path, CWD), Covers::Yes);
        }
    }
}
