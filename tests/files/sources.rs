//! Workspaces that start from somewhere else.

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::AtomicBool,
    time::{Duration, Instant},
};

use agent_runtime::workspace::{Cloning, Copying, Error, GitSource, clone, copy_directory};
use axum::{Router, extract::State, http::StatusCode, http::Uri};
use tempfile::TempDir;

use crate::ground::{Ground, dump};

/// Runs git as a developer would, and returns what it prints.
pub(crate) fn git(at: &Path, arguments: &[&str]) -> String {
    let out = Command::new("git")
        .args(["-c", "init.defaultBranch=main", "-c", "core.hooksPath=/dev/null"])
        .args(arguments)
        .current_dir(at)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .envs([("GIT_AUTHOR_NAME", "a"), ("GIT_AUTHOR_EMAIL", "a@example"), ("GIT_COMMITTER_NAME", "c")])
        .env("GIT_COMMITTER_EMAIL", "c@example")
        .output()
        .expect("git is installed");
    assert!(out.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).expect("text")
}

/// A repository with a history, a branch, a tag, and things a hostile one might hold.
pub(crate) struct Origin {
    dir: TempDir,
    pub(crate) first: String,
}

impl Origin {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let work = dir.path().join("work");
        fs::create_dir(&work).expect("made");
        git(&work, &["init", "-q"]);
        fs::write(work.join("README"), "first\n").expect("written");
        fs::write(work.join("run.sh"), "#!/bin/sh\n").expect("written");
        fs::set_permissions(work.join("run.sh"), fs::Permissions::from_mode(0o755)).expect("set");
        std::os::unix::fs::symlink("README", work.join("link")).expect("linked");
        git(&work, &["add", "."]);
        git(&work, &["commit", "-qm", "first"]);
        let first = git(&work, &["rev-parse", "HEAD"]).trim().to_owned();
        git(&work, &["tag", "v1"]);
        git(&work, &["checkout", "-qb", "topic/one"]);
        fs::write(work.join("topic"), "topic\n").expect("written");
        git(&work, &["add", "."]);
        git(&work, &["commit", "-qm", "on the branch"]);
        git(&work, &["checkout", "-q", "main"]);
        fs::write(work.join("README"), "second\n").expect("written");
        fs::write(work.join(".gitmodules"), "[submodule \"s\"]\n\tpath = s\n\turl = ../../escape\n").expect("written");
        git(&work, &["add", "."]);
        git(&work, &["commit", "-qm", "second"]);
        let origin = Self { dir, first };
        origin.publish();
        origin
    }

    /// As a plain server of files shows it.
    fn publish(&self) {
        let bare = self.bare();
        git(self.dir.path(), &["clone", "-q", "--bare", "work", bare.to_str().expect("text")]);
        git(&bare, &["update-server-info"]);
    }

    fn bare(&self) -> PathBuf {
        self.dir.path().join("bare.git")
    }

    /// Serves it on loopback until the test is over, and says where.
    pub(crate) async fn serve(&self) -> String {
        async fn file(State(root): State<PathBuf>, uri: Uri) -> Result<Vec<u8>, StatusCode> {
            let path = uri.path().trim_start_matches('/');
            if path.contains("hang") {
                std::future::pending::<()>().await;
            }
            fs::read(root.join(path)).map_err(|_| StatusCode::NOT_FOUND)
        }
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("an address");
        let router = Router::new().fallback(file).with_state(self.dir.path().to_owned());
        let tasks = tokio_util::task::TaskTracker::new();
        tasks.spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}/bare.git")
    }
}

pub(crate) fn cloning() -> Cloning {
    // Loopback has no TLS; the server's own default has no http.
    Cloning { protocols: vec!["http".to_owned()], ..Cloning::default() }
}

fn source(url: &str, reference: &str, depth: u32) -> GitSource {
    GitSource { url: url.to_owned(), reference: reference.to_owned(), depth }
}

async fn cloned(ground: &Ground, source: GitSource, cloning: Cloning) -> Result<(), Error> {
    let folder = ground.folder();
    let done = tokio::task::spawn_blocking(move || clone(&folder, &source, &cloning, &AtomicBool::new(false)));
    let done = done.await.expect("it ended");
    ground.nothing_staged();
    done
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_is_what_was_asked_for() {
    let origin = Origin::new();
    let url = origin.serve().await;
    let subject = |ground: &Ground| git(&ground.root(), &["log", "-1", "--format=%s"]).trim().to_owned();
    for (reference, expected) in [
        ("", "second"),
        ("main", "second"),
        ("topic/one", "on the branch"),
        ("v1", "first"),
        (&origin.first, "first"),
        (&origin.first[..8], "first"),
    ] {
        let ground = Ground::new();
        cloned(&ground, source(&url, reference, 0), cloning()).await.expect("cloned");
        assert_eq!(subject(&ground), expected, "{reference:?}");
        assert_eq!(git(&ground.root(), &["status", "--porcelain"]), "");
        assert_eq!(git(&ground.root(), &["remote", "get-url", "origin"]).trim(), url);
        git(&ground.root(), &["fsck", "--strict"]);
        assert!(!ground.path("s").exists() || fs::read_dir(ground.path("s")).expect("listed").next().is_none());
    }
}

/// What a smart server gives shallow comes shallow, and a commit by its name too.
#[tokio::test(flavor = "multi_thread")]
async fn a_shallow_clone_is_shallow() {
    let origin = Origin::new();
    let url = format!("file://{}", origin.bare().display());
    git(&origin.bare(), &["config", "uploadpack.allowAnySHA1InWant", "true"]);
    let files = Cloning { protocols: vec!["file".to_owned()], ..Cloning::default() };
    for (reference, subjects) in [("main", "second\n"), (&origin.first, "first\n")] {
        let ground = Ground::new();
        cloned(&ground, source(&url, reference, 1), files.clone()).await.expect("cloned");
        assert_eq!(git(&ground.root(), &["log", "--format=%s"]), subjects);
    }
    // Files of the server's machine are no place to clone from unless that is allowed.
    let ground = Ground::new();
    let refused = cloned(&ground, source(&url, "", 0), Cloning::default()).await;
    assert!(matches!(&refused, Err(Error::Source(said)) if said.contains("not allowed")), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_git_says_is_passed_on() {
    let origin = Origin::new();
    let url = origin.serve().await;
    let ground = Ground::new();
    let missing = url.replace("//", "//somebody@").replace("bare.git", "none.git");
    for (url, reference, word) in [(&*missing, "", "not found"), (&url, "no-such-branch", "no-such-branch")] {
        let Err(Error::Source(said)) = cloned(&ground, source(url, reference, 0), cloning()).await else {
            panic!("{url} was cloned")
        };
        assert!(said.contains(word) && !said.contains("somebody"), "{said}");
        assert!(dump(&ground.root()).is_empty());
    }
    ground.write("x", "there");
    let full = cloned(&ground, source(&url, "", 0), cloning()).await;
    assert!(matches!(&full, Err(Error::Source(said)) if said.contains("not empty")), "{full:?}");
}

/// No configuration, hook or variable of the server's user reaches git.
#[tokio::test(flavor = "multi_thread")]
async fn a_clone_leaves_nothing_of_the_server_behind() {
    let origin = Origin::new();
    let url = origin.serve().await;
    let ground = Ground::new();
    cloned(&ground, source(&url, "", 0), cloning()).await.expect("cloned");
    let config = fs::read_to_string(ground.path(".git/config")).expect("read");
    for line in config.lines().map(str::trim) {
        let known = [
            "[core]",
            "repositoryformatversion",
            "filemode",
            "bare",
            "logallrefupdates",
            "[remote",
            "url",
            "fetch",
            "[branch",
            "remote",
            "merge",
        ];
        assert!(known.iter().any(|known| line.starts_with(known)), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_that_takes_too_much_is_given_up() {
    let origin = Origin::new();
    let url = origin.serve().await;
    let ground = Ground::new();
    let small = Cloning { max_bytes: 1000, ..cloning() };
    assert!(matches!(cloned(&ground, source(&url, "", 0), small).await, Err(Error::TooLarge { limit: 1000, .. })));
    let hanging = url.replace("bare.git", "hang.git");
    let short = Cloning { time: Duration::from_millis(300), ..cloning() };
    let started = Instant::now();
    let late = cloned(&ground, source(&hanging, "", 0), short).await;
    assert!(matches!(late, Err(Error::TooLarge { .. })), "{late:?}");
    assert!(started.elapsed() < Duration::from_secs(10));
    // And when nobody wants it any more.
    let stop = AtomicBool::new(true);
    let folder = ground.folder();
    let stopped = tokio::task::spawn_blocking(move || clone(&folder, &source(&hanging, "", 0), &cloning(), &stop));
    let stopped = stopped.await.expect("it ended");
    assert!(matches!(&stopped, Err(Error::Source(said)) if said.contains("given up")), "{stopped:?}");
    assert!(dump(&ground.root()).is_empty());
    ground.nothing_staged();
}

fn copying(ground: &Ground) -> Copying {
    Copying {
        roots: vec![ground.beside("allowed")],
        hidden: vec![ground.beside("allowed/data")],
        max_entries: 100,
        max_bytes: 10_000,
    }
}

#[test]
fn a_directory_is_copied() {
    let ground = Ground::new();
    let from = ground.beside("allowed/project");
    fs::create_dir_all(from.join("src/empty")).expect("made");
    fs::write(from.join("src/x"), "text").expect("written");
    fs::set_permissions(from.join("src/x"), fs::Permissions::from_mode(0o751)).expect("set");
    fs::set_permissions(from.join("src"), fs::Permissions::from_mode(0o500)).expect("set");
    std::os::unix::fs::symlink("/etc/passwd", from.join("link")).expect("linked");
    std::os::unix::fs::symlink("../..", from.join("up")).expect("linked");
    rustix::fs::mkfifoat(rustix::fs::CWD, from.join("pipe"), rustix::fs::Mode::RWXU).expect("made");
    let mut expected = dump(&from);
    expected.remove(Path::new("pipe"));
    assert_eq!(copy_directory(&ground.folder(), &from, &copying(&ground)), Ok(3));
    assert_eq!(dump(&ground.root()), expected);
    ground.nothing_staged();
    // Twice is too much.
    assert!(matches!(copy_directory(&ground.folder(), &from, &copying(&ground)), Err(Error::Source(_))));
}

#[test]
fn only_what_is_allowed_is_copied() {
    let ground = Ground::new();
    let allowed = ground.beside("allowed");
    for folder in ["project", "data/store"] {
        fs::create_dir_all(allowed.join(folder)).expect("made");
    }
    fs::create_dir_all(ground.beside("allowed-not")).expect("made");
    fs::write(allowed.join("file"), "x").expect("written");
    std::os::unix::fs::symlink(ground.beside("allowed-not"), allowed.join("out")).expect("linked");
    std::os::unix::fs::symlink("project", allowed.join("near")).expect("linked");
    let copy = |from: &Path| copy_directory(&ground.folder(), from, &copying(&ground));
    for (from, word) in [
        (ground.beside("allowed-not"), "no directory below a root"),
        (allowed.join("project/../../allowed-not"), "no directory below a root"),
        (allowed.join("out"), "no directory below a root"),
        (allowed.join("missing"), "no directory below a root"),
        (allowed.join("file"), "no directory below a root"),
        (PathBuf::from("/etc"), "no directory below a root"),
        (PathBuf::from("allowed/project"), "not an absolute path"),
        (allowed.join("data/store"), "keeps for itself"),
        (allowed.clone(), "keeps for itself"),
    ] {
        let Err(Error::Source(said)) = copy(&from) else { panic!("{} was copied", from.display()) };
        assert!(said.contains(word), "{}: {said}", from.display());
    }
    assert!(
        copy_directory(&ground.folder(), &allowed.join("project"), &Copying { roots: Vec::new(), ..copying(&ground) })
            .is_err()
    );
    // A link that stays below a root is the directory it leads to.
    assert_eq!(copy(&allowed.join("near")), Ok(0));
    let large = allowed.join("large");
    fs::create_dir(&large).expect("made");
    File::create(large.join("x")).expect("made").write_all(&[0; 10_001]).expect("written");
    assert!(matches!(copy(&large), Err(Error::TooLarge { limit: 10_000, .. })));
    fs::remove_file(large.join("x")).expect("removed");
    for at in 0..101 {
        fs::write(large.join(at.to_string()), "").expect("written");
    }
    assert!(matches!(copy(&large), Err(Error::TooLarge { limit: 100, .. })));
    assert!(dump(&ground.root()).is_empty());
    ground.nothing_staged();
}
