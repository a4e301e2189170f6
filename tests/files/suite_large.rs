//! What is true of large files and of many, in every sandbox.

use std::{
    collections::HashMap,
    io::{Seek as _, Write as _},
    sync::Arc,
};

use agent_runtime::{
    sandbox::{Content, Root},
    workspace::Scope,
};

use crate::{
    alike::Held,
    ground::files,
    kinds::{Kind, LIMIT, read, scan},
};

pub(crate) async fn sixty_four_mebibytes(kind: &dyn Kind) {
    const SIZE: usize = 64 << 20;
    let place = kind.place().await;
    let files = place.files();
    // Without a period, so that a piece in the wrong place is seen.
    let bytes: Vec<u8> = (0..SIZE as u64 / 8).flat_map(|at| (at * at + at).to_le_bytes()).collect();
    let mut held = tempfile::tempfile().expect("a file");
    held.write_all(&bytes).and_then(|()| held.rewind()).expect("written");
    let entry = files.write(Root::Workspace, "large", 0o644, Content::File(held), LIMIT).await.expect("written");
    let said = place.sh("sha256sum large | cut -c 1-64").await;
    assert_eq!((entry.file.size_bytes, &*entry.file.sha256), (64 << 20, said.trim()));
    assert!(read(&*files, Root::Workspace, "large", 0).await.expect("read") == bytes);
    let at = SIZE - 1_000_001;
    assert!(read(&*files, Root::Workspace, "large", at as u64).await.expect("read") == bytes[at..]);
    let tree = scan(&*files, Root::Workspace, Scope::kept()).await;
    assert_eq!(tree.get("large").expect("there").file, entry.file);
    // And back.
    place.sh("rm large").await;
    let held = Held(HashMap::from([(entry.file.sha256, bytes)]));
    let restored = files.restore(Root::Workspace, Scope::kept(), self::files(&tree), Arc::new(held)).await;
    assert_eq!(restored.expect("restored").written, 1);
    assert_eq!(place.sh("sha256sum large | cut -c 1-64").await, said);
}

pub(crate) async fn five_thousand_files(kind: &dyn Kind) {
    let place = kind.place().await;
    let files = place.files();
    place.sh("mkdir $(seq 50); for d in $(seq 50); do for f in $(seq 100); do echo \"$d $f\" >$d/$f; done; done").await;
    let tree = scan(&*files, Root::Workspace, Scope::kept()).await;
    assert_eq!((tree.len(), tree.is_incomplete()), (5000, false));
    let paths: Vec<String> = tree.files().map(|file| file.path.clone()).collect();
    let mut held = HashMap::new();
    for some in paths.chunks(1000) {
        for (path, bytes) in files.read_all(Root::Workspace, some, 1 << 20).await.expect("read") {
            held.insert(tree.get(&path).expect("there").file.sha256.clone(), bytes.to_vec());
        }
    }
    assert_eq!(held.len(), 5000);
    let other = kind.place().await;
    let back = other.files();
    let manifest = self::files(&tree);
    let restored = back.restore(Root::Workspace, Scope::kept(), manifest.clone(), Arc::new(Held(held))).await;
    assert_eq!(restored.expect("restored").written, 5000);
    assert_eq!(self::files(&scan(&*back, Root::Workspace, Scope::kept()).await), manifest);
}
