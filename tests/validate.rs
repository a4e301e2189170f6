//! Requests: what is taken, and every bound from both sides.

use std::{collections::BTreeMap, time::Duration};

use agent_runtime::{
    domain::{
        Agent, BlockId, Busy, ContentPart, ConversationId, Failure, Isolation, Principal, Profile, ProfileId,
        ProfileSetup, Reason, SandboxSpec, SessionId, SessionStatus, Timestamp,
    },
    grpc::validate::{self, MAX_MESSAGE_TEXT},
    log::Filter,
    proto::{self, content_part::Part},
    store::{BlockPage, SessionFilter, SessionView},
};
use serde_json::json;

#[path = "validate/answers.rs"]
mod answers;
#[path = "validate/bytes.rs"]
mod bytes;
#[path = "support/generate.rs"]
#[allow(unreachable_pub, dead_code)]
mod generate;
#[path = "validate/profile.rs"]
mod profile;
#[path = "validate/sandbox.rs"]
mod sandbox;
#[path = "validate/workspace.rs"]
mod workspace;

fn fields(failure: &Failure) -> Vec<&str> {
    failure.violations.iter().map(|violation| violation.field.as_str()).collect()
}

/// The one field a request is refused for.
#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Failure>, field: &str) {
    let failure = result.unwrap_err();
    assert_eq!((failure.reason, fields(&failure)), (Reason::InvalidField, vec![field]), "{failure}");
}

fn text(text: &str) -> proto::ContentPart {
    proto::ContentPart { part: Some(Part::Text(text.into())) }
}

fn creation() -> proto::CreateSessionRequest {
    proto::CreateSessionRequest::default()
}

fn message(text: &str) -> proto::SendMessageRequest {
    proto::SendMessageRequest { session_id: "ses_1".into(), text: text.into(), ..Default::default() }
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn a_full_creation_is_taken() {
    let taken = validate::create_session(proto::CreateSessionRequest {
        profile_id: "prof_1".into(),
        agent: "claude-code".into(),
        external_id: "Ticket-42_a.b:c/d".into(),
        name: "\u{e4}".repeat(200),
        options: Some(proto::SessionOptions { model: "m".repeat(128), ..Default::default() }),
        labels: labels(&[("team", "core"), ("a/b.c-d_E", "")]),
        sandbox: Some(proto::SandboxSpec {
            provider: "local".into(),
            min_isolation: proto::Isolation::Namespace.into(),
            ..Default::default()
        }),
        initial_message: Some(proto::UserMessage { parts: vec![text("hello"), text("you")], created_by: None }),
        ..creation()
    })
    .unwrap();
    assert_eq!(taken.profile_id, Some(ProfileId::new("prof_1")));
    assert_eq!(taken.agent, Some(Agent::ClaudeCode));
    assert_eq!(taken.external_id, "Ticket-42_a.b:c/d");
    assert_eq!(taken.name.chars().count(), 200);
    assert_eq!(taken.options.model.len(), 128);
    assert_eq!(taken.labels["team"], "core");
    assert_eq!(taken.sandbox.as_ref().unwrap().provider, "local");
    assert_eq!(taken.sandbox.as_ref().unwrap().min_isolation, Some(Isolation::Namespace));
    assert_eq!(taken.message, Some(vec![ContentPart::Text("hello".into()), ContentPart::Text("you".into())]));
}

#[test]
fn an_empty_creation_is_taken() {
    let taken = validate::create_session(creation()).unwrap();
    assert_eq!((taken.profile_id, taken.agent, taken.metadata, taken.message), (None, None, None, None));
    assert_eq!(taken.sandbox, None);
    // What is said and says nothing is another thing: it stands in the place of what the profile says.
    let said = proto::CreateSessionRequest { sandbox: Some(proto::SandboxSpec::default()), ..creation() };
    assert_eq!(validate::create_session(said).unwrap().sandbox, Some(SandboxSpec::default()));
}

#[test]
fn an_alias_names_its_agent() {
    let agent = |name: &str| validate::create_session(proto::CreateSessionRequest { agent: name.into(), ..creation() });
    assert_eq!(agent("claude-agent-sdk").unwrap().agent, Some(Agent::ClaudeCode));
    assert_eq!(agent("scripted").unwrap().agent, Some(Agent::Scripted));
    refused(agent("Claude"), "agent");
    let profile = |agent: &str| {
        let profile = proto::AgentProfile { name: "p".into(), agent: agent.into(), ..Default::default() };
        validate::create_profile(proto::CreateProfileRequest { profile: Some(profile), request_id: String::new() })
    };
    assert_eq!(profile("claude-agent-sdk").unwrap().agent, Some(Agent::ClaudeCode));
    refused(profile("nobody"), "profile.agent");
}

#[test]
fn a_creation_has_bounds() {
    let refuses = |field: &str, request| refused(validate::create_session(request), field);
    refuses("name", proto::CreateSessionRequest { name: "n".repeat(201), ..creation() });
    refuses("name", proto::CreateSessionRequest { name: "a\0b".into(), ..creation() });
    refuses("profile_id", proto::CreateSessionRequest { profile_id: "p".repeat(129), ..creation() });
    for id in ["a b", "\u{e4}", &"x".repeat(129)] {
        refuses("external_id", proto::CreateSessionRequest { external_id: id.into(), ..creation() });
    }
    for model in ["-p", "a\nb", &"m".repeat(129)] {
        let options = Some(proto::SessionOptions { model: model.into(), ..Default::default() });
        refuses("options.model", proto::CreateSessionRequest { options, ..creation() });
    }
    let sandbox = Some(proto::SandboxSpec { min_isolation: 9, ..Default::default() });
    refuses("sandbox.min_isolation", proto::CreateSessionRequest { sandbox, ..creation() });
    let initial_message = Some(proto::UserMessage::default());
    refuses("initial_message.parts", proto::CreateSessionRequest { initial_message, ..creation() });
}

#[test]
fn labels_have_bounds() {
    let with = |labels| validate::create_session(proto::CreateSessionRequest { labels, ..creation() });
    let many = |n: usize| (0..n).map(|n| (format!("k{n}"), "v".repeat(256))).collect::<BTreeMap<_, _>>();
    assert_eq!(with(many(32)).unwrap().labels.len(), 32);
    refused(with(many(33)), "labels");
    assert!(with(labels(&[("k".repeat(63).as_str(), "")])).is_ok());
    for key in ["", "a b", "a:b", &"k".repeat(64)] {
        refused(with(labels(&[(key, "v")])), &format!("labels[{key:?}]"));
    }
    refused(with(labels(&[("k", "v".repeat(257).as_str())])), r#"labels["k"]"#);
    refused(with(labels(&[("k", "\0")])), r#"labels["k"]"#);
}

#[test]
fn metadata_keeps_its_values() {
    let object = json!({"a": {"b": [1, 0.5, null, true, "t"]}, "n": -3, "big": 9_007_199_254_740_991_i64});
    let wire = proto::from_json("google.protobuf.Struct", &object.to_string()).unwrap();
    let taken = validate::create_session(proto::CreateSessionRequest { metadata: Some(wire), ..creation() }).unwrap();
    assert_eq!(serde_json::Value::Object(taken.metadata.unwrap()), object);
}

#[test]
fn metadata_has_bounds() {
    let with = |metadata: prost_types::Struct| {
        validate::create_session(proto::CreateSessionRequest { metadata: Some(metadata), ..creation() })
    };
    let of = |kind| prost_types::Struct { fields: [("k".to_owned(), prost_types::Value { kind })].into() };
    let string = |bytes: usize| of(Some(prost_types::value::Kind::StringValue("x".repeat(bytes))));
    // {"k":"..."}: 8 bytes around the text
    assert!(with(string(64 * 1024 - 8)).is_ok());
    refused(with(string(64 * 1024 - 7)), "metadata");
    refused(with(of(None)), "metadata");
    refused(with(of(Some(prost_types::value::Kind::NumberValue(f64::NAN)))), "metadata");
    refused(with(of(Some(prost_types::value::Kind::StringValue("\0".into())))), "metadata");
}

#[test]
fn ids_are_taken_as_they_are() {
    let session = SessionId::new("ses_1");
    let get = |id: &str| validate::get_session(proto::GetSessionRequest { session_id: id.into() });
    assert_eq!(get("ses_1").unwrap(), session);
    assert!(get(&"x".repeat(128)).is_ok());
    refused(get(""), "session_id");
    refused(get(&"x".repeat(129)), "session_id");
    refused(get("a\0"), "session_id");

    let stop = proto::StopSessionRequest { session_id: "ses_1".into(), request_id: String::new() };
    assert_eq!(validate::stop_session(stop).unwrap().session_id, session);

    let delete = |etag: &str| {
        let request =
            proto::DeleteSessionRequest { session_id: "ses_1".into(), etag: etag.into(), ..Default::default() };
        validate::delete_session(request).unwrap()
    };
    assert_eq!((delete("").etag, delete("e").etag, delete("e").session_id), (None, Some("e".into()), session));

    let profile = |revision| validate::get_profile(proto::GetProfileRequest { profile_id: "prof_1".into(), revision });
    let taken = profile(4).unwrap();
    assert_eq!((taken.profile_id, taken.revision), (ProfileId::new("prof_1"), 4));
    refused(profile(-1), "revision");
}

#[test]
fn text_is_a_message_of_one_part() {
    let hello = vec![ContentPart::Text("hello".into())];
    let taken = validate::send_message(message("hello")).unwrap();
    assert_eq!((taken.session_id, taken.parts), (SessionId::new("ses_1"), hello.clone()));
    let parts = proto::SendMessageRequest { parts: vec![text("hello")], ..message("") };
    assert_eq!(validate::send_message(parts).unwrap().parts, hello);

    let run = proto::RunTurnRequest { session_id: "ses_2".into(), text: "hello".into(), ..Default::default() };
    let taken = validate::run_turn(run.clone()).unwrap().message;
    assert_eq!((taken.session_id, taken.parts), (SessionId::new("ses_2"), hello.clone()));
    let parts = proto::RunTurnRequest { text: String::new(), parts: vec![text("hello")], ..run };
    assert_eq!(validate::run_turn(parts).unwrap().message.parts, hello);
}

#[test]
fn a_message_has_bounds() {
    let send = |request| validate::send_message(request);
    let parts = |parts: Vec<proto::ContentPart>| send(proto::SendMessageRequest { parts, ..message("") });
    refused(send(message("")), "text");
    refused(send(message("a\0")), "text");
    refused(send(proto::SendMessageRequest { parts: vec![text("b")], ..message("a") }), "text");
    refused(send(proto::SendMessageRequest { session_id: String::new(), ..message("a") }), "session_id");
    assert_eq!(parts(vec![text("x"); 64]).unwrap().parts.len(), 64);
    refused(parts(vec![text("x"); 65]), "parts");
    refused(parts(vec![text("x"), text("")]), "parts[1].text");
    refused(parts(vec![text("x"), text("\0")]), "parts[1].text");
    refused(parts(vec![text("x"), proto::ContentPart { part: None }]), "parts[1]");
    let file = proto::ContentPart { part: Some(Part::FilePath("a".into())) };
    refused(parts(vec![text("x"), file]), "parts[1].file_path");
}

#[test]
fn a_message_has_no_more_text_than_a_block_keeps() {
    let too_large = |result: Result<validate::SendMessage, Failure>, field: &str| {
        let failure = result.unwrap_err();
        assert_eq!(failure.reason, Reason::MessageTooLarge);
        assert_eq!(failure.metadata["field"], field);
        assert_eq!(failure.metadata["size_bytes"], (MAX_MESSAGE_TEXT + 1).to_string());
        assert_eq!(failure.metadata["limit_bytes"], "262144");
    };
    let most = "x".repeat(MAX_MESSAGE_TEXT);
    assert!(validate::send_message(message(&most)).is_ok());
    too_large(validate::send_message(message(&format!("{most}x"))), "text");
    let parts = vec![text(&most), text("x")];
    too_large(validate::send_message(proto::SendMessageRequest { parts: parts.clone(), ..message("") }), "parts");
    let initial_message = Some(proto::UserMessage { parts, created_by: None });
    let creation = proto::CreateSessionRequest { initial_message, ..creation() };
    assert_eq!(validate::create_session(creation).unwrap_err().metadata["field"], "initial_message.parts");
}

#[test]
fn a_message_says_what_it_does_while_a_turn_is_active() {
    let with = |busy_policy: i32| proto::SendMessageRequest { busy_policy, ..message("hello") };
    let plain = validate::send_message(message("hello")).unwrap();
    for (policy, busy) in [
        (proto::BusyPolicy::Unspecified, Busy::Reject),
        (proto::BusyPolicy::Reject, Busy::Reject),
        (proto::BusyPolicy::Queue, Busy::Queue),
        (proto::BusyPolicy::Interrupt, Busy::Interrupt),
    ] {
        let expected = validate::SendMessage { busy, ..plain.clone() };
        assert_eq!(validate::send_message(with(policy.into())).unwrap(), expected);
        let run = proto::RunTurnRequest {
            session_id: "ses_1".into(),
            text: "hello".into(),
            busy_policy: policy.into(),
            ..Default::default()
        };
        assert_eq!(validate::run_turn(run).unwrap().message, expected);
    }
    for other in [4, 99] {
        refused(validate::send_message(with(other)), "busy_policy");
    }
}

#[test]
fn a_request_id_names_what_is_asked_for() {
    let send = |id: &str, text: &str| {
        validate::send_message(proto::SendMessageRequest { request_id: id.into(), ..message(text) })
    };
    assert_eq!(send("", "hello").unwrap().request, None, "an empty id promises nothing");
    let call = |id: &str, text: &str| send(id, text).unwrap().request.unwrap();
    let one = call("r-1", "hello");
    assert_eq!((one.id.as_str(), one.method.as_str()), ("r-1", "SessionService/SendMessage"));
    assert_eq!(call("r-2", "hello").hash, one.hash, "the id is no part of what is asked for");
    assert_ne!(call("r-1", "hallo").hash, one.hash);
    assert!(send(&"x".repeat(128), "hello").is_ok());
    for bad in ["a b", "a.b", "\u{e4}", "a\0", &"x".repeat(129)] {
        let id = || bad.to_owned();
        refused(send(bad, "hello"), "request_id");
        refused(validate::create_session(proto::CreateSessionRequest { request_id: id(), ..creation() }), "request_id");
        let session_id = || "ses_1".to_owned();
        let stop = proto::StopSessionRequest { session_id: session_id(), request_id: id() };
        refused(validate::stop_session(stop), "request_id");
        let delete = proto::DeleteSessionRequest { session_id: session_id(), request_id: id(), ..Default::default() };
        refused(validate::delete_session(delete), "request_id");
        let run = proto::RunTurnRequest {
            session_id: session_id(),
            text: "t".into(),
            request_id: id(),
            ..Default::default()
        };
        refused(validate::run_turn(run), "request_id");
        refused(
            validate::resolve_permission(proto::ResolvePermissionRequest { request_id: id(), ..answers::answer() }),
            "request_id",
        );
        let answer = proto::AnswerQuestionRequest { request_id: id(), ..answers::reaction() };
        refused(validate::answer_question(answer), "request_id");
        let delete = proto::DeletePermissionRuleRequest { request_id: id(), ..answers::deletion() };
        refused(validate::delete_permission_rule(delete), "request_id");
        let profile = proto::AgentProfile { name: "n".into(), ..Default::default() };
        let create = proto::CreateProfileRequest { profile: Some(profile), request_id: id() };
        refused(validate::create_profile(create), "request_id");
        let update = proto::UpdateProfileRequest {
            profile: Some(proto::AgentProfile { profile_id: "prof_1".into(), ..Default::default() }),
            update_mask: Some(prost_types::FieldMask { paths: vec!["description".into()] }),
            request_id: id(),
        };
        refused(validate::update_profile(update), "request_id");
        let delete =
            proto::DeleteProfileRequest { profile_id: "prof_1".into(), request_id: id(), ..Default::default() };
        refused(validate::delete_profile(delete), "request_id");
    }
}

#[test]
fn only_a_known_turn_is_gone_on_with() {
    let run = |request_id: &str, after_sequence| {
        let (session_id, text, request_id) = ("ses_1".into(), "hello".into(), request_id.into());
        validate::run_turn(proto::RunTurnRequest { session_id, text, request_id, after_sequence, ..Default::default() })
    };
    assert_eq!(run("r-1", None).unwrap().after, None);
    let taken = run("r-1", Some(7)).unwrap();
    let resume = taken.after.unwrap();
    assert_eq!((resume.sequence, Some(&resume.request)), (7, taken.message.request.as_ref()));
    assert_eq!(
        run("r-1", None).unwrap().message.request,
        Some(resume.request),
        "how to watch is not what is asked for"
    );
    refused(run("", Some(7)), "after_sequence");
    refused(run("r-1", Some(-1)), "after_sequence");
}

fn watch() -> proto::WatchSessionRequest {
    proto::WatchSessionRequest { session_id: "ses_1".into(), ..Default::default() }
}

#[test]
fn a_watch_says_where_it_begins() {
    let taken = validate::watch_session(watch()).unwrap();
    assert_eq!((taken.session_id, taken.after, taken.expected_uid), (SessionId::new("ses_1"), None, None));
    assert!(!taken.snapshot_if_truncated);
    let taken = validate::watch_session(proto::WatchSessionRequest {
        after_sequence: Some(0),
        expected_uid: "log_1".into(),
        snapshot_if_truncated: true,
        ..watch()
    })
    .unwrap();
    assert_eq!((taken.after, taken.expected_uid.unwrap().as_str()), (Some(0), "log_1"));
    assert!(taken.snapshot_if_truncated);
    refused(
        validate::watch_session(proto::WatchSessionRequest { after_sequence: Some(-1), ..watch() }),
        "after_sequence",
    );
    refused(
        validate::watch_session(proto::WatchSessionRequest { expected_uid: "log_1".into(), ..watch() }),
        "expected_uid",
    );
}

#[test]
fn a_watch_is_silent_for_15_seconds_at_most() {
    let with = |seconds, nanos| {
        let bookmark_interval = Some(prost_types::Duration { seconds, nanos });
        validate::watch_session(proto::WatchSessionRequest { bookmark_interval, ..watch() })
    };
    assert_eq!(validate::watch_session(watch()).unwrap().bookmark_interval, Duration::from_secs(15));
    assert_eq!(with(1, 0).unwrap().bookmark_interval, Duration::from_secs(1));
    assert_eq!(with(15, 0).unwrap().bookmark_interval, Duration::from_secs(15));
    for (seconds, nanos) in [(0, 999_999_999), (15, 1), (-2, 0), (i64::MAX, 0), (i64::MIN, -1), (5, -1), (5, i32::MAX)]
    {
        refused(with(seconds, nanos), "bookmark_interval");
    }
}

#[test]
fn a_watch_says_what_it_leaves_out() {
    let taken = validate::watch_session(watch()).unwrap();
    assert_eq!((taken.filter, taken.max_batch_delay), (Filter::default(), Duration::ZERO));
    let conversation_ids = vec!["main".to_owned(), "task_1".to_owned()];
    let with = proto::WatchSessionRequest { conversation_ids, omit_deltas: true, ..watch() };
    let conversations = ["main", "task_1"].map(ConversationId::new).into();
    let filter = Filter { conversations, omit_deltas: true, turn: None };
    assert_eq!(validate::watch_session(with).unwrap().filter, filter);
    for ids in [vec![String::new()], vec!["x".repeat(129)], vec!["a\0".to_owned()]] {
        let with = proto::WatchSessionRequest { conversation_ids: ids, ..watch() };
        refused(validate::watch_session(with), "conversation_ids[0]");
    }
    let with = proto::WatchSessionRequest { conversation_ids: vec!["a".to_owned(); 101], ..watch() };
    refused(validate::watch_session(with), "conversation_ids");
}

#[test]
fn events_are_held_back_for_5_seconds_at_most() {
    let with = |seconds, nanos| {
        let max_batch_delay = Some(prost_types::Duration { seconds, nanos });
        validate::watch_session(proto::WatchSessionRequest { max_batch_delay, ..watch() })
    };
    for (seconds, nanos) in [(0, 0), (0, 20_000_000), (5, 0)] {
        let expected = Duration::from_secs(seconds) + Duration::from_nanos(nanos);
        let delay = with(i64::try_from(seconds).unwrap(), i32::try_from(nanos).unwrap()).unwrap().max_batch_delay;
        assert_eq!(delay, expected);
    }
    for (seconds, nanos) in [(5, 1), (-1, 0), (0, -1), (i64::MAX, 0)] {
        refused(with(seconds, nanos), "max_batch_delay");
    }
}

fn view(id: usize) -> SessionView {
    let mut session = generate::Generator::new(9).session();
    session.session_id = SessionId::new(format!("ses_{id}"));
    session.create_time = Timestamp(i64::try_from(1000 - id).unwrap());
    SessionView {
        session,
        oldest_sequence: 1,
        active_turn: None,
        queued_turns: Vec::new(),
        open_permissions: Vec::new(),
        open_questions: Vec::new(),
    }
}

#[test]
fn a_list_of_sessions_is_filtered() {
    let taken = validate::list_sessions(proto::ListSessionsRequest {
        page_size: 7,
        status: proto::SessionStatus::Running.into(),
        profile_id: "prof_1".into(),
        external_id: "t-1".into(),
        labels: labels(&[("a", "b")]),
        ..Default::default()
    })
    .unwrap();
    let query = taken.query;
    assert_eq!((query.status, query.limit), (Some(SessionStatus::Running), 8));
    assert_eq!((query.profile_id, query.external_id), (Some(ProfileId::new("prof_1")), Some("t-1".into())));
    assert_eq!((query.labels, query.before), (labels(&[("a", "b")]), None));
    let with = |page_size, status| {
        validate::list_sessions(proto::ListSessionsRequest { page_size, status, ..Default::default() })
    };
    assert_eq!(with(0, 0).unwrap().query.limit, 51);
    assert_eq!(with(1000, 0).unwrap().query.limit, 1001);
    refused(with(-1, 0), "page_size");
    refused(with(1001, 0), "page_size");
    refused(with(0, 7), "status");
}

#[test]
fn a_watch_of_the_list_is_filtered() {
    let request = proto::WatchSessionsRequest {
        after_revision: Some(7),
        status: proto::SessionStatus::Running.into(),
        profile_id: "prof_1".into(),
        labels: [("team".to_owned(), "a".to_owned())].into(),
    };
    let taken = validate::watch_sessions(request.clone()).unwrap();
    let filter = SessionFilter {
        status: Some(SessionStatus::Running),
        profile_id: Some(ProfileId::new("prof_1")),
        labels: request.labels.clone(),
    };
    assert_eq!(taken, validate::WatchSessions { filter, after: Some(7) });
    let all = validate::watch_sessions(proto::WatchSessionsRequest::default()).unwrap();
    assert_eq!(all, validate::WatchSessions { filter: SessionFilter::default(), after: None });
    refused(
        validate::watch_sessions(proto::WatchSessionsRequest { after_revision: Some(-1), ..request.clone() }),
        "after_revision",
    );
    refused(validate::watch_sessions(proto::WatchSessionsRequest { status: 77, ..request }), "status");
}

#[test]
fn pages_of_sessions_follow_each_other() {
    let request = proto::ListSessionsRequest { page_size: 2, profile_id: "p".into(), ..Default::default() };
    let first = validate::list_sessions(request.clone()).unwrap();
    assert_eq!(first.revision, None);
    let page = first.respond((0..3).map(view).collect(), 17);
    assert_eq!((page.sessions.len(), page.revision), (2, 17));
    let second = proto::ListSessionsRequest { page_token: page.next_page_token.clone(), ..request };
    let taken = validate::list_sessions(second.clone()).unwrap();
    assert_eq!(taken.query.before, Some((Timestamp(999), SessionId::new("ses_1"))));
    assert_eq!(taken.revision, Some(17), "the revision is that of the first page");
    assert_eq!(taken.respond((0..2).map(view).collect(), 17).next_page_token, "");
    let other = proto::ListSessionsRequest { profile_id: "q".into(), ..second };
    refused(validate::list_sessions(other), "page_token");
}

#[test]
fn pages_of_blocks_follow_each_other() {
    let request = proto::ListBlocksRequest {
        session_id: "ses_1".into(),
        order: proto::ListOrder::NewestFirst.into(),
        page_size: 3,
        ..Default::default()
    };
    let first = validate::list_blocks(request.clone()).unwrap();
    assert_eq!(first.session_id, SessionId::new("ses_1"));
    assert_eq!((&first.query.conversation_id, first.query.newest_first), (&ConversationId::main(), true));
    assert_eq!((first.query.limit, first.query.after, first.query.max_bytes), (3, None, 3 << 20));
    let mut block = generate::Generator::new(2).block();
    block.block_id = BlockId::new("blk_last");
    let page = first.respond(BlockPage { blocks: vec![block], next: Some(17), sequence: 40 });
    assert_eq!((page.sequence, page.blocks[0].block_id.as_str()), (40, "blk_last"));
    let second = proto::ListBlocksRequest { page_token: page.next_page_token, page_size: 9, ..request };
    assert_eq!(validate::list_blocks(second.clone()).unwrap().query.after, Some(17));
    let other = proto::ListBlocksRequest { conversation_id: "sub_1".into(), ..second.clone() };
    refused(validate::list_blocks(other), "page_token");
    let other = proto::ListBlocksRequest { session_id: "ses_2".into(), ..second };
    refused(validate::list_blocks(other), "page_token");
    let last = first.respond(BlockPage { blocks: Vec::new(), next: None, sequence: 40 });
    assert_eq!(last.next_page_token, "");
}

#[test]
fn a_profile_is_taken() {
    let create = |name: &str, description: &str| {
        let profile = proto::AgentProfile { name: name.into(), description: description.into(), ..Default::default() };
        validate::create_profile(proto::CreateProfileRequest { profile: Some(profile), request_id: String::new() })
    };
    let taken = create("reviewer", "reads").unwrap();
    assert_eq!((taken.name.as_str(), taken.description.as_str(), taken.agent), ("reviewer", "reads", None));
    assert!(create(&"n".repeat(200), &"d".repeat(1000)).is_ok());
    refused(create("", ""), "profile.name");
    refused(create(&"n".repeat(201), ""), "profile.name");
    refused(create("n", &"d".repeat(1001)), "profile.description");
    refused(validate::create_profile(proto::CreateProfileRequest::default()), "profile");
}

#[test]
fn pages_of_profiles_follow_each_other() {
    let profile = |name: &str| Profile {
        profile_id: ProfileId::new(format!("prof_{name}")),
        revision: 1,
        name: name.into(),
        description: String::new(),
        agent: None,
        setup: ProfileSetup::default(),
        created_by: Some(Principal::system()),
        create_time: Timestamp(1),
        update_time: Timestamp(1),
        etag: "e".into(),
    };
    let first = validate::list_profiles(proto::ListProfilesRequest { page_size: 1, ..Default::default() }).unwrap();
    assert_eq!((first.limit, &first.after), (2, &None));
    let page = first.respond(vec![profile("a"), profile("b")]);
    assert_eq!(page.profiles.len(), 1);
    assert_eq!((page.profiles[0].etag.as_str(), page.profiles[0].created_by.as_ref()), ("", None));
    let second =
        validate::list_profiles(proto::ListProfilesRequest { page_size: 1, page_token: page.next_page_token }).unwrap();
    assert_eq!(second.after, Some(("a".into(), ProfileId::new("prof_a"))));
}

#[test]
fn a_read_says_of_what_and_from_where() {
    let block = |block_id: &str, offset| {
        let (session_id, block_id) = ("ses_1".into(), block_id.into());
        validate::read_block_content(proto::ReadBlockContentRequest { session_id, block_id, offset })
    };
    let taken = block("blk_1", 7).unwrap();
    let expected =
        validate::ReadBlockContent { session_id: SessionId::new("ses_1"), block_id: BlockId::new("blk_1"), offset: 7 };
    assert_eq!(taken, expected);
    assert_eq!(block(&"x".repeat(256), i64::MAX).unwrap().offset, i64::MAX.unsigned_abs());
    refused(block("", 0), "block_id");
    refused(block(&"x".repeat(257), 0), "block_id");
    refused(block("a\0b", 0), "block_id");
    refused(block("blk_1", -1), "offset");
    refused(
        validate::read_block_content(proto::ReadBlockContentRequest { block_id: "b".into(), ..Default::default() }),
        "session_id",
    );

    let hash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let blob = |sha256: &str, offset| {
        validate::read_blob(proto::ReadBlobRequest { session_id: "ses_1".into(), sha256: sha256.into(), offset })
    };
    let expected = validate::ReadBlob { session_id: SessionId::new("ses_1"), sha256: hash.into(), offset: 3 };
    assert_eq!(blob(hash, 3).unwrap(), expected);
    for other in ["", &hash[1..], &hash.to_uppercase(), &format!("{hash}0"), &hash.replace('e', "g")] {
        refused(blob(other, 0), "sha256");
    }
    refused(blob(hash, -1), "offset");
    refused(validate::read_blob(proto::ReadBlobRequest { sha256: hash.into(), ..Default::default() }), "session_id");
}
