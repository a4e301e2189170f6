//! Subagents: conversations of their own, and a block where they were called for.
//!
//! One is known by the call that spawned it, which also names its conversation. It is told of by that call, by the task that
//! the CLI makes of it, by lines that name the call as their parent, and by the call's result; in which order, and which of
//! them at all, differs between versions, and between subagents that are waited for and those in the background.

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    parser::Reading,
    shares::Share,
    state::{Stage, Subagent},
    tools::milliseconds,
    usage::Totals,
    wire::{TaskLine, Text, ToolOutcome, TurnUsage},
};
use crate::agent::Draft;
use crate::domain::{BlockId, BlockPatch, Content, ConversationId, ExecutionStatus, SubagentCall};

/// Subagents that are remembered; the oldest that are over are forgotten first.
const REMEMBERED: usize = 512;
/// What the CLI takes when a call names no subagent.
const DEFAULT: &str = "general-purpose";

/// What the result of the call that spawned a subagent says.
pub(super) enum Answer {
    /// What it answers; `None`: nothing in words.
    Said(Option<String>),
    /// That it goes on in the background.
    GoesOn,
}

/// What is known of a subagent as it appears.
#[derive(Default)]
pub(super) struct About {
    pub(super) name: String,
    pub(super) input: String,
    /// The call that had it work, where that is not its id.
    pub(super) call: String,
}

impl Reading<'_> {
    /// The model calls a tool, and its input is whole: perhaps it calls for a subagent.
    pub(super) fn called(&mut self, id: &str, tool: &str, input: &str, conversation: &ConversationId) {
        #[derive(Default, Deserialize)]
        struct Input<'a> {
            #[serde(borrow)]
            subagent_type: Option<Text<'a>>,
            #[serde(borrow)]
            prompt: Option<Text<'a>>,
        }
        if !is_spawning(tool) {
            return;
        }
        let Input { subagent_type, prompt } = serde_json::from_str(input).unwrap_or_default();
        let name = subagent_type.map_or_else(|| DEFAULT.to_owned(), String::from);
        let about = About { name, input: prompt.map(String::from).unwrap_or_default(), ..About::default() };
        self.discover(ConversationId::new(id), conversation.clone(), about);
    }

    /// A subagent says something, so it runs.
    pub(super) fn speaks(&mut self, conversation: &ConversationId, name: Option<&Text<'_>>) {
        if self.subagent(conversation).is_none() {
            let tool = self.state.process.tools.get(conversation.as_str());
            let parent = tool.and_then(|tool| tool.conversation.clone()).unwrap_or_else(ConversationId::main);
            let about = About { name: name.map(|name| (**name).to_owned()).unwrap_or_default(), ..About::default() };
            self.discover(conversation.clone(), parent, about);
        }
        self.run(conversation);
    }

    /// A task began. Commands that take long are tasks, too.
    pub(super) fn task_started(&mut self, line: TaskLine<'_>) {
        // One that is told to go on when it is over keeps its task, and gets the id of the call that tells it.
        let task = line.task_id.as_deref().unwrap_or_default().to_owned();
        let held = self.state.process.agents.iter().rev().find(|subagent| !task.is_empty() && subagent.task == task);
        let named = held.map(|subagent| subagent.id.clone());
        let Some(id) = named.or_else(|| line.tool_use_id.as_deref().map(ConversationId::new)) else { return };
        if !task.is_empty() {
            self.state.process.tasks.insert(task.clone(), id.as_str().to_owned());
        }
        if self.subagent(&id).is_none() {
            let is_agent = line.subagent_type.is_some() || line.task_type.as_deref() == Some("local_agent");
            let spawner = line.parent_task_id.as_deref().and_then(|task| self.state.process.tasks.get(task));
            let parent = match spawner {
                Some(tool) => ConversationId::new(tool.as_str()),
                None if line.spawn_depth == Some(1) => ConversationId::main(),
                // Who called for it is told by the call, which some versions tell a moment later.
                None => return,
            };
            if !is_agent {
                return;
            }
            let name = line.subagent_type.map(String::from).unwrap_or_default();
            let about = About { name, input: line.prompt.map(String::from).unwrap_or_default(), ..About::default() };
            self.discover(id.clone(), parent, about);
        }
        if let Some(subagent) = self.subagent(&id) {
            subagent.task = task;
            subagent.background = line.is_backgrounded.unwrap_or(subagent.background);
            // One that is over was told to go on: its block is final, its conversation is not.
            if subagent.stage == Stage::Over {
                subagent.stage = Stage::Called;
            }
        }
        self.run(&id);
    }

    /// A task got on.
    pub(super) fn task_progress(&mut self, line: &TaskLine<'_>) {
        let Some(id) = self.task_of(line) else { return };
        self.workflow_progress(&id, line.workflow_progress);
        self.run(&id);
        let duration = line.usage.as_ref().and_then(|usage| usage.duration_ms).and_then(milliseconds);
        self.patch(&id, BlockPatch { duration, ..BlockPatch::default() });
    }

    /// A subagent that was waited for goes on in the background.
    pub(super) fn task_updated(&mut self, line: &TaskLine<'_>) {
        let moved = line.patch.as_ref().and_then(|patch| patch.is_backgrounded);
        if let Some(moved) = moved
            && let Some(id) = self.task_of(line)
            && let Some(subagent) = self.subagent(&id)
        {
            subagent.background = moved;
        }
    }

    /// A task is over. Of a subagent that is waited for the result of its call follows, and tells more.
    pub(super) fn task_notification(&mut self, line: TaskLine<'_>) {
        let id = self.task_of(&line);
        if let Some(task) = line.task_id.as_deref() {
            self.state.process.tasks.remove(task);
        }
        let Some(id) = id else { return };
        self.workflow_over(&id);
        let usage = line.usage.unwrap_or_default();
        let duration = usage.duration_ms.and_then(milliseconds);
        let output = line.summary.map(String::from).filter(|summary| !summary.is_empty());
        let is_waited_for = self.state.process.tools.contains_key(id.as_str());
        let Some(subagent) = self.subagent(&id) else {
            // Of a command that is waited for the result tells. What went on in the background is why a turn begins unasked.
            if !is_waited_for {
                let status = line.status.as_deref().unwrap_or_default();
                self.task_over(line.uuid.as_deref(), id.as_str(), status, output.unwrap_or_default());
            }
            return;
        };
        subagent.share.end_with(usage.total_tokens);
        if is_waited_for && !subagent.background {
            return self.patch(&id, BlockPatch { duration, ..BlockPatch::default() });
        }
        let is_done = matches!(line.status.as_deref(), None | Some("completed"));
        let status = if is_done { ExecutionStatus::Succeeded } else { ExecutionStatus::Failed };
        self.finish_subagent(&id, status, output, duration);
    }

    /// The call that spawned a subagent has its result: the subagent is done, was never begun, or goes on.
    pub(super) fn returned(
        &mut self,
        id: &str,
        is_error: bool,
        outcome: &ToolOutcome<'_>,
        answer: Answer,
        duration: Option<Duration>,
    ) {
        let id = ConversationId::new(id);
        let Some(subagent) = self.subagent(&id) else { return };
        if let Some(last) = usage(outcome.usage) {
            subagent.share.end(last);
        }
        let output = match answer {
            Answer::Said(said) => said,
            Answer::GoesOn => {
                subagent.background = true;
                return;
            }
        };
        if subagent.background && !is_error {
            return;
        }
        let status = if is_error { ExecutionStatus::Failed } else { ExecutionStatus::Succeeded };
        self.finish_subagent(&id, status, output, duration);
    }

    /// The turn is over, and with it every subagent that it waited for.
    pub(super) fn end_subagents(&mut self) {
        let ends = |subagent: &Subagent| subagent.stage != Stage::Over && !self.outlives_turn(&subagent.id);
        let ending: Vec<_> = self.state.process.agents.iter().filter(|subagent| ends(subagent)).cloned().collect();
        for Subagent { id, parent, .. } in ending {
            if let Some(subagent) = self.subagent(&id) {
                // The session closes the block with the others of the turn.
                (subagent.stage, subagent.open) = (Stage::Over, false);
            }
            self.conversation(id, parent, String::new(), ExecutionStatus::Failed);
        }
    }

    /// What happens in this conversation goes on when the turn is over.
    pub(super) fn outlives_turn(&self, conversation: &ConversationId) -> bool {
        let agents = &self.state.process.agents;
        let mut at = conversation;
        // A subagent lives in the one that spawned it. No chain is longer than there are links.
        for _ in 0..=agents.len() {
            match agents.iter().rev().find(|subagent| subagent.id == *at) {
                Some(subagent) if subagent.stage == Stage::Over => return false,
                Some(subagent) if subagent.background => return true,
                Some(subagent) => at = &subagent.parent,
                None => return false,
            }
        }
        false
    }

    /// A subagent that is remembered.
    pub(super) fn subagent(&mut self, id: &ConversationId) -> Option<&mut Subagent> {
        self.state.process.agents.iter_mut().rev().find(|subagent| subagent.id == *id)
    }

    fn task_of(&self, line: &TaskLine<'_>) -> Option<ConversationId> {
        let by_task = line.task_id.as_deref().and_then(|task| self.state.process.tasks.get(task)).map(String::as_str);
        by_task.or(line.tool_use_id.as_deref()).map(ConversationId::new)
    }

    pub(super) fn discover(&mut self, id: ConversationId, parent: ConversationId, about: About) {
        if id == ConversationId::main() || id == parent || self.subagent(&id).is_some() {
            return;
        }
        let agents = &mut self.state.process.agents;
        if agents.len() >= REMEMBERED
            && let Some(over) = agents.iter().position(|subagent| subagent.stage == Stage::Over)
        {
            agents.remove(over);
        }
        agents.push(Subagent {
            id: id.clone(),
            parent: parent.clone(),
            stage: Stage::Called,
            background: false,
            open: true,
            model: String::new(),
            call: about.call.clone(),
            task: String::new(),
            share: Share::default(),
        });
        self.conversation(id.clone(), parent.clone(), about.name.clone(), ExecutionStatus::Pending);
        let call = SubagentCall {
            subagent_id: id.clone(),
            name: about.name,
            input: about.input,
            status: ExecutionStatus::Pending,
            output: String::new(),
            duration: None,
            tool_use_id: if about.call.is_empty() { id.as_str().to_owned() } else { about.call },
        };
        let content = Content::Subagent(call);
        self.emit(Draft::Start { conversation_id: parent, block_id: block_id(&id), content });
    }

    pub(super) fn run(&mut self, id: &ConversationId) {
        let Some(subagent) = self.subagent(id).filter(|subagent| subagent.stage == Stage::Called) else { return };
        subagent.stage = Stage::Running;
        let parent = subagent.parent.clone();
        self.conversation(id.clone(), parent, String::new(), ExecutionStatus::Running);
        self.patch(id, BlockPatch { status: Some(ExecutionStatus::Running), ..BlockPatch::default() });
    }

    /// The first that tells the end counts.
    pub(super) fn finish_subagent(
        &mut self,
        id: &ConversationId,
        status: ExecutionStatus,
        output: Option<String>,
        duration: Option<Duration>,
    ) {
        let Some(subagent) = self.subagent(id).filter(|subagent| subagent.stage != Stage::Over) else { return };
        subagent.stage = Stage::Over;
        let (parent, is_open) = (subagent.parent.clone(), subagent.open);
        self.state.process.messages.remove(id);
        if is_open {
            self.patch(id, BlockPatch { status: Some(status), duration, output, ..BlockPatch::default() });
            let (conversation_id, block_id) = (parent.clone(), block_id(id));
            self.emit(Draft::Complete { conversation_id, block_id, content: None });
        }
        if let Some(subagent) = self.subagent(id) {
            subagent.open = false;
        }
        self.conversation(id.clone(), parent, String::new(), status);
    }

    fn patch(&mut self, id: &ConversationId, patch: BlockPatch) {
        let is_open = self.subagent(id).is_some_and(|subagent| subagent.open);
        if is_open && patch != BlockPatch::default() {
            self.emit(Draft::Update { block_id: block_id(id), patch });
        }
    }

    fn conversation(&mut self, id: ConversationId, parent: ConversationId, name: String, status: ExecutionStatus) {
        let call = self.subagent(&id).map(|subagent| subagent.call.clone()).filter(|call| !call.is_empty());
        let tool_use_id = call.unwrap_or_else(|| id.as_str().to_owned());
        self.emit(Draft::Conversation { conversation_id: id, parent_id: parent, name, tool_use_id, status });
    }
}

/// Tokens, where they are told.
pub(super) fn usage(usage: Option<&RawValue>) -> Option<Totals> {
    let usage: TurnUsage = serde_json::from_str(usage?.get()).ok()?;
    Some(Totals::from(&usage))
}

/// The API has the tool by its new name, the list of tools by its old one.
pub(super) fn is_spawning(tool: &str) -> bool {
    matches!(tool, "Agent" | "Task")
}

fn block_id(conversation: &ConversationId) -> BlockId {
    BlockId::new(format!("sub:{conversation}"))
}
