//! Tool servers over HTTP, of both transports.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use agent_runtime::domain::{McpTransport, ProfileSetup, Secret};
use axum::{
    Json, Router,
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use futures::stream::{self, StreamExt as _};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::mpsc, task::JoinSet};

use crate::{
    rig::{calls, claude, results},
    servers::server,
};

/// What a server answers; nothing to what asks for no answer.
fn answer(request: &Value) -> Option<Value> {
    let result = match request["method"].as_str() {
        Some("initialize") => json!({
            "protocolVersion": request["params"]["protocolVersion"],
            "capabilities": { "tools": {} },
            "serverInfo": { "name": "test", "version": "1" },
        }),
        Some("tools/list") => json!({ "tools": [
            { "name": "look", "description": "Looks", "inputSchema": { "type": "object" } },
        ] }),
        Some("tools/call") => json!({ "content": [{ "type": "text", "text": "seen over HTTP" }] }),
        _ if request["id"].is_null() => return None,
        _ => json!({}),
    };
    Some(json!({ "jsonrpc": "2.0", "id": request["id"], "result": result }))
}

/// Where calls went, and their headers.
type Came = Arc<Mutex<Vec<(String, HeaderMap)>>>;

/// A server over HTTP, for as long as it is held, and its address.
async fn over_http(came: Came) -> (String, JoinSet<std::io::Result<()>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("an address");
    let answers = move |uri: Uri, headers: HeaderMap, Json(request): Json<Value>| async move {
        came.lock().expect("no panic").push((uri.to_string(), headers));
        match answer(&request) {
            Some(answer) => Json(answer).into_response(),
            None => StatusCode::ACCEPTED.into_response(),
        }
    };
    let none = || async {
        Response::builder().status(StatusCode::METHOD_NOT_ALLOWED).body(axum::body::Body::empty()).expect("one")
    };
    let router = Router::new().route("/mcp", post(answers).get(none).delete(none));
    let mut serving = JoinSet::new();
    serving.spawn(async move { axum::serve(listener, router).await });
    (format!("http://{addr}/mcp?as=${{HOME}}"), serving)
}

#[tokio::test]
async fn a_server_over_http_is_called_with_its_secret_header() {
    let came = Came::default();
    let (url, _serving) = over_http(Arc::clone(&came)).await;
    let headers = [("X-Token".to_owned(), Secret::Value("s3cret $HOME {value}".into()))].into();
    let http = McpTransport::Http { url, headers, sse: false };
    let setup = ProfileSetup { mcp_servers: vec![server("web", http)], ..ProfileSetup::default() };
    let Some(mut house) = claude(setup, calls("mcp__web__look", &json!({}))).await else { return };
    let id = house.session().await;
    let played = house.play_in(&id, "Look.").await;
    assert!(results(&played)[0].contains("seen over HTTP"), "{:?}", results(&played));
    let came = came.lock().expect("no panic").clone();
    assert!(came.len() >= 3, "{came:?}");
    for (uri, headers) in &came {
        assert_eq!(
            (uri.as_str(), &headers["x-token"]),
            ("/mcp?as=${HOME}", &HeaderValue::from_static("s3cret $HOME {value}"))
        );
    }
    let file = house.sandbox(&id).await.join("home/.agent-runtime/tool-servers.json");
    let text = std::fs::read_to_string(&file).expect("the CLI's configuration");
    assert!(text.contains("X-Token") && !text.contains("s3cret"), "{text}");
}

/// A server of the older transport: answers come as events of a stream that is opened first.
async fn over_events(tried: Arc<AtomicBool>) -> (String, JoinSet<std::io::Result<()>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("an address");
    let open: Arc<Mutex<Option<mpsc::UnboundedSender<String>>>> = Arc::default();
    let opened = Arc::clone(&open);
    let events = move || async move {
        let (sender, receiver) = mpsc::unbounded_channel();
        sender.send("event: endpoint\ndata: /message\n\n".to_owned()).expect("open");
        *opened.lock().expect("no panic") = Some(sender);
        let events = stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) });
        let body = Body::from_stream(events.map(Ok::<_, Infallible>));
        ([(header::CONTENT_TYPE, "text/event-stream")], body)
    };
    let message = move |Json(request): Json<Value>| async move {
        let sender = open.lock().expect("no panic").clone().expect("the stream comes first");
        if let Some(answer) = answer(&request) {
            sender.send(format!("event: message\ndata: {answer}\n\n")).expect("open");
        }
        StatusCode::ACCEPTED
    };
    // What the newer transport would begin with.
    let newer = move || async move {
        tried.store(true, Ordering::Relaxed);
        StatusCode::METHOD_NOT_ALLOWED
    };
    let router = Router::new().route("/sse", get(events).post(newer)).route("/message", post(message));
    let mut serving = JoinSet::new();
    serving.spawn(async move { axum::serve(listener, router).await });
    (format!("http://{addr}/sse"), serving)
}

#[tokio::test]
async fn the_older_transport_is_spoken_where_the_profile_says_so() {
    let tried = Arc::new(AtomicBool::new(false));
    let (url, _serving) = over_events(Arc::clone(&tried)).await;
    let http = McpTransport::Http { url, headers: std::collections::BTreeMap::new(), sse: true };
    let setup = ProfileSetup { mcp_servers: vec![server("old", http)], ..ProfileSetup::default() };
    let Some(mut house) = claude(setup, calls("mcp__old__look", &json!({}))).await else { return };
    let played = house.play("Look.").await;
    assert!(results(&played)[0].contains("seen over HTTP"), "{:?}", results(&played));
    assert!(!tried.load(Ordering::Relaxed), "the newer transport was tried first");
}
