//! Looks: a helper lists what there is and reads what must have changed, and what its list does not prove is read by another.

use std::collections::BTreeSet;

use futures::StreamExt as _;
use tokio::time::{Instant, timeout_at};

use super::{
    ModalFiles, RUN, codes,
    records::{Records, Report},
    script::{Script, nanoseconds},
};
use crate::{
    sandbox::{
        Error, Root,
        modal::helper::{self, Running},
    },
    workspace::{HIDDEN, Ignore, Listed, Listing, REBUILT, Scope, Tree},
};

/// How often files that do not hold still are read; the last time, as much of each as it had.
const ROUNDS: usize = 3;

/// How a listing is to be done.
pub(super) struct How<'h> {
    pub(super) scope: &'h Scope,
    /// Files that changed after this moment are read; as `look.sh` has it.
    pub(super) cutoff: String,
    /// What the scope leaves out by name is not even listed.
    pub(super) pass_over: bool,
    /// Nor what marks itself as a cache.
    pub(super) tags: bool,
}

impl ModalFiles {
    pub(super) async fn look(&self, root: Root, scope: &Scope, known: &Tree) -> Result<Tree, Error> {
        let until = Instant::now() + scope.time;
        let cutoff = known.proven_until().map_or_else(|| "-".to_owned(), nanoseconds);
        let tags = scope.ignore != Ignore::Nothing;
        let how = How { scope, cutoff, pass_over: true, tags };
        let mut listing = Listing::new(scope, known);
        let whole = self
            .list(root, &how, until, |report| {
                match report {
                    Report::Now(now) => listing.begin(now),
                    Report::Tag(path) => listing.tag(&path),
                    Report::Entry(listed) => listing.meet(listed),
                    Report::Read { after, sha256, exactly } => read(&mut listing, after, sha256, exactly),
                    Report::End => {}
                }
                !listing.is_full()
            })
            .await?;
        if !whole && !listing.is_full() {
            // Time is up.
            listing.cut();
            return Ok(listing.finish());
        }
        for round in 1..=ROUNDS {
            let unread: Vec<String> = listing.unread().map(str::to_owned).collect();
            if unread.is_empty() {
                break;
            }
            let mut silent: BTreeSet<&str> = unread.iter().map(String::as_str).collect();
            let exactly = round == ROUNDS;
            let whole = self
                .hash(root, &unread, exactly, until, |after, sha256, exactly| {
                    if let Ok(path) = std::str::from_utf8(&after.path) {
                        silent.remove(path);
                    }
                    read(&mut listing, after, sha256, exactly);
                })
                .await?;
            if !whole {
                listing.cut();
                break;
            }
            for path in silent {
                listing.gone(path);
            }
        }
        Ok(listing.finish())
    }

    /// Runs the helper that lists, until the time is up or `take` wants no more. Says whether that was all.
    pub(super) async fn list(
        &self,
        root: Root,
        how: &How<'_>,
        until: Instant,
        mut take: impl FnMut(Report) -> bool + Send,
    ) -> Result<bool, Error> {
        let How { scope, cutoff, pass_over, tags } = how;
        let most = scope.max_file_bytes.saturating_add(1).to_string();
        let starts: Vec<&str> =
            if scope.only.is_empty() { vec!["."] } else { scope.only.iter().map(String::as_str).collect() };
        let count = starts.len().to_string();
        let mut arguments = vec![&**RUN, cutoff, &most, if *tags { "yes" } else { "no" }, &count];
        arguments.extend(starts);
        if *pass_over {
            arguments.extend(passed_over(scope.ignore));
        }
        let command = Script::Look.command(self.root(root), &arguments);
        self.follow(command, helper::nothing(), Records::of_a_look(), until, &mut take).await
    }

    /// Runs the helper that reads these files, until the time is up. Says whether that was all.
    pub(super) async fn hash(
        &self,
        root: Root,
        paths: &[String],
        exactly: bool,
        until: Instant,
        mut take: impl FnMut(Listed, Option<String>, bool) + Send,
    ) -> Result<bool, Error> {
        let command = Script::Hash.command(self.root(root), &[if exactly { "exactly" } else { "all" }]);
        let mut each = |report| {
            if let Report::Read { after, sha256, exactly } = report {
                take(after, sha256, exactly);
            }
            true
        };
        self.follow(command, helper::bytes(names(paths)), Records::of_files(), until, &mut each).await
    }

    async fn follow(
        &self,
        command: Vec<String>,
        input: helper::Input,
        mut records: Records,
        until: Instant,
        take: &mut (dyn FnMut(Report) -> bool + Send),
    ) -> Result<bool, Error> {
        let Ok(started) = timeout_at(until, self.helper.start(command, input)).await else { return Ok(false) };
        let Running { mut stdout, end } = started?;
        let mut ended = false;
        loop {
            let Ok(bytes) = timeout_at(until, stdout.next()).await else { return Ok(false) };
            let Some(bytes) = bytes else { break };
            for report in records.take(&bytes?).map_err(|error| Error::Unavailable(error.to_string()))? {
                ended |= report == Report::End;
                if !take(report) {
                    return Ok(false);
                }
            }
        }
        let Ok(end) = timeout_at(until, end).await else { return Ok(ended) };
        let end = end?;
        match codes::failure(end.code, ".", &end.stderr) {
            Some(error) => Err(error),
            None if ended => Ok(true),
            None => Err(Error::Unavailable("what a helper in the sandbox printed was cut".to_owned())),
        }
    }
}

fn read(listing: &mut Listing<'_>, after: Listed, sha256: Option<String>, exactly: bool) {
    match sha256 {
        Some(sha256) => listing.read(after, &sha256, exactly),
        // It is there, and nothing of it could be read.
        None => listing.unreadable(&String::from_utf8_lossy(&after.path)),
    }
}

/// Paths as helpers read them.
pub(super) fn names(paths: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<u8> {
    let mut names = Vec::new();
    for path in paths {
        names.extend_from_slice(b"./");
        names.extend_from_slice(path.as_ref().as_bytes());
        names.push(0);
    }
    names
}

/// What is left out by name, as the beginning of an expression of `find`.
fn passed_over(ignore: Ignore) -> Vec<&'static str> {
    let any = |names: &[&'static str]| -> Vec<&'static str> {
        names.iter().flat_map(|name| ["-o", "-name", *name]).skip(1).collect()
    };
    let rebuilt = || [&["-type", "d", "("][..], &any(REBUILT), &[")", "-prune", "-o"]].concat();
    match ignore {
        Ignore::Nothing => Vec::new(),
        Ignore::Rebuilt => rebuilt(),
        Ignore::Hidden => [&["("][..], &any(HIDDEN), &[")", "-prune", "-o"], &rebuilt()].concat(),
    }
}
