//! Rules as the CLI's settings have them. It reads some otherwise than [`covers`](super::covers), and what it does not take
//! for a match it never asks about: each rule is said so that it matches at least the calls that the rule is about. Where the
//! CLI asks about nothing by itself, that is all calls of the tool: whoever it asks knows which of them a rule is about.
//! Elsewhere it asks by itself about what may do harm, and no more is said than must be:
//!
//! | rule | said as | because to the CLI |
//! |---|---|---|
//! | `Edit` | `Edit`, `Write`, `NotebookEdit` | a tool without a pattern is that tool alone |
//! | `Read` | `Read`, `Grep`, `Glob`, `LS` | the same |
//! | `Write(src/**)` | `Edit(src/**)` | files that are changed are named by `Edit`, those that are read by `Read` |
//! | `Edit(/src/**)` | `Edit(./src/**)` | one slash begins at the folder of the settings, which are in no file |
//! | `Agent(reviewer)`, `Task` | `Agent`, `Task` | they are one tool, asked about by its name alone |
//! | `Grep(x)`, `mcp__a(x)` | `Grep`, `mcp__a` | such patterns say nothing, and to us all such calls are unclear |
//! | `Bash(make && ls > log)` | `Bash(make:*)` | a command is compared piece by piece, and never with what is more than one |
//! | `Bash(cd a && make)` | `Bash` | the same, where the first piece may be passed over, or names no program |

use serde_json::{Value, json};

use super::{EDITS, READS, SEARCHES, shell};
use crate::domain::PermissionRule;

/// Bytes of settings that can be an argument: Linux takes none of 128 KiB.
pub(in crate::agent::claude) const LONGEST: usize = 120 << 10;

/// Settings by which the CLI asks about each call that these rules do not plainly allow, also where it would not ask by
/// itself: a call that is not asked about could not be rejected. `None`: there is nothing to say.
pub(in crate::agent::claude) fn settings(strict: &[PermissionRule], asks_nothing: bool) -> Option<Value> {
    let ask = if asks_nothing { tools(strict) } else { entries(strict, said) };
    (!ask.is_empty()).then(|| asking(&ask))
}

/// The tools that these rules are about, as the CLI names them.
pub(in crate::agent::claude) fn tools(strict: &[PermissionRule]) -> Vec<String> {
    entries(strict, named)
}

/// Whether one argument of the CLI says these rules.
pub(in crate::agent::claude) fn fits(strict: &[PermissionRule]) -> bool {
    asking(&entries(strict, said)).to_string().len() <= LONGEST
}

/// Each once.
fn entries(strict: &[PermissionRule], said: fn(&PermissionRule) -> Vec<String>) -> Vec<String> {
    let mut entries: Vec<String> = Vec::new();
    for said in strict.iter().flat_map(said) {
        if !entries.contains(&said) {
            entries.push(said);
        }
    }
    entries
}

fn asking(entries: &[String]) -> Value {
    json!({ "permissions": { "ask": entries } })
}

/// Settings that take back what [`settings`] said.
pub(in crate::agent::claude) fn nothing() -> Value {
    asking(&[])
}

/// What the CLI is told of a rule.
fn said(rule: &PermissionRule) -> Vec<String> {
    let PermissionRule { tool_name, pattern, .. } = rule;
    let tool = tool_name.as_str();
    if pattern.is_empty() {
        return named(rule);
    }
    if EDITS.contains(&tool) || READS.contains(&tool) {
        // To gitignore such a one takes back what another one says.
        if pattern.starts_with('!') {
            return named(rule);
        }
        let of = if EDITS.contains(&tool) { "Edit" } else { "Read" };
        let from_root = pattern.starts_with("//");
        return match pattern.strip_prefix('/').filter(|_| !from_root) {
            Some(below) => vec![written(of, &format!("./{below}"))],
            None => vec![written(of, pattern)],
        };
    }
    match tool {
        "Bash" if shell::is_plain(pattern) => vec![written(tool, pattern)],
        "Bash" => match shell::program(pattern) {
            Some(program) => vec![written(tool, &format!("{program}:*"))],
            None => named(rule),
        },
        "WebFetch" if pattern.starts_with("domain:") => vec![written(tool, pattern)],
        _ => named(rule),
    }
}

/// The same of a rule that had no pattern: the tools that it is about, as the CLI names them.
fn named(rule: &PermissionRule) -> Vec<String> {
    let all = |tools: &[&str]| tools.iter().map(|&tool| tool.to_owned()).collect();
    match rule.tool_name.as_str() {
        "Edit" => EDITS.iter().filter(|tool| **tool != "MultiEdit").map(|&tool| tool.to_owned()).collect(),
        "Read" => [all(&["Read"]), all(&SEARCHES)].concat(),
        "Agent" | "Task" => all(&["Agent", "Task"]),
        named => all(&[named]),
    }
}

fn written(tool: &str, pattern: &str) -> String {
    let pattern = pattern.replace('\\', r"\\").replace('(', r"\(").replace(')', r"\)");
    format!("{tool}({pattern})")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{nothing, settings};
    use crate::domain::{PermissionEffect, PermissionRule};

    fn rules(said: &[(&str, &str)]) -> Vec<PermissionRule> {
        said.iter().map(|(tool, pattern)| PermissionRule::of(tool, pattern, PermissionEffect::Reject)).collect()
    }

    fn told(said: &[(&str, &str)]) -> Option<Value> {
        Some(settings(&rules(said), false)?["permissions"]["ask"].clone())
    }

    #[test]
    fn the_cli_is_told_each_rule_once() {
        let said = [("Bash", "ls:*"), ("Read", "a"), ("Bash", "ls:*"), ("WebFetch", "domain:(a)")];
        assert_eq!(told(&said), Some(json!(["Bash(ls:*)", "Read(a)", r"WebFetch(domain:\(a\))"])));
        assert_eq!(told(&[]), None);
        assert_eq!(nothing()["permissions"]["ask"], json!([]));
    }

    #[test]
    fn a_cli_that_asks_nothing_by_itself_is_told_the_tools() {
        let strict = rules(&[("Bash", "ls:*"), ("Write", "src/**"), ("Bash", "cd a"), ("mcp__a", "x")]);
        let told = settings(&strict, true).expect("settings");
        assert_eq!(told["permissions"]["ask"], json!(["Bash", "Write", "mcp__a"]));
        assert_eq!(settings(&[], true), None);
    }

    #[test]
    fn rules_are_said_so_that_the_cli_asks_about_all_their_calls() {
        for (tool, pattern, said) in [
            ("Edit", "", &["Edit", "Write", "NotebookEdit"][..]),
            ("Write", "", &["Write"]),
            ("Read", "", &["Read", "Grep", "Glob", "LS"]),
            ("Edit", "src/**", &["Edit(src/**)"]),
            ("Write", "src/**", &["Edit(src/**)"]),
            ("NotebookEdit", "/src/**", &["Edit(./src/**)"]),
            ("NotebookRead", "*.ipynb", &["Read(*.ipynb)"]),
            ("Read", "/secret/**", &["Read(./secret/**)"]),
            ("Read", "./secret/**", &["Read(./secret/**)"]),
            ("Read", "//etc/**", &["Read(//etc/**)"]),
            ("Write", "!src/**", &["Write"]),
            ("Agent", "reviewer", &["Agent", "Task"]),
            ("Task", "", &["Agent", "Task"]),
            ("Grep", "src/**", &["Grep"]),
            ("mcp__github", "owner:me", &["mcp__github"]),
            ("WebFetch", "domain:example.com", &["WebFetch(domain:example.com)"]),
            ("WebFetch", "example.com", &["WebFetch"]),
            ("Bash", "npm run test", &["Bash(npm run test)"]),
            ("Bash", "npm run * --fix", &["Bash(npm run * --fix)"]),
            ("Bash", "A=1 git push:*", &["Bash(A=1 git push:*)"]),
            ("Bash", r"ls \*.txt", &["Bash(ls:*)"]),
            ("Bash", "make > log && ls", &["Bash(make:*)"]),
            ("Bash", "cd a && make > log", &["Bash"]),
            ("Bash", "cd a", &["Bash(cd a)"]),
            ("Bash", " ./run.sh", &["Bash(./run.sh:*)"]),
            ("Bash", "echo (a)", &["Bash(echo:*)"]),
            ("Bash", "push [secret TOKEN]", &["Bash(push:*)"]),
            ("Bash", "[secret PROGRAM] push", &["Bash"]),
            ("Bash", "if true; then make; fi", &["Bash"]),
            ("Bash", "A=1 make > log", &["Bash"]),
            ("Bash", "make* > log", &["Bash"]),
            ("Bash", "(make)", &["Bash"]),
        ] {
            assert_eq!(told(&[(tool, pattern)]), Some(json!(said)), "{tool}({pattern})");
        }
    }
}
