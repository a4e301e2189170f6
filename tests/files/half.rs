//! What goes wrong half way, far away: streams that are cut, and what gets in the way while files are on their way.

use std::{fs, io::Write as _, sync::Arc};

use agent_runtime::{
    domain::ArchiveFormat,
    sandbox::{
        Content, Error, Files as _, Root, Source,
        modal::helper::{Helper, Input, Running},
    },
    workspace::{self, ArchiveLimits, Copying},
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;

use crate::{
    archives::{file, folder, tar_of},
    ground::{Ground, dump},
    here::{Here, over},
};

/// Ends all input after so many bytes, as if that were all.
#[derive(Debug)]
struct Cuts(usize);

#[async_trait]
impl Helper for Cuts {
    async fn start(&self, argv: Vec<String>, input: Input) -> Result<Running, Error> {
        let mut left = self.0;
        let cut = input.map(move |piece| {
            piece.map(|piece| {
                let kept = piece.slice(..piece.len().min(left));
                left -= kept.len();
                kept
            })
        });
        Here.start(argv, cut.boxed()).await
    }
}

/// Makes a directory right before something is brought.
#[derive(Debug)]
struct Meddles(std::path::PathBuf);

#[async_trait]
impl Helper for Meddles {
    async fn start(&self, argv: Vec<String>, input: Input) -> Result<Running, Error> {
        if argv.iter().any(|argument| argument == "new") {
            fs::create_dir(&self.0).expect("made");
        }
        Here.start(argv, input).await
    }
}

fn archive() -> fs::File {
    let long = "new".repeat(20_000);
    let items = [file("a", "new"), file("there/b", "new"), folder("made"), file("made/c", &long)];
    let mut held = tempfile::tempfile().expect("a file");
    held.write_all(&tar_of(&[&items[..], &[file("z", "new")]].concat())).expect("written");
    std::io::Seek::rewind(&mut held).expect("rewound");
    held
}

fn ground() -> Ground {
    let ground = Ground::new();
    ground.write("a", "kept");
    ground.write("there/b", "kept");
    ground
}

/// Also where it is cut between two entries, so that what came looks whole.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_cut_changes_nothing() {
    let ground = ground();
    let before = dump(&ground.root());
    for at in [0, 1, 600, 1536, 2048, 4096, 50_000, 66_000] {
        let files = over(&ground, Arc::new(Cuts(at)));
        let content = Content::Bytes(Bytes::from(vec![b'x'; 100_000]));
        let write = files.write(Root::Workspace, "a", 0o644, content, 1 << 20).await.map(drop);
        let archive = files.unpack(ArchiveFormat::Tar, archive(), "", ArchiveLimits::default()).await.map(drop);
        for outcome in [write, archive] {
            assert!(matches!(outcome, Err(Error::Unavailable(_) | Error::Files(_))), "{at}: {outcome:?}");
        }
        assert_eq!(dump(&ground.root()), before, "{at}");
    }
    let empty = Ground::new();
    let project = ground.root();
    for at in [0, 600, 1536, 3000] {
        let copying = Copying { roots: vec![project.clone()], ..Copying::default() };
        let seeded = over(&empty, Arc::new(Cuts(at))).seed(Source::Directory(project.clone(), copying)).await;
        assert!(seeded.is_err(), "{at}");
        assert!(dump(&empty.root()).is_empty(), "{at}");
    }
    ground.nothing_staged();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_half_way_is_undone() {
    let ground = ground();
    let before = dump(&ground.root());
    let files = over(&ground, Arc::new(Meddles(ground.path("z"))));
    let unpacked = files.unpack(ArchiveFormat::Tar, archive(), "", ArchiveLimits::default()).await;
    assert!(matches!(unpacked, Err(Error::Files(workspace::Error::Io { .. }))), "{unpacked:?}");
    fs::remove_dir(ground.path("z")).expect("there, and empty");
    assert_eq!(dump(&ground.root()), before);
    ground.nothing_staged();
}
