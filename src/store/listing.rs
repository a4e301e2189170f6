//! What lists show of a session, and how that changed. It knows no database.

use std::collections::BTreeMap;

use super::{Batch, SessionView};
use crate::domain::{Kind, ProfileId, Session, SessionStatus};

/// Which sessions of a list. What is not set lets all pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionFilter {
    /// With this status.
    pub status: Option<SessionStatus>,
    /// Of this profile, which never changes.
    pub profile_id: Option<ProfileId>,
    /// All must match.
    pub labels: BTreeMap<String, String>,
}

/// How a session in a list changed since a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListChange {
    /// Created, or come into the filter; it may have been in it.
    Added,
    /// Changed, and still there.
    Modified,
    /// Deleted, or gone out of the filter; it may never have been in it.
    Removed,
}

/// A session that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedChange {
    /// Of its newest change; 0 in a list that is not at its end, where nobody can resume.
    pub revision: i64,
    /// How.
    pub change: ListChange,
    /// As it is now.
    pub view: SessionView,
}

/// Which changes of a tenant's list.
#[derive(Clone, Copy, Debug)]
pub struct ChangesQuery<'a> {
    /// Of which sessions.
    pub filter: &'a SessionFilter,
    /// After this revision.
    pub after: i64,
    /// Up to this one.
    pub until: i64,
    /// Look at so many sessions at most.
    pub limit: usize,
}

/// A page of changes, in the order of their revisions.
#[derive(Clone, Debug, Default)]
pub struct ChangesPage {
    /// Each session once.
    pub changes: Vec<ListedChange>,
    /// All changes up to this revision were looked at.
    pub through: i64,
    /// The newest revision of which something is not kept any more; only what is after it can be told.
    pub forgotten: i64,
}

/// What changed of a session, as far as lists are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Visible {
    /// The session is new.
    pub(super) created: bool,
    /// It may match other filters than before.
    pub(super) filed: bool,
}

impl Batch {
    /// Whether lists show anything of what the batch changes. Usage and activity are not shown.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        self.visible().is_some()
    }

    pub(super) fn visible(&self) -> Option<Visible> {
        let seen = self.events.iter().filter_map(|event| visible(&event.kind));
        seen.reduce(|one, other| Visible { created: one.created || other.created, filed: one.filed || other.filed })
    }
}

fn visible(kind: &Kind) -> Option<Visible> {
    match kind {
        Kind::SessionCreated { .. } => Some(Visible { created: true, filed: true }),
        Kind::SessionUpdated(_) | Kind::StatusChanged { .. } => Some(Visible { created: false, filed: true }),
        Kind::SandboxChanged { .. } | Kind::TurnUpdated { .. } | Kind::TurnQueued { .. } => {
            Some(Visible { created: false, filed: false })
        }
        Kind::BlockStart { .. }
        | Kind::BlockDelta { .. }
        | Kind::BlockUpdate { .. }
        | Kind::BlockComplete { .. }
        | Kind::ConversationUpdated { .. }
        | Kind::PermissionRequested { .. }
        | Kind::PermissionResolved { .. }
        | Kind::PermissionRulesChanged { .. }
        | Kind::QuestionRequested { .. }
        | Kind::QuestionResolved { .. }
        | Kind::FilesChanged { .. }
        | Kind::ErrorOccurred { .. }
        | Kind::Log { .. }
        | Kind::UnparsedOutput { .. } => None,
    }
}

impl SessionFilter {
    fn matches(&self, session: &Session) -> bool {
        self.status.is_none_or(|status| status == session.status)
            && self.labels.iter().all(|(key, value)| session.labels.get(key) == Some(value))
    }

    /// What a change is to somebody who has seen the list as of `after`. `added` and `filed` are the revisions of the
    /// session's creation and of the last change of what filters look at. `None`: nothing.
    pub(super) fn change(
        &self,
        session: &Session,
        deleted: bool,
        after: i64,
        added: i64,
        filed: i64,
    ) -> Option<ListChange> {
        if self.profile_id.as_ref().is_some_and(|wanted| *wanted != session.profile_id) {
            return None;
        }
        let varies = self.status.is_some() || !self.labels.is_empty();
        let (created, moved) = (added > after, filed > after);
        match (!deleted && self.matches(session), created) {
            (true, true) => Some(ListChange::Added),
            (true, false) if moved && varies => Some(ListChange::Added),
            (true, false) => Some(ListChange::Modified),
            // A session that is new to the watcher and not there, or was not there before, is nothing to it.
            (false, created) => (!created && moved).then_some(ListChange::Removed),
        }
    }
}
