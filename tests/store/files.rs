//! The files of a workspace, page by page.

use std::collections::BTreeMap;

use agent_runtime::{
    domain::{FileChange, FileChangeKind, FileChangeOrigin, FileType, Kind, WorkspaceFile},
    store::{Error, FileQuery, Store},
};

use crate::make::{Owner, key};

pub(crate) fn file(path: &str, sha256: &str) -> WorkspaceFile {
    WorkspaceFile {
        path: path.into(),
        file_type: FileType::File,
        size_bytes: 1,
        sha256: sha256.into(),
        mode: 0o644,
        modify_time: None,
        symlink_target: String::new(),
    }
}

pub(crate) fn changed(kind: FileChangeKind, files: &[WorkspaceFile]) -> Kind {
    let change = |file: &WorkspaceFile| FileChange {
        kind,
        file: file.clone(),
        previous_path: String::new(),
        origin: FileChangeOrigin::Agent,
    };
    Kind::FilesChanged { changes: files.iter().map(change).collect(), more: false }
}

async fn listed(store: &dyn Store, owner: &Owner, prefix: &str, limit: usize) -> Vec<String> {
    let mut query = FileQuery { prefix: prefix.into(), after: None, limit };
    let mut all: Vec<WorkspaceFile> = Vec::new();
    loop {
        let page = store.files(&owner.key, &query).await.unwrap().unwrap();
        assert!(page.files.len() <= limit && (!page.more || page.files.len() == limit));
        all.extend(page.files);
        if !page.more {
            return all.into_iter().map(|file| file.path).collect();
        }
        query.after = all.last().map(|file| file.path.clone());
    }
}

pub(crate) async fn files_are_listed_by_the_bytes_of_their_paths(store: &dyn Store) {
    let mut owner = Owner::create(store, key("t"), |_| {}).await;
    assert_eq!(listed(store, &owner, "", 10).await, [""; 0]);
    let paths = ["a", "a-b", "a.b", "a/b", "a/b/c", "a/\u{e9}", "a/\u{1f980}", "a0", "ab", "B", "\u{10ffff}"];
    let files: Vec<_> = paths.map(|path| file(path, path)).to_vec();
    let mut shuffled = files.clone();
    shuffled.reverse();
    owner.append(store, [changed(FileChangeKind::Created, &shuffled)]).await;
    let sorted: BTreeMap<&[u8], &str> = paths.iter().map(|path| (path.as_bytes(), *path)).collect();
    for limit in 1..=paths.len() + 1 {
        for prefix in ["", "a", "a/b", "b", "a-b", "a/", "A"] {
            let below = format!("{prefix}/");
            let expected: Vec<&str> =
                sorted.values().copied().filter(|path| prefix.is_empty() || path.starts_with(&below)).collect();
            assert_eq!(listed(store, &owner, prefix, limit).await, expected, "{limit} below {prefix:?}");
        }
    }
    for held in &files {
        assert_eq!(store.file(&owner.key, &held.path).await, Ok(Some(held.clone())));
    }
    assert_eq!(store.file(&owner.key, "a/b/").await, Ok(None));

    let newer = file("a/b", "newer");
    owner.append(store, [changed(FileChangeKind::Modified, std::slice::from_ref(&newer))]).await;
    owner.append(store, [changed(FileChangeKind::Deleted, &[file("a/b/c", "")])]).await;
    assert_eq!(store.file(&owner.key, "a/b").await, Ok(Some(newer)));
    assert_eq!(store.file(&owner.key, "a/b/c").await, Ok(None));
    assert_eq!(listed(store, &owner, "a/b", 10).await, [""; 0]);
    let page = store.files(&owner.key, &FileQuery { limit: 100, ..FileQuery::default() }).await.unwrap().unwrap();
    assert_eq!(page.files, owner.folded().files);

    // Nobody else's.
    let stranger = key("t");
    assert_eq!(store.files(&stranger, &FileQuery::default()).await, Ok(None));
    assert_eq!(store.file(&stranger, "a").await, Err(Error::NotFound));
    owner.delete(store).await;
    assert_eq!(store.files(&owner.key, &FileQuery::default()).await, Ok(None));
    assert_eq!(store.file(&owner.key, "a").await, Err(Error::NotFound));
}
