//! Messages to the agent.

use sha2::{Digest as _, Sha256};

use super::{MAX_MESSAGE_TEXT, MAX_NAME, MAX_PARTS, check::Check, request};
use crate::{
    domain::{Blob, BlobData, Busy, ContentPart, Failure, Request, SessionId},
    grpc::MAX_REQUEST_BYTES,
    proto::{self, BusyPolicy, content_part::Part},
};

/// Images that models can look at.
const IMAGES: [&str; 4] = ["image/png", "image/jpeg", "image/gif", "image/webp"];
/// Documents that models can read.
const DOCUMENTS: [&str; 1] = ["application/pdf"];

/// A message for a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendMessage {
    /// For which session.
    pub session_id: SessionId,
    /// What is said: 1 to 64 parts.
    pub parts: Vec<ContentPart>,
    /// What it does while a turn is active.
    pub busy: Busy,
    /// The call, where it may be repeated.
    pub request: Option<Request>,
}

/// A message for a session whose turn is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunTurn {
    /// The message.
    pub message: SendMessage,
    /// Only what came after this, of a turn that runs already; `None`: from the start of the turn.
    pub after: Option<Resume>,
    /// Text comes with complete blocks only.
    pub omit_deltas: bool,
}

/// Where to go on with a turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume {
    /// The call that the turn was begun with.
    pub request: Request,
    /// All up to here was seen.
    pub sequence: i64,
}

/// Checks a `SendMessage` request.
///
/// # Errors
/// [`crate::domain::Reason::InvalidField`] with all fields at fault, [`crate::domain::Reason::MessageTooLarge`].
pub fn send_message(mut request: proto::SendMessageRequest) -> Result<SendMessage, Failure> {
    let mut check = Check::default();
    let id = std::mem::take(&mut request.request_id);
    let call = request::call(&mut check, "SessionService/SendMessage", id, &request);
    let proto::SendMessageRequest { session_id, text, parts, busy_policy, request_id: _ } = request;
    let message = message(&mut check, session_id, text, parts, busy_policy, call);
    check.finish(message)
}

/// Checks a `RunTurn` request, which is a message with an answer.
///
/// # Errors
/// As [`send_message`].
pub fn run_turn(mut request: proto::RunTurnRequest) -> Result<RunTurn, Failure> {
    let mut check = Check::default();
    let id = std::mem::take(&mut request.request_id);
    // How to watch is no part of what is asked for: it differs when the call is repeated.
    let (after, omit_deltas) = (request.after_sequence.take(), std::mem::take(&mut request.omit_deltas));
    if after.is_some() && id.is_empty() {
        check.refuse("after_sequence", "only together with request_id");
    }
    if after.is_some_and(|after| after < 0) {
        check.refuse("after_sequence", "must not be negative");
    }
    let call = request::call(&mut check, "SessionService/RunTurn", id, &request);
    let proto::RunTurnRequest {
        session_id,
        text,
        parts,
        busy_policy,
        request_id: _,
        after_sequence: _,
        omit_deltas: _,
    } = request;
    let after = after.zip(call.clone()).map(|(sequence, request)| Resume { request, sequence });
    let message = message(&mut check, session_id, text, parts, busy_policy, call);
    check.finish(RunTurn { message, after, omit_deltas })
}

fn message(
    check: &mut Check,
    session_id: String,
    text: String,
    parts: Vec<proto::ContentPart>,
    policy: i32,
    request: Option<Request>,
) -> SendMessage {
    let session_id = SessionId::new(check.id("session_id", session_id));
    let busy = match check.known("busy_policy", policy, "BusyPolicy") {
        None | Some(BusyPolicy::Unspecified | BusyPolicy::Reject) => Busy::Reject,
        Some(BusyPolicy::Queue) => Busy::Queue,
        Some(BusyPolicy::Interrupt) => Busy::Interrupt,
    };
    let parts = if parts.is_empty() {
        if text.is_empty() {
            check.refuse("text", "required, unless there are parts");
        }
        text_size(check, "text", text.len());
        vec![ContentPart::Text(check.text("text", text, usize::MAX))]
    } else {
        if !text.is_empty() {
            check.refuse("text", "either text or parts, not both");
        }
        content_parts(check, "parts", parts)
    };
    SendMessage { session_id, parts, busy, request }
}

/// The first message of a session. Only its parts are the caller's to say.
pub(super) fn initial(check: &mut Check, message: proto::UserMessage) -> Vec<ContentPart> {
    let proto::UserMessage { parts, created_by } = message;
    check.output_only("initial_message.created_by", created_by.is_some());
    if parts.is_empty() {
        check.refuse("initial_message.parts", format!("1 to {MAX_PARTS} parts"));
    }
    content_parts(check, "initial_message.parts", parts)
}

fn content_parts(check: &mut Check, field: &str, parts: Vec<proto::ContentPart>) -> Vec<ContentPart> {
    if parts.len() > MAX_PARTS {
        check.refuse(field, format!("1 to {MAX_PARTS} parts"));
    }
    let (mut size, mut bytes) = (0, 0);
    let parts = parts.into_iter().take(MAX_PARTS).enumerate();
    let texts = parts
        .filter_map(|(at, proto::ContentPart { part })| {
            let refused = match part {
                Some(Part::Text(text)) => {
                    if text.is_empty() {
                        check.refuse(format_args!("{field}[{at}].text"), "must not be empty");
                    }
                    size += text.len();
                    return Some(ContentPart::Text(check.text(format_args!("{field}[{at}].text"), text, usize::MAX)));
                }
                None => {
                    check.refuse(format_args!("{field}[{at}]"), "exactly one kind of part must be set");
                    return None;
                }
                Some(Part::Image(blob)) => {
                    bytes += blob.data.len();
                    let blob = content_blob(check, &format!("{field}[{at}].image"), blob, &IMAGES);
                    return Some(ContentPart::Image(blob));
                }
                Some(Part::Attachment(blob)) => {
                    bytes += blob.data.len();
                    let blob = content_blob(check, &format!("{field}[{at}].attachment"), blob, &DOCUMENTS);
                    return Some(ContentPart::Attachment(blob));
                }
                Some(Part::ImageUri(_)) => "image_uri",
                Some(Part::FilePath(_)) => "file_path",
            };
            check.not_applied(format_args!("{field}[{at}].{refused}"), true);
            None
        })
        .collect();
    text_size(check, field, size);
    if bytes > MAX_REQUEST_BYTES / 2 {
        check.too_large(field, bytes, MAX_REQUEST_BYTES / 2);
    }
    texts
}

/// Bytes that come with a message.
fn content_blob(check: &mut Check, field: &str, blob: proto::Blob, media_types: &[&str]) -> Blob {
    let proto::Blob { sha256, size_bytes, media_type, name, data } = blob;
    check.not_applied(format_args!("{field}.sha256"), !sha256.is_empty());
    check.output_only(format_args!("{field}.size_bytes"), size_bytes != 0);
    if data.is_empty() {
        check.refuse(format_args!("{field}.data"), "required");
    }
    if !media_types.contains(&media_type.as_str()) {
        check.refuse(format_args!("{field}.media_type"), format!("one of {}", media_types.join(", ")));
    }
    Blob {
        sha256: format!("{:x}", Sha256::digest(&data)),
        size_bytes: i64::try_from(data.len()).unwrap_or(i64::MAX),
        media_type,
        name: check.text(format_args!("{field}.name"), name, MAX_NAME),
        data: BlobData::new(&*data),
    }
}

fn text_size(check: &mut Check, field: &str, size: usize) {
    if size > MAX_MESSAGE_TEXT {
        check.too_large(field, size, MAX_MESSAGE_TEXT);
    }
}
