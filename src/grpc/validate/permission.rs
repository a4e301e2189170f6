//! Answers to what agents ask.

use super::{MAX_ANSWER, MAX_EDITED_INPUT, check::Check, request};
use crate::{
    domain::{Failure, QuestionAnswer, Request, SessionId},
    proto,
    session::{Decision, Reaction},
};

/// Answers of one call; a question has fewer.
const MAX_ANSWERS: usize = 16;
/// Choices of one answer.
const MAX_CHOICES: usize = 100;

/// A permission request to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvePermission {
    /// Of which session.
    pub session_id: SessionId,
    /// Which request.
    pub permission_id: String,
    /// The answer.
    pub decision: Decision,
    /// The call, where it may be repeated.
    pub request: Option<Request>,
}

/// Checks a `ResolvePermission` request.
///
/// # Errors
/// [`crate::domain::Reason::InvalidField`] with all fields at fault.
pub fn resolve_permission(mut request: proto::ResolvePermissionRequest) -> Result<ResolvePermission, Failure> {
    let mut check = Check::default();
    let id = std::mem::take(&mut request.request_id);
    let call = request::call(&mut check, "SessionService/ResolvePermission", id, &request);
    let proto::ResolvePermissionRequest {
        session_id,
        permission_id,
        option_id,
        message,
        updated_input_json,
        request_id: _,
    } = request;
    let resolve = ResolvePermission {
        session_id: SessionId::new(check.id("session_id", session_id)),
        permission_id: check.id("permission_id", permission_id),
        decision: Decision {
            option_id: check.id("option_id", option_id),
            message: check.text("message", message, MAX_ANSWER),
            updated_input_json: edited_input(&mut check, updated_input_json),
        },
        request: call,
    };
    check.finish(resolve)
}

/// A question to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerQuestion {
    /// Of which session.
    pub session_id: SessionId,
    /// Which question.
    pub question_id: String,
    /// The answer.
    pub reaction: Reaction,
    /// The call, where it may be repeated.
    pub request: Option<Request>,
}

/// Checks an `AnswerQuestion` request.
///
/// # Errors
/// [`crate::domain::Reason::InvalidField`] with all fields at fault.
pub fn answer_question(mut request: proto::AnswerQuestionRequest) -> Result<AnswerQuestion, Failure> {
    let mut check = Check::default();
    let id = std::mem::take(&mut request.request_id);
    let call = request::call(&mut check, "SessionService/AnswerQuestion", id, &request);
    let proto::AnswerQuestionRequest { session_id, question_id, answers, message, request_id: _ } = request;
    if answers.len() > MAX_ANSWERS {
        check.refuse("answers", format!("at most {MAX_ANSWERS}"));
    }
    let answers = answers.into_iter().enumerate().map(|(at, answer)| given(&mut check, at, answer)).collect();
    let answer = AnswerQuestion {
        session_id: SessionId::new(check.id("session_id", session_id)),
        question_id: check.id("question_id", question_id),
        reaction: Reaction { answers, message: check.text("message", message, MAX_ANSWER) },
        request: call,
    };
    check.finish(answer)
}

fn given(check: &mut Check, at: usize, answer: proto::QuestionAnswer) -> QuestionAnswer {
    let proto::QuestionAnswer { choices, text } = answer;
    let field = format!("answers[{at}].choices");
    if choices.len() > MAX_CHOICES {
        check.refuse(&field, format!("at most {MAX_CHOICES}"));
    }
    let choices = choices.into_iter().map(|label| check.text(&field, label, MAX_ANSWER)).collect();
    QuestionAnswer { choices, text: check.text(format!("answers[{at}].text"), text, MAX_ANSWER) }
}

/// Checks a `ListPermissionRules` request.
///
/// # Errors
/// [`crate::domain::Reason::InvalidField`].
pub fn list_permission_rules(request: proto::ListPermissionRulesRequest) -> Result<SessionId, Failure> {
    let proto::ListPermissionRulesRequest { session_id } = request;
    let mut check = Check::default();
    let id = SessionId::new(check.id("session_id", session_id));
    check.finish(id)
}

/// A rule to remove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletePermissionRule {
    /// Of which session.
    pub session_id: SessionId,
    /// Which rule.
    pub rule_id: String,
    /// The call, where it may be repeated.
    pub request: Option<Request>,
}

/// Checks a `DeletePermissionRule` request.
///
/// # Errors
/// [`crate::domain::Reason::InvalidField`] with all fields at fault.
pub fn delete_permission_rule(
    mut request: proto::DeletePermissionRuleRequest,
) -> Result<DeletePermissionRule, Failure> {
    let mut check = Check::default();
    let id = std::mem::take(&mut request.request_id);
    let call = request::call(&mut check, "SessionService/DeletePermissionRule", id, &request);
    let proto::DeletePermissionRuleRequest { session_id, rule_id, request_id: _ } = request;
    let delete = DeletePermissionRule {
        session_id: SessionId::new(check.id("session_id", session_id)),
        rule_id: check.id("rule_id", rule_id),
        request: call,
    };
    check.finish(delete)
}

fn edited_input(check: &mut Check, json: String) -> String {
    if json.len() > MAX_EDITED_INPUT {
        check.refuse("updated_input_json", format!("at most {MAX_EDITED_INPUT} bytes"));
    } else if !json.is_empty() && serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&json).is_err() {
        check.refuse("updated_input_json", "must be a JSON object");
    }
    json
}
