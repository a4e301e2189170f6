//! The events of a session, and what those of a turn share with them: the one rule of ranges, and what each is about.

use std::time::Duration;

use futures::FutureExt as _;
use tonic::Code;

use super::{
    Error,
    resume::{BOOKMARK_INTERVAL, Opening, Resumable, Sessions, frames},
};
use crate::proto::{
    Block, SessionEvent, SessionStatus, WatchSessionRequest, WatchSessionResponse, session_event::Kind,
};

/// A session's events, up to its deletion. In the request stands how far they were given out, and of which log.
pub(super) struct Watch(WatchSessionRequest);

impl Watch {
    pub(super) fn new(request: WatchSessionRequest) -> Self {
        Self(request)
    }

    /// How long it may bring nothing.
    pub(super) fn silence(&self) -> Duration {
        let interval = self.0.bookmark_interval.and_then(|interval| Duration::try_from(interval).ok());
        interval.unwrap_or(BOOKMARK_INTERVAL) * 3
    }
}

impl Resumable for Watch {
    type Response = WatchSessionResponse;
    type Item = SessionEvent;

    fn open(&mut self, mut sessions: Sessions) -> Opening<WatchSessionResponse> {
        if self.0.after_sequence.is_none() {
            self.0.expected_uid.clear();
        }
        let request = self.0.clone();
        async move { Ok(frames(sessions.watch_session(request).await?)) }.boxed()
    }

    fn take(&mut self, response: WatchSessionResponse) -> Vec<SessionEvent> {
        if !response.uid.is_empty() {
            self.0.expected_uid = response.uid;
        }
        response.events
    }

    fn pass(&mut self, event: &SessionEvent) -> Result<bool, Error> {
        pass(&mut self.0.after_sequence, event)?;
        Ok(matches!(&event.kind, Some(Kind::StatusChanged(changed)) if changed.status() == SessionStatus::Deleted))
    }

    fn cursor(&self) -> Option<i64> {
        self.0.after_sequence
    }

    fn asks_otherwise(&mut self, refused: &Error) -> bool {
        let lost = refused.wants_snapshot();
        if lost {
            self.0.after_sequence = None;
        }
        lost
    }
}

/// Moves the cursor over the event, by the one rule of ranges. It is `None` before anything came, and within a snapshot.
pub(super) fn pass(cursor: &mut Option<i64>, event: &SessionEvent) -> Result<(), Error> {
    match &event.kind {
        Some(Kind::SnapshotStart(_)) => *cursor = None,
        Some(Kind::SnapshotChunk(_)) => {}
        Some(Kind::SnapshotComplete(_)) => *cursor = Some(event.sequence),
        kind => {
            let last = event.sequence;
            let first = if event.first_sequence == 0 { last } else { event.first_sequence };
            let empty = i64::from(matches!(kind, Some(Kind::Bookmark(_))));
            if cursor.is_none_or(|cursor| first != cursor + 1) || last < first - empty {
                let what = format!("the server broke the range rule: {first} to {last} came after {cursor:?}");
                return Err(Error::local(Code::DataLoss, what));
            }
            *cursor = Some(last);
        }
    }
    Ok(())
}

/// The turn that an event names, and the block; empty where it names none.
pub(super) fn whose(kind: &Kind) -> (&str, &str) {
    match kind {
        Kind::BlockStart(start) => of_block(start.block.as_ref()),
        Kind::BlockComplete(complete) => of_block(complete.block.as_ref()),
        Kind::BlockDelta(delta) => ("", &delta.block_id),
        Kind::BlockUpdate(update) => ("", &update.block_id),
        Kind::TurnQueued(queued) => (queued.turn.as_ref().map_or("", |turn| &turn.turn_id), ""),
        Kind::TurnUpdated(updated) => (updated.turn.as_ref().map_or("", |turn| &turn.turn_id), ""),
        Kind::PermissionRequested(asks) => (asks.permission.as_ref().map_or("", |asked| &asked.turn_id), ""),
        Kind::QuestionRequested(asks) => (asks.question.as_ref().map_or("", |asked| &asked.turn_id), ""),
        Kind::ConversationUpdated(_)
        | Kind::SessionCreated(_)
        | Kind::SessionUpdated(_)
        | Kind::StatusChanged(_)
        | Kind::SandboxChanged(_)
        | Kind::PermissionResolved(_)
        | Kind::PermissionRulesChanged(_)
        | Kind::QuestionResolved(_)
        | Kind::FilesChanged(_)
        | Kind::SnapshotStart(_)
        | Kind::SnapshotChunk(_)
        | Kind::SnapshotComplete(_)
        | Kind::Error(_)
        | Kind::Log(_)
        | Kind::UnparsedOutput(_)
        | Kind::Bookmark(_) => ("", ""),
    }
}

fn of_block(block: Option<&Block>) -> (&str, &str) {
    block.map_or(("", ""), |block| (&block.turn_id, &block.block_id))
}
