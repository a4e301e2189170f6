//! What is true of single files and of looks, in every sandbox.

use std::{io::Write as _, sync::Arc, time::Duration};

use agent_runtime::{
    domain::FileType,
    sandbox::{Content, Error, Root},
    workspace::{self, Scope, Why},
};
use bytes::Bytes;
use futures::StreamExt as _;

use crate::{
    ground::{files, paths},
    kinds::{Kind, LIMIT, read, scan, write},
};

/// In a file, from where it stands on.
fn held(bytes: &[u8]) -> Content {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(b"before").and_then(|()| file.write_all(bytes)).expect("written");
    std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(6)).expect("moved");
    Content::File(file)
}

pub(crate) async fn a_file_is_read_at_any_offset(kind: &dyn Kind) {
    let place = kind.place().await;
    let files = place.files();
    assert!(scan(&*files, Root::Workspace, Scope::shown()).await.is_empty());
    let bytes: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    let entry = files.write(Root::Workspace, "a/large", 0o600, held(&bytes), LIMIT).await.expect("written");
    assert_eq!((entry.file.size_bytes, entry.file.mode), (800_000, 0o600));
    assert_eq!(files.entry(Root::Workspace, "a/large").await.expect("there").file, entry.file);
    assert_eq!(files.read(Root::Workspace, "a/large", 7).await.expect("opened").file, entry.file);
    let small = Content::Bytes(Bytes::from_static(b"home"));
    files.write(Root::Home, ".rc", 0o644, small, LIMIT).await.expect("written");
    for offset in [0, 1, 65_535, 799_999, 800_000, 900_000, 1 << 40] {
        let expected = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
        assert_eq!(read(&*files, Root::Workspace, "a/large", offset).await.expect("read"), expected, "{offset}");
    }
    assert_eq!(read(&*files, Root::Home, ".rc", 0).await.as_deref(), Ok(&b"home"[..]));
    let mut known = scan(&*files, Root::Workspace, Scope::kept()).await;
    assert_eq!(paths(&known), ["a/large"]);
    known.insert(entry);
    assert_eq!(files.scan(Root::Workspace, Scope::kept(), Arc::new(known)).await.expect("scanned").len(), 1);
    // In its place another, of another mode; nothing but that is there.
    let again = files.write(Root::Workspace, "a/large", 0o755, held(b"less"), LIMIT).await.expect("written");
    assert_eq!((again.file.size_bytes, again.file.mode), (4, 0o755));
    assert_eq!(place.sh("cat a/large; ls -A; ls -A a; stat -c %a a").await, "lessa\nlarge\n755\n");
    assert_eq!(files.delete(Root::Workspace, "a/large").await, Ok(FileType::File));
    let missing = files.read(Root::Workspace, "a/large", 0).await.map(drop);
    assert_eq!(missing, Err(Error::Files(workspace::Error::NotFound { path: "a/large".into() })));
    let much = files.write(Root::Workspace, "new/er", 0o644, held(&[0; 11]), 10).await;
    let Err(Error::Files(workspace::Error::TooLarge { limit: 10, .. })) = much else { panic!("{much:?}") };
    assert_eq!(place.sh("ls -A").await, "a\n");
}

const NAMES: &[&str] = &[
    "line\nbreak",
    "ends with one\n",
    "\n",
    " ",
    "-rf",
    "--",
    "it's",
    "\"quoted\" $(reboot) `reboot` ${x}",
    "back\\slash\\n",
    "*?[a]",
    "tab\there",
    "\u{1}\u{7f}",
    "ü\u{1f980}",
    ".hidden",
    "a=b;c&d|e>f<g#h!",
];

pub(crate) async fn hostile_names_come_through(kind: &dyn Kind) {
    let place = kind.place().await;
    let files = place.files();
    let mut names: Vec<String> = NAMES.iter().map(|name| (*name).to_owned()).collect();
    names.extend(["n".repeat(255), "\u{fc}".repeat(127)]);
    let mut expected: Vec<String> = Vec::new();
    for name in &names {
        for path in [name.clone(), format!("d/{name}"), format!("{name}.d/{name}")] {
            if path.split('/').all(|part| part.len() <= 255) {
                let entry = write(&*files, &path, &path).await.expect("written");
                assert_eq!(entry.file.path, path);
                assert_eq!(files.entry(Root::Workspace, &path).await.expect("there").file, entry.file);
                expected.push(path);
            }
        }
    }
    place.sh("ln -s 'line\nbreak' 'to a\nline'; printf x >\"$(printf '\\377bad')\"; mkdir \"$(printf '\\376')\"").await;
    expected.push("to a\nline".to_owned());
    expected.sort_unstable();
    let tree = scan(&*files, Root::Workspace, Scope::kept()).await;
    assert_eq!(paths(&tree), expected);
    assert_eq!(tree.left_out().some, [("\u{fffd}".to_owned(), Why::NotUtf8), ("\u{fffd}".to_owned(), Why::NotUtf8)]);
    assert_eq!(tree.get("to a\nline").expect("there").file.symlink_target, "line\nbreak");
    for path in &expected {
        let file = &tree.get(path).expect("there").file;
        if file.file_type == FileType::File {
            assert_eq!(read(&*files, Root::Workspace, path, 0).await.as_deref(), Ok(path.as_bytes()), "{path:?}");
        }
        files.delete(Root::Workspace, path).await.expect("deleted");
    }
    let left = scan(&*files, Root::Workspace, Scope::kept()).await;
    assert!(left.files().all(|file| file.file_type == FileType::Directory), "{left:?}");
    for path in ["", "/etc/passwd", "../x", "a/../b", "a//b", "./a", &"p/".repeat(600), "nul\0"] {
        let refused = write(&*files, path, "x").await;
        assert!(matches!(refused, Err(Error::Files(workspace::Error::Path { .. }))), "{path:?}: {refused:?}");
    }
    let long = write(&*files, &format!("d/{}", "n".repeat(256)), "x").await;
    assert!(matches!(long, Err(Error::Files(workspace::Error::Path { .. }))), "{long:?}");
}

/// Links on the way are followed where they stay inside, and what is told is told of where it really lies; others are
/// refused. The last one is never followed.
pub(crate) async fn nothing_leads_out(kind: &dyn Kind) {
    let place = kind.place().await;
    let files = place.files();
    place
        .sh("home=$(realpath --relative-to=. \"$HOME\"); mkdir -p real/in ~/beside; echo secret >~/beside/file; \
             ln -s \"$home/beside\" out; ln -s / top; ln -s /etc/passwd passwd; ln -s real inside; \
             ln -s real/in/../in deep; ln -s \"real/../$home/beside\" around; ln -s loop loop; ln -s nowhere dangling; \
             echo text >real/in/file; ln -s \"$PWD/real\" absolute")
        .await;
    let before = place.sh("cd ~/beside; ls -lR --time-style=+; cat file").await;
    for path in ["out/file", "top/etc/passwd", "around/file", "absolute/in/file", "out/new"] {
        let outcomes = [
            files.read(Root::Workspace, path, 0).await.map(drop),
            files.read_small(Root::Workspace, path, 1000).await.map(drop),
            files.entry(Root::Workspace, path).await.map(drop),
            files.delete(Root::Workspace, path).await.map(drop),
            write(&*files, path, "x").await.map(drop),
        ];
        for outcome in outcomes {
            let Err(Error::Files(workspace::Error::Path { rule, .. })) = &outcome else {
                panic!("{path}: {outcome:?}")
            };
            assert_eq!(rule, "leads out through a link", "{path}");
        }
    }
    for path in ["passwd", "out", "loop"] {
        let read = files.read(Root::Workspace, path, 0).await.map(drop);
        assert!(matches!(read, Err(Error::Files(workspace::Error::Sort { is: "a link", .. }))), "{path}: {read:?}");
        assert_eq!(files.entry(Root::Workspace, path).await.expect("there").file.file_type, FileType::Symlink);
    }
    let looped = files.read(Root::Workspace, "loop/x", 0).await.map(drop);
    assert!(matches!(looped, Err(Error::Files(workspace::Error::Path { .. }))), "{looped:?}");
    let nowhere = write(&*files, "dangling/x", "x").await;
    assert!(matches!(nowhere, Err(Error::Files(workspace::Error::Path { .. }))), "{nowhere:?}");
    for path in ["inside/in/file", "deep/file"] {
        assert_eq!(read(&*files, Root::Workspace, path, 1).await.as_deref(), Ok(&b"ext\n"[..]));
        assert_eq!(files.entry(Root::Workspace, path).await.expect("there").file.path, "real/in/file");
    }
    assert_eq!(write(&*files, "inside/new", "x").await.expect("written").file.path, "real/new");
    // A link is replaced, and what it leads to stays.
    write(&*files, "passwd", "mine").await.expect("written");
    write(&*files, "out", "mine").await.expect("written");
    assert_eq!(
        place.sh("cat passwd out; cd ~/beside; ls -lR --time-style=+; cat file").await,
        format!("minemine{before}")
    );
}

pub(crate) async fn what_is_in_the_way_is_named(kind: &dyn Kind) {
    let place = kind.place().await;
    let files = place.files();
    place.sh("echo 1 >file; mkdir -p folder empty; echo 1 >folder/x; mkfifo pipe; ln -s file link").await;
    let sort = |outcome: Result<(), Error>, is: &str| {
        let Err(Error::Files(workspace::Error::Sort { is: found, .. })) = outcome else { panic!("{outcome:?}") };
        assert_eq!(found, is);
    };
    for path in ["folder", "empty"] {
        sort(write(&*files, path, "x").await.map(drop), "a directory");
        sort(files.read(Root::Workspace, path, 0).await.map(drop), "a directory");
        sort(files.read_small(Root::Workspace, path, 10).await.map(drop), "a directory");
    }
    // Not by waiting for a writer.
    sort(files.read(Root::Workspace, "pipe", 0).await.map(drop), "a pipe");
    sort(files.entry(Root::Workspace, "pipe").await.map(drop), "a pipe");
    sort(files.read(Root::Workspace, "link", 0).await.map(drop), "a link");
    let through = write(&*files, "file/x", "x").await;
    assert!(
        matches!(&through, Err(Error::Files(workspace::Error::Path { rule, .. })) if rule.contains("through a file")),
        "{through:?}"
    );
    let not_found = |path: &str| Error::Files(workspace::Error::NotFound { path: path.to_owned() });
    for path in ["file/x", "not/there", "missing"] {
        assert_eq!(files.read(Root::Workspace, path, 0).await.map(drop), Err(not_found(path)));
        assert_eq!(files.read_small(Root::Workspace, path, 9).await.map(drop), Err(not_found(path)));
        assert_eq!(files.entry(Root::Workspace, path).await.map(drop), Err(not_found(path)));
        assert_eq!(files.delete(Root::Workspace, path).await.map(drop), Err(not_found(path)));
    }
    let full = files.delete(Root::Workspace, "folder").await;
    assert_eq!(full, Err(Error::Files(workspace::Error::NotEmpty { path: "folder".into() })));
    assert_eq!(files.delete(Root::Workspace, "empty").await, Ok(FileType::Directory));
    assert_eq!(files.delete(Root::Workspace, "link").await, Ok(FileType::Symlink));
    assert_eq!(files.delete(Root::Workspace, "pipe").await, Ok(FileType::File));
    assert_eq!(files.entry(Root::Workspace, "folder").await.expect("there").file.file_type, FileType::Directory);
    assert_eq!(place.sh("find . | sort").await, ".\n./file\n./folder\n./folder/x\n");
}

pub(crate) async fn several_are_read_at_once(kind: &dyn Kind) {
    let place = kind.place().await;
    let files = place.files();
    place.sh("echo one >a; mkdir d; echo two >'d/it'\"'\"'s\n'; ln -s a link; ln a second; : >empty").await;
    let long = format!("{}/{}", "p".repeat(120), "q".repeat(200));
    write(&*files, &long, "three").await.expect("written");
    let asked = ["a", "d/it's\n", "d", "link", "second", "missing", "empty", &long].map(str::to_owned);
    let read = files.read_all(Root::Workspace, &asked, 1000).await.expect("read");
    let expected = [("a", "one\n"), ("d/it's\n", "two\n"), ("empty", ""), (&long, "three"), ("second", "one\n")];
    let read: Vec<(&str, &[u8])> = read.iter().map(|(path, bytes)| (&**path, &**bytes)).collect();
    assert_eq!(read, expected.map(|(path, text)| (path, text.as_bytes())));
    // What has become too much is missing, and the rest is not.
    place.sh("head -c 3000000 /dev/zero >a").await;
    let read = files.read_all(Root::Workspace, &asked, 20).await.expect("read");
    assert_eq!(read.keys().map(String::as_str).collect::<Vec<_>>(), ["d/it's\n", "empty", &*long]);
    assert_eq!(files.read_small(Root::Workspace, "d/it's\n", 4).await.as_deref(), Ok(&b"two\n"[..]));
    let large = files.read_small(Root::Workspace, "d/it's\n", 3).await;
    assert!(matches!(large, Err(Error::Files(workspace::Error::TooLarge { limit: 3, .. }))), "{large:?}");
    assert!(files.read_all(Root::Workspace, &["../x".to_owned()], 20).await.is_err());
}

/// Whatever changed is seen by a look that knows what was there, also where times and sizes hide it.
pub(crate) async fn changes_are_seen(kind: &dyn Kind) {
    let place = kind.place().await;
    let files = place.files();
    place.sh("mkdir -p a/b; echo 1 >a/b/x; echo 2 >y; echo 3 >z; touch -d @1000000000 a/b/x y z; ln -s y l").await;
    let mut known = Arc::new(scan(&*files, Root::Workspace, Scope::kept()).await);
    for script in [
        ":",
        // As long as before, with the time that it had.
        "echo 9 >y; touch -d @1000000000 y",
        "mv z y",
        "mv a c; mkdir a",
        "chmod 700 c; rm l; ln -s x l",
        "rm -r c; echo new >a/new",
        "touch y",
        "rm -r a y l",
    ] {
        place.sh(script).await;
        let fresh = scan(&*files, Root::Workspace, Scope::kept()).await;
        let looked = files.scan(Root::Workspace, Scope::kept(), Arc::clone(&known)).await.expect("scanned");
        let mut told = self::files(&looked);
        if script == "touch y" {
            // A file that was only touched keeps its time.
            let time = known.get("y").expect("there").file.modify_time;
            assert_eq!(looked.get("y").expect("there").file.modify_time, time);
            for file in &mut told {
                file.modify_time = fresh.get(&file.path).expect("there").file.modify_time;
            }
        }
        assert_eq!(told, self::files(&fresh), "{script}");
        known = Arc::new(looked);
    }
    assert!(known.is_empty());
}

/// Hints come, also for what lies in a new folder.
pub(crate) async fn hints_come_while_they_are_asked_for(kind: &dyn Kind) {
    let place = kind.place().await;
    let files = place.files();
    let mut hints = files.hints().await.expect("watched");
    for script in ["date >x", "mkdir d; date >d/x"] {
        let mut hint = hints.next();
        let script = format!("{script}; rm -rf d");
        loop {
            // Again and again: it may not be watched yet.
            tokio::select! {
                biased;
                hint = &mut hint => break assert_eq!(hint, Some(Ok(()))),
                _ = place.sh(&script) => {}
            }
        }
    }
}

pub(crate) async fn what_is_left_out_is_counted(kind: &dyn Kind) {
    let place = kind.place().await;
    let files = place.files();
    place
        .sh("mkfifo pipe; echo 123456 >large; mkdir -p node_modules/x target/debug plain/target .git lone/only e; \
             echo x >node_modules/x/y; echo x >target/debug/x; echo x >.git/HEAD; echo x >kept; \
             printf 'Signature: 8a477f597d28d172789f06886806bc55\\n# by a tool' >target/CACHEDIR.TAG; \
             cp target/CACHEDIR.TAG lone/only; echo other >plain/target/CACHEDIR.TAG; cp target/CACHEDIR.TAG .")
        .await;
    let scope = Scope { max_file_bytes: 6, ..Scope::kept() };
    let kept = scan(&*files, Root::Workspace, scope).await;
    assert_eq!(paths(&kept), [".git/HEAD", "e", "kept", "lone", "plain/target/CACHEDIR.TAG"]);
    let mut left = kept.left_out().some.clone();
    left.sort_by(|one, other| one.0.cmp(&other.0));
    let left_out = |path: &str, why| (path.to_owned(), why);
    let expected =
        [left_out("CACHEDIR.TAG", Why::TooLarge), left_out("large", Why::TooLarge), left_out("pipe", Why::Special)];
    assert_eq!((left.as_slice(), kept.is_incomplete()), (&expected[..], false));
    let shown = scan(&*files, Root::Workspace, Scope::shown()).await;
    assert_eq!(paths(&shown), ["CACHEDIR.TAG", "e", "kept", "large", "lone", "plain/target/CACHEDIR.TAG"]);
    let few = scan(&*files, Root::Workspace, Scope { max_entries: 2, ..Scope::shown() }).await;
    assert!(few.is_incomplete() && few.len() == 2, "{few:?}");
    // When the time is up the rest stands as it was known.
    let scope = Scope { time: Duration::ZERO, ..Scope::shown() };
    let late = files.scan(Root::Workspace, scope, Arc::new(shown.clone())).await.expect("scanned");
    assert_eq!((self::files(&late), late.is_incomplete()), (self::files(&shown), true));
    // Of a home only what is named; what is on the way is not.
    place.sh("cd; mkdir -p .agent/projects/p .agent/cache; echo 1 >.agent/projects/p/1; echo x >.agent/cache/x").await;
    let scope = Scope::only([".agent/projects", "missing/x", ".agent/cache/x"]);
    let home = scan(&*files, Root::Home, scope.clone()).await;
    assert_eq!(paths(&home), [".agent/cache/x", ".agent/projects/p/1"]);
    place.sh("cd; mv .agent .other; ln -s .other .agent").await;
    assert!(scan(&*files, Root::Home, scope).await.is_empty());
}
