//! What the row of a sandbox says once it is over. Pure, as what is decided is: a session's files are brought back by it, and
//! no word of it may be older than what it says.

use crate::domain::{LedgerEntry, LedgerState, Timestamp};

/// The row of a sandbox that is over since `time`; `external_id` is the provider's, where it had to be found.
pub(super) fn over(mut row: LedgerEntry, external_id: Option<String>, time: Timestamp) -> LedgerEntry {
    match row.state {
        // Whoever ended it wrote down what it left. Another one that ran under its name has nothing that counts.
        LedgerState::Ended => {}
        // What is known to be kept is what it was made from. At its end it held something newer, which is asked for by its id.
        LedgerState::Created => row.facts.snapshot = None,
        // Nobody knew that it was there, so nothing has run in it: what it was made from is as new as what it left.
        LedgerState::Intended => {
            if let Some(external_id) = external_id {
                row.facts.external_id = external_id;
            }
        }
    }
    row.state = LedgerState::Ended;
    row.facts.end_time.get_or_insert(time);
    row
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{LedgerFacts, LedgerSnapshot, SandboxId, SessionId, SessionKey, TenantId};

    #[test]
    fn what_brings_files_back_is_never_older_than_the_end() {
        let (then, now) = (Timestamp(1), Timestamp(2));
        let row = |state, end_time, external_id: &str| LedgerEntry {
            id: SandboxId::new("sbx_1"),
            session: SessionKey { tenant: TenantId::default_tenant(), session: SessionId::new("ses_1") },
            generation: 1,
            provider: "modal".to_owned(),
            state,
            facts: LedgerFacts {
                external_id: external_id.to_owned(),
                end_time,
                snapshot: Some(LedgerSnapshot { image_id: "im-1".to_owned(), expire_time: then }),
                ..LedgerFacts::default()
            },
        };
        let found = || Some("sb-found".to_owned());

        let ended = row(LedgerState::Ended, Some(then), "sb-own");
        assert_eq!(over(ended.clone(), found(), now), ended, "it is known already");

        let LedgerEntry { state, facts, .. } = over(row(LedgerState::Created, None, "sb-own"), None, now);
        assert_eq!((state, facts.end_time, &*facts.external_id), (LedgerState::Ended, Some(now), "sb-own"));
        assert_eq!(facts.snapshot, None, "it is what the sandbox was made from");

        for (external_id, known) in [(None, ""), (found(), "sb-found")] {
            let LedgerEntry { state, facts, .. } = over(row(LedgerState::Intended, None, ""), external_id, now);
            assert_eq!((state, facts.end_time, &*facts.external_id), (LedgerState::Ended, Some(now), known));
            assert!(facts.snapshot.is_some(), "nothing newer is anywhere");
        }
    }
}
