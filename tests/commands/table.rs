//! Every RPC that changes something, with requests for it, and what its effects can be counted by.

use std::collections::BTreeSet;

use agent_runtime::{
    domain::Scope,
    grpc::{Access, access, fields::UNBUILT},
    proto::{self, SessionStatus, descriptors, session_event::Kind},
};
use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use tonic::{Code, Status};

use crate::{
    raw,
    support::{PATIENCE, Server, Sessions, get, run, scripted, send, snapshot, until, watch},
};

/// An RPC with two requests that ask for different things. `SESSION` stands for a session's id, `PERMISSION` for that of what
/// its agent asks or of the rule that an answer left, `PROFILE` for that of a profile, `TURN` for that of a turn that waits.
pub(crate) struct Case {
    pub(crate) method: &'static str,
    asks: &'static str,
    asks_otherwise: &'static str,
    before: Before,
}

/// What the session does when the call comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    /// Its workspace has files.
    Files,
    Idle,
    /// It has a turn that does not end by itself.
    Works,
    /// As `Works`, and a message waits behind it: the session's id is followed by that of its turn.
    Queues,
    /// As `Works`, and its agent asks for permission: the session's id is followed by that of the request.
    Asks,
    /// The same of a question.
    Questions,
    /// As `Works`, and an answer left a rule: the session's id is followed by that of the rule.
    Rules,
    /// It has nothing to do with it, but there is a profile, whose id follows that of the session.
    Profile,
}

/// A turn that does not end by itself.
pub(crate) const LONG: &str = r#"[{"pause_ms":600000}]"#;
/// One that waits for an answer first.
const ASKS: &str = r#"[{"ask":{"tool":"Write"}},{"pause_ms":600000}]"#;
const QUESTIONS: &str = r#"[{"question":[{"question":"May I?"}]},{"pause_ms":600000}]"#;

pub(crate) const CASES: &[Case] = &[
    Case {
        method: "SessionService/CreateSession",
        asks: r#"{"agent":"scripted","externalId":"ticket","labels":{"a":"1","b":"2","c":"3","d":"4"},
            "metadata":{"z":1,"y":{"b":2,"a":[1,2]},"x":null},
            "initialMessage":{"parts":[{"text":"[{\"pause_ms\":600000}]"}]}}"#,
        asks_otherwise: r#"{"agent":"scripted","labels":{"a":"2","b":"1"}}"#,
        before: Before::Idle,
    },
    Case {
        method: "SessionService/UpdateSession",
        asks: r#"{"session":{"sessionId":"SESSION","name":"n","labels":{"a":"1","b":"2","c":"3"}},"updateMask":"name,labels"}"#,
        asks_otherwise: r#"{"session":{"sessionId":"SESSION","name":"n"},"updateMask":"name"}"#,
        before: Before::Works,
    },
    Case {
        method: "SessionService/StopSession",
        asks: r#"{"sessionId":"SESSION"}"#,
        asks_otherwise: r#"{"sessionId":"SESSION-2"}"#,
        before: Before::Works,
    },
    Case {
        method: "SessionService/DeleteSession",
        asks: r#"{"sessionId":"SESSION"}"#,
        asks_otherwise: r#"{"sessionId":"SESSION","etag":"other"}"#,
        before: Before::Works,
    },
    Case {
        method: "SessionService/SendMessage",
        asks: r#"{"sessionId":"SESSION","text":"[{\"pause_ms\":600000}]"}"#,
        asks_otherwise: r#"{"sessionId":"SESSION","text":"hello"}"#,
        before: Before::Idle,
    },
    Case {
        method: "SessionService/RunTurn",
        asks: r#"{"sessionId":"SESSION","text":"[{\"pause_ms\":600000}]"}"#,
        asks_otherwise: r#"{"sessionId":"SESSION","text":"hello"}"#,
        before: Before::Idle,
    },
    Case {
        method: "SessionService/InterruptTurn",
        asks: r#"{"sessionId":"SESSION"}"#,
        asks_otherwise: r#"{"sessionId":"SESSION","turnId":"turn_none"}"#,
        before: Before::Works,
    },
    Case {
        method: "SessionService/CancelTurn",
        asks: r#"{"sessionId":"SESSION","turnId":"TURN"}"#,
        asks_otherwise: r#"{"sessionId":"SESSION","turnId":"turn_none"}"#,
        before: Before::Queues,
    },
    Case {
        method: "SessionService/ResolvePermission",
        asks: r#"{"sessionId":"SESSION","permissionId":"PERMISSION","optionId":"allow_once"}"#,
        asks_otherwise: r#"{"sessionId":"SESSION","permissionId":"PERMISSION","optionId":"reject_once"}"#,
        before: Before::Asks,
    },
    Case {
        method: "SessionService/AnswerQuestion",
        asks: r#"{"sessionId":"SESSION","questionId":"PERMISSION","answers":[{"text":"yes"}]}"#,
        asks_otherwise: r#"{"sessionId":"SESSION","questionId":"PERMISSION","message":"no"}"#,
        before: Before::Questions,
    },
    Case {
        method: "SessionService/DeletePermissionRule",
        asks: r#"{"sessionId":"SESSION","ruleId":"PERMISSION"}"#,
        asks_otherwise: r#"{"sessionId":"SESSION","ruleId":"other"}"#,
        before: Before::Rules,
    },
    Case {
        method: "WorkspaceService/WriteFile",
        asks: r#"{"sessionId":"SESSION","file":{"path":"a","content":"b25l"}}"#,
        asks_otherwise: r#"{"sessionId":"SESSION","file":{"path":"a","content":"dHdv"}}"#,
        before: Before::Idle,
    },
    Case {
        method: "WorkspaceService/UploadFile",
        asks: r#"{"header":{"sessionId":"SESSION","path":"empty"}}"#,
        asks_otherwise: r#"{"header":{"sessionId":"SESSION","path":"empty","mode":448}}"#,
        before: Before::Idle,
    },
    Case {
        method: "WorkspaceService/DeleteFile",
        asks: r#"{"sessionId":"SESSION","path":"there"}"#,
        asks_otherwise: r#"{"sessionId":"SESSION","path":"other"}"#,
        before: Before::Files,
    },
    Case {
        method: "ProfileService/CreateProfile",
        asks: r#"{"profile":{"name":"reviewer"}}"#,
        asks_otherwise: r#"{"profile":{"name":"writer"}}"#,
        before: Before::Idle,
    },
    Case {
        method: "ProfileService/UpdateProfile",
        asks: r#"{"profile":{"profileId":"PROFILE","description":"reads","environment":{"A":{"value":"1"},"B":{"value":"2"}}},
            "updateMask":"description,environment"}"#,
        asks_otherwise: r#"{"profile":{"profileId":"PROFILE","description":"writes"},"updateMask":"description"}"#,
        before: Before::Profile,
    },
    Case {
        method: "ProfileService/DeleteProfile",
        asks: r#"{"profileId":"PROFILE"}"#,
        asks_otherwise: r#"{"profileId":"PROFILE","etag":"another"}"#,
        before: Before::Profile,
    },
];

/// Calls whose effect is no event, and where they are tried.
const ELSEWHERE: &[(&str, &str)] = &[("SessionService/SyncSession", "tests/options/sync.rs")];

/// A server's sessions and profiles, counted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Effects {
    sessions: usize,
    profiles: usize,
    revisions: usize,
    turns: usize,
    updates: usize,
    /// Turns that callers changed after they were accepted.
    changed: usize,
    stops: usize,
    edits: usize,
    answers: usize,
}

fn descriptor(method: &str) -> MessageDescriptor {
    let (service, name) = method.split_once('/').expect("SERVICE/METHOD");
    let service = descriptors().get_service_by_name(&format!("agentruntime.v1.{service}")).expect("a service");
    service.methods().find(|known| known.name() == name).expect("a method").input()
}

fn wire(method: &str, json: &str, session: &str, request_id: &str) -> Vec<u8> {
    let (session, other) = session.split_once('-').unwrap_or((session, "none"));
    let json =
        json.replace("PERMISSION", other).replace("PROFILE", other).replace("TURN", other).replace("SESSION", session);
    let mut deserializer = serde_json::Deserializer::from_str(&json);
    let mut message = DynamicMessage::deserialize(descriptor(method), &mut deserializer).expect("a request");
    // What is uploaded says it in its header.
    let whom = match message.get_field_by_name_mut("header") {
        Some(header) => header.as_message_mut().expect("a header"),
        None => &mut message,
    };
    whom.set_field_by_name("request_id", prost_reflect::Value::String(request_id.to_owned()));
    // Maps are written in the order of a hash map: another one each time.
    message.encode_to_vec()
}

/// Plays a script up to what it asks, and returns the id of that.
async fn asked(sessions: &mut Sessions, id: &str, script: &str) -> String {
    let mut stream = watch(sessions, id, Some(0)).await.expect("a watch");
    send(sessions, id, script).await.expect("accepted");
    let asks = |event: &proto::SessionEvent| {
        matches!(event.kind, Some(Kind::PermissionRequested(_) | Kind::QuestionRequested(_)))
    };
    until(&mut stream, asks).await;
    let request = proto::GetSessionRequest { session_id: id.to_owned() };
    let shown = sessions.get_session(request).await.expect("there").into_inner();
    let permission = shown.open_permissions.into_iter().map(|open| open.permission_id);
    permission.chain(shown.open_questions.into_iter().map(|open| open.question_id)).next().expect("it asks")
}

impl Case {
    /// A session for the request.
    pub(crate) async fn session(&self, server: &Server) -> String {
        let mut sessions = server.sessions().await;
        let id = scripted(&mut sessions).await.session_id;
        match self.before {
            Before::Files => {
                run(&mut sessions, &id, r#"[{"run":"echo x >there; echo y >other"}]"#).await;
                id
            }
            Before::Idle => id,
            Before::Works => {
                send(&mut sessions, &id, LONG).await.expect("accepted");
                id
            }
            Before::Queues => {
                send(&mut sessions, &id, LONG).await.expect("accepted");
                let (session_id, busy_policy) = (id.clone(), proto::BusyPolicy::Queue.into());
                let request =
                    proto::SendMessageRequest { session_id, text: "hello".into(), busy_policy, ..Default::default() };
                let queued = sessions.send_message(request).await.expect("accepted").into_inner().turn;
                format!("{id}-{}", queued.expect("a turn").turn_id)
            }
            Before::Asks => format!("{id}-{}", asked(&mut sessions, &id, ASKS).await),
            Before::Questions => format!("{id}-{}", asked(&mut sessions, &id, QUESTIONS).await),
            Before::Rules => {
                let permission_id = asked(&mut sessions, &id, ASKS).await;
                let (session_id, option_id) = (id.clone(), "allow_always".to_owned());
                let answer =
                    proto::ResolvePermissionRequest { session_id, permission_id, option_id, ..Default::default() };
                let answered = sessions.resolve_permission(answer).await.expect("answered").into_inner();
                format!("{id}-{}", answered.rule.expect("a rule").rule_id)
            }
            Before::Profile => {
                let profile = proto::AgentProfile { name: "subject".into(), ..Default::default() };
                let request = proto::CreateProfileRequest { profile: Some(profile), ..Default::default() };
                let created = server.profiles().await.create_profile(request).await.expect("created").into_inner();
                format!("{id}-{}", created.profile.expect("a profile").profile_id)
            }
        }
    }

    pub(crate) fn request(&self, session: &str, request_id: &str) -> Vec<u8> {
        wire(self.method, self.asks, session, request_id)
    }

    pub(crate) fn another(&self, session: &str, request_id: &str) -> Vec<u8> {
        wire(self.method, self.asks_otherwise, session, request_id)
    }

    /// Calls it, and returns the first message of the answer.
    pub(crate) async fn call(&self, server: &Server, request: Vec<u8>) -> Result<Vec<u8>, Status> {
        let answered = async {
            let answer = raw::call(server, self.method, Some(&server.key), request).await?;
            answer.into_inner().message().await.map(|message| message.expect("an answer"))
        };
        tokio::time::timeout(PATIENCE, answered).await.expect("no hang")
    }

    pub(crate) async fn refused(&self, server: &Server, request: Vec<u8>) -> Status {
        self.call(server, request).await.expect_err(self.method)
    }
}

impl Effects {
    /// What came since.
    pub(crate) fn since(&self, before: &Self) -> [isize; 9] {
        let counts = |of: &Self| {
            let all = [
                of.sessions,
                of.profiles,
                of.revisions,
                of.turns,
                of.updates,
                of.changed,
                of.stops,
                of.edits,
                of.answers,
            ];
            all.map(usize::cast_signed)
        };
        let (now, then) = (counts(self), counts(before));
        std::array::from_fn(|at| now[at] - then[at])
    }

    /// Of all that was done on the server so far.
    pub(crate) async fn on(server: &Server) -> Self {
        let (mut sessions, mut profiles) = (server.sessions().await, server.profiles().await);
        let list = proto::ListSessionsRequest { page_size: 1000, ..Default::default() };
        let listed = sessions.list_sessions(list).await.expect("a list").into_inner().sessions;
        let list = proto::ListProfilesRequest { page_size: 1000, ..Default::default() };
        let found = profiles.list_profiles(list).await.expect("a list").into_inner().profiles;
        let revisions = found.iter().map(|profile| usize::try_from(profile.revision).expect("a number")).sum();
        let mut effects = Self {
            sessions: listed.len(),
            profiles: found.len(),
            revisions,
            turns: 0,
            updates: 0,
            changed: 0,
            stops: 0,
            edits: 0,
            answers: 0,
        };
        for session in listed {
            let id = session.session_id;
            let (state, _) = snapshot(&mut sessions, &id).await;
            effects.turns += state.turns.len();
            let outcomes =
                state.permissions.iter().filter_map(|asked| asked.resolution.as_ref()?.option_id.chars().next());
            effects.answers += outcomes.count();
            effects.answers += state.questions.iter().filter(|question| question.resolution.is_some()).count();
            let head = get(&mut sessions, &id).await.sequence;
            let mut stream = watch(&mut sessions, &id, Some(0)).await.expect("a watch");
            let events = until(&mut stream, |event| event.sequence >= head).await;
            let told = |event: &&proto::SessionEvent| event.actor.as_ref().is_some_and(|by| !by.subject.is_empty());
            let mut by_callers: Vec<_> = events.iter().filter(told).filter_map(turn_of).collect();
            by_callers.sort();
            effects.changed += by_callers.chunk_by(PartialEq::eq).filter(|changes| changes.len() > 1).count();
            let stopped = |kind: &Kind| matches!(kind, Kind::StatusChanged(changed) if changed.status() == SessionStatus::Stopped);
            let edited = |kind: &Kind| matches!(kind, Kind::FilesChanged(_) | Kind::PermissionRulesChanged(_));
            let updated = |kind: &Kind| matches!(kind, Kind::SessionUpdated(_));
            effects.updates +=
                events.iter().filter_map(|event| event.kind.as_ref()).filter(|kind| updated(kind)).count();
            effects.edits += events.iter().filter_map(|event| event.kind.as_ref()).filter(|kind| edited(kind)).count();
            effects.stops += events.iter().filter_map(|event| event.kind.as_ref()).filter(|kind| stopped(kind)).count();
        }
        effects
    }
}

/// Whose turn changed.
fn turn_of(event: &proto::SessionEvent) -> Option<String> {
    match &event.kind {
        Some(Kind::TurnUpdated(updated)) => updated.turn.as_ref(),
        Some(Kind::TurnQueued(queued)) => queued.turn.as_ref(),
        _ => None,
    }
    .map(|turn| turn.turn_id.clone())
}

/// Methods that change something: they need a scope that allows it, and do not say that they have no side effects.
fn mutating() -> BTreeSet<String> {
    let services = descriptors().services().filter(|service| service.package_name() == "agentruntime.v1");
    let methods = services.flat_map(|service| service.methods().collect::<Vec<_>>());
    let changing = methods.filter(|method| {
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        let options = method.method_descriptor_proto().options.clone().unwrap_or_default();
        let harmless = options.idempotency_level() == prost_types::method_options::IdempotencyLevel::NoSideEffects;
        let allowed = match access(&path) {
            Access::Scope(Scope::Write | Scope::Approve | Scope::Admin) => true,
            Access::Scope(Scope::Read) | Access::AnyKey | Access::Open => false,
        };
        allowed && !harmless
    });
    changing.map(|method| format!("{}/{}", method.parent_service().name(), method.name())).collect()
}

#[test]
fn every_call_that_changes_something_is_tried_or_not_built() {
    let mutating = mutating();
    let elsewhere = ELSEWHERE.iter().map(|(method, _)| *method);
    let tried: BTreeSet<String> = CASES.iter().map(|case| case.method).chain(elsewhere).map(str::to_owned).collect();
    let built: BTreeSet<String> =
        mutating.iter().filter(|method| !UNBUILT.contains(&method.as_str())).cloned().collect();
    assert_eq!(built, tried);
    assert!(mutating.len() > 18, "only {mutating:?}");
    // What only reads, though it streams and needs a strong scope, takes no id.
    for method in mutating.iter().filter(|method| *method != "SessionService/ExportTranscript") {
        let request = descriptor(method);
        let header = request.get_field_by_name("header").and_then(|field| field.kind().as_message().cloned());
        let has_id = |message: &MessageDescriptor| message.get_field_by_name("request_id").is_some();
        assert!(has_id(&request) || header.as_ref().is_some_and(has_id), "{method} takes no request_id");
    }
}

/// The refusal of an id that was used for something else.
#[track_caller]
pub(crate) fn reused(refusal: &Status, id: &str, method: &str) {
    use tonic_types::StatusExt as _;
    let info = refusal.get_details_error_info().expect("details");
    assert_eq!((refusal.code(), info.reason.as_str()), (Code::AlreadyExists, "REQUEST_ID_REUSED"), "{method}");
    assert_eq!((info.metadata["request_id"].as_str(), info.metadata["method"].as_str()), (id, method));
}
