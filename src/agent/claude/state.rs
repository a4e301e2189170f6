//! What a parser has to remember between two lines, and the CLI's session between two processes. No text of blocks.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    digest::Digest,
    options::{Counted, Given},
    shares::Share,
    usage::Totals,
};
use crate::agent::UnknownCheckpoint;
use crate::domain::{Agent, ConversationId};

/// Of the format of [`State`].
pub(super) const VERSION: i32 = 1;

/// Everything a parser remembers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    version: i32,
    /// The CLI's own id of the session.
    pub(super) session: String,
    /// The CLI may have stored something that `--resume` finds. It stores a message a moment after it took it up, and says
    /// nowhere when: one that is killed before has stored nothing.
    pub(super) resumable: bool,
    /// Model of the main conversation; empty: not known.
    pub(super) model: String,
    /// What the last result told of all that was used.
    pub(super) totals: Totals,
    /// The rest is of this process only.
    #[serde(default)]
    pub(super) process: Process,
}

/// What is forgotten when the process ends.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Process {
    /// The notice of its start is recorded.
    pub(super) announced: bool,
    pub(super) turn: Turn,
    /// A message that was given and is not taken up.
    pub(super) expected: Option<String>,
    /// This version says when it takes up a message, before it answers.
    pub(super) lifecycle: bool,
    /// The newest message that was taken up, also after its turn.
    pub(super) last_prompt: Option<String>,
    /// Code of the last failure of the model's API in this turn.
    pub(super) failure: Option<String>,
    /// By conversation, its newest message of the model.
    pub(super) messages: BTreeMap<ConversationId, Message>,
    /// Tool calls without a result, by their id.
    pub(super) tools: BTreeMap<String, Tool>,
    /// Subagents, in the order in which they appeared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) agents: Vec<Subagent>,
    /// Tasks that are not over, of subagents and of commands, and the calls that began them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) tasks: BTreeMap<String, String>,
    /// What it was told to run with; `None`: nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) given: Option<Given>,
    /// Of the turn at work.
    #[serde(default, skip_serializing_if = "Counted::is_nothing")]
    pub(super) counted: Counted,
    /// Where the CLI works, as it says at its start.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) cwd: String,
    /// Lines that the CLI may print again in this turn.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) repeated: BTreeSet<String>,
    /// Kinds of lines that nobody knew, told once each.
    pub(super) unknown: BTreeSet<String>,
}

/// What the agent is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Turn {
    /// Nothing.
    #[default]
    Idle,
    /// It went on unasked.
    Unasked,
    /// It answers the message of this id.
    Prompt(String),
}

/// A message of the model and its blocks, of which one line each will tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Message {
    pub(super) id: String,
    pub(super) model: String,
    /// Index of the next block that nobody announced.
    pub(super) next: u32,
    /// Announced blocks, by index.
    pub(super) blocks: BTreeMap<u32, Open>,
}

/// A block that was announced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Open {
    pub(super) sort: Sort,
    /// Its `assistant` line was read.
    pub(super) told: bool,
    /// Nothing more is to be said of it.
    pub(super) closed: bool,
}

/// Which sort of block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Sort {
    Text,
    Thinking,
    /// A tool call of this id.
    Tool(String),
    /// One that is not shown.
    Hidden,
}

/// A tool call without a result.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tool {
    /// It runs a shell command.
    pub(super) shell: bool,
    /// Where it was made; none: in the main conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) conversation: Option<ConversationId>,
    /// Of its input, as it streamed.
    pub(super) input: Digest,
}

/// A subagent, and the conversation of its own that it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Subagent {
    /// Its conversation, which is named by the call that spawned it, if that spawned no other.
    pub(super) id: ConversationId,
    /// Where that call was made.
    pub(super) parent: ConversationId,
    pub(super) stage: Stage,
    /// It goes on when its turn, and the call that spawned it, are over.
    #[serde(default)]
    pub(super) background: bool,
    /// Its block is not final.
    #[serde(default)]
    pub(super) open: bool,
    /// Its model; empty: not known.
    #[serde(default)]
    pub(super) model: String,
    /// Of an agent of a workflow: the call that began that. Empty: the call that spawned it is its id.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) call: String,
    /// Its task, by which it is told to go on when it is over; empty: not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) task: String,
    #[serde(default)]
    pub(super) share: Share,
}

/// How far a subagent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Stage {
    /// The model called for it.
    Called,
    Running,
    Over,
}

impl State {
    /// Of a session that the CLI does not know yet.
    pub(super) fn fresh(session: &str) -> Self {
        Self {
            version: VERSION,
            session: session.to_owned(),
            resumable: false,
            model: String::new(),
            totals: Totals::default(),
            process: Process::default(),
        }
    }

    /// As [`Self::to_json`] wrote it.
    pub(super) fn from_json(json: &str, version: i32) -> Result<Self, UnknownCheckpoint> {
        let unknown = |version| UnknownCheckpoint { agent: Agent::ClaudeCode, version };
        if version != VERSION {
            return Err(unknown(version));
        }
        let state: Self = serde_json::from_str(json).map_err(|_| unknown(version))?;
        if state.version == VERSION { Ok(state) } else { Err(unknown(state.version)) }
    }

    /// As JSON.
    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("the state has only string keys and finite numbers")
    }
}
