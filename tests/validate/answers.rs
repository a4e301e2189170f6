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
