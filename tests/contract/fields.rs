//! Nothing accepted is ignored: every field of every request of a built RPC takes effect, as a named test shows, or is
//! refused by its name, as is tried here.

use std::{
    collections::{BTreeSet, HashMap},
    path::Path,
};

use agent_runtime::{
    domain::Failure,
    grpc::{
        fields::{FIELDS, Fields, UNBUILT, Use},
        validate,
    },
    proto::{self, descriptors},
};
use prost::Message;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};

/// A request with a profile that has one of everything; of the ways to reach a tool server there can be only one.
macro_rules! profile {
    ($id:literal, $transport:expr, $mask:literal) => {
        concat!(
            r#"{"profile":{"#,
            $id,
            r#""name":"reviewer","#,
            r#""skills":[{"name":"a","description":"d","body":"b","supportingFiles":[{"path":"p"}]}],"#,
            r#""subagents":[{"name":"a","description":"d","prompt":"p"}],"#,
            r#""commands":[{"name":"b","prompt":"p"}],"#,
            r#""permissionPolicy":{"rules":[{"ruleId":"r","toolName":"Bash","effect":"PERMISSION_EFFECT_ALLOW"}]},"#,
            r#""defaultWorkspaceFiles":[{"path":"p"}],"#,
            r#""mcpServers":[{"name":"a","#,
            $transport,
            "}]}",
            $mask,
            "}"
        )
    };
}

macro_rules! stdio {
    () => {
        r#""stdio":{"command":"c"}"#
    };
}

macro_rules! http {
    () => {
        r#""http":{"url":"https://example.com/a"}"#
    };
}

macro_rules! bundle {
    () => {
        r#""bundle":{"projectPath":"/srv/a","startCommand":"s"}"#
    };
}

/// For every built RPC a request that is taken, or several where no one can carry every field.
const BASES: &[(&str, &str)] = &[
    ("SessionService/CreateSession", r#"{"initialMessage":{"parts":[{"text":"hello"}]}}"#),
    (
        "SessionService/CreateSession",
        r#"{"workspaceSource":{"git":{"url":"https://example.com/a"}},"workspaceFiles":[{"path":"a"}]}"#,
    ),
    (
        "SessionService/CreateSession",
        r#"{"workspaceSource":{"archive":{"format":"ARCHIVE_FORMAT_ZIP","data":"UEs="}}}"#,
    ),
    ("SessionService/CreateSession", r#"{"workspaceSource":{"directory":"/srv/a"}}"#),
    ("SessionService/GetSession", r#"{"sessionId":"ses_1"}"#),
    ("SessionService/ListSessions", "{}"),
    ("SessionService/StopSession", r#"{"sessionId":"ses_1"}"#),
    ("SessionService/DeleteSession", r#"{"sessionId":"ses_1"}"#),
    (
        "SessionService/UpdateSession",
        r#"{"session":{"sessionId":"ses_1"},"updateMask":"name,labels,metadata,options"}"#,
    ),
    ("SessionService/SyncSession", r#"{"sessionId":"ses_1"}"#),
    ("SessionService/SendMessage", r#"{"sessionId":"ses_1","parts":[{"text":"hello"}]}"#),
    ("SessionService/RunTurn", r#"{"sessionId":"ses_1","parts":[{"text":"hello"}]}"#),
    ("SessionService/GetTurn", r#"{"sessionId":"ses_1","turnId":"turn_1"}"#),
    ("SessionService/ListTurns", r#"{"sessionId":"ses_1"}"#),
    ("SessionService/InterruptTurn", r#"{"sessionId":"ses_1"}"#),
    ("SessionService/CancelTurn", r#"{"sessionId":"ses_1","turnId":"turn_1"}"#),
    ("SessionService/ResolvePermission", r#"{"sessionId":"ses_1","permissionId":"perm_1","optionId":"allow_once"}"#),
    ("SessionService/AnswerQuestion", r#"{"sessionId":"ses_1","questionId":"ques_1","answers":[{"text":"yes"}]}"#),
    ("SessionService/ListPermissionRules", r#"{"sessionId":"ses_1"}"#),
    ("SessionService/DeletePermissionRule", r#"{"sessionId":"ses_1","ruleId":"rule_1"}"#),
    ("SessionService/WatchSession", r#"{"sessionId":"ses_1"}"#),
    ("SessionService/WatchSessions", "{}"),
    ("SessionService/ListBlocks", r#"{"sessionId":"ses_1"}"#),
    ("SessionService/ReadBlockContent", r#"{"sessionId":"ses_1","blockId":"blk_1"}"#),
    (
        "SessionService/ReadBlob",
        r#"{"sessionId":"ses_1","sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}"#,
    ),
    ("WorkspaceService/ListFiles", r#"{"sessionId":"ses_1"}"#),
    ("WorkspaceService/ReadFile", r#"{"sessionId":"ses_1","path":"a"}"#),
    ("WorkspaceService/WriteFile", r#"{"sessionId":"ses_1","file":{"path":"a"}}"#),
    ("WorkspaceService/UploadFile", r#"{"header":{"sessionId":"ses_1","path":"a"}}"#),
    ("WorkspaceService/DeleteFile", r#"{"sessionId":"ses_1","path":"a"}"#),
    ("ProfileService/CreateProfile", profile!("", stdio!(), "")),
    ("ProfileService/CreateProfile", profile!("", http!(), "")),
    ("ProfileService/CreateProfile", profile!("", bundle!(), "")),
    (
        "ProfileService/CreateProfile",
        r#"{"profile":{"name":"a","permissionPolicy":{"rules":[{"toolName":"Bash","effect":"PERMISSION_EFFECT_ALLOW"}]}}}"#,
    ),
    ("ProfileService/UpdateProfile", profile!(r#""profileId":"prof_1","#, stdio!(), r#","updateMask":"name""#)),
    ("ProfileService/UpdateProfile", profile!(r#""profileId":"prof_1","#, http!(), r#","updateMask":"name""#)),
    ("ProfileService/UpdateProfile", profile!(r#""profileId":"prof_1","#, bundle!(), r#","updateMask":"name""#)),
    ("ProfileService/DeleteProfile", r#"{"profileId":"prof_1"}"#),
    ("ProfileService/GetProfile", r#"{"profileId":"prof_1"}"#),
    ("ProfileService/ListProfiles", "{}"),
    ("RuntimeService/GetRuntimeInfo", "{}"),
    ("RuntimeService/ListSandboxes", "{}"),
    // Bytes of each kind of part.
    (
        "SessionService/CreateSession",
        r#"{"agent":"scripted","initialMessage":{"parts":[{"image":{"mediaType":"image/png","data":"eXk="}}]}}"#,
    ),
    (
        "SessionService/CreateSession",
        r#"{"agent":"scripted","initialMessage":{"parts":[{"attachment":{"mediaType":"application/pdf","data":"eXk="}}]}}"#,
    ),
    ("SessionService/SendMessage", r#"{"sessionId":"s","parts":[{"image":{"mediaType":"image/png","data":"eXk="}}]}"#),
    (
        "SessionService/SendMessage",
        r#"{"sessionId":"s","parts":[{"attachment":{"mediaType":"application/pdf","data":"eXk="}}]}"#,
    ),
    ("SessionService/RunTurn", r#"{"sessionId":"s","parts":[{"image":{"mediaType":"image/png","data":"eXk="}}]}"#),
    (
        "SessionService/RunTurn",
        r#"{"sessionId":"s","parts":[{"attachment":{"mediaType":"application/pdf","data":"eXk="}}]}"#,
    ),
];

/// What the server makes of a request: what it took, as text to compare, or why not.
fn validated(method: &str, wire: &[u8]) -> Result<String, Failure> {
    fn run<M: Message + Default, T: std::fmt::Debug>(
        wire: &[u8],
        validate: impl Fn(M) -> Result<T, Failure>,
    ) -> Result<String, Failure> {
        validate(M::decode(wire).unwrap()).map(|taken| format!("{taken:?}"))
    }
    match method {
        "SessionService/CreateSession" => run(wire, validate::create_session),
        "SessionService/GetSession" => run(wire, validate::get_session),
        "SessionService/ListSessions" => run(wire, validate::list_sessions),
        "SessionService/StopSession" => run(wire, validate::stop_session),
        "SessionService/DeleteSession" => run(wire, validate::delete_session),
        "SessionService/UpdateSession" => run(wire, validate::update_session),
        "SessionService/SyncSession" => run(wire, validate::sync_session),
        "SessionService/SendMessage" => run(wire, validate::send_message),
        "SessionService/RunTurn" => run(wire, validate::run_turn),
        "SessionService/GetTurn" => run(wire, validate::get_turn),
        "SessionService/ListTurns" => run(wire, validate::list_turns),
        "SessionService/InterruptTurn" => run(wire, validate::interrupt_turn),
        "SessionService/CancelTurn" => run(wire, validate::cancel_turn),
        "SessionService/ResolvePermission" => run(wire, validate::resolve_permission),
        "SessionService/AnswerQuestion" => run(wire, validate::answer_question),
        "SessionService/ListPermissionRules" => run(wire, validate::list_permission_rules),
        "SessionService/DeletePermissionRule" => run(wire, validate::delete_permission_rule),
        "SessionService/WatchSession" => run(wire, validate::watch_session),
        "SessionService/WatchSessions" => run(wire, validate::watch_sessions),
        "SessionService/ListBlocks" => run(wire, validate::list_blocks),
        "SessionService/ReadBlockContent" => run(wire, validate::read_block_content),
        "SessionService/ReadBlob" => run(wire, validate::read_blob),
        "WorkspaceService/ListFiles" => run(wire, validate::list_files),
        "WorkspaceService/ReadFile" => run(wire, validate::read_file),
        "WorkspaceService/WriteFile" => run(wire, validate::write_file),
        "WorkspaceService/UploadFile" => run(wire, |request: proto::UploadFileRequest| match &request.payload {
            Some(proto::upload_file_request::Payload::Data(_)) => {
                validate::upload_piece(request, 0).map(|data| format!("{data:?}"))
            }
            Some(proto::upload_file_request::Payload::Header(_)) | None => {
                validate::upload_file(request).map(|upload| format!("{upload:?}"))
            }
        }),
        "WorkspaceService/DeleteFile" => run(wire, validate::delete_file),
        "ProfileService/CreateProfile" => run(wire, validate::create_profile),
        "ProfileService/UpdateProfile" => run(wire, validate::update_profile),
        "ProfileService/DeleteProfile" => run(wire, validate::delete_profile),
        "ProfileService/GetProfile" => run(wire, validate::get_profile),
        "ProfileService/ListProfiles" => run(wire, validate::list_profiles),
        "RuntimeService/GetRuntimeInfo" => run(wire, validate::get_runtime_info),
        "RuntimeService/ListSandboxes" => run(wire, validate::list_sandboxes),
        other => panic!("{other} has no validation"),
    }
}

/// Where a field stands in a request: the fields on the way there, then the field itself.
type Place = Vec<FieldDescriptor>;

/// All fields that a request can carry, down to those that are refused or hold no message of ours.
fn places(message: &MessageDescriptor, way: &Place, found: &mut Vec<(Place, Use)>) {
    let table: HashMap<&str, Use> = fields_of(message.name()).iter().copied().collect();
    for field in message.fields() {
        let name = format!("{}.{}", message.name(), field.name());
        let used = *table.get(field.name()).unwrap_or_else(|| panic!("{name} is not in grpc::fields"));
        let mut place = way.clone();
        place.push(field.clone());
        if let (Use::Effective(test), Some(inner)) = (used, own_message(&field)) {
            assert_test_exists(&name, test);
            places(&inner, &place, found);
        } else {
            found.push((place, used));
        }
    }
}

fn fields_of(message: &str) -> Fields {
    let entry = FIELDS.iter().copied().flatten().find(|(name, _)| *name == message);
    entry.unwrap_or_else(|| panic!("{message} is not in grpc::fields")).1
}

/// The message a field holds, or the values of its map, when its fields are ours to explain.
fn own_message(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    let kind = match field.kind() {
        Kind::Message(entry) if field.is_map() => entry.map_entry_value_field().kind(),
        kind => kind,
    };
    match kind {
        Kind::Message(inner) if inner.package_name() == "agentruntime.v1" => Some(inner),
        _ => None,
    }
}

fn assert_test_exists(field: &str, test: &str) {
    let (file, name) = test.split_once("::").unwrap_or_else(|| panic!("{field}: {test} names no test"));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let source = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{field}: {file}: {error}"));
    assert!(source.contains(&format!("fn {name}()")), "{field}: there is no test {test}");
}

/// As a `BadRequest` names it.
fn path(place: &Place) -> String {
    let (last, way) = place.split_last().unwrap();
    let mut path = String::new();
    for field in way {
        path += field.name();
        path += match (field.is_list(), field.is_map()) {
            (true, _) => "[0].",
            (_, true) => "[\"key\"].",
            (false, false) => ".",
        };
    }
    path + last.name()
}

/// The base requests of a method.
fn bases(method: &str, request: &MessageDescriptor) -> impl Iterator<Item = DynamicMessage> {
    BASES.iter().filter(move |(name, _)| *name == method).map(move |(_, base)| {
        let mut deserializer = serde_json::Deserializer::from_str(base);
        DynamicMessage::deserialize(request.clone(), &mut deserializer).unwrap()
    })
}

fn set(message: &mut DynamicMessage, place: &[FieldDescriptor]) {
    let (field, rest) = place.split_first().unwrap();
    if rest.is_empty() {
        message.set_field(field, sample(field));
        return;
    }
    let inner = match message.get_field_mut(field) {
        Value::List(values) => {
            if values.is_empty() {
                values.push(sample_of(&field.kind()));
            }
            &mut values[0]
        }
        Value::Map(entries) => {
            let Kind::Message(entry) = field.kind() else { unreachable!() };
            entries
                .entry(MapKey::String("key".into()))
                .or_insert_with(|| sample_of(&entry.map_entry_value_field().kind()))
        }
        value => value,
    };
    set(inner.as_message_mut().unwrap(), rest);
}

fn mask(message: &mut DynamicMessage, name: &str) {
    let mask = prost_types::FieldMask { paths: vec![name.to_owned()] };
    let descriptor = descriptors().get_message_by_name("google.protobuf.FieldMask").unwrap();
    let mask = DynamicMessage::decode(descriptor, mask.encode_to_vec().as_slice()).unwrap();
    message.set_field_by_name("update_mask", Value::Message(mask));
}

fn sample(field: &FieldDescriptor) -> Value {
    if field.is_map() {
        let Kind::Message(entry) = field.kind() else { unreachable!() };
        let value = sample_of(&entry.map_entry_value_field().kind());
        Value::Map(HashMap::from([(MapKey::String("key".into()), value)]))
    } else if field.is_list() {
        Value::List(vec![sample_of(&field.kind())])
    } else {
        sample_of(&field.kind())
    }
}

fn sample_of(kind: &Kind) -> Value {
    match kind {
        Kind::Double => Value::F64(1.0),
        Kind::Float => Value::F32(1.0),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(1),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(1),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(1),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(1),
        Kind::Bool => Value::Bool(true),
        Kind::String => Value::String("scripted".into()),
        Kind::Bytes => Value::Bytes("x".into()),
        // 1 often is what 0 stands for.
        Kind::Enum(_) => Value::EnumNumber(2),
        // Being there is what counts, but for a time of nothing.
        Kind::Message(inner) => {
            let mut message = DynamicMessage::new(inner.clone());
            if inner.full_name() == "google.protobuf.Duration" {
                message.set_field_by_name("seconds", Value::I64(1));
            }
            Value::Message(message)
        }
    }
}

/// Every built method with its request.
fn built() -> Vec<(String, MessageDescriptor)> {
    let services = descriptors().services().filter(|service| service.package_name() == "agentruntime.v1");
    let methods = services.flat_map(|service| service.methods().collect::<Vec<_>>());
    let named = methods.map(|method| (format!("{}/{}", method.parent_service().name(), method.name()), method.input()));
    named.filter(|(name, _)| !UNBUILT.contains(&name.as_str())).collect()
}

#[test]
fn an_rpc_is_built_or_it_is_not() {
    let built: BTreeSet<String> = built().into_iter().map(|(name, _)| name).collect();
    let bases: BTreeSet<String> = BASES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(built, bases);
    for name in UNBUILT {
        let (service, method) = name.split_once('/').unwrap();
        let service = descriptors().get_service_by_name(&format!("agentruntime.v1.{service}")).unwrap();
        assert!(service.methods().any(|known| known.name() == method), "{name} is no RPC");
    }
    for (method, base) in BASES {
        let request = built_request(method);
        let mut deserializer = serde_json::Deserializer::from_str(base);
        let wire = DynamicMessage::deserialize(request, &mut deserializer).unwrap().encode_to_vec();
        validated(method, &wire).unwrap_or_else(|failure| panic!("{method}: {failure}"));
    }
}

fn built_request(method: &str) -> MessageDescriptor {
    built().into_iter().find(|(name, _)| name == method).unwrap().1
}

#[test]
fn every_field_takes_effect_or_is_refused_by_name() {
    let mut refused = 0;
    let mut effective = 0;
    for (method, request) in built() {
        let mut found = Vec::new();
        places(&request, &Vec::new(), &mut found);
        for (place, used) in found {
            let field = path(&place);
            let mut tried = Vec::new();
            for mut base in bases(&method, &request) {
                let masked =
                    method == "ProfileService/UpdateProfile" && place[0].name() == "profile" && place.len() > 1;
                if masked {
                    // What a mask does not name means nothing.
                    mask(&mut base, place[1].name());
                }
                let taken = validated(&method, &base.encode_to_vec());
                assert!(taken.is_ok() || masked, "{method}: {taken:?}");
                let mut message = base;
                set(&mut message, &place);
                let answer = validated(&method, &message.encode_to_vec());
                let named = |exactly: bool| {
                    answer.as_ref().err().is_some_and(|failure| {
                        failure.violations.iter().any(|violation| {
                            violation.field == field || (!exactly && violation.field.starts_with(&field))
                        })
                    })
                };
                let seen = match used {
                    Use::Refused => named(true),
                    Use::Effective(_) => named(false) || (answer.is_ok() && answer != taken),
                };
                tried.push((seen, answer));
            }
            match used {
                Use::Refused => {
                    let all = tried.iter().all(|(seen, _)| *seen);
                    assert!(all, "{method}: {field} is set and not refused by name: {tried:?}");
                    refused += 1;
                }
                Use::Effective(test) => {
                    assert_test_exists(&field, test);
                    let any = tried.iter().any(|(seen, _)| *seen);
                    assert!(any, "{method}: {field} is set and changes nothing: {tried:?}");
                    effective += 1;
                }
            }
        }
    }
    assert!(refused + effective > 90, "only {refused} and {effective} fields were tried");
}

#[test]
fn the_table_has_nothing_that_no_request_can_carry() {
    let mut reached = BTreeSet::new();
    for (_, request) in built() {
        reached.insert(request.name().to_owned());
        let mut found = Vec::new();
        places(&request, &Vec::new(), &mut found);
        for (place, _) in found {
            reached.extend(place.iter().map(|field| field.parent_message().name().to_owned()));
        }
    }
    for (message, fields) in FIELDS.iter().copied().flatten() {
        assert!(reached.contains(*message), "no request of a built RPC carries {message}");
        let descriptor = descriptors().get_message_by_name(&format!("agentruntime.v1.{message}")).unwrap();
        for (field, _) in *fields {
            assert!(descriptor.get_field_by_name(field).is_some(), "{message} has no field {field}");
        }
    }
}

#[test]
fn all_that_is_refused_is_told_at_once() {
    let request = proto::CreateSessionRequest {
        request_id: "r 1".into(),
        options: Some(proto::SessionOptions {
            idle_timeout: Some(prost_types::Duration::default()),
            ..Default::default()
        }),
        sandbox: Some(proto::SandboxSpec { min_isolation: 9, ..Default::default() }),
        name: "n".repeat(201),
        ..Default::default()
    };
    let failure = validate::create_session(request).unwrap_err();
    let fields: BTreeSet<&str> = failure.violations.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(fields, BTreeSet::from(["name", "options.idle_timeout", "request_id", "sandbox.min_isolation"]));
    assert!(failure.message.ends_with("(and 3 more)"), "{failure}");
}
