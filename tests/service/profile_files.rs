//! `agent-runtime profiles`: profiles as files.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use agent_runtime::proto;

use super::profile_changes::{create, get};
use crate::support::Server;

const YAML: &str = "\
name: reviewer
agent: scripted
systemPromptFrom: prompt.md
environment:
  TOKEN: {valueFromEnv: THE_TOKEN}
defaultWorkspaceFiles:
- {path: a.txt, contentFrom: files/a.txt, mode: 384}
";

struct Cli<'a> {
    server: &'a Server,
    folder: &'a Path,
    token: &'a str,
}

impl Cli<'_> {
    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_agent-runtime"));
        command.current_dir(self.folder).env("THE_TOKEN", self.token).arg("--data").arg(self.server.data());
        command.args(args).output().expect("it runs")
    }

    fn says(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    fn complains(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(!output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stderr).expect("text")
    }
}

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    fs::write(path, text).expect("written");
}

#[tokio::test]
async fn a_file_makes_a_profile_what_it_says() {
    let server = Server::start();
    let folder = tempfile::tempdir().expect("a folder");
    let cli = |token| Cli { server: &server, folder: folder.path(), token };
    write(folder.path(), "profile/reviewer.yaml", YAML);
    write(folder.path(), "profile/prompt.md", "Be kind.\n");
    write(folder.path(), "profile/files/a.txt", "hello");
    let apply = ["profiles", "apply", "-f", "profile/reviewer.yaml"];

    let said = cli("one").says(&apply);
    let id = said.strip_prefix("created reviewer (").and_then(|rest| rest.strip_suffix(")\n"));
    let id = id.unwrap_or_else(|| panic!("{said}")).to_owned();
    let mut profiles = server.profiles().await;
    let made = get(&mut profiles, &id, 0).await.expect("there");
    assert_eq!((made.system_prompt.as_str(), made.agent.as_str()), ("Be kind.\n", "scripted"));
    assert_eq!(made.default_workspace_files[0].content, b"hello".as_slice());
    assert_eq!(made.default_workspace_files[0].mode, 0o600);
    assert!(made.environment.contains_key("TOKEN"));

    assert_eq!(cli("one").says(&apply), format!("reviewer ({id}) is unchanged at revision 1\n"));
    assert_eq!(cli("two").says(&apply), format!("updated reviewer ({id}) to revision 2\n"), "another value");
    // What is shown can be applied: the secret stays, and so does everything else.
    let shown = cli("two").says(&["profiles", "get", "reviewer"]);
    write(folder.path(), "shown.yaml", &shown);
    assert_eq!(
        cli("two").says(&["profiles", "apply", "-f", "shown.yaml"]),
        format!("reviewer ({id}) is unchanged at revision 2\n")
    );
    let json = cli("two").says(&["profiles", "get", &id, "--json"]);
    write(folder.path(), "shown.json", &json);
    assert_eq!(
        cli("two").says(&["profiles", "apply", "-f", "shown.json"]),
        format!("reviewer ({id}) is unchanged at revision 2\n")
    );
    // What the file leaves out is cleared; by its id a profile can get another name.
    write(folder.path(), "less.json", &format!(r#"{{"profileId":"{id}","name":"renamed"}}"#));
    assert_eq!(
        cli("two").says(&["profiles", "apply", "-f", "less.json"]),
        format!("updated renamed ({id}) to revision 3\n")
    );
    let less = get(&mut profiles, &id, 0).await.expect("there");
    assert_eq!((less.system_prompt.as_str(), less.environment.len(), less.default_workspace_files.len()), ("", 0, 0));
    // The file was read before the profile changed.
    let lost = cli("two").complains(&["profiles", "apply", "-f", "shown.json"]);
    assert!(lost.contains("ETAG_MISMATCH"), "{lost}");
    let old = cli("two").says(&["profiles", "get", &id, "--revision", "2"]);
    assert!(old.contains("revision 2") && old.contains("Be kind."), "{old}");

    assert_eq!(cli("two").says(&["profiles", "delete", "renamed"]), format!("deleted {id}\n"));
    let gone = cli("two").complains(&["profiles", "get", "renamed"]);
    assert!(gone.contains("there is no profile renamed"), "{gone}");
    assert!(cli("two").says(&apply).starts_with("created reviewer ("));
}

#[tokio::test]
async fn what_a_file_says_wrong_is_told_with_its_place() {
    let server = Server::start();
    let folder = tempfile::tempdir().expect("a folder");
    let cli = Cli { server: &server, folder: folder.path(), token: "t" };
    for (text, place) in [
        ("name: a\nskils: []\n", "skils: unknown name"),
        ("name: a\nskills: [{name: b, content: c}]\n", "skills[0].content: unknown name"),
        ("name: a\ntools: [Bash(git)]\n", "profile.tools[0]"),
        ("name: a\nenvironment: {A: {}}\n", "profile.environment[\"A\"]"),
        ("name: a\nsystemPromptFrom: ../b\n", "systemPromptFrom"),
        ("name: [a\n", "line 1"),
    ] {
        write(folder.path(), "p.yaml", text);
        let complaint = cli.complains(&["profiles", "apply", "-f", "p.yaml"]);
        assert!(complaint.contains(place), "{text}: {complaint}");
    }
    let missing = cli.complains(&["profiles", "apply", "-f", "none.yaml"]);
    assert!(missing.contains("cannot read none.yaml"), "{missing}");
}

#[tokio::test]
async fn a_profile_is_found_by_its_name_or_its_id() {
    let server = Server::start();
    let folder = tempfile::tempdir().expect("a folder");
    let cli = Cli { server: &server, folder: folder.path(), token: "t" };
    let mut profiles = server.profiles().await;
    let named = |name: &str| proto::AgentProfile { name: name.into(), agent: "scripted".into(), ..Default::default() };
    let one = create(&mut profiles, named("one")).await.profile_id;
    create(&mut profiles, named("twice")).await;
    let twice = create(&mut profiles, named("twice")).await.profile_id;

    let mut sessions = server.sessions().await;
    for (wanted, expected) in [("one", &one), (one.as_str(), &one), (twice.as_str(), &twice)] {
        let session = cli.says(&["sessions", "create", "--profile", wanted]);
        let session = crate::support::get(&mut sessions, session.trim()).await;
        assert_eq!((&session.profile_id, session.agent.as_str()), (expected, "scripted"));
    }
    cli.says(&["run", "--profile", "one", "hello"]);
    let list = proto::ListSessionsRequest { profile_id: one.clone(), ..Default::default() };
    assert_eq!(sessions.list_sessions(list).await.expect("a list").into_inner().sessions.len(), 3);
    for args in [["sessions", "create", "--profile", "twice"], ["run", "--profile", "twice", "hello"]] {
        let complaint = cli.complains(&args);
        assert!(complaint.contains("several profiles are named twice") && complaint.contains(&twice), "{complaint}");
    }
    write(folder.path(), "twice.yaml", "name: twice\n");
    assert!(cli.complains(&["profiles", "apply", "-f", "twice.yaml"]).contains(&twice));
    assert!(cli.complains(&["run", "--profile", "none", "hello"]).contains("there is no profile none"));
}
