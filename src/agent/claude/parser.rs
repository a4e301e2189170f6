//! The parser: bytes in, actions out. Here stands what each kind of line does; how, in the modules it calls.

use serde::Deserialize;

use super::{
    halves,
    kinds::{LineKind, SystemKind},
    state::{State, Turn, VERSION},
    wire::{CommandLine, ControlAnswerLine, Head, MessageLine, NoticeLine, Probe, ResultLine},
};
use crate::agent::{
    Action, Checkpoint, Draft, UnknownCheckpoint,
    lines::{Line, Lines},
};
use crate::domain::{BlockId, ConversationId, LogLevel};

/// What is kept of output that cannot be read.
const RAW: usize = 64 << 10;
/// Kinds of unknown lines that are told of; more than that is noise.
const UNKNOWN: usize = 64;
/// Bytes of such a kind's name.
const NAME: usize = 64;

/// Reads what the CLI prints.
#[derive(Clone, Debug)]
pub struct Parser {
    lines: Lines,
    pub(super) state: Box<State>,
}

/// One line being read: the state it changes, and the actions it asks for.
pub(super) struct Reading<'a> {
    pub(super) state: &'a mut State,
    pub(super) actions: &'a mut Vec<Action>,
}

impl Parser {
    /// At the beginning of a process's output.
    pub(super) fn new(state: State) -> Self {
        Self { lines: Lines::default(), state: Box::new(state) }
    }

    /// The CLI was given this message. Versions without `command_lifecycle` lines begin to answer before they echo it,
    /// and a command that they run themselves they never echo.
    pub fn prompted(&mut self, block_id: &BlockId) {
        self.state.process.expected = Some(block_id.as_str().to_owned());
    }

    /// Whether the CLI works on something, as far as its output was read.
    #[must_use]
    pub fn is_at_turn(&self) -> bool {
        self.state.process.turn != Turn::Idle
    }

    /// Whether something that it began is not over, a command in the background for one, as far as its output was read.
    #[must_use]
    pub fn has_tasks(&self) -> bool {
        !self.state.process.tasks.is_empty()
    }

    /// Takes the next bytes of output and says what they ask for.
    pub fn feed(&mut self, bytes: &[u8], actions: &mut Vec<Action>) {
        let Self { lines, state } = self;
        lines.feed(bytes, |line| Reading { state, actions }.line(line));
    }

    /// The output is over: what is left of it is read as it is.
    pub fn finish(&mut self, actions: &mut Vec<Action>) {
        let Self { lines, state } = self;
        lines.finish(|line| Reading { state, actions }.line(line));
    }

    /// Where the parser stands.
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint { version: VERSION, offset: self.lines.offset(), state: self.state.to_json() }
    }

    /// A parser that goes on where another one stood.
    ///
    /// # Errors
    /// [`UnknownCheckpoint`].
    pub fn restore(checkpoint: &Checkpoint) -> Result<Self, UnknownCheckpoint> {
        let state = State::from_json(&checkpoint.state, checkpoint.version)?;
        Ok(Self { lines: Lines::at(checkpoint.offset), state: Box::new(state) })
    }
}

impl Reading<'_> {
    fn line(&mut self, line: Line<'_>) {
        match line {
            Line::Whole(bytes) | Line::Partial(bytes) => {
                if !bytes.trim_ascii().is_empty() && self.known(bytes).is_err() {
                    self.unparsed(bytes, 0);
                }
            }
            Line::TooLong { head, left_out } => self.unparsed(head, left_out),
        }
    }

    /// Reads a line; an error when it is none of the protocol's, and then it did nothing.
    #[expect(clippy::match_same_arms, reason = "a table: each kind has its own reason to be nothing")]
    fn known(&mut self, bytes: &[u8]) -> Result<(), Unreadable> {
        // All of it, for strings that are skipped are not looked at again.
        let text = &*halves::mended(std::str::from_utf8(bytes).map_err(|_| Unreadable)?);
        let head: Head<'_> = match serde_json::from_str(text) {
            Ok(head) => head,
            // A kind that is known must have the known shape.
            Err(_) => match read::<Probe<'_>>(text)? {
                probe if LineKind::parse(&probe.kind) == LineKind::Unknown => {
                    self.unknown("", &probe.kind);
                    return Ok(());
                }
                _ => return Err(Unreadable),
            },
        };
        let conversation = || head.parent_tool_use_id.as_deref().map_or_else(ConversationId::main, ConversationId::new);
        match LineKind::parse(&head.kind) {
            // Blocks that grow, and turns that begin unasked.
            LineKind::StreamEvent => {
                let event = head.event.as_ref().ok_or(Unreadable)?;
                self.stream_event(event, &conversation(), head.user_message_uuid.as_deref());
            }
            // A block that is whole, or an error of the model's API.
            LineKind::Assistant => {
                let line = read::<MessageLine<'_>>(text)?;
                self.assistant(line, &conversation(), head.user_message_uuid.as_deref())?;
            }
            // Tool results, and a message that is taken up.
            LineKind::User => self.user(&read::<MessageLine<'_>>(text)?, &conversation())?,
            LineKind::System => self.system(head.subtype.as_deref().unwrap_or_default(), text)?,
            // The end of a turn.
            LineKind::Result => self.result(&read::<ResultLine<'_>>(text)?, head.user_message_uuid.as_deref()),
            // A message that is taken up, or given back.
            LineKind::CommandLifecycle => self.command(&read::<CommandLine<'_>>(text)?),
            LineKind::AuthStatus => self.auth_status(&read::<NoticeLine<'_>>(text)?),
            LineKind::RateLimitEvent => self.rate_limit(&read::<NoticeLine<'_>>(text)?),
            // A request for permission, or what this build cannot answer.
            LineKind::ControlRequest => self.control_request(read(text)?)?,
            LineKind::ControlCancelRequest => self.control_cancel(read(text)?)?,
            // What the turn costs so far; and an event where a change of the options is refused.
            LineKind::ControlResponse => {
                if let Some(answer) = &read::<ControlAnswerLine<'_>>(text)?.response {
                    self.control_response(answer);
                }
            }
            // Deliberately nothing: seconds a tool has run, which a watcher can count from the block's start. What a tool
            // prints while it runs the CLI does not tell.
            LineKind::ToolProgress => {}
            // Deliberately nothing: what the blocks before it say, in short, and what the user could say next.
            LineKind::ToolUseSummary | LineKind::PromptSuggestion => {}
            // Deliberately nothing: a copy of what the CLI stores of its own.
            LineKind::TranscriptMirror => {}
            // The agent forgets what was said.
            LineKind::ConversationReset => self.conversation_reset(&read::<NoticeLine<'_>>(text)?),
            // Deliberately nothing: how near its context is to being shortened, and what a hook keeps it at work for; both
            // for a screen that shows it all the time.
            LineKind::AutocompactState | LineKind::ActiveGoal => {}
            // Deliberately nothing: it says that the process lives.
            LineKind::KeepAlive => {}
            LineKind::Unknown => self.unknown("", &head.kind),
        }
        Ok(())
    }

    #[expect(clippy::match_same_arms, reason = "a table: each kind has its own reason to be nothing")]
    fn system(&mut self, subtype: &str, text: &str) -> Result<(), Unreadable> {
        match SystemKind::parse(subtype) {
            // The model, and once per process that it started. The CLI prints it for every turn.
            SystemKind::Init => self.init(&read(text)?),
            // Events: notices for people.
            SystemKind::ApiRetry => self.api_retry(&read(text)?),
            SystemKind::CompactBoundary => self.compaction(&read(text)?),
            SystemKind::HookResponse => self.hook_response(&read(text)?),
            SystemKind::Status => self.status(&read(text)?),
            SystemKind::LocalCommandOutput | SystemKind::Informational | SystemKind::Notification => {
                self.message(&read(text)?);
            }
            SystemKind::ModelFallback
            | SystemKind::ModelRefusalFallback
            | SystemKind::ModelRefusalNoFallback
            | SystemKind::ModelConsentFallback => self.problem(&read(text)?, "another model may answer"),
            SystemKind::PermissionDenied => self.problem(&read(text)?, "a tool was not permitted"),
            SystemKind::LateAllowNotRun => self.problem(&read(text)?, "a tool was allowed too late, and did not run"),
            SystemKind::SessionWritesLost | SystemKind::MirrorError => {
                self.problem(&read(text)?, "Claude Code could not store what it needs to go on later");
            }
            SystemKind::InstructionSizeWarning => self.problem(&read(text)?, "the instructions are very long"),
            SystemKind::FileAttachmentsMissing => self.problem(&read(text)?, "files that were named are not there"),
            SystemKind::WorkerShuttingDown => self.problem(&read(text)?, "Claude Code is about to end"),
            SystemKind::ApiError => self.problem(&read(text)?, "the model did not answer"),
            // Subagents: that they run, how long, and how they ended.
            SystemKind::TaskStarted => self.task_started(read(text)?),
            SystemKind::TaskProgress => self.task_progress(&read(text)?),
            SystemKind::TaskNotification => self.task_notification(read(text)?),
            // State only: whether a subagent is waited for.
            SystemKind::TaskUpdated => self.task_updated(&read(text)?),
            // Deliberately nothing: the list of what the lines about tasks tell one by one.
            SystemKind::BackgroundTasksChanged => {}
            // Deliberately nothing: an estimate of what the result tells exactly.
            SystemKind::ThinkingTokens => {}
            // Deliberately nothing: what becomes of each task its own lines tell.
            SystemKind::AgentsKilled | SystemKind::TaskSummary | SystemKind::TaskListStatuses => {}
            // Deliberately nothing: what the lines around it tell, as one's own screen shows it.
            SystemKind::Thinking
            | SystemKind::TurnStarting
            | SystemKind::TurnBeganBeforeInit
            | SystemKind::TurnDuration
            | SystemKind::TurnPreempted
            | SystemKind::TurnHandoffAvailable
            | SystemKind::PostTurnSummary
            | SystemKind::AwaySummary
            | SystemKind::StopHookSummary => {}
            // Deliberately nothing: how far a request is, which ends with its answer.
            SystemKind::ControlRequestProgress
            | SystemKind::PermissionCheckStatus
            | SystemKind::PermissionRetry
            | SystemKind::InheritedAsksSettled => {}
            // Deliberately nothing: what the CLI notes for itself.
            SystemKind::MemoryRecall
            | SystemKind::MemorySaved
            | SystemKind::FileSnapshot
            | SystemKind::ShellCwd
            | SystemKind::SessionMetadata
            | SystemKind::SessionTitleChanged
            | SystemKind::PluginInstall
            | SystemKind::ScheduledTaskFire
            | SystemKind::PerTurnEffortChanged => {}
            // Deliberately nothing: files and repositories are looked at, not told of.
            SystemKind::VcsStateChanged | SystemKind::CodeChangePublished | SystemKind::DevIntent => {}
            // Deliberately nothing: what extensions draw on the CLI's own screen.
            SystemKind::UiInvalidate
            | SystemKind::UiLog
            | SystemKind::UiToast
            | SystemKind::UiNotify
            | SystemKind::UiNotifyCancel
            | SystemKind::UiStatus
            | SystemKind::UiPanes
            | SystemKind::UiPlaced
            | SystemKind::UiScroll
            | SystemKind::UiFocus => {}
            // Deliberately nothing: of services of its provider's that it is not connected with here, and what another
            // machine printed for a tool whose result tells it.
            SystemKind::BridgeState
            | SystemKind::CloudSessionDelta
            | SystemKind::PeerMessageHold
            | SystemKind::FeedbackDraftQueued
            | SystemKind::ToolHostResult => {}
            // Deliberately nothing: how the hook ended is told by hook_response.
            SystemKind::HookStarted | SystemKind::HookProgress => {}
            // Deliberately nothing: follows from the turn's start and end.
            SystemKind::SessionStateChanged => {}
            // Deliberately nothing: about the CLI's own screens, files and dialogs.
            SystemKind::CommandsChanged | SystemKind::FilesPersisted | SystemKind::ElicitationComplete => {}
            SystemKind::Unknown => self.unknown("system/", subtype),
        }
        Ok(())
    }

    pub(super) fn emit(&mut self, draft: Draft) {
        self.actions.push(Action::Emit(draft));
    }

    /// Tells of a kind that this build does not know, once.
    pub(super) fn unknown(&mut self, sort: &str, kind: &str) {
        let kind: String = sort.chars().chain(kind.chars()).take(NAME).collect();
        let unknown = &mut self.state.process.unknown;
        if unknown.len() < UNKNOWN && !unknown.contains(&kind) {
            self.actions.push(Action::Emit(Draft::Log(
                LogLevel::Debug,
                format!("Claude Code printed a kind of line that is not known and not shown: {kind}"),
            )));
            unknown.insert(kind);
        }
    }

    fn unparsed(&mut self, bytes: &[u8], left_out: u64) {
        let kept = bytes.len().min(RAW);
        let truncated = left_out.saturating_add((bytes.len() - kept) as u64);
        self.emit(Draft::Unparsed {
            raw: bytes[..kept].to_vec(),
            truncated_bytes: i64::try_from(truncated).unwrap_or(i64::MAX),
        });
    }
}

/// A line that is none of the protocol's.
#[derive(Debug)]
pub(super) struct Unreadable;

/// Reads a line, or a part of it, in one shape.
pub(super) fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Unreadable> {
    serde_json::from_str(text).map_err(|_| Unreadable)
}
