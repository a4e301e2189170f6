//! Patterns for shell commands.
//!
//! Nobody here parses a shell's language. A pattern with a star allows only commands that can be seen to be one command;
//! a pattern that forbids is looked for in all that could be a command of its own. Neither is a wall: that is the sandbox.

use crate::agent::Covers;

/// With one of these a command may be more than it begins with, or write or read elsewhere.
const NOT_SIMPLE: &[char] = &[';', '&', '|', '<', '>', '(', ')', '{', '}', '$', '`', '\\', '!', '#'];
/// Where another command may begin.
const JOINTS: &[char] = &[';', '&', '|', '<', '>', '(', ')', '{', '}', '$', '`', '\n', '\r', '"', '\''];
/// Bytes of the longest command that is looked into. It is the agent's, and the look takes more than its length.
const LONGEST: usize = 16 << 10;
/// Words of a shell's own before a command.
const KEYWORDS: [&str; 9] = ["then", "do", "else", "elif", "if", "while", "until", "!", "coproc"];
/// Programs that run the command in their arguments: which of these it begins with depends on their options.
const RUNNERS: [&str; 18] = [
    "sudo", "doas", "env", "command", "builtin", "exec", "nohup", "setsid", "nice", "ionice", "stdbuf", "time",
    "timeout", "xargs", "eval", "sh", "bash", "busybox",
];
/// Options of `find` that run the command after them.
const EXECS: [&str; 4] = ["-exec", "-execdir", "-ok", "-okdir"];
/// Words that may stand before a command.
const MOST_BEFORE: usize = 16;

/// A part of a pattern.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    /// Anything.
    Star,
    /// At the end: nothing, or a space and anything.
    Rest,
}

/// Whether a pattern covers a command; `narrow` for one that allows.
pub(super) fn covers(pattern: &str, command: &str, narrow: bool) -> Covers {
    let parts = parts(pattern);
    let yes = |covered| if covered { Covers::Yes } else { Covers::No };
    if let [Part::Text(only)] = &parts[..]
        && (command == only || narrow)
    {
        return yes(command == only);
    }
    if command.len() > LONGEST {
        return Covers::Unclear;
    }
    if narrow {
        let command = command.trim();
        return yes(is_simple(command) && fits(&parts, command));
    }
    yes(fits(&parts, command.trim()) || commands(command).any(|command| fits(&parts, &command)))
}

/// Whether a command is covered by a pattern that allows what is shown of it.
pub(super) fn is_as_shown(pattern: &str, command: &str) -> bool {
    matches!(parts(pattern)[..], [Part::Text(_)]) || is_simple(command.trim())
}

/// The pattern that covers this command and no other.
pub(super) fn only(command: &str) -> String {
    command.replace('\\', r"\\").replace('*', r"\*")
}

/// It is of words alone, and of stars: no shell takes it for more than one command, nor for another one than it shows.
pub(super) fn is_plain(pattern: &str) -> bool {
    let pattern = pattern.strip_suffix(":*").unwrap_or(pattern);
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "-_./=,@%+*".contains(char);
    pattern.split(' ').all(|word| !word.is_empty() && word.chars().all(is_plain))
}

/// The program whose name commands begin with that fit a pattern. `cd` is none: where it leads nowhere else, it may be passed
/// over.
pub(super) fn program(pattern: &str) -> Option<&str> {
    let is_named = |char: char| char.is_ascii_alphanumeric() || "-_./".contains(char);
    let first = pattern.split_whitespace().next()?;
    let is_word = KEYWORDS.contains(&first) || ["for", "case", "select", "function", "cd"].contains(&first);
    (first.chars().all(is_named) && !is_word).then_some(first)
}

/// It can be seen to be one command.
fn is_simple(command: &str) -> bool {
    !command.contains(NOT_SIMPLE) && !command.contains(char::is_control)
}

fn parts(pattern: &str) -> Vec<Part> {
    // Both spellings of a beginning.
    let beginning = pattern.strip_suffix(":*").or_else(|| pattern.strip_suffix(" *"));
    let (pattern, rest) = match beginning {
        Some(beginning) => (beginning, Some(Part::Rest)),
        None => (pattern, None),
    };
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut chars = pattern.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => text.push(chars.next().unwrap_or('\\')),
            '*' => {
                parts.extend((!text.is_empty()).then(|| Part::Text(std::mem::take(&mut text))));
                parts.push(Part::Star);
            }
            char => text.push(char),
        }
    }
    parts.extend((!text.is_empty()).then_some(Part::Text(text)));
    parts.extend(rest);
    parts
}

/// By dynamic programming over the places in the command, so that many stars cost no more than a few.
fn fits(parts: &[Part], command: &str) -> bool {
    let mut at: Vec<usize> = vec![0];
    for part in parts {
        at = match part {
            Part::Text(text) => {
                let after = |at: &usize| command.get(*at..)?.strip_prefix(text.as_str()).map(|_| at + text.len());
                at.iter().filter_map(after).collect()
            }
            Part::Star => match at.first() {
                Some(first) => (*first..=command.len()).filter(|at| command.is_char_boundary(*at)).collect(),
                None => return false,
            },
            Part::Rest => {
                let ends = |at: &&usize| command[**at..].is_empty() || command[**at..].starts_with(' ');
                return at.iter().any(|at| ends(&at));
            }
        };
    }
    at.contains(&command.len())
}

/// All that could be a command of its own, without what stands before one.
fn commands(command: &str) -> impl Iterator<Item = String> {
    // What is quoted or escaped means the same to a shell, and a line that goes on is one.
    let bare = command.replace("\\\n", "").replace(['"', '\'', '\\'], "");
    let pieces = |text: &str| text.split_inclusive(JOINTS).map(str::to_owned).collect::<Vec<_>>();
    let mut goes_on = false;
    [pieces(command), pieces(&bare)].into_iter().flatten().flat_map(move |piece| {
        // After these stands first a file or the name of a variable, and the command only then.
        let named = std::mem::replace(&mut goes_on, piece.ends_with(['<', '>', '$']));
        let words: Vec<_> = piece.trim_end_matches(JOINTS).split_whitespace().map(str::to_owned).collect();
        let offsets = offsets(&words, named);
        offsets.into_iter().map(move |from| {
            let mut words = words[from..].to_vec();
            if let Some(program) = words.first_mut() {
                *program = file_name(program).to_owned();
            }
            words.join(" ")
        })
    })
}

/// Where in these words a command may begin; `named`: the first is none.
fn offsets(words: &[String], named: bool) -> Vec<usize> {
    let is_before = |word: &String| KEYWORDS.contains(&word.as_str()) || word.contains('=') || word.starts_with('-');
    let mut offsets = vec![0];
    let mut at = 0;
    let mut runs = false;
    for (index, word) in words.iter().enumerate().take(MOST_BEFORE) {
        let runner = RUNNERS.contains(&file_name(word));
        runs |= runner;
        // After a runner may stand options, their values, numbers and assignments: any word may be the program.
        if !(runs || is_before(word) || (named && index == 0)) {
            break;
        }
        at = index + 1;
        offsets.push(at);
    }
    let program = words.get(at).or(words.last());
    let finds = runs || program.is_some_and(|word| file_name(word) == "find");
    let execs = words.iter().enumerate().filter(|(_, word)| finds && EXECS.contains(&word.as_str()));
    offsets.extend(execs.take(MOST_BEFORE).flat_map(|(at, _)| at + 1..=at + MOST_BEFORE));
    offsets.retain(|at| *at <= words.len());
    offsets.sort_unstable();
    offsets.dedup();
    offsets
}

fn file_name(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::{LONGEST, covers, is_simple, only};
    use crate::agent::Covers;

    fn allowed(pattern: &str, command: &str) -> bool {
        covers(pattern, command, true) == Covers::Yes
    }

    fn forbidden(pattern: &str, command: &str) -> bool {
        covers(pattern, command, false) == Covers::Yes
    }

    #[test]
    fn a_beginning_ends_at_a_word() {
        for pattern in ["npm run test:*", "npm run test *"] {
            for command in ["npm run test", "npm run test --watch a.ts", "  npm run test x "] {
                assert!(allowed(pattern, command), "{pattern} and {command}");
            }
            for command in ["npm run tests", "npm run test:unit", "npm run", "npm  run test", "x npm run test", ""] {
                assert!(!allowed(pattern, command), "{pattern} and {command}");
            }
        }
    }

    #[test]
    fn a_pattern_without_a_star_is_one_command() {
        assert!(allowed("ls -l", "ls -l") && !allowed("ls -l", "ls -l a") && !allowed("ls -l", "ls"));
        assert!(allowed(&only("a && b > *"), "a && b > *") && !allowed(&only("ls *"), "ls a"));
    }

    #[test]
    fn stars_stand_for_anything() {
        assert!(allowed("git * main", "git push origin main") && !allowed("git * main", "git push origin mains"));
        assert!(allowed("* --help", "cargo run --help") && !allowed("* --help", "cargo run"));
        assert!(allowed("*", "anything at all") && !allowed("*", "a; b"));
        let many = format!("{}b", "a*".repeat(50));
        assert!(!allowed(&many, &"a".repeat(10_000)), "it takes no time");
    }

    #[test]
    fn what_forbids_is_looked_for_everywhere() {
        for command in [
            "rm -rf /",
            "ls && rm -rf /",
            "ls;rm a",
            "echo $(rm a)",
            "echo `rm a`",
            "(rm a)",
            "true | xargs rm a",
            "A=1 B=2 rm a",
            "sudo -n rm a",
            "timeout 5 rm a",
            "sh -c 'rm a'",
            "/bin/rm a",
            r"\rm a",
            "'rm' a",
            "\"r\"m a",
            "ls\nrm a",
            "  rm   -rf  x",
            "{ rm a; }",
            "if true; then rm -rf x; fi",
            "if rm a; then :; elif rm b; then :; else rm c; fi",
            "while :; do rm a; done",
            "! rm a",
            "timeout -k 5 10 rm a",
            "true | xargs -n 1 -P 4 rm",
            "env -u X -i rm a",
            "/usr/bin/env rm a",
            "find . -exec rm {} +",
            "find . -name x -type f -execdir sudo -n rm {} \\;",
            "sudo find . -ok rm {} +",
            ">log rm a",
            "2>/dev/null rm a",
            "$EMPTY rm a",
            "A=1 \\\n rm a",
            "r\\\nm a",
        ] {
            assert!(forbidden("rm:*", command), "{command}");
        }
        for command in ["rmdir a", "ls rm", "npm run rm", "echo --rm"] {
            assert!(!forbidden("rm:*", command), "{command}");
        }
        assert!(forbidden("git push *", "cd a && git  push origin") && !forbidden("git push *", "git pull"));
        assert!(forbidden("ls", "ls") && forbidden("ls", "a; ls") && !forbidden("ls", "ls -l"));
    }

    #[test]
    fn what_is_too_long_to_look_into_is_unclear() {
        let long = "a= ".repeat(85 << 10);
        let begun = Instant::now();
        for narrow in [true, false] {
            assert_eq!(covers("rm:*", &long, narrow), Covers::Unclear);
            assert_eq!(covers(&only(&long), &long, narrow), Covers::Yes, "nobody has to look into it");
        }
        for word in ["a= ", "env ", "-x ", "find -exec ", ";", "<"] {
            let longest = word.repeat(LONGEST / word.len());
            assert_eq!(covers("rm:*", &longest, false), Covers::No, "{word}");
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// Whatever follows a beginning, with something in it that can join commands, redirect or substitute: not allowed.
        #[test]
        fn a_beginning_never_allows_a_compound_command(
            before in "[ -~]{0,12}",
            joint in prop::sample::select(vec![
                "&&", "||", ";", "|", "&", "\n", "\r", "$(", "`", "<(", ">(", ">", "<", "<<", ">>", "${", "$x", "(", ")",
                "{", "}", "\\\n", "\u{0}", "\u{1b}", "!!", "#",
            ]),
            after in "[ -~]{0,12}",
            pattern in prop::sample::select(vec!["npm run test:*", "npm run test *", "npm run*", "npm * test*", "*"]),
        ) {
            let command = format!("npm run test {before}{joint}{after}");
            prop_assume!(!command.trim().eq(command.trim().split(joint).next().unwrap_or_default().trim()));
            prop_assert!(!allowed(pattern, &command), "{pattern} allows {command:?}");
        }

        /// What is allowed is one command by a view of its own: a shell reads it as words and nothing else.
        #[test]
        fn what_is_allowed_begins_as_the_pattern_says(command in "(npm run test)?[ -~\n\t]{0,20}") {
            if allowed("npm run test:*", &command) {
                let rest = command.trim().strip_prefix("npm run test").expect("it begins so");
                prop_assert!(rest.is_empty() || rest.starts_with(' '));
                prop_assert!(is_simple(command.trim()));
                prop_assert!(forbidden("npm run test:*", &command), "what allows is narrower than what forbids");
            }
        }

        /// A command's own pattern covers it and nothing that is longer.
        #[test]
        fn a_command_alone(command in "\\PC{1,30}", more in "\\PC{1,10}") {
            prop_assert!(allowed(&only(&command), &command));
            let longer = command.clone() + &more;
            prop_assert!(!allowed(&only(&command), &longer));
        }
    }
}
