//! Questions: answered, declined, forgotten, withdrawn; by several at once; and by a process that comes after.

use agent_runtime::proto::{self, InputOutcome, Question, SessionStatus, TurnStatus, session_event::Kind};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{
    asked::{Asked, ask, json_of, questioned, resolve, text_of, turn_status},
    parked::kill_agents,
    support::{Server, Sessions, check_ranges, fields, fold, get, reason, snapshot, stop},
};

fn items() -> Value {
    json!([
        {
            "question": "Which database?", "header": "DB",
            "options": [{ "label": "Postgres", "description": "big" }, { "label": "SQLite", "description": "small" }],
        },
        { "question": "What else?", "options": [{ "label": "Cache" }, { "label": "Queue" }], "multiSelect": true },
        { "question": "Which name?" },
    ])
}

/// A step that asks, and says what came of it.
fn question() -> Value {
    json!({ "question": items(), "then": [{ "say": "Answered." }], "else": [{ "say": "Not answered." }] })
}

pub(crate) fn given(choices: &[&str], text: &str) -> proto::QuestionAnswer {
    proto::QuestionAnswer { choices: choices.iter().map(|label| (*label).to_owned()).collect(), text: text.into() }
}

/// Answers to all items.
fn answers(asked: &Asked, question: &Question) -> proto::AnswerQuestionRequest {
    proto::AnswerQuestionRequest {
        answers: vec![given(&["SQLite"], "for now"), given(&["Cache", "Queue"], ""), given(&[], "Emil")],
        ..decline(asked, question, "")
    }
}

pub(crate) fn decline(asked: &Asked, question: &Question, message: &str) -> proto::AnswerQuestionRequest {
    proto::AnswerQuestionRequest {
        session_id: asked.id.clone(),
        question_id: question.question_id.clone(),
        message: message.into(),
        ..Default::default()
    }
}

pub(crate) async fn answer(sessions: &mut Sessions, request: proto::AnswerQuestionRequest) -> Result<Question, Status> {
    Ok(sessions.answer_question(request).await?.into_inner().question.expect("a question"))
}

/// How the questions ended, as the events tell.
pub(crate) fn ends(asked: &Asked) -> Vec<proto::InputResolution> {
    let ends = asked.events.iter().filter_map(|event| match &event.kind {
        Some(Kind::QuestionResolved(resolved)) => resolved.resolution.clone(),
        _ => None,
    });
    ends.collect()
}

/// What the tool is told of [`answers`].
fn told() -> Value {
    json!({
        "questions": items(),
        "answers": { "Which database?": "SQLite", "What else?": "Cache, Queue", "Which name?": "Emil" },
        "annotations": { "Which database?": { "notes": "for now" } },
    })
}

#[tokio::test]
async fn a_question_is_answered_and_the_agent_is_told() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let mut asked = Asked::playing(&mut sessions, &json!([question(), { "say": "Done." }])).await;
    let open = asked.question().await;
    assert!(open.question_id.starts_with("ques_") && open.turn_id == asked.turn.turn_id, "{open:?}");
    assert_eq!(open.conversation_id, "main");
    let [database, what, name] = &open.items[..] else { panic!("{open:?}") };
    assert_eq!((database.header.as_str(), database.text.as_str()), ("DB", "Which database?"));
    assert_eq!(database.choices[1], proto::QuestionChoice { label: "SQLite".into(), description: "small".into() });
    assert_eq!((database.multiple, what.multiple, name.choices.len()), (false, true, 0));
    let day = open.expire_time.as_ref().expect("a deadline").seconds - open.create_time.as_ref().expect("set").seconds;
    assert!((86_399..=86_401).contains(&day), "{day}");

    let request = proto::GetSessionRequest { session_id: asked.id.clone() };
    let shown = sessions.get_session(request).await.expect("there").into_inner();
    assert_eq!((shown.open_questions, shown.open_permissions), (vec![open.clone()], Vec::new()));
    let session = shown.session.expect("a session");
    assert_eq!(session.status(), SessionStatus::AwaitingInput);
    assert_eq!(session.active_turn.expect("active").status(), TurnStatus::AwaitingInput);

    let answered = answer(&mut sessions, answers(&asked, &open)).await.expect("answered");
    let resolution = answered.resolution.clone().expect("a resolution");
    assert_eq!((resolution.outcome(), resolution.answers.len()), (InputOutcome::Answered, 3));
    assert_eq!(resolution.resolved_by.as_ref().expect("somebody").subject, "local");
    assert_eq!(asked.end().await.status(), TurnStatus::Completed);
    assert_eq!(ends(&asked), [resolution]);
    assert_eq!(asked.said(), ["Answered.", "Done."]);
    assert_eq!(json_of(&asked.results()[0]), told());
    check_ranges(0, &asked.events);
    let (state, _) = snapshot(&mut sessions, &asked.id).await;
    assert_eq!(state.questions, [answered]);
    assert_eq!(fold(&asked.events).questions, state.questions);
}

#[tokio::test]
async fn a_declined_question_tells_the_agent_why() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    for (message, told) in [("decide \"yourself\"", "decide \"yourself\""), ("", "The user declined to answer.")] {
        let mut asked = Asked::playing(&mut sessions, &json!([question()])).await;
        let open = asked.question().await;
        let declined = answer(&mut sessions, decline(&asked, &open, message)).await.expect("declined");
        assert_eq!(declined.resolution.expect("a resolution").outcome(), InputOutcome::Rejected);
        assert_eq!(asked.end().await.status(), TurnStatus::Completed);
        assert_eq!(asked.said(), ["Not answered."]);
        assert_eq!((text_of(&asked.results()[0]).as_str(), asked.results()[0].is_error), (told, true));
        assert_eq!(ends(&asked)[0].message, message);
    }
}

#[tokio::test]
async fn what_is_no_answer_is_refused_and_the_question_stays_open() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let mut asked = Asked::playing(&mut sessions, &json!([question()])).await;
    let open = asked.question().await;
    let good = answers(&asked, &open);
    let with = |at: usize, given: proto::QuestionAnswer| {
        let mut request = good.clone();
        request.answers[at] = given;
        request
    };
    let short = proto::AnswerQuestionRequest { answers: good.answers[..2].to_vec(), ..good.clone() };
    let both = proto::AnswerQuestionRequest { message: "and no".into(), ..good.clone() };
    for (request, field) in [
        (short, "answers"),
        (both, "message"),
        (with(0, given(&["MySQL"], "")), "answers[0].choices"),
        (with(0, given(&["Postgres", "SQLite"], "")), "answers[0].choices"),
        (with(1, given(&["Cache", "Cache"], "")), "answers[1].choices"),
        (with(1, given(&[], " ")), "answers[1]"),
        (with(2, given(&["Emil"], "")), "answers[2].choices"),
    ] {
        let refused = answer(&mut sessions, request).await.expect_err(field);
        assert_eq!((reason(&refused), fields(&refused)), ("INVALID_FIELD".into(), vec![field.to_owned()]));
    }
    let other = proto::AnswerQuestionRequest { question_id: "ques_none".into(), ..good.clone() };
    let refused = answer(&mut sessions, other).await.expect_err("no such question");
    assert_eq!((refused.code(), reason(&refused)), (Code::NotFound, "QUESTION_NOT_FOUND".into()));
    let other = proto::AnswerQuestionRequest { session_id: "ses_none".into(), ..good.clone() };
    assert_eq!(reason(&answer(&mut sessions, other).await.expect_err("no such session")), "SESSION_NOT_FOUND");
    let as_permission = proto::ResolvePermissionRequest {
        session_id: asked.id.clone(),
        permission_id: open.question_id.clone(),
        option_id: "allow_once".into(),
        ..Default::default()
    };
    let refused = resolve(&mut sessions, as_permission).await.expect_err("it is a question");
    assert_eq!(reason(&refused), "PERMISSION_NOT_FOUND");
    assert_eq!(get(&mut sessions, &asked.id).await.status(), SessionStatus::AwaitingInput);
    answer(&mut sessions, good).await.expect("answered");
    assert_eq!(asked.end().await.status(), TurnStatus::Completed);
}

#[tokio::test]
async fn of_several_who_answer_at_once_the_first_wins_and_a_repeated_call_gets_its_answer() {
    let server = Server::start();
    let sessions = server.sessions().await;
    let mut asked = Asked::playing(&mut sessions.clone(), &json!([question()])).await;
    let open = asked.question().await;
    let tried = (0..8).map(|at| {
        let mut sessions = sessions.clone();
        let request = if at % 2 == 0 { answers(&asked, &open) } else { decline(&asked, &open, "no") };
        let request = proto::AnswerQuestionRequest { request_id: format!("r{at}"), ..request };
        async move { (answer(&mut sessions, request.clone()).await, request) }
    });
    let (won, lost): (Vec<_>, Vec<_>) =
        futures::future::join_all(tried).await.into_iter().partition(|(answered, _)| answered.is_ok());
    assert_eq!((won.len(), lost.len()), (1, 7));
    let (winner, call) = &won[0];
    let winner = winner.as_ref().expect("won");
    for (refused, _) in lost {
        let refused = refused.expect_err("lost");
        assert_eq!((refused.code(), reason(&refused)), (Code::FailedPrecondition, "ALREADY_RESOLVED".into()));
        let told = refused.get_details_error_info().expect("told").metadata;
        assert_eq!(told["question_id"], open.question_id);
        assert_eq!(told["outcome"], winner.resolution.as_ref().expect("set").outcome().as_str_name());
    }
    assert_eq!(&answer(&mut sessions.clone(), call.clone()).await.expect("the same"), winner);
    assert_eq!(asked.end().await.status(), TurnStatus::Completed);
    assert_eq!(ends(&asked), [winner.resolution.clone().expect("set")]);
}

#[tokio::test]
async fn a_question_that_nobody_answers_ends_and_the_agent_is_told() {
    let server = Server::start_with(&["--ask-timeout", "1s"], &[]);
    let mut sessions = server.sessions().await;
    let mut asked = Asked::playing(&mut sessions, &json!([question(), { "say": "Done." }])).await;
    let open = asked.question().await;
    assert_eq!(asked.end().await.status(), TurnStatus::Completed);
    assert_eq!(ends(&asked)[0].outcome(), InputOutcome::Expired);
    assert_eq!(asked.said(), ["Not answered.", "Done."]);
    assert!(text_of(&asked.results()[0]).contains("nobody answered in time"));
    let refused = answer(&mut sessions, answers(&asked, &open)).await.expect_err("too late");
    assert_eq!(reason(&refused), "ALREADY_RESOLVED");
}

#[tokio::test]
async fn a_question_ends_with_its_session() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let mut asked = Asked::playing(&mut sessions, &json!([question()])).await;
    asked.question().await;
    stop(&mut sessions, &asked.id).await;
    assert_eq!(asked.end().await.status(), TurnStatus::Interrupted);
    let [end] = &ends(&asked)[..] else { panic!("{:?}", ends(&asked)) };
    assert!(matches!(end.outcome(), InputOutcome::Interrupted | InputOutcome::Withdrawn), "{end:?}");
    let withdrawn =
        json!({ "ask": { "tool": "AskUserQuestion", "input": { "questions": items() } }, "withdrawn": true });
    let mut asked = Asked::playing(&mut sessions, &json!([withdrawn, { "say": "Done." }])).await;
    assert_eq!(asked.end().await.status(), TurnStatus::Completed);
    assert_eq!(ends(&asked)[0].outcome(), InputOutcome::Withdrawn);
}

#[tokio::test]
async fn a_question_and_a_permission_wait_each_for_its_own_answer() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let mut asked = Asked::playing(&mut sessions, &json!([question(), ask(), question()])).await;
    for _ in 0..2 {
        let open = asked.question().await;
        answer(&mut sessions, answers(&asked, &open)).await.expect("answered");
        if asked.permission.permission_id.is_empty() {
            asked.again().await;
            resolve(&mut sessions, asked.allow()).await.expect("answered");
        }
    }
    assert_eq!(asked.end().await.status(), TurnStatus::Completed);
    assert_eq!(asked.said(), ["Answered.", "It ran.", "Answered."]);
}

#[tokio::test]
async fn a_question_is_answered_after_a_restart() {
    for upgraded in [false, true] {
        let data = TempDir::new().expect("a folder");
        let mut server = Server::start_on(data.path(), &["--on-shutdown", "detach"]);
        let mut asked = Asked::playing(&mut server.sessions().await, &json!([question(), { "say": "Done." }])).await;
        let open = asked.question().await;
        if upgraded {
            assert!(server.end(Signal::TERM).status.success());
        } else {
            drop(server.kill());
        }
        let mut server = Server::start_on(data.path(), &["--on-shutdown", "detach"]);
        let mut sessions = server.sessions().await;
        asked.watch_again(&mut sessions).await;
        answer(&mut sessions, answers(&asked, &open)).await.expect("answered");
        assert_eq!(asked.end().await.status(), TurnStatus::Completed);
        assert_eq!(json_of(&asked.results()[0]), told());
        assert!(server.end(Signal::INT).status.success());
    }
}

#[tokio::test]
async fn a_question_whose_process_is_gone_is_answered_to_the_next_one_once() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    // The next process asks the same twice: the second time the user is asked.
    let step = json!({ "question": items(), "again": [question(), question(), { "say": "Done." }] });
    let mut asked = Asked::playing(&mut sessions, &json!([step])).await;
    let open = asked.question().await;
    kill_agents(server.data());
    asked.until(|event| turn_status(event) == Some(TurnStatus::Parked)).await;
    answer(&mut sessions, answers(&asked, &open)).await.expect("answered");
    let second = asked.question().await;
    assert_ne!(second.question_id, open.question_id);
    assert_eq!(json_of(asked.results().last().expect("the first")), told());
    answer(&mut sessions, decline(&asked, &second, "once is enough")).await.expect("declined");
    assert_eq!(asked.end().await.status(), TurnStatus::Completed);
    assert_eq!(asked.said(), ["Answered.", "Not answered.", "Done."]);
    assert_eq!(asked.events.iter().filter_map(questioned).count(), 2);
}
