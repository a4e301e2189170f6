//! Profiles.

use super::{text, timestamp};
use crate::{domain::Profile, proto};

impl From<Profile> for proto::AgentProfile {
    fn from(profile: Profile) -> Self {
        let Profile {
            profile_id,
            revision,
            name,
            description,
            agent,
            setup,
            created_by,
            create_time,
            update_time,
            etag,
        } = profile;
        let policy = setup.permission_policy;
        Self {
            profile_id: profile_id.to_string(),
            revision,
            name,
            description,
            agent: text(agent),
            permission_policy: (!policy.is_empty()).then(|| policy.into()),
            created_by: created_by.map(Into::into),
            create_time: Some(timestamp(create_time)),
            update_time: Some(timestamp(update_time)),
            etag,
            // What the domain does not keep yet is refused on the way in, and so never set here.
            ..Self::default()
        }
    }
}
