//! The binary.

use std::process::ExitCode;

use agent_runtime::dev;
use clap::Parser as _;

#[derive(clap::Parser)]
enum Command {
    ScriptedAgent,
    ModelEndpoint(dev::model::Args),
}

fn main() -> ExitCode {
    match Command::parse() {
        Command::ScriptedAgent => dev::scripted_agent::run(),
        Command::ModelEndpoint(args) => {
            let runtime = tokio::runtime::Runtime::new().expect("threads can be started");
            match runtime.block_on(dev::model::run(args)) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    eprintln!("{error}");
                    ExitCode::FAILURE
                }
            }
        }
    }
}
