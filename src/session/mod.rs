//! Sessions at work: the only place that joins agents, sandboxes and the log.
//!
//! A [`Manager`] gives each session that has something to do one actor, which alone decides, appends and drives its agent.
//! A session with nothing to do is a row and costs nothing here. Nothing in this room knows the wire.

mod actor;
mod after;
mod ahead;
mod asking;
mod attach;
mod beside;
mod bounds;
mod budget;
mod config;
mod content;
mod contents;
mod edit;
mod files;
mod follow;
mod host;
mod images;
mod launch;
mod left;
mod lifetime;
mod look;
mod manager;
mod moving;
mod once;
mod pending;
mod permissions;
mod prebuilt;
mod profiles;
mod programs;
mod provide;
mod questions;
mod queue;
mod reaper;
mod redact;
mod replay;
mod rules;
mod running;
mod sandboxes;
mod setup;
mod shared;
mod side;
mod subagents;
mod suitable;
mod turn;
mod turns;
mod update;
mod waiting;

pub use asking::{Decision, Resolved};
pub use bounds::MAX_INLINE_BLOCK_BYTES;
pub use config::{Config, Ending, Hidden, NewSession};
pub use content::{Content, ContentBytes, Incoming};
pub use files::{DeleteFile, Expected, Unpack, Unpacked, WriteFile};
pub use left::LeftRunning;
pub use manager::{Created, Manager};
pub use profiles::{DeleteProfile, NewProfile, UpdateProfile};
pub use programs::Programs;
pub use questions::Reaction;
pub use queue::{MAX_QUEUED_BYTES, MAX_QUEUED_TURNS};
pub use reaper::Reaper;
pub use replay::replay;
pub use setup::Secrets;
pub use turn::Accepted;
pub use update::{OptionsUpdate, Update};

use tokio::sync::oneshot;

use crate::{
    domain::{Busy, ContentPart, Failure, Principal, Question, Request, SessionOptions, Turn, TurnId},
    store::SessionView,
};

/// What an actor is asked to do. Private: callers use the methods of [`Manager`].
enum Command {
    /// Give the agent a message.
    Send { parts: Vec<ContentPart>, busy: Busy, by: Principal, request: Option<Request>, reply: Reply<Accepted> },
    /// End a turn; without an id whichever is active. A turn that is named and not open is answered with `None`.
    Interrupt { turn_id: Option<TurnId>, by: Principal, request: Option<Request>, reply: Reply<Option<Turn>> },
    /// Take a turn out of the queue. `None` is answered when it is not open.
    Cancel { turn_id: TurnId, by: Principal, request: Option<Request>, reply: Reply<Option<Turn>> },
    /// Answer a permission request. `None` is answered when it is not open any more.
    Resolve {
        permission_id: String,
        decision: Decision,
        by: Principal,
        request: Option<Request>,
        reply: Reply<Option<Resolved>>,
    },
    /// Answer a question. `None` is answered when it is not open any more.
    Answer {
        question_id: String,
        reaction: Reaction,
        by: Principal,
        request: Option<Request>,
        reply: Reply<Option<Question>>,
    },
    /// Remove a standing answer.
    DeleteRule { rule_id: String, by: Principal, request: Option<Request>, reply: Reply<()> },
    /// End what runs and stop the sandbox.
    Stop { by: Principal, request: Option<Request>, reply: Reply<SessionView> },
    /// Change files of the workspace.
    Edit { change: edit::Change, by: Principal, request: Option<Request>, reply: Reply<edit::Changed> },
    /// Change the record; what is cleared becomes the default.
    Update {
        update: Box<Update>,
        defaults: SessionOptions,
        by: Principal,
        request: Option<Request>,
        reply: Reply<SessionView>,
    },
    /// Save files and agent state.
    Sync { request: Option<Request>, reply: Reply<SessionView> },
    /// Stop, then delete; with an etag only if it is the record's.
    Delete { etag: Option<String>, by: Principal, request: Option<Request>, reply: Reply<()> },
}

impl Command {
    /// Tells the caller that nothing was done, and why.
    fn refuse(self, failure: Failure) {
        // Whoever hung up does not want to know.
        match self {
            Self::Send { reply, .. } => drop(reply.send(Err(failure))),
            Self::Interrupt { reply, .. } | Self::Cancel { reply, .. } => drop(reply.send(Err(failure))),
            Self::Resolve { reply, .. } => drop(reply.send(Err(failure))),
            Self::Answer { reply, .. } => drop(reply.send(Err(failure))),
            Self::Stop { reply, .. } | Self::Update { reply, .. } | Self::Sync { reply, .. } => {
                drop(reply.send(Err(failure)));
            }
            Self::Edit { reply, .. } => drop(reply.send(Err(failure))),
            Self::DeleteRule { reply, .. } | Self::Delete { reply, .. } => drop(reply.send(Err(failure))),
        }
    }
}

/// Where an answer goes. One that is dropped without an answer means that nothing was done.
type Reply<T> = oneshot::Sender<Result<T, Failure>>;
