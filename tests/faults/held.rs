//! Another program holds the database.

use sqlx::{ConnectOptions as _, sqlite::SqliteConnectOptions};
use tonic::Code;

use crate::{scenario, support::Server};

async fn held_by(begin: &'static str) {
    let server = Server::start();
    let options = SqliteConnectOptions::new().filename(server.data().join("agent-runtime.db"));
    let other = tokio::sync::Mutex::new(options.connect().await.expect("the database"));
    let take = async {
        sqlx::query(begin).execute(&mut *other.lock().await).await.expect("it is free");
    };
    let let_go = async {
        sqlx::query("ROLLBACK").execute(&mut *other.lock().await).await.expect("let go");
    };
    scenario::run(&server, (Code::Unavailable, "STORAGE_UNAVAILABLE"), take, let_go).await;
}

#[tokio::test]
async fn a_database_that_another_program_holds_is_waited_for() {
    held_by("BEGIN IMMEDIATE").await;
}

#[tokio::test]
async fn a_database_that_another_program_holds_for_itself_is_waited_for() {
    held_by("BEGIN EXCLUSIVE").await;
}
