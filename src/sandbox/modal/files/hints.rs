//! Hints that something in a workspace may have changed, from the tool that Modal puts into every sandbox. While it runs, the
//! sandbox counts as busy, so it runs only while somebody asks; it ends when its input is closed.

use futures::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use serde::Deserialize;

use super::script::ASIDE;
use crate::{
    sandbox::{
        Error,
        modal::helper::{Helper, Running},
    },
    workspace::Ignore,
};

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

/// Watches a folder and all in it that is shown.
pub(super) async fn watch(helper: &dyn Helper, folder: &str) -> Result<BoxStream<'static, ()>, Error> {
    let asked = serde_json::json!({
        "Watch": {"path": folder, "recursive": true, "filter": null, "timeout_secs": null}
    });
    // Open until the stream of hints is dropped.
    let running = helper.start(vec![TOOL.to_owned(), asked.to_string()], stream::pending().boxed()).await?;
    let told = Told { running, folder: format!("{}/", folder.trim_end_matches('/')), line: Vec::new() };
    Ok(stream::unfold(told, |mut told| async move { told.next().await.map(|()| ((), told)) }).boxed())
}

struct Told {
    running: Running,
    folder: String,
    /// What came of a line that has not ended.
    line: Vec<u8>,
}

impl Told {
    async fn next(&mut self) -> Option<()> {
        loop {
            let bytes = match self.running.stdout.next().await? {
                Ok(bytes) => bytes,
                Err(error) => {
                    tracing::debug!(%error, "hints end");
                    return None;
                }
            };
            if self.take(&bytes) {
                return Some(());
            }
        }
    }

    /// Whether something of this may be a change that is shown.
    fn take(&mut self, bytes: &[u8]) -> bool {
        let mut changed = false;
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                changed |= counts(&self.line, &self.folder);
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
