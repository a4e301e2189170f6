//! Agents of a workflow: a script of the model's has them work, all in one task, and the CLI tells nothing that they say, only how
//! far each is. They are subagents without words: a conversation with its use, and a block with what each was asked and answers,
//! as far as that is told.
//!
//! An agent is known by an id of its own, which names its conversation. It is over at the latest when its workflow is.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    kinds::WorkflowState,
    parser::Reading,
    state::Stage,
    subagents::About,
    tools::milliseconds,
    wire::{Text, or_default},
};
use crate::agent::Draft;
use crate::domain::{ConversationId, ExecutionStatus, Usage};

/// An entry of a workflow's progress: a phase, a line of its log, or an agent.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    #[serde(borrow)]
    r#type: Text<'a>,
    #[serde(borrow)]
    agent_id: Option<Text<'a>>,
    #[serde(borrow)]
    agent_type: Option<Text<'a>>,
    #[serde(borrow)]
    label: Option<Text<'a>>,
    #[serde(borrow)]
    state: Option<Text<'a>>,
    /// As much of what it was asked as the CLI shows.
    #[serde(borrow)]
    prompt_preview: Option<Text<'a>>,
    #[serde(borrow)]
    result_preview: Option<Text<'a>>,
    #[serde(borrow)]
    error: Option<Text<'a>>,
    #[serde(borrow)]
    model: Option<Text<'a>>,
    #[serde(default, deserialize_with = "or_default")]
    tokens: i64,
    duration_ms: Option<f64>,
}

impl Reading<'_> {
    /// How far the agents of the workflow are that this call began. What cannot be read tells nothing.
    pub(super) fn workflow_progress(&mut self, call: &ConversationId, progress: Option<&RawValue>) {
        let entries: Vec<Entry<'_>> =
            progress.and_then(|progress| serde_json::from_str(progress.get()).ok()).unwrap_or_default();
        for entry in entries.into_iter().filter(|entry| &*entry.r#type == "workflow_agent") {
            self.workflow_agent(call, entry);
        }
    }

    fn workflow_agent(&mut self, call: &ConversationId, entry: Entry<'_>) {
        // One that waits for its turn has none.
        let Some(id) = entry.agent_id.as_deref().map(ConversationId::new) else { return };
        let text = |text: Option<Text<'_>>| text.map(String::from).unwrap_or_default();
        if self.subagent(&id).is_none() {
            // What it is called in the script tells more than the definition that all of them may have.
            let name = text(entry.label.filter(|label| !label.is_empty()).or(entry.agent_type));
            let about = About { name, input: text(entry.prompt_preview), call: call.as_str().to_owned() };
            self.discover(id.clone(), ConversationId::main(), about);
        }
        let Some(subagent) = self.subagent(&id).filter(|subagent| subagent.stage != Stage::Over) else { return };
        subagent.background = true;
        let model = text(entry.model);
        if !model.is_empty() && subagent.model != model {
            subagent.model.clone_from(&model);
            self.emit(Draft::Used { conversation_id: id.clone(), usage: Usage::default(), model });
        }
        self.run(&id);
        let duration = entry.duration_ms.and_then(milliseconds);
        match WorkflowState::parse(entry.state.as_deref().unwrap_or_default()) {
            WorkflowState::Start | WorkflowState::Progress => {}
            WorkflowState::Done => {
                if let Some(subagent) = self.subagent(&id) {
                    subagent.share.end_with(entry.tokens);
                }
                self.finish_subagent(&id, ExecutionStatus::Succeeded, entry.result_preview.map(String::from), duration);
            }
            WorkflowState::Error => {
                self.finish_subagent(&id, ExecutionStatus::Failed, entry.error.map(String::from), duration);
            }
            WorkflowState::Unknown => self.unknown("workflow_agent/", entry.state.as_deref().unwrap_or_default()),
        }
    }

    /// A task is over, and with it all agents of the workflow that it may have been.
    pub(super) fn workflow_over(&mut self, call: &ConversationId) {
        let agents = &self.state.process.agents;
        let left = agents.iter().filter(|agent| agent.stage != Stage::Over && agent.call == call.as_str());
        for id in left.map(|agent| agent.id.clone()).collect::<Vec<_>>() {
            self.finish_subagent(&id, ExecutionStatus::Failed, None, None);
        }
    }
}
