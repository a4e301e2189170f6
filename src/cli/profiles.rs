//! `profiles`: how agents are set up.

use std::{fs, io::Read as _};

use super::{
    connect::Common,
    error::{Error, context},
    output::{self, json, one_line, print_json},
};
use crate::proto::{self, AgentProfile, CreateProfileRequest, GetProfileRequest, ListProfilesRequest};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List profiles, by name.
    List,
    /// Show the newest revision of a profile, as JSON.
    Show {
        /// Which.
        id: String,
    },
    /// Store a profile and print its id.
    Create {
        /// An `AgentProfile` as JSON; `-` reads standard input.
        file: String,
    },
}

pub(super) async fn run(common: &Common, command: Command) -> Result<(), Error> {
    match command {
        Command::List => list(common).await,
        Command::Show { id } => {
            let request = GetProfileRequest { profile_id: id, revision: 0 };
            let found = common.connect().await?.client.get_profile(request).await?;
            let profile = found.profile.unwrap_or_default();
            let text = json("AgentProfile", &profile);
            // For people the same on several lines; what cannot be laid out is printed as it is.
            let laid_out = serde_json::from_str::<serde_json::Value>(&text)
                .and_then(|value| serde_json::to_string_pretty(&value))
                .ok()
                .filter(|_| !common.json);
            anstream::println!("{}", laid_out.unwrap_or(text));
            Ok(())
        }
        Command::Create { file } => {
            let text = read(&file)?;
            let profile: AgentProfile = proto::from_json("agentruntime.v1.AgentProfile", &text)
                .map_err(|error| Error::Other(format!("{file} is no AgentProfile: {error}")))?;
            let client = common.connect().await?.client;
            let request = CreateProfileRequest { profile: Some(profile), ..Default::default() };
            let created = client.create_profile(request).await?.profile.unwrap_or_default();
            if common.json {
                print_json("AgentProfile", &created)?;
            } else {
                anstream::println!("{}", created.profile_id);
            }
            Ok(())
        }
    }
}

async fn list(common: &Common) -> Result<(), Error> {
    let client = common.connect().await?.client;
    let mut rows = vec![["ID", "REVISION", "AGENT", "NAME", "DESCRIPTION"].map(str::to_owned)];
    let mut page_token = String::new();
    loop {
        let page = client.list_profiles(ListProfilesRequest { page_size: 1000, page_token }).await?;
        for profile in &page.profiles {
            if common.json {
                print_json("AgentProfile", profile)?;
                continue;
            }
            rows.push([
                profile.profile_id.clone(),
                profile.revision.to_string(),
                profile.agent.clone(),
                one_line(&profile.name, 40),
                one_line(&profile.description, 60),
            ]);
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    if !common.json {
        output::table(&mut anstream::stdout(), &rows)?;
    }
    Ok(())
}

fn read(file: &str) -> Result<String, Error> {
    if file == "-" {
        let mut text = String::new();
        std::io::stdin().lock().read_to_string(&mut text)?;
        return Ok(text);
    }
    fs::read_to_string(file).map_err(context(format_args!("cannot read {file}")))
}
