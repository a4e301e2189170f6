//! What the profile that a session is pinned to says about asking.

use super::shared::Shared;
use crate::{
    domain::{PermissionPolicy, Session, SessionKey},
    store,
};

/// The policy of a session. It never changes, because a session stays with its revision.
pub(super) async fn of(shared: &Shared, key: &SessionKey, session: &Session) -> Result<PermissionPolicy, store::Error> {
    let found = shared.log.store().profile(&key.tenant, &session.profile_id, session.profile_revision).await?;
    let Some(profile) = found else {
        // Nothing is allowed by a policy that is not there: somebody is asked.
        tracing::warn!(%key, profile = %session.profile_id, "the session's profile is not there");
        return Ok(PermissionPolicy::default());
    };
    Ok(profile.setup.permission_policy)
}
