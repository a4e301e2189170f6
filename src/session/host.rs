//! One session's actors, one after the other, for as long as there is something to do or to look after.

use std::{mem, sync::Arc, thread};

use tokio::sync::mpsc;
use tracing::Instrument as _;

use super::{
    Command,
    actor::{Actor, Ended},
    images,
    redact::Values,
    shared::Shared,
};
use crate::{
    domain::{PermissionPolicy, SandboxId, SessionKey},
    log::failure,
    store::{self, Acquired},
};

pub(super) use super::actor::Begin;

/// Gives the slot back where a defect ends the task: the session's next call then starts anew from what is stored.
struct Slot {
    shared: Arc<Shared>,
    key: SessionKey,
}

impl Drop for Slot {
    fn drop(&mut self) {
        if thread::panicking() {
            self.shared.slots().remove(&self.key);
        }
    }
}

/// Runs actors until there is nothing to do; then the slot is given back.
pub(super) async fn host(
    shared: Arc<Shared>,
    key: SessionKey,
    mut commands: mpsc::Receiver<Command>,
    mut begin: Begin,
) {
    let _slot = Slot { shared: Arc::clone(&shared), key: key.clone() };
    let mut left = None;
    loop {
        match acquire(&shared, &key).await {
            Ok(Some((acquired, known))) => {
                let gave_up = matches!(begin, Begin::GiveUp(_));
                let (actor, stdin) = Actor::new(Arc::clone(&shared), key.clone(), commands, acquired, known);
                let run = actor.run(mem::replace(&mut begin, Begin::Asked), stdin);
                let end = run.instrument(tracing::info_span!("session", session = %key.session)).await;
                Ended { commands, sandbox: left, .. } = end;
                match end.not_stored {
                    // What it left is looked after, once that can be stored.
                    Some(error) if error.is_of_storage() => {
                        refuse_waiting(&key, &mut commands, error);
                        if recovered(&shared).await {
                            begin = Begin::InDoubt;
                            continue;
                        }
                    }
                    Some(error) if !gave_up => {
                        refuse_waiting(&key, &mut commands, error.clone());
                        begin = Begin::GiveUp(error);
                        continue;
                    }
                    Some(_) | None => {}
                }
                let mut slots = shared.slots();
                // Commands that nobody answered did nothing, and their callers are told so by that.
                if commands.is_empty() || shared.drain.is_cancelled() {
                    slots.remove(&key);
                    return;
                }
            }
            Ok(None) => {
                destroy(&shared, left).await;
                return refuse_all(&shared, &key, commands, store::Error::NotFound);
            }
            // A turn that was accepted is begun or lost, but never forgotten.
            Err(error) if begin.must_not_be_forgotten() && error.is_of_storage() => {
                refuse_waiting(&key, &mut commands, error.clone());
                if !recovered(&shared).await {
                    return refuse_all(&shared, &key, commands, error);
                }
            }
            Err(error) => return refuse_all(&shared, &key, commands, error),
        }
    }
}

/// What its profile says of a session: what must not be recorded of it, and what is asked.
type Known = (Arc<Values>, PermissionPolicy);

/// Becomes the session's owner.
async fn acquire(shared: &Shared, key: &SessionKey) -> Result<Option<(Acquired, Known)>, store::Error> {
    let Some(mut acquired) = shared.log.acquire(key).await? else { return Ok(None) };
    images::load_waiting(shared.log.store(), key, &mut acquired.open).await;
    let session = &acquired.open.session;
    let profile = shared.log.store().profile(&key.tenant, &session.profile_id, session.profile_revision).await?;
    if profile.is_none() {
        // Nothing is allowed by a policy that is not there: somebody is asked.
        tracing::warn!(%key, profile = %session.profile_id, "the session's profile is not there");
    }
    let setup = profile.map(|profile| profile.setup).unwrap_or_default();
    let values = shared.values_of(&setup);
    Ok(Some((acquired, (values, setup.permission_policy))))
}

/// A deletion was stored after all, though its actor could not know that.
async fn destroy(shared: &Shared, sandbox: Option<SandboxId>) {
    if let Some(id) = sandbox
        && let Err(error) = shared.config.providers.destroy(&id).await
    {
        tracing::warn!(sandbox = %id, %error, "a deleted session's sandbox could not be removed; the purge tries again");
    }
}

/// Waits until the store takes transactions; says no when the server stops before.
async fn recovered(shared: &Shared) -> bool {
    shared.drain.run_until_cancelled(shared.log.serving()).await.is_some()
}

/// There is no session to act on: whoever waits is told, and the slot is given back.
fn refuse_all(shared: &Shared, key: &SessionKey, mut commands: mpsc::Receiver<Command>, error: store::Error) {
    shared.slots().remove(key);
    refuse_waiting(key, &mut commands, error);
}

fn refuse_waiting(key: &SessionKey, commands: &mut mpsc::Receiver<Command>, error: store::Error) {
    let refusal = failure(error, key);
    while let Ok(command) = commands.try_recv() {
        command.refuse(refusal.clone());
    }
}
