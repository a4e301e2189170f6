//! The commands: thin layers over the client, except `serve` and `run`, which can start a server.
//!
//! Knows the client, the contract's messages, the server's front door and the development tools. It does not know
//! stores, sessions or agents: whatever it shows came over the wire.

use std::{process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::dev;

mod age;
mod agents;
mod asker;
mod connect;
mod database;
mod elsewhere;
mod error;
mod files;
pub mod install;
mod limits;
mod modal_emulator;
mod output;
mod permissions;
mod profiles;
mod questions;
mod render;
mod replay;
mod run;
mod sandboxes;
mod serve;
mod sessions;
mod signals;
mod supervise;
mod turns;
mod update;
mod view;
mod watch;

use connect::Common;
use error::Error;

/// Exit code of what a user interrupted, as shells have it: 128 + SIGINT.
const INTERRUPTED: u8 = 130;

/// Runs coding agents in sandboxes and streams what they do, durably.
#[derive(Debug, Parser)]
#[command(name = "agent-runtime", version, max_term_width = 100)]
struct Args {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until told to stop.
    Serve(Box<serve::Args>),
    /// Give an agent a prompt and watch it work; starts a server of its own when none runs.
    Run(run::Args),
    /// Follow a session, across restarts of the server.
    Watch(watch::Args),
    /// List a session's turns, newest first.
    Turns(turns::List),
    /// End the turn a session is at; what waits behind it goes on.
    Interrupt(turns::Interrupt),
    /// Take a turn out of a session's queue.
    Cancel(turns::Cancel),
    /// Create, list, show, stop and delete sessions.
    #[command(subcommand, visible_alias = "session")]
    Sessions(sessions::Command),
    /// List, read, write and delete the files of a session's workspace.
    #[command(subcommand, visible_alias = "file")]
    Files(files::Command),
    /// See what agents ask before they use a tool, and answer.
    #[command(subcommand, visible_alias = "permission")]
    Permissions(permissions::Command),
    /// What agents ask their users: list, answer.
    #[command(subcommand)]
    Questions(questions::Command),
    /// Apply, list, show and delete profiles: how agents are set up.
    #[command(subcommand, visible_alias = "profile")]
    Profiles(profiles::Command),
    /// See which agents the server has, and install them.
    #[command(subcommand, visible_alias = "agent")]
    Agents(agents::Command),
    /// List the sandboxes away from the server's machine, with their age and what they cost.
    Sandboxes(sandboxes::Args),
    /// Look after the data folder of a server that does not run.
    #[command(subcommand)]
    Database(database::Command),
    /// Show which events a recording of an agent's output gives.
    Replay(replay::Args),
    /// Answer agents from a script, instead of a real model.
    ModelEndpoint(dev::model::Args),
    /// Answer as Modal would, with sandboxes on this machine.
    ModalEmulator(modal_emulator::Args),
    /// The first process of an emulated sandbox; the emulator starts it.
    #[command(hide = true)]
    ModalSandboxInit(dev::modal::InitArgs),
    /// The file tools of an emulated sandbox; clients of Modal start them.
    #[command(hide = true)]
    ModalSandboxFsTools(dev::modal::tools::Args),
    /// Play a script as an agent; the server starts it.
    #[command(hide = true)]
    ScriptedAgent(dev::scripted_agent::Args),
    /// Hold the programs of a sandbox; the server starts it.
    #[command(hide = true)]
    Supervise(supervise::Args),
}

/// Runs the command line.
#[must_use]
pub fn main() -> ExitCode {
    let args = Args::parse();
    if let Command::ScriptedAgent(args) = args.command {
        // A plain program of lines in and lines out: it needs nothing of what follows.
        return dev::scripted_agent::run(args);
    }
    if let Command::ModalSandboxInit(args) = args.command {
        return dev::modal::init(args);
    }
    if let Command::ModalSandboxFsTools(args) = args.command {
        return dev::modal::tools::run(args);
    }
    if let Command::Supervise(args) = args.command {
        // One thread, and a log that is a file; nobody filters it.
        tracing_subscriber::fmt().with_ansi(false).with_writer(std::io::stderr).init();
        return supervise::run(args);
    }
    log(if matches!(args.command, Command::Serve(_) | Command::ModalEmulator(_)) {
        "agent_runtime=info,warn"
    } else {
        "agent_runtime::client=warn"
    });
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report(&error.into()),
    };
    let outcome = runtime.block_on(dispatch(args));
    // Whatever still blocks a thread, such as a read from a terminal, must not keep the process.
    runtime.shutdown_timeout(Duration::from_secs(2));
    outcome.unwrap_or_else(|error| report(&error))
}

async fn dispatch(args: Args) -> Result<ExitCode, Error> {
    let common = &args.common;
    match args.command {
        Command::Serve(args) => return serve::run(common, *args).await,
        Command::Run(args) => return run::run(common, args).await,
        Command::ScriptedAgent(_)
        | Command::ModalSandboxInit(_)
        | Command::ModalSandboxFsTools(_)
        | Command::Supervise(_) => {}
        Command::Watch(args) => watch::run(common, args).await?,
        Command::Turns(args) => turns::list(common, args).await?,
        Command::Interrupt(args) => turns::interrupt(common, args).await?,
        Command::Cancel(args) => turns::cancel(common, args).await?,
        Command::Sessions(command) => sessions::run(common, command).await?,
        Command::Files(command) => files::run(common, command).await?,
        Command::Permissions(command) => permissions::run(common, command).await?,
        Command::Questions(command) => questions::run(common, command).await?,
        Command::Profiles(command) => Box::pin(profiles::run(common, command)).await?,
        Command::Agents(command) => agents::run(common, command).await?,
        Command::Sandboxes(args) => sandboxes::run(common, &args).await?,
        Command::Database(command) => database::run(common, command).await?,
        Command::Replay(args) => replay::run(common, &args)?,
        Command::ModalEmulator(args) => return modal_emulator::run(common, args).await,
        Command::ModelEndpoint(args) => {
            dev::model::run(args).await.map_err(|error| Error::Other(error.to_string()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn log(default: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}

fn report(error: &Error) -> ExitCode {
    if !error.is_broken_pipe() {
        let style = render::style::ERROR;
        anstream::eprintln!("{style}error:{style:#} {error}");
    }
    ExitCode::FAILURE
}
