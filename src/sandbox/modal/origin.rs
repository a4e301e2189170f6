//! Where a sandbox was made, and so whose word counts about it. A token of another workspace, another app and another server
//! know nothing of it either, while it runs and costs: that Modal does not know it means that it is over only where it was made.
//!
//! The same place is the same app at the same address, or the same token: it sees what it saw before, also where the app was
//! deleted meanwhile, and its sandboxes with it. Ids of apps are Modal's own, and no two workspaces or environments have the same
//! one; the address is looked at too, because stand-ins may all call their app the same. What is found is believed of anybody.

use std::{sync::Arc, time::Duration};

use tonic::Status;

use super::{
    control::Control,
    home::Home,
    record::{after, kept_until},
};
use crate::domain::{LedgerEntry, LedgerFacts, LedgerOrigin, LedgerState, ModalSettings, Timestamp};

/// How much later than it was written down a sandbox may be over: the call that made it may have been on its way for long.
const LATE: Duration = Duration::from_mins(15);

/// Says whether it is to be believed that Modal does not know something.
#[derive(Clone, Debug, Default)]
pub(super) struct Witness(Option<Arc<Doubt>>);

/// What was made at a known place, and perhaps not at this one.
#[derive(Debug)]
struct Doubt {
    home: Arc<Home>,
    origin: LedgerOrigin,
    /// From then on it is gone, whoever is asked.
    until: Timestamp,
}

/// Why it is not believed, as the source of a status.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct OutOfReach(String);

impl Witness {
    /// Of the life of the sandbox that a row names.
    pub(super) fn of_life(home: &Arc<Home>, entry: &LedgerEntry) -> Self {
        Self::of(home, entry, lives_until(entry))
    }

    /// Of what a sandbox left that nobody wants: that is kept for long after its life.
    pub(super) fn of_files(home: &Arc<Home>, entry: &LedgerEntry) -> Self {
        Self::of(home, entry, Timestamp(i64::MAX))
    }

    fn of(home: &Arc<Home>, entry: &LedgerEntry, until: Timestamp) -> Self {
        let doubt = |origin: &LedgerOrigin| Arc::new(Doubt { home: Arc::clone(home), origin: origin.clone(), until });
        Self(entry.facts.origin.as_ref().map(doubt))
    }

    /// Modal does not know it, and it is not there. Otherwise the error says why that does not follow.
    pub(super) async fn believe(&self, control: &Control) -> Result<(), Status> {
        let Some(doubt) = &self.0 else { return Ok(()) };
        let Doubt { home, origin, until } = &**doubt;
        if *until <= Timestamp::now() {
            return Ok(());
        }
        let here = home.here(control).await?;
        match elsewhere(origin, &here, home.given_up()) {
            None => Ok(()),
            Some(why) => {
                let mut status = Status::failed_precondition(why.clone());
                status.set_source(Arc::new(OutOfReach(why)));
                Err(status)
            }
        }
    }
}

/// What a status says that comes of [`Witness::believe`].
pub(super) fn out_of_reach(status: &Status) -> Option<String> {
    let source = std::error::Error::source(status)?;
    source.downcast_ref::<OutOfReach>().map(|OutOfReach(why)| why.clone())
}

/// Why the account that is asked now is not the one to ask about the sandbox of a row; `None`: it is, or nothing can be there
/// any more, or nothing was asked yet.
pub(super) fn suspect(home: &Home, entry: &LedgerEntry) -> Option<String> {
    let origin = entry.facts.origin.as_ref()?;
    let end = entry.facts.end_time.filter(|_| entry.state == LedgerState::Ended);
    let until = end.map_or_else(|| lives_until(entry), kept_until);
    elsewhere(origin, &home.known()?, home.given_up()).filter(|_| Timestamp::now() < until)
}

/// Until when a sandbox may run, or is known to have left its files.
fn lives_until(entry: &LedgerEntry) -> Timestamp {
    let LedgerFacts { create_time, expire_time, snapshot, .. } = &entry.facts;
    let life = expire_time.unwrap_or_else(|| after(*create_time, ModalSettings::LONGEST));
    match (entry.state, snapshot) {
        (LedgerState::Ended, Some(snapshot)) => snapshot.expire_time,
        (LedgerState::Ended, None) => life,
        (LedgerState::Intended | LedgerState::Created, _) => after(life, LATE),
    }
}

/// What is to be said of something that was made at another place than this.
fn elsewhere(origin: &LedgerOrigin, here: &LedgerOrigin, given_up: &[String]) -> Option<String> {
    let LedgerOrigin { server, app_id, app, environment, token_id } = origin;
    let same = *server == here.server && (*app_id == here.app_id || *token_id == here.token_id);
    if same || given_up.contains(app_id) {
        return None;
    }
    let mut set = vec!["the token of its account".to_owned()];
    if *server != here.server {
        set.push(format!("MODAL_SERVER_URL={server}"));
    }
    if *environment != here.environment {
        set.push(format!("MODAL_ENVIRONMENT={environment}"));
    }
    if *app != here.app {
        set.push(format!("--modal-app {app}"));
    }
    let last = set.pop().unwrap_or_default();
    let set = if set.is_empty() { last } else { format!("{} and {last}", set.join(", ")) };
    Some(format!(
        "it was made in the app {app_id} at {server}, and this server asks for {} at {}; start it with {set}, or with \
         --modal-gone {app_id} if nothing of that app is there any more",
        here.app_id, here.server
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{LedgerSnapshot, SandboxId, SessionId, SessionKey, TenantId};

    /// Each app is asked for with a token of its own.
    fn place(server: &str, app_id: &str) -> LedgerOrigin {
        let (app, environment, token_id) = ("app".to_owned(), String::new(), format!("ak-{app_id}"));
        LedgerOrigin { server: server.to_owned(), app_id: app_id.to_owned(), app, environment, token_id }
    }

    #[test]
    fn only_the_same_app_or_token_at_the_same_address_is_the_same_place() {
        let here = place("https://a:443", "ap-1");
        let rotated = LedgerOrigin { token_id: "ak-2".to_owned(), ..here.clone() };
        assert_eq!(elsewhere(&rotated, &here, &[]), None, "it is the same app");
        let deleted = LedgerOrigin { app_id: "ap-0".to_owned(), ..here.clone() };
        assert_eq!(elsewhere(&deleted, &here, &[]), None, "who sees none of it now saw it before");
        let there = LedgerOrigin { server: "http://b:80".to_owned(), ..deleted };
        assert!(elsewhere(&there, &here, &[]).is_some(), "a token of another server's");
        assert_eq!(elsewhere(&here, &here, &[]), None);
        let renamed = LedgerOrigin { app: "other".to_owned(), environment: "main".to_owned(), ..here.clone() };
        assert_eq!(elsewhere(&renamed, &here, &[]), None, "it is the same one, whatever it was called");

        let told = elsewhere(&place("https://a:443", "ap-2"), &here, &[]).expect("another account");
        assert!(told.contains("ap-2") && told.contains("with the token of its account, or"), "{told}");
        let told = elsewhere(&place("http://b:80", "ap-1"), &here, &[]).expect("another server");
        assert!(told.contains("the token of its account and MODAL_SERVER_URL=http://b:80"), "{told}");
        let other = LedgerOrigin { app_id: "ap-2".to_owned(), token_id: "ak-2".to_owned(), ..renamed };
        let told = elsewhere(&other, &here, &[]).expect("another app");
        assert!(told.contains("account, MODAL_ENVIRONMENT=main and --modal-app other"), "{told}");
        assert_eq!(elsewhere(&other, &here, &["ap-2".to_owned()]), None, "somebody said that it is gone");
    }

    #[test]
    fn what_is_over_for_sure_is_waited_for_no_longer() {
        let (made, ends, kept) = (Timestamp(1), Timestamp(2), Timestamp(3));
        let snapshot = Some(LedgerSnapshot { image_id: "im-1".to_owned(), expire_time: kept });
        let row = |state, snapshot: &Option<LedgerSnapshot>, expire_time| LedgerEntry {
            id: SandboxId::new("sbx_1"),
            session: SessionKey { tenant: TenantId::default_tenant(), session: SessionId::new("ses_1") },
            generation: 1,
            provider: "modal".to_owned(),
            state,
            facts: LedgerFacts { create_time: made, expire_time, snapshot: snapshot.clone(), ..LedgerFacts::default() },
        };
        for state in [LedgerState::Intended, LedgerState::Created] {
            // What it was made from says nothing of it.
            assert_eq!(lives_until(&row(state, &snapshot, Some(ends))), after(ends, LATE));
            assert_eq!(lives_until(&row(state, &None, None)), after(after(made, ModalSettings::LONGEST), LATE));
        }
        assert_eq!(
            lives_until(&row(LedgerState::Ended, &snapshot, Some(ends))),
            kept,
            "its files are known to be there"
        );
        assert_eq!(lives_until(&row(LedgerState::Ended, &None, Some(ends))), ends);
    }
}
