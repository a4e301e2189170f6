//! `run`: one prompt, one turn, shown as it happens.

use std::{io::IsTerminal as _, process::ExitCode};

use futures::StreamExt as _;

use super::{
    INTERRUPTED,
    asker::Asker,
    connect::{Common, Connection},
    error::Error,
    profiles,
    render::style,
    signals::Signals,
    turns::Busy,
    view::View,
};
use crate::{
    client::State,
    proto::{
        BusyPolicy, CreateSessionRequest, InterruptTurnRequest, RunTurnRequest, SessionEvent, SessionOptions,
        StopSessionRequest, Turn, TurnStatus, session_event::Kind,
    },
};

/// Longest name given to a session after its prompt, in characters.
const NAME_LENGTH: usize = 60;

/// Flags of `run`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What the agent is to do.
    prompt: String,
    /// Profile to set up the agent of a new session, by its name or its id.
    #[arg(long, env = "AGENT_RUNTIME_PROFILE", value_name = "NAME|ID", conflicts_with = "session")]
    profile: Option<String>,
    /// Agent of a new session. Else the profile's, else the server's default.
    #[arg(long, env = "AGENT_RUNTIME_AGENT", conflicts_with = "session")]
    agent: Option<String>,
    /// Go on with this session, instead of a new one.
    #[arg(long, env = "AGENT_RUNTIME_SESSION", value_name = "ID")]
    session: Option<String>,
    /// Model of a new session, in the agent's words.
    #[arg(long, env = "AGENT_RUNTIME_MODEL", conflicts_with = "session")]
    model: Option<String>,
    /// When the agent of a new session asks for permission, in its words, for example default or plan.
    #[arg(long, env = "AGENT_RUNTIME_PERMISSION_MODE", value_name = "MODE", conflicts_with = "session")]
    permission_mode: Option<String>,
    /// What to do while the session is at a turn.
    #[arg(
        long,
        env = "AGENT_RUNTIME_BUSY",
        default_value = "reject",
        hide_possible_values = true,
        value_name = "reject|queue|interrupt"
    )]
    busy: Busy,
    /// Leave the new session's sandbox running for the next prompt.
    #[arg(long, env = "AGENT_RUNTIME_KEEP", value_parser = clap::builder::FalseyValueParser::new())]
    keep: bool,
}

pub(super) async fn run(common: &Common, args: Args) -> Result<ExitCode, Error> {
    let mut signals = Signals::listen()?;
    let connection = common.connect_or_start().await?;
    // Our own server is shut down in order whatever happens, or it would leave its agents behind.
    let outcome = run_on(&connection, common, args, &mut signals).await;
    connection.close().await;
    outcome
}

async fn run_on(
    connection: &Connection,
    common: &Common,
    args: Args,
    signals: &mut Signals,
) -> Result<ExitCode, Error> {
    let client = &connection.client;
    let (session_id, is_new) = match &args.session {
        Some(id) => (id.clone(), false),
        None => (create(connection, &args).await?, true),
    };
    let mut events = client.run_turn(RunTurnRequest {
        session_id: session_id.clone(),
        text: args.prompt,
        busy_policy: BusyPolicy::from(args.busy).into(),
        ..RunTurnRequest::default()
    });
    let (mut state, mut view) = (State::default(), View::new(common.json));
    let mut asker = Asker::new(client.clone(), session_id.clone(), common.json);
    if asker.is_there() {
        view.leaves_questions();
    }
    let mut turn = Turn::default();
    let mut interrupting = false;
    loop {
        tokio::select! {
            event = events.next() => {
                let Some(event) = event.transpose()? else { break };
                state.apply(&event);
                view.event(&event, &state)?;
                asker.event(&event);
                turn = turn_of(event).unwrap_or(turn);
            }
            answered = asker.answered() => answered?,
            _ = signals.next() => {
                if interrupting {
                    view.end()?;
                    return Ok(ExitCode::from(INTERRUPTED));
                }
                interrupting = true;
                // As long as nothing was told of it, it is whichever is at work.
                let (session_id, turn_id) = (session_id.clone(), turn.turn_id.clone());
                client.interrupt_turn(InterruptTurnRequest { session_id, turn_id, ..Default::default() }).await?;
            }
        }
    }
    view.end()?;
    if is_new && !args.keep {
        let request = StopSessionRequest { session_id: session_id.clone(), ..Default::default() };
        client.stop_session(request).await?;
    }
    if !common.json && std::io::stderr().is_terminal() {
        let dim = style::DIM;
        anstream::eprintln!("{dim}  go on with: agent-runtime run --session {session_id} \"…\"{dim:#}");
    }
    Ok(match turn.status() {
        TurnStatus::Completed => ExitCode::SUCCESS,
        TurnStatus::Interrupted => ExitCode::from(INTERRUPTED),
        TurnStatus::Unspecified
        | TurnStatus::Queued
        | TurnStatus::Running
        | TurnStatus::AwaitingInput
        | TurnStatus::Parked
        | TurnStatus::Cancelled
        | TurnStatus::Failed
        | TurnStatus::BudgetExhausted
        | TurnStatus::Lost => ExitCode::FAILURE,
    })
}

async fn create(connection: &Connection, args: &Args) -> Result<String, Error> {
    let first_line = args.prompt.trim().lines().next().unwrap_or_default();
    let options = SessionOptions {
        model: args.model.clone().unwrap_or_default(),
        permission_mode: args.permission_mode.clone().unwrap_or_default(),
        ..SessionOptions::default()
    };
    let profile_id = match &args.profile {
        Some(profile) => profiles::find(&connection.client, profile).await?.profile_id,
        None => String::new(),
    };
    let request = CreateSessionRequest {
        profile_id,
        agent: args.agent.clone().unwrap_or_default(),
        name: first_line.chars().take(NAME_LENGTH).collect(),
        options: Some(options),
        ..CreateSessionRequest::default()
    };
    let created = connection.client.create_session(request).await?.session;
    created
        .map(|session| session.session_id)
        .ok_or_else(|| Error::Other("the server answered without a session".into()))
}

/// What became of the turn, where the event says so. A turn's stream brings no other turns.
fn turn_of(event: SessionEvent) -> Option<Turn> {
    match event.kind {
        Some(Kind::TurnQueued(queued)) => queued.turn,
        Some(Kind::TurnUpdated(updated)) => updated.turn,
        _ => None,
    }
}
