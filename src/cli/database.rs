//! `database`: what only somebody who looks after the data folder does to it, while no server runs on it.

use super::{connect::Common, error::Error};
use crate::server;

/// What can be done.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Say that a backup was put back, before the server starts: what clients remember from after it is then refused.
    ///
    /// Each session's log gets another uid. A watch that resumes gets SESSION_REPLACED, or a new snapshot if it asked for
    /// that, instead of other events under the numbers that it remembers.
    Restored,
}

pub(super) async fn run(common: &Common, command: Command) -> Result<(), Error> {
    match command {
        Command::Restored => {
            let sessions = server::restored(&common.data()?).await?;
            if common.json {
                anstream::println!("{}", serde_json::json!({ "sessions": sessions }));
            } else {
                anstream::println!("the logs of {sessions} sessions have new uids");
            }
            Ok(())
        }
    }
}
