//! Which provider a session gets, and what that one does not apply.

use agent_runtime::proto;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::support::{Server, get, play, reason, scripted};

fn asked(strict: bool) -> proto::CreateSessionRequest {
    let modal = proto::ModalSettings { cpu: 2.0, gpu: "T4".into(), ..Default::default() };
    let sandbox = proto::SandboxSpec { strict, modal: Some(modal), ..Default::default() };
    proto::CreateSessionRequest { agent: "scripted".into(), sandbox: Some(sandbox), ..Default::default() }
}

#[tokio::test]
async fn a_strict_session_has_no_setting_that_does_not_apply() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let refused = sessions.create_session(asked(true)).await.expect_err("local applies nothing of this");
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "SANDBOX_UNSUITABLE"));
    let metadata = refused.get_details_error_info().expect("details").metadata;
    assert_eq!((metadata["provider"].as_str(), metadata["not_applied"].as_str()), ("local", "modal.cpu, modal.gpu"));
    assert!(refused.message().contains("modal.cpu, modal.gpu"), "{refused:?}");

    let created = sessions.create_session(asked(false)).await.expect("created").into_inner().session.expect("one");
    let played = play(&mut sessions, &created.session_id, &serde_json::json!({ "say": "hello" }).to_string()).await;
    let sandbox = played.state.session.expect("a session").sandbox.expect("a sandbox");
    assert_eq!(sandbox.not_applied, ["modal.cpu", "modal.gpu"], "what has no effect is told");
    assert_eq!((sandbox.provider.as_str(), sandbox.expire_time), ("local", None));
    let plain = scripted(&mut sessions).await;
    let plain = get(&mut sessions, &plain.session_id).await;
    assert!(plain.sandbox.is_none_or(|sandbox| sandbox.not_applied.is_empty()));
}

#[tokio::test]
async fn the_default_provider_and_all_others_are_told() {
    let server = Server::start();
    let request = proto::GetRuntimeInfoRequest {};
    let info = server.runtime().await.get_runtime_info(request).await.expect("told").into_inner();
    assert_eq!(info.default_sandbox_provider, "local");
    let names: Vec<&str> = info.sandbox_providers.iter().map(|info| info.provider.as_str()).collect();
    assert_eq!(names, ["local"], "without an account there is no other");
}
