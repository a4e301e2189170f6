//! Looks at trees.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _, net::UnixListener},
    time::{Duration, Instant, SystemTime},
};

use agent_runtime::{
    domain::{FileType, Timestamp},
    workspace::{Entry, Ignore, Scope, Tree, Why, scan},
};
use proptest::test_runner::{Config, TestRunner};

use crate::{
    ground::{Ground, files, paths},
    trees,
};

fn set_mode(ground: &Ground, path: &str, mode: u32) {
    fs::set_permissions(ground.path(path), fs::Permissions::from_mode(mode)).expect("set");
}

#[test]
fn files_links_and_folders_are_told_as_they_are() {
    let ground = Ground::new();
    assert!(ground.kept().is_empty());
    ground.write("src/main.rs", "fn main() {}");
    ground.write("empty", "");
    set_mode(&ground, "src/main.rs", 0o640);
    set_mode(&ground, "empty", 0o755);
    ground.link("out", "/etc/passwd");
    ground.link("dangling", "no/where");
    ground.link("loop", ".");
    fs::create_dir_all(ground.path("a/b/c")).expect("made");
    fs::create_dir(ground.path("private")).expect("made");
    ground.write("private/x", "x");
    set_mode(&ground, "private", 0o700);
    let tree = ground.kept();
    assert_eq!(paths(&tree), ["a/b/c", "dangling", "empty", "loop", "out", "private", "private/x", "src/main.rs"]);
    let file = |path: &str| tree.get(path).expect("there").file.clone();
    let main = file("src/main.rs");
    assert_eq!((main.file_type, main.size_bytes, main.mode), (FileType::File, 12, 0o640));
    assert_eq!(main.sha256, "ef32637cb9c3ec2e3968c9cbdf26a5e9c172be94f88af533e14bd43f892d5297");
    let modified = fs::metadata(ground.path("src/main.rs")).expect("there").modified().expect("a time");
    let micros = modified.duration_since(SystemTime::UNIX_EPOCH).expect("after it").as_micros();
    assert_eq!(main.modify_time, Some(Timestamp(i64::try_from(micros).expect("fits"))));
    assert_eq!(file("empty").sha256, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_eq!((file("out").file_type, &*file("out").symlink_target), (FileType::Symlink, "/etc/passwd"));
    assert_eq!((file("out").size_bytes, &*file("out").sha256), (0, ""));
    assert_eq!(
        (file("a/b/c").file_type, file("a/b/c").mode, file("a/b/c").modify_time),
        (FileType::Directory, 0o755, None)
    );
    assert_eq!(file("private").mode, 0o700);
    // Where nothing is put back, a folder with something in it goes without saying.
    assert!(!paths(&ground.scan(&Scope::shown(), &Tree::default())).contains(&"private"));
}

#[test]
fn what_cannot_be_told_is_left_out_and_counted() {
    let ground = Ground::new();
    ground.write("good", "x");
    fs::write(ground.path("").join(std::ffi::OsStr::from_bytes(b"bad\xff")), "x").expect("written");
    std::os::unix::fs::symlink(std::ffi::OsStr::from_bytes(b"\xfe"), ground.path("badlink")).expect("linked");
    let _socket = UnixListener::bind(ground.path("socket")).expect("bound");
    rustix::fs::mkfifoat(rustix::fs::CWD, ground.path("pipe"), rustix::fs::Mode::RWXU).expect("made");
    ground.write("large", &"x".repeat(1001));
    let deep = "d".repeat(200);
    let deep = [&*deep; 5].join("/");
    ground.write(&format!("{deep}/short"), "x");
    ground.write(&format!("{deep}/{}", "n".repeat(100)), "x");
    let tree = ground.scan(&Scope { max_file_bytes: 1000, ..Scope::kept() }, &Tree::default());
    assert_eq!(paths(&tree), [&*format!("{deep}/short"), "good"]);
    let left: BTreeSet<String> = tree.left_out().some.iter().map(|(_, why)| format!("{why:?}")).collect();
    assert_eq!(left, ["NotUtf8", "Special", "TooLarge", "TooLong"].map(str::to_owned).into());
    assert_eq!(tree.left_out().count, 6);
    assert!(tree.left_out().some.contains(&("pipe".to_owned(), Why::Special)));
    assert!(!tree.is_incomplete());
}

#[test]
fn sets_leave_out_what_they_say() {
    let ground = Ground::new();
    for path in [
        ".git/HEAD",
        "sub/.git",
        "node_modules/x/y.js",
        "web/node_modules/z.js",
        "__pycache__/m.pyc",
        "src/.DS_Store",
        "target/debug/x",
        "plain/target/x",
        "web/index.html",
        ".gitignore",
    ] {
        ground.write(path, "x");
    }
    ground.write("target/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n# made by cargo\n");
    ground.write("plain/target/CACHEDIR.TAG", "of something else");
    ground.write("lone/only/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55");
    fs::create_dir_all(ground.path("repo/.git/refs")).expect("made");
    let shown = ground.scan(&Scope::shown(), &Tree::default());
    assert_eq!(
        paths(&shown),
        [".gitignore", "lone", "plain/target/CACHEDIR.TAG", "plain/target/x", "repo", "src", "sub", "web/index.html"]
    );
    let kept = ground.kept();
    assert_eq!(
        paths(&kept),
        [
            ".git/HEAD",
            ".gitignore",
            "lone",
            "plain/target/CACHEDIR.TAG",
            "plain/target/x",
            "repo/.git/refs",
            "src/.DS_Store",
            "sub/.git",
            "web/index.html",
        ]
    );
    assert_eq!(files(&kept.shown()), files(&shown));
    // The folder itself is never taken for a cache.
    ground.write("CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55");
    assert!(ground.kept().get(".gitignore").is_some());
    let all = ground.scan(&Scope { ignore: Ignore::Nothing, ..Scope::kept() }, &Tree::default());
    assert!(all.get("node_modules/x/y.js").is_some() && all.get("target/debug/x").is_some());
}

#[test]
fn only_what_is_named_is_looked_at() {
    let ground = Ground::new();
    for path in [".agent/projects/p/1.jsonl", ".agent/cache/x", ".agent.json", ".other/x", ".agentx/y", "file"] {
        ground.write(path, "x");
    }
    set_mode(&ground, ".agent", 0o700);
    let look = |only: &[&str]| ground.scan(&Scope::only(only.iter().copied()), &Tree::default());
    assert_eq!(
        paths(&look(&[".agent/projects", ".agent.json", "missing/x"])),
        [".agent.json", ".agent/projects/p/1.jsonl"]
    );
    assert_eq!(paths(&look(&[".agent"])), [".agent", ".agent/cache/x", ".agent/projects/p/1.jsonl"]);
}

/// Every change is seen, however fast it comes after the look: what was written at the time of the look itself is read
/// again.
#[test]
fn no_change_is_too_quick() {
    let ground = Ground::new();
    let folder = ground.folder();
    let mut known = Tree::default();
    for round in 0..300 {
        let text = if round % 2 == 0 { "even" } else { "odd!" };
        ground.write("file", text);
        let tree = scan(&folder, &Scope::kept(), &known).expect("scanned");
        let fresh = scan(&folder, &Scope::kept(), &Tree::default()).expect("scanned");
        assert_eq!(
            tree.get("file").map(|e| &e.file.sha256),
            fresh.get("file").map(|e| &e.file.sha256),
            "round {round}"
        );
        known = tree;
    }
}

/// A time that is put back hides nothing.
#[test]
fn old_times_do_not_deceive() {
    let ground = Ground::new();
    ground.write("file", "before");
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let put_back = || fs::File::options().append(true).open(ground.path("file")).expect("open").set_modified(long_ago);
    put_back().expect("set");
    let known = settled(&ground);
    ground.write("file", "after!");
    put_back().expect("set");
    let tree = ground.scan(&Scope::kept(), &known);
    assert_ne!(tree.get("file").expect("there").file.sha256, known.get("file").expect("there").file.sha256);
}

/// A look that trusts what it saw: the clock has moved on since.
fn settled(ground: &Ground) -> Tree {
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(60) {
        std::thread::yield_now();
    }
    ground.kept()
}

/// What did not change is not read again: its stamp proves it. The hash in `known` is a lie here, which only reading would
/// bring to light.
#[test]
fn what_is_unchanged_is_not_read() {
    let ground = Ground::new();
    ground.write("file", "text");
    ground.write("other", "text");
    let mut known = settled(&ground);
    for path in ["file", "other"] {
        let entry = known.get(path).expect("there").clone();
        let mut file = entry.file.clone();
        file.sha256 = "0".repeat(64);
        known.insert(Entry { file, stamp: entry.stamp });
    }
    fs::File::options()
        .append(true)
        .open(ground.path("other"))
        .expect("open")
        .set_modified(SystemTime::now())
        .expect("set");
    let tree = ground.scan(&Scope::kept(), &known);
    assert_eq!(tree.get("file").expect("there").file.sha256, "0".repeat(64));
    assert_ne!(tree.get("other").expect("there").file.sha256, "0".repeat(64));
}

/// What changed at the time of the look may change again under the same stamp, where clocks move in ticks, and is read
/// again. As above, only reading brings the lie to light. A look that comes too late to be one of these does not count.
#[test]
fn what_just_changed_is_read_again() {
    let ground = Ground::new();
    let folder = ground.folder();
    let mut counted = 0;
    for _ in 0..200 {
        let started = Instant::now();
        ground.write("file", "text");
        let mut known = scan(&folder, &Scope::kept(), &Tree::default()).expect("scanned");
        if started.elapsed() > Duration::from_millis(9) {
            continue;
        }
        counted += 1;
        let Entry { mut file, stamp } = known.get("file").expect("there").clone();
        let right = std::mem::replace(&mut file.sha256, "0".repeat(64));
        known.insert(Entry { file, stamp });
        let again = scan(&folder, &Scope::kept(), &known).expect("scanned");
        assert_eq!(again.get("file").expect("there").file.sha256, right);
    }
    assert!(counted > 0, "this machine is too busy");
}

/// A file that was only touched is told as before, so that what was told stays true.
#[test]
fn a_touch_is_no_change() {
    let ground = Ground::new();
    ground.write("file", "text");
    let known = ground.kept();
    fs::File::options()
        .append(true)
        .open(ground.path("file"))
        .expect("open")
        .set_modified(SystemTime::UNIX_EPOCH)
        .expect("set");
    assert_eq!(files(&ground.scan(&Scope::kept(), &known)), files(&known));
    assert_eq!(ground.kept().get("file").expect("there").file.modify_time, Some(Timestamp(0)));
    // Also when only what was told is known.
    assert_eq!(files(&ground.scan(&Scope::kept(), &Tree::from_files(files(&known)))), files(&known));
}

/// Out of time, a look tells what it did not see as it was known, and invents no change.
#[test]
fn out_of_time_nothing_is_lost() {
    let ground = Ground::new();
    for at in 0..400 {
        ground.write(&format!("d{}/{at}", at % 7), "x");
    }
    fs::create_dir(ground.path("empty")).expect("made");
    let known = ground.kept();
    assert_eq!(known.len(), 401);
    let folder = ground.folder();
    ground.write("new", "x");
    let mut cut = 0;
    for micros in 0..400 {
        let scope = Scope { time: Duration::from_micros(micros * 10), ..Scope::kept() };
        let tree = scan(&folder, &scope, &known).expect("scanned");
        cut += usize::from(tree.is_incomplete());
        let missing: Vec<_> = known.files().filter(|file| tree.get(&file.path).is_none()).collect();
        assert!(missing.is_empty(), "{micros}: {missing:?}");
        assert!(tree.is_incomplete() || tree.get("new").is_some());
    }
    assert!(cut > 0, "never out of time");
    let few = scan(&folder, &Scope { max_entries: 10, ..Scope::kept() }, &Tree::default()).expect("scanned");
    assert!(few.is_incomplete() && few.len() == 10, "{}", few.len());
    assert_eq!(few.left_out().some.last().expect("told").1, Why::TooMany);
}

#[test]
fn what_is_shown_is_a_part_of_what_is_kept() {
    let mut runner = TestRunner::new(Config::with_cases(200));
    let property = |model| {
        let ground = Ground::in_memory();
        trees::build(&ground.root(), &model);
        let shown = ground.scan(&Scope::shown(), &Tree::default());
        assert_eq!(files(&ground.kept().shown()), files(&shown));
        Ok(())
    };
    runner.run(&trees::model(), property).expect("the property holds");
}

/// Whatever happens to a tree, a look that knows the one before finds what a fresh look finds.
#[test]
fn a_look_that_knows_sees_what_a_fresh_one_sees() {
    let mut runner = TestRunner::new(Config::with_cases(200));
    let property = |(model, acts): (trees::Model, Vec<trees::Act>)| {
        let ground = Ground::in_memory();
        trees::build(&ground.root(), &model);
        let known = ground.kept();
        trees::act(&ground.root(), &acts);
        let timeless = |tree: &Tree| {
            let mut files = files(tree);
            for file in &mut files {
                file.modify_time = None;
            }
            files
        };
        assert_eq!(timeless(&ground.scan(&Scope::kept(), &known)), timeless(&ground.kept()));
        Ok(())
    };
    runner.run(&(trees::model(), trees::acts()), property).expect("the property holds");
}

/// Time of the processor for this thread: other tests, and other machines on the same host, run beside it.
fn cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.cast_unsigned(), u32::try_from(now.tv_nsec).expect("less than a second"))
}

/// The best of several, since other tests run beside this one.
#[test]
fn unchanged_trees_are_cheap() {
    let ground = Ground::new();
    let folder = ground.folder();
    let best = |tries: usize, known: &Tree| {
        let took = |_| {
            let started = cpu();
            let tree = scan(&folder, &Scope::kept(), known).expect("scanned");
            assert_eq!(tree.len(), known.len());
            cpu().saturating_sub(started)
        };
        (0..tries).map(took).min().expect("some")
    };
    let empty = best(50, &Tree::default());
    assert!(empty < Duration::from_micros(100), "an empty one took {empty:?}");
    for at in 0..10_000 {
        ground.write(&format!("d{}/file-{at}", at % 100), "x");
    }
    let full = best(10, &settled(&ground));
    println!("empty {empty:?}, 10,000 unchanged {full:?}");
    assert!(full < Duration::from_millis(100), "10,000 took {full:?}");
}
