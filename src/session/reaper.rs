//! The reaper: what providers elsewhere hold for this server is compared with what is written down here, so that nothing runs
//! and costs that no session wants. What must be read for that and cannot be is a reason to end nothing.
//!
//! What is decided stands in `decide`, what is written of it in `row`, what was told in `told`; here is what is read before, and
//! what is done after.

mod decide;
mod row;
mod told;

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{sync::mpsc, time::timeout};

use self::{
    decide::{After, Decision, Row, Standing, decide},
    told::Told,
};
use super::{Command, Manager, shared::Shared};
use crate::{
    domain::{LedgerEntry, LedgerFacts, LedgerState, SandboxId, SandboxStatus, SessionKey, Timestamp},
    sandbox::{
        self,
        inventory::{Inventory, Listed},
    },
    store,
};

/// How long a sandbox may take to end, and a provider to answer.
const PATIENCE: Duration = Duration::from_mins(2);

/// Why nothing more was done.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    #[error("another server owns this database")]
    Owned,
    #[error("what it holds cannot be listed: {0}")]
    List(sandbox::Error),
    #[error("the ledger, or a session, cannot be read or written: {0}")]
    Store(#[from] store::Error),
}

/// Keeps a session from getting an actor.
struct Reserved {
    shared: Arc<Shared>,
    key: SessionKey,
    /// Whoever asks for an actor meanwhile waits here, and asks again when it is gone.
    _commands: mpsc::Receiver<Command>,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.shared.slots().remove(&self.key);
    }
}

impl Reserved {
    /// `None`: it has one.
    fn take(shared: &Arc<Shared>, key: &SessionKey) -> Option<Self> {
        let mut slots = shared.slots();
        if slots.contains_key(key) {
            return None;
        }
        let (sender, commands) = mpsc::channel(1);
        slots.insert(key.clone(), sender);
        Some(Self { shared: Arc::clone(shared), key: key.clone(), _commands: commands })
    }
}

/// Looks after what providers elsewhere hold, again and again.
#[derive(Debug)]
pub struct Reaper {
    manager: Manager,
    /// By the providers' names.
    told: HashMap<String, Told>,
}

impl Reaper {
    /// For what this manager's sessions want.
    #[must_use]
    pub fn new(manager: Manager) -> Self {
        Self { manager, told: HashMap::new() }
    }

    /// Ends what sessions have given up at providers elsewhere, and closes the rows of what is over. Says whether all of it
    /// could be looked at and carried out; if not, it was told, and is worth another look soon.
    pub async fn look(&mut self) -> bool {
        let Self { manager, told } = self;
        let mut all = true;
        for provider in manager.config().providers.all() {
            let Some(inventory) = provider.inventory() else { continue };
            let (provider, told) = (provider.name(), told.entry(provider.name().to_owned()).or_default());
            let mut look = Look { manager, name: provider, inventory, told, whole: true };
            match look.run().await {
                Ok(()) => {
                    all &= look.whole;
                    if told.finished() {
                        tracing::info!(provider, "what runs there could be looked at again");
                    }
                }
                Err(error) => {
                    all = false;
                    if told.stopped(&error.to_string()) {
                        tracing::warn!(provider, %error, "nothing is ended there until this is mended; it is tried again");
                    } else {
                        tracing::debug!(provider, %error, "nothing is ended there, as before");
                    }
                }
            }
        }
        all
    }
}

impl Manager {
    /// Waits until a sandbox elsewhere is to be ended that could not be reached: a look is due then.
    pub async fn wants_a_look(&self) {
        self.shared.reap.notified().await;
    }
}

/// One look at one provider.
struct Look<'a> {
    manager: &'a Manager,
    name: &'a str,
    inventory: &'a dyn Inventory,
    told: &'a mut Told,
    /// Everything that was decided could be carried out.
    whole: bool,
}

impl Look<'_> {
    async fn run(&mut self) -> Result<(), Stopped> {
        let store = self.manager.shared.log.store();
        if !store.is_owner() {
            return Err(Stopped::Owned);
        }
        // The list comes first: what is in it had its row before, and that its session before that.
        let listed = timeout(PATIENCE, self.inventory.list()).await.unwrap_or_else(|_| Err(silent()));
        let (mut running, mut unnamed) = (HashMap::new(), Vec::new());
        for sandbox in listed.map_err(Stopped::List)? {
            match &sandbox.id {
                Some(id) => running.entry(id.clone()).or_insert_with(Vec::new).push(sandbox),
                None => unnamed.push(sandbox),
            }
        }
        for entry in store.entries(self.name).await? {
            let listed = running.remove(&entry.id).unwrap_or_default();
            self.look(entry, &listed).await?;
        }
        for Listed { external_id, id, session, create_time } in running.into_values().flatten().chain(unnamed) {
            debug_assert_eq!(decide(None, true), Decision::Report);
            if self.told.trouble(&external_id, "unknown") {
                let age = Timestamp::now().since(create_time).as_secs();
                tracing::error!(
                    provider = self.name,
                    external_id,
                    ?id,
                    session,
                    age,
                    "a sandbox has this server's tag and is not in its ledger: it is left alone, and costs until somebody ends it"
                );
            }
        }
        Ok(())
    }

    /// Looks at one row, and at what is listed of it.
    async fn look(&mut self, entry: LedgerEntry, listed: &[Listed]) -> Result<(), Stopped> {
        // While this is held, what is read of the session stays so, and its row with it. Both may have changed since all rows
        // were read: other sandboxes were ended meanwhile, which takes its time.
        let reserved = Reserved::take(&self.manager.shared, &entry.session);
        let Some(entry) = self.manager.shared.log.store().entry(&entry.id).await? else { return Ok(()) };
        let out_of_reach = self.inventory.out_of_reach(&entry);
        if let Some(why) = &out_of_reach
            && self.told.trouble(entry.id.as_str(), why)
        {
            tracing::warn!(provider = self.name, sandbox = %entry.id, session = %entry.session, why,
                "that a sandbox is not found is not believed: it may run, and its row stays as it is");
        }
        let key = &entry.session;
        let standing = match self.standing(key, &entry.id).await? {
            Standing::Asleep if reserved.is_none() => Standing::Wanted,
            standing => standing,
        };
        let row = Row { state: entry.state, age: Timestamp::now().since(entry.facts.create_time), standing };
        let decision = decide(Some(row), !listed.is_empty());
        match decision {
            Decision::Leave => {
                tracing::debug!(sandbox = %entry.id, ?row, listed = listed.len(), "a sandbox is left as it is");
                return Ok(());
            }
            Decision::Report | Decision::End(_) | Decision::Ask(_) | Decision::Forget => {}
        }
        tracing::debug!(provider = self.name, sandbox = %entry.id, session = %key, external_id = entry.facts.external_id,
            ?row, listed = listed.len(), ?decision, "the reaper has decided");
        let over = match decision {
            Decision::Leave | Decision::Report => return Ok(()),
            Decision::End(after) => self.ended(&entry, listed).await.map(|found| (after, found)),
            Decision::Ask(after) => self.asked(&entry).await.map(|found| (after, found)),
            Decision::Forget => Ok((After::Goes, None)),
        };
        match over {
            Ok((after, found)) => self.close(entry, found, after).await,
            // Looking again soon would change nothing.
            Err(error @ sandbox::Error::OutOfReach(_)) => {
                tracing::debug!(sandbox = %entry.id, %error, "a sandbox is left to a server that can reach it");
                Ok(())
            }
            Err(error) => {
                self.whole = false;
                if self.told.trouble(entry.id.as_str(), &error.to_string()) {
                    tracing::warn!(provider = self.name, sandbox = %entry.id, external_id = entry.facts.external_id, %error,
                        "a sandbox that nobody wants could not be ended or asked for; it is tried again");
                }
                Ok(())
            }
        }
    }

    async fn standing(&self, key: &SessionKey, id: &SandboxId) -> Result<Standing, Stopped> {
        let view = self.manager.shared.log.store().session(key).await?;
        let sandbox = view.and_then(|view| view.session.sandbox);
        let own = sandbox.filter(|sandbox| sandbox.sandbox_id.as_ref() == Some(id));
        Ok(match own.map(|sandbox| sandbox.status) {
            None => Standing::GivenUp,
            Some(SandboxStatus::Terminated) => Standing::Asleep,
            Some(SandboxStatus::Starting | SandboxStatus::Ready | SandboxStatus::Unhealthy) => Standing::Wanted,
        })
    }

    /// Ends what is listed, and what the row names; returns the last one's id.
    async fn ended(&self, entry: &LedgerEntry, listed: &[Listed]) -> Result<Option<String>, sandbox::Error> {
        let mut ids: Vec<_> = listed.iter().map(|sandbox| &sandbox.external_id).collect();
        // The list may be of a time when another one ran.
        let own = &entry.facts.external_id;
        if entry.state == LedgerState::Created && !ids.contains(&own) {
            ids.push(own);
        }
        for external_id in &ids {
            self.end(entry, external_id).await?;
        }
        Ok(ids.pop().cloned())
    }

    /// Asks by its id for one that is not in the list, which may lack one; ends it if it runs all the same, and returns its id.
    async fn asked(&self, entry: &LedgerEntry) -> Result<Option<String>, sandbox::Error> {
        let asked = async {
            let known = &entry.facts.external_id;
            if known.is_empty() {
                return self.inventory.running(entry).await;
            }
            Ok((!self.inventory.is_over(entry).await?).then(|| known.clone()))
        };
        let runs = timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err(silent()))?;
        if let Some(external_id) = &runs {
            self.end(entry, external_id).await?;
        }
        Ok(runs)
    }

    async fn end(&self, entry: &LedgerEntry, external_id: &str) -> Result<(), sandbox::Error> {
        tracing::info!(provider = self.name, sandbox = %entry.id, session = %entry.session, external_id,
            "a sandbox that nobody wants is ended");
        timeout(PATIENCE, self.inventory.end(entry, external_id)).await.unwrap_or_else(|_| Err(silent()))
    }

    async fn drop_kept(&self, entry: &LedgerEntry) -> Result<(), sandbox::Error> {
        timeout(PATIENCE, self.inventory.drop_kept(entry)).await.unwrap_or_else(|_| Err(silent()))
    }

    async fn close(&mut self, entry: LedgerEntry, found: Option<String>, after: After) -> Result<(), Stopped> {
        let store = self.manager.shared.log.store();
        if store.entry(&entry.id).await?.as_ref() != Some(&entry) {
            tracing::info!(sandbox = %entry.id, "its row was changed meanwhile; it is looked at again later");
            return Ok(());
        }
        match after {
            After::Goes => {
                let mut gone = entry;
                // Of one that was only intended no id is known but that under which it was found.
                if gone.facts.external_id.is_empty() {
                    gone.facts.external_id = found.unwrap_or_default();
                }
                if let Err(error) = self.drop_kept(&gone).await {
                    // One that is out of reach was told of.
                    let soon = !matches!(error, sandbox::Error::OutOfReach(_));
                    self.whole &= !soon;
                    if soon && self.told.trouble(gone.id.as_str(), &error.to_string()) {
                        tracing::warn!(provider = self.name, sandbox = %gone.id, %error,
                            "what a sandbox left that nobody wants could not be dropped; it is tried again");
                    }
                    if gone.state != LedgerState::Ended {
                        gone.state = LedgerState::Ended;
                        gone.facts.end_time = Some(Timestamp::now());
                        store.put_entry(&gone).await?;
                    }
                    return Ok(());
                }
                store.remove_entry(&gone.id).await?;
            }
            After::Stays => {
                let over = row::over(entry.clone(), found, Timestamp::now());
                store.put_entry(&over).await?;
                if over.facts.snapshot == entry.facts.snapshot {
                    return Ok(());
                }
                // What it was made from nobody needs any more; what it left stays.
                let facts = LedgerFacts { external_id: String::new(), ..entry.facts };
                if let Err(error) = self.drop_kept(&LedgerEntry { facts, ..entry }).await {
                    tracing::debug!(sandbox = %over.id, %error, "what it was made from is left to its time");
                }
            }
        }
        Ok(())
    }
}

fn silent() -> sandbox::Error {
    sandbox::Error::Unavailable(format!("not within {} s", PATIENCE.as_secs()))
}
