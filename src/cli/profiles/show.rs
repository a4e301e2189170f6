//! A profile, as `apply` takes it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};

use super::find::find;
use crate::{
    cli::{
        connect::Common,
        error::Error,
        output::{json, one_line, print_json},
    },
    proto::{AgentProfile, GetProfileRequest},
};

/// Prints a revision of a profile; 0: the newest.
pub(super) async fn show(common: &Common, wanted: &str, revision: i64) -> Result<(), Error> {
    let client = common.connect().await?.client;
    let by_id = |profile_id: String| client.get_profile(GetProfileRequest { profile_id, revision });
    // Revisions of a deleted profile are in no list.
    let found = match find(&client, wanted).await {
        Ok(summary) => by_id(summary.profile_id).await?,
        Err(not_listed) => by_id(wanted.to_owned()).await.map_err(|_| not_listed)?,
    };
    let profile = found.profile.unwrap_or_default();
    if common.json {
        print_json("AgentProfile", &profile)?;
        return Ok(());
    }
    anstream::print!("{}", as_yaml(profile)?);
    Ok(())
}

/// YAML with all that can be said of a profile. What only the server says stands in a comment, so that the rest can be
/// applied elsewhere too.
pub(super) fn as_yaml(profile: AgentProfile) -> Result<String, Error> {
    let AgentProfile { profile_id, revision, name, .. } = &profile;
    let head = format!("# {} ({profile_id}), revision {revision}\n", one_line(name, 200));
    let said = AgentProfile {
        profile_id: String::new(),
        revision: 0,
        created_by: None,
        create_time: None,
        update_time: None,
        etag: String::new(),
        ..profile
    };
    let mut value = serde_json::from_str(&json("AgentProfile", &said)).map_err(unprintable)?;
    texts(&mut value);
    Ok(head + &serde_saphyr::to_string(&value).map_err(unprintable)?)
}

fn unprintable(error: impl std::fmt::Display) -> Error {
    Error::Other(format!("the profile cannot be shown as YAML, use --json: {error}"))
}

/// Contents of files as text, where they are.
fn texts(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.values_mut().for_each(texts);
            if let Some(text) = content(members) {
                members.remove("content");
                members.insert("contentText".into(), Value::String(text));
            }
        }
        Value::Array(values) => values.iter_mut().for_each(texts),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The text in a file of a profile: only these have a content, beside a path.
fn content(members: &Map<String, Value>) -> Option<String> {
    members.get("path")?;
    let bytes = STANDARD.decode(members.get("content")?.as_str()?).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let plain = |c: char| !c.is_control() || matches!(c, '\n' | '\t');
    text.chars().all(plain).then_some(text)
}
