//! What an agent asks, and how it was answered.

use super::{duration, list, number, timestamp};
use crate::{
    domain::{
        InputOutcome, InputResolution, PermissionEffect, PermissionOption, PermissionOptionKind, PermissionPolicy,
        PermissionRequest, PermissionRule, Question, QuestionAnswer, QuestionChoice, QuestionItem,
    },
    proto,
    session::Resolved,
};

impl From<Resolved> for proto::ResolvePermissionResponse {
    fn from(resolved: Resolved) -> Self {
        let Resolved { permission, rule } = resolved;
        Self { permission: Some(permission.into()), rule: rule.map(Into::into) }
    }
}

impl From<PermissionRequest> for proto::PermissionRequest {
    fn from(request: PermissionRequest) -> Self {
        let PermissionRequest {
            permission_id,
            conversation_id,
            turn_id,
            tool_use_id,
            tool_name,
            input_json,
            title,
            options,
            create_time,
            expire_time,
            resolution,
            // How its agent is answered is the server's affair.
            asked: _,
        } = request;
        Self {
            permission_id,
            conversation_id: conversation_id.to_string(),
            turn_id: turn_id.to_string(),
            tool_use_id,
            tool_name,
            input_json,
            title,
            options: list(options),
            create_time: Some(timestamp(create_time)),
            expire_time: expire_time.map(timestamp),
            resolution: resolution.map(Into::into),
        }
    }
}

impl From<PermissionOption> for proto::PermissionOption {
    fn from(option: PermissionOption) -> Self {
        let PermissionOption { option_id, name, kind, rule } = option;
        let kind = number::<_, proto::PermissionOptionKind>(kind);
        Self { option_id, name, kind, rule: rule.map(|rule| (*rule).into()) }
    }
}

impl From<PermissionOptionKind> for proto::PermissionOptionKind {
    fn from(kind: PermissionOptionKind) -> Self {
        match kind {
            PermissionOptionKind::AllowOnce => Self::AllowOnce,
            PermissionOptionKind::AllowAlways => Self::AllowAlways,
            PermissionOptionKind::RejectOnce => Self::RejectOnce,
            PermissionOptionKind::RejectAlways => Self::RejectAlways,
        }
    }
}

impl From<InputResolution> for proto::InputResolution {
    fn from(resolution: InputResolution) -> Self {
        let InputResolution {
            outcome,
            option_id,
            message,
            updated_input_json,
            answers,
            resolved_by,
            resolve_time,
            rule_id,
            effect,
        } = resolution;
        Self {
            outcome: number::<_, proto::InputOutcome>(outcome),
            option_id,
            message,
            updated_input_json,
            answers: list(answers),
            resolved_by: resolved_by.map(Into::into),
            resolve_time: resolve_time.map(timestamp),
            rule_id,
            effect: effect.map(number::<_, proto::PermissionEffect>).unwrap_or_default(),
        }
    }
}

impl From<InputOutcome> for proto::InputOutcome {
    fn from(outcome: InputOutcome) -> Self {
        match outcome {
            InputOutcome::Allowed => Self::Allowed,
            InputOutcome::Rejected => Self::Rejected,
            InputOutcome::Answered => Self::Answered,
            InputOutcome::Expired => Self::Expired,
            InputOutcome::Withdrawn => Self::Withdrawn,
            InputOutcome::Interrupted => Self::Interrupted,
        }
    }
}

impl From<Question> for proto::Question {
    fn from(question: Question) -> Self {
        let Question {
            question_id,
            conversation_id,
            turn_id,
            tool_use_id,
            items,
            create_time,
            expire_time,
            resolution,
            // How its agent is answered is the server's affair.
            tool_name: _,
            input_json: _,
            asked: _,
        } = question;
        Self {
            question_id,
            conversation_id: conversation_id.to_string(),
            turn_id: turn_id.to_string(),
            tool_use_id,
            items: list(items),
            create_time: Some(timestamp(create_time)),
            expire_time: expire_time.map(timestamp),
            resolution: resolution.map(Into::into),
        }
    }
}

impl From<QuestionItem> for proto::QuestionItem {
    fn from(item: QuestionItem) -> Self {
        let QuestionItem { header, text, choices, multiple } = item;
        Self { header, text, choices: list(choices), multiple }
    }
}

impl From<QuestionChoice> for proto::QuestionChoice {
    fn from(choice: QuestionChoice) -> Self {
        let QuestionChoice { label, description } = choice;
        Self { label, description }
    }
}

impl From<QuestionAnswer> for proto::QuestionAnswer {
    fn from(answer: QuestionAnswer) -> Self {
        let QuestionAnswer { choices, text } = answer;
        Self { choices, text }
    }
}

impl From<PermissionRule> for proto::PermissionRule {
    fn from(rule: PermissionRule) -> Self {
        let PermissionRule { rule_id, tool_name, pattern, effect, created_by, create_time } = rule;
        Self {
            rule_id,
            tool_name,
            pattern,
            effect: number::<_, proto::PermissionEffect>(effect),
            created_by: created_by.map(Into::into),
            create_time: create_time.map(timestamp),
        }
    }
}

impl From<PermissionEffect> for proto::PermissionEffect {
    fn from(effect: PermissionEffect) -> Self {
        match effect {
            PermissionEffect::Allow => Self::Allow,
            PermissionEffect::Ask => Self::Ask,
            PermissionEffect::Reject => Self::Reject,
        }
    }
}

impl From<PermissionPolicy> for proto::PermissionPolicy {
    fn from(policy: PermissionPolicy) -> Self {
        let PermissionPolicy { default_effect, rules, ask_timeout, timeout_effect } = policy;
        let effect = |effect: Option<PermissionEffect>| effect.map(number::<_, proto::PermissionEffect>);
        Self {
            default_effect: effect(default_effect).unwrap_or_default(),
            rules: list(rules),
            ask_timeout: ask_timeout.map(duration),
            timeout_effect: effect(timeout_effect).unwrap_or_default(),
        }
    }
}
