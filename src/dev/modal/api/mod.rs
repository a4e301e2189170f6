//! Modal's calls, on one port: who may make them, and what they come to. Each handler reads a request, asks the world once,
//! and answers.

use std::{net::SocketAddr, sync::Arc};

use axum::{Router, middleware};
use tonic::{metadata::MetadataMap, service::Routes};

use super::{admin, error::Error, faults, world::World};
use crate::modal_wire::{ControlServer, MESSAGE_LIMIT, RouterServer};

mod control;
mod images;
mod listing;
mod making;
mod router;
mod sandboxes;
mod streams;

/// Where the router is found by those who reach this.
#[derive(Clone, Debug)]
pub(super) enum Found {
    /// On this address in clear text, whatever it is called for whom.
    Plain(SocketAddr),
    /// At this URL.
    At(String),
}

/// Everything that is served.
pub(super) fn router(world: &Arc<World>, found: Found) -> Router {
    let control = ControlServer::new(control::Service { world: Arc::clone(world), found });
    let router = RouterServer::new(router::Service { world: Arc::clone(world) });
    Routes::new(control.max_decoding_message_size(MESSAGE_LIMIT).max_encoding_message_size(MESSAGE_LIMIT))
        .add_service(router.max_decoding_message_size(MESSAGE_LIMIT).max_encoding_message_size(MESSAGE_LIMIT))
        .into_axum_router()
        .layer(middleware::from_fn_with_state(Arc::clone(world), faults::inject))
        .merge(admin::router(Arc::clone(world)))
}

/// The subject of tokens for the account.
const ACCOUNT: &str = "account";

/// What a call to the control plane must bring beside the account's token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    /// Nothing.
    Token,
    /// The token that `AuthTokenGet` gives, as well.
    AuthToken,
}

/// Checks who calls the control plane, and tells the scheme of the router's address for them: the official clients dial
/// loopback without encryption, but one of them only takes `https`.
fn caller(world: &World, metadata: &MetadataMap, needs: Needs) -> Result<&'static str, Error> {
    let text = |name: &str| metadata.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind: u32 = text("x-modal-client-type").parse().unwrap_or_default();
    if !(1..=9).contains(&kind) || text("x-modal-client-version").is_empty() {
        return Err(Error::State("Old client: x-modal-client-type and x-modal-client-version are missing".to_owned()));
    }
    let options = &world.options;
    if text("x-modal-token-id") != options.token_id || text("x-modal-token-secret") != options.token_secret {
        return Err(Error::Unauthenticated("the token id or secret is not the account's".to_owned()));
    }
    match needs {
        Needs::Token => {}
        Needs::AuthToken => world
            .tokens
            .check(text("x-modal-auth-token"), ACCOUNT)
            .map_err(|invalid| Error::Unauthenticated(format!("x-modal-auth-token: {invalid}")))?,
    }
    Ok(if matches!(kind, 8 | 9) { "https" } else { "http" })
}

/// Checks who calls the router: the bearer of a token for this task.
fn bearer(world: &World, metadata: &MetadataMap, task: &str) -> Result<(), Error> {
    let header = metadata.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let token = header.strip_prefix("Bearer ").unwrap_or_default();
    world.tokens.check(token, task).map_err(|invalid| Error::Unauthenticated(format!("authorization: {invalid}")))
}
