//! Bookmarkable: a bookmark says that all up to its sequence was sent, and where the head is.

use agent_runtime::proto::session_event::Kind;

use super::{Faults, shown::is_shown};
use crate::case::{Case, is_of_snapshot};

pub fn bookmarkable(case: &Case, faults: &mut Faults) {
    for (stream, session) in case.known() {
        let mut cursor = stream.open.after;
        for event in stream.events().filter(|event| !is_of_snapshot(event)) {
            if let Some(Kind::Bookmark(bookmark)) = &event.kind {
                let at = event.sequence;
                if event.first_sequence == 0 {
                    faults.say(format!("{}: the bookmark {at} does not say what it stands for", stream.name()));
                }
                let skipped = session.placed(cursor.unwrap_or(0) + 1, at).iter();
                for logged in skipped.filter(|logged| is_shown(&stream.open.filter, logged)) {
                    if stream.open.of_call.is_none() {
                        let name = stream.name();
                        faults.say(format!("{name}: the bookmark {at} came before {}", logged.sequence));
                    }
                }
                if bookmark.head_sequence < at || (session.whole && bookmark.head_sequence > session.head()) {
                    faults.say(format!(
                        "{}: the bookmark {at} tells of the head {}, the log ends at {}",
                        stream.name(),
                        bookmark.head_sequence,
                        session.head()
                    ));
                }
            }
            cursor = Some(event.sequence);
        }
    }
}
