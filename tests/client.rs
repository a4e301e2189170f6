//! The Rust client: in `client/` against a real server, and here against one that misbehaves on demand: cuts, silence,
//! refusals, broken ranges. The real server does none of this when asked, so these answers are played from a list, over a
//! real connection.

#[path = "client/link.rs"]
mod link;
#[path = "client/live.rs"]
mod live;
#[path = "client/outages.rs"]
mod outages;
mod support;

use std::{
    collections::{BTreeSet, VecDeque},
    convert::Infallible,
    future::{Ready, ready},
    net::SocketAddr,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use agent_runtime::{
    client::{Client, Code, Error, State, Target},
    proto::{
        self, RunTurnRequest, RunTurnResponse, SendMessageRequest, SendMessageResponse, SessionEvent,
        WatchSessionRequest, WatchSessionResponse,
    },
};
use futures::{StreamExt as _, future::BoxFuture, stream, stream::BoxStream};
use tokio::{net::TcpListener, task::JoinSet};
use tonic::{
    Request, Response, Status, body::Body, server::Grpc, server::NamedService, server::ServerStreamingService,
    server::UnaryService,
};
use tonic_types::{ErrorDetails, StatusExt as _};

/// One answer to one call.
#[derive(Debug)]
struct Answer {
    uid: &'static str,
    /// Events as JSON, one response each.
    events: Vec<&'static str>,
    end: End,
}

#[derive(Debug)]
enum End {
    Ok,
    Fail(Status),
    Silence,
}

/// What was asked, and when.
#[derive(Clone, Debug)]
struct Asked {
    call: &'static str,
    at: Instant,
    after: Option<i64>,
    expected_uid: String,
    authorization: Option<String>,
    request_id: String,
}

impl Asked {
    fn new(authorization: Option<String>, request_id: &str) -> Self {
        let (expected_uid, request_id) = (String::new(), request_id.to_owned());
        Self { call: "", at: Instant::now(), after: None, expected_uid, authorization, request_id }
    }
}

#[derive(Clone, Default)]
struct Scripted {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Scripted {
    fn next<T: Send + 'static>(
        &self,
        asked: Asked,
        frame: impl Fn(usize, &Answer) -> T + Send + 'static,
    ) -> Result<Response<BoxStream<'static, Result<T, Status>>>, Status> {
        self.asked.lock().unwrap().push(asked);
        let answer =
            self.answers.lock().unwrap().pop_front().ok_or_else(|| Status::not_found("nothing more to say"))?;
        let mut frames: Vec<Result<T, Status>> =
            (0..answer.events.len()).map(|index| Ok(frame(index, &answer))).collect();
        match answer.end {
            End::Ok => Ok(Response::new(stream::iter(frames).boxed())),
            End::Fail(status) if frames.is_empty() => Err(status),
            End::Fail(status) => {
                frames.push(Err(status));
                Ok(Response::new(stream::iter(frames).boxed()))
            }
            End::Silence => Ok(Response::new(stream::iter(frames).chain(stream::pending()).boxed())),
        }
    }
}

fn authorization<T>(request: &Request<T>) -> Option<String> {
    request.metadata().get("authorization").map(|value| value.to_str().unwrap().to_owned())
}

impl ServerStreamingService<WatchSessionRequest> for Scripted {
    type Response = WatchSessionResponse;
    type ResponseStream = BoxStream<'static, Result<WatchSessionResponse, Status>>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<WatchSessionRequest>) -> Self::Future {
        let authorization = authorization(&request);
        let WatchSessionRequest { session_id, after_sequence, expected_uid, .. } = request.into_inner();
        let asked =
            Asked { call: "WatchSession", after: after_sequence, expected_uid, ..Asked::new(authorization, "") };
        ready(self.next(asked, move |index, answer| WatchSessionResponse {
            events: vec![event(answer.events[index])],
            session_id: session_id.clone(),
            uid: if index == 0 { answer.uid.to_owned() } else { String::new() },
        }))
    }
}

impl ServerStreamingService<RunTurnRequest> for Scripted {
    type Response = RunTurnResponse;
    type ResponseStream = BoxStream<'static, Result<RunTurnResponse, Status>>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<RunTurnRequest>) -> Self::Future {
        let authorization = authorization(&request);
        let RunTurnRequest { session_id, after_sequence, request_id, .. } = request.into_inner();
        let cursor = after_sequence.unwrap_or(10);
        let asked = Asked { call: "RunTurn", after: after_sequence, ..Asked::new(authorization, &request_id) };
        ready(self.next(asked, move |index, answer| RunTurnResponse {
            events: vec![event(answer.events[index])],
            session_id: session_id.clone(),
            turn: (index == 0).then(|| proto::Turn { turn_id: "turn_1".to_owned(), ..proto::Turn::default() }),
            sequence: if index == 0 { cursor } else { 0 },
        }))
    }
}

impl UnaryService<SendMessageRequest> for Scripted {
    type Response = SendMessageResponse;
    type Future = Ready<Result<Response<SendMessageResponse>, Status>>;

    fn call(&mut self, request: Request<SendMessageRequest>) -> Self::Future {
        let authorization = authorization(&request);
        let asked = Asked { call: "SendMessage", ..Asked::new(authorization, &request.into_inner().request_id) };
        let answer = self.next(asked, |_, _| ());
        ready(answer.map(|_| Response::new(SendMessageResponse { sequence: 10, ..Default::default() })))
    }
}

impl tower::Service<http::Request<Body>> for Scripted {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            Ok(match request.uri().path().rsplit('/').next() {
                Some("WatchSession") => {
                    let mut grpc = Grpc::new(proto::Codec::<WatchSessionResponse, WatchSessionRequest>::default());
                    grpc.server_streaming(this, request).await
                }
                Some("RunTurn") => {
                    let mut grpc = Grpc::new(proto::Codec::<RunTurnResponse, RunTurnRequest>::default());
                    grpc.server_streaming(this, request).await
                }
                Some("SendMessage") => {
                    let mut grpc = Grpc::new(proto::Codec::<SendMessageResponse, SendMessageRequest>::default());
                    grpc.unary(this, request).await
                }
                _ => Status::unimplemented("not played").into_http(),
            })
        })
    }
}

impl NamedService for Scripted {
    const NAME: &'static str = "agentruntime.v1.SessionService";
}

struct Played {
    client: Client,
    scripted: Scripted,
    _server: JoinSet<()>,
}

impl Played {
    async fn new(answers: Vec<Answer>) -> Self {
        let scripted = Scripted::default();
        scripted.answers.lock().unwrap().extend(answers);
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let mut server = JoinSet::new();
        let service = scripted.clone();
        server.spawn(async move {
            let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
            tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming).await.unwrap();
        });
        let client = Client::connect(Target { addr, key: "k1".to_owned() }).await.unwrap();
        Self { client, scripted, _server: server }
    }

    fn asked(&self) -> Vec<Asked> {
        self.scripted.asked.lock().unwrap().clone()
    }

    fn asked_after(&self) -> Vec<Option<i64>> {
        self.asked().iter().map(|asked| asked.after).collect()
    }
}

fn event(json: &str) -> SessionEvent {
    proto::from_json("agentruntime.v1.SessionEvent", json).unwrap()
}

fn refusal(code: tonic::Code, reason: &str, retry_after: Option<Duration>) -> End {
    let mut details = ErrorDetails::with_error_info(reason, "agentruntime.v1", [("k".to_owned(), "v".to_owned())]);
    if retry_after.is_some() {
        details.set_retry_info(retry_after);
    }
    End::Fail(Status::with_error_details(code, "refused", details))
}

fn cut() -> End {
    End::Fail(Status::unavailable("cut"))
}

async fn collect(events: agent_runtime::client::Events) -> (Vec<i64>, State, Option<Error>) {
    let (mut sequences, mut state, mut failure) = (Vec::new(), State::default(), None);
    let all = tokio::time::timeout(Duration::from_secs(20), events.collect::<Vec<_>>()).await;
    for item in all.expect("the stream ends") {
        match item {
            Ok(event) => {
                state.apply(&event);
                sequences.push(event.sequence);
            }
            Err(error) => failure = Some(error),
        }
    }
    (sequences, state, failure)
}

const CREATED: &str = r#"{"sequence":"1","sessionCreated":{"session":{"sessionId":"s","uid":"u1"}}}"#;
const LOG_2: &str = r#"{"sequence":"2","log":{"level":"LOG_LEVEL_INFO","message":"two"}}"#;
const LOG_3: &str = r#"{"sequence":"3","log":{"level":"LOG_LEVEL_INFO","message":"three"}}"#;
const BOOKMARK_3: &str = r#"{"sequence":"3","firstSequence":"4","bookmark":{"headSequence":"6"}}"#;
const MERGED_5: &str = r#"{"sequence":"5","firstSequence":"4","log":{"message":"four and five"}}"#;
const DELETED_6: &str = r#"{"sequence":"6","statusChanged":{"status":"SESSION_STATUS_DELETED"}}"#;

#[tokio::test]
async fn a_cut_watch_goes_on_where_it_was_and_ends_with_deletion() {
    let played = Played::new(vec![
        Answer { uid: "u1", events: vec![CREATED, LOG_2], end: cut() },
        // Ended without a last event, as a server that drains does.
        Answer { uid: "u1", events: vec![LOG_3], end: End::Ok },
        Answer { uid: "u1", events: vec![BOOKMARK_3, MERGED_5, DELETED_6], end: End::Silence },
    ])
    .await;
    let (sequences, state, failure) = collect(played.client.watch("s", Some(0))).await;
    assert!(failure.is_none(), "{failure:?}");
    assert_eq!(sequences, [1, 2, 3, 3, 5, 6]);
    assert_eq!(played.asked_after(), [Some(0), Some(2), Some(3)]);
    let asked = played.asked();
    assert_eq!(asked[0].expected_uid, "");
    assert!(asked[1..].iter().all(|asked| asked.expected_uid == "u1"));
    assert!(asked.iter().all(|asked| asked.authorization.as_deref() == Some("Bearer k1")));
    assert_eq!(state.as_proto().session.as_ref().unwrap().sequence, 6);
}

#[tokio::test]
async fn a_hole_and_a_repetition_are_errors() {
    for bad in [LOG_3, CREATED, r#"{"sequence":"1","firstSequence":"2","log":{}}"#] {
        let played = Played::new(vec![Answer { uid: "u1", events: vec![CREATED, bad], end: End::Ok }]).await;
        let (sequences, _, failure) = collect(played.client.watch("s", Some(0))).await;
        assert_eq!((sequences, failure.unwrap().code), (vec![1], Code::DataLoss));
        assert_eq!(played.asked().len(), 1);
    }
}

#[tokio::test]
async fn silence_is_a_dead_connection() {
    let played = Played::new(vec![
        Answer { uid: "u1", events: vec![CREATED], end: End::Silence },
        Answer { uid: "u1", events: vec![LOG_2], end: refusal(tonic::Code::NotFound, "SESSION_NOT_FOUND", None) },
    ])
    .await;
    let interval = Duration::from_secs(1);
    let (sequences, _, failure) = collect(played.client.watch_session(WatchSessionRequest {
        session_id: "s".to_owned(),
        after_sequence: Some(0),
        bookmark_interval: Some(interval.try_into().unwrap()),
        ..WatchSessionRequest::default()
    }))
    .await;
    assert_eq!((sequences, played.asked_after()), (vec![1, 2], vec![Some(0), Some(1)]));
    assert_eq!(failure.unwrap().reason, "SESSION_NOT_FOUND");
    let asked = played.asked();
    assert!(asked[1].at - asked[0].at >= 3 * interval, "it waited for three bookmarks");
}

const START: &str = r#"{"snapshotStart":{}}"#;
const CHUNK: &str = r#"{"snapshotChunk":{"state":{"session":{"sessionId":"s","uid":"u2","sequence":"40"}}}}"#;
const COMPLETE: &str = r#"{"sequence":"40","snapshotComplete":{}}"#;
const DELETED_41: &str = r#"{"sequence":"41","statusChanged":{"status":"SESSION_STATUS_DELETED"}}"#;

#[tokio::test]
async fn a_cursor_that_means_nothing_any_more_is_given_up_for_a_snapshot() {
    for reason in ["SEQUENCE_TRUNCATED", "SESSION_REPLACED"] {
        let played = Played::new(vec![
            Answer { uid: "u1", events: vec![CREATED], end: cut() },
            Answer { uid: "", events: vec![], end: refusal(tonic::Code::OutOfRange, reason, None) },
            // Cut before it was whole: it gave no cursor.
            Answer { uid: "u2", events: vec![START, CHUNK], end: cut() },
            Answer { uid: "u2", events: vec![START, CHUNK, COMPLETE, DELETED_41], end: End::Ok },
        ])
        .await;
        let (sequences, state, failure) = collect(played.client.watch("s", Some(0))).await;
        assert!(failure.is_none(), "{failure:?}");
        assert_eq!(sequences, [1, 0, 0, 0, 0, 40, 41]);
        assert_eq!(played.asked_after(), [Some(0), Some(1), None, None]);
        assert!(played.asked()[2..].iter().all(|asked| asked.expected_uid.is_empty()));
        assert_eq!(state.as_proto().session.as_ref().unwrap().uid, "u2");
    }
}

#[tokio::test]
async fn a_cursor_above_the_head_is_the_callers_mistake() {
    let ahead = Answer { uid: "", events: vec![], end: refusal(tonic::Code::OutOfRange, "SEQUENCE_AHEAD", None) };
    let played = Played::new(vec![ahead]).await;
    let (_, _, failure) = collect(played.client.watch("s", Some(900))).await;
    assert_eq!(failure.unwrap().reason, "SEQUENCE_AHEAD");
}

#[tokio::test]
async fn the_server_says_when_to_come_back() {
    let pause = Duration::from_millis(400);
    let played = Played::new(vec![
        Answer { uid: "", events: vec![], end: refusal(tonic::Code::ResourceExhausted, "RATE_LIMITED", Some(pause)) },
        Answer { uid: "u2", events: vec![START, CHUNK, COMPLETE, DELETED_41], end: End::Ok },
    ])
    .await;
    let (_, _, failure) = collect(played.client.watch("s", None)).await;
    assert!(failure.is_none(), "{failure:?}");
    let asked = played.asked();
    assert!(asked[1].at - asked[0].at >= pause);
}

#[tokio::test]
async fn a_cut_turn_is_attached_to_again_and_not_sent_twice() {
    let played = Played::new(vec![
        Answer { uid: "", events: vec![r#"{"sequence":"11","log":{"message":"a"}}"#], end: cut() },
        Answer {
            uid: "",
            events: vec![
                r#"{"sequence":"11","firstSequence":"12","bookmark":{"headSequence":"13"}}"#,
                r#"{"sequence":"12","turnUpdated":{"turn":{"turnId":"turn_1","status":"TURN_STATUS_RUNNING"}}}"#,
                r#"{"sequence":"13","turnUpdated":{"turn":{"turnId":"turn_1","status":"TURN_STATUS_COMPLETED"}}}"#,
            ],
            end: End::Silence,
        },
    ])
    .await;
    let request = RunTurnRequest { session_id: "s".to_owned(), text: "hi".to_owned(), ..RunTurnRequest::default() };
    let (sequences, _, failure) = collect(played.client.run_turn(request)).await;
    assert!(failure.is_none(), "{failure:?}");
    assert_eq!(sequences, [11, 11, 12, 13]);
    let asked: Vec<_> = played.asked().iter().map(|asked| (asked.call, asked.after)).collect();
    assert_eq!(asked, [("RunTurn", None), ("RunTurn", Some(11))]);
    let ids: BTreeSet<String> = played.asked().into_iter().map(|asked| asked.request_id).collect();
    assert!(ids.len() == 1 && !ids.contains(""), "one id for all of it: {ids:?}");
}

#[tokio::test]
async fn a_turn_is_followed_to_its_end_after_its_request_was_forgotten() {
    let mut details = ErrorDetails::with_bad_request_violation("after_sequence", "nothing here has this request id");
    details.set_error_info("INVALID_FIELD", "agentruntime.v1", [("k".to_owned(), "v".to_owned())]);
    let forgotten = || End::Fail(Status::with_error_details(tonic::Code::InvalidArgument, "refused", details.clone()));
    let played = Played::new(vec![
        Answer { uid: "", events: vec![r#"{"sequence":"11","log":{}}"#], end: cut() },
        Answer { uid: "", events: vec![], end: forgotten() },
        Answer {
            uid: "u1",
            events: vec![
                r#"{"sequence":"12","blockStart":{"block":{"blockId":"theirs","turnId":"turn_2"}}}"#,
                r#"{"sequence":"13","blockDelta":{"blockId":"theirs","delta":"."}}"#,
                r#"{"sequence":"14","turnUpdated":{"turn":{"turnId":"turn_2","status":"TURN_STATUS_COMPLETED"}}}"#,
                r#"{"sequence":"15","blockStart":{"block":{"blockId":"mine","turnId":"turn_1"}}}"#,
            ],
            end: cut(),
        },
        Answer {
            uid: "u1",
            events: vec![
                r#"{"sequence":"16","blockDelta":{"blockId":"mine","delta":"."}}"#,
                r#"{"sequence":"17","blockDelta":{"blockId":"theirs","delta":"."}}"#,
                r#"{"sequence":"18","permissionRequested":{"permission":{"permissionId":"p","turnId":"turn_2"}}}"#,
                r#"{"sequence":"19","turnUpdated":{"turn":{"turnId":"turn_1","status":"TURN_STATUS_COMPLETED"}}}"#,
                r#"{"sequence":"20","log":{}}"#,
            ],
            end: End::Silence,
        },
    ])
    .await;
    let (sequences, _, failure) = collect(played.client.run_turn(RunTurnRequest::default())).await;
    assert!(failure.is_none(), "{failure:?}");
    assert_eq!(sequences, [11, 15, 16, 19]);
    let asked: Vec<_> = played.asked().iter().map(|asked| (asked.call, asked.after)).collect();
    let watched = [("WatchSession", Some(11)), ("WatchSession", Some(15))];
    assert_eq!(asked, [[("RunTurn", None), ("RunTurn", Some(11))], watched].concat());
    // Who asks for what comes after a sequence without a known turn is told that this is wrong.
    let played = Played::new(vec![Answer { uid: "", events: vec![], end: forgotten() }]).await;
    let request = RunTurnRequest { after_sequence: Some(11), ..RunTurnRequest::default() };
    let (_, _, failure) = collect(played.client.run_turn(request)).await;
    assert_eq!(failure.unwrap().reason, "INVALID_FIELD");
}

#[tokio::test]
async fn streams_that_bring_nothing_new_are_opened_less_and_less_often() {
    let still = || Answer { uid: "u1", events: vec![BOOKMARK_3], end: cut() };
    let mut answers: Vec<_> = (0..5).map(|_| still()).collect();
    let last = r#"{"sequence":"4","statusChanged":{"status":"SESSION_STATUS_DELETED"}}"#;
    answers.push(Answer { uid: "u1", events: vec![last], end: End::Ok });
    let played = Played::new(answers).await;
    let (_, _, failure) = collect(played.client.watch("s", Some(3))).await;
    assert!(failure.is_none(), "{failure:?}");
    let asked = played.asked();
    // Half of 0.1, 0.2, 0.4, 0.8 and 1.6 s at least.
    assert!(asked[5].at - asked[0].at >= Duration::from_millis(1550));
}

#[tokio::test]
async fn a_turn_that_may_have_been_taken_is_asked_for_again_under_the_same_id() {
    for end in [cut(), End::Ok] {
        let done = r#"{"sequence":"11","turnUpdated":{"turn":{"turnId":"turn_1","status":"TURN_STATUS_COMPLETED"}}}"#;
        let again = Answer { uid: "", events: vec![done], end: End::Ok };
        let played = Played::new(vec![Answer { uid: "", events: vec![], end }, again]).await;
        let request = RunTurnRequest { request_id: "mine".to_owned(), ..RunTurnRequest::default() };
        let (sequences, _, failure) = collect(played.client.run_turn(request)).await;
        assert!(failure.is_none(), "{failure:?}");
        let asked: Vec<_> = played.asked().into_iter().map(|asked| (asked.request_id, asked.after)).collect();
        assert_eq!((sequences, asked), (vec![11], vec![("mine".to_owned(), None), ("mine".to_owned(), None)]));
    }
}

#[tokio::test]
async fn a_call_that_changes_something_is_made_again_under_the_same_id() {
    let answer = |end| Answer { uid: "", events: vec![], end };
    let played = Played::new(vec![answer(cut()), answer(cut()), answer(End::Ok), answer(End::Ok)]).await;
    let send = || SendMessageRequest { session_id: "s".to_owned(), ..SendMessageRequest::default() };
    assert_eq!(played.client.send_message(send()).await.unwrap().sequence, 10);
    assert_eq!(played.client.send_message(send()).await.unwrap().sequence, 10);
    let ids: Vec<_> = played.asked().into_iter().map(|asked| asked.request_id).collect();
    assert!(!ids[0].is_empty() && ids[0] == ids[1] && ids[0] == ids[2], "{ids:?}");
    assert_ne!(ids[3], ids[0], "another call has another id");

    let played = Played::new((0..9).map(|_| answer(cut())).collect()).await;
    assert_eq!(played.client.send_message(send()).await.unwrap_err().code, Code::Unavailable);
    assert_eq!(played.asked().len(), 6, "it gives up");
    let busy = answer(refusal(tonic::Code::FailedPrecondition, "SESSION_BUSY", None));
    let played = Played::new(vec![busy]).await;
    assert_eq!(played.client.send_message(send()).await.unwrap_err().reason, "SESSION_BUSY");
    assert_eq!(played.asked().len(), 1, "a refusal is final");
}

#[tokio::test]
async fn a_refused_turn_is_refused() {
    let busy = Answer { uid: "", events: vec![], end: refusal(tonic::Code::FailedPrecondition, "SESSION_BUSY", None) };
    let played = Played::new(vec![busy]).await;
    let (_, _, failure) = collect(played.client.run_turn(RunTurnRequest::default())).await;
    assert_eq!(failure.unwrap().reason, "SESSION_BUSY");
}

#[tokio::test]
async fn a_key_that_no_header_can_carry_is_refused_at_once() {
    for key in ["two\nlines", "schlüssel", "a\0b"] {
        let target = Target { addr: "127.0.0.1:1".to_owned(), key: key.to_owned() };
        let refused = Client::connect(target).await.unwrap_err();
        assert_eq!(refused.code, Code::InvalidArgument, "{key:?}: {refused}");
        assert!(refused.message.contains("the key"), "{refused}");
    }
}

#[tokio::test]
async fn nobody_there_is_said_with_the_address() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    drop(listener);
    let failure = Client::connect(Target { addr: addr.clone(), key: String::new() }).await.unwrap_err();
    assert_eq!(failure.code, Code::Unavailable);
    assert!(failure.message.contains(&addr), "{failure}");
}
