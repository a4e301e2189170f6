//! The supervisor as it was when version 1 of its protocol was frozen, as a program of its own. Frozen: never edited, so
//! that the tests can prove that what an older release left running is driven to its end by this one.
//!
//! `supervisor/` is a copy of `src/supervisor` of that day; only this file, which stands for the command line, is new.

// As it stood in a library.
#![allow(unreachable_pub, dead_code)]

mod supervisor;

use std::{path::PathBuf, process::ExitCode, time::Duration};

/// `supervise --sandbox DIR --limit-ms N --spool-cap N`, as servers start it.
fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| arguments.iter().position(|argument| argument == name).map(|at| arguments[at + 1].clone());
    let number = |name: &str| value(name).and_then(|text| text.parse().ok()).expect("a number");
    let config = supervisor::Config {
        sandbox: PathBuf::from(value("--sandbox").expect("a folder")),
        limit: Duration::from_millis(number("--limit-ms")),
        spool_cap: number("--spool-cap"),
    };
    match supervisor::run(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}
