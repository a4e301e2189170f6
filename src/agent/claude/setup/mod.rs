//! A profile in Claude Code's terms: files in its private home, flags that name them, and variables for what must stand in
//! no file. The workspace is left alone, and what lies in it for Claude Code has the effect it has without a profile,
//! except where the profile says otherwise.
//!
//! | profile | here |
//! |---|---|
//! | system prompt | a file, `--append-system-prompt-file`: no prompt stands among the arguments |
//! | memory file | `~/.claude/CLAUDE.md`, beside the workspace's own |
//! | tools | `--tools`; of tool servers by leaving out those that are not named |
//! | skills | `~/.claude/skills/NAME`, which win over the workspace's |
//! | subagents | a file, `--agents`, which wins over those of home and workspace |
//! | commands | `~/.claude/commands/NAME.md` |
//! | tool servers | a file, `--mcp-config --strict-mcp-config`: none but the profile's |

mod mcp;
mod refuse;

use std::collections::BTreeMap;

use serde::Serialize;

pub(in crate::agent) use refuse::refusals;

use crate::{
    agent::{HomeFile, Setup},
    domain::{SlashCommand, SubagentDefinition},
};

/// Folder of the home for files that only flags name.
const OWN: &str = ".agent-runtime";

/// Nobody but the agent reads what its profile says.
const MODE: u32 = 0o600;

/// What a profile adds to the way the CLI is started.
#[derive(Debug, Default)]
pub(super) struct Added {
    pub(super) argv: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    pub(super) files: Vec<HomeFile>,
}

impl Added {
    fn file(&mut self, path: impl Into<String>, content: impl Into<Vec<u8>>) {
        self.files.push(HomeFile { path: path.into(), mode: MODE, content: content.into() });
    }

    /// A file that a flag names.
    fn named(&mut self, flag: &str, home: &str, name: &str, content: impl Into<Vec<u8>>) {
        self.argv.extend([flag.to_owned(), format!("{home}/{OWN}/{name}")]);
        self.file(format!("{OWN}/{name}"), content);
    }
}

/// What the profile of `setup` adds.
pub(super) fn added(setup: &Setup) -> Added {
    let (profile, home) = (&setup.profile, setup.home.as_str());
    let mut added = Added::default();
    if !profile.system_prompt.is_empty() {
        added.named("--append-system-prompt-file", home, "system-prompt.md", profile.system_prompt.as_str());
    }
    if !profile.memory_file.is_empty() {
        added.file(".claude/CLAUDE.md", profile.memory_file.as_str());
    }
    if !profile.tools.is_empty() {
        added.argv.extend(["--tools".to_owned(), profile.tools.join(",")]);
    }
    for skill in &profile.skills {
        let folder = format!(".claude/skills/{}", skill.name);
        let head = front_matter(&[("name", &skill.name), ("description", &skill.description)]);
        added.file(format!("{folder}/SKILL.md"), head + &skill.body);
        added.files.extend(skill.supporting_files.iter().map(|file| HomeFile {
            path: format!("{folder}/{}", file.path),
            mode: file.mode,
            content: file.content.clone(),
        }));
    }
    if !profile.subagents.is_empty() {
        added.named("--agents", home, "subagents.json", subagents(&profile.subagents));
    }
    for SlashCommand { name, prompt } in &profile.commands {
        // The front matter is there, though it says nothing, so that nothing of the prompt is taken for one.
        added.file(format!(".claude/commands/{name}.md"), front_matter(&[]) + prompt);
    }
    if !profile.mcp_servers.is_empty() {
        let mcp::Servers { json, env } = mcp::servers(&profile.mcp_servers, &setup.bundles);
        added.named("--mcp-config", home, "tool-servers.json", json);
        added.env.extend(env);
    }
    if !profile.mcp_servers.is_empty() || !profile.tools.is_empty() {
        // A workspace must not bring servers under the names of these, nor tools beside those that are named.
        added.argv.push("--strict-mcp-config".to_owned());
    }
    added
}

/// As the CLI reads it before a Markdown text. A text in JSON's quotes is the same text in YAML, whatever stands in it.
fn front_matter(fields: &[(&str, &str)]) -> String {
    let quoted = |text: &str| serde_json::to_string(text).expect("a text is JSON");
    let fields = fields.iter().map(|(name, value)| format!("{name}: {}\n", quoted(value)));
    format!("---\n{}---\n\n", fields.collect::<String>())
}

/// As `--agents` takes them.
fn subagents(definitions: &[SubagentDefinition]) -> Vec<u8> {
    #[derive(Serialize)]
    struct Definition<'p> {
        description: &'p str,
        prompt: &'p str,
        #[serde(skip_serializing_if = "str::is_empty")]
        model: &'p str,
        #[serde(skip_serializing_if = "<[String]>::is_empty")]
        tools: &'p [String],
    }
    let definition = |of: &'_ SubagentDefinition| -> (String, serde_json::Value) {
        let SubagentDefinition { name, description, prompt, model, tools } = of;
        let value = serde_json::to_value(Definition { description, prompt, model, tools });
        (name.clone(), value.expect("texts are JSON"))
    };
    let by_name: BTreeMap<String, serde_json::Value> = definitions.iter().map(definition).collect();
    serde_json::to_vec_pretty(&by_name).expect("texts are JSON")
}
