//! The end of a run: what the server says is there, what is stored, and what the agents were given and printed.

use std::{collections::BTreeSet, fs, path::Path};

use agent_runtime::{
    domain::{SessionId, SessionKey, TenantId},
    proto::{self, SessionEvent, session_event::Kind},
    store::{EventPage, SqliteStore, Store as _},
};
use tonic::{Request, Response};

use crate::{
    history::{Open, What, Wire},
    judge::Folded,
    link::{Closed, Link},
    support::PATIENCE,
};

/// Stops every session, reads its log once more and takes down its snapshot and its blocks. Returns all sessions.
pub async fn read_back(link: &Link) -> BTreeSet<String> {
    let mut known = listed(link).await;
    for line in link.recorder.history() {
        match line.what {
            What::Answer { answer: crate::history::Answer::Ok { session, .. }, .. } => drop(known.insert(session)),
            What::Call(call) if !call.session.is_empty() => drop(known.insert(call.session)),
            _ => {}
        }
    }
    for session in &known {
        match link.stop(session, "").await {
            Ok(_) => session_as_it_is(link, session).await,
            Err(status) if status.code() == tonic::Code::NotFound => {
                link.recorder.add(0, What::Gone { session: session.clone() });
            }
            Err(status) => panic!("{session} cannot be stopped in the end: {status}"),
        }
    }
    known
}

async fn session_as_it_is(link: &Link, session: &str) {
    // Judged like any other watch: what is true of the log is in the database.
    read(link, session, Some(0)).await;
    let frames = read(link, session, None).await;
    let mut folded = Folded::default();
    for event in &frames {
        folded.apply(event);
    }
    let sequence = frames.last().map_or(0, |event| event.sequence);
    let (snapshot, blocks) = (Wire(folded.0), blocks(link, session).await.into_iter().map(Wire).collect());
    link.recorder.add(0, What::State { session: session.to_owned(), sequence, snapshot, blocks });
}

/// A watch up to the head, or one snapshot.
async fn read(link: &Link, session: &str, after: Option<i64>) -> Vec<SessionEvent> {
    let open = Open { session: session.to_owned(), after, or_snapshot: true, ..Open::default() };
    let reading = async {
        let mut watching = link.watch(open).await?;
        let (mut head, mut events) = (None, Vec::new());
        while head.is_none_or(|head| events.last().is_none_or(|event: &SessionEvent| event.sequence < head)) {
            for event in watching.next().await? {
                match &event.kind {
                    Some(Kind::Bookmark(bookmark)) => head = head.or(Some(bookmark.head_sequence)),
                    Some(Kind::SnapshotComplete(_)) => head = Some(event.sequence),
                    _ => {}
                }
                events.push(event);
            }
        }
        Ok::<_, Closed>(events)
    };
    let read = tokio::time::timeout(PATIENCE, reading).await.expect("reading back does not hang");
    read.unwrap_or_else(|closed| panic!("{session} cannot be read back: {closed:?}"))
}

/// The logs as they are stored, also those of sessions that were deleted: not what a watch makes of them.
pub async fn rows(recorder: &crate::recorder::Recorder, folder: &Path, sessions: BTreeSet<String>) {
    let store = SqliteStore::open(&folder.join("agent-runtime.db")).await.expect("the copy of the database");
    for session in sessions {
        let key = SessionKey { tenant: TenantId::default_tenant(), session: SessionId::new(session.as_str()) };
        let Ok(EventPage { trimmed, uid, head, .. }) = store.events(&key, 0, 0).await else { continue };
        let (mut events, mut last) = (Vec::new(), trimmed);
        while last < head {
            let page = store.events(&key, last, 10_000).await.expect("a page of the log");
            last = page.events.last().expect("the log goes on to its head").sequence;
            events.extend(page.events.into_iter().map(|event| Wire(SessionEvent::from(event))));
        }
        recorder.add(0, What::Log { session, uid: uid.to_string(), trimmed, events });
    }
    store.close().await;
}

async fn blocks(link: &Link, session: &str) -> Vec<proto::Block> {
    let (mut sessions, metadata) = link.raw();
    let (mut blocks, mut page_token) = (Vec::new(), String::new());
    loop {
        let message = proto::ListBlocksRequest {
            session_id: session.to_owned(),
            page_size: 1000,
            page_token,
            ..Default::default()
        };
        let mut request = Request::new(message);
        *request.metadata_mut() = metadata();
        let page = sessions.list_blocks(request).await.map(Response::into_inner).expect("blocks are listed");
        blocks.extend(page.blocks);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return blocks;
        }
    }
}

/// Every session there is, also those whose creation was never acknowledged.
async fn listed(link: &Link) -> BTreeSet<String> {
    let (mut sessions, metadata) = link.raw();
    let (mut ids, mut page_token) = (BTreeSet::new(), String::new());
    loop {
        let mut request =
            Request::new(proto::ListSessionsRequest { page_size: 1000, page_token, ..Default::default() });
        *request.metadata_mut() = metadata();
        let page = sessions.list_sessions(request).await.map(Response::into_inner).expect("sessions are listed");
        ids.extend(page.sessions.into_iter().map(|session| session.session_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return ids;
        }
    }
}

/// Takes down what lies in the sandboxes: what programs were given, and what they printed.
pub fn spools(recorder: &crate::recorder::Recorder, data: &Path) {
    for sandbox in folders(&data.join("sandboxes")) {
        for exec in folders(&sandbox.join("exec")) {
            for fd in ["stdin", "stdout"] {
                let Ok(bytes) = fs::read(exec.join(fd)) else { continue };
                let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let data = String::from_utf8_lossy(&bytes).into_owned();
                let (sandbox, exec) = (name(&sandbox), name(&exec));
                recorder.add(0, What::Spool { sandbox, exec, fd: fd.into(), data });
            }
        }
    }
}

fn folders(path: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().filter_map(Result::ok);
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

/// The database as it was left, for whoever looks into a failure.
pub fn copy_database(data: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder beside the history");
    for entry in fs::read_dir(data).into_iter().flatten().filter_map(Result::ok) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.contains(".db") {
            fs::copy(entry.path(), to.join(name)).expect("a copy of the database");
        }
    }
}
