//! What an agent does to files is told, in its turn.

use agent_runtime::proto::{FileChange, FileChangeKind, FileChangeOrigin, FileType, SessionEvent, session_event::Kind};
use serde_json::json;

use crate::{
    disk,
    support::{Server, ended, get, play, scripted, send, until, until_end_of, watch},
};

/// All changes that events tell.
fn changes(events: &[SessionEvent]) -> Vec<&FileChange> {
    let batches = events.iter().filter_map(|event| match &event.kind {
        Some(Kind::FilesChanged(changed)) => Some(&changed.changes),
        _ => None,
    });
    batches.flatten().collect()
}

fn script(command: &str) -> String {
    json!([{"run": command}]).to_string()
}

/// The kinds of change of each path, in order.
fn of<'e>(changes: &[&'e FileChange], path: &str) -> Vec<(FileChangeKind, &'e str)> {
    let named = changes.iter().filter(|change| change.file.as_ref().is_some_and(|file| file.path == path));
    named.map(|change| (change.kind(), change.previous_path.as_str())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_a_turn_changed_is_told_before_its_end() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let session = scripted(&mut sessions).await;
    let made = play(
        &mut sessions,
        &session.session_id,
        &script(
            "printf 'one\\n' >one.txt; mkdir -p src/deep empty; printf '\\000\\377binary' >src/deep/data.bin; : >nothing; \
             ln -s one.txt link; printf '#!/bin/sh\\n' >tool; chmod 755 tool; mkdir -p node_modules/x .git; \
             echo hidden >node_modules/x/y; echo hidden >.git/HEAD; printf 'ü' >'a name with spaces'",
        ),
    )
    .await;
    let told = changes(&made.events);
    for path in ["one.txt", "src/deep/data.bin", "nothing", "link", "tool", "empty", "a name with spaces"] {
        assert_eq!(of(&told, path), [(FileChangeKind::Created, "")], "{path}");
    }
    assert!(told.iter().all(|change| change.origin() == FileChangeOrigin::Agent));
    let last_change = made.events.iter().rposition(|event| matches!(event.kind, Some(Kind::FilesChanged(_))));
    let end = made.events.iter().position(|event| ended(event, &made.turn.turn_id));
    assert!(last_change < end, "a turn's files come before its end");
    let root = disk::sandbox(&server, &get(&mut sessions, &session.session_id).await).join("workspace");
    assert_eq!(disk::told(&made.state), disk::things(&root, false));

    let changed = play(
        &mut sessions,
        &session.session_id,
        &script(
            "echo two >>one.txt; mv tool bin-tool; rm nothing; chmod 600 src/deep/data.bin; ln -sfn tool link; \
             touch 'a name with spaces'; rmdir empty",
        ),
    )
    .await;
    let end = changed.events.iter().filter(|event| ended(event, &made.turn.turn_id)).map(|event| event.sequence).next();
    let later: Vec<_> = changed.events.iter().filter(|event| Some(event.sequence) > end).cloned().collect();
    let told = changes(&later);
    assert_eq!(of(&told, "one.txt"), [(FileChangeKind::Modified, "")]);
    assert_eq!(of(&told, "bin-tool"), [(FileChangeKind::Renamed, "tool")]);
    assert_eq!(of(&told, "nothing"), [(FileChangeKind::Deleted, "")]);
    assert_eq!(of(&told, "src/deep/data.bin"), [(FileChangeKind::Modified, "")]);
    assert_eq!(of(&told, "link"), [(FileChangeKind::Modified, "")]);
    assert_eq!(of(&told, "empty"), [(FileChangeKind::Deleted, "")]);
    assert_eq!(of(&told, "a name with spaces"), [], "an equal content is no change");
    assert_eq!(disk::told(&changed.state), disk::things(&root, false));
}

/// A turn that fails by its program's end tells its files as well.
#[tokio::test(flavor = "multi_thread")]
async fn files_of_a_turn_that_fails_are_told() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let session = scripted(&mut sessions).await;
    let text = json!([{"run": "echo left >left.txt"}, {"exit": 3}]).to_string();
    let failed = play(&mut sessions, &session.session_id, &text).await;
    assert_eq!(of(&changes(&failed.events), "left.txt"), [(FileChangeKind::Created, "")]);
    assert_eq!(failed.turn.status(), agent_runtime::proto::TurnStatus::Failed);
}

/// While a turn runs its files are told soon, and each content once.
#[tokio::test(flavor = "multi_thread")]
async fn files_are_told_while_the_turn_runs() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let session = scripted(&mut sessions).await;
    let text = json!([{"run": "echo early >early.txt"}, {"pause_ms": 600_000}]).to_string();
    let (turn, sequence) = send(&mut sessions, &session.session_id, &text).await.expect("accepted");
    let mut stream = watch(&mut sessions, &session.session_id, Some(sequence)).await.expect("a watch");
    let is_it = |event: &SessionEvent| matches!(event.kind, Some(Kind::FilesChanged(_))) || ended(event, &turn.turn_id);
    let seen = until(&mut stream, is_it).await;
    assert!(!seen.iter().any(|event| ended(event, &turn.turn_id)), "only at the end");
    assert_eq!(of(&changes(&seen), "early.txt"), [(FileChangeKind::Created, "")]);
    crate::support::stop(&mut sessions, &session.session_id).await;
    let rest = until_end_of(&mut stream, &turn.turn_id).await;
    assert_eq!(of(&changes(&rest), "early.txt"), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_files_at_once_come_in_capped_batches() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let session = scripted(&mut sessions).await;
    let command = "i=0; while [ $i -lt 100 ]; do mkdir d$i; (cd d$i; seq 1 100 | split -l 1 - f); i=$((i+1)); done";
    let made = play(&mut sessions, &session.session_id, &script(command)).await;
    // A look in between may see a directory that is empty still, or a file that is not whole.
    let told = changes(&made.events);
    let created = told.iter().filter(|change| change.kind() == FileChangeKind::Created);
    let files = created.filter(|change| change.file.as_ref().is_some_and(|file| file.r#type() == FileType::File));
    assert_eq!(files.count(), 10_000);
    let batches: Vec<_> = made
        .events
        .iter()
        .filter_map(|event| match &event.kind {
            Some(Kind::FilesChanged(changed)) => Some((changed.changes.len(), changed.more)),
            _ => None,
        })
        .collect();
    assert!(batches.iter().all(|(size, _)| (1..=1000).contains(size)), "{batches:?}");
    assert!(!batches.last().expect("some").1, "the last one says that none follows: {batches:?}");
    let root = disk::sandbox(&server, &get(&mut sessions, &session.session_id).await).join("workspace");
    assert_eq!(disk::told(&made.state), disk::things(&root, false));
    let gone = play(&mut sessions, &session.session_id, &script("rm -rf d*")).await;
    assert!(gone.state.files.is_empty(), "{} files are told and are not there", gone.state.files.len());
}
