//! `agents`: which programs the server can run, and how they get here.

use std::path::PathBuf;

use super::{connect::Common, error::Error, install, output, output::one_line, output::print_json};
use crate::{proto::GetRuntimeInfoRequest, server};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List the agents the server knows, and whether they can be used.
    List,
    /// Install the version of an agent that this build was made for.
    Install {
        /// Which.
        #[arg(value_parser = ["claude-code"])]
        agent: String,
        /// Where to put it. Else DATA/cache, where the server looks.
        #[arg(long, env = "AGENT_RUNTIME_CACHE", value_name = "DIR")]
        cache: Option<PathBuf>,
    },
}

pub(super) async fn run(common: &Common, command: Command) -> Result<(), Error> {
    match command {
        Command::List => list(common).await,
        Command::Install { agent, cache } => {
            let cache = match cache {
                Some(cache) => cache,
                None => server::agent_cache(&common.data()?),
            };
            let path = install::install_claude_code(&cache).await.map_err(|error| Error::Other(error.to_string()))?;
            if common.json {
                let line = serde_json::json!({ "agent": agent, "path": path.to_string_lossy() });
                anstream::println!("{line}");
            } else {
                anstream::println!("{}", path.display());
            }
            Ok(())
        }
    }
}

async fn list(common: &Common) -> Result<(), Error> {
    let connection = common.connect().await?;
    let info = connection.client.get_runtime_info(GetRuntimeInfoRequest {}).await?;
    if common.json {
        print_json("GetRuntimeInfoResponse", &info)?;
        return Ok(());
    }
    let mut rows = vec![["AGENT", "VERSION", "CAN BE USED", "ALSO CALLED"].map(str::to_owned)];
    rows.extend(info.agents.iter().map(|agent| {
        let usable = match agent.unavailable_reason.as_str() {
            "" => "yes".to_owned(),
            reason => format!("no: {}", one_line(reason, 100)),
        };
        let version = if agent.version.is_empty() { "-".to_owned() } else { agent.version.clone() };
        [agent.agent.clone(), version, usable, agent.aliases.join(", ")]
    }));
    output::table(&mut anstream::stdout(), &rows)?;
    Ok(())
}
