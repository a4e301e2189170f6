//! Changes of the list of sessions: what was told of it, so that nothing is missed where it has to come anew.

use std::collections::BTreeMap;

use futures::FutureExt as _;

use super::{
    Error,
    resume::{Opening, Resumable, Sessions, frames},
};
use crate::proto::{Session, SessionChange, SessionChangeKind, WatchSessionsRequest, WatchSessionsResponse};

/// Changes of a list, as they are told. In the request stands up to which revision; none while the list is on its way.
pub(super) struct Listing {
    request: WatchSessionsRequest,
    /// What a caller has who gave a revision, only the caller knows.
    is_own: bool,
    /// The uid of each session that was told, by its id.
    known: BTreeMap<String, String>,
    /// Those of them that the list that comes has not named yet.
    gone: BTreeMap<String, String>,
}

impl Listing {
    pub(super) fn new(request: WatchSessionsRequest) -> Self {
        let is_own = request.after_revision.is_some();
        Self { request, is_own, known: BTreeMap::new(), gone: BTreeMap::new() }
    }
}

impl Resumable for Listing {
    type Response = WatchSessionsResponse;
    type Item = WatchSessionsResponse;

    fn open(&mut self, mut sessions: Sessions) -> Opening<WatchSessionsResponse> {
        if self.request.after_revision.is_none() {
            self.gone.clone_from(&self.known);
        }
        let request = self.request.clone();
        async move { Ok(frames(sessions.watch_sessions(request).await?)) }.boxed()
    }

    fn take(&mut self, mut response: WatchSessionsResponse) -> Vec<WatchSessionsResponse> {
        for change in &response.changes {
            let Some(session) = &change.session else { continue };
            self.gone.remove(&session.session_id);
            match change.kind() {
                SessionChangeKind::Removed => drop(self.known.remove(&session.session_id)),
                SessionChangeKind::Added | SessionChangeKind::Modified | SessionChangeKind::Unspecified => {
                    self.known.insert(session.session_id.clone(), session.uid.clone());
                }
            }
        }
        if response.synced {
            for (session_id, uid) in std::mem::take(&mut self.gone) {
                self.known.remove(&session_id);
                let session = Session { session_id, uid, ..Session::default() };
                let kind = SessionChangeKind::Removed.into();
                response.changes.push(SessionChange { kind, session: Some(session) });
            }
        }
        if response.synced || response.revision > 0 {
            self.request.after_revision = Some(response.revision);
        }
        vec![response]
    }

    fn pass(&mut self, _: &WatchSessionsResponse) -> Result<bool, Error> {
        Ok(false)
    }

    fn cursor(&self) -> Option<i64> {
        self.request.after_revision
    }

    fn asks_otherwise(&mut self, refused: &Error) -> bool {
        let lost = !self.is_own && matches!(refused.reason.as_str(), "SEQUENCE_TRUNCATED" | "SEQUENCE_AHEAD");
        if lost {
            self.request.after_revision = None;
        }
        lost
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    fn brings(revision: i64, ids: &[&str]) -> WatchSessionsResponse {
        let change = |id: &&str| SessionChange {
            kind: SessionChangeKind::Added.into(),
            session: Some(Session { session_id: (*id).to_owned(), uid: format!("of {id}"), ..Session::default() }),
        };
        WatchSessionsResponse { changes: ids.iter().map(change).collect(), revision, synced: revision > 0 }
    }

    fn refusal(reason: &str) -> Error {
        Error { reason: reason.to_owned(), ..Error::local(Code::OutOfRange, "") }
    }

    #[test]
    fn a_list_that_comes_anew_tells_what_is_gone() {
        let mut listing = Listing::new(WatchSessionsRequest::default());
        listing.take(brings(3, &["ses_1", "ses_2"]));
        assert_eq!(listing.request.after_revision, Some(3));
        assert!(!listing.asks_otherwise(&refusal("SESSION_NOT_FOUND")));
        assert!(listing.asks_otherwise(&refusal("SEQUENCE_TRUNCATED")));
        // As opening does.
        listing.gone.clone_from(&listing.known);
        for _ in 0..2 {
            listing.take(brings(0, &["ses_1"]));
            assert_eq!(listing.request.after_revision, None, "a list that is on its way has no revision");
        }
        let last = listing.take(brings(7, &[])).remove(0);
        let told: Vec<_> = last.changes.into_iter().map(|change| (change.kind(), change.session.unwrap())).collect();
        let gone = Session { session_id: "ses_2".into(), uid: "of ses_2".into(), ..Session::default() };
        assert_eq!(told, [(SessionChangeKind::Removed, gone)]);
        assert_eq!((listing.request.after_revision, listing.known.len()), (Some(7), 1));
    }

    #[test]
    fn a_revision_of_the_callers_is_never_given_up() {
        let request = WatchSessionsRequest { after_revision: Some(9), ..WatchSessionsRequest::default() };
        assert!(!Listing::new(request).asks_otherwise(&refusal("SEQUENCE_AHEAD")));
    }
}
