//! Calls that may be repeated, and what their first answer was.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{PermissionRequest, PermissionRule, Profile, Question, RequestId, Session, Timestamp, Turn, WorkspaceFile};

/// How long a request id is remembered.
pub const REQUEST_RETENTION: Duration = Duration::from_hours(24);

/// A call that carries a request id: it has its effect once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The caller's, unique per tenant.
    pub id: RequestId,
    /// What was called, as `SERVICE/METHOD`.
    pub method: String,
    /// Of all that the call asks for, without its id: equal for two requests that mean the same.
    pub hash: [u8; 32],
}

/// What a call was answered the first time, and is answered again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum FirstAnswer {
    /// A session was created.
    Created {
        /// As it was then.
        session: Box<Session>,
        /// Of the first message.
        turn: Option<Box<Turn>>,
        /// Watch after this.
        sequence: i64,
    },
    /// A message was accepted.
    Accepted {
        /// As it was then.
        turn: Box<Turn>,
        /// Watch after this.
        sequence: i64,
    },
    /// A session was stopped.
    Stopped {
        /// As it was then.
        session: Box<Session>,
        /// First sequence that its log had.
        #[serde(default = "from_the_first")]
        oldest_sequence: i64,
    },
    /// A session was changed or saved.
    Session {
        /// As it was then.
        session: Box<Session>,
        /// First sequence that its log had.
        oldest_sequence: i64,
        /// Its turns that were not over: the one that held it, then those that waited.
        turns: Vec<Turn>,
    },
    /// A session, or a file, was deleted.
    Deleted,
    /// A file was written.
    File {
        /// As it was then.
        file: Box<WorkspaceFile>,
    },
    /// An archive was unpacked.
    Unpacked {
        /// Files written.
        files: i32,
    },
    /// A turn was ended, or there was none.
    Interrupted {
        /// As it was then.
        turn: Option<Box<Turn>>,
    },
    /// A turn was taken out of the queue.
    Cancelled {
        /// As it was then.
        turn: Box<Turn>,
    },
    /// A permission request was answered.
    Resolved {
        /// With its resolution.
        permission: Box<PermissionRequest>,
        /// The rule that the answer left.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rule: Option<Box<PermissionRule>>,
    },
    /// A question was answered.
    Answered {
        /// With its resolution.
        question: Box<Question>,
    },
    /// A profile was stored.
    Profile {
        /// As it was then.
        profile: Box<Profile>,
    },
}

/// A call that had its effect: stored with it, or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// What was asked.
    pub request: Request,
    /// What was answered.
    pub answer: FirstAnswer,
    /// Until then. Afterwards the id is as good as new.
    pub expires: Timestamp,
}

impl Remembered {
    /// A call that has its effect now.
    #[must_use]
    pub fn now(request: Request, answer: FirstAnswer) -> Self {
        let retention = i64::try_from(REQUEST_RETENTION.as_micros()).unwrap_or(i64::MAX);
        Self { request, answer, expires: Timestamp(Timestamp::now().0.saturating_add(retention)) }
    }
}

fn from_the_first() -> i64 {
    1
}
