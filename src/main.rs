//! The binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("scripted-agent") => agent_runtime::dev::scripted_agent::run(),
        _ => ExitCode::FAILURE,
    }
}
