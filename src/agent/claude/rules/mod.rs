//! Claude Code's rule language, as far as calls can be judged by it from outside: which calls a rule covers.
//!
//! | tool | pattern | covers |
//! |---|---|---|
//! | any | none | all its calls; `mcp__server` those of all tools of that server; `Edit` also `MultiEdit`, `Write`, `NotebookEdit` |
//! | `Bash` | `npm run test` | this command |
//! | | `npm run test:*`, `npm run *` | commands that begin so, or hold anything where the star stands; `\*` is a star |
//! | `Read`, `Edit` and those like them | `src/**`, `*.md`, `/a`, `//etc/hosts` | files, as gitignore names them; from the workspace, with two slashes from the root |
//! | `WebFetch` | `domain:example.com`, `domain:*.example.com` | addresses of this host, of those below it |
//! | `Agent`, `Task` | `reviewer` | subagents of this name |
//!
//! A rule that allows is read narrowly, any other one widely: what cannot be judged is never allowed, and is asked about
//! where a rule may have meant it.

mod paths;
mod settings;
mod shell;

use serde_json::Value;

pub(super) use self::settings::{LONGEST as LONGEST_SETTINGS, fits, nothing, settings, tools};
use crate::{
    agent::{Ask, Covers},
    domain::{PermissionEffect, PermissionRule},
};

/// Tools that change files: a rule for `Edit` is about all of them.
const EDITS: [&str; 4] = ["Edit", "MultiEdit", "Write", "NotebookEdit"];
/// Tools that read one file.
const READS: [&str; 2] = ["Read", "NotebookRead"];
/// Tools that look into many files; a rule for `Read` is about them too.
const SEARCHES: [&str; 3] = ["Grep", "Glob", "LS"];

/// Whether a rule covers a call.
pub(in crate::agent) fn covers(rule: &PermissionRule, ask: &Ask) -> Covers {
    if !names(&rule.tool_name, &ask.tool_name) {
        return Covers::No;
    }
    if rule.pattern.is_empty() {
        return Covers::Yes;
    }
    let Ok(input) = serde_json::from_str::<Value>(&ask.input_json) else { return Covers::Unclear };
    let text = |field: &str| input.get(field).and_then(Value::as_str);
    let narrow = rule.effect == PermissionEffect::Allow;
    let pattern = rule.pattern.as_str();
    match ask.tool_name.as_str() {
        "Bash" => text("command").map_or(Covers::Unclear, |command| shell::covers(pattern, command, narrow)),
        "WebFetch" => text("url").map_or(Covers::Unclear, |url| domain(pattern, url)),
        "Agent" | "Task" => text("subagent_type").map_or(Covers::Unclear, |name| is(name == pattern)),
        tool if EDITS.contains(&tool) || READS.contains(&tool) => {
            let path = text("file_path").or_else(|| text("notebook_path"));
            path.map_or(Covers::Unclear, |path| paths::covers(pattern, path, &ask.cwd))
        }
        // Which files they look into is not known beforehand.
        _ => Covers::Unclear,
    }
}

/// The same of a rule whose pattern names no secrets, for a call and what is shown of it. A rule that allows is about what
/// is shown only of commands, and only if it is one command with its secrets too: anywhere else they may lead elsewhere.
pub(in crate::agent) fn covers_shown(rule: &PermissionRule, given: &Ask, shown: &Ask) -> Covers {
    let both = [covers(rule, given), covers(rule, shown)];
    match (rule.effect, both) {
        (_, [Covers::Yes, _]) | (PermissionEffect::Ask | PermissionEffect::Reject, [_, Covers::Yes]) => Covers::Yes,
        (PermissionEffect::Ask | PermissionEffect::Reject, [Covers::Unclear, _] | [_, Covers::Unclear]) => {
            Covers::Unclear
        }
        (PermissionEffect::Allow, [_, Covers::Yes]) if given.tool_name == "Bash" => {
            let input = serde_json::from_str::<Value>(&given.input_json).unwrap_or_default();
            is(input["command"].as_str().is_some_and(|command| shell::is_as_shown(&rule.pattern, command)))
        }
        (_, [other, _]) => other,
    }
}

/// Which inputs an "always" answer to this call is about: those of the one rule that the CLI suggests, if it covers the
/// call; of a shell command itself alone; else all. `None`: nobody can say.
pub(in crate::agent) fn pattern(ask: &Ask, suggested: Option<&str>) -> Option<String> {
    let covering = |pattern: &&str| {
        let rule = PermissionRule::of(&ask.tool_name, pattern, PermissionEffect::Allow);
        !pattern.is_empty() && covers(&rule, ask) == Covers::Yes
    };
    if let Some(pattern) = suggested.filter(covering) {
        return Some(pattern.to_owned());
    }
    match ask.tool_name.as_str() {
        "" => None,
        "Bash" => {
            let input = serde_json::from_str::<Value>(&ask.input_json).ok()?;
            let command = input.get("command")?.as_str()?;
            // What is empty would be about all.
            (!command.is_empty()).then(|| shell::only(command))
        }
        _ => Some(String::new()),
    }
}

/// The one rule for this tool among the CLI's suggestions; of several none stands for the call.
pub(super) fn suggested<'a>(suggestions: &'a Value, tool_name: &str) -> Option<&'a str> {
    let rules = suggestions.as_array()?.iter().filter(|update| update["type"] == "addRules");
    let mut rules = rules.flat_map(|update| update["rules"].as_array().into_iter().flatten());
    let (first, None) = (rules.next()?, rules.next()) else { return None };
    if first["toolName"] == tool_name { first["ruleContent"].as_str() } else { None }
}

/// A rule for `named` is about calls of `tool`.
pub(super) fn names(named: &str, tool: &str) -> bool {
    let of_server = |server: &str| tool.strip_prefix(server).is_some_and(|rest| rest.starts_with("__"));
    match named {
        "Edit" => EDITS.contains(&tool),
        "Read" => READS.contains(&tool) || SEARCHES.contains(&tool),
        "Agent" | "Task" => matches!(tool, "Agent" | "Task"),
        named if named == tool => true,
        named if named.starts_with("mcp__") => of_server(named.strip_suffix("__*").unwrap_or(named)),
        _ => false,
    }
}

/// `domain:HOST`, or of all hosts below it.
fn domain(pattern: &str, url: &str) -> Covers {
    let Some(wanted) = pattern.strip_prefix("domain:") else { return Covers::Unclear };
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    // What is not written plainly may go elsewhere than it looks.
    let Some(authority) = rest.and_then(|rest| rest.split(['/', '?', '#']).next()) else { return Covers::Unclear };
    if !url.bytes().all(|byte| byte.is_ascii_graphic()) || authority.contains(['@', '\\', '%', '[']) {
        return Covers::Unclear;
    }
    let host = authority.split(':').next().unwrap_or_default().trim_end_matches('.').to_ascii_lowercase();
    let wanted = wanted.to_ascii_lowercase();
    is(match wanted.strip_prefix("*.") {
        Some(above) => host.strip_suffix(above).is_some_and(|below| below.len() > 1 && below.ends_with('.')),
        None => host == wanted,
    })
}

fn is(covered: bool) -> Covers {
    if covered { Covers::Yes } else { Covers::No }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{covers, pattern, suggested};
    use crate::{
        agent::{Ask, Covers},
        domain::{PermissionEffect, PermissionRule},
    };

    fn ask(tool: &str, input: &Value) -> Ask {
        Ask { tool_name: tool.into(), input_json: input.to_string(), cwd: "/box/workspace".into(), ..Ask::default() }
    }

    fn says(rule: (&str, &str), tool: &str, input: &Value, effect: PermissionEffect) -> Covers {
        covers(&PermissionRule::of(rule.0, rule.1, effect), &ask(tool, input))
    }

    #[test]
    fn a_rule_names_its_tools() {
        let all = json!({});
        for (rule, tool, covered) in [
            ("Bash", "Bash", true),
            ("Bash", "BashOutput", false),
            ("Edit", "Write", true),
            ("Write", "Edit", false),
            ("Read", "Grep", true),
            ("Task", "Agent", true),
            ("mcp__github", "mcp__github__create_issue", true),
            ("mcp__github__*", "mcp__github__create_issue", true),
            ("mcp__github__create_issue", "mcp__github__create_issue", true),
            ("mcp__github__create", "mcp__github__create_issue", false),
            ("mcp__git", "mcp__github__create_issue", false),
            ("mcp__", "mcp__github__create_issue", false),
            ("*", "Bash", false),
            ("", "Bash", false),
        ] {
            for effect in [PermissionEffect::Allow, PermissionEffect::Reject] {
                let expected = if covered { Covers::Yes } else { Covers::No };
                assert_eq!(says((rule, ""), tool, &all, effect), expected, "{rule} and {tool}");
            }
        }
    }

    #[test]
    fn what_a_pattern_means_is_not_guessed() {
        let allow = PermissionEffect::Allow;
        for (rule, tool, input) in [
            (("Grep", "src/**"), "Grep", json!({ "path": "src" })),
            (("Read", "src/**"), "Glob", json!({ "path": "src", "pattern": "../**" })),
            (("mcp__github", "owner:me"), "mcp__github__create_issue", json!({})),
            (("WebFetch", "example.com"), "WebFetch", json!({ "url": "https://example.com" })),
            (("Bash", "ls"), "Bash", json!({ "command": ["ls"] })),
            (("Edit", "src/**"), "Edit", json!({})),
        ] {
            for effect in [allow, PermissionEffect::Reject, PermissionEffect::Ask] {
                assert_eq!(says(rule, tool, &input, effect), Covers::Unclear, "{rule:?}");
            }
        }
        let damaged = Ask { tool_name: "Bash".into(), input_json: "{".into(), ..Ask::default() };
        assert_eq!(covers(&PermissionRule::of("Bash", "ls", allow), &damaged), Covers::Unclear);
    }

    #[test]
    fn hosts_are_compared_whole() {
        for (pattern, url, expected) in [
            ("domain:example.com", "https://example.com/a?b#c", Covers::Yes),
            ("domain:Example.com", "http://EXAMPLE.com:8080", Covers::Yes),
            ("domain:example.com", "https://example.com.", Covers::Yes),
            ("domain:example.com", "https://www.example.com", Covers::No),
            ("domain:example.com", "https://example.com.evil.org", Covers::No),
            ("domain:example.com", "https://evil.org/example.com", Covers::No),
            ("domain:example.com", "https://evil.org#example.com", Covers::No),
            ("domain:example.com", "https://example.com@evil.org", Covers::Unclear),
            ("domain:example.com", "https://evil.org\\example.com", Covers::Unclear),
            ("domain:example.com", "ftp://example.com", Covers::Unclear),
            ("domain:*.example.com", "https://a.b.example.com/", Covers::Yes),
            ("domain:*.example.com", "https://example.com/", Covers::No),
            ("domain:*.example.com", "https://evilexample.com/", Covers::No),
        ] {
            let said = says(("WebFetch", pattern), "WebFetch", &json!({ "url": url }), PermissionEffect::Allow);
            assert_eq!(said, expected, "{pattern} and {url}");
        }
        let agent = |name: &str| {
            says(("Agent", "reviewer"), "Task", &json!({ "subagent_type": name }), PermissionEffect::Allow)
        };
        assert_eq!((agent("reviewer"), agent("writer")), (Covers::Yes, Covers::No));
    }

    #[test]
    fn an_always_answer_is_about_no_more_than_is_known_to_cover_the_call() {
        let bash = |command: &str| ask("Bash", &json!({ "command": command }));
        let suggestions = json!([
            { "type": "addRules", "rules": [{ "toolName": "Bash", "ruleContent": "npm run *" }], "behavior": "allow" },
            { "type": "addDirectories", "directories": ["/box/workspace"] },
        ]);
        let one = suggested(&suggestions, "Bash");
        assert_eq!(one, Some("npm run *"));
        assert_eq!(pattern(&bash("npm run test"), one).as_deref(), Some("npm run *"));
        // What the suggestion does not cover by itself leaves a rule for itself alone.
        let long = "npm run test --x > out.txt";
        assert_eq!(pattern(&bash(long), one).as_deref(), Some(long));
        assert_eq!(pattern(&bash("ls *.txt"), None).as_deref(), Some(r"ls \*.txt"));
        let two = json!([{ "type": "addRules", "rules": [
            { "toolName": "Bash", "ruleContent": "npm run *" }, { "toolName": "Bash", "ruleContent": "git push *" },
        ] }]);
        assert_eq!(suggested(&two, "Bash"), None);
        assert_eq!(suggested(&suggestions, "Write"), None);
        assert_eq!(pattern(&ask("Write", &json!({ "file_path": "a" })), None).as_deref(), Some(""));
        assert_eq!(pattern(&bash(""), None), None);
        assert_eq!(pattern(&ask("Bash", &json!({})), None), None);
        for command in ["a", "npm run x && rm -rf /", r"echo \* 'x' :*", "a\nb", "ls:*", " padded "] {
            let call = bash(command);
            let rule = PermissionRule::of("Bash", &pattern(&call, None).expect("one"), PermissionEffect::Allow);
            assert_eq!(covers(&rule, &call), Covers::Yes, "{command}");
            assert_eq!(covers(&rule, &bash(&format!("{command}x"))), Covers::No, "{command}");
        }
    }
}
