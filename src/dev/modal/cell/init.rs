//! The first process of a cell: it starts programs when the emulator tells it to, takes in what they leave behind, and
//! tells their ends. When it ends, and it does as soon as the emulator is gone, the kernel kills everything else in the cell.

use std::{
    collections::HashMap,
    io::{self, Write as _},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::{net::UnixStream, process::CommandExt as _},
    },
    path::Path,
    process::{Command, ExitCode},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use rustix::{
    io::Errno,
    process::{Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process_group, wait},
};

use super::protocol::{self, End, Order, Report, Start};

/// Arguments of the hidden command; there are none.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {}

/// Runs as the first process of a cell, whose standard input is the socket.
pub fn run(_args: Args) -> ExitCode {
    if !getpid().is_init() {
        eprintln!("this is the first process of an emulated sandbox; only `agent-runtime modal-emulator` starts it");
        return ExitCode::FAILURE;
    }
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("an emulated sandbox ends: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Programs that run, by process; the one who waits for ends sleeps while there are none.
#[derive(Default)]
struct Programs {
    running: Mutex<HashMap<Pid, u64>>,
    started: Condvar,
}

impl Programs {
    fn running(&self) -> MutexGuard<'_, HashMap<Pid, u64>> {
        // Each critical section leaves the map whole.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn serve() -> io::Result<()> {
    // Standard input itself is given up, so that no program can inherit the socket.
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
    let socket = Arc::new(socket);
    let programs = Arc::new(Programs::default());
    let reaper = (Arc::clone(&socket), Arc::clone(&programs));
    std::thread::Builder::new().name("reaper".to_owned()).spawn(move || reap(&reaper.0, &reaper.1))?;
    report(&socket, &Report::Ready)?;
    while let Some((order, streams)) = protocol::receive(&socket)? {
        match order {
            Order::Start { number, start } => begin(&socket, &programs, number, &start, streams)?,
            Order::Kill { number } => {
                let running = programs.running();
                if let Some((pid, _)) = running.iter().find(|(_, other)| **other == number) {
                    // Gone just now, then.
                    let _ = kill_process_group(*pid, Signal::KILL);
                }
            }
        }
    }
    Ok(())
}

fn begin(
    socket: &UnixStream,
    programs: &Programs,
    number: u64,
    start: &Start,
    streams: Vec<OwnedFd>,
) -> io::Result<()> {
    // Held over the start, so that no end is seen of what is not known yet.
    let mut running = programs.running();
    match spawn(start, streams) {
        Ok(pid) => {
            running.insert(pid, number);
            report(socket, &Report::Started { number })?;
            programs.started.notify_one();
            Ok(())
        }
        Err(cause) => report(socket, &Report::Refused { number, cause }),
    }
}

fn spawn(start: &Start, streams: Vec<OwnedFd>) -> Result<Pid, String> {
    let Start { argv, env, cwd } = start;
    let (program, arguments) = argv.split_first().ok_or("there is no program to run")?;
    let [stdin, stdout, stderr] = <[OwnedFd; 3]>::try_from(streams).map_err(|_| "three streams belong to a program")?;
    if !Path::new(cwd).is_dir() {
        return Err(format!("{cwd}: there is no such directory"));
    }
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(env.iter().map(|(name, value)| (name, value))).current_dir(cwd);
    command.stdin(stdin).stdout(stdout).stderr(stderr).process_group(0);
    let child = command.spawn().map_err(|error| format!("{program}: {error}"))?;
    i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or_else(|| format!("{program}: it has no process id"))
}

/// Takes in whatever ends, also what programs left behind.
fn reap(socket: &UnixStream, programs: &Programs) {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) => {
                let Some(end) = end(status) else { continue };
                let mut running = programs.running();
                if let Some(number) = running.remove(&pid) {
                    // Without an emulator there is nobody to tell, and this process ends.
                    let _ = report(socket, &Report::Ended { number, end });
                }
            }
            Ok(None) | Err(Errno::INTR) => {}
            Err(_) => {
                let running = programs.running();
                if running.is_empty() {
                    drop(programs.started.wait(running).unwrap_or_else(PoisonError::into_inner));
                }
            }
        }
    }
}

fn end(status: WaitStatus) -> Option<End> {
    status.exit_status().map(End::Code).or_else(|| status.terminating_signal().map(End::Signal))
}

fn report(mut socket: &UnixStream, report: &Report) -> io::Result<()> {
    // Both threads write, each frame in one piece, because both hold the programs while they do.
    socket.write_all(&protocol::frame(report)?)
}
