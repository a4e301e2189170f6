//! What becomes of a sandbox elsewhere, decided from what is known of it. Pure: whoever asks has read everything before,
//! and carries it out afterwards.
//!
//! The rule is that nothing ends that somebody may want, or of which it cannot be said whose it is.

use std::time::Duration;

use crate::domain::LedgerState;

/// How long a sandbox that was about to be made may still appear: the call that makes it may be on its way although who
/// sent it is gone.
pub(super) const MAY_APPEAR: Duration = Duration::from_mins(10);

/// What a session has to do with a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is its sandbox, and runs, is being made, or is looked after by somebody now.
    Wanted,
    /// It is its sandbox, was ended, and may be brought back with what it held.
    Asleep,
    /// No session names it, and none ever will again: ids are not reused.
    GivenUp,
}

/// What the ledger says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) state: LedgerState,
    /// Since it was made, or was about to be.
    pub(super) age: Duration,
    pub(super) standing: Standing,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Nothing.
    Leave,
    /// It runs, and nobody knows whose it is: people are told.
    Report,
    /// It is ended, and then closed.
    End(After),
    /// It does not run as far as the list says. The provider is asked by its id: if it runs all the same it is ended, and
    /// then closed.
    Ask(After),
    /// It is over, and nobody wants what it kept.
    Forget,
}

/// What becomes of the row of a sandbox that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// It says so, and where the files are.
    Stays,
    /// It goes.
    Goes,
}

/// `row`: `None` where there is none. `listed`: the provider says that it runs. One of both there is.
pub(super) fn decide(row: Option<Row>, listed: bool) -> Decision {
    let Some(Row { state, age, standing }) = row else { return Decision::Report };
    let row = match standing {
        Standing::Wanted => return Decision::Leave,
        Standing::Asleep => After::Stays,
        Standing::GivenUp => After::Goes,
    };
    match (listed, state) {
        (true, LedgerState::Intended | LedgerState::Created | LedgerState::Ended) => Decision::End(row),
        (false, LedgerState::Intended) if age < MAY_APPEAR => Decision::Leave,
        (false, LedgerState::Intended | LedgerState::Created) => Decision::Ask(row),
        (false, LedgerState::Ended) => match row {
            After::Stays => Decision::Leave,
            After::Goes => Decision::Forget,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_that_somebody_may_want() {
        use After::{Goes, Stays};
        use Decision::{Ask, End, Forget, Leave};
        use LedgerState::{Created, Ended, Intended};
        use Standing::{Asleep, GivenUp, Wanted};

        let old = MAY_APPEAR;
        let young = MAY_APPEAR.checked_sub(Duration::from_secs(1)).unwrap();
        let table = [
            // Standing, state, age, what when it is listed, and when it is not.
            (Wanted, Intended, young, Leave, Leave),
            (Wanted, Intended, old, Leave, Leave),
            (Wanted, Created, young, Leave, Leave),
            (Wanted, Created, old, Leave, Leave),
            (Wanted, Ended, young, Leave, Leave),
            (Wanted, Ended, old, Leave, Leave),
            (Asleep, Intended, young, End(Stays), Leave),
            (Asleep, Intended, old, End(Stays), Ask(Stays)),
            (Asleep, Created, young, End(Stays), Ask(Stays)),
            (Asleep, Created, old, End(Stays), Ask(Stays)),
            (Asleep, Ended, young, End(Stays), Leave),
            (Asleep, Ended, old, End(Stays), Leave),
            (GivenUp, Intended, young, End(Goes), Leave),
            (GivenUp, Intended, old, End(Goes), Ask(Goes)),
            (GivenUp, Created, young, End(Goes), Ask(Goes)),
            (GivenUp, Created, old, End(Goes), Ask(Goes)),
            (GivenUp, Ended, young, End(Goes), Forget),
            (GivenUp, Ended, old, End(Goes), Forget),
        ];
        for (standing, state, age, listed, unlisted) in table {
            let row = Some(Row { state, age, standing });
            assert_eq!(decide(row, true), listed, "{row:?}, listed");
            assert_eq!(decide(row, false), unlisted, "{row:?}, not listed");
        }
        assert_eq!(decide(None, true), Decision::Report, "nobody can prove whose it is");
    }
}
