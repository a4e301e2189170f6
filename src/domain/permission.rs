//! What an agent asks: permissions, questions, and the standing answers.

use std::{fmt, time::Duration};

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
    /// It was a question, and is answered.
    Answered {
        /// The question's input with the answers in it, as the agent takes it: a JSON object.
        updated_input_json: String,
        /// The same for an agent that is told by words.
        told: String,
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
    /// What an "always" option leaves; without an id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<Box<PermissionRule>>,
}

impl PermissionOption {
    /// What every request for permission can be answered.
    #[must_use]
    pub fn once() -> Vec<Self> {
        let option = |option_id: &str, name: &str, kind| {
            let (option_id, name) = (option_id.into(), name.into());
            Self { option_id, name, kind, rule: None }
        };
        vec![
            option("allow_once", "Allow", PermissionOptionKind::AllowOnce),
            option("reject_once", "Reject", PermissionOptionKind::RejectOnce),
        ]
    }

    /// The same, and what holds for calls like it from then on.
    #[must_use]
    pub fn once_or_always(tool_name: &str, pattern: &str) -> Vec<Self> {
        let option = |option_id: &str, verb: &str, kind, effect| {
            let rule = PermissionRule::of(tool_name, pattern, effect);
            Self { option_id: option_id.into(), name: format!("{verb} {rule}"), kind, rule: Some(Box::new(rule)) }
        };
        let allow = option("allow_always", "Always allow", PermissionOptionKind::AllowAlways, PermissionEffect::Allow);
        let reject =
            option("reject_always", "Always reject", PermissionOptionKind::RejectAlways, PermissionEffect::Reject);
        let mut options = Self::once();
        options.insert(1, allow);
        options.push(reject);
        options
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
    /// The rule that decided, or that the answer left; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub rule_id: String,
    /// What became of the call; `None` for questions, and where nobody waits any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<PermissionEffect>,
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
            rule_id: String::new(),
            effect: None,
        }
    }

    /// What the agent that asked for permission is told of it; `None`: nothing, because it does not ask any more.
    #[must_use]
    pub fn answer(&self) -> Option<PermissionAnswer> {
        let reject = |message: &str| Some(PermissionAnswer::Reject { message: message.to_owned() });
        match self.outcome {
            InputOutcome::Allowed => {
                Some(PermissionAnswer::Allow { updated_input_json: self.updated_input_json.clone() })
            }
            InputOutcome::Rejected => reject(&self.message),
            InputOutcome::Expired if self.effect == Some(PermissionEffect::Allow) => {
                Some(PermissionAnswer::Allow { updated_input_json: String::new() })
            }
            InputOutcome::Expired => reject(SILENCE),
            InputOutcome::Answered | InputOutcome::Withdrawn | InputOutcome::Interrupted => None,
        }
    }
}

/// What an agent is told when nobody answered and that means no.
pub const SILENCE: &str = "nobody answered in time, and silence means no";

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
    /// The tool that the agent asks by. Not in the contract's record, as what follows: what it takes to answer.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tool_name: String,
    /// Its input, whole.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub input_json: String,
    /// How it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Asked>,
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

    /// One that nobody made yet.
    #[must_use]
    pub fn of(tool_name: &str, pattern: &str, effect: PermissionEffect) -> Self {
        let (tool_name, pattern) = (tool_name.to_owned(), pattern.to_owned());
        Self { rule_id: String::new(), tool_name, pattern, effect, created_by: None, create_time: None }
    }

    /// About the same calls as the other one.
    #[must_use]
    pub fn is_about_the_same(&self, other: &Self) -> bool {
        (&self.tool_name, &self.pattern) == (&other.tool_name, &other.pattern)
    }
}

/// As people and Claude Code write them: "Bash(npm run test:*)".
impl fmt::Display for PermissionRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.tool_name)?;
        if self.pattern.is_empty() { Ok(()) } else { write!(f, "({})", self.pattern) }
    }
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

impl PermissionPolicy {
    /// It says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The rules that may keep a call from running.
    #[must_use]
    pub fn strict(&self) -> Vec<PermissionRule> {
        self.rules.iter().filter(|rule| rule.effect != PermissionEffect::Allow).cloned().collect()
    }

    /// What becomes of a call that nobody answered for.
    #[must_use]
    pub fn silence(&self) -> PermissionEffect {
        match self.timeout_effect {
            Some(PermissionEffect::Allow) => PermissionEffect::Allow,
            Some(PermissionEffect::Reject | PermissionEffect::Ask) | None => PermissionEffect::Reject,
        }
    }
}
