//! The record is changed: by one event, by whom it was last read, and in no other way than the mask names.

use std::collections::{BTreeMap, HashMap};

use agent_runtime::{
    client::State,
    proto::{self, Budget, Session, SessionOptions, TurnStatus, session_event::Kind},
};
use serde_json::json;
use tonic::Code;

use crate::{
    changes::{request, set, update},
    support::{
        Server, check_ranges, fields, get, last_turn, play, reason, scripted, send, snapshot, taken_up, until,
        until_end_of, watch,
    },
};

fn metadata(key: &str) -> prost_types::Struct {
    let value = prost_types::Value { kind: Some(prost_types::value::Kind::NumberValue(4.0)) };
    prost_types::Struct { fields: BTreeMap::from([(key.to_owned(), value)]) }
}

fn options() -> SessionOptions {
    SessionOptions {
        model: "scripted-2".into(),
        permission_mode: "default".into(),
        budget: Some(Budget {
            session_cost_micro_usd: 5_000_000,
            turn_cost_micro_usd: 1_000_000,
            turn_steps: 9,
            turn_duration: Some(prost_types::Duration { seconds: 90, nanos: 0 }),
        }),
        idle_timeout: Some(prost_types::Duration { seconds: 10, nanos: 0 }),
    }
}

#[tokio::test]
async fn a_record_is_changed_by_one_event() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let before = scripted(&mut sessions).await;
    let id = before.session_id.clone();
    let wanted = Session {
        session_id: id.clone(),
        name: "renamed".into(),
        labels: HashMap::from([("team".to_owned(), "red".to_owned())]).into_iter().collect(),
        metadata: Some(metadata("ticket")),
        options: Some(options()),
        etag: before.etag.clone(),
        ..Session::default()
    };
    let mut live = watch(&mut sessions, &id, Some(before.sequence)).await.expect("a watch");
    let updated =
        update(&mut sessions, wanted.clone(), &["name", "labels", "metadata", "options"]).await.expect("taken");
    assert_eq!(updated.sequence, before.sequence + 1, "more than one event");
    assert_ne!(updated.etag, before.etag);
    assert_eq!(
        (&updated.name, &updated.labels, &updated.metadata, &updated.options),
        (&wanted.name, &wanted.labels, &wanted.metadata, &wanted.options)
    );
    // Stored, told, and found by its label.
    assert_eq!(get(&mut sessions, &id).await, updated);
    let told = until(&mut live, |event| matches!(event.kind, Some(Kind::SessionUpdated(_)))).await;
    check_ranges(before.sequence, &told);
    let Some(Kind::SessionUpdated(event)) = &told.last().expect("told").kind else { unreachable!() };
    assert_eq!((&event.name, &event.options, &event.etag), (&updated.name, &updated.options, &updated.etag));
    assert!(told.last().expect("told").actor.is_some(), "nobody is named who did it");
    let by_label = proto::ListSessionsRequest { labels: updated.labels.clone(), ..Default::default() };
    let listed = sessions.list_sessions(by_label).await.expect("listed").into_inner().sessions;
    assert_eq!(listed.iter().map(|session| &session.session_id).collect::<Vec<_>>(), [&id]);
    let (state, _) = snapshot(&mut sessions, &id).await;
    assert_eq!(state.session.expect("a session").options, updated.options);

    // What is named and unset is cleared.
    let clear = Session { session_id: id.clone(), ..Session::default() };
    let cleared = update(&mut sessions, clear, &["labels", "metadata", "options"]).await.expect("taken");
    assert_eq!((&cleared.name, cleared.labels.len(), &cleared.metadata), (&updated.name, 0, &None));
    assert_eq!(cleared.options, Some(SessionOptions::default()));
    let by_label = proto::ListSessionsRequest { labels: updated.labels, ..Default::default() };
    assert_eq!(sessions.list_sessions(by_label).await.expect("listed").into_inner().sessions, []);
}

#[tokio::test]
async fn only_what_the_mask_names_is_changed() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    set(&mut sessions, &id, options()).await;
    let named = |name: &str| Session { session_id: id.clone(), name: name.into(), ..Session::default() };
    let updated = update(&mut sessions, named("a name"), &["name"]).await.expect("taken");
    assert_eq!((updated.name.as_str(), updated.options), ("a name", Some(options())));
    let model = SessionOptions { model: "scripted-3".into(), ..SessionOptions::default() };
    let changed = Session { session_id: id.clone(), options: Some(model), ..Session::default() };
    let updated = update(&mut sessions, changed.clone(), &["options.model"]).await.expect("taken");
    assert_eq!(updated.options, Some(SessionOptions { model: "scripted-3".into(), ..options() }));
    assert_eq!(updated.name, "a name");

    // What is set and not named is refused, and so is what there is not.
    for (session, mask, field) in [
        (named("b"), &["labels"][..], "session.name"),
        (changed, &["options.budget"], "session.options.model"),
        (named("b"), &["name", "status"], "update_mask"),
        (named("b"), &["name", "options.budget.turn_steps"], "update_mask"),
        (named("b"), &[], "update_mask"),
        (Session { agent: "scripted".into(), ..named("b") }, &["name"], "session.agent"),
        (Session { session_id: String::new(), ..named("b") }, &["name"], "session.session_id"),
    ] {
        let refused = update(&mut sessions, session, mask).await.expect_err(field);
        assert_eq!(reason(&refused), "INVALID_FIELD");
        assert!(fields(&refused).contains(&field.to_owned()), "{field}: {refused:?}");
    }
    let mode = SessionOptions { permission_mode: "plan".into(), ..SessionOptions::default() };
    let session = Session { session_id: id.clone(), options: Some(mode), ..Session::default() };
    let refused = update(&mut sessions, session, &["options.permission_mode"]).await.expect_err("no mode of its agent");
    assert_eq!(fields(&refused), ["session.options.permission_mode"]);
    assert_eq!(get(&mut sessions, &id).await.name, "a name");
}

#[tokio::test]
async fn options_are_checked_as_they_come() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let seconds = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    let budget = |budget| SessionOptions { budget: Some(budget), ..SessionOptions::default() };
    let silence = |idle_timeout| SessionOptions { idle_timeout, ..SessionOptions::default() };
    for (options, field) in [
        (silence(seconds(9)), Some("idle_timeout")),
        (silence(seconds(24 * 3600 + 1)), Some("idle_timeout")),
        (silence(seconds(-10)), Some("idle_timeout")),
        (silence(seconds(24 * 3600)), None),
        (budget(Budget { session_cost_micro_usd: -1, ..Budget::default() }), Some("budget.session_cost_micro_usd")),
        (budget(Budget { turn_cost_micro_usd: -1, ..Budget::default() }), Some("budget.turn_cost_micro_usd")),
        (budget(Budget { turn_steps: -1, ..Budget::default() }), Some("budget.turn_steps")),
        (budget(Budget { turn_duration: seconds(-1), ..Budget::default() }), Some("budget.turn_duration")),
        (SessionOptions { model: "-x".into(), ..SessionOptions::default() }, Some("model")),
    ] {
        let create = proto::CreateSessionRequest {
            agent: "scripted".into(),
            options: Some(options.clone()),
            ..Default::default()
        };
        let created = sessions.create_session(create).await;
        let id = scripted(&mut sessions).await.session_id;
        let session = Session { session_id: id, options: Some(options.clone()), ..Session::default() };
        let updated = update(&mut sessions, session, &["options"]).await;
        match field {
            None => {
                assert_eq!(created.expect("taken").into_inner().session.expect("one").options.as_ref(), Some(&options));
                assert_eq!(updated.expect("taken").options, Some(options));
            }
            Some(field) => {
                assert_eq!(fields(&created.expect_err(field)), [format!("options.{field}")]);
                assert_eq!(fields(&updated.expect_err(field)), [format!("session.options.{field}")]);
            }
        }
    }
}

#[tokio::test]
async fn an_update_of_what_changed_meanwhile_is_refused() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let read = scripted(&mut sessions).await;
    let rename = |name: &str, etag: &str| Session {
        session_id: read.session_id.clone(),
        name: name.into(),
        etag: etag.into(),
        ..Session::default()
    };
    let first = update(&mut sessions, rename("first", &read.etag), &["name"]).await.expect("as it was read");
    let refused = update(&mut sessions, rename("second", &read.etag), &["name"]).await.expect_err("it changed");
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::Aborted, "ETAG_MISMATCH"));
    assert_eq!(get(&mut sessions, &read.session_id).await, first);
    // A turn is no change of the record.
    play(&mut sessions, &read.session_id, r#"[{"say":"x"}]"#).await;
    update(&mut sessions, rename("third", &first.etag), &["name"]).await.expect("nobody changed it");
    let missing = Session { session_id: "ses_none".into(), ..rename("x", "") };
    assert_eq!(reason(&update(&mut sessions, missing, &["name"]).await.expect_err("none")), "SESSION_NOT_FOUND");
}

#[tokio::test]
async fn a_repeated_update_is_made_once() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let session = Session { session_id: id.clone(), name: "once".into(), ..Session::default() };
    let call = proto::UpdateSessionRequest { request_id: "u-1".into(), ..request(session, &["name"]) };
    let first = sessions.update_session(call.clone()).await.expect("taken").into_inner();
    let other = Session { session_id: id.clone(), name: "after".into(), ..Session::default() };
    let after = update(&mut sessions, other, &["name"]).await.expect("taken");
    assert_eq!(sessions.update_session(call).await.expect("the first answer").into_inner(), first);
    assert_eq!(get(&mut sessions, &id).await, after, "it was made again");
}

/// The model that the agent reports in what it used.
fn models(events: &[proto::SessionEvent]) -> Vec<String> {
    let mut state = State::default();
    for event in events {
        state.apply(event);
    }
    state.as_proto().conversations.iter().map(|conversation| conversation.model.clone()).collect()
}

#[tokio::test]
async fn new_options_count_from_the_next_turn_on_in_the_process_that_runs() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let used = json!([{ "pause_ms": 300 }, { "usage": { "input_tokens": 1 } }]).to_string();
    let (turn, sequence) = send(&mut sessions, &id, &used).await.expect("accepted");
    let mut stream = watch(&mut sessions, &id, Some(0)).await.expect("a watch");
    let mut events = until(&mut stream, taken_up).await;
    let model = SessionOptions { model: "scripted-2".into(), ..SessionOptions::default() };
    let updated = set(&mut sessions, &id, model).await;
    assert_eq!(updated.active_turn.as_ref().map(|turn| turn.turn_id.as_str()), Some(turn.turn_id.as_str()));
    assert!(updated.sequence > sequence);
    events.extend(until_end_of(&mut stream, &turn.turn_id).await);
    assert_eq!((last_turn(&events).status(), models(&events)), (TurnStatus::Completed, vec![String::new()]));
    let played = play(&mut sessions, &id, &used).await;
    assert_eq!(models(&played.events), ["scripted-2"]);
    let programs = played.events.iter().filter(|event| matches!(event.kind, Some(Kind::SandboxChanged(_)))).count();
    assert_eq!(programs, 2, "another process was started");
    // The next process is started with it.
    crate::support::stop(&mut sessions, &id).await;
    let played = play(&mut sessions, &id, &used).await;
    assert_eq!(models(&played.events), ["scripted-2"]);
}
