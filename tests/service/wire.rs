//! Requests as bytes: too large, compressed, unreadable, or of methods that are not built.

use agent_runtime::{grpc::fields::UNBUILT, proto};
use prost::Message as _;
use tonic::{Code, Status, codec::CompressionEncoding};
use tonic_types::StatusExt as _;

use crate::{
    raw,
    support::{Server, fields, get, reason, scripted, send},
};

fn too_large(refused: &Status, field: &str, limit: &str) {
    assert_eq!(
        (refused.code(), reason(refused).as_str()),
        (Code::ResourceExhausted, "MESSAGE_TOO_LARGE"),
        "{refused:?}"
    );
    let metadata = refused.get_details_error_info().expect("details").metadata;
    assert_eq!((metadata["field"].as_str(), metadata["limit_bytes"].as_str()), (field, limit));
}

#[tokio::test]
async fn texts_and_requests_over_their_limits_are_refused() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let session = scripted(&mut sessions).await;
    let id = session.session_id.as_str();
    for size in [256 * 1024 + 1, 5 << 20] {
        let refused = send(&mut sessions, id, &"x".repeat(size)).await.expect_err("too large");
        too_large(&refused, "text", "262144");
        assert_eq!(refused.get_details_error_info().expect("details").metadata["size_bytes"], size.to_string());
        let part = proto::content_part::Part::Text("x".repeat(size / 2));
        let parts = vec![proto::ContentPart { part: Some(part) }; 3];
        let request = proto::SendMessageRequest { session_id: id.into(), parts, ..Default::default() };
        too_large(&sessions.send_message(request).await.expect_err("too large"), "parts", "262144");
    }
    for compression in [None, Some(CompressionEncoding::Gzip)] {
        let text = "x".repeat(9 << 20);
        let request = proto::SendMessageRequest { session_id: id.into(), text, ..Default::default() };
        for method in ["SessionService/SendMessage", "SessionService/RunTurn", "ProfileService/CreateProfile"] {
            let body = request.encode_to_vec();
            let refused = raw::call_as(&server, method, Some(&server.key), body, compression).await;
            too_large(&refused.expect_err("too large"), "", "8388608");
        }
    }
    assert_eq!(get(&mut sessions, id).await, session, "a refused request did something");
    send(&mut sessions, id, &"x".repeat(256 * 1024)).await.expect("exactly at the limit");
}

#[tokio::test]
async fn compressed_requests_are_read() {
    let server = Server::start();
    let text = "x".repeat(100_000);
    let mut sessions = server.sessions().await.send_compressed(CompressionEncoding::Gzip);
    sessions = sessions.accept_compressed(CompressionEncoding::Gzip);
    let id = scripted(&mut sessions).await.session_id;
    send(&mut sessions, &id, &text).await.expect("accepted");
    let (state, _) = crate::support::snapshot(&mut sessions, &id).await;
    let Some(proto::block::Content::UserMessage(message)) = &state.blocks[0].content else { panic!("{state:?}") };
    assert_eq!(message.parts[0].part, Some(proto::content_part::Part::Text(text)));
}

#[tokio::test]
async fn unreadable_requests_are_the_caller_s_mistake() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let session = scripted(&mut sessions).await;
    let id = session.session_id.as_bytes();
    let no_utf8 = [&[0x0a, u8::try_from(id.len()).expect("short")], id, &[0x12, 2, 0xff, 0xfe]].concat();
    for (method, body, field) in [
        ("SessionService/SendMessage", no_utf8, "text"),
        ("SessionService/CreateSession", vec![0x2a, 3, 0x0a, 1, 0xff], "options.model"),
        ("SessionService/ListSessions", vec![0xff; 11], ""),
        ("SessionService/WatchSession", vec![0x0a, 50, b'x'], "session_id"),
        ("ProfileService/GetProfile", vec![0x0d], "profile_id"),
        ("RuntimeService/GetRuntimeInfo", vec![0xff; 3], ""),
    ] {
        let refused = raw::refusal(&server, method, Some(&server.key), body).await;
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::InvalidArgument, "INVALID_FIELD"), "{method}");
        assert_eq!(fields(&refused), [field], "{method}");
    }
    assert_eq!(get(&mut sessions, &session.session_id).await, session, "a refused request did something");
}

#[tokio::test]
async fn every_method_that_is_not_built_says_so() {
    let server = Server::start();
    assert!(!UNBUILT.is_empty());
    for method in UNBUILT {
        let refused = raw::refusal(&server, method, Some(&server.key), Vec::new()).await;
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::Unimplemented, "NOT_IMPLEMENTED"), "{method}");
        assert_eq!(refused.get_details_error_info().expect("details").metadata["method"], *method);
    }
    let unknown = raw::refusal(&server, "SessionService/Nothing", Some(&server.key), Vec::new()).await;
    assert_eq!(unknown.code(), Code::Unimplemented);
}
