//! Answers to what agents ask: what is taken, and every bound from both sides.

use agent_runtime::{grpc::validate, proto};

use super::refused;

/// An answer that is taken.
pub(crate) fn answer() -> proto::ResolvePermissionRequest {
    proto::ResolvePermissionRequest {
        session_id: "ses_1".into(),
        permission_id: "perm_1".into(),
        option_id: "allow_once".into(),
        ..Default::default()
    }
}

#[test]
fn an_answer_names_its_request() {
    let taken = validate::resolve_permission(answer()).unwrap();
    assert_eq!((taken.session_id.as_str(), taken.permission_id.as_str()), ("ses_1", "perm_1"));
    assert_eq!(taken.decision.option_id, "allow_once");
    assert_eq!(taken.request, None);
    for field in ["session_id", "permission_id", "option_id"] {
        let mut request = answer();
        let text = match field {
            "session_id" => &mut request.session_id,
            "permission_id" => &mut request.permission_id,
            _ => &mut request.option_id,
        };
        text.clear();
        refused(validate::resolve_permission(request.clone()), field);
        match field {
            "session_id" => request.session_id = "x".repeat(129),
            "permission_id" => request.permission_id = "a\0".into(),
            _ => request.option_id = "x".repeat(129),
        }
        refused(validate::resolve_permission(request), field);
    }
    let with = |message: &str, input: &str| {
        let (message, updated_input_json) = (message.into(), input.into());
        validate::resolve_permission(proto::ResolvePermissionRequest { message, updated_input_json, ..answer() })
    };
    assert_eq!(with(&"\u{e4}".repeat(4096), "").unwrap().decision.message.chars().count(), 4096);
    refused(with(&"x".repeat(4097), ""), "message");
    refused(with("a\0", ""), "message");
    assert_eq!(with("", r#" {"a": 1} "#).unwrap().decision.updated_input_json, r#" {"a": 1} "#);
    for bad in ["[]", "1", "null", "{", "{} x", "\"{}\""] {
        refused(with("", bad), "updated_input_json");
    }
    let long = |size: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(size - 8));
    assert!(with("", &long(256 * 1024)).is_ok());
    refused(with("", &long(256 * 1024 + 1)), "updated_input_json");
}

/// An answer to a question that is taken.
pub(crate) fn reaction() -> proto::AnswerQuestionRequest {
    let answers = vec![
        proto::QuestionAnswer { choices: vec!["red".into(), "blue".into()], text: "dark".into() },
        proto::QuestionAnswer { choices: Vec::new(), text: "no".into() },
    ];
    proto::AnswerQuestionRequest {
        session_id: "ses_1".into(),
        question_id: "ques_1".into(),
        answers,
        ..Default::default()
    }
}

/// A rule to remove.
pub(crate) fn deletion() -> proto::DeletePermissionRuleRequest {
    proto::DeletePermissionRuleRequest {
        session_id: "ses_1".into(),
        rule_id: "rule_1".into(),
        request_id: String::new(),
    }
}

#[test]
fn a_question_is_answered_item_by_item() {
    let taken = validate::answer_question(reaction()).unwrap();
    assert_eq!((taken.session_id.as_str(), taken.question_id.as_str()), ("ses_1", "ques_1"));
    let [first, second] = &taken.reaction.answers[..] else { panic!("{taken:?}") };
    assert_eq!((first.choices.join(" ").as_str(), first.text.as_str()), ("red blue", "dark"));
    assert_eq!((second.choices.len(), second.text.as_str()), (0, "no"));
    let declined = proto::AnswerQuestionRequest { answers: Vec::new(), message: "later".into(), ..reaction() };
    let declined = validate::answer_question(declined).unwrap().reaction;
    assert_eq!((declined.answers.len(), declined.message.as_str()), (0, "later"));
    let long = "x".repeat(4097);
    let with = |choices: Vec<String>, text: &str| {
        let answers = vec![proto::QuestionAnswer { choices, text: text.into() }];
        validate::answer_question(proto::AnswerQuestionRequest { answers, ..reaction() })
    };
    refused(with(vec![long.clone()], ""), "answers[0].choices");
    refused(with(vec!["x".into(); 101], ""), "answers[0].choices");
    refused(with(Vec::new(), &long), "answers[0].text");
    refused(with(Vec::new(), "a\0"), "answers[0].text");
    assert!(with(vec!["x".into(); 100], &long[1..]).is_ok());
    let many = proto::AnswerQuestionRequest { answers: vec![proto::QuestionAnswer::default(); 17], ..reaction() };
    refused(validate::answer_question(many), "answers");
    refused(validate::answer_question(proto::AnswerQuestionRequest { message: long, ..reaction() }), "message");
    refused(
        validate::answer_question(proto::AnswerQuestionRequest { question_id: String::new(), ..reaction() }),
        "question_id",
    );
    refused(
        validate::answer_question(proto::AnswerQuestionRequest { session_id: String::new(), ..reaction() }),
        "session_id",
    );
}

#[test]
fn a_rule_is_named_by_its_session_and_id() {
    let taken = validate::delete_permission_rule(deletion()).unwrap();
    assert_eq!((taken.session_id.as_str(), taken.rule_id.as_str()), ("ses_1", "rule_1"));
    let without = proto::DeletePermissionRuleRequest { rule_id: String::new(), ..deletion() };
    refused(validate::delete_permission_rule(without), "rule_id");
    let without = proto::DeletePermissionRuleRequest { session_id: String::new(), ..deletion() };
    refused(validate::delete_permission_rule(without), "session_id");
    refused(validate::list_permission_rules(proto::ListPermissionRulesRequest::default()), "session_id");
}
