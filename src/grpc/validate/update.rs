//! Changes of a session's record, and saving it. What is set must be named by the mask, so that nothing that comes is left
//! out without a word.

use super::{MAX_ID, check::Check, metadata, options::session_options, request};
use crate::{
    domain::{Failure, Request, SessionId},
    proto,
    session::{OptionsUpdate, Update},
};

/// A session to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateSession {
    /// Which one.
    pub session_id: SessionId,
    /// How.
    pub update: Update,
    /// The call, where it may be repeated.
    pub request: Option<Request>,
}

/// A session to save.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncSession {
    /// Which one.
    pub session_id: SessionId,
    /// The call, where it may be repeated.
    pub request: Option<Request>,
}

/// What an update may name.
const PATHS: [&str; 8] = [
    "name",
    "labels",
    "metadata",
    "options",
    "options.model",
    "options.permission_mode",
    "options.budget",
    "options.idle_timeout",
];

/// Which of the record's fields are to be changed.
struct Mask(Vec<String>);

impl Mask {
    fn read(check: &mut Check, mask: Option<prost_types::FieldMask>) -> Self {
        let paths = mask.unwrap_or_default().paths;
        if paths.is_empty() {
            check.refuse("update_mask", format!("required: one or more of {}", PATHS.join(", ")));
        }
        for path in paths.iter().filter(|path| !PATHS.contains(&path.as_str())) {
            check.refuse("update_mask", format!("{path:?} is none of {}", PATHS.join(", ")));
        }
        Self(paths)
    }

    fn names(&self, path: &str) -> bool {
        let above = path.split_once('.').map(|(above, _)| above);
        self.0.iter().any(|named| named == path || Some(named.as_str()) == above)
    }

    /// The value, where it is named. One that is set and not named is refused.
    fn pick<T: Default + PartialEq>(&self, check: &mut Check, path: &str, value: T) -> Option<T> {
        if self.names(path) {
            return Some(value);
        }
        if value != T::default() {
            check.refuse(path, format!("is set, and update_mask does not name {path}"));
        }
        None
    }
}

/// Checks an `UpdateSession` request.
///
/// # Errors
/// [`crate::domain::Reason::InvalidField`] with all fields at fault.
pub fn update_session(mut request: proto::UpdateSessionRequest) -> Result<UpdateSession, Failure> {
    let mut check = Check::default();
    let id = std::mem::take(&mut request.request_id);
    let call = request::call(&mut check, "SessionService/UpdateSession", id, &request);
    let proto::UpdateSessionRequest { session, update_mask, request_id: _ } = request;
    let mask = Mask::read(&mut check, update_mask);
    let mut inner = Check::default();
    let (session_id, update) = change(&mut inner, &mask, session.unwrap_or_default());
    check.within("session", inner);
    check.finish(UpdateSession { session_id, update, request: call })
}

fn change(check: &mut Check, mask: &Mask, session: proto::Session) -> (SessionId, Update) {
    let proto::Session {
        session_id,
        uid,
        external_id,
        agent,
        name,
        status,
        profile_id,
        profile_revision,
        sequence,
        oldest_sequence,
        active_turn,
        queued_turns,
        sandbox,
        options,
        usage,
        labels,
        metadata: own,
        created_by,
        create_time,
        last_activity_time,
        etag,
        error,
    } = session;
    for (field, is_set) in [
        ("uid", !uid.is_empty()),
        ("external_id", !external_id.is_empty()),
        ("agent", !agent.is_empty()),
        ("status", status != 0),
        ("profile_id", !profile_id.is_empty()),
        ("profile_revision", profile_revision != 0),
        ("sequence", sequence != 0),
        ("oldest_sequence", oldest_sequence != 0),
        ("active_turn", active_turn.is_some()),
        ("queued_turns", !queued_turns.is_empty()),
        ("sandbox", sandbox.is_some()),
        ("usage", usage.is_some()),
        ("created_by", created_by.is_some()),
        ("create_time", create_time.is_some()),
        ("last_activity_time", last_activity_time.is_some()),
        ("error", error.is_some()),
    ] {
        check.output_only(field, is_set);
    }
    let session_id = SessionId::new(check.id("session_id", session_id));
    let etag = Some(check.text("etag", etag, MAX_ID)).filter(|etag| !etag.is_empty());
    let (name, labels) = (check.name("name", name), check.labels(labels));
    let own = metadata::metadata(check, own);
    let options = session_options(check, "options", options.unwrap_or_default());
    let update = Update {
        etag,
        name: mask.pick(check, "name", name),
        labels: mask.pick(check, "labels", labels),
        metadata: mask.pick(check, "metadata", own),
        options: OptionsUpdate {
            model: mask.pick(check, "options.model", options.model),
            permission_mode: mask.pick(check, "options.permission_mode", options.permission_mode),
            budget: mask.pick(check, "options.budget", options.budget),
            idle_timeout: mask.pick(check, "options.idle_timeout", options.idle_timeout),
        },
    };
    (session_id, update)
}

/// Checks a `SyncSession` request.
///
/// # Errors
/// [`crate::domain::Reason::InvalidField`].
pub fn sync_session(mut request: proto::SyncSessionRequest) -> Result<SyncSession, Failure> {
    let mut check = Check::default();
    let id = std::mem::take(&mut request.request_id);
    let call = request::call(&mut check, "SessionService/SyncSession", id, &request);
    let proto::SyncSessionRequest { session_id, request_id: _ } = request;
    let session_id = SessionId::new(check.id("session_id", session_id));
    check.finish(SyncSession { session_id, request: call })
}
