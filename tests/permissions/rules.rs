//! Standing answers: left by an "always", asked of nobody, taken back, and what they never cover.

use agent_runtime::proto::{
    self, InputOutcome, PermissionEffect, PermissionRule, PrincipalKind, SessionStatus, TurnStatus, session_event::Kind,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tonic::Code;

use crate::{
    asked::{Asked, requested, status, text_of},
    support::{Server, Sessions, check_ranges, fold, reason, snapshot},
};

/// A step that asks for a shell command, and says what came of it.
pub(crate) fn shell(command: &str) -> Value {
    json!({
        "ask": { "tool": "Bash", "input": { "command": command } },
        "then": [{ "say": "It ran." }],
        "else": [{ "say": "It did not run." }],
    })
}

pub(crate) async fn rules(sessions: &mut Sessions, id: &str) -> Vec<PermissionRule> {
    let request = proto::ListPermissionRulesRequest { session_id: id.into() };
    sessions.list_permission_rules(request).await.expect("listed").into_inner().rules
}

/// Answers with an "always", and returns the rule it left.
pub(crate) async fn always(sessions: &mut Sessions, asked: &Asked, option_id: &str) -> PermissionRule {
    let answered = sessions.resolve_permission(asked.answer(option_id)).await.expect("answered").into_inner();
    let rule = answered.rule.expect("a rule");
    let resolution = answered.permission.expect("a permission").resolution.expect("a resolution");
    assert_eq!((resolution.option_id.as_str(), &resolution.rule_id), (option_id, &rule.rule_id));
    rule
}

/// The requests that nobody was asked about: how they ended.
pub(crate) fn ruled(asked: &Asked) -> Vec<proto::InputResolution> {
    asked.events.iter().filter_map(requested).filter_map(|request| request.resolution).collect()
}

#[tokio::test]
async fn an_always_answer_leaves_a_rule_that_answers_the_next_call() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    for (option_id, effect) in [("allow_always", PermissionEffect::Allow), ("reject_always", PermissionEffect::Reject)]
    {
        let mut asked = Asked::by(&mut sessions, &json!([shell("ls -l"), shell("ls -l")])).await;
        let offered: Vec<_> = asked.permission.options.iter().filter_map(|option| option.rule.as_ref()).collect();
        assert_eq!(offered.len(), 2);
        assert!(offered.iter().all(|rule| (&*rule.tool_name, &*rule.pattern, &*rule.rule_id) == ("Bash", "ls -l", "")));
        assert_eq!(asked.permission.options[1].name, "Always allow Bash(ls -l)");
        let rule = always(&mut sessions, &asked, option_id).await;
        assert!(rule.rule_id.starts_with("rule_"));
        assert_eq!((&*rule.tool_name, &*rule.pattern, rule.effect()), ("Bash", "ls -l", effect));
        assert_eq!(rule.created_by.as_ref().expect("somebody").subject, "local");
        assert_eq!(asked.end().await.status(), TurnStatus::Completed);
        assert_eq!(rules(&mut sessions, &asked.id).await, std::slice::from_ref(&rule));

        let said = if effect == PermissionEffect::Allow { "It ran." } else { "It did not run." };
        assert_eq!(asked.said(), [said, said]);
        // It is in the log all the same, as answered by the rule, and nobody was waited for.
        let [resolution] = &ruled(&asked)[..] else { panic!("{:?}", ruled(&asked)) };
        assert_eq!((&resolution.rule_id, resolution.effect()), (&rule.rule_id, effect));
        assert_eq!(resolution.resolved_by.as_ref().expect("somebody").kind(), PrincipalKind::System);
        let expected = if effect == PermissionEffect::Allow { InputOutcome::Allowed } else { InputOutcome::Rejected };
        assert_eq!(resolution.outcome(), expected);
        let waits = asked.events.iter().filter(|event| status(event) == Some(SessionStatus::AwaitingInput));
        assert_eq!(waits.count(), 1);
        let ends = asked.events.iter().filter_map(crate::asked::resolved).count();
        assert_eq!(ends, 2);
        check_ranges(0, &asked.events);
        let (state, _) = snapshot(&mut sessions, &asked.id).await;
        assert_eq!(state.permission_rules, [rule]);
        assert_eq!(fold(&asked.events).permissions, state.permissions);
        if effect == PermissionEffect::Reject {
            assert_eq!(text_of(&asked.results()[1]), "a rule rejects Bash(ls -l)");
        }
    }
}

#[tokio::test]
async fn a_rule_that_is_deleted_answers_nothing() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let mut asked = Asked::by(&mut sessions, &json!([shell("ls")])).await;
    let rule = always(&mut sessions, &asked, "allow_always").await;
    asked.end().await;
    let request = |rule_id: &str, request_id: &str| proto::DeletePermissionRuleRequest {
        session_id: asked.id.clone(),
        rule_id: rule_id.into(),
        request_id: request_id.into(),
    };
    let (delete, none) = (request(&rule.rule_id, "once"), request("rule_none", ""));
    sessions.delete_permission_rule(delete.clone()).await.expect("deleted");
    sessions.delete_permission_rule(delete).await.expect("the same call");
    for again in [request(&rule.rule_id, ""), none] {
        let refused = sessions.delete_permission_rule(again).await.expect_err("gone");
        assert_eq!((refused.code(), reason(&refused)), (Code::NotFound, "PERMISSION_RULE_NOT_FOUND".into()));
    }
    assert_eq!(rules(&mut sessions, &asked.id).await, []);
    let text = json!([shell("ls")]).to_string();
    asked.turn = crate::support::send(&mut sessions, &asked.id, &text).await.expect("accepted").0;
    asked.again().await;
    assert!(asked.permission.resolution.is_none(), "somebody is asked");
    crate::asked::resolve(&mut sessions, asked.reject("")).await.expect("answered");
    assert_eq!(asked.end().await.status(), TurnStatus::Completed);
    let changes = asked.events.iter().filter_map(|event| match &event.kind {
        Some(Kind::PermissionRulesChanged(changed)) => Some(changed.rules.len()),
        _ => None,
    });
    assert_eq!(changes.collect::<Vec<_>>(), [1, 0], "each event has all of them");
}

#[tokio::test]
async fn rules_of_a_session_that_is_none_are_not_there() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let list = proto::ListPermissionRulesRequest { session_id: "ses_none".into() };
    assert_eq!(reason(&sessions.list_permission_rules(list).await.expect_err("none")), "SESSION_NOT_FOUND");
    let delete =
        proto::DeletePermissionRuleRequest { session_id: "ses_none".into(), rule_id: "r".into(), ..Default::default() };
    assert_eq!(reason(&sessions.delete_permission_rule(delete).await.expect_err("none")), "SESSION_NOT_FOUND");
}

#[tokio::test]
async fn a_rule_survives_the_server_and_its_agent() {
    let data = TempDir::new().expect("a folder");
    let server = Server::start_on(data.path(), &[]);
    let mut asked = Asked::by(&mut server.sessions().await, &json!([shell("ls")])).await;
    let rule = always(&mut server.sessions().await, &asked, "allow_always").await;
    asked.end().await;
    crate::support::stop(&mut server.sessions().await, &asked.id).await;
    drop(server.kill());
    let server = Server::start_on(data.path(), &[]);
    let mut sessions = server.sessions().await;
    assert_eq!(rules(&mut sessions, &asked.id).await, [rule]);
    asked.watch_again(&mut sessions).await;
    let text = json!([shell("ls")]).to_string();
    assert_eq!(asked.next(&mut sessions, &text).await.status(), TurnStatus::Completed);
    assert_eq!(asked.said(), ["It ran.", "It ran."]);
    assert_eq!(ruled(&asked).len(), 1);
}

#[tokio::test]
async fn a_rule_covers_no_more_than_it_says() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let mut asked = Asked::by(&mut sessions, &json!([shell("ls"), shell("ls && rm -rf /"), shell("ls -l")])).await;
    always(&mut sessions, &asked, "allow_always").await;
    for command in ["ls && rm -rf /", "ls -l"] {
        asked.again().await;
        let input: Value = serde_json::from_str(&asked.permission.input_json).expect("JSON");
        assert_eq!(input["command"], command);
        assert!(asked.permission.resolution.is_none(), "{command} is asked about");
        crate::asked::resolve(&mut sessions, asked.reject("no")).await.expect("answered");
    }
    assert_eq!(asked.end().await.status(), TurnStatus::Completed);
    assert_eq!(asked.said(), ["It ran.", "It did not run.", "It did not run."]);
}

#[tokio::test]
async fn rules_stand_in_the_order_they_were_made() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let both = json!([shell("b"), shell("a"), { "run": "true" }, shell("b")]);
    let mut asked = Asked::by(&mut sessions, &both).await;
    let first = always(&mut sessions, &asked, "reject_always").await;
    asked.again().await;
    let second = always(&mut sessions, &asked, "allow_always").await;
    asked.end().await;
    assert_eq!(rules(&mut sessions, &asked.id).await, [first, second], "oldest first");
    assert_eq!(asked.said(), ["It did not run.", "It ran.", "It did not run."]);
}

#[tokio::test]
async fn a_session_has_room_for_so_many_rules() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let script: Vec<_> = (0..257).map(|at| shell(&format!("run {at}"))).collect();
    let mut asked = Asked::by(&mut sessions, &json!(script)).await;
    for at in 0..256 {
        if at > 0 {
            asked.again().await;
        }
        always(&mut sessions, &asked, "allow_always").await;
    }
    asked.again().await;
    let offered: Vec<_> = asked.permission.options.iter().map(|option| option.option_id.as_str()).collect();
    assert_eq!(offered, ["allow_once", "reject_once"], "there is no room for another");
    crate::asked::resolve(&mut sessions, asked.allow()).await.expect("answered");
    assert_eq!(asked.end().await.status(), TurnStatus::Completed);
    assert_eq!(rules(&mut sessions, &asked.id).await.len(), 256);
}
