//! Connections to the server, and the few calls that all kinds of load make.

use agent_runtime::proto::{self, session_service_client::SessionServiceClient};
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
    let mut tasks = JoinSet::new();
    for id in ids {
        let (mut client, session_id) = (client.clone(), id.clone());
        tasks.spawn(async move {
            client.stop_session(proto::StopSessionRequest { session_id, ..Default::default() }).await
        });
    }
    while let Some(stopped) = tasks.join_next().await {
        stopped??;
    }
    Ok(())
}
