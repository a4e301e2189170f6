//! `sessions`: the records.

use super::{
    connect::Common,
    error::Error,
    limits::Limits,
    output::{self, one_line, print_json, word},
    profiles, update,
};
use crate::{
    client::Client,
    proto::{
        CreateSessionRequest, DeleteSessionRequest, GetSessionRequest, GetSessionResponse, ListSessionsRequest,
        Session, SessionOptions, StopSessionRequest, SyncSessionRequest,
    },
};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Create a session and print its id.
    Create {
        /// Profile to set the agent up, by its name or its id.
        #[arg(long, env = "AGENT_RUNTIME_PROFILE", value_name = "NAME|ID")]
        profile: Option<String>,
        /// Agent. Else the profile's, else the server's default.
        #[arg(long, env = "AGENT_RUNTIME_AGENT")]
        agent: Option<String>,
        /// Model, in the agent's words.
        #[arg(long, env = "AGENT_RUNTIME_MODEL")]
        model: Option<String>,
        /// When the agent asks for permission, in its words.
        #[arg(long, env = "AGENT_RUNTIME_PERMISSION_MODE", value_name = "MODE")]
        permission_mode: Option<String>,
        /// Name to show.
        #[arg(long, default_value = "")]
        name: String,
        #[command(flatten)]
        limits: Limits,
    },
    /// Change a session: its name, labels and options. New options count from its next turn on.
    Update(update::Args),
    /// Save a session's workspace and its agent's state now.
    Sync {
        /// Which.
        id: String,
    },
    /// List sessions, newest first.
    List,
    /// Show one session, and what it waits for.
    Show {
        /// Which.
        id: String,
    },
    /// End a session's turns and its sandbox; the next message starts it again.
    Stop {
        /// Which.
        id: String,
    },
    /// Delete a session and all that is stored of it.
    Delete {
        /// Which.
        id: String,
    },
}

pub(super) async fn run(common: &Common, command: Command) -> Result<(), Error> {
    let connection = common.connect().await?;
    let client = &connection.client;
    match command {
        Command::Create { profile, agent, model, permission_mode, name, limits } => {
            let profile_id = match profile {
                Some(profile) => profiles::find(client, &profile).await?.profile_id,
                None => String::new(),
            };
            let (model, permission_mode) = (model.unwrap_or_default(), permission_mode.unwrap_or_default());
            let mut options = SessionOptions { model, permission_mode, ..SessionOptions::default() };
            limits.apply(&mut options);
            let created = client
                .create_session(CreateSessionRequest {
                    profile_id,
                    agent: agent.unwrap_or_default(),
                    options: Some(options),
                    name,
                    ..CreateSessionRequest::default()
                })
                .await?;
            if common.json {
                print_json("CreateSessionResponse", &created)?;
            } else if let Some(session) = created.session {
                anstream::println!("{}", session.session_id);
            }
        }
        Command::Update(args) => update::run(common, client, &args).await?,
        Command::Sync { id } => {
            let synced =
                client.sync_session(SyncSessionRequest { session_id: id.clone(), ..Default::default() }).await?;
            let synced = synced.session.unwrap_or_default();
            if common.json { print_json("Session", &synced)? } else { anstream::println!("saved {id}") }
        }
        Command::List => list(client, common.json).await?,
        Command::Show { id } => {
            let found = client.get_session(GetSessionRequest { session_id: id }).await?;
            if common.json { print_json("GetSessionResponse", &found)? } else { show(&found) }
        }
        Command::Stop { id } => {
            let stopped =
                client.stop_session(StopSessionRequest { session_id: id.clone(), ..Default::default() }).await?;
            let stopped = stopped.session.unwrap_or_default();
            if common.json { print_json("Session", &stopped)? } else { anstream::println!("stopped {id}") }
        }
        Command::Delete { id } => {
            client
                .delete_session(DeleteSessionRequest { session_id: id.clone(), ..DeleteSessionRequest::default() })
                .await?;
            if !common.json {
                anstream::println!("deleted {id}");
            }
        }
    }
    Ok(())
}

async fn list(client: &Client, json: bool) -> Result<(), Error> {
    let mut rows = vec![["ID", "STATUS", "AGENT", "EVENTS", "COST", "NAME"].map(str::to_owned)];
    let mut page_token = String::new();
    loop {
        let page = client
            .list_sessions(ListSessionsRequest { page_size: 1000, page_token, ..ListSessionsRequest::default() })
            .await?;
        for session in &page.sessions {
            if json { print_json("Session", session)? } else { rows.push(row(session)) }
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    if !json {
        output::table(&mut anstream::stdout(), &rows)?;
    }
    Ok(())
}

fn row(session: &Session) -> [String; 6] {
    [
        session.session_id.clone(),
        status(session),
        session.agent.clone(),
        session.sequence.to_string(),
        super::render::cost(session.usage.map_or(0, |usage| usage.cost_micro_usd)),
        one_line(&session.name, 60),
    ]
}

fn show(found: &GetSessionResponse) {
    let Some(session) = &found.session else { return };
    let options = session.options.clone().unwrap_or_default();
    let (silence, budget) = super::limits::shown(&options);
    let sandbox = session.sandbox.as_ref().map(|sandbox| {
        let status = word(sandbox.status().as_str_name(), "SANDBOX_STATUS_");
        let isolation = word(sandbox.isolation().as_str_name(), "ISOLATION_");
        format!("{} {status}, isolation: {isolation}", sandbox.provider)
    });
    let usage = session.usage.unwrap_or_default();
    let turn = session.active_turn.as_ref().map(|turn| turn.turn_id.clone());
    let lines = [
        ("session", session.session_id.clone()),
        ("name", one_line(&session.name, 200)),
        ("status", status(session)),
        ("error", session.error.as_ref().map(|error| error.message.clone()).unwrap_or_default()),
        ("agent", session.agent.clone()),
        ("model", options.model),
        ("mode", options.permission_mode),
        ("budget", budget),
        ("silence", silence),
        ("sandbox", sandbox.unwrap_or_default()),
        ("turn", turn.unwrap_or_default()),
        ("events", session.sequence.to_string()),
        ("tokens", usage.total_tokens.to_string()),
        ("cost", super::render::cost(usage.cost_micro_usd)),
    ];
    let dim = super::render::style::DIM;
    for (name, value) in lines.iter().filter(|(_, value)| !value.is_empty()) {
        anstream::println!("{dim}{name:<8}{dim:#} {value}");
    }
    for permission in &found.open_permissions {
        anstream::println!("{dim}waits   {dim:#} {} ({})", one_line(&permission.title, 100), permission.permission_id);
    }
    for question in &found.open_questions {
        let text = question.items.first().map(|item| one_line(&item.text, 100)).unwrap_or_default();
        anstream::println!("{dim}waits   {dim:#} {text} ({})", question.question_id);
    }
}

fn status(session: &Session) -> String {
    word(session.status().as_str_name(), "SESSION_STATUS_")
}
