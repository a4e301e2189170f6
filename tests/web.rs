//! What is beside the contract's own calls: reflection, health, grpc-web and which pages may use it.

mod support;

use std::collections::BTreeMap;

use agent_runtime::{
    grpc::{Access, access},
    proto::{self, session_event::Kind},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use prost::Message as _;
use prost_types::FileDescriptorProto;
use support::{PATIENCE, Server, check_ranges, ended, scripted, taken_up, until, watch};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic::{Code, Request};
use tonic_health::{
    ServingStatus,
    pb::{HealthCheckRequest, health_client::HealthClient},
};

const SERVICES: [&str; 4] = [
    "agentruntime.v1.ProfileService",
    "agentruntime.v1.RuntimeService",
    "agentruntime.v1.SessionService",
    "agentruntime.v1.WorkspaceService",
];

/// Services and files by one version of reflection, without a key.
macro_rules! reflected {
    ($version:ident, $server:expr) => {{
        use tonic_reflection::pb::$version::{
            ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
            server_reflection_request::MessageRequest as Ask, server_reflection_response::MessageResponse as Answer,
        };
        let asks = [
            Ask::ListServices(String::new()),
            Ask::FileContainingSymbol("agentruntime.v1.SessionService".into()),
            Ask::FileContainingSymbol("agentruntime.v1.ErrorReason".into()),
        ];
        let asks = asks.map(|ask| ServerReflectionRequest { host: String::new(), message_request: Some(ask) });
        let mut client = ServerReflectionClient::new($server.channel().await);
        let mut answers =
            client.server_reflection_info(futures::stream::iter(asks)).await.expect("answers").into_inner();
        let (mut services, mut files) = (Vec::new(), BTreeMap::new());
        while let Some(answer) = answers.message().await.expect("no error") {
            match answer.message_response.expect("an answer") {
                Answer::ListServicesResponse(list) => {
                    services.extend(list.service.into_iter().map(|service| service.name));
                }
                Answer::FileDescriptorResponse(response) => {
                    for bytes in response.file_descriptor_proto {
                        let file = FileDescriptorProto::decode(bytes.as_slice()).expect("a descriptor");
                        files.insert(file.name().to_owned(), file);
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        services.sort();
        (services, files)
    }};
}

fn comments(file: &FileDescriptorProto) -> Vec<&str> {
    let info = file.source_code_info.as_ref().expect("source info");
    info.location
        .iter()
        .map(prost_types::source_code_info::Location::leading_comments)
        .filter(|comment| !comment.is_empty())
        .collect()
}

#[tokio::test]
async fn reflection_tells_the_contract_with_its_comments() {
    let server = Server::start();
    for (services, files) in [reflected!(v1, server), reflected!(v1alpha, server)] {
        for service in SERVICES.iter().chain(&["grpc.health.v1.Health"]) {
            assert!(services.iter().any(|name| name == service), "{service} is not in {services:?}");
        }
        let file = &files["agentruntime/v1/session_service.proto"];
        assert!(
            comments(file).iter().any(|comment| comment.contains("Every event of a session has the next sequence"))
        );
        assert!(comments(file).iter().any(|comment| comment.contains("Gives the agent a message and returns")));
        let file = &files["agentruntime/v1/error_reason.proto"];
        assert!(comments(file).iter().any(|comment| comment.contains(r#""reason":"EXTERNAL_ID_IN_USE""#)));
    }
}

#[tokio::test]
async fn every_service_is_healthy_for_everybody_until_the_server_stops() {
    let mut server = Server::start();
    let mut health = HealthClient::new(server.channel().await);
    let request = |service: &str| HealthCheckRequest { service: service.to_owned() };
    let mut watches = Vec::new();
    for service in SERVICES.iter().chain(&[""]) {
        let answer = health.check(request(service)).await.expect("without a key").into_inner();
        assert_eq!(answer.status, ServingStatus::Serving as i32, "{service:?}");
        let mut watch = health.watch(request(service)).await.expect("without a key").into_inner();
        assert_eq!(watch.message().await.expect("OK").expect("a status").status, ServingStatus::Serving as i32);
        watches.push(watch);
    }
    let unknown = health.check(request("agentruntime.v1.Nothing")).await.expect_err("no such service");
    assert_eq!(unknown.code(), Code::NotFound);
    assert_eq!(access("/grpc.health.v1.Health/Check"), Access::Open);

    let stopping = std::thread::spawn(move || server.terminate());
    for mut watch in watches {
        let next = tokio::time::timeout(PATIENCE, watch.message()).await.expect("no hang");
        assert_eq!(next.expect("OK").expect("a status").status, ServingStatus::NotServing as i32);
    }
    let took = stopping.join().expect("stopped");
    assert!(took < std::time::Duration::from_secs(10), "it took {took:?}");
}

/// An answer over HTTP/1.1.
struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The messages of a grpc-web body, and its trailers.
    fn frames(&self) -> (Vec<&[u8]>, String) {
        frames(&self.body)
    }
}

fn frames(body: &[u8]) -> (Vec<&[u8]>, String) {
    let (mut messages, mut trailers, mut rest) = (Vec::new(), String::new(), body);
    while let Some((head, after)) = rest.split_at_checked(5) {
        let length = u32::from_be_bytes(head[1..].try_into().expect("four bytes")) as usize;
        let (frame, after) = after.split_at(length);
        match head[0] {
            0 => messages.push(frame),
            0x80 => trailers = String::from_utf8(frame.to_vec()).expect("text"),
            other => panic!("a frame of kind {other}"),
        }
        rest = after;
    }
    assert!(rest.is_empty(), "half a frame");
    (messages, trailers)
}

fn frame(message: &impl prost::Message) -> Vec<u8> {
    let message = message.encode_to_vec();
    let length = u32::try_from(message.len()).expect("short").to_be_bytes();
    [&[0][..], &length, &message].concat()
}

/// One request, as a browser's page would make it.
async fn http(server: &Server, verb: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(&server.addr).await.expect("connected");
    let headers: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!(
        "{verb} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n{}content-length: {}\r\n\r\n",
        server.addr,
        headers.concat(),
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat()).await.expect("sent");
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    read.expect("no hang").expect("an answer");
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8(answer[..end].to_vec()).expect("text");
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("a status");
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let mut body = answer[end + 4..].to_vec();
    if headers.get("transfer-encoding").is_some_and(|encoding| encoding == "chunked") {
        body = unchunked(&body);
    }
    Answer { status, headers, body }
}

fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n").expect("a chunk's head");
        let length = std::str::from_utf8(&rest[..end]).ok().and_then(|hex| usize::from_str_radix(hex, 16).ok());
        let length = length.expect("a length");
        if length == 0 {
            return body;
        }
        body.extend_from_slice(&rest[end + 2..end + 2 + length]);
        rest = &rest[end + 2 + length + 2..];
    }
}

const INFO: &str = "/agentruntime.v1.RuntimeService/GetRuntimeInfo";
const RUN_TURN: &str = "/agentruntime.v1.SessionService/RunTurn";

#[tokio::test]
async fn a_page_can_call_and_stream_over_http_1() {
    let server = Server::start();
    let bearer = format!("Bearer {}", server.key);
    let headers = [("content-type", "application/grpc-web+proto"), ("authorization", &bearer), ("x-grpc-web", "1")];
    let answer = http(&server, "POST", INFO, &headers, &frame(&proto::GetRuntimeInfoRequest {})).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/grpc-web+proto")));
    let (messages, trailers) = answer.frames();
    let info = proto::GetRuntimeInfoResponse::decode(messages[0]).expect("a message");
    assert_eq!((messages.len(), info.version.as_str()), (1, env!("CARGO_PKG_VERSION")));
    assert!(trailers.lines().any(|line| line.replace(' ', "") == "grpc-status:0"), "{trailers}");

    let as_text = "application/grpc-web-text+proto";
    let text = [("content-type", as_text), ("accept", as_text), headers[1]];
    let body = STANDARD.encode(frame(&proto::GetRuntimeInfoRequest {}));
    let answer = http(&server, "POST", INFO, &text, body.as_bytes()).await;
    assert_eq!(answer.header("content-type"), Some(as_text));
    // Pieces are encoded each by itself, so padding may stand in the middle.
    let pieces = std::str::from_utf8(&answer.body).expect("text").split_inclusive('=').collect::<Vec<_>>();
    let mut decoded = Vec::new();
    let mut piece = String::new();
    for part in pieces {
        piece += part;
        if piece.len().is_multiple_of(4) {
            decoded.extend(STANDARD.decode(&piece).expect("base64"));
            piece.clear();
        }
    }
    assert_eq!(frames(&decoded).0, messages);

    let mut sessions = server.sessions().await;
    let session_id = scripted(&mut sessions).await.session_id;
    let script = r#"[{"count":200,"size":20,"pace_ms":1}]"#.into();
    let request = proto::RunTurnRequest { session_id, text: script, ..Default::default() };
    let answer = http(&server, "POST", RUN_TURN, &headers, &frame(&request)).await;
    let (messages, trailers) = answer.frames();
    assert!(trailers.lines().any(|line| line.replace(' ', "") == "grpc-status:0"), "{trailers}");
    let mut messages = messages.into_iter().map(|bytes| proto::RunTurnResponse::decode(bytes).expect("a message"));
    let first = messages.next().expect("the acceptance");
    let events: Vec<_> = messages.flat_map(|response| response.events).collect();
    check_ranges(first.sequence, &events);
    assert!(ended(events.last().expect("events"), &first.turn.expect("a turn").turn_id));
    assert!(events.iter().any(|event| matches!(event.kind, Some(Kind::BlockDelta(_)))));
}

#[tokio::test]
async fn a_page_reads_refusals_in_its_own_protocol() {
    let server = Server::start();
    let bearer = format!("Bearer {}", server.key);
    let no_session =
        proto::RunTurnRequest { session_id: "ses_none".into(), text: "hello".into(), ..Default::default() };
    for (path, authorization, status) in
        [(INFO, "Bearer wrong", Code::Unauthenticated), (RUN_TURN, bearer.as_str(), Code::NotFound)]
    {
        let headers = [("content-type", "application/grpc-web+proto"), ("authorization", authorization)];
        let answer = http(&server, "POST", path, &headers, &frame(&no_session)).await;
        assert_eq!(answer.status, 200);
        // Without a message, the status may stand in the headers or in the frame of trailers.
        let trailers = answer.frames().1;
        let trailer = || trailers.lines().find_map(|line| line.strip_prefix("grpc-status:"));
        let told = answer.header("grpc-status").or_else(trailer).expect("a status");
        assert_eq!(told.trim(), (status as i32).to_string(), "{path}");
    }
}

#[tokio::test]
async fn only_pages_of_named_origins_may_call() {
    let (own, foreign) = ("https://app.example.com", "https://evil.example.com");
    let server = Server::start_with(&["--cors-origin", own, "--cors-origin", "http://localhost:3000"], &[]);
    let bearer = format!("Bearer {}", server.key);
    let wanted = "authorization,content-type,x-grpc-web,x-user-agent,grpc-timeout";
    for origin in [own, "http://localhost:3000", foreign, "null"] {
        let allowed = (origin != foreign && origin != "null").then_some(origin);
        let preflight =
            [("origin", origin), ("access-control-request-method", "POST"), ("access-control-request-headers", wanted)];
        let answer = http(&server, "OPTIONS", INFO, &preflight, &[]).await;
        assert_eq!(answer.status, 200, "{origin}");
        assert_eq!(answer.header("access-control-allow-origin"), allowed, "{origin}");
        if allowed.is_some() {
            let headers = answer.header("access-control-allow-headers").expect("headers").to_lowercase();
            assert!(wanted.split(',').all(|name| headers.contains(name)), "{headers}");
            assert!(answer.header("access-control-allow-methods").expect("methods").contains("POST"));
        }

        let headers = [("content-type", "application/grpc-web+proto"), ("authorization", &bearer), ("origin", origin)];
        let refused = [("content-type", "application/grpc-web+proto"), ("origin", origin)];
        for headers in [&headers[..], &refused] {
            let answer = http(&server, "POST", INFO, headers, &frame(&proto::GetRuntimeInfoRequest {})).await;
            assert_eq!(answer.header("access-control-allow-origin"), allowed, "{origin}");
            if allowed.is_some() {
                let exposed = answer.header("access-control-expose-headers").expect("exposed").to_lowercase();
                for name in ["grpc-status", "grpc-message", "grpc-status-details-bin"] {
                    assert!(exposed.contains(name), "a page cannot read {name}: {exposed}");
                }
            }
        }
    }
    let closed = Server::start();
    let answer =
        http(&closed, "OPTIONS", INFO, &[("origin", own), ("access-control-request-method", "POST")], &[]).await;
    assert_eq!(answer.header("access-control-allow-origin"), None, "no origin is allowed when none is named");
}

#[tokio::test]
async fn http_1_without_grpc_web_is_no_call() {
    let server = Server::start();
    let bearer = format!("Bearer {}", server.key);
    for (verb, headers) in [
        ("GET", vec![("authorization", bearer.as_str())]),
        ("POST", vec![("authorization", &bearer), ("content-type", "application/json")]),
    ] {
        let answer = http(&server, verb, INFO, &headers, b"{}").await;
        assert!(answer.status >= 400 || answer.header("grpc-status").is_some_and(|status| status != "0"), "{verb}");
        assert!(!answer.body.windows(4).any(|four| four == b"ses_"));
    }
}

#[tokio::test]
async fn a_call_of_a_page_that_goes_away_leaves_the_turn_alone() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let session_id = scripted(&mut sessions).await.session_id;
    let mut stream = watch(&mut sessions, &session_id, Some(0)).await.expect("a watch");
    let script = r#"[{"count":300,"size":20,"pace_ms":2}]"#.into();
    let body = frame(&proto::RunTurnRequest { session_id, text: script, ..Default::default() });
    let mut page = TcpStream::connect(&server.addr).await.expect("connected");
    let head = format!(
        "POST {RUN_TURN} HTTP/1.1\r\nhost: x\r\ncontent-type: application/grpc-web+proto\r\nauthorization: Bearer {}\r\n\
         content-length: {}\r\n\r\n",
        server.key,
        body.len()
    );
    page.write_all(&[head.as_bytes(), &body].concat()).await.expect("sent");
    until(&mut stream, taken_up).await;
    drop(page);
    let is_end = |event: &proto::SessionEvent| match &event.kind {
        Some(Kind::TurnUpdated(update)) => update.turn.as_ref().is_some_and(|turn| turn.end_time.is_some()),
        _ => false,
    };
    let events = until(&mut stream, is_end).await;
    assert_eq!(support::last_turn(&events).status(), proto::TurnStatus::Completed);
}

#[tokio::test]
async fn a_key_is_taken_from_its_header_alone() {
    let server = Server::start();
    let path = format!("{INFO}?authorization=Bearer%20{}", server.key);
    let headers = [("content-type", "application/grpc-web+proto"), ("cookie", "authorization=Bearer")];
    let answer = http(&server, "POST", &path, &headers, &frame(&proto::GetRuntimeInfoRequest {})).await;
    let told = answer.header("grpc-status").map_or_else(|| answer.frames().1, str::to_owned);
    assert!(told.contains("16"), "{told}");
    let mut runtime = proto::runtime_service_client::RuntimeServiceClient::new(server.channel().await);
    let mut request = Request::new(proto::GetRuntimeInfoRequest {});
    request.metadata_mut().insert("x-api-key", server.key.parse().expect("ASCII"));
    assert_eq!(runtime.get_runtime_info(request).await.expect_err("no key").code(), Code::Unauthenticated);
}
