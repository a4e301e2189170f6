//! What is true of hints at Modal only: what runs for them makes a sandbox count as busy, so it must end with them.

use std::fs;

use futures::StreamExt as _;

use crate::{
    elsewhere::Elsewhere,
    kinds::{Kind as _, soon},
};

/// Whether the tool that watches runs in a sandbox of this emulator.
fn is_watched(elsewhere: &Elsewhere) -> bool {
    let commands = elsewhere.emulator.processes().into_iter().map(|process| fs::read(process.join("cmdline")));
    commands.filter_map(Result::ok).any(|command| String::from_utf8_lossy(&command).contains("\"Watch\":"))
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_watches_when_nobody_asks() {
    let Some(elsewhere) = Elsewhere::start().await else { return };
    soon(async {
        let place = elsewhere.place().await;
        let files = place.files();
        let mut hints = files.hints().await.expect("watched");
        let mut hint = hints.next();
        loop {
            tokio::select! {
                biased;
                hint = &mut hint => break assert_eq!(hint, Some(())),
                _ = place.sh("date >x") => {}
            }
        }
        assert!(is_watched(&elsewhere));
        drop(hints);
        while is_watched(&elsewhere) {
            place.sh(":").await;
        }
    })
    .await;
    elsewhere.close().await;
}
