//! Following one turn: from its start, or from where a caller was cut off.

use super::{Accepted, Manager};
use crate::{
    domain::{Failure, SessionKey},
    log::{Filter, Opened, Start, failure},
};

impl Manager {
    /// Opens a watch of a turn that was accepted, after a sequence or from its start, without what belongs to others.
    /// `None`: its end was seen already.
    ///
    /// # Errors
    /// [`Reason::InvalidField`](crate::domain::Reason::InvalidField) for a sequence before the turn; those of
    /// [`EventLog::watch`](crate::log::EventLog::watch).
    pub async fn follow(
        &self,
        key: &SessionKey,
        accepted: &Accepted,
        after: Option<i64>,
        omit_deltas: bool,
    ) -> Result<Option<Opened>, Failure> {
        let begin = accepted.sequence;
        if after.is_some_and(|after| after < begin) {
            return Err(Failure::invalid("after_sequence", format!("{begin} or more, where the turn begins")));
        }
        let filter = Filter { omit_deltas, turn: Some(accepted.turn.turn_id.clone()), ..Filter::default() };
        let start = Start { after: Some(after.unwrap_or(begin)), filter, ..Start::default() };
        let opened = self.log().watch(key, start).await?;
        // Asked after the watch was opened: an end that is not there yet comes after the head, and is seen by the watch.
        if let Some(after) = after {
            let end = self.log().store().turn_end(key, &accepted.turn.turn_id, begin).await;
            if end.map_err(|error| failure(error, key))?.is_some_and(|end| end <= after) {
                return Ok(None);
            }
        }
        Ok(Some(opened))
    }
}
