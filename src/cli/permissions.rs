//! `permissions`: what agents ask before they use a tool, and the answers.

use super::{
    connect::Common,
    error::Error,
    output::{self, one_line, print_json, word},
};
use crate::{
    client::Client,
    proto::{GetSessionRequest, PermissionOptionKind, PermissionRequest, ResolvePermissionRequest},
};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List what a session waits with for an answer.
    List {
        /// Which session.
        session: String,
    },
    /// Answer a request. The first answer counts.
    Answer {
        /// Of which session.
        session: String,
        /// Which request.
        permission: String,
        /// May the tool run?
        answer: Answer,
        /// Tell the agent why not.
        #[arg(long, value_name = "TEXT", default_value = "")]
        message: String,
        /// Let it run with this input, a JSON object, instead of the agent's.
        #[arg(long, value_name = "JSON", default_value = "")]
        input: String,
    },
}

/// What a request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Answer {
    /// The tool runs, this time.
    Allow,
    /// It does not.
    Reject,
}

impl Answer {
    fn kind(self) -> PermissionOptionKind {
        match self {
            Self::Allow => PermissionOptionKind::AllowOnce,
            Self::Reject => PermissionOptionKind::RejectOnce,
        }
    }

    /// The option of the request that says so.
    pub(super) fn option(self, permission: &PermissionRequest) -> Result<String, Error> {
        let found = permission.options.iter().find(|option| option.kind() == self.kind());
        let option = found.ok_or_else(|| Error::Other("the request has no such option".to_owned()))?;
        Ok(option.option_id.clone())
    }
}

pub(super) async fn run(common: &Common, command: Command) -> Result<(), Error> {
    let client = common.connect().await?.client;
    match command {
        Command::List { session } => {
            let open = open(&client, &session).await?;
            if common.json {
                return Ok(open.iter().try_for_each(|permission| print_json("PermissionRequest", permission))?);
            }
            let mut rows = vec![["ID", "TOOL", "TITLE", "INPUT"].map(str::to_owned)];
            rows.extend(open.iter().map(|permission| {
                [
                    permission.permission_id.clone(),
                    one_line(&permission.tool_name, 30),
                    one_line(&permission.title, 60),
                    one_line(&permission.input_json, 100),
                ]
            }));
            output::table(&mut anstream::stdout(), &rows)?;
        }
        Command::Answer { session, permission, answer, message, input } => {
            let open = open(&client, &session).await?;
            let found = open.iter().find(|open| open.permission_id == permission);
            // One that is over is refused by the server, which says how it ended.
            let option_id = found.map_or_else(|| Ok("allow_once".to_owned()), |open| answer.option(open))?;
            let request = ResolvePermissionRequest {
                session_id: session,
                permission_id: permission,
                option_id,
                message,
                updated_input_json: input,
                ..ResolvePermissionRequest::default()
            };
            let answered = client.resolve_permission(request).await?;
            if common.json {
                print_json("ResolvePermissionResponse", &answered)?;
            } else {
                let resolution = answered.permission.and_then(|permission| permission.resolution).unwrap_or_default();
                anstream::println!("{}", word(resolution.outcome().as_str_name(), "INPUT_OUTCOME_"));
            }
        }
    }
    Ok(())
}

async fn open(client: &Client, session: &str) -> Result<Vec<PermissionRequest>, Error> {
    let request = GetSessionRequest { session_id: session.to_owned() };
    Ok(client.get_session(request).await?.open_permissions)
}
