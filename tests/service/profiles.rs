//! Profiles, and what the server tells of itself.

use agent_runtime::proto;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::support::{Profiles, Server, fields, reason, run, scripted, stop};

async fn create(profiles: &mut Profiles, name: &str) -> proto::AgentProfile {
    let profile =
        proto::AgentProfile { name: name.into(), description: format!("{name}, for tests"), ..Default::default() };
    let request = proto::CreateProfileRequest { profile: Some(profile), ..Default::default() };
    profiles.create_profile(request).await.expect("created").into_inner().profile.expect("a profile")
}

#[tokio::test]
async fn profiles_are_created_read_and_paged_by_name() {
    let server = Server::start();
    let mut profiles = server.profiles().await;
    let mut made = Vec::new();
    for name in ["delta", "alpha", "charlie", "bravo"] {
        made.push(create(&mut profiles, name).await);
    }
    let delta = &made[0];
    assert_eq!((delta.name.as_str(), delta.description.as_str(), delta.revision), ("delta", "delta, for tests", 1));
    assert!(delta.profile_id.starts_with("prof_") && !delta.etag.is_empty() && delta.create_time.is_some());
    assert_eq!(delta.created_by.as_ref().expect("somebody").subject, "local");
    for revision in [0, 1] {
        let request = proto::GetProfileRequest { profile_id: delta.profile_id.clone(), revision };
        let read = profiles.get_profile(request).await.expect("there").into_inner().profile.expect("a profile");
        assert_eq!(read, *delta);
    }

    let mut names = Vec::new();
    let mut token = String::new();
    loop {
        let request = proto::ListProfilesRequest { page_size: 2, page_token: token };
        let page = profiles.list_profiles(request).await.expect("a page").into_inner();
        assert!(page.profiles.len() <= 2);
        names.extend(page.profiles.into_iter().map(|profile| profile.name));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(names, ["alpha", "bravo", "charlie", "default", "delta"]);
    let request = proto::ListProfilesRequest { page_size: 2, page_token: "x".into() };
    assert_eq!(fields(&profiles.list_profiles(request).await.expect_err("no token")), ["page_token"]);
}

#[tokio::test]
async fn a_profile_or_revision_that_is_not_there_is_not_found() {
    let server = Server::start();
    let mut profiles = server.profiles().await;
    let request = |profile_id: &str, revision| proto::GetProfileRequest { profile_id: profile_id.into(), revision };
    for request in [request("prof_none", 0), request("default", 7)] {
        let refused = profiles.get_profile(request.clone()).await.expect_err("not there");
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::NotFound, "PROFILE_NOT_FOUND"));
        let metadata = refused.get_details_error_info().expect("details").metadata;
        assert_eq!(metadata["profile_id"], request.profile_id);
        assert_eq!(metadata["revision"], request.revision.to_string());
    }
    assert_eq!(fields(&profiles.get_profile(request("default", -1)).await.expect_err("negative")), ["revision"]);
}

#[tokio::test]
async fn the_server_tells_what_it_is() {
    let server = Server::start();
    let (mut runtime, mut sessions) = (server.runtime().await, server.sessions().await);
    let info = runtime.get_runtime_info(proto::GetRuntimeInfoRequest {}).await.expect("told").into_inner();
    assert_eq!(info.version, env!("CARGO_PKG_VERSION"));
    let agents: Vec<&str> = info.agents.iter().map(|agent| agent.agent.as_str()).collect();
    assert_eq!(agents, ["claude-code", "scripted"]);
    assert_eq!(info.agents[0].aliases, ["claude-agent-sdk"]);
    assert_eq!(info.agents[1].unavailable_reason, "");
    assert_eq!(info.default_sandbox_provider, "local");
    assert_eq!(info.sandbox_providers.len(), 1);
    assert_ne!(info.sandbox_providers[0].isolation(), proto::Isolation::Unspecified);
    assert!(info.start_time.is_some());
    assert_eq!((info.active_sessions, info.tenant_id.as_str()), (0, "default"));
    assert_eq!(info.caller.expect("a caller").subject, "local");
    assert_eq!(info.scopes.len(), 4);
    let limits = info.limits.expect("limits");
    assert_eq!((limits.max_inline_block_bytes, limits.max_event_bytes), (256 * 1024, 512 * 1024));

    let id = scripted(&mut sessions).await.session_id;
    run(&mut sessions, &id, "hello").await;
    let info = runtime.get_runtime_info(proto::GetRuntimeInfoRequest {}).await.expect("told").into_inner();
    assert_eq!(info.active_sessions, 1);
    stop(&mut sessions, &id).await;
    let info = runtime.get_runtime_info(proto::GetRuntimeInfoRequest {}).await.expect("told").into_inner();
    assert_eq!(info.active_sessions, 0);
}
