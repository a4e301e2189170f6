//! Watches.

use std::time::Duration;

use super::{MAX_ID, check::Check};
use crate::{
    domain::{ConversationId, Failure, LogUid, SessionId},
    log::Filter,
    proto,
};

/// Longest silence of a watch, and what it is when nothing is said.
pub const LONGEST_SILENCE: Duration = Duration::from_secs(15);
/// Shortest silence that can be asked for.
const SHORTEST_SILENCE: Duration = Duration::from_secs(1);
/// Longest time that events can be asked to wait for others.
const LONGEST_BATCH_DELAY: Duration = Duration::from_secs(5);
/// Conversations of one filter.
const MAX_CONVERSATIONS: usize = 100;

/// A session to watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// Which session.
    pub session_id: SessionId,
    /// Everything after this; `None`: a snapshot first.
    pub after: Option<i64>,
    /// The log that `after` belongs to; `None`: not checked.
    pub expected_uid: Option<LogUid>,
    /// A snapshot instead of a refusal.
    pub snapshot_if_truncated: bool,
    /// What is left out.
    pub filter: Filter,
    /// Longest silence before a bookmark.
    pub bookmark_interval: Duration,
    /// Longest time that events wait for others.
    pub max_batch_delay: Duration,
}

/// Checks a `WatchSession` request.
///
/// # Errors
/// [`crate::domain::Reason::InvalidField`].
pub fn watch_session(request: proto::WatchSessionRequest) -> Result<Watch, Failure> {
    let proto::WatchSessionRequest {
        session_id,
        after_sequence: after,
        expected_uid,
        snapshot_if_truncated,
        conversation_ids,
        omit_deltas,
        bookmark_interval,
        max_batch_delay,
    } = request;
    let mut check = Check::default();
    if conversation_ids.len() > MAX_CONVERSATIONS {
        check.refuse("conversation_ids", format!("at most {MAX_CONVERSATIONS}"));
    }
    let conversations = conversation_ids.into_iter().enumerate();
    let conversations =
        conversations.map(|(at, id)| ConversationId::new(check.id(&format!("conversation_ids[{at}]"), id))).collect();
    let max_batch_delay = max_batch_delay.map_or(Duration::ZERO, |delay| {
        let delay = duration(delay).filter(|delay| *delay <= LONGEST_BATCH_DELAY);
        if delay.is_none() {
            check.refuse("max_batch_delay", "0 to 5 s");
        }
        delay.unwrap_or_default()
    });
    if after.is_some_and(|after| after < 0) {
        check.refuse("after_sequence", "must not be negative");
    }
    if after.is_none() && !expected_uid.is_empty() {
        check.refuse("expected_uid", "only with after_sequence");
    }
    let bookmark_interval = bookmark_interval.map_or(LONGEST_SILENCE, |interval| {
        let interval = duration(interval).unwrap_or_default();
        if !(SHORTEST_SILENCE..=LONGEST_SILENCE).contains(&interval) {
            check.refuse("bookmark_interval", "1 s to 15 s");
        }
        interval
    });
    let watch = Watch {
        session_id: SessionId::new(check.id("session_id", session_id)),
        after,
        expected_uid: Some(check.text("expected_uid", expected_uid, MAX_ID))
            .filter(|uid| !uid.is_empty())
            .map(LogUid::new),
        snapshot_if_truncated,
        filter: Filter { conversations, omit_deltas, turn: None },
        bookmark_interval,
        max_batch_delay,
    };
    check.finish(watch)
}

/// `None`: negative, or not normal. By hand, because the conversion of prost-types overflows at the lowest seconds.
pub(super) fn duration(wire: prost_types::Duration) -> Option<Duration> {
    let nanos = u32::try_from(wire.nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
    Some(Duration::new(u64::try_from(wire.seconds).ok()?, nanos))
}
