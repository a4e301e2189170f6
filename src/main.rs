//! The binary: everything it does is in the `cli` room.

use std::process::ExitCode;

fn main() -> ExitCode {
    agent_runtime::cli::main()
}
