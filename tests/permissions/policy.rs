//! What a profile says about asking, in force: its rules, what no rule matches, and what silence means.

use agent_runtime::proto::{self, InputOutcome, PermissionEffect, TurnStatus};
use serde_json::json;

use crate::{
    asked::{Asked, text_of},
    rules::{always, ruled, shell},
    support::{Server, Sessions},
};

/// A new session of a new profile with this policy.
pub(crate) async fn session_of(
    server: &Server,
    sessions: &mut Sessions,
    agent: &str,
    policy: proto::PermissionPolicy,
) -> proto::Session {
    let profile = proto::AgentProfile {
        name: "strict".into(),
        permission_policy: Some(policy.clone()),
        ..proto::AgentProfile::default()
    };
    let request = proto::CreateProfileRequest { profile: Some(profile), ..Default::default() };
    let made = server.profiles().await.create_profile(request).await.expect("created").into_inner();
    let made = made.profile.expect("a profile");
    let mut kept = made.permission_policy.expect("kept");
    for (rule, said) in kept.rules.iter_mut().zip(&policy.rules) {
        if said.rule_id.is_empty() {
            rule.rule_id.clear();
        }
    }
    assert_eq!(kept, policy, "it comes back as it was");
    let profile_id = made.profile_id;
    let request = proto::CreateSessionRequest { agent: agent.into(), profile_id, ..Default::default() };
    sessions.create_session(request).await.expect("created").into_inner().session.expect("a session")
}

pub(crate) fn rule(tool_name: &str, pattern: &str, effect: PermissionEffect) -> proto::PermissionRule {
    let (tool_name, pattern) = (tool_name.into(), pattern.into());
    proto::PermissionRule { tool_name, pattern, effect: effect.into(), ..Default::default() }
}

#[tokio::test]
async fn what_no_rule_matches_is_as_the_profile_says() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let effects = [(PermissionEffect::Allow, "It ran."), (PermissionEffect::Reject, "It did not run.")];
    for (effect, said) in effects {
        let policy = proto::PermissionPolicy { default_effect: effect.into(), ..Default::default() };
        let id = session_of(&server, &mut sessions, "scripted", policy).await.session_id;
        let mut asked = Asked::given(&mut sessions, id, &json!([shell("ls")]).to_string()).await;
        assert_eq!(asked.end().await.status(), TurnStatus::Completed);
        assert_eq!(asked.said(), [said]);
        let [resolution] = &ruled(&asked)[..] else { panic!("{:?}", ruled(&asked)) };
        assert_eq!((resolution.effect(), resolution.rule_id.as_str()), (effect, ""), "no rule did");
        if effect == PermissionEffect::Reject {
            assert_eq!(text_of(&asked.results()[0]), "the profile's policy rejects what no rule allows");
        }
    }
    let policy = proto::PermissionPolicy { default_effect: PermissionEffect::Ask.into(), ..Default::default() };
    let id = session_of(&server, &mut sessions, "scripted", policy).await.session_id;
    let asked = Asked::of(&mut sessions, id, &json!([shell("ls")]).to_string()).await;
    assert!(asked.permission.resolution.is_none(), "somebody is asked");
}

#[tokio::test]
async fn rules_of_the_profile_come_after_those_of_the_session() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let policy = proto::PermissionPolicy {
        default_effect: PermissionEffect::Ask.into(),
        rules: vec![
            rule("Bash", "", PermissionEffect::Reject),
            proto::PermissionRule { rule_id: "rule_ls".into(), ..rule("Bash", "ls:*", PermissionEffect::Allow) },
            rule("Bash", "make *", PermissionEffect::Ask),
        ],
        ..Default::default()
    };
    let id = session_of(&server, &mut sessions, "scripted", policy).await.session_id;
    let script = json!([shell("cat a"), shell("ls -l"), shell("ls -l; cat a"), shell("make x"), shell("make x")]);
    let mut asked = Asked::given(&mut sessions, id, &script.to_string()).await;
    asked.until(|event| crate::asked::status(event) == Some(proto::SessionStatus::AwaitingInput)).await;
    let open = asked.events.iter().filter_map(crate::asked::requested).last().expect("one");
    assert_eq!(open.input_json, r#"{"command":"make x"}"#);
    asked.permission = open;
    always(&mut sessions, &asked, "reject_always").await;
    assert_eq!(asked.end().await.status(), TurnStatus::Completed);
    let (ran, did_not) = ("It ran.", "It did not run.");
    assert_eq!(asked.said(), [did_not, ran, did_not, did_not, did_not]);
    let by: Vec<_> = ruled(&asked).into_iter().map(|resolution| resolution.rule_id).collect();
    assert_eq!(by.len(), 4);
    assert!(by[0].starts_with("rule_") && by[0] == by[2], "{by:?}");
    assert_eq!(by[1], "rule_ls");
    assert!(!by[3].is_empty() && by[3] != by[0], "the session's own rule: {by:?}");
}

#[tokio::test]
async fn silence_means_what_the_profile_says() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    for (effect, taken, said) in [
        (PermissionEffect::Allow, PermissionEffect::Allow, "It ran."),
        (PermissionEffect::Reject, PermissionEffect::Reject, "It did not run."),
        (PermissionEffect::Unspecified, PermissionEffect::Reject, "It did not run."),
    ] {
        let policy = proto::PermissionPolicy {
            ask_timeout: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
            timeout_effect: effect.into(),
            ..Default::default()
        };
        let id = session_of(&server, &mut sessions, "scripted", policy).await.session_id;
        let mut asked = Asked::of(&mut sessions, id, &json!([shell("ls")]).to_string()).await;
        let seconds = |time: &Option<prost_types::Timestamp>| time.as_ref().expect("set").seconds;
        let open = seconds(&asked.permission.expire_time) - seconds(&asked.permission.create_time);
        assert!((0..=2).contains(&open), "{open}");
        assert_eq!(asked.end().await.status(), TurnStatus::Completed);
        assert_eq!(asked.said(), [said]);
        let resolution = asked.resolution();
        assert_eq!((resolution.outcome(), resolution.effect()), (InputOutcome::Expired, taken));
    }
}
