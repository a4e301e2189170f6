//! Somebody else at Modal: calls made by hand, of the same account.

use agent_runtime::modal_wire::{
    ControlClient,
    client::{AuthTokenGetRequest, SandboxTag, SandboxTagsSetRequest},
};
use tonic::{Extensions, Request, metadata::MetadataMap, transport::Endpoint};

use crate::emulator::Emulator;

/// Puts these tags in the place of all that a sandbox has.
pub(crate) async fn tag(emulator: &Emulator, sandbox: &str, tags: &[(&str, &str)]) {
    let mut said = MetadataMap::new();
    let [(_, url), (_, id), (_, secret)] = &emulator.env[..] else { panic!("three variables") };
    for (name, value) in [
        ("x-modal-client-type", "9"),
        ("x-modal-client-version", "1.0.0"),
        ("x-modal-libmodal-version", "agent-runtime/test"),
        ("x-modal-token-id", id),
        ("x-modal-token-secret", secret),
    ] {
        said.insert(name, value.parse().expect("ASCII"));
    }
    let channel = Endpoint::from_shared(url.clone()).expect("a URL").connect().await.expect("a channel");
    let mut control = ControlClient::new(channel);
    let request = Request::from_parts(said.clone(), Extensions::default(), AuthTokenGetRequest {});
    let token = control.auth_token_get(request).await.expect("a token").into_inner().token;
    said.insert("x-modal-auth-token", token.parse().expect("ASCII"));
    let tag = |(name, value): &(&str, &str)| SandboxTag { tag_name: (*name).into(), tag_value: (*value).into() };
    let tags = tags.iter().map(tag).collect();
    let request = SandboxTagsSetRequest { sandbox_id: sandbox.into(), tags, ..Default::default() };
    control.sandbox_tags_set_v2(Request::from_parts(said, Extensions::default(), request)).await.expect("tagged");
}
