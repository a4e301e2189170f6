//! Profiles: how to set up an agent. Each update is a new revision, and none changes.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::{Agent, PermissionPolicy, Principal, ProfileId, SandboxSpec, SessionOptions, Timestamp};

/// One revision of a profile. Fields of the contract's `AgentProfile` that stand not here are refused by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Minted by the server; "default" always exists.
    pub profile_id: ProfileId,
    /// 1, 2, 3.
    pub revision: i64,
    /// For people.
    pub name: String,
    /// For people; may be empty.
    pub description: String,
    /// `None`: the server's default.
    pub agent: Option<Agent>,
    /// What it sets up.
    #[serde(default, skip_serializing_if = "ProfileSetup::is_empty")]
    pub setup: ProfileSetup,
    /// Who made this revision.
    pub created_by: Option<Principal>,
    /// When the first revision was made.
    pub create_time: Timestamp,
    /// When this revision was made.
    pub update_time: Timestamp,
    /// Of this revision.
    pub etag: String,
}

/// What a profile says about its sessions, beside its name: all that a start of an agent needs of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProfileSetup {
    /// Added to the agent's own system prompt; may be empty.
    pub system_prompt: String,
    /// Text of the agent's memory file; empty: none.
    pub memory_file: String,
    /// Tools the agent may use; empty: all.
    pub tools: Vec<String>,
    /// Folders with instructions.
    pub skills: Vec<Skill>,
    /// Subagents the agent may call.
    pub subagents: Vec<SubagentDefinition>,
    /// Slash commands.
    pub commands: Vec<SlashCommand>,
    /// Tool servers.
    pub mcp_servers: Vec<McpServer>,
    /// What sessions run with unless they say otherwise.
    pub default_options: SessionOptions,
    /// What is asked, how long, and what silence means.
    pub permission_policy: PermissionPolicy,
    /// Which sandbox; `None`: the server's default.
    pub sandbox: Option<SandboxSpec>,
    /// Environment of the agent.
    pub environment: BTreeMap<String, Secret>,
    /// As npm takes them.
    pub npm_dependencies: Vec<String>,
    /// As pip takes them.
    pub pip_dependencies: Vec<String>,
    /// Put into every new workspace.
    pub default_files: Vec<ProfileFile>,
}

impl ProfileSetup {
    /// It says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A value that goes in and never comes out: not by `Debug` either.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Secret {
    /// The value itself.
    Value(String),
    /// Name of a secret in the server's configuration.
    Ref(String),
}

impl Secret {
    /// The value; nothing where it is still to be looked up.
    #[must_use]
    pub fn value(&self) -> &str {
        match self {
            Self::Value(value) => value,
            Self::Ref(_) => "",
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(_) => f.write_str("Value(..)"),
            Self::Ref(name) => f.debug_tuple("Ref").field(name).finish(),
        }
    }
}

/// A file that a profile brings along, whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileFile {
    /// Where, as the contract's paths are.
    pub path: String,
    /// Its bytes.
    #[serde(with = "super::event::bytes_as_base64")]
    pub content: Vec<u8>,
    /// Unix permission bits.
    pub mode: u32,
}

/// A folder with instructions that the agent reads when they apply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skill {
    /// `[a-z0-9-]`.
    pub name: String,
    /// When to use it.
    pub description: String,
    /// Body of SKILL.md.
    pub body: String,
    /// Beside SKILL.md.
    pub supporting_files: Vec<ProfileFile>,
    /// As npm takes them.
    pub npm_dependencies: Vec<String>,
    /// As pip takes them.
    pub pip_dependencies: Vec<String>,
}

/// A subagent the agent may call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubagentDefinition {
    /// Its name.
    pub name: String,
    /// When to call it.
    pub description: String,
    /// Its system prompt.
    pub prompt: String,
    /// Empty: the session's.
    pub model: String,
    /// Empty: all of the profile's.
    pub tools: Vec<String>,
}

/// A slash command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlashCommand {
    /// Without the slash.
    pub name: String,
    /// What it stands for.
    pub prompt: String,
}

/// A tool server that speaks the Model Context Protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct McpServer {
    /// Unique in the profile.
    pub name: String,
    /// For people; may be empty.
    pub description: String,
    /// How to reach it.
    pub transport: McpTransport,
}

/// How a tool server is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "transport", rename_all = "snake_case")]
pub enum McpTransport {
    /// A program in the sandbox that talks over stdin and stdout.
    Stdio {
        /// The program.
        command: String,
        /// Its arguments.
        args: Vec<String>,
        /// Its environment.
        environment: BTreeMap<String, Secret>,
    },
    /// A server reached over HTTP.
    Http {
        /// Where.
        url: String,
        /// Sent with each request.
        headers: BTreeMap<String, Secret>,
        /// The older transport, over server-sent events.
        sse: bool,
    },
    /// A project that is copied into the sandbox, installed and started there.
    Bundle {
        /// Folder on the server.
        project_path: String,
        /// For example "npm ci"; may be empty.
        install_command: String,
        /// For example "node server.js".
        start_command: String,
    },
}
