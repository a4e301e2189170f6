//! Answers to permission requests: what was answered before is told from the store, what is open goes to the session's
//! actor, and of several who answer at once the first wins.

use super::{Command, Decision, Manager};
use crate::{
    domain::{Caller, Failure, InputResolution, PermissionRequest, Reason, Request, Session, SessionId, SessionKey},
    log::failure,
};

/// How often a request that was answered in between is looked at again: the answer is stored by then.
const LOOKS: usize = 3;

impl Manager {
    /// Answers a permission request, and returns it as it is then.
    ///
    /// # Errors
    /// [`Reason::SessionNotFound`], [`Reason::PermissionNotFound`], [`Reason::AlreadyResolved`],
    /// [`Reason::InvalidField`], [`Reason::RequestIdReused`], [`Reason::StorageUnavailable`], [`Reason::StorageFull`],
    /// [`Reason::ShuttingDown`].
    pub async fn resolve_permission(
        &self,
        caller: &Caller,
        id: &SessionId,
        permission_id: String,
        decision: Decision,
        request: Option<Request>,
    ) -> Result<PermissionRequest, Failure> {
        let (manager, by, id, same) = (self.clone(), caller.clone(), id.clone(), request.clone());
        let resolve = async move { manager.resolve_now(&by, &id, &permission_id, &decision, same).await };
        self.once(&caller.tenant, request, resolve).await
    }

    async fn resolve_now(
        &self,
        caller: &Caller,
        id: &SessionId,
        permission_id: &str,
        decision: &Decision,
        request: Option<Request>,
    ) -> Result<PermissionRequest, Failure> {
        self.open()?;
        let key = SessionKey { tenant: caller.tenant.clone(), session: id.clone() };
        for _ in 0..LOOKS {
            let found = self.log().store().permission(&key, permission_id).await;
            match found.map_err(|error| failure(error, &key))? {
                None => {
                    self.view(&key).await?;
                    let message = format!("there is no permission request {permission_id} in this session");
                    return Err(Failure::new(Reason::PermissionNotFound, message).with("permission_id", permission_id));
                }
                Some(PermissionRequest { resolution: Some(winner), .. }) => {
                    return Err(already_resolved(permission_id, &winner));
                }
                Some(PermissionRequest { resolution: None, .. }) => {}
            }
            let command = |by, reply| Command::Resolve {
                permission_id: permission_id.to_owned(),
                decision: decision.clone(),
                by,
                request: request.clone(),
                reply,
            };
            if let Some(resolved) = self.call(caller, id, command).await? {
                return Ok(resolved);
            }
        }
        Err(Failure::new(Reason::StorageUnavailable, "the request could not be reached; try again"))
    }
}

fn already_resolved(permission_id: &str, winner: &InputResolution) -> Failure {
    let InputResolution { outcome, option_id, resolved_by, .. } = winner;
    let by = resolved_by.as_ref().map(|by| by.subject.clone()).unwrap_or_default();
    let message = format!("this request is over since before: {}, by {by}", outcome.as_str());
    Failure::new(Reason::AlreadyResolved, message)
        .with("permission_id", permission_id)
        .with("outcome", outcome.as_str())
        .with("option_id", option_id)
        .with("resolved_by", by)
}

/// Refuses a mode that the session's agent does not know.
pub(super) fn mode_is_known(session: &Session, field: &str) -> Result<(), Failure> {
    let (mode, known) = (session.options.permission_mode.as_str(), session.agent.permission_modes());
    if mode.is_empty() || known.contains(&mode) {
        return Ok(());
    }
    let rule = format!("for {} one of {}", session.agent, known.join(", "));
    Err(Failure::invalid(field, rule))
}
