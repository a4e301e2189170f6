//! Packages: installed once a set, found by what the agent runs, whole or not there at all.

use std::os::unix::fs::PermissionsExt as _;

use agent_runtime::{
    domain::{ProfileSetup, Skill},
    packages::{Error, Manager, Packages, Wanted},
    proto::{self, TurnStatus},
};
use serde_json::json;
use tokio::process::Command;

use crate::{
    rig::{claude, of, results, runs, sandbox_message},
    support::{PATIENCE, Server, play, send, stop},
};

/// Where the tests' own programs are looked for.
fn search() -> String {
    std::env::var("PATH").unwrap_or_default()
}

/// Whether this machine has these; CI must.
async fn has(program: &str, args: &[&str]) -> bool {
    let ran = Command::new(program).args(args).output().await;
    let has = ran.is_ok_and(|output| output.status.success());
    if !has {
        println!("SKIPPED: there is no {program} {args:?}");
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI must have {program}");
    }
    has
}

#[tokio::test]
async fn packages_of_both_sorts_are_found_by_the_agents_programs() {
    if !has("npm", &["--version"]).await || !has("python3", &["-m", "pip", "--version"]).await {
        return;
    }
    let skill = Skill {
        name: "numbers".into(),
        description: "Numbers".into(),
        body: "Use is-odd.".into(),
        supporting_files: Vec::new(),
        npm_dependencies: vec!["is-odd@3.0.1".into()],
        pip_dependencies: Vec::new(),
    };
    let setup = ProfileSetup {
        skills: vec![skill],
        npm_dependencies: vec!["is-number@7.0.0".into(), "semver@7.6.3".into()],
        pip_dependencies: vec!["six==1.17.0".into()],
        ..ProfileSetup::default()
    };
    // What imports looks in the folders above itself, what requires also where a variable says.
    let command = "node -e 'console.log(\"number\", require(\"is-number\")(5), \"odd\", require(\"is-odd\")(3))'; \
        mkdir -p src ~/lib; echo 'import odd from \"is-odd\"; console.log(\"imported\", odd(3))' | tee src/a.mjs > ~/lib/b.mjs; \
        node src/a.mjs; node ~/lib/b.mjs; \
        semver 1.2.3; python3 -c 'import six; print(\"six\", six.__version__)'; \
        touch $NODE_PATH/new 2>/dev/null || echo read-only";
    let Some(mut house) = claude(setup, runs(command)).await else { return };
    let played = house.play("Look.").await;
    let result = results(&played).concat();
    for part in ["number true odd true", r"imported true\nimported true", "1.2.3", "six 1.17.0", "read-only"] {
        assert!(result.contains(part), "{part} is not in {result}");
    }
    let told: Vec<String> = played.events.iter().filter_map(sandbox_message).collect();
    assert!(told.iter().any(|told| told == "installing npm packages"), "{told:?}");
    assert!(told.iter().any(|told| told == "installing pip packages"), "{told:?}");
    // The next session finds them.
    let again = house.play("Look.").await;
    assert!(again.events.iter().filter_map(sandbox_message).all(|told| !told.contains("packages")));
    assert!(results(&again).concat().contains("six 1.17.0"));
}

#[tokio::test]
async fn a_package_that_is_none_fails_the_session_with_what_the_tool_said() {
    if !has("npm", &["--version"]).await {
        return;
    }
    let data = tempfile::tempdir().expect("a folder");
    let setup = ProfileSetup { npm_dependencies: vec!["is-number@999.0.0".into()], ..ProfileSetup::default() };
    crate::rig::store(data.path(), setup, 1).await;
    let server = Server::start_on(data.path(), &[]);
    let mut sessions = server.sessions().await;
    let id =
        sessions.create_session(of("scripted")).await.expect("created").into_inner().session.expect("one").session_id;
    let failed = play(&mut sessions, &id, &json!({ "say": "hello" }).to_string()).await;
    crate::rig::failed(&failed, "is-number@999.0.0");
    let left: Vec<_> = std::fs::read_dir(data.path().join("cache/packages")).expect("the cache").flatten().collect();
    let is_kept = |name: std::ffi::OsString| name == ".lock" || name == ".uses";
    assert!(left.iter().all(|entry| is_kept(entry.file_name())), "{left:?}");
}

#[tokio::test]
async fn what_is_half_installed_is_not_used_and_several_install_once() {
    if !has("npm", &["--version"]).await {
        return;
    }
    let (folder, search) = (tempfile::tempdir().expect("a folder"), search());
    let packages = Packages::new(folder.path());
    // What an installation left that was killed.
    std::fs::create_dir_all(folder.path().join(".installing-killed/node_modules/is-number")).expect("made");
    let wanted = Wanted::new(Manager::Npm, ["is-number@7.0.0".to_owned()]).expect("one");
    assert!(!packages.has(&wanted, &search));
    let (one, two) = tokio::join!(packages.install(&wanted, &search, None), packages.install(&wanted, &search, None));
    let (one, two) = (one.expect("installed"), two.expect("installed"));
    assert_eq!(one, two);
    assert!(packages.has(&wanted, &search));
    assert!(one.modules.1.join("is-number/package.json").exists());
    let names: Vec<_> =
        std::fs::read_dir(folder.path()).expect("there").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(names.len(), 3, "the lock, the set, and that it is used: {names:?}");
    let made = |path: &std::path::Path| std::fs::metadata(path).expect("there").modified().expect("a time");
    let before = made(&one.folder);
    packages.install(&wanted, &search, None).await.expect("there already");
    assert_eq!(made(&one.folder), before, "it was installed again");

    let nowhere = packages.install(&wanted, "/nowhere", None).await.expect_err("there is no node");
    assert!(matches!(nowhere, Error::NoInterpreter { program: "node", .. }), "{nowhere}");
}

#[tokio::test]
async fn what_would_have_to_be_built_is_not_installed() {
    if !has("python3", &["-m", "pip", "--version"]).await {
        return;
    }
    let (folder, search) = (tempfile::tempdir().expect("a folder"), search());
    // There is no wheel of it: to install it means to run its setup.py.
    let wanted = Wanted::new(Manager::Pip, ["docopt==0.6.2".to_owned()]).expect("one");
    let failed = Packages::new(folder.path()).install(&wanted, &search, None).await.expect_err("it is not built");
    assert!(matches!(failed, Error::Failed { manager: Manager::Pip, .. }), "{failed}");
    assert!(failed.to_string().contains("docopt"), "{failed}");
}

#[tokio::test]
async fn a_set_that_takes_its_time_keeps_no_other_waiting() {
    if !has("node", &["--version"]).await {
        return;
    }
    // An npm whose registry is slow for one package.
    let (data, programs) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let began = programs.path().join("began");
    let npm = programs.path().join("npm");
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *slow*) touch {}; exec sleep 600;; esac\nmkdir -p node_modules/.bin\n",
        began.display()
    );
    std::fs::write(&npm, script).expect("written");
    std::fs::set_permissions(&npm, std::fs::Permissions::from_mode(0o755)).expect("a program");
    let path = format!("{}:{}", programs.path().display(), search());
    let server = Server::start_on_with(data.path(), &[], &[("PATH", &path)]);
    let mut sessions = server.sessions().await;
    let mut ids = Vec::new();
    for package in ["slow", "quick"] {
        ids.push(with(&server, package).await);
    }
    let say = json!({ "say": "hello" }).to_string();
    send(&mut sessions, &ids[0], &say).await.expect("accepted");
    let begins = async {
        while !began.exists() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, begins).await.expect("it installs");
    let played = play(&mut sessions, &ids[1], &say).await;
    assert_eq!(played.turn.status(), TurnStatus::Completed, "{:?}", played.turn.error);
    stop(&mut sessions, &ids[0]).await;
}

/// A session of a profile with this npm package.
async fn with(server: &Server, package: &str) -> String {
    let (mut sessions, mut profiles) = (server.sessions().await, server.profiles().await);
    let profile = proto::AgentProfile {
        name: package.into(),
        agent: "scripted".into(),
        npm_dependencies: vec![package.into()],
        ..Default::default()
    };
    let request = proto::CreateProfileRequest { profile: Some(profile), ..Default::default() };
    let created = profiles.create_profile(request).await.expect("created").into_inner();
    let profile_id = created.profile.expect("one").profile_id;
    let request = proto::CreateSessionRequest { profile_id, ..Default::default() };
    sessions.create_session(request).await.expect("created").into_inner().session.expect("one").session_id
}

#[tokio::test]
async fn packages_go_when_no_sandbox_is_left_that_uses_them_and_come_back() {
    if !has("node", &["--version"]).await {
        return;
    }
    let (data, programs) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let npm = programs.path().join("npm");
    std::fs::write(&npm, "#!/bin/sh\nmkdir -p node_modules/.bin\n").expect("written");
    std::fs::set_permissions(&npm, std::fs::Permissions::from_mode(0o755)).expect("a program");
    let path = format!("{}:{}", programs.path().display(), search());
    let options = ["--keep-packages", "0s"];
    let server = Server::start_on_with(data.path(), &options, &[("PATH", &path)]);
    let say = json!({ "say": "hello" }).to_string();
    let mut ids = Vec::new();
    for package in ["one", "two"] {
        let (mut sessions, id) = (server.sessions().await, with(&server, package).await);
        assert_eq!(play(&mut sessions, &id, &say).await.turn.status(), TurnStatus::Completed);
        ids.push(id);
    }
    let cache = data.path().join("cache/packages");
    let sets = || {
        let names = std::fs::read_dir(&cache).expect("the cache").flatten().map(|entry| entry.file_name());
        names.filter(|name| name.to_string_lossy().starts_with("npm-")).count()
    };
    // The next server knows of them, too.
    server.kill();
    let server = Server::start_on_with(data.path(), &options, &[("PATH", &path)]);
    let mut sessions = server.sessions().await;
    let request = proto::DeleteSessionRequest { session_id: ids.remove(0), ..Default::default() };
    sessions.delete_session(request).await.expect("deleted");
    let goes = async {
        while sets() != 1 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, goes).await.expect("it is removed");
    // That it looks a few times more changes nothing.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert_eq!(sets(), 1, "what a sandbox uses was removed");
    let (mut sessions, id) = (server.sessions().await, with(&server, "one").await);
    assert_eq!(play(&mut sessions, &id, &say).await.turn.status(), TurnStatus::Completed);
    assert_eq!(sets(), 2, "it is installed again");
}
