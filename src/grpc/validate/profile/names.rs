//! Names of the things that a profile brings: what they are made of, and that none stands twice. They become names of files
//! and parts of commands, where nothing else may pass for one.

use std::collections::HashSet;

use crate::grpc::validate::check::Check;

/// Longest name of a thing, in characters.
const MAX_THING: usize = 64;
/// Longest name of a tool: agents put the names of tool servers before those of their tools.
const MAX_TOOL: usize = 128;
/// Tools of one list.
const MAX_TOOLS: usize = 256;

/// The names of one list.
#[derive(Debug)]
pub(super) struct Names {
    alphabet: Alphabet,
    longest: usize,
    seen: HashSet<String>,
}

#[derive(Clone, Copy, Debug)]
enum Alphabet {
    Lower,
    Word,
}

impl Names {
    /// `[a-z0-9-]`.
    pub(super) fn lower() -> Self {
        Self { alphabet: Alphabet::Lower, longest: MAX_THING, seen: HashSet::new() }
    }

    /// `[A-Za-z0-9_-]`.
    pub(super) fn word() -> Self {
        Self { alphabet: Alphabet::Word, longest: MAX_THING, seen: HashSet::new() }
    }

    /// The next one.
    pub(super) fn take(&mut self, check: &mut Check, field: String, name: String) -> String {
        let (allowed, alphabet): (fn(u8) -> bool, _) = match self.alphabet {
            Alphabet::Lower => (|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-', "[a-z0-9-]"),
            Alphabet::Word => (|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte), "[A-Za-z0-9_-]"),
        };
        if name.is_empty() || name.len() > self.longest || name.starts_with('-') || !name.bytes().all(allowed) {
            let longest = self.longest;
            check.refuse(field, format!("1 to {longest} characters of {alphabet}, the first not -"));
        } else if !self.seen.insert(name.clone()) {
            check.refuse(field, "is named twice");
        }
        name
    }
}

/// Names of tools, as the agent knows them.
pub(super) fn tools(check: &mut Check, field: &str, tools: Vec<String>) -> Vec<String> {
    at_most(check, field, tools.len(), MAX_TOOLS);
    let mut names = Names { longest: MAX_TOOL, ..Names::word() };
    let tools = tools.into_iter().enumerate();
    tools.map(|(at, tool)| names.take(check, format!("{field}[{at}]"), tool)).collect()
}

/// So many of a list.
pub(super) fn at_most(check: &mut Check, field: &str, count: usize, limit: usize) {
    if count > limit {
        check.refuse(field, format!("at most {limit}"));
    }
}
