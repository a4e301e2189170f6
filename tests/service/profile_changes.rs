//! Profiles that change and go, and what that means for sessions.

use agent_runtime::proto::{self, AgentProfile};
use tonic::{Code, Status};

use crate::support::{Profiles, Server, fields, reason, run};

pub(crate) async fn create(profiles: &mut Profiles, profile: AgentProfile) -> AgentProfile {
    let request = proto::CreateProfileRequest { profile: Some(profile), ..Default::default() };
    profiles.create_profile(request).await.expect("created").into_inner().profile.expect("a profile")
}

pub(crate) async fn update(
    profiles: &mut Profiles,
    profile: AgentProfile,
    mask: &[&str],
) -> Result<AgentProfile, Status> {
    let paths = mask.iter().map(|path| (*path).to_owned()).collect();
    let update_mask = Some(prost_types::FieldMask { paths });
    let request = proto::UpdateProfileRequest { profile: Some(profile), update_mask, ..Default::default() };
    Ok(profiles.update_profile(request).await?.into_inner().profile.expect("a profile"))
}

pub(crate) async fn get(profiles: &mut Profiles, id: &str, revision: i64) -> Result<AgentProfile, Status> {
    let request = proto::GetProfileRequest { profile_id: id.into(), revision };
    Ok(profiles.get_profile(request).await?.into_inner().profile.expect("a profile"))
}

async fn delete(profiles: &mut Profiles, id: &str, etag: &str) -> Result<(), Status> {
    let request = proto::DeleteProfileRequest { profile_id: id.into(), etag: etag.into(), request_id: String::new() };
    profiles.delete_profile(request).await.map(drop)
}

fn named(name: &str) -> AgentProfile {
    AgentProfile { name: name.into(), agent: "scripted".into(), ..Default::default() }
}

async fn session(server: &Server, profile_id: &str) -> Result<proto::Session, Status> {
    // The profiles' own agent, which plays scripts, takes no prompt; nothing is started here.
    let (profile_id, agent) = (profile_id.into(), "claude-code".into());
    let request = proto::CreateSessionRequest { profile_id, agent, ..Default::default() };
    Ok(server.sessions().await.create_session(request).await?.into_inner().session.expect("a session"))
}

fn refused(status: &Status) -> (Code, String) {
    (status.code(), reason(status))
}

#[tokio::test]
async fn an_update_makes_a_revision_and_leaves_the_others_as_they_are() {
    let server = Server::start();
    let mut profiles = server.profiles().await;
    let first = create(&mut profiles, AgentProfile { system_prompt: "one".into(), ..named("p") }).await;
    let id = first.profile_id.clone();
    let pinned = session(&server, &id).await.expect("created");
    assert_eq!((pinned.profile_id.as_str(), pinned.profile_revision), (id.as_str(), 1));

    let change = AgentProfile { profile_id: id.clone(), system_prompt: "two".into(), ..Default::default() };
    let second = update(&mut profiles, change.clone(), &["systemPrompt"]).await.expect("changed");
    assert_eq!((second.revision, second.system_prompt.as_str()), (2, "two"));
    assert_eq!((second.name.as_str(), second.agent.as_str()), ("p", "scripted"), "what is not named stays");
    assert_ne!(second.etag, first.etag);
    assert_eq!(second.create_time, first.create_time);
    assert!(
        second.update_time.map(|time| (time.seconds, time.nanos)) > first.update_time.map(|t| (t.seconds, t.nanos))
    );
    assert_eq!(get(&mut profiles, &id, 1).await.expect("there"), first, "revisions do not change");
    assert_eq!(get(&mut profiles, &id, 2).await.expect("there"), second);
    assert_eq!(get(&mut profiles, &id, 0).await.expect("there"), second);
    assert_eq!(session(&server, &id).await.expect("created").profile_revision, 2);
    let mut sessions = server.sessions().await;
    assert_eq!(crate::support::get(&mut sessions, &pinned.session_id).await.profile_revision, 1);

    // The same again changes nothing, and what is named and not said is cleared.
    assert_eq!(update(&mut profiles, change.clone(), &["system_prompt"]).await.expect("as it is"), second);
    let cleared = AgentProfile { profile_id: id.clone(), ..Default::default() };
    let third = update(&mut profiles, cleared, &["system_prompt", "agent"]).await.expect("changed");
    assert_eq!((third.revision, third.system_prompt.as_str(), third.agent.as_str()), (3, "", ""));
    let listed = profiles.list_profiles(proto::ListProfilesRequest::default()).await.expect("a list").into_inner();
    let shown: Vec<(&str, i64)> =
        listed.profiles.iter().map(|profile| (profile.name.as_str(), profile.revision)).collect();
    assert_eq!(shown, [("default", 1), ("p", 3)]);

    let other = AgentProfile { profile_id: "prof_none".into(), ..change };
    let missing = update(&mut profiles, other, &["system_prompt"]).await.expect_err("not there");
    assert_eq!(refused(&missing), (Code::NotFound, "PROFILE_NOT_FOUND".into()));
}

#[tokio::test]
async fn a_lost_update_is_refused_to_those_who_say_what_they_read() {
    let server = Server::start();
    let mut profiles = server.profiles().await;
    let first = create(&mut profiles, named("p")).await;
    let change = |description: &str, etag: &str| AgentProfile {
        profile_id: first.profile_id.clone(),
        description: description.into(),
        etag: etag.into(),
        ..Default::default()
    };
    let second = update(&mut profiles, change("two", &first.etag), &["description"]).await.expect("changed");
    let lost = update(&mut profiles, change("three", &first.etag), &["description"]).await.expect_err("stale");
    assert_eq!(refused(&lost), (Code::Aborted, "ETAG_MISMATCH".into()));
    let lost = delete(&mut profiles, &first.profile_id, &first.etag).await.expect_err("stale");
    assert_eq!(refused(&lost), (Code::Aborted, "ETAG_MISMATCH".into()));

    // Of many who read the same one is first.
    let calls = (0..8).map(|at| {
        let mut profiles = profiles.clone();
        let change = change(&format!("by {at}"), &second.etag);
        async move { update(&mut profiles, change, &["description"]).await }
    });
    let outcomes = futures::future::join_all(calls).await;
    let (won, lost): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 7));
    for lost in lost {
        assert_eq!(refused(&lost.expect_err("lost")), (Code::Aborted, "ETAG_MISMATCH".into()));
    }

    // Without an etag each changes what the others made.
    let fields = ["system_prompt", "memory_file", "description"];
    let calls = fields.map(|field| {
        let mut profiles = profiles.clone();
        let text = || field.to_owned();
        let change = AgentProfile { system_prompt: text(), memory_file: text(), ..change(field, "") };
        async move { update(&mut profiles, change, &[field]).await.expect("changed") }
    });
    futures::future::join_all(calls).await;
    let newest = get(&mut profiles, &first.profile_id, 0).await.expect("there");
    let texts = [newest.system_prompt.as_str(), newest.memory_file.as_str(), newest.description.as_str()];
    assert_eq!((texts, newest.revision), (fields, 6));
}

#[tokio::test]
async fn a_deleted_profile_is_unusable_but_for_the_sessions_that_have_it() {
    let server = Server::start();
    let mut profiles = server.profiles().await;
    let profile = create(&mut profiles, AgentProfile { description: "d".into(), ..named("p") }).await;
    let id = profile.profile_id.clone();
    let pinned = session(&server, &id).await.expect("created").session_id;
    delete(&mut profiles, &id, &profile.etag).await.expect("deleted");

    let not_found = |status: Status| assert_eq!(refused(&status), (Code::NotFound, "PROFILE_NOT_FOUND".into()));
    not_found(session(&server, &id).await.expect_err("unusable"));
    not_found(get(&mut profiles, &id, 0).await.expect_err("gone"));
    not_found(delete(&mut profiles, &id, "").await.expect_err("gone"));
    let change = AgentProfile { profile_id: id.clone(), ..named("again") };
    not_found(update(&mut profiles, change, &["name"]).await.expect_err("gone"));
    let listed = profiles.list_profiles(proto::ListProfilesRequest::default()).await.expect("a list").into_inner();
    assert_eq!(listed.profiles.len(), 1);
    assert_eq!(listed.profiles[0].profile_id, "default");
    assert_ne!(create(&mut profiles, named("p")).await.profile_id, id, "the name is free");

    // The session's revision is there as long as the session is.
    assert_eq!(get(&mut profiles, &id, 1).await.expect("pinned"), profile);
    let mut sessions = server.sessions().await;
    assert!(!run(&mut sessions, &pinned, "still here").await.is_empty());

    let refusal = delete(&mut profiles, "default", "").await.expect_err("it always exists");
    assert_eq!((refusal.code(), fields(&refusal)), (Code::InvalidArgument, vec!["profile_id".into()]));
    let unneeded = create(&mut profiles, named("q")).await.profile_id;
    delete(&mut profiles, &unneeded, "").await.expect("deleted");
    not_found(get(&mut profiles, &unneeded, 1).await.expect_err("nobody needs it"));
}

#[tokio::test]
async fn folders_of_the_server_are_only_those_below_its_roots() {
    let (root, elsewhere) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    std::fs::create_dir(root.path().join("server")).expect("made");
    let allowed = root.path().join("server");
    let server = Server::start_with(&["--workspace-root", root.path().to_str().expect("text")], &[]);
    let mut profiles = server.profiles().await;
    let with = |path: &std::path::Path| {
        let bundle = proto::McpBundle {
            project_path: path.to_str().expect("text").into(),
            start_command: "node a.js".into(),
            ..Default::default()
        };
        let transport = Some(proto::mcp_server::Transport::Bundle(bundle));
        AgentProfile {
            mcp_servers: vec![proto::McpServer { name: "a".into(), transport, ..Default::default() }],
            ..named("p")
        }
    };
    let created = create(&mut profiles, with(&allowed)).await;
    for path in [elsewhere.path().to_owned(), root.path().join("none")] {
        let request = proto::CreateProfileRequest { profile: Some(with(&path)), ..Default::default() };
        let refusal = profiles.create_profile(request).await.expect_err("outside");
        assert_eq!(fields(&refusal), ["profile.mcp_servers[0].bundle.project_path"]);
        let change = AgentProfile { profile_id: created.profile_id.clone(), ..with(&path) };
        let refusal = update(&mut profiles, change, &["mcp_servers"]).await.expect_err("outside");
        assert_eq!(fields(&refusal), ["profile.mcp_servers[0].bundle.project_path"]);
    }
}
