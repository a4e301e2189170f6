//! Hints that something in a workspace may have changed, from the tool that Modal puts into every sandbox. While it runs, the
//! sandbox counts as busy, so it runs only while somebody asks; it ends when its input is closed. Whoever asks may be killed,
//! and nothing tells the tool: so it gets a time, after which it ends by itself, and is started anew for those who still ask.
//!
//! It must not know when to try again: a tool that does not last is told to whoever asks.

use std::{sync::Arc, time::Duration};

use futures::stream::{self, StreamExt as _};
use serde::Deserialize;
use tokio::time::Instant;

use super::script::ASIDE;
use crate::{
    sandbox::{
        Error, Hints,
        modal::helper::{End, Helper, Running},
    },
    workspace::Ignore,
};

/// How long the tool runs before it is started anew, where nobody says otherwise; in whole seconds. Of a server that is killed
/// one is left in each sandbox, for no longer than this.
pub const WATCH: Duration = Duration::from_mins(10);

/// How much earlier than that its end still counts as the end of its time: clocks there are not ours.
const EARLY: Duration = Duration::from_millis(500);

/// It does not say when it watches. What changed before that, since the one before ended, is there to be seen so long after its
/// start.
const SETTLES: Duration = Duration::from_secs(5);

/// Where Modal puts its tool.
const TOOL: &str = "/__modal/.bin/modal-sandbox-fs-tools";

/// Longest line that is read; one that is longer tells as much.
const LINE_MAX: usize = 1024 * 1024;

/// What the tool says of one change.
#[derive(Deserialize)]
struct Change {
    event_type: String,
    #[serde(default)]
    paths: Vec<String>,
}

/// Watches a folder and all in it that is shown, by tools that run so long each.
pub(super) async fn watch(helper: Arc<dyn Helper>, folder: &str, time: Duration) -> Result<Hints, Error> {
    let tool = Tool { helper, folder: folder.to_owned(), time };
    let (running, since) = tool.start().await?;
    let below = format!("{}/", folder.trim_end_matches('/'));
    let told = Told { tool, running, since, settles_at: None, below, line: Vec::new() };
    Ok(stream::unfold(Some(told), |told| async move {
        let mut told = told?;
        let hint = told.next().await;
        let more = hint.is_ok().then_some(told);
        Some((hint, more))
    })
    .boxed())
}

/// How the tool is run.
struct Tool {
    helper: Arc<dyn Helper>,
    folder: String,
    time: Duration,
}

impl Tool {
    /// Starts it, and says since when its time runs at the latest.
    async fn start(&self) -> Result<(Running, Instant), Error> {
        let since = Instant::now();
        let asked = serde_json::json!({
            "Watch": {"path": self.folder, "recursive": true, "filter": null, "timeout_secs": self.time.as_secs()}
        });
        // Open until the stream of hints is dropped.
        let running = self.helper.start(vec![TOOL.to_owned(), asked.to_string()], stream::pending().boxed()).await?;
        Ok((running, since))
    }
}

struct Told {
    tool: Tool,
    running: Running,
    since: Instant,
    /// When it surely watches, where something may have changed before that.
    settles_at: Option<Instant>,
    /// What the paths of everything in the folder begin with.
    below: String,
    /// What came of a line that has not ended.
    line: Vec<u8>,
}

impl Told {
    async fn next(&mut self) -> Result<(), Error> {
        loop {
            let settles_at = self.settles_at;
            let settled = async move {
                match settles_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let bytes = tokio::select! {
                biased;
                () = settled => {
                    self.settles_at = None;
                    return Ok(());
                }
                bytes = self.running.stdout.next() => bytes,
            };
            match bytes {
                Some(bytes) => {
                    if self.take(&bytes?) {
                        return Ok(());
                    }
                }
                None => return self.again().await,
            }
        }
    }

    /// It has ended. Where its time was up it is started anew; nobody told of what changed in between, so that is a hint.
    async fn again(&mut self) -> Result<(), Error> {
        let lasted = self.since.elapsed();
        if lasted + EARLY < self.tool.time {
            let End { code, stderr } = (&mut self.running.end).await?;
            return Err(Error::Unavailable(format!(
                "what watches files in the sandbox ended with {code} after {} s, and said {:?}",
                lasted.as_secs(),
                stderr.trim_end()
            )));
        }
        (self.running, self.since) = self.tool.start().await?;
        self.line.clear();
        self.settles_at = Some(Instant::now() + SETTLES);
        Ok(())
    }

    /// Whether something of this may be a change that is shown.
    fn take(&mut self, bytes: &[u8]) -> bool {
        let mut changed = false;
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                changed |= counts(&self.line, &self.below);
                self.line.clear();
            } else if self.line.len() > LINE_MAX {
                changed = true;
                self.line.clear();
            }
        }
        changed
    }
}

/// Whether a line tells of a change that is shown. One that cannot be read may be one.
fn counts(line: &[u8], folder: &str) -> bool {
    let Ok(Change { event_type, paths }) = serde_json::from_slice(line) else { return !line.trim_ascii().is_empty() };
    if event_type == "Access" {
        return false;
    }
    paths.is_empty()
        || paths.iter().any(|path| {
            path.strip_prefix(folder)
                .is_none_or(|path| !path.starts_with(ASIDE) && !Ignore::Hidden.leaves_out_path(path, false))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_shown_counts() {
        let line = |event: &str, path: &str| format!("{{\"event_type\":{event:?},\"paths\":[{path:?}]}}\n");
        for (event, path, expected) in [
            ("Modify", "/workspace/a", true),
            ("Remove", "/workspace/node_modules", true),
            ("Access", "/workspace/a", false),
            ("Create", "/workspace/.git/index.lock", false),
            ("Create", "/workspace/node_modules/x/y.js", false),
            ("RenameTo", "/workspace/.agent-runtime-0-1", false),
            ("Unknown", "/workspace", true),
        ] {
            assert_eq!(counts(line(event, path).as_bytes(), "/workspace/"), expected, "{event} {path}");
        }
        assert!(counts(b"what is this\n", "/workspace/") && !counts(b"\n", "/workspace/"));
    }
}
