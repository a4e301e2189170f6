//! What a session had comes back when its sandbox is gone: the workspace with its repository, and what the agent remembers,
//! both from one checkpoint.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use agent_runtime::{
    dev::model::{self, Kind as Asked, Script},
    proto::{self, FileChangeOrigin, SandboxStatus, SessionEvent, TurnStatus, block::Content, session_event::Kind},
};
use serde_json::json;
use tokio::net::TcpListener;

use crate::{
    cli, disk,
    support::{Played, Server, destroy, ended, get, play, scripted, send, stop, taken_up, until, until_end_of, watch},
};

/// A repository with history, a branch, a change that is staged, one that is not, and everything a tree can hold.
const REPOSITORY: &str = "set -e; git init -q -b main; git config user.email a@example.org; git config user.name A; \
    printf 'first\\n' >a.txt; echo node_modules >.gitignore; mkdir -p src/deep; printf '\\000\\001' >src/deep/b.bin; git add -A; git commit -qm one; \
    git checkout -qb topic; printf 'second\\n' >>a.txt; git commit -qam two; printf 'staged\\n' >c.txt; git add c.txt; \
    printf 'loose\\n' >>a.txt; ln -s src/deep/b.bin link; ln -s /nowhere dangling; printf '#!/bin/sh\\n' >run.sh; \
    chmod 755 run.sh; printf 'key\\n' >private; chmod 600 private; mkdir empty; mkdir -p node_modules/x; \
    echo rebuilt >node_modules/x/y; printf 'x' >'name with spaces'";

fn git(workspace: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command.arg("-C").arg(workspace).args(["-c", "safe.directory=*"]).args(arguments);
    let done = command.env("GIT_OPTIONAL_LOCKS", "0").output().expect("git");
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("text")
}

/// All that git says of a repository.
fn repository(workspace: &Path) -> [String; 4] {
    git(workspace, &["fsck", "--strict"]);
    [
        git(workspace, &["log", "--all", "--format=%H %an %s", "--graph"]),
        git(workspace, &["status", "--porcelain=v2", "--branch"]),
        git(workspace, &["diff", "--cached"]),
        git(workspace, &["stash", "list"]),
    ]
}

fn shell(command: &str) -> String {
    json!([{"run": command}]).to_string()
}

fn described(events: &[SessionEvent]) -> Vec<&proto::Sandbox> {
    let sandboxes = events.iter().filter_map(|event| match &event.kind {
        Some(Kind::SandboxChanged(changed)) => changed.sandbox.as_ref(),
        _ => None,
    });
    sandboxes.collect()
}

/// What the last tool call printed.
fn printed(played: &Played) -> &str {
    let mut results = played.contents().into_iter().filter_map(|content| match content {
        Content::ToolResult(result) => Some(result),
        _ => None,
    });
    let last = results.next_back().expect("a result");
    match &last.output {
        Some(proto::tool_result::Output::Text(text)) => text,
        other => panic!("{other:?}"),
    }
}

/// The last event that goes with a turn's end: what the session is after it.
fn settled(played: &Played) -> i64 {
    let end = played.events.iter().rposition(|event| ended(event, &played.turn.turn_id)).expect("its end");
    let status = played.events.get(end + 1).expect("what follows");
    assert!(matches!(status.kind, Some(Kind::StatusChanged(_))), "{status:?}");
    status.sequence
}

async fn workspace(server: &Server, sessions: &mut crate::support::Sessions, id: &str) -> PathBuf {
    disk::sandbox(server, &get(sessions, id).await).join("workspace")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_comes_back_when_the_sandbox_is_destroyed_between_turns() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let made = play(&mut sessions, &id, &shell(REPOSITORY)).await;
    assert_eq!(made.turn.status(), TurnStatus::Completed, "{:?}", made.turn.error);
    let first = disk::sandbox(&server, &get(&mut sessions, &id).await);
    let was = (repository(&first.join("workspace")), disk::things(&first.join("workspace"), true));
    let turn_end = settled(&made);

    destroy(&first);
    let after = play(&mut sessions, &id, &shell("cat a.txt; git log --oneline | wc -l")).await;
    assert_eq!(after.turn.status(), TurnStatus::Completed, "{:?}", after.turn.error);
    assert_eq!(printed(&after), "first\nsecond\nloose\n2\n");
    let session = get(&mut sessions, &id).await;
    let now = session.sandbox.clone().expect("a sandbox");
    assert_eq!((now.generation, now.status()), (2, SandboxStatus::Ready));
    assert_eq!(now.restored_to_sequence, turn_end, "back to the end of the turn");
    let told = described(&after.events);
    let starting = told.iter().find(|sandbox| sandbox.generation == 2).expect("told");
    assert_eq!((starting.status(), starting.restored_to_sequence), (SandboxStatus::Starting, turn_end));
    let second = disk::sandbox(&server, &session);
    assert_ne!(first, second, "another sandbox");
    assert_eq!(repository(&second.join("workspace")), was.0);
    let kept = was.1.into_iter().filter(|(path, _)| !path.starts_with("node_modules")).collect();
    assert_eq!(disk::things(&second.join("workspace"), true), kept);
    assert_eq!(disk::told(&after.state), disk::things(&second.join("workspace"), false));
}

/// The sandbox goes while a turn runs: the turn is lost at once, and what it changed since the checkpoint with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_turn_whose_sandbox_is_destroyed_is_lost_and_its_files_go_back() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let first = play(&mut sessions, &id, &shell("echo kept >kept.txt")).await;
    let checkpoint = settled(&first);
    let folder = disk::sandbox(&server, &get(&mut sessions, &id).await);

    let text = json!([{"run": "echo lost >lost.txt; echo changed >kept.txt"}, {"count": 100_000, "pace_ms": 5}]);
    let (turn, sequence) = send(&mut sessions, &id, &text.to_string()).await.expect("accepted");
    let mut stream = watch(&mut sessions, &id, Some(sequence)).await.expect("a watch");
    until(&mut stream, |event| matches!(event.kind, Some(Kind::FilesChanged(_)))).await;
    let began = Instant::now();
    destroy(&folder);
    let events = until_end_of(&mut stream, &turn.turn_id).await;
    let took = began.elapsed();
    assert!(took < Duration::from_secs(2), "it took {took:?}");
    let lost = crate::support::last_turn(&events);
    assert_eq!(lost.status(), TurnStatus::Lost);
    assert_eq!(lost.error.expect("an error").metadata["cause"], "sandbox_lost");

    let after = play(&mut sessions, &id, &shell("ls; cat kept.txt")).await;
    assert_eq!(printed(&after), "kept.txt\nkept\n");
    let now = get(&mut sessions, &id).await.sandbox.expect("a sandbox");
    assert_eq!((now.generation, now.restored_to_sequence), (2, checkpoint));
    // What the log told of and is no more is told too, and by whom.
    let restored: Vec<_> = after
        .events
        .iter()
        .filter_map(|event| match &event.kind {
            Some(Kind::FilesChanged(changed)) => Some(&changed.changes),
            _ => None,
        })
        .flatten()
        .filter(|change| change.origin() == FileChangeOrigin::Restore)
        .map(|change| change.file.as_ref().expect("a file").path.as_str())
        .collect();
    assert_eq!(restored, ["lost.txt", "kept.txt"]);
    let root = workspace(&server, &mut sessions, &id).await;
    assert_eq!(disk::told(&after.state), disk::things(&root, false));
}

/// The very first turn loses its sandbox: there is nothing to bring back, and the session goes on all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_that_is_lost_in_the_first_turn_is_followed_by_an_empty_one() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let text = json!([{"run": "echo x >x"}, {"count": 100_000, "pace_ms": 5}]).to_string();
    let (turn, sequence) = send(&mut sessions, &id, &text).await.expect("accepted");
    let mut stream = watch(&mut sessions, &id, Some(sequence)).await.expect("a watch");
    until(&mut stream, taken_up).await;
    destroy(&disk::sandbox(&server, &get(&mut sessions, &id).await));
    until_end_of(&mut stream, &turn.turn_id).await;
    let after = play(&mut sessions, &id, &shell("ls -A")).await;
    assert_eq!((after.turn.status(), printed(&after)), (TurnStatus::Completed, ""));
    let now = get(&mut sessions, &id).await.sandbox.expect("a sandbox");
    assert_eq!((now.generation, now.restored_to_sequence), (2, 2), "as the session began");
    assert!(after.state.files.is_empty());
}

/// What was told while the turn ran, and is as it was told when the turn ends, is kept as well.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_told_before_the_end_of_its_turn_comes_back() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let text = json!([{"run": "echo early >early.txt"}, {"pause_ms": 3_000}]).to_string();
    let (turn, sequence) = send(&mut sessions, &id, &text).await.expect("accepted");
    let mut stream = watch(&mut sessions, &id, Some(sequence)).await.expect("a watch");
    let is_told = |event: &SessionEvent| matches!(event.kind, Some(Kind::FilesChanged(_)));
    until(&mut stream, |event| is_told(event) || ended(event, &turn.turn_id)).await;
    until_end_of(&mut stream, &turn.turn_id).await;
    destroy(&disk::sandbox(&server, &get(&mut sessions, &id).await));
    // A message that comes before that is noticed is given to who is dead already, and its turn is lost.
    while get(&mut sessions, &id).await.sandbox.expect("a sandbox").status() != SandboxStatus::Terminated {
        tokio::task::yield_now().await;
    }
    let after = play(&mut sessions, &id, &shell("cat early.txt")).await;
    assert_eq!((after.turn.status(), printed(&after)), (TurnStatus::Completed, "early\n"));
}

/// The sandbox is destroyed while no server runs, or only its workspace is.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_lost_while_no_server_ran_comes_back() {
    for half in [false, true] {
        let data = tempfile::tempdir().expect("a folder");
        let server = Server::start_on(data.path(), &[]);
        let mut sessions = server.sessions().await;
        let id = scripted(&mut sessions).await.session_id;
        play(&mut sessions, &id, &shell(REPOSITORY)).await;
        stop(&mut sessions, &id).await;
        let folder = disk::sandbox(&server, &get(&mut sessions, &id).await);
        let was = repository(&folder.join("workspace"));
        drop(server);
        if half {
            fs::remove_dir_all(folder.join("workspace")).expect("removed");
        } else {
            destroy(&folder);
        }
        let server = Server::start_on(data.path(), &[]);
        let mut sessions = server.sessions().await;
        play(&mut sessions, &id, "hello").await;
        let root = workspace(&server, &mut sessions, &id).await;
        assert_eq!(repository(&root), was);
        assert_eq!(get(&mut sessions, &id).await.sandbox.expect("a sandbox").generation, 2);
    }
}

/// The agent remembers what the checkpoint knows: the real CLI goes on in the same session of its own.
#[tokio::test(flavor = "multi_thread")]
async fn the_real_agent_goes_on_where_the_checkpoint_stood() {
    let Some(program) = cli::installed().await else { return };
    let script = json!({"steps": [
        { "answer": [{ "text": "I remember {{prompt}}" }] },
        { "answer": [{ "text": "Second answer." }] },
        { "answer": [{ "text": "Third answer." }] },
    ]});
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let model = model::serve(listener, Script::parse(&script.to_string()).expect("a script")).expect("loopback");
    let [(name, url), (key_name, key)] = model.env();
    let env = [(name, url.as_str()), (key_name, key.as_str()), ("CLAUDE_CODE_MAX_RETRIES", "1")];
    let server = Server::start_with(&["--claude-code", program.to_str().expect("a path")], &env);
    let mut sessions = server.sessions().await;
    let request = proto::CreateSessionRequest { agent: "claude-code".into(), ..Default::default() };
    let created = sessions.create_session(request).await.expect("created").into_inner();
    let id = created.session.expect("a session").session_id;
    let first = play(&mut sessions, &id, "the number 17").await;
    assert_eq!(first.turn.status(), TurnStatus::Completed, "{:?}", first.turn.error);
    destroy(&disk::sandbox(&server, &get(&mut sessions, &id).await));
    let second = play(&mut sessions, &id, "and now?").await;
    assert_eq!(second.turn.status(), TurnStatus::Completed, "{:?}", second.turn.error);
    let texts: Vec<&str> = second
        .contents()
        .into_iter()
        .filter_map(|content| if let Content::AssistantText(text) = content { Some(&*text.text) } else { None })
        .collect();
    // The endpoint reads from the request what was said before: with nothing of it, it would begin again.
    assert_eq!(texts, ["I remember the number 17", "Second answer."]);
    let asked = model.requests();
    let calls: Vec<_> = asked.iter().filter(|seen| seen.kind == Asked::Call).collect();
    assert_eq!(calls.len(), 2, "{calls:?}");
    assert_eq!(calls[0].session, calls[1].session, "another agent session");
    model.shutdown().await;
}
