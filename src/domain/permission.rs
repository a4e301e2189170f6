//! What an agent asks: permissions, questions, and the standing answers.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ConversationId, ExecId, Principal, Timestamp, TurnId};

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
    /// What it takes to answer. Not in the contract's record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Asked>,
}

/// How a request reached the runtime: what it takes to answer it, also in another process of the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// The program that asked.
    pub exec_id: ExecId,
    /// The request, in the words of that program.
    pub agent_request_id: String,
    /// Of the input, however its fields are ordered: SHA-256, lower-case hex.
    pub input_sha256: String,
}

/// An answer that its agent did not live to get: given once to the first request of its next process that is the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarriedAnswer {
    /// The request that was answered.
    pub permission_id: String,
    /// How it was asked.
    pub asked: Asked,
    /// For example "Bash".
    pub tool_name: String,
    /// As it was shown.
    pub input_json: String,
    /// The answer.
    pub answer: PermissionAnswer,
}

/// What an agent is told about a tool call it asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PermissionAnswer {
    /// It may run.
    Allow {
        /// Input to use instead of the agent's, a JSON object; empty: its own.
        updated_input_json: String,
    },
    /// It may not run.
    Reject {
        /// Why; may be empty.
        message: String,
    },
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

impl PermissionOption {
    /// What every request for permission can be answered.
    #[must_use]
    pub fn once() -> Vec<Self> {
        let option = |option_id: &str, name: &str, kind| Self { option_id: option_id.into(), name: name.into(), kind };
        vec![
            option("allow_once", "Allow", PermissionOptionKind::AllowOnce),
            option("reject_once", "Reject", PermissionOptionKind::RejectOnce),
        ]
    }
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

impl PermissionOptionKind {
    /// The tool may run.
    #[must_use]
    pub fn allows(self) -> bool {
        match self {
            Self::AllowOnce | Self::AllowAlways => true,
            Self::RejectOnce | Self::RejectAlways => false,
        }
    }
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

impl InputOutcome {
    /// As the contract spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "INPUT_OUTCOME_ALLOWED",
            Self::Rejected => "INPUT_OUTCOME_REJECTED",
            Self::Answered => "INPUT_OUTCOME_ANSWERED",
            Self::Expired => "INPUT_OUTCOME_EXPIRED",
            Self::Withdrawn => "INPUT_OUTCOME_WITHDRAWN",
            Self::Interrupted => "INPUT_OUTCOME_INTERRUPTED",
        }
    }
}

impl InputResolution {
    /// One that the runtime decides itself.
    #[must_use]
    pub fn by_itself(outcome: InputOutcome, time: Timestamp) -> Self {
        Self {
            outcome,
            option_id: String::new(),
            message: String::new(),
            updated_input_json: String::new(),
            answers: Vec::new(),
            resolved_by: Some(Principal::system()),
            resolve_time: Some(time),
        }
    }

    /// What the agent is told of it; `None`: nothing, because it does not ask any more.
    #[must_use]
    pub fn answer(&self) -> Option<PermissionAnswer> {
        match self.outcome {
            InputOutcome::Allowed => {
                Some(PermissionAnswer::Allow { updated_input_json: self.updated_input_json.clone() })
            }
            InputOutcome::Rejected => Some(PermissionAnswer::Reject { message: self.message.clone() }),
            InputOutcome::Expired => {
                Some(PermissionAnswer::Reject { message: "nobody answered in time, and silence means no".to_owned() })
            }
            InputOutcome::Answered | InputOutcome::Withdrawn | InputOutcome::Interrupted => None,
        }
    }
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

impl PermissionRule {
    /// So many a session holds at most, and so many a profile.
    pub const MOST: usize = 256;
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

/// What to ask, how long to wait, and what silence means.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PermissionPolicy {
    /// For calls that no rule matches; `None`: somebody is asked.
    pub default_effect: Option<PermissionEffect>,
    /// The most recent that matches decides; after the session's own.
    pub rules: Vec<PermissionRule>,
    /// How long a request or question stays open; `None`: as the server says.
    pub ask_timeout: Option<Duration>,
    /// The answer when nobody gave one; `None`: reject. Never [`PermissionEffect::Ask`].
    pub timeout_effect: Option<PermissionEffect>,
}
