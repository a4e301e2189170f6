//! Agents: how each is started, and what its output means.
//!
//! Sans-IO: bytes in, [`Action`]s out. An adapter reads no clock, draws no random number and touches no process, so the
//! same bytes always give the same actions, and a parser restored from a checkpoint goes on as if it had never stopped.

use std::collections::BTreeMap;

use crate::domain::{
    Agent, BlockId, BlockPatch, CarriedAnswer, Content, ContentPart, ConversationId, ExecutionStatus, LogLevel,
    PermissionAnswer, PermissionRule, ProfileSetup, Question, QuestionAnswer, SessionError, SessionOptions, Usage,
};

mod ask;
pub mod claude;
mod lines;
pub mod package;
mod profile;
mod progress;
pub mod scripted;
mod stderr;

pub use ask::{Ask, Covers};
pub use profile::{HomeFile, is_of_tool_server, refusals};
pub use progress::{Adapt, Progress};
pub use stderr::Stderr;

/// What a session wants of its agent.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Path of the program.
    pub program: String,
    /// Model to use; empty: the agent's default.
    pub model: String,
    /// When to ask for permission, one of [`Agent::permission_modes`]; empty: the adapter's default.
    pub permission_mode: String,
    /// A fresh id of the agent's own session, a UUID, for agents that want to be told one.
    pub fresh_session: String,
    /// What the agent's last process left behind ([`Checkpoint::state`]); `None`: this is the first.
    pub memory: Option<String>,
    /// What its profile sets up, all of which the agent honours ([`refusals`]); each [`crate::domain::Secret`] is a value.
    pub profile: ProfileSetup,
    /// The rules that may keep a call from running, of the session and of the profile: what they are about must be asked.
    pub strict: Vec<PermissionRule>,
    /// The home, as programs in the sandbox see it.
    pub home: String,
    /// Where the projects of bundled tool servers lie, as programs in the sandbox see it, by name of the server.
    pub bundles: BTreeMap<String, String>,
}

/// How to start the agent.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Fixed environment of this agent; credentials come from elsewhere.
    pub env: Vec<(String, String)>,
    /// Names of the server's environment variables that this agent may see.
    pub pass_env: &'static [&'static str],
    /// Files to put into the home before the start.
    pub files: Vec<HomeFile>,
    /// What the program is given before the first message.
    pub greeting: Vec<u8>,
    /// Reads what the program prints.
    pub parser: Parser,
}

/// Something the agent's output asks for. The session stamps sequence, time and turn on it.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Record this.
    Emit(Draft),
    /// Give these bytes to the program, once the actions before this one are recorded.
    Write(Vec<u8>),
    /// The agent took up the message of this block, or began unasked.
    TurnStarted {
        /// The user's block; `None`: the agent went on by itself.
        block_id: Option<BlockId>,
    },
    /// The agent is done with what it was doing.
    TurnEnded(TurnEnd),
    /// The agent asks, and waits for [`Parser::answer`].
    Ask(Box<Ask>),
    /// The agent does not wait for an answer any more.
    AskWithdrawn {
        /// As in [`Ask::agent_request_id`].
        agent_request_id: String,
    },
    /// What its last process left is gone, and it ends without having taken up what it was given: a fresh one is to be
    /// given it.
    Forgotten,
}

/// What an agent can say about a session.
#[derive(Clone, Debug, PartialEq)]
pub enum Draft {
    /// A block appears and may grow.
    Start {
        /// Where.
        conversation_id: ConversationId,
        /// Its id.
        block_id: BlockId,
        /// What is known of it.
        content: Content,
    },
    /// A block that was started grows.
    Delta {
        /// Which.
        block_id: BlockId,
        /// Whole characters.
        text: String,
    },
    /// A block that was started is patched.
    Update {
        /// Which.
        block_id: BlockId,
        /// How.
        patch: BlockPatch,
    },
    /// A block is final. One that was not started appears complete.
    Complete {
        /// Where.
        conversation_id: ConversationId,
        /// Its id.
        block_id: BlockId,
        /// The whole of it; `None`: as it stands.
        content: Option<Content>,
    },
    /// A tool call that was started ends with this status; everything else of its block stays.
    CompleteTool {
        /// Which.
        block_id: BlockId,
        /// How it ended.
        status: ExecutionStatus,
    },
    /// The conversation of a subagent begins, or gets on.
    Conversation {
        /// Its id.
        conversation_id: ConversationId,
        /// The one that spawned it.
        parent_id: ConversationId,
        /// Definition of the subagent; empty: unchanged.
        name: String,
        /// The call that spawned it.
        tool_use_id: String,
        /// How far the subagent is. While it is not at its end, it and its blocks outlive the turn.
        status: ExecutionStatus,
    },
    /// A conversation used tokens or changed its model.
    Used {
        /// Which.
        conversation_id: ConversationId,
        /// Added to its totals, and to the session's.
        usage: Usage,
        /// Model in use; empty: unchanged.
        model: String,
    },
    /// Bytes that a block which follows names by their hash.
    Blob {
        /// SHA-256, lower-case hex.
        sha256: String,
        /// The bytes.
        data: Vec<u8>,
    },
    /// Something failed, and it is no turn.
    Error(SessionError),
    /// A line for people who look after the runtime.
    Log(LogLevel, String),
    /// Output that is none of the agent's protocol.
    Unparsed {
        /// The first 64 KiB.
        raw: Vec<u8>,
        /// Bytes left out.
        truncated_bytes: i64,
    },
}

/// How what the agent did ended.
#[derive(Clone, Debug, PartialEq)]
pub struct TurnEnd {
    /// In which way.
    pub outcome: Outcome,
    /// What it used, subagents included.
    pub usage: Usage,
}

/// The ways an agent ends what it does.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It finished.
    Completed,
    /// It was interrupted, as it was told.
    Interrupted,
    /// It, or its model, failed.
    Failed(SessionError),
}

/// Where a parser stands: enough to go on from there in another process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Of the state's format. A parser refuses a version it does not know.
    pub version: i32,
    /// Bytes of output up to the end of the last whole line.
    pub offset: u64,
    /// What the rest of the output cannot tell, as JSON. No text of open blocks: the fold has that.
    pub state: String,
}

/// A checkpoint that this build cannot read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the parser checkpoint of {agent} has version {version}, or is damaged; this build cannot go on from it")]
pub struct UnknownCheckpoint {
    /// Whose.
    pub agent: Agent,
    /// Its version.
    pub version: i32,
}

/// Reads what an agent prints.
#[derive(Clone, Debug)]
pub enum Parser {
    /// Of Claude Code.
    Claude(claude::Parser),
    /// Of the scripted agent.
    Scripted(scripted::Parser),
}

/// How to start an agent.
///
/// # Errors
/// [`UnknownCheckpoint`] when what its last process left behind cannot be read.
pub fn plan(agent: Agent, setup: &Setup) -> Result<Plan, UnknownCheckpoint> {
    match agent {
        Agent::ClaudeCode => claude::plan(setup),
        Agent::Scripted => Ok(scripted::plan(setup)),
    }
}

/// Folders of the home by which an agent remembers its session: kept with the workspace, and put back with it.
#[must_use]
pub fn kept_home(agent: Agent) -> &'static [&'static str] {
    match agent {
        Agent::ClaudeCode => claude::KEPT_HOME,
        Agent::Scripted => &[],
    }
}

/// The credentials among the server's variables that an agent is passed, by the names of the variables: what must not be
/// recorded when it prints them.
#[must_use]
pub fn credentials(agent: Agent, environment: &BTreeMap<String, String>) -> Vec<(String, String)> {
    match agent {
        Agent::ClaudeCode => claude::credentials(environment),
        Agent::Scripted => Vec::new(),
    }
}

/// The bytes that give an agent a message, of which it takes each part ([`takes`]). `block_id` comes back in
/// [`Action::TurnStarted`].
#[must_use]
pub fn prompt(agent: Agent, block_id: &BlockId, parts: &[ContentPart]) -> Vec<u8> {
    match agent {
        Agent::ClaudeCode => claude::prompt(block_id, parts),
        Agent::Scripted => scripted::prompt(block_id, parts),
    }
}

/// Whether an agent can be given such a part of a message.
#[must_use]
pub fn takes(agent: Agent, part: &ContentPart) -> bool {
    match (agent, part) {
        (Agent::ClaudeCode | Agent::Scripted, ContentPart::Text(_))
        | (Agent::ClaudeCode, ContentPart::Image(_) | ContentPart::Attachment(_)) => true,
        (Agent::Scripted, ContentPart::Image(_) | ContentPart::Attachment(_))
        | (Agent::ClaudeCode | Agent::Scripted, ContentPart::ImageUri(_) | ContentPart::FilePath(_)) => false,
    }
}

/// The text that tells a new process of an agent to go on with a turn that waited for these answers. `memory` is what the
/// process that asked left behind.
#[must_use]
pub fn go_on(agent: Agent, memory: Option<&str>, answers: &[CarriedAnswer]) -> String {
    match agent {
        Agent::ClaudeCode => ask::go_on(agent, answers),
        Agent::Scripted => scripted::go_on(memory, answers),
    }
}

/// The text that tells a new process of an agent to go on with a turn that was broken off, because the lifetime of its sandbox
/// ended.
#[must_use]
pub fn moved(agent: Agent) -> String {
    ask::moved(agent)
}

/// Whether a rule of an agent's rule language covers a call. One that allows is read narrowly, any other one widely.
#[must_use]
pub fn covers(agent: Agent, rule: &PermissionRule, ask: &Ask) -> Covers {
    match agent {
        // The scripted agent plays the same tools.
        Agent::ClaudeCode | Agent::Scripted => claude::covers(rule, ask),
    }
}

/// The same of a rule that an "always" answer left, so that its pattern names no secrets: `given` is the call as the agent
/// made it, `shown` the one without its secrets.
#[must_use]
pub fn covers_shown(agent: Agent, rule: &PermissionRule, given: &Ask, shown: &Ask) -> Covers {
    match agent {
        Agent::ClaudeCode | Agent::Scripted => claude::covers_shown(rule, given, shown),
    }
}

/// The answers to a question, as its agent is told them.
#[must_use]
pub fn answered(agent: Agent, question: &Question, answers: &[QuestionAnswer]) -> PermissionAnswer {
    match agent {
        Agent::ClaudeCode | Agent::Scripted => claude::answered(question, answers),
    }
}

/// The bytes that ask an agent to end the turn it is at, as its own protocol has it: it keeps what it said, and tells of
/// the end as of any other. Without a turn they have no effect. `id` is of this request alone.
#[must_use]
pub fn interrupt(agent: Agent, id: &str) -> Vec<u8> {
    match agent {
        Agent::ClaudeCode => claude::interrupt(id),
        Agent::Scripted => scripted::interrupt(),
    }
}

/// The bytes that ask an agent what its turn costs so far, where it does not tell by itself; the answer is in
/// [`Parser::progress`] when it came.
#[must_use]
pub fn ask_cost(agent: Agent) -> Option<Vec<u8>> {
    match agent {
        Agent::ClaudeCode => Some(claude::ask_cost()),
        Agent::Scripted => None,
    }
}

impl Parser {
    /// How the program comes to run as these options say, from the message on that it is given next. What it is to be
    /// told counts as told.
    pub fn adapt(&mut self, options: &SessionOptions) -> Adapt {
        match self {
            Self::Claude(parser) => parser.adapt(options),
            Self::Scripted(parser) => parser.adapt(options),
        }
    }

    /// The bytes by which the program comes to ask about what these rules may keep from running, where it has to be told.
    pub fn told_rules(&mut self, strict: &[PermissionRule]) -> Option<Vec<u8>> {
        match self {
            Self::Claude(parser) => parser.told_rules(strict),
            // It asks whenever its script says so.
            Self::Scripted(_) => None,
        }
    }

    /// How far the turn at work is; nothing where there is none.
    #[must_use]
    pub fn progress(&self) -> Progress {
        match self {
            Self::Claude(parser) => parser.progress(),
            Self::Scripted(parser) => parser.progress(),
        }
    }

    /// The bytes that tell the program the answer to an [`Ask`].
    pub fn answer(&mut self, agent_request_id: &str, tool_use_id: &str, answer: &PermissionAnswer) -> Vec<u8> {
        match self {
            Self::Claude(_) => claude::answer(agent_request_id, tool_use_id, answer),
            Self::Scripted(parser) => parser.answer(agent_request_id, answer),
        }
    }

    /// Whether the program is at a turn, as far as its output was read. What a subagent does in the background is none.
    #[must_use]
    pub fn is_at_turn(&self) -> bool {
        match self {
            Self::Claude(parser) => parser.is_at_turn(),
            // It does nothing in the background.
            Self::Scripted(_) => true,
        }
    }

    /// Whether something that the program began goes on without a turn, such as a command in the background, as far as its
    /// output was read.
    #[must_use]
    pub fn has_tasks(&self) -> bool {
        match self {
            Self::Claude(parser) => parser.has_tasks(),
            // It does nothing in the background.
            Self::Scripted(_) => false,
        }
    }

    /// The program was given the message of this block. Some agents answer before they say whom.
    pub fn prompted(&mut self, block_id: &BlockId) {
        match self {
            Self::Claude(parser) => parser.prompted(block_id),
            Self::Scripted(_) => {}
        }
    }

    /// Takes the next bytes of output and says what they ask for.
    pub fn feed(&mut self, bytes: &[u8], actions: &mut Vec<Action>) {
        match self {
            Self::Claude(parser) => parser.feed(bytes, actions),
            Self::Scripted(parser) => parser.feed(bytes, actions),
        }
    }

    /// The output is over: what is left of it is read as it is.
    pub fn finish(&mut self, actions: &mut Vec<Action>) {
        match self {
            Self::Claude(parser) => parser.finish(actions),
            Self::Scripted(parser) => parser.finish(actions),
        }
    }

    /// Where the parser stands.
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        match self {
            Self::Claude(parser) => parser.checkpoint(),
            Self::Scripted(parser) => parser.checkpoint(),
        }
    }

    /// A parser that goes on where another one stood; it is fed from [`Checkpoint::offset`] on.
    ///
    /// # Errors
    /// [`UnknownCheckpoint`].
    pub fn restore(agent: Agent, checkpoint: &Checkpoint) -> Result<Self, UnknownCheckpoint> {
        match agent {
            Agent::ClaudeCode => claude::Parser::restore(checkpoint).map(Self::Claude),
            Agent::Scripted => scripted::Parser::restore(checkpoint).map(Self::Scripted),
        }
    }
}
