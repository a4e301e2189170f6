//! Making a profile what a file says.

use super::find::named;
use crate::{
    cli::{connect::Common, error::Error, output::print_json},
    client::Client,
    proto::{AgentProfile, CreateProfileRequest, GetProfileRequest, UpdateProfileRequest, descriptors},
};

/// What only the server sets. A file may have it, because it was read from a server; of this only the id and the etag mean
/// something.
const OUTPUT_ONLY: &[&str] = &["profile_id", "revision", "created_by", "create_time", "update_time", "etag"];

/// What became of a profile.
enum Outcome {
    Created,
    Unchanged,
    Updated,
}

/// Creates the profile, or replaces all fields of the one with its id, else of the one with its name.
pub(super) async fn apply(common: &Common, client: &Client, wanted: AgentProfile) -> Result<(), Error> {
    let known = if wanted.profile_id.is_empty() {
        named(client, &wanted.name).await?.map(|profile| (profile.profile_id, profile.revision))
    } else {
        let request = GetProfileRequest { profile_id: wanted.profile_id.clone(), revision: 0 };
        client.get_profile(request).await?.profile.map(|profile| (profile.profile_id, profile.revision))
    };
    let (outcome, profile) = match known {
        None => {
            let request = CreateProfileRequest { profile: Some(fresh(wanted)), ..Default::default() };
            (Outcome::Created, client.create_profile(request).await?.profile.unwrap_or_default())
        }
        Some((profile_id, revision)) => {
            let update_mask = Some(prost_types::FieldMask { paths: all_fields(&wanted) });
            let profile = Some(AgentProfile { profile_id, etag: wanted.etag.clone(), ..fresh(wanted) });
            let request = UpdateProfileRequest { profile, update_mask, ..Default::default() };
            let updated = client.update_profile(request).await?.profile.unwrap_or_default();
            (if updated.revision == revision { Outcome::Unchanged } else { Outcome::Updated }, updated)
        }
    };
    if common.json {
        print_json("AgentProfile", &profile)?;
        return Ok(());
    }
    let AgentProfile { profile_id, revision, name, .. } = profile;
    match outcome {
        Outcome::Created => anstream::println!("created {name} ({profile_id})"),
        Outcome::Unchanged => anstream::println!("{name} ({profile_id}) is unchanged at revision {revision}"),
        Outcome::Updated => anstream::println!("updated {name} ({profile_id}) to revision {revision}"),
    }
    Ok(())
}

/// The profile without what only the server sets.
fn fresh(profile: AgentProfile) -> AgentProfile {
    AgentProfile {
        profile_id: String::new(),
        revision: 0,
        created_by: None,
        create_time: None,
        update_time: None,
        etag: String::new(),
        ..profile
    }
}

/// All that a file can say, so that what it leaves out is cleared. What this version refuses is named only when it is set.
fn all_fields(wanted: &AgentProfile) -> Vec<String> {
    let profile = descriptors().get_message_by_name("agentruntime.v1.AgentProfile");
    let fields = profile.into_iter().flat_map(|profile| profile.fields().collect::<Vec<_>>());
    let names = fields.map(|field| field.name().to_owned());
    names
        .filter(|name| !OUTPUT_ONLY.contains(&name.as_str()))
        .filter(|name| name != "acp_command" || !wanted.acp_command.is_empty())
        .collect()
}
