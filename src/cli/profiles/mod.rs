//! `profiles`: how agents are set up.
//!
//! A profile is named by its id or by its name, and written as YAML or JSON: see [`file`].

mod apply;
mod file;
mod find;
mod include;
mod show;

pub(super) use find::find;

use super::{
    connect::Common,
    error::Error,
    output::{self, one_line, print_json},
};
use crate::proto::{CreateProfileRequest, DeleteProfileRequest, ListProfilesRequest};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make a profile what a file says: create it, or change the one of its name; what the file leaves out is cleared.
    ///
    /// The file is an `AgentProfile` as YAML or JSON, with the names of the contract's JSON form. Long texts and files can
    /// lie beside it: `systemPromptFrom: prompt.md` reads that file, as `XFrom` does for every text `x`, and a file's
    /// content can be given as `contentText`. Secrets without a value keep the one that is stored; `valueFromEnv: NAME`
    /// takes it from the environment.
    Apply {
        /// The file; `-` reads standard input.
        #[arg(short, long)]
        file: String,
    },
    /// List profiles, by name.
    List,
    /// Show a profile, as `apply` takes it; with --json whole.
    #[command(visible_alias = "show")]
    Get {
        /// Its name or its id.
        profile: String,
        /// Another revision than the newest.
        #[arg(long, default_value_t = 0, hide_default_value = true)]
        revision: i64,
    },
    /// Store a new profile, in any case, and print its id.
    Create {
        /// As `apply` takes it.
        file: String,
    },
    /// Delete a profile. Sessions that were created with it go on.
    Delete {
        /// Its name or its id.
        profile: String,
    },
}

pub(super) async fn run(common: &Common, command: Command) -> Result<(), Error> {
    match command {
        Command::Apply { file } => {
            let wanted = file::read(&file)?;
            apply::apply(common, &common.connect().await?.client, wanted).await
        }
        Command::List => list(common).await,
        Command::Get { profile, revision } => show::show(common, &profile, revision).await,
        Command::Create { file } => {
            let profile = file::read(&file)?;
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
        Command::Delete { profile } => {
            let client = common.connect().await?.client;
            let profile_id = find(&client, &profile).await?.profile_id;
            client
                .delete_profile(DeleteProfileRequest { profile_id: profile_id.clone(), ..Default::default() })
                .await?;
            if !common.json {
                anstream::println!("deleted {profile_id}");
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
