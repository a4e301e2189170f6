//! A first program: a session of the scripted agent, one message, and every event as it comes.
//!
//! `ADDR=127.0.0.1:50051 KEY=$(cat DIR/key) cargo run --example first`

use std::env;

use agent_runtime::{
    client::{Client, State, Target},
    proto::{CreateSessionRequest, RunTurnRequest},
};
use futures::StreamExt as _;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::connect(Target { addr: env::var("ADDR")?, key: env::var("KEY")? }).await?;
    let request = CreateSessionRequest { agent: "scripted".into(), ..Default::default() };
    let session = client.create_session(request).await?.session.ok_or("no session")?;
    let request = RunTurnRequest { session_id: session.session_id, text: "hello".into(), ..Default::default() };
    let (mut events, mut state) = (client.run_turn(request), State::default());
    while let Some(event) = events.next().await {
        state.apply(&event?);
    }
    for block in &state.as_proto().blocks {
        println!("{} {:?}", block.block_id, block.content);
    }
    Ok(())
}
