//! Local stand-in for the dev room; not to be merged.
#![allow(missing_docs, clippy::all, clippy::pedantic)]

pub mod model {
    //! Stand-in.
    #[derive(clap::Args, Debug)]
    pub struct Args {}

    pub async fn run(_args: Args) -> std::io::Result<()> {
        Err(std::io::Error::other("the dev room is not here yet"))
    }
}

pub mod scripted_agent {
    //! Stand-in.
    pub fn run() -> std::process::ExitCode {
        std::process::ExitCode::FAILURE
    }
}
