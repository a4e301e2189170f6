//! Answers to what agents ask.

use super::{MAX_ANSWER, MAX_EDITED_INPUT, check::Check, request};
use crate::{
    domain::{Failure, Request, SessionId},
    proto,
    session::Decision,
};

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

fn edited_input(check: &mut Check, json: String) -> String {
    if json.len() > MAX_EDITED_INPUT {
        check.refuse("updated_input_json", format!("at most {MAX_EDITED_INPUT} bytes"));
    } else if !json.is_empty() && serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&json).is_err() {
        check.refuse("updated_input_json", "must be a JSON object");
    }
    json
}
