//! Connections to the server, and the few calls that all kinds of load make.

use std::time::Duration;

use agent_runtime::proto::{self, session_service_client::SessionServiceClient};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::task::JoinSet;
use tonic::{Request, metadata::MetadataValue, transport::Endpoint};

use super::Params;
use crate::Failure;

pub(crate) type Client =
    SessionServiceClient<tonic::service::interceptor::InterceptedService<tonic::transport::Channel, Bearer>>;
pub(crate) type Stream = tonic::Streaming<proto::WatchSessionResponse>;

/// Puts the key into every request.
#[derive(Clone)]
pub(crate) struct Bearer(MetadataValue<tonic::metadata::Ascii>);

impl tonic::service::Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, tonic::Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// A connection of its own; a window of 0 KiB means tonic's default.
pub(crate) async fn connect(params: &Params, window_kb: u32) -> Result<Client, Failure> {
    let mut endpoint = Endpoint::from_shared(format!("http://{}", params.addr))?;
    if window_kb > 0 {
        endpoint = endpoint.initial_stream_window_size(window_kb << 10).initial_connection_window_size(window_kb << 13);
    }
    let bearer = Bearer(MetadataValue::try_from(format!("Bearer {}", params.key))?);
    let client = SessionServiceClient::with_interceptor(endpoint.connect().await?, bearer);
    Ok(client.max_decoding_message_size(64 << 20))
}

pub(crate) async fn create(client: &mut Client) -> Result<String, Failure> {
    let request = proto::CreateSessionRequest { agent: "scripted".into(), ..Default::default() };
    Ok(client.create_session(request).await?.into_inner().session.ok_or("no session")?.session_id)
}

/// Calls that are under way at once, where there are many to make.
const AT_ONCE: usize = 64;

/// Sessions that have done nothing yet.
pub(crate) async fn create_many(client: &Client, count: usize) -> Result<Vec<String>, Failure> {
    let created = stream::iter(0..count).map(|_| {
        let mut client = client.clone();
        async move { create(&mut client).await }
    });
    created.buffer_unordered(AT_ONCE).try_collect().await
}

/// Sessions whose agents run: each has played one turn.
pub(crate) async fn create_warm(client: &Client, count: usize) -> Result<Vec<String>, Failure> {
    let mut tasks = JoinSet::new();
    for _ in 0..count {
        let mut client = client.clone();
        tasks.spawn(async move {
            let id = create(&mut client).await?;
            run(&mut client, &id, r#"[{"say":"warm"}]"#).await?;
            Ok::<_, Failure>(id)
        });
    }
    let mut ids = Vec::new();
    while let Some(id) = tasks.join_next().await {
        ids.push(id??);
    }
    Ok(ids)
}

pub(crate) async fn send(client: &mut Client, id: &str, text: &str) -> Result<i64, Failure> {
    let request = proto::SendMessageRequest { session_id: id.into(), text: text.into(), ..Default::default() };
    Ok(client.send_message(request).await?.into_inner().sequence)
}

/// The same message to all at once.
pub(crate) async fn send_all(client: &Client, ids: &[String], text: &str) -> Result<(), Failure> {
    let mut tasks = JoinSet::new();
    for id in ids {
        let (mut client, id, text) = (client.clone(), id.clone(), text.to_owned());
        tasks.spawn(async move { send(&mut client, &id, &text).await });
    }
    while let Some(sent) = tasks.join_next().await {
        sent??;
    }
    Ok(())
}

/// Runs a turn to its end.
pub(crate) async fn run(client: &mut Client, id: &str, text: &str) -> Result<(), Failure> {
    let request = proto::RunTurnRequest { session_id: id.into(), text: text.into(), ..Default::default() };
    let mut stream = client.run_turn(request).await?.into_inner();
    while stream.message().await?.is_some() {}
    Ok(())
}

/// Plays a turn to its end without looking at it.
pub(crate) async fn play(client: &mut Client, id: &str, text: &str) -> Result<(), Failure> {
    send(client, id, text).await?;
    at_rest(client, id).await
}

/// Waits until no turn runs.
pub(crate) async fn at_rest(client: &mut Client, id: &str) -> Result<(), Failure> {
    while session(client, id).await?.active_turn.is_some() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

pub(crate) async fn session(client: &mut Client, id: &str) -> Result<proto::Session, Failure> {
    let request = proto::GetSessionRequest { session_id: id.into() };
    Ok(client.get_session(request).await?.into_inner().session.ok_or("no session")?)
}

pub(crate) async fn watch(client: &mut Client, id: &str, after: Option<i64>) -> Result<Stream, Failure> {
    watch_with(
        client,
        proto::WatchSessionRequest { session_id: id.into(), after_sequence: after, ..Default::default() },
    )
    .await
}

pub(crate) async fn watch_with(client: &mut Client, request: proto::WatchSessionRequest) -> Result<Stream, Failure> {
    Ok(client.watch_session(request).await?.into_inner())
}

/// Ends the agents, so that what comes next has the machine for itself.
pub(crate) async fn stop_all(client: &Client, ids: &[String]) -> Result<(), Failure> {
    let stopped = stream::iter(ids).map(|id| {
        let (mut client, session_id) = (client.clone(), id.clone());
        async move { client.stop_session(proto::StopSessionRequest { session_id, ..Default::default() }).await }
    });
    stopped.buffer_unordered(AT_ONCE).try_for_each(|_| std::future::ready(Ok(()))).await?;
    Ok(())
}
