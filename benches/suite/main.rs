//! The benchmarks: `make bench`, or `make bench ARGS="fan_paced replay"` for some. One line a figure, `name key=value …`,
//! the machine first; every line tells its parameters and what is aimed at on two cores.
//!
//! What keeps them honest: the server is the binary that is shipped, with the options of `serve`; deltas come from real
//! children's standard output, one JSON line each, at least 20 characters with a running number, through parser, fold and
//! SQLite with full synchronisation; the load program is another process over TCP that decodes every response and counts
//! the numbers in order, and a number that is lost, doubled or not stored fails the run. CPU is `utime + stime` of the
//! server's process alone, unless a key says otherwise.
//!
//! `--addr ADDR --key KEY [--pid PID]` measures a server that runs already; `--delta-window MS` and `name=value …`
//! replace what a figure would take.

mod append;
mod figure;
mod figures;
mod load;
mod proc;
mod server;
mod spread;
mod stalled;
mod start;

use std::{env, process::ExitCode};

use figure::Bench;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<bool, Failure> {
    if args.first().is_some_and(|arg| arg == "load") {
        return load::main(&args[1..]).map(|()| true);
    }
    println!("{}", proc::machine()?);
    println!("server options=\"serve --listen 127.0.0.1:0 --data DIR\" and those of each line");
    let external =
        option(args, "--addr").map(|addr| (addr, option(args, "--key").unwrap_or_default(), option(args, "--pid")));
    let mut bench = Bench { external, failed: false };
    figures::run(&mut bench, args)?;
    Ok(!bench.failed)
}

fn option(args: &[String], name: &str) -> Option<String> {
    args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1)).cloned()
}

/// A count to reckon with.
fn number(count: u64) -> f64 {
    f64::from(u32::try_from(count / 1000).unwrap_or(u32::MAX)) * 1e3
        + f64::from(u32::try_from(count % 1000).unwrap_or(0))
}
