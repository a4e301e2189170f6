//! A workspace that starts as a clone. The `git` program does it, in an environment that holds nothing of the server's own
//! but where to find programs, proxies and certificates: no configuration, no hooks, no questions, no submodules.

use std::{
    env, fs, io,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open},
};

use super::{Error, Folder, bring, staging::Staged};

/// How often a clone's size is looked at, and whether somebody still wants it.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// How much of what git says is passed on.
const SAID_MAX: usize = 2000;

/// What passes from the server's environment.
const PASSED: &[&str] = &[
    "PATH",
    "http_proxy",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "GIT_SSL_CAINFO",
    "SSH_AUTH_SOCK",
];

/// A repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitSource {
    /// Without a password.
    pub url: String,
    /// A branch, tag or commit; empty: the remote's HEAD.
    pub reference: String,
    /// Commits of history; 0: all.
    pub depth: u32,
}

/// What may be cloned, and how much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cloning {
    /// Ways to reach a repository, as git calls them: "https", "ssh".
    pub protocols: Vec<String>,
    /// No longer than this.
    pub time: Duration,
    /// No more bytes than these, the repository and its files together.
    pub max_bytes: u64,
}

impl Default for Cloning {
    fn default() -> Self {
        Self {
            protocols: vec!["https".to_owned(), "ssh".to_owned()],
            time: Duration::from_mins(10),
            max_bytes: 4 << 30,
        }
    }
}

/// Clones into the folder, which must be empty. Ends early, with nothing done, once `stop` is set.
///
/// # Errors
/// [`Error::Source`], which says what git said; [`Error::TooLarge`]; [`Error::Io`].
pub fn clone(folder: &Folder, source: &GitSource, cloning: &Cloning, stop: &AtomicBool) -> Result<(), Error> {
    bring::must_be_empty(folder)?;
    check(source)?;
    let git = Git { folder, cloning, stop, until: Instant::now() + cloning.time };
    let (staged, gathered) = git.fetch(source)?;
    let brought = bring::bring(folder, &gathered);
    drop(staged);
    brought
}

/// Refuses what git would take for something else than a place and a name.
fn check(source: &GitSource) -> Result<(), Error> {
    let refused = |why: &str| Err(Error::Source(why.to_owned()));
    let GitSource { url, reference, depth: _ } = source;
    if url.is_empty() || url.starts_with('-') || url.chars().any(char::is_control) {
        return refused("the URL is none");
    }
    if reference.starts_with('-') || reference.chars().any(|character| character.is_control() || character == ' ') {
        return refused("the ref is none");
    }
    if credentials(url).is_some_and(|credentials| credentials.contains(':')) {
        return refused("the URL holds a password: credentials come from the server's configuration");
    }
    Ok(())
}

struct Git<'g> {
    folder: &'g Folder,
    cloning: &'g Cloning,
    stop: &'g AtomicBool,
    until: Instant,
}

impl Git<'_> {
    fn fetch(&self, source: &GitSource) -> Result<(Staged, Folder), Error> {
        let GitSource { url, reference, depth } = source;
        let deep = (*depth > 0).then(|| format!("--depth={depth}"));
        let is_hash = matches!(reference.len(), 40 | 64) && is_hex(reference);
        if is_hash && let Some(deep) = &deep {
            // Not every server gives a commit by its name; those that do not give everything.
            let fetched = self.in_a_new_folder(|git, into| {
                git.run(into, &["init", "--quiet"])?;
                git.run(into, &["remote", "add", "--", "origin", url])?;
                git.run(into, &["fetch", "--quiet", "--no-tags", deep, "origin", reference])?;
                git.run(into, &["checkout", "--quiet", "--detach", "FETCH_HEAD"])
            });
            if !matches!(fetched, Err(Error::Source(_))) || self.is_over() {
                return fetched;
            }
        }
        let all = |git: &Self, into: &Path| {
            git.run(into, &["clone", "--quiet", "--no-checkout", "--", url, "."])?;
            git.run(into, &["checkout", "--quiet", "--detach", reference])
        };
        if is_hash {
            return self.in_a_new_folder(all);
        }
        let cloned = self.in_a_new_folder(|git, into| {
            let mut arguments = vec!["clone", "--quiet", "--no-recurse-submodules"];
            if !reference.is_empty() {
                arguments.extend(["--branch", reference]);
            }
            arguments.extend(deep.as_deref());
            git.run(into, &[&*arguments, &["--", url, "."]].concat())
        });
        let short = reference.len() >= 7 && is_hex(reference);
        if short && matches!(cloned, Err(Error::Source(_))) && !self.is_over() {
            self.in_a_new_folder(all)
        } else {
            cloned
        }
    }

    /// Does it in a new folder.
    fn in_a_new_folder(&self, work: impl Fn(&Self, &Path) -> Result<(), Error>) -> Result<(Staged, Folder), Error> {
        let (staged, folder) = self.folder.staging.folder()?;
        work(self, staged.path())?;
        Ok((staged, folder))
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || Instant::now() > self.until
    }

    fn run(&self, into: &Path, arguments: &[&str]) -> Result<(), Error> {
        let failed = |doing: &str| {
            let doing = doing.to_owned();
            move |error: io::Error| Error::io(doing, &error)
        };
        // To a file: nobody has to read while it runs, and what it says is bounded by the size of all.
        let (said_at, file) = self.folder.staging.file()?;
        let (home, _) = self.folder.staging.folder()?;
        let mut command = Command::new("git");
        command.args(["-c", "core.hooksPath=/dev/null", "-c", "credential.helper=", "-c", "protocol.version=2"]);
        command.args(["-c", "advice.detachedHead=false", "-c", "submodule.recurse=false", "-c", "gc.auto=0"]);
        command.args(arguments).current_dir(into);
        command.env_clear();
        command.envs(PASSED.iter().filter_map(|name| Some((*name, env::var_os(name)?))));
        command.env("HOME", home.path()).env("LC_ALL", "C");
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
        command.env("GIT_TERMINAL_PROMPT", "0").env("GIT_ASKPASS", "true");
        command.env("GIT_SSH_COMMAND", "ssh -o BatchMode=yes");
        command.env("GIT_ALLOW_PROTOCOL", self.cloning.protocols.join(":"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).process_group(0);
        let mut child = command.spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::Source("git is not installed on the server".to_owned()),
            _ => Error::io("git cannot be started", &error),
        })?;
        let waited = self.wait(&mut child, into, said_at.path());
        if waited.is_err() {
            let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
            // Not waited for yet, so the group's name is its own still.
            let _ = group.map(|group| kill_process_group(group, Signal::KILL));
        }
        let status = child.wait().map_err(failed("how git ended is not known"))?;
        waited?;
        if status.success() {
            return Ok(());
        }
        let text = fs::read(said_at.path()).unwrap_or_default();
        Err(Error::Source(format!("git {}: {}", arguments[0], said(&text, &status.to_string()))))
    }

    /// Until it ends by itself.
    fn wait(&self, child: &mut Child, into: &Path, said: &Path) -> Result<(), Error> {
        let io = |errno: rustix::io::Errno| Error::io("git cannot be waited for", &errno.into());
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| Error::Source("git has no process id".to_owned()))?;
        let ended = pidfd_open(pid, PidfdFlags::empty()).map_err(io)?;
        loop {
            match poll(&mut [PollFd::new(&ended, PollFlags::IN)], Some(&LOOK)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => break,
                Err(errno) => return Err(io(errno)),
            }
            if self.stop.load(Ordering::Relaxed) {
                return Err(Error::Source("the clone was given up".to_owned()));
            }
            if Instant::now() > self.until {
                let limit = self.cloning.time.as_secs();
                return Err(Error::TooLarge { what: "the time that the clone takes, in seconds,".to_owned(), limit });
            }
            self.must_fit(into, said)?;
        }
        self.must_fit(into, said)
    }

    fn must_fit(&self, into: &Path, said: &Path) -> Result<(), Error> {
        let limit = self.cloning.max_bytes;
        if weight(into, limit) + weight(said, limit) > limit {
            return Err(Error::TooLarge { what: "the repository with its files, in bytes,".to_owned(), limit });
        }
        Ok(())
    }
}

/// Bytes of all files, counted until they are over `limit`. What comes and goes meanwhile is skipped.
fn weight(path: &Path, limit: u64) -> u64 {
    let mut weight = 0;
    let mut waiting = vec![path.to_owned()];
    while let Some(path) = waiting.pop() {
        let Ok(found) = fs::symlink_metadata(&path) else { continue };
        if found.is_dir() {
            waiting.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
        }
        weight += found.len();
        if weight > limit {
            break;
        }
    }
    weight
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// What stands between "//" and "@" in a URL.
fn credentials(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let (authority, _) = rest.split_once(['/', '?', '#']).unwrap_or((rest, ""));
    Some(authority.rsplit_once('@')?.0)
}

/// What git said, fit to be shown: short, in one line, and without what somebody may have put before an "@".
fn said(text: &[u8], status: &str) -> String {
    let text = String::from_utf8_lossy(text);
    let words: Vec<String> = text
        .split_whitespace()
        .map(|word| match credentials(word) {
            Some(credentials) => word.replacen(&format!("{credentials}@"), "", 1),
            None => word.to_owned(),
        })
        .collect();
    let said: String = words.join(" ").chars().filter(|character| !character.is_control()).take(SAID_MAX).collect();
    if said.is_empty() { status.to_owned() } else { said }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_holds_no_credentials() {
        let text = b"fatal: unable to access 'https://me:tok%40en@host.example/x.git/': no\n\x1b[31mremote: bye";
        let shown = said(text, "");
        assert_eq!(shown, "fatal: unable to access 'https://host.example/x.git/': no [31mremote: bye");
        assert_eq!(said(b"\n", "exit status: 128"), "exit status: 128");
    }

    #[test]
    fn sources_that_are_none() {
        let source = |url: &str, reference: &str| GitSource { url: url.into(), reference: reference.into(), depth: 0 };
        for bad in [
            source("", ""),
            source("--upload-pack=touch /tmp/x", ""),
            source("https://me:secret@host/x", ""),
            source("https://host/x\n", ""),
            source("https://host/x", "--orphan"),
            source("https://host/x", "a b"),
        ] {
            let Err(Error::Source(said)) = check(&bad) else { panic!("{bad:?} passed") };
            assert!(!said.contains("secret"));
        }
        assert_eq!(check(&source("https://me@host/x", "v1")), Ok(()));
        assert_eq!(check(&source("git@host:me/x:y.git", "")), Ok(()));
    }
}
