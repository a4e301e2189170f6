//! When an agent asks at all.

use agent_runtime::proto;

use crate::support::{Server, Sessions, fields, get, reason};

async fn create(
    sessions: &mut Sessions,
    agent: &str,
    mode: &str,
) -> Result<proto::CreateSessionResponse, tonic::Status> {
    let options = proto::SessionOptions { permission_mode: mode.into(), ..Default::default() };
    let request = proto::CreateSessionRequest { agent: agent.into(), options: Some(options), ..Default::default() };
    sessions.create_session(request).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn a_mode_is_one_of_the_agents() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let info = server.runtime().await.get_runtime_info(proto::GetRuntimeInfoRequest {}).await.expect("told");
    for agent in info.into_inner().agents {
        assert!(agent.permission_modes.contains(&"default".to_owned()), "{agent:?}");
        for mode in &agent.permission_modes {
            let created = create(&mut sessions, &agent.agent, mode).await.expect("taken").session.expect("a session");
            let kept = get(&mut sessions, &created.session_id).await.options.expect("options").permission_mode;
            assert_eq!(kept, *mode);
        }
        for mode in ["bypass", "Default", "-x"] {
            let refused = create(&mut sessions, &agent.agent, mode).await.expect_err(mode);
            assert_eq!(reason(&refused), "INVALID_FIELD");
            assert_eq!(fields(&refused), ["options.permission_mode"]);
            assert!(refused.message().contains("default"), "{}", refused.message());
        }
    }
    // Where no agent is named the mode is one of the server's own.
    create(&mut sessions, "", "plan").await.expect("Claude Code is the default agent");
    assert_eq!(reason(&create(&mut sessions, "scripted", "plan").await.expect_err("none")), "INVALID_FIELD");
}
