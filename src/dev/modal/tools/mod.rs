//! The file tools of an emulated sandbox: what clients of Modal run at `/__modal/.bin/modal-sandbox-fs-tools`, with one
//! argument of JSON that says what to do. Contents come by standard input and go to standard output; what goes wrong is told
//! as JSON on standard error.
//!
//! They know a file system and nothing of the emulator that they run in.

use std::{
    fs::{self, File},
    io::{self, BufWriter, ErrorKind, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde::{Deserialize, Serialize};

mod entry;
mod watch;

use entry::Entry;

/// Larger files are not read.
const LARGEST: u64 = 5 << 30;

/// Arguments of the hidden command.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// What to do, as JSON.
    command: String,
}

/// What can be done.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
enum Task {
    WriteFile { path: PathBuf },
    ReadFile { path: PathBuf },
    ListFiles { path: PathBuf },
    Stat { path: PathBuf },
    MakeDirectory { path: PathBuf, parents: bool },
    Remove { path: PathBuf, recursive: bool },
    Watch { path: PathBuf, recursive: bool, filter: Option<Vec<String>>, timeout_secs: Option<u64> },
}

/// What went wrong, by its name on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
enum Kind {
    NotFound,
    IsDirectory,
    NotDirectory,
    AlreadyExists,
    PathAlreadyExists,
    DirectoryNotEmpty,
    PermissionDenied,
    FileTooLarge,
    InvalidCommand,
    Other,
}

/// What went wrong.
#[derive(Debug, Serialize)]
struct Failure {
    version: u32,
    error_kind: Kind,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

impl Failure {
    fn new(error_kind: Kind, message: &str) -> Self {
        Self { version: 1, error_kind, message: message.to_owned(), detail: None }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let (kind, message) = match error.kind() {
            ErrorKind::NotFound => (Kind::NotFound, "no such file or directory"),
            ErrorKind::IsADirectory => (Kind::IsDirectory, "is a directory"),
            ErrorKind::NotADirectory => (Kind::NotDirectory, "not a directory"),
            ErrorKind::AlreadyExists => (Kind::AlreadyExists, "already exists"),
            ErrorKind::DirectoryNotEmpty => (Kind::DirectoryNotEmpty, "directory not empty"),
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                (Kind::PermissionDenied, "permission denied")
            }
            _ => (Kind::Other, "the operation failed"),
        };
        Self { detail: Some(error.to_string()), ..Self::new(kind, message) }
    }
}

/// Does what the arguments say.
pub fn run(args: Args) -> ExitCode {
    let done = match serde_json::from_str::<Task>(&args.command) {
        Ok(task) => perform(task),
        Err(error) => {
            Err(Failure { detail: Some(error.to_string()), ..Failure::new(Kind::InvalidCommand, "unknown command") })
        }
    };
    let Err(failure) = done else { return ExitCode::SUCCESS };
    // Nobody reads it, then.
    let _ = writeln!(io::stderr(), "{}", serde_json::json!(failure));
    ExitCode::FAILURE
}

fn perform(task: Task) -> Result<(), Failure> {
    match task {
        Task::WriteFile { path } => write(absolute(&path)?),
        Task::ReadFile { path } => read(absolute(&path)?),
        Task::ListFiles { path } => list(absolute(&path)?),
        Task::Stat { path } => print(&Entry::of(absolute(&path)?)?),
        Task::MakeDirectory { path, parents } => make(absolute(&path)?, parents),
        Task::Remove { path, recursive } => remove(absolute(&path)?, recursive),
        Task::Watch { path, recursive, filter, timeout_secs } => {
            watch::watch(absolute(&path)?, recursive, filter.as_deref(), timeout_secs)
        }
    }
}

fn absolute(path: &Path) -> Result<&Path, Failure> {
    if path.is_absolute() { Ok(path) } else { Err(Failure::new(Kind::InvalidCommand, "the path must be absolute")) }
}

fn write(path: &Path) -> Result<(), Failure> {
    if path.is_dir() {
        return Err(Failure::new(Kind::IsDirectory, "is a directory"));
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut file = File::create(path)?;
    io::copy(&mut io::stdin().lock(), &mut file)?;
    Ok(())
}

fn read(path: &Path) -> Result<(), Failure> {
    let mut file = File::open(path)?;
    let found = file.metadata()?;
    if found.is_dir() {
        return Err(Failure::new(Kind::IsDirectory, "is a directory"));
    }
    if found.len() > LARGEST {
        return Err(Failure::new(Kind::FileTooLarge, "the file is too large to be read"));
    }
    io::copy(&mut file, &mut io::stdout().lock())?;
    Ok(())
}

fn list(path: &Path) -> Result<(), Failure> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(path)? {
        match Entry::of(&entry?.path()) {
            Ok(entry) => entries.push(entry),
            // Gone since it was listed.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    print(&entries)
}

fn make(path: &Path, parents: bool) -> Result<(), Failure> {
    let made = if parents { fs::create_dir_all(path) } else { fs::create_dir(path) };
    made.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => Failure::new(Kind::PathAlreadyExists, "already exists"),
        _ => error.into(),
    })
}

fn remove(path: &Path, recursive: bool) -> Result<(), Failure> {
    if !path.symlink_metadata()?.is_dir() {
        fs::remove_file(path)?;
    } else if recursive {
        fs::remove_dir_all(path)?;
    } else {
        fs::remove_dir(path)?;
    }
    Ok(())
}

fn print(value: &impl Serialize) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    serde_json::to_writer(&mut out, value).map_err(io::Error::from)?;
    out.flush()?;
    Ok(())
}
