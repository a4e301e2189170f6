//! A first program: creates a session, asks, streams blocks as they complete, and lists files.
//!
//! `ADDR=127.0.0.1:50051 KEY=$(cat DIR/key) SCRIPT=hello cargo run --example first`

use agent_runtime::client::{Client, Target, kind_of, words_of};
use agent_runtime::proto::{BlockState, ListFilesRequest};
use futures::TryStreamExt as _;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::connect(Target { addr: std::env::var("ADDR")?, key: std::env::var("KEY")? }).await?;
    let session_id = client.create("scripted").await?.session_id;
    println!("answer: {}", client.ask(&session_id, "hello").await?);
    let mut blocks = client.run(&session_id, &std::env::var("SCRIPT")?);
    while let Some(block) = blocks.try_next().await? {
        if block.state() == BlockState::Complete {
            println!("{}: {}", kind_of(&block), words_of(&block));
        }
    }
    for file in client.files(ListFilesRequest { session_id, ..Default::default() }).try_collect::<Vec<_>>().await? {
        println!("file: {}", file.path);
    }
    Ok(())
}
