//! Answers: allowed, rejected, edited; by whom, how often, and by several at once.

use agent_runtime::proto::{
    self, ErrorReason, ExecutionStatus, InputOutcome, SessionStatus, TurnStatus, block::Content,
};
use serde_json::json;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::{
    asked::{Asked, ask, json_of, resolve, text_of, turn_status},
    support::{Server, check_ranges, fields, get, reason, snapshot},
};

#[tokio::test]
async fn a_tool_that_is_allowed_runs() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let mut asked = Asked::by(&mut sessions, &json!([{ "say": "May I?" }, ask(), { "say": "Done." }])).await;

    let open = &asked.permission;
    assert!(open.permission_id.starts_with("perm_"), "{open:?}");
    assert_eq!((open.tool_name.as_str(), open.conversation_id.as_str()), ("Bash", "main"));
    assert_eq!(open.turn_id, asked.turn.turn_id);
    assert_eq!(open.input_json, r#"{"command":"ls","timeout":5}"#);
    let kinds: Vec<_> = open.options.iter().map(|option| (option.option_id.as_str(), option.kind())).collect();
    let expected = [
        ("allow_once", proto::PermissionOptionKind::AllowOnce),
        ("allow_always", proto::PermissionOptionKind::AllowAlways),
        ("reject_once", proto::PermissionOptionKind::RejectOnce),
        ("reject_always", proto::PermissionOptionKind::RejectAlways),
    ];
    assert_eq!(kinds, expected);
    let day = open.expire_time.as_ref().expect("a deadline").seconds - open.create_time.as_ref().expect("set").seconds;
    assert!((86_399..=86_401).contains(&day), "{day}");

    // Whoever looks now sees that it waits, and with what.
    let request = proto::GetSessionRequest { session_id: asked.id.clone() };
    let shown = sessions.get_session(request).await.expect("there").into_inner();
    assert_eq!(shown.open_permissions, std::slice::from_ref(open));
    let session = shown.session.expect("a session");
    assert_eq!(session.status(), SessionStatus::AwaitingInput);
    assert_eq!(session.active_turn.expect("active").status(), TurnStatus::AwaitingInput);
    let list = proto::ListSessionsRequest { status: SessionStatus::AwaitingInput.into(), ..Default::default() };
    let listed = sessions.list_sessions(list).await.expect("a page").into_inner().sessions;
    assert_eq!(listed.iter().map(|session| &session.session_id).collect::<Vec<_>>(), [&asked.id]);
    let (state, _) = snapshot(&mut sessions, &asked.id).await;
    assert_eq!(state.permissions, std::slice::from_ref(open));
    let call = state.blocks.iter().find(|block| block.block_id == open.tool_use_id).expect("the call");
    let Some(Content::ToolUse(tool)) = &call.content else { panic!("{call:?}") };
    assert_eq!(tool.status(), ExecutionStatus::Pending, "it waits");

    let answered = resolve(&mut sessions, asked.allow()).await.expect("answered");
    let resolution = answered.resolution.clone().expect("a resolution");
    assert_eq!((resolution.outcome(), resolution.option_id.as_str()), (InputOutcome::Allowed, "allow_once"));
    assert_eq!(resolution.resolved_by.as_ref().expect("somebody").subject, "local");
    assert_eq!(asked.end().await.status(), TurnStatus::Completed);
    assert_eq!(asked.resolution(), resolution);
    assert_eq!(asked.said(), ["May I?", "It ran.", "Done."]);
    assert_eq!(json_of(&asked.results()[0]), json!({ "command": "ls", "timeout": 5 }));
    let statuses: Vec<_> = asked.events.iter().filter_map(turn_status).collect();
    assert_eq!(
        statuses,
        [
            TurnStatus::Running,
            TurnStatus::Running,
            TurnStatus::AwaitingInput,
            TurnStatus::Running,
            TurnStatus::Completed
        ]
    );
    check_ranges(0, &asked.events);
    let (state, _) = snapshot(&mut sessions, &asked.id).await;
    assert_eq!(state.permissions, [answered]);
    assert_eq!(state.session.expect("a session").status(), SessionStatus::Idle);
}

#[tokio::test]
async fn a_rejection_tells_the_agent_why() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let mut asked = Asked::by(&mut sessions, &json!([ask()])).await;
    let answered = resolve(&mut sessions, asked.reject("not \"today\"\n")).await.expect("answered");
    assert_eq!(answered.resolution.expect("a resolution").message, "not \"today\"\n");
    assert_eq!(asked.end().await.status(), TurnStatus::Completed, "a rejection is no failure of the turn");
    assert_eq!(asked.outcome(), InputOutcome::Rejected);
    assert_eq!(asked.said(), ["It did not run."]);
    let result = &asked.results()[0];
    assert_eq!((text_of(result).as_str(), result.is_error), ("not \"today\"\n", true));
}

#[tokio::test]
async fn an_edited_input_is_what_the_tool_gets() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let mut asked = Asked::by(&mut sessions, &json!([ask()])).await;
    let edited = r#"{ "command": "ls -l", "quote": "\"é\"" }"#;
    let request = proto::ResolvePermissionRequest { updated_input_json: edited.into(), ..asked.allow() };
    resolve(&mut sessions, request).await.expect("answered");
    assert_eq!(asked.end().await.status(), TurnStatus::Completed);
    assert_eq!(json_of(&asked.results()[0]), json!({ "command": "ls -l", "quote": "\"é\"" }));
    let resolution = asked.resolution();
    assert_eq!((resolution.outcome(), resolution.updated_input_json.as_str()), (InputOutcome::Allowed, edited));
}

#[tokio::test]
async fn several_requests_are_answered_one_after_the_other() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let mut asked = Asked::by(&mut sessions, &json!([{ "repeat": 5, "steps": [ask()] }])).await;
    for at in 0..5 {
        if at > 0 {
            asked.again().await;
        }
        let request = if at % 2 == 0 { asked.allow() } else { asked.reject("odd") };
        resolve(&mut sessions, request).await.expect("answered");
    }
    assert_eq!(asked.end().await.status(), TurnStatus::Completed);
    let (ran, did_not) = ("It ran.", "It did not run.");
    assert_eq!(asked.said(), [ran, did_not, ran, did_not, ran]);
}

#[tokio::test]
async fn of_several_who_answer_at_once_the_first_wins_and_the_others_are_told_who() {
    let server = Server::start();
    let sessions = server.sessions().await;
    for round in 0..10 {
        let mut asked = Asked::by(&mut sessions.clone(), &json!([ask()])).await;
        let answers = (0..8).map(|at| {
            let mut sessions = sessions.clone();
            let request = if (at + round) % 2 == 0 { asked.allow() } else { asked.reject("no") };
            async move { resolve(&mut sessions, request).await }
        });
        let (won, lost): (Vec<_>, Vec<_>) =
            futures::future::join_all(answers).await.into_iter().partition(Result::is_ok);
        assert_eq!((won.len(), lost.len()), (1, 7), "{lost:?}");
        let winner = won[0].as_ref().expect("won").resolution.clone().expect("a resolution");
        for refused in lost {
            let refused = refused.expect_err("lost");
            assert_eq!((refused.code(), reason(&refused)), (Code::FailedPrecondition, "ALREADY_RESOLVED".into()));
            let told = refused.get_details_error_info().expect("told").metadata;
            assert_eq!(told["permission_id"], asked.permission.permission_id);
            assert_eq!(told["outcome"], winner.outcome().as_str_name());
            assert_eq!((told["option_id"].as_str(), told["resolved_by"].as_str()), (&*winner.option_id, "local"));
        }
        assert_eq!(asked.end().await.status(), TurnStatus::Completed);
        assert_eq!(asked.resolution(), winner);
        let ran = winner.outcome() == InputOutcome::Allowed;
        assert_eq!(asked.said(), [if ran { "It ran." } else { "It did not run." }], "round {round}");
    }
}

#[tokio::test]
async fn a_call_that_is_made_again_gets_the_first_answer() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let mut asked = Asked::by(&mut sessions, &json!([ask()])).await;
    let request = proto::ResolvePermissionRequest { request_id: "again".into(), ..asked.reject("no") };
    let first = resolve(&mut sessions, request.clone()).await.expect("answered");
    assert_eq!(resolve(&mut sessions, request.clone()).await.expect("the same"), first);
    assert_eq!(asked.end().await.status(), TurnStatus::Completed);
    assert_eq!(resolve(&mut sessions, request.clone()).await.expect("also later"), first);
    assert_eq!(asked.results().len(), 1);
    let other = proto::ResolvePermissionRequest { message: String::new(), option_id: "allow_once".into(), ..request };
    assert_eq!(reason(&resolve(&mut sessions, other).await.expect_err("another")), "REQUEST_ID_REUSED");
    let refused = resolve(&mut sessions, asked.allow()).await.expect_err("too late");
    assert_eq!(reason(&refused), ErrorReason::AlreadyResolved.as_str_name().trim_start_matches("ERROR_REASON_"));
}

#[tokio::test]
async fn what_is_no_answer_is_refused_and_the_request_stays_open() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let mut asked = Asked::by(&mut sessions, &json!([ask()])).await;
    let with_message = proto::ResolvePermissionRequest { message: "why".into(), ..asked.allow() };
    let with_input = proto::ResolvePermissionRequest { updated_input_json: "{}".into(), ..asked.reject("") };
    for (request, field) in
        [(asked.answer("allow_sometimes"), "option_id"), (with_message, "message"), (with_input, "updated_input_json")]
    {
        let refused = resolve(&mut sessions, request).await.expect_err(field);
        assert_eq!((reason(&refused), fields(&refused)), ("INVALID_FIELD".into(), vec![field.to_owned()]));
    }
    let other = proto::ResolvePermissionRequest { permission_id: "perm_none".into(), ..asked.allow() };
    let refused = resolve(&mut sessions, other).await.expect_err("no such request");
    assert_eq!((refused.code(), reason(&refused)), (Code::NotFound, "PERMISSION_NOT_FOUND".into()));
    assert_eq!(refused.get_details_error_info().expect("told").metadata["permission_id"], "perm_none");
    let other = proto::ResolvePermissionRequest { session_id: "ses_none".into(), ..asked.allow() };
    assert_eq!(reason(&resolve(&mut sessions, other).await.expect_err("no such session")), "SESSION_NOT_FOUND");
    // Another session's request is none of this one.
    let elsewhere = Asked::by(&mut sessions, &json!([ask()])).await;
    let other = proto::ResolvePermissionRequest { session_id: elsewhere.id.clone(), ..asked.allow() };
    assert_eq!(reason(&resolve(&mut sessions, other).await.expect_err("of another")), "PERMISSION_NOT_FOUND");
    assert_eq!(get(&mut sessions, &asked.id).await.status(), SessionStatus::AwaitingInput);
    resolve(&mut sessions, asked.allow()).await.expect("answered");
    assert_eq!(asked.end().await.status(), TurnStatus::Completed);
}
