//! A recording client: raw calls of the contract, and everything that came of them taken down. It shares no code with the
//! client of the house.

use std::time::Duration;

use agent_runtime::proto::{self, session_service_client::SessionServiceClient};
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt as _;

use crate::{
    history::{Answer, Call, Filter, Open, What, Wire},
    recorder::Recorder,
};

/// How long a call may take before nobody knows what became of it.
const CALL: Duration = Duration::from_secs(20);

/// One client.
#[derive(Clone)]
pub struct Link {
    pub client: u32,
    pub recorder: Recorder,
    key: String,
    sessions: SessionServiceClient<Channel>,
}

/// A watch that is open.
pub struct Watching {
    pub stream: u64,
    pub uid: String,
    link: Link,
    frames: Streaming<proto::WatchSessionResponse>,
    closed: bool,
}

/// Why a watch is over.
#[derive(Debug)]
pub struct Closed {
    pub code: String,
    pub reason: String,
}

impl Link {
    /// Connects when it has to, and again when it was cut. A connection that went silent is noticed by its keepalive.
    pub fn new(client: u32, recorder: &Recorder, addr: &str, key: &str) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{addr}")).expect("an address");
        let endpoint = endpoint
            .connect_timeout(Duration::from_secs(2))
            .http2_keep_alive_interval(Duration::from_millis(400))
            .keep_alive_timeout(Duration::from_millis(800))
            .keep_alive_while_idle(true)
            .tcp_nodelay(true);
        let sessions = SessionServiceClient::new(endpoint.connect_lazy()).max_decoding_message_size(8 << 20);
        Self { client, recorder: recorder.clone(), key: key.to_owned(), sessions }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let value = format!("Bearer {}", self.key).parse().expect("a key is ASCII");
        request.metadata_mut().insert("authorization", value);
        request
    }

    fn add(&self, what: What) {
        self.recorder.add(self.client, what);
    }

    /// Takes down a call and its answer.
    async fn call<T>(
        &self,
        mut call: Call,
        calling: impl Future<Output = Result<Response<T>, Status>>,
        answer: impl FnOnce(&T) -> Answer,
    ) -> Result<(u64, Answer, T), Status> {
        call.call = self.recorder.id();
        let id = call.call;
        self.add(What::Call(call));
        let done = tokio::time::timeout(CALL, calling).await;
        match done.unwrap_or_else(|_| Err(Status::deadline_exceeded("the harness waited long enough"))) {
            Ok(response) => {
                let response = response.into_inner();
                let answer = answer(&response);
                self.add(What::Answer { call: id, answer: answer.clone() });
                Ok((id, answer, response))
            }
            Err(status) => {
                self.add(What::Answer { call: id, answer: refusal(&status) });
                Err(status)
            }
        }
    }

    pub async fn create(&self, request_id: &str) -> Result<proto::Session, Status> {
        self.create_of("scripted", "", request_id).await
    }

    /// A session of this agent, in this permission mode; empty: the agent's own.
    pub async fn create_of(&self, agent: &str, mode: &str, request_id: &str) -> Result<proto::Session, Status> {
        let call = Call { method: "CreateSession".into(), request_id: request_id.into(), ..Call::default() };
        let message = proto::CreateSessionRequest {
            agent: agent.into(),
            options: (!mode.is_empty())
                .then(|| proto::SessionOptions { permission_mode: mode.into(), ..Default::default() }),
            request_id: request_id.into(),
            ..Default::default()
        };
        let mut sessions = self.sessions.clone();
        let calling = sessions.create_session(self.request(message));
        let (_, _, response) = self
            .call(call, calling, |response| {
                let session = response.session.as_ref().expect("a session");
                Answer::Ok {
                    session: session.session_id.clone(),
                    uid: session.uid.clone(),
                    turn: String::new(),
                    sequence: response.sequence,
                    option: String::new(),
                }
            })
            .await?;
        Ok(response.session.expect("a session"))
    }

    pub async fn send(&self, session: &str, text: &str, request_id: &str) -> Result<(String, i64), Status> {
        let call = Call {
            method: "SendMessage".into(),
            session: session.into(),
            text: text.into(),
            request_id: request_id.into(),
            ..Call::default()
        };
        let message = proto::SendMessageRequest {
            session_id: session.into(),
            text: text.into(),
            request_id: request_id.into(),
            ..Default::default()
        };
        let mut sessions = self.sessions.clone();
        let calling = sessions.send_message(self.request(message));
        let (_, _, response) =
            self.call(call, calling, |response| accepted(session, response.turn.as_ref(), response.sequence)).await?;
        Ok((response.turn.expect("a turn").turn_id, response.sequence))
    }

    /// Runs a turn, or takes it up again, and takes down its stream, to its end or to the first thing that goes wrong: then
    /// the cursor is returned.
    pub async fn run(
        &self,
        session: &str,
        text: &str,
        request_id: &str,
        after: Option<i64>,
    ) -> Result<Option<i64>, Status> {
        let call = Call {
            method: "RunTurn".into(),
            session: session.into(),
            text: text.into(),
            request_id: request_id.into(),
            after,
            ..Call::default()
        };
        let message = proto::RunTurnRequest {
            session_id: session.into(),
            text: text.into(),
            request_id: request_id.into(),
            after_sequence: after,
            ..Default::default()
        };
        let mut sessions = self.sessions.clone();
        let calling = async {
            let mut frames = sessions.run_turn(self.request(message)).await?.into_inner();
            let first = frames.message().await?.ok_or_else(|| Status::unknown("no first response"))?;
            Ok(Response::new((first, frames)))
        };
        let (of_call, answer, (_, mut frames)) =
            self.call(call, calling, |(first, _)| accepted(session, first.turn.as_ref(), first.sequence)).await?;
        let Answer::Ok { sequence, .. } = answer else { return Ok(None) };
        let mut cursor = sequence;
        let stream = self.recorder.id();
        let (session, after) = (session.to_owned(), Some(sequence));
        self.add(What::Open(Open { stream, session, after, of_call: Some(of_call), ..Open::default() }));
        loop {
            let message = tokio::time::timeout(CALL, frames.message()).await;
            match message.unwrap_or_else(|_| Err(Status::deadline_exceeded("silence"))) {
                Ok(Some(frame)) => {
                    cursor = frame.events.last().map_or(cursor, |last| last.sequence);
                    let events = frame.events.into_iter().map(Wire).collect();
                    self.add(What::Frame { stream, uid: String::new(), events });
                }
                Ok(None) => {
                    self.close(stream, "Ok", "");
                    return Ok(None);
                }
                Err(status) => {
                    self.close(stream, &format!("{:?}", status.code()), &reason(&status));
                    return Ok(Some(cursor));
                }
            }
        }
    }

    /// Answers a permission request. `Ok` is the option it was resolved with.
    pub async fn resolve(
        &self,
        session: &str,
        permission: &str,
        option: &str,
        request_id: &str,
    ) -> Result<String, Status> {
        let call = Call {
            method: "ResolvePermission".into(),
            session: session.into(),
            permission: permission.into(),
            option: option.into(),
            request_id: request_id.into(),
            ..Call::default()
        };
        let message = proto::ResolvePermissionRequest {
            session_id: session.into(),
            permission_id: permission.into(),
            option_id: option.into(),
            request_id: request_id.into(),
            ..Default::default()
        };
        let mut sessions = self.sessions.clone();
        let calling = sessions.resolve_permission(self.request(message));
        let chosen = |response: &proto::ResolvePermissionResponse| {
            let resolution = response.permission.as_ref().and_then(|permission| permission.resolution.as_ref());
            resolution.map(|resolution| resolution.option_id.clone()).unwrap_or_default()
        };
        let answer = |response: &proto::ResolvePermissionResponse| Answer::Ok {
            session: session.into(),
            uid: String::new(),
            turn: String::new(),
            sequence: 0,
            option: chosen(response),
        };
        let (_, _, response) = self.call(call, calling, answer).await?;
        Ok(chosen(&response))
    }

    pub async fn stop(&self, session: &str, request_id: &str) -> Result<proto::Session, Status> {
        let message = proto::StopSessionRequest { session_id: session.into(), request_id: request_id.into() };
        let mut sessions = self.sessions.clone();
        let calling = sessions.stop_session(self.request(message));
        let call = ends("StopSession", session, request_id);
        let (_, _, response) = self.call(call, calling, |_| plain(session)).await?;
        Ok(response.session.expect("a session"))
    }

    pub async fn delete(&self, session: &str, request_id: &str) -> Result<(), Status> {
        let message = proto::DeleteSessionRequest {
            session_id: session.into(),
            request_id: request_id.into(),
            ..Default::default()
        };
        let mut sessions = self.sessions.clone();
        let calling = sessions.delete_session(self.request(message));
        self.call(ends("DeleteSession", session, request_id), calling, |_| plain(session)).await.map(drop)
    }

    pub async fn interrupt(&self, session: &str, request_id: &str) -> Result<(), Status> {
        let message = proto::InterruptTurnRequest {
            session_id: session.into(),
            request_id: request_id.into(),
            ..Default::default()
        };
        let mut sessions = self.sessions.clone();
        let calling = sessions.interrupt_turn(self.request(message));
        // Its turn was accepted long before: what is told is only which.
        self.call(ends("InterruptTurn", session, request_id), calling, |_| plain(session)).await.map(drop)
    }

    pub async fn watch(&self, mut open: Open) -> Result<Watching, Closed> {
        open.stream = self.recorder.id();
        let stream = open.stream;
        self.add(What::Open(open.clone()));
        let Filter { omit_deltas, conversation_ids, max_batch_delay_ms } = open.filter;
        let delay = Duration::from_millis(max_batch_delay_ms);
        let message = proto::WatchSessionRequest {
            session_id: open.session,
            after_sequence: open.after,
            expected_uid: open.expected_uid,
            snapshot_if_truncated: open.or_snapshot,
            conversation_ids,
            omit_deltas,
            max_batch_delay: prost_types::Duration::try_from(delay).ok().filter(|_| max_batch_delay_ms > 0),
            bookmark_interval: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
        };
        let mut sessions = self.sessions.clone();
        let opening = tokio::time::timeout(CALL, sessions.watch_session(self.request(message))).await;
        match opening.unwrap_or_else(|_| Err(Status::deadline_exceeded("silence"))) {
            Ok(frames) => {
                let frames = frames.into_inner();
                Ok(Watching { stream, uid: String::new(), link: self.clone(), frames, closed: false })
            }
            Err(status) => Err(self.closed(stream, &status)),
        }
    }

    fn closed(&self, stream: u64, status: &Status) -> Closed {
        let (code, reason) = (format!("{:?}", status.code()), reason(status));
        self.close(stream, &code, &reason);
        Closed { code, reason }
    }

    fn close(&self, stream: u64, code: &str, reason: &str) {
        self.add(What::Close { stream, code: code.into(), reason: reason.into() });
    }

    /// Not taken down: for the harness alone.
    pub fn raw(&self) -> (SessionServiceClient<Channel>, impl Fn() -> tonic::metadata::MetadataMap) {
        let metadata = self.request(()).metadata().clone();
        (self.sessions.clone(), move || metadata.clone())
    }
}

impl Watching {
    /// The next frame's events, as soon as they are taken down.
    pub async fn next(&mut self) -> Result<Vec<proto::SessionEvent>, Closed> {
        match self.frames.message().await {
            Ok(Some(frame)) => {
                if !frame.uid.is_empty() {
                    self.uid.clone_from(&frame.uid);
                }
                let events = frame.events.iter().cloned().map(Wire).collect();
                self.link.add(What::Frame { stream: self.stream, uid: frame.uid, events });
                Ok(frame.events)
            }
            Ok(None) => {
                self.closed = true;
                self.link.close(self.stream, "Ok", "");
                Err(Closed { code: "Ok".into(), reason: String::new() })
            }
            Err(status) => {
                self.closed = true;
                Err(self.link.closed(self.stream, &status))
            }
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        if !self.closed {
            self.link.close(self.stream, "cut", "");
        }
    }
}

fn ends(method: &str, session: &str, request_id: &str) -> Call {
    Call {
        method: method.into(),
        session: session.into(),
        request_id: request_id.into(),
        interrupts: true,
        ..Call::default()
    }
}

fn plain(session: &str) -> Answer {
    accepted(session, None, 0)
}

fn accepted(session: &str, turn: Option<&proto::Turn>, sequence: i64) -> Answer {
    let turn = turn.map(|turn| turn.turn_id.clone()).unwrap_or_default();
    Answer::Ok { session: session.into(), uid: String::new(), turn, sequence, option: String::new() }
}

fn refusal(status: &Status) -> Answer {
    Answer::Err { code: format!("{:?}", status.code()), reason: reason(status), message: status.message().to_owned() }
}

fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}
