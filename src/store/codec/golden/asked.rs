//! What agents ask, and how it was answered.

use super::{principal, rule};
use crate::domain::{
    Asked, CarriedAnswer, ConversationId, ExecId, InputOutcome, InputResolution, PermissionAnswer, PermissionEffect,
    PermissionOption, PermissionOptionKind, PermissionRequest, Question, QuestionAnswer, QuestionChoice, QuestionItem,
    Timestamp, TurnId,
};

pub(super) fn permission() -> PermissionRequest {
    PermissionRequest {
        permission_id: "perm_1".into(),
        conversation_id: ConversationId::main(),
        turn_id: TurnId::new("turn_1"),
        tool_use_id: "toolu_1".into(),
        tool_name: "Bash".into(),
        input_json: "{}".into(),
        title: "Run ls".into(),
        options: vec![PermissionOption {
            option_id: "allow".into(),
            name: "Allow".into(),
            kind: PermissionOptionKind::AllowAlways,
            rule: None,
        }],
        create_time: Timestamp(4),
        expire_time: Some(Timestamp(5)),
        resolution: Some(resolution()),
        asked: None,
    }
}

pub(super) fn ruled() -> PermissionRequest {
    let held = permission();
    let options = held.options.into_iter().map(|option| PermissionOption { rule: Some(Box::new(rule())), ..option });
    let (rule_id, effect) = ("rule_1".into(), Some(PermissionEffect::Allow));
    PermissionRequest {
        options: options.collect(),
        resolution: Some(InputResolution { rule_id, effect, ..resolution() }),
        ..permission()
    }
}

pub(super) fn asked_question() -> Question {
    let (tool_name, input_json) = ("AskUserQuestion".into(), "{}".into());
    Question { tool_name, input_json, asked: Some(asked()), ..question() }
}

pub(super) fn asked() -> Asked {
    Asked { exec_id: ExecId::new("exec_1"), agent_request_id: "req_1".into(), input_sha256: "e3b0".into() }
}

pub(super) fn carried() -> Vec<CarriedAnswer> {
    let carried = |answer| CarriedAnswer {
        permission_id: "perm_1".into(),
        asked: asked(),
        tool_name: "Bash".into(),
        input_json: "{}".into(),
        answer,
    };
    vec![
        carried(PermissionAnswer::Allow { updated_input_json: "{}".into() }),
        carried(PermissionAnswer::Reject { message: "no".into() }),
    ]
}

pub(super) fn question() -> Question {
    Question {
        question_id: "ques_1".into(),
        conversation_id: ConversationId::main(),
        turn_id: TurnId::new("turn_1"),
        tool_use_id: "toolu_3".into(),
        items: vec![QuestionItem {
            header: "Colour".into(),
            text: "Which one?".into(),
            choices: vec![QuestionChoice { label: "red".into(), description: "warm".into() }],
            multiple: true,
        }],
        create_time: Timestamp(6),
        expire_time: Some(Timestamp(7)),
        resolution: Some(resolution()),
        tool_name: String::new(),
        input_json: String::new(),
        asked: None,
    }
}

pub(super) fn resolution() -> InputResolution {
    InputResolution {
        outcome: InputOutcome::Answered,
        option_id: "allow".into(),
        message: "go on".into(),
        updated_input_json: "{}".into(),
        answers: vec![QuestionAnswer { choices: vec!["red".into()], text: "dark".into() }],
        resolved_by: Some(principal()),
        resolve_time: Some(Timestamp(8)),
        rule_id: String::new(),
        effect: None,
    }
}
