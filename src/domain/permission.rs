//! What an agent asks: permissions, questions, and the standing answers.

use serde::{Deserialize, Serialize};

use super::{ConversationId, Principal, Timestamp, TurnId};

/// The agent asks before it uses a tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PermissionRequest {
    /// Minted by the server.
    pub permission_id: String,
    /// Where it was asked.
    pub conversation_id: ConversationId,
    /// The turn that waits.
    pub turn_id: TurnId,
    /// Tool call it is about; may be empty.
    pub tool_use_id: String,
    /// For example "Bash".
    pub tool_name: String,
    /// A JSON object.
    pub input_json: String,
    /// One line for people.
    pub title: String,
    /// The possible answers.
    pub options: Vec<PermissionOption>,
    /// When it was asked.
    pub create_time: Timestamp,
    /// When the policy answers instead.
    pub expire_time: Option<Timestamp>,
    /// Unset while open.
    pub resolution: Option<InputResolution>,
}

/// One possible answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PermissionOption {
    /// Names the option.
    pub option_id: String,
    /// Label of the button.
    pub name: String,
    /// What choosing it does.
    pub kind: PermissionOptionKind,
}

/// What choosing an option does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PermissionOptionKind {
    /// This call may run.
    AllowOnce,
    /// Calls like it may run.
    AllowAlways,
    /// This call may not run.
    RejectOnce,
    /// Calls like it may not run.
    RejectAlways,
}

/// How a request for input ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputResolution {
    /// In which way.
    pub outcome: InputOutcome,
    /// The chosen option; may be empty.
    pub option_id: String,
    /// Told to the agent; may be empty.
    pub message: String,
    /// Input used instead of the agent's; may be empty.
    pub updated_input_json: String,
    /// One per item of a question.
    pub answers: Vec<QuestionAnswer>,
    /// Who decided.
    pub resolved_by: Option<Principal>,
    /// When.
    pub resolve_time: Option<Timestamp>,
}

/// The ways a request for input can end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputOutcome {
    /// A permission was given.
    Allowed,
    /// Refused or declined.
    Rejected,
    /// A question was answered.
    Answered,
    /// Nobody answered in time.
    Expired,
    /// The agent no longer asks.
    Withdrawn,
    /// The turn was interrupted.
    Interrupted,
}

/// The agent asks the user something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// Minted by the server.
    pub question_id: String,
    /// Where it was asked.
    pub conversation_id: ConversationId,
    /// The turn that waits.
    pub turn_id: TurnId,
    /// Tool call it came from; may be empty.
    pub tool_use_id: String,
    /// Asked together.
    pub items: Vec<QuestionItem>,
    /// When it was asked.
    pub create_time: Timestamp,
    /// When it expires.
    pub expire_time: Option<Timestamp>,
    /// Unset while open.
    pub resolution: Option<InputResolution>,
}

/// One question with its choices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuestionItem {
    /// A word or two; may be empty.
    pub header: String,
    /// The question.
    pub text: String,
    /// Empty: a free answer.
    pub choices: Vec<QuestionChoice>,
    /// More than one may be taken.
    pub multiple: bool,
}

/// One described choice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuestionChoice {
    /// Short.
    pub label: String,
    /// What it means; may be empty.
    pub description: String,
}

/// The answer to one item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuestionAnswer {
    /// Labels taken.
    pub choices: Vec<String>,
    /// Free text.
    pub text: String,
}

/// A standing answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PermissionRule {
    /// Minted by the server.
    pub rule_id: String,
    /// Which tool.
    pub tool_name: String,
    /// Which inputs; empty: all.
    pub pattern: String,
    /// What happens.
    pub effect: PermissionEffect,
    /// Who made it.
    pub created_by: Option<Principal>,
    /// When.
    pub create_time: Option<Timestamp>,
}

/// What happens to a tool call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PermissionEffect {
    /// It runs.
    Allow,
    /// Somebody is asked.
    Ask,
    /// It does not run.
    Reject,
}
