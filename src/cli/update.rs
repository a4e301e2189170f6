//! `sessions update`: changes what is named, and leaves the rest as it is, also what somebody else changes meanwhile.

use super::{connect::Common, error::Error, limits::Limits, output::print_json};
use crate::{
    client::Client,
    proto::{GetSessionRequest, Session, UpdateSessionRequest},
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Which.
    id: String,
    /// Name to show; empty: none.
    #[arg(long)]
    name: Option<String>,
    /// A label to set, or without a value to remove. May be given more than once.
    #[arg(long = "label", value_name = "KEY[=VALUE]")]
    labels: Vec<String>,
    /// Model from the next turn on, in the agent's words; empty: the default.
    #[arg(long)]
    model: Option<String>,
    /// When the agent asks for permission from the next turn on, in its words; empty: the default.
    #[arg(long, value_name = "MODE")]
    permission_mode: Option<String>,
    #[command(flatten)]
    limits: Limits,
}

pub(super) async fn run(common: &Common, client: &Client, args: &Args) -> Result<(), Error> {
    let request = change(client, args).await?;
    let updated = client.update_session(request).await?.session.unwrap_or_default();
    if common.json {
        print_json("Session", &updated)?;
    } else {
        anstream::println!("updated {}", args.id);
    }
    Ok(())
}

async fn change(client: &Client, args: &Args) -> Result<UpdateSessionRequest, Error> {
    let Args { id, name, labels, model, permission_mode, limits } = args;
    let mut paths = Vec::new();
    let mut session = Session { session_id: id.clone(), ..Session::default() };
    let mut options = crate::proto::SessionOptions::default();
    // Only these are changed in part, so what they are now must not change in between.
    if !labels.is_empty() || limits.has_budget() {
        let found = client.get_session(GetSessionRequest { session_id: id.clone() }).await?.session.unwrap_or_default();
        session.etag = found.etag;
        if !labels.is_empty() {
            session.labels = found.labels;
            paths.push("labels");
        }
        if limits.has_budget() {
            options.budget = found.options.and_then(|options| options.budget);
            paths.push("options.budget");
        }
    }
    for label in labels {
        match label.split_once('=') {
            Some((key, value)) => session.labels.insert(key.to_owned(), value.to_owned()),
            None => session.labels.remove(label),
        };
    }
    if let Some(name) = name {
        session.name.clone_from(name);
        paths.push("name");
    }
    if let Some(model) = model {
        options.model.clone_from(model);
        paths.push("options.model");
    }
    if let Some(mode) = permission_mode {
        options.permission_mode.clone_from(mode);
        paths.push("options.permission_mode");
    }
    limits.apply(&mut options);
    if limits.has_idle_timeout() {
        paths.push("options.idle_timeout");
    }
    session.options = Some(options);
    let update_mask = Some(prost_types::FieldMask { paths: paths.into_iter().map(str::to_owned).collect() });
    Ok(UpdateSessionRequest { session: Some(session), update_mask, ..UpdateSessionRequest::default() })
}
