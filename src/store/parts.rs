//! Which parts a batch has to put, given what its events changed. It knows the fold and no database.

use std::collections::HashSet;

use super::Part;
use crate::domain::{BlockState, Change, Session, SessionState};

/// What a store has to write beside the events: the record, where more of it changed than sequence and time, and the
/// changed parts as they stand in `state`, which is the state after all these changes. Each part comes once, at the place
/// of its first change, so that lists keep the order of the fold.
///
/// The text of a block that streams is left out: the events have it.
#[must_use]
pub fn parts_of(state: &SessionState, changes: &[Change]) -> (Option<Session>, Vec<Part>) {
    let mut record = false;
    let mut seen = HashSet::new();
    let mut first = |sort: &'static str, id: &str| seen.insert((sort, id.to_owned()));
    let mut parts = Vec::new();
    for change in changes {
        match change {
            Change::None => {}
            Change::Session => record = true,
            Change::BlockText(id) => {
                let block = state.block(id).filter(|block| block.state != BlockState::Streaming);
                parts.extend(block.filter(|_| first("block", id.as_str())).cloned().map(Part::Block));
            }
            Change::Block(id) => {
                parts.extend(state.block(id).filter(|_| first("block", id.as_str())).cloned().map(Part::Block));
            }
            Change::Turn(id) => {
                let turn = state.turns.iter().rev().find(|held| held.turn_id == *id);
                parts.extend(turn.filter(|_| first("turn", id.as_str())).cloned().map(Part::Turn));
            }
            Change::Conversation(id) => {
                record = true;
                let held = state.conversations.iter().find(|held| held.conversation_id == *id);
                parts.extend(held.filter(|_| first("conversation", id.as_str())).cloned().map(Part::Conversation));
            }
            Change::Permission(id) => {
                let held = state.permissions.iter().rev().find(|held| held.permission_id == *id);
                parts.extend(held.filter(|_| first("permission", id)).cloned().map(Part::Permission));
            }
            Change::Question(id) => {
                let held = state.questions.iter().rev().find(|held| held.question_id == *id);
                parts.extend(held.filter(|_| first("question", id)).cloned().map(Part::Question));
            }
            Change::PermissionRules => {
                if first("permission_rules", "") {
                    parts.push(Part::PermissionRules(state.permission_rules.clone()));
                }
            }
            Change::Files(paths) => {
                for path in paths {
                    if first("file", path) {
                        parts.push(Part::File(path.clone(), file(state, path).cloned()));
                    }
                }
            }
        }
    }
    (record.then(|| state.session.clone()), parts)
}

/// Files are sorted by the bytes of their path.
fn file<'a>(state: &'a SessionState, path: &str) -> Option<&'a crate::domain::WorkspaceFile> {
    let at = state.files.binary_search_by(|held| held.path.as_bytes().cmp(path.as_bytes())).ok()?;
    state.files.get(at)
}
