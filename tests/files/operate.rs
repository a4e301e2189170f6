//! Single entries read, written and deleted.

use std::{fs, io::Read as _, os::unix::fs::PermissionsExt as _};

use agent_runtime::{
    domain::FileType,
    workspace::{Error, Folder, Scope, Tree, scan},
};

use crate::ground::{Ground, dump, paths};

const LIMIT: u64 = 1 << 20;

fn write(ground: &Ground, path: &str, text: &str) -> Result<agent_runtime::workspace::Entry, Error> {
    ground.folder().write(path, 0o644, &mut text.as_bytes(), LIMIT)
}

fn read(ground: &Ground, path: &str) -> Result<String, Error> {
    let mut opened = ground.folder().read(path)?;
    let mut text = String::new();
    opened.content.read_to_string(&mut text).expect("text");
    Ok(text)
}

#[test]
fn written_files_are_what_was_said() {
    let ground = Ground::new();
    let entry = ground.folder().write("a/b/c.txt", 0o4751, &mut &b"text"[..], LIMIT).expect("written");
    assert_eq!((entry.file.size_bytes, entry.file.mode), (4, 0o751));
    assert_eq!(fs::metadata(ground.path("a/b")).expect("there").permissions().mode() & 0o7777, 0o755);
    let tree = ground.kept();
    assert_eq!(tree.get("a/b/c.txt").expect("there").file, entry.file);
    assert_eq!(ground.folder().entry("a/b/c.txt").expect("there").file, entry.file);
    assert_eq!(ground.folder().read("a/b/c.txt").expect("there").file, entry.file);
    assert_eq!(read(&ground, "a/b/c.txt").as_deref(), Ok("text"));
    write(&ground, "a/b/c.txt", "other").expect("written");
    assert_eq!(read(&ground, "a/b/c.txt").as_deref(), Ok("other"));
    assert_eq!(ground.folder().entry("a").expect("there").file.file_type, FileType::Directory);
    ground.nothing_staged();
}

/// What is known by a write is looked at again by the next scan, since it was just written.
#[test]
fn a_write_can_be_known() {
    let ground = Ground::new();
    let mut known = ground.kept();
    known.insert(write(&ground, "a", "1").expect("written"));
    fs::write(ground.path("a"), "2").expect("written");
    assert_ne!(
        ground.scan(&Scope::kept(), &known).get("a").map(|e| &e.file.sha256),
        known.get("a").map(|e| &e.file.sha256)
    );
}

#[test]
fn a_link_is_replaced_and_its_target_kept() {
    let ground = Ground::new();
    ground.write("target", "kept");
    fs::write(ground.beside("outside"), "kept").expect("written");
    ground.link("in", "target");
    ground.link("out", "../outside");
    for link in ["in", "out"] {
        assert!(matches!(ground.folder().read(link), Err(Error::Sort { is: "a link", .. })), "{link}");
        write(&ground, link, "new").expect("written");
        assert_eq!(ground.folder().entry(link).expect("there").file.file_type, FileType::File);
    }
    assert_eq!(fs::read_to_string(ground.path("target")).expect("read"), "kept");
    assert_eq!(fs::read_to_string(ground.beside("outside")).expect("read"), "kept");
    ground.folder().symlink("in", "elsewhere").expect("linked");
    assert_eq!(ground.folder().entry("in").expect("there").file.symlink_target, "elsewhere");
    assert_eq!(ground.folder().delete("in"), Ok(FileType::Symlink));
}

#[test]
fn folders_behind_links_that_stay() {
    let ground = Ground::new();
    ground.write("real/deep/x", "1");
    ground.link("near", "real");
    ground.link("real/back", "../real/deep");
    assert_eq!(read(&ground, "near/deep/x").as_deref(), Ok("1"));
    assert_eq!(read(&ground, "near/back/x").as_deref(), Ok("1"));
    assert_eq!(ground.folder().read("near/back/x").expect("there").file.path, "real/deep/x");
    let written = write(&ground, "near/back/y/z", "2").expect("written").file;
    // Told as a look tells it.
    assert_eq!(Some(&written), ground.kept().get("real/deep/y/z").map(|entry| &entry.file));
    assert_eq!(ground.folder().entry("near/back/y").expect("there").file.path, "real/deep/y");
    assert_eq!(ground.folder().by_hand().symlink("near/l", "x").expect("linked").file.path, "real/l");
    ground.folder().delete("near/l").expect("deleted");
    assert_eq!(fs::read_to_string(ground.path("real/deep/y/z")).expect("read"), "2");
    ground.link("out", "..");
    ground.link("absolute", ground.root().to_str().expect("text"));
    ground.link("nowhere", "not/there");
    for (path, rule) in [("out/x", "leads out"), ("absolute/real", "leads out"), ("nowhere/x", "leads nowhere")] {
        let Err(Error::Path { rule: said, .. }) = write(&ground, path, "x") else { panic!("{path} was written") };
        assert!(said.contains(rule), "{path}: {said}");
    }
}

#[test]
fn what_is_in_the_way_is_named() {
    let ground = Ground::new();
    ground.write("file", "1");
    ground.write("folder/x", "1");
    fs::create_dir(ground.path("empty")).expect("made");
    let folder = ground.folder();
    let sort = |error| matches!(error, Error::Sort { .. });
    assert!(write(&ground, "folder", "x").is_err_and(sort));
    assert!(write(&ground, "empty", "x").is_err_and(sort));
    assert!(folder.symlink("empty", "x").is_err_and(sort));
    assert!(folder.read("folder").is_err_and(sort));
    assert!(folder.make_dir("file", 0o755).is_err_and(sort));
    assert!(matches!(write(&ground, "file/x", "x"), Err(Error::Path { rule, .. }) if rule.contains("through a file")));
    assert_eq!(folder.delete("folder"), Err(Error::NotEmpty { path: "folder".into() }));
    assert_eq!(folder.delete("empty"), Ok(FileType::Directory));
    assert_eq!(folder.delete("empty"), Err(Error::NotFound { path: "empty".into() }));
    assert!(matches!(folder.read("file/x"), Err(Error::NotFound { .. })));
    assert!(matches!(folder.read("not/there"), Err(Error::NotFound { .. })));
    assert_eq!(folder.make_dir("a/b", 0o700).expect("made").file.mode, 0o700);
    folder.set_mode("file", 0o100).expect("set");
    assert_eq!(folder.entry("file").expect("there").file.mode, 0o100);
    ground.link("link", "file");
    assert!(folder.set_mode("link", 0o777).is_err_and(sort));
    rustix::fs::mkfifoat(rustix::fs::CWD, ground.path("pipe"), rustix::fs::Mode::RWXU).expect("made");
    // Not by waiting for a writer.
    assert!(folder.read("pipe").is_err_and(sort));
    ground.nothing_staged();
}

#[test]
fn too_much_is_refused_and_leaves_nothing() {
    let ground = Ground::new();
    ground.write("kept", "before");
    let much = ground.folder().write("kept", 0o644, &mut &*vec![0; 11], 10);
    assert!(matches!(much, Err(Error::TooLarge { limit: 10, .. })));
    assert_eq!(read(&ground, "kept").as_deref(), Ok("before"));
    assert!(ground.folder().write("new/er", 0o644, &mut &*vec![0; 11], 10).is_err());
    assert_eq!(paths(&ground.kept()), ["kept"]);
    ground.nothing_staged();
}

/// What a process that died left behind shows nowhere and goes with the next look.
#[test]
fn what_was_left_half_done_goes() {
    let ground = Ground::new();
    write(&ground, "a", "1").expect("written");
    fs::write(ground.staging().join("0123456789abcdef-7"), "half").expect("written");
    let locked = ground.staging().join("0123456789abcdef-8/locked");
    fs::create_dir_all(locked.join("in")).expect("made");
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).expect("set");
    assert_eq!(paths(&ground.kept()), ["a"]);
    ground.nothing_staged();
}

#[test]
fn a_folder_that_is_gone_is_told_as_gone() {
    let ground = Ground::new();
    assert!(matches!(Folder::open(&ground.beside("missing"), &ground.staging()), Err(Error::Gone(_))));
    fs::write(ground.beside("file"), "x").expect("written");
    assert!(matches!(Folder::open(&ground.beside("file"), &ground.staging()), Err(Error::Gone(_))));
}

/// Files that their owner may not read are read all the same, and stay as they are.
#[test]
fn modes_keep_nothing_from_being_kept() {
    let ground = Ground::new();
    ground.write("secret", "text");
    fs::set_permissions(ground.path("secret"), fs::Permissions::from_mode(0o000)).expect("set");
    let tree = scan(&ground.folder(), &Scope::kept(), &Tree::default()).expect("scanned");
    assert_eq!(tree.get("secret").map(|entry| entry.file.mode), Some(0));
    assert_eq!(tree.left_out().count, 0);
    let before = dump(&ground.root());
    assert_eq!(read(&ground, "secret").as_deref(), Ok("text"));
    assert_eq!(dump(&ground.root()), before);
}

#[test]
fn of_a_file_that_is_too_large_nothing_is_read() {
    let ground = Ground::new();
    ground.write("small", "1234");
    assert_eq!(ground.folder().read_small("small", 4).as_deref(), Ok(&b"1234"[..]));
    let sparse = fs::File::create(ground.path("sparse")).expect("made");
    sparse.set_len(200 << 30).expect("nothing of it is on the disk");
    for (path, most) in [("small", 3), ("sparse", 4096)] {
        let refused = ground.folder().read_small(path, most).expect_err("it is larger");
        assert!(matches!(refused, Error::TooLarge { limit, .. } if limit == most), "{refused}");
    }
    ground.link("link", "small");
    fs::create_dir(ground.path("folder")).expect("made");
    for path in ["link", "folder"] {
        assert!(matches!(ground.folder().read_small(path, 9), Err(Error::Sort { .. })), "{path}");
    }
}
