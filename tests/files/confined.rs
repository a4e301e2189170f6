//! Nothing leaves a folder: random and adversarial paths, and directories that become links while they are used.

use std::{
    fs,
    io::Read as _,
    os::unix::fs::symlink,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use agent_runtime::workspace::{Folder, Ignore, Scope, Tree, restore, scan};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};

use crate::ground::{Found, Ground, dump_closely};

const SECRET: &str = "nobody may read this";

/// Parts that paths are made of. None is the name of anything at home on a machine: where confinement is broken, this test
/// must fail and break nothing else.
const PARTS: &[&str] = &[
    "..",
    "..",
    ".",
    "",
    "a",
    "b",
    "f",
    "new",
    "out",
    "far",
    "up",
    "magic",
    "loop",
    "ring",
    "in",
    "dangling",
    "precious",
    "hollow",
    "\0",
    "a\0",
    "...",
    "-",
    "~",
    "*",
    "\\..\\",
    "%2e%2e",
    "\u{2024}\u{2024}",
    "a ",
];

/// Where links lead; "!" stands for the directory outside, by its absolute path.
const TARGETS: &[&str] = &[
    "..",
    "../..",
    "../outside",
    "../outside/precious",
    "!",
    "!/precious",
    "/proc/self/root!",
    "/proc/self/root!/precious",
    "a",
    "a/../..",
    "out",
    "./a/./b",
    "f",
    "../inside",
    "../inside/a",
    "a/b/../../../outside",
];

/// A folder full of traps, beside what nobody may touch.
fn traps() -> Ground {
    let ground = Ground::in_memory();
    let outside = ground.beside("outside");
    fs::create_dir_all(outside.join("hollow")).expect("made");
    fs::write(outside.join("precious"), SECRET).expect("written");
    symlink("precious", outside.join("link")).expect("linked");
    ground
}

/// Lays out the traps anew, in the same folder.
fn lay(ground: &Ground) {
    for entry in fs::read_dir(ground.root()).expect("listed").flatten() {
        let removed = if entry.file_type().expect("a type").is_dir() {
            fs::remove_dir_all(entry.path())
        } else {
            fs::remove_file(entry.path())
        };
        removed.expect("removed");
    }
    ground.write("f", "here");
    ground.write("a/b/f", "here");
    let outside = ground.beside("outside");
    for (link, target) in [
        ("out", "../outside"),
        ("far", outside.to_str().expect("text")),
        ("up", ".."),
        ("a/up", "../.."),
        ("a/b/up", "../../../outside"),
        ("magic", &format!("/proc/self/root{}", outside.display())),
        ("loop", "."),
        ("ring", "ring"),
        ("in", "a"),
        ("a/in", "../a/b"),
        ("dangling", "../outside/not-yet"),
        ("precious", "../outside/precious"),
        ("a/precious", "../../outside/precious"),
        ("hollow", "../outside/hollow"),
    ] {
        ground.link(link, target);
    }
}

fn path(random: &mut StdRng, ground: &Ground) -> String {
    match random.random_range(0..30) {
        0 => format!("{}/outside/precious", ground.root().parent().expect("a parent").display()),
        1 => "x/".repeat(random.random_range(0..600)) + "f",
        2 => "n".repeat(random.random_range(200..1100)),
        3 => "../".repeat(random.random_range(1..20)) + "outside/precious",
        4 => "/".to_owned() + PARTS.choose(random).expect("some"),
        _ => {
            let parts = random.random_range(1..6);
            (0..parts).map(|_| *PARTS.choose(random).expect("some")).collect::<Vec<_>>().join("/")
        }
    }
}

fn confined(folder: impl Fn(&Ground) -> Folder, count: usize, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let ground = traps();
    lay(&ground);
    let outside = ground.beside("outside");
    let untouched = dump_closely(&outside);
    let beside = || {
        let mut names: Vec<_> =
            fs::read_dir(ground.beside("")).expect("listed").flatten().map(|e| e.file_name()).collect();
        names.sort();
        names
    };
    let folder = folder(&ground);
    let mut done = 0;
    for round in 0..count {
        if round % 250 == 0 {
            lay(&ground);
        }
        let path = path(&mut random, &ground);
        let ok = match random.random_range(0..7) {
            0 => folder.write(&path, 0o644, &mut &b"written"[..], 100).is_ok(),
            1 => folder.delete(&path).is_ok(),
            2 => folder.make_dir(&path, 0o711).is_ok(),
            3 => {
                let target = TARGETS.choose(&mut random).expect("some").replace('!', &outside.display().to_string());
                folder.symlink(&path, &target).is_ok()
            }
            4 => folder.set_mode(&path, 0o700).is_ok(),
            5 => folder.entry(&path).is_ok(),
            _ => folder.read(&path).is_ok_and(|mut opened| {
                let mut text = String::new();
                opened.content.read_to_string(&mut text).expect("text");
                assert!(["here", "written"].contains(&&*text), "{path:?}: {text:?}");
                true
            }),
        };
        done += usize::from(ok);
        if round % 50 == 0 || round + 1 == count {
            assert_eq!(dump_closely(&outside), untouched, "by {round}, seed {seed}");
            let names = beside();
            assert!(names == ["inside", "outside", "staging"] || names == ["inside", "outside"], "{names:?}");
        }
    }
    // Paths that are all refused prove nothing.
    assert!(done > count / 20, "only {done} of {count} did anything");
    assert!(done < count * 9 / 10, "{done} of {count} did something: that is no test");
}

#[test]
fn a_hundred_thousand_paths_stay_inside() {
    confined(Ground::folder, 100_000, 4);
}

/// The same where the kernel does not help.
#[test]
fn paths_stay_inside_by_hand() {
    confined(|ground| ground.folder().by_hand(), 30_000, 5);
}

/// Both ways agree on what they open.
#[test]
fn by_hand_finds_what_the_kernel_finds() {
    let mut random = StdRng::seed_from_u64(6);
    let ground = traps();
    lay(&ground);
    let (kernel, hand) = (ground.folder(), ground.folder().by_hand());
    for _ in 0..20_000 {
        let path = path(&mut random, &ground);
        let (one, other) = (kernel.entry(&path), hand.entry(&path));
        assert_eq!(one.is_ok(), other.is_ok(), "{path:?}: {one:?}, {other:?}");
        assert_eq!(one.map(|entry| entry.file).ok(), other.map(|entry| entry.file).ok(), "{path:?}");
    }
}

/// A thread makes a directory a link to the outside and back, as fast as it can, while everything there is is done to it.
fn race(folder: impl Fn(&Ground) -> Folder) {
    let ground = traps();
    let outside = ground.beside("outside");
    // What is inside has the names of what is outside.
    ground.write("d/precious", "here");
    fs::create_dir(ground.path("d/hollow")).expect("made");
    fs::create_dir_all(ground.path("deep/er")).expect("made");
    ground.write("deep/er/precious", "here");
    symlink(&outside, ground.path("l")).expect("linked");
    symlink(&outside, ground.path("deep/l")).expect("linked");
    // And a file that is a link to one outside, from time to time.
    ground.write("file", "here");
    symlink(outside.join("precious"), ground.path("m")).expect("linked");
    let untouched = dump_closely(&outside);
    let content_outside = |found: &Found| matches!(found, Found::File(_, content) if content != SECRET.as_bytes());
    assert!(!untouched.iter().any(|(_, found, ..)| content_outside(found)));
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let swap = |one: PathBuf, other: PathBuf| {
                rustix::fs::renameat_with(
                    rustix::fs::CWD,
                    one,
                    rustix::fs::CWD,
                    other,
                    rustix::fs::RenameFlags::EXCHANGE,
                )
            };
            while !over.load(Ordering::Relaxed) {
                let _ = swap(ground.path("d"), ground.path("l"));
                let _ = swap(ground.path("deep/er"), ground.path("deep/l"));
                let _ = swap(ground.path("file"), ground.path("m"));
            }
        });
        let ended = Instant::now() + Duration::from_secs(4);
        let (mut inside, mut refused, mut round) = (0, 0, 0_u32);
        while Instant::now() < ended {
            round += 1;
            let folder = folder(&ground);
            let mut count = |ok: bool| if ok { inside += 1 } else { refused += 1 };
            for path in ["d/precious", "deep/er/precious", "l/precious", "deep/l/precious", "file", "m"] {
                if let Ok(mut opened) = folder.read(path) {
                    let mut text = String::new();
                    opened.content.read_to_string(&mut text).expect("text");
                    assert_ne!(text, SECRET);
                }
                let _ = folder.entry(path).map(|entry| assert_ne!(entry.file.size_bytes, 20));
                if let "file" | "m" = path {
                    let _ = folder.set_mode(path, 0o640);
                }
            }
            for above in ["d", "deep/er", "l", "deep/l"] {
                count(folder.write(&format!("{above}/precious"), 0o644, &mut &b"here"[..], 100).is_ok());
                count(folder.write(&format!("{above}/new/{round}"), 0o644, &mut &b"here"[..], 100).is_ok());
                count(folder.delete(&format!("{above}/new/{round}")).is_ok());
                count(folder.delete(&format!("{above}/hollow")).is_ok());
                count(folder.make_dir(&format!("{above}/hollow"), 0o700).is_ok());
                count(folder.set_mode(&format!("{above}/precious"), 0o600).is_ok());
            }
            let tree = scan(&folder, &Scope { ignore: Ignore::Nothing, ..Scope::kept() }, &Tree::default());
            let secret = i64::try_from(SECRET.len()).expect("short");
            assert!(tree.is_ok_and(|tree| tree.files().all(|file| file.size_bytes != secret)));
            // Everything goes, except what is outside; then it is there again.
            if round % 20 == 0 {
                let only = Scope { ignore: Ignore::Nothing, ..Scope::only(["d/new", "l/new", "deep/er/new"]) };
                let _ = restore(&folder, &only, &[], &mut |_| unreachable!("there are no files"));
            }
        }
        over.store(true, Ordering::Relaxed);
        println!("{round} rounds: {inside} inside, {refused} refused");
        assert!(inside > 0 && refused > 0, "{inside} inside, {refused} refused: no race");
    });
    assert_eq!(dump_closely(&outside), untouched);
}

#[test]
fn directories_that_become_links_lead_nowhere() {
    race(Ground::folder);
}

#[test]
fn directories_that_become_links_lead_nowhere_by_hand() {
    race(|ground| ground.folder().by_hand());
}
