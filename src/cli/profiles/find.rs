//! Which profile somebody means.

use crate::{
    cli::error::Error,
    client::Client,
    proto::{AgentProfile, ListProfilesRequest},
};

/// The profile of that id, else the one of that name, as lists show it.
///
/// # Errors
/// When there is none, or several have the name.
pub(in crate::cli) async fn find(client: &Client, wanted: &str) -> Result<AgentProfile, Error> {
    let found = matching(client, |profile| profile.profile_id == wanted || profile.name == wanted).await?;
    let by_id = found.iter().find(|profile| profile.profile_id == wanted).cloned();
    match by_id.map_or_else(|| one(found, wanted), |profile| Ok(Some(profile)))? {
        Some(profile) => Ok(profile),
        None => Err(Error::Other(format!("there is no profile {wanted}; `agent-runtime profiles list` shows all"))),
    }
}

/// The profile of that name, if there is one.
///
/// # Errors
/// When several have the name.
pub(super) async fn named(client: &Client, name: &str) -> Result<Option<AgentProfile>, Error> {
    one(matching(client, |profile| profile.name == name).await?, name)
}

fn one(mut found: Vec<AgentProfile>, name: &str) -> Result<Option<AgentProfile>, Error> {
    if found.len() > 1 {
        let ids: Vec<&str> = found.iter().map(|profile| profile.profile_id.as_str()).collect();
        return Err(Error::Other(format!(
            "several profiles are named {name}; say which by its id: {}",
            ids.join(", ")
        )));
    }
    Ok(found.pop())
}

async fn matching(client: &Client, is_one: impl Fn(&AgentProfile) -> bool) -> Result<Vec<AgentProfile>, Error> {
    let mut found = Vec::new();
    let mut page_token = String::new();
    loop {
        let page = client.list_profiles(ListProfilesRequest { page_size: 1000, page_token }).await?;
        found.extend(page.profiles.into_iter().filter(|profile| is_one(profile)));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(found);
        }
    }
}
