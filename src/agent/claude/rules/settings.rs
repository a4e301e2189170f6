//! Rules as the CLI's settings have them. It reads some otherwise than [`covers`](super::covers), and what it does not take
//! for a match it never asks about: each rule is said so that it matches at least the calls that the rule is about.
//!
//! | rule | said as | because to the CLI |
//! |---|---|---|
//! | `Edit` | `Edit`, `Write`, `NotebookEdit` | a tool without a pattern is that tool alone |
//! | `Read` | `Read`, `Grep`, `Glob`, `LS` | the same |
//! | `Write(src/**)` | `Edit(src/**)` | files that are changed are named by `Edit`, those that are read by `Read` |
//! | `Edit(/src/**)` | `Edit(./src/**)` | one slash begins at the folder of the settings, which are in no file |
//! | `Agent(reviewer)`, `Task` | `Agent`, `Task` | they are one tool, asked about by its name alone |
//! | `Grep(x)`, `mcp__a(x)` | `Grep`, `mcp__a` | such patterns say nothing, and to us all such calls are unclear |

use super::{EDITS, READS, SEARCHES};
use crate::domain::{PermissionEffect, PermissionPolicy, PermissionRule};

/// Settings by which the CLI asks about each call that a rule of the policy does not plainly allow, also where it would not
/// ask by itself: a call that is not asked about could not be rejected.
pub(in crate::agent::claude) fn settings(policy: &PermissionPolicy) -> Option<String> {
    let mut ask: Vec<String> = Vec::new();
    for rule in policy.rules.iter().filter(|rule| rule.effect != PermissionEffect::Allow) {
        for said in said(rule) {
            if !ask.contains(&said) {
                ask.push(said);
            }
        }
    }
    (!ask.is_empty()).then(|| serde_json::json!({ "permissions": { "ask": ask } }).to_string())
}

/// What the CLI is told of a rule.
fn said(rule: &PermissionRule) -> Vec<String> {
    let PermissionRule { tool_name, pattern, .. } = rule;
    let tool = tool_name.as_str();
    let all = || tools(tool).into_iter().map(str::to_owned).collect();
    if pattern.is_empty() {
        return all();
    }
    if EDITS.contains(&tool) || READS.contains(&tool) {
        // To gitignore such a one takes back what another one says.
        if pattern.starts_with('!') {
            return all();
        }
        let of = if EDITS.contains(&tool) { "Edit" } else { "Read" };
        let from_root = pattern.starts_with("//");
        return match pattern.strip_prefix('/').filter(|_| !from_root) {
            Some(below) => vec![written(of, &format!("./{below}"))],
            None => vec![written(of, pattern)],
        };
    }
    match tool {
        "Bash" => vec![written(tool, pattern)],
        "WebFetch" if pattern.starts_with("domain:") => vec![written(tool, pattern)],
        _ => all(),
    }
}

/// The tools whose calls a rule without a pattern is about, as the CLI names them.
fn tools(named: &str) -> Vec<&str> {
    match named {
        "Edit" => EDITS.iter().copied().filter(|tool| *tool != "MultiEdit").collect(),
        "Read" => ["Read"].into_iter().chain(SEARCHES).collect(),
        "Agent" | "Task" => vec!["Agent", "Task"],
        named => vec![named],
    }
}

fn written(tool: &str, pattern: &str) -> String {
    let pattern = pattern.replace('\\', r"\\").replace('(', r"\(").replace(')', r"\)");
    format!("{tool}({pattern})")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::settings;
    use crate::domain::{PermissionEffect, PermissionPolicy, PermissionRule};

    fn told(rules: &[(&str, &str, PermissionEffect)]) -> Option<Value> {
        let rules = rules.iter().map(|(tool, pattern, effect)| PermissionRule::of(tool, pattern, *effect)).collect();
        let told = settings(&PermissionPolicy { rules, ..PermissionPolicy::default() })?;
        Some(serde_json::from_str::<Value>(&told).expect("JSON")["permissions"]["ask"].clone())
    }

    #[test]
    fn the_cli_is_told_to_ask_where_a_rule_is_strict() {
        let (allow, ask, reject) = (PermissionEffect::Allow, PermissionEffect::Ask, PermissionEffect::Reject);
        let rules = [
            ("Bash", "ls:*", reject),
            ("Bash", "npm run *", allow),
            ("Read", "a", ask),
            ("Bash", r"echo (\*)", ask),
            ("Bash", "ls:*", ask),
        ];
        assert_eq!(told(&rules), Some(json!(["Bash(ls:*)", "Read(a)", r"Bash(echo \(\\*\))"])));
        assert_eq!(told(&rules[1..2]), None);
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
        ] {
            assert_eq!(told(&[(tool, pattern, PermissionEffect::Reject)]), Some(json!(said)), "{tool}({pattern})");
        }
    }
}
