//! Packages: installed once a set, found by what the agent runs, whole or not there at all.

use agent_runtime::{
    domain::{ProfileSetup, Skill},
    packages::{Error, Manager, Packages, Wanted},
};
use serde_json::json;
use tokio::process::Command;

use crate::{
    rig::{claude, of, results, runs, sandbox_message},
    support::{Server, play},
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
    let command = "node -e 'console.log(\"number\", require(\"is-number\")(5), \"odd\", require(\"is-odd\")(3))'; \
        semver 1.2.3; python3 -c 'import six; print(\"six\", six.__version__)'; \
        touch $NODE_PATH/new 2>/dev/null || echo read-only";
    let Some(mut house) = claude(setup, runs(command)).await else { return };
    let played = house.play("Look.").await;
    let result = results(&played).concat();
    for part in ["number true odd true", "1.2.3", "six 1.17.0", "read-only"] {
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
    assert!(left.iter().all(|entry| entry.file_name() == ".lock"), "{left:?}");
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
    let (one, two) = tokio::join!(packages.install(&wanted, &search), packages.install(&wanted, &search));
    let (one, two) = (one.expect("installed"), two.expect("installed"));
    assert_eq!(one, two);
    assert!(packages.has(&wanted, &search));
    assert!(one.modules.1.join("is-number/package.json").exists());
    let names: Vec<_> =
        std::fs::read_dir(folder.path()).expect("there").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(names.len(), 2, "the lock and the set: {names:?}");
    let made = |path: &std::path::Path| std::fs::metadata(path).expect("there").modified().expect("a time");
    let before = made(&one.folder);
    packages.install(&wanted, &search).await.expect("there already");
    assert_eq!(made(&one.folder), before, "it was installed again");

    let nowhere = packages.install(&wanted, "/nowhere").await.expect_err("there is no node");
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
    let failed = Packages::new(folder.path()).install(&wanted, &search).await.expect_err("it is not built");
    assert!(matches!(failed, Error::Failed { manager: Manager::Pip, .. }), "{failed}");
    assert!(failed.to_string().contains("docopt"), "{failed}");
}
