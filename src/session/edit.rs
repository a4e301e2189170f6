//! Calls that change the files of a session: carried out between two looks, so that what an agent changed before is told as
//! the agent's, and what the call changed as the caller's.

use super::{
    Content, ContentBytes, Expected, Reply, Unpacked,
    look::{Eyes, Known, Look, Seen},
};
use crate::{
    domain::{
        ArchiveFormat, Failure, FileChangeOrigin, Principal, Reason, Request, Violation, WorkspaceFile, WorkspacePath,
    },
    sandbox::{self, Root},
    workspace::{self, ArchiveLimits},
};

/// A call that changes files.
pub(super) struct Edit {
    pub(super) change: Change,
    pub(super) by: Principal,
    pub(super) request: Option<Request>,
    pub(super) reply: Reply<Changed>,
}

/// What it is to do.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Write { path: WorkspacePath, mode: u32, content: Content, expect: Option<Expected> },
    Unpack { format: ArchiveFormat, content: Content, folder: Option<WorkspacePath> },
    Delete { path: WorkspacePath, expect: Option<Expected> },
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Changed {
    /// The file as it is now.
    Written(WorkspaceFile),
    Unpacked(Unpacked),
    Deleted,
}

/// What came of a call.
pub(super) struct Edited {
    pub(super) edit: Edit,
    /// What others had changed before.
    pub(super) before: Option<Seen>,
    pub(super) outcome: Result<(Seen, Changed), Failure>,
}

/// Carries a call out. `checkpoint`: no turn is active, so what is there now is what a new sandbox begins with.
pub(super) async fn run(eyes: Eyes, known: Option<Known>, edit: Edit, checkpoint: bool) -> Edited {
    let look = Look { origin: FileChangeOrigin::Agent, checkpoint: false };
    let mut before = match eyes.look(known, look).await {
        Ok(seen) => seen,
        Err(failure) => return Edited { edit, before: None, outcome: Err(failure) },
    };
    let outcome = async {
        let changed = carry_out(&eyes, &edit.change).await?;
        let look = Look { origin: FileChangeOrigin::Client, checkpoint };
        let mut seen = eyes.look(Some(before.known.clone()), look).await?;
        seen.notes.append(&mut before.notes);
        Ok((seen, changed))
    }
    .await;
    Edited { edit, before: Some(before), outcome }
}

async fn carry_out(eyes: &Eyes, change: &Change) -> Result<Changed, Failure> {
    let refused = |error: sandbox::Error| refusal(eyes, error);
    match change {
        Change::Write { path, mode, content, expect } => {
            let path = path.as_str();
            if let Err(failure) = check(eyes, path, expect.as_ref()).await {
                // The call may be the repetition of one that was cut before its effect was recorded: then it is done.
                let there = entry(eyes, path).await?.filter(|file| file.mode == *mode);
                return there.filter(|file| file.sha256 == content.sha256).map(Changed::Written).ok_or(failure);
            }
            let bytes = match &content.bytes {
                ContentBytes::Memory(bytes) => sandbox::Content::Bytes(bytes.clone()),
                ContentBytes::File(_) => sandbox::Content::File(content.open().map_err(gone).map_err(refused)?),
            };
            let written = eyes.files.write(Root::Workspace, path, *mode, bytes, content.size).await;
            written.map(|entry| Changed::Written(entry.file)).map_err(refused)
        }
        Change::Unpack { format, content, folder } => {
            let archive = content.open().map_err(gone).map_err(refused)?;
            let under = folder.as_ref().map_or("", WorkspacePath::as_str);
            let unpacked = eyes.files.unpack(*format, archive, under, ArchiveLimits::default()).await;
            let files = i32::try_from(unpacked.map_err(refused)?).unwrap_or(i32::MAX);
            Ok(Changed::Unpacked(Unpacked { files }))
        }
        Change::Delete { path, expect } => {
            let path = path.as_str();
            check(eyes, path, expect.as_ref()).await?;
            eyes.files.delete(Root::Workspace, path).await.map_err(refused)?;
            Ok(Changed::Deleted)
        }
    }
}

async fn check(eyes: &Eyes, path: &str, expect: Option<&Expected>) -> Result<(), Failure> {
    let wanted = match expect {
        None => return Ok(()),
        Some(Expected::Absent) => None,
        Some(Expected::Sha256(hash)) => Some(hash.as_str()),
    };
    let there = entry(eyes, path).await?;
    if there.as_ref().map(|file| file.sha256.as_str()) == wanted {
        return Ok(());
    }
    let is = there.map(|file| file.sha256).unwrap_or_default();
    let message = format!("{path:?} is not what if_sha256 says; read it again");
    Err(Failure::new(Reason::EtagMismatch, message).with("path", path).with("sha256", is))
}

async fn entry(eyes: &Eyes, path: &str) -> Result<Option<WorkspaceFile>, Failure> {
    match eyes.files.entry(Root::Workspace, path).await {
        Ok(entry) => Ok(Some(entry.file)),
        Err(sandbox::Error::Files(workspace::Error::NotFound { .. })) => Ok(None),
        Err(error) => Err(refusal(eyes, error)),
    }
}

fn gone(error: std::io::Error) -> sandbox::Error {
    sandbox::Error::Unavailable(format!("what the call brought cannot be read: {error}"))
}

/// Why a call is refused, in the contract's words.
fn refusal(eyes: &Eyes, error: sandbox::Error) -> Failure {
    let sandbox::Error::Files(error) = error else { return eyes.failure(&error) };
    let message = error.to_string();
    let path_rule = |path: String, rule: String| {
        let violation = Violation { field: "path".to_owned(), rule: rule.clone() };
        let failure = Failure::new(Reason::WorkspacePath, message.clone()).with("path", path).with("rule", rule);
        Failure { violations: vec![violation], ..failure }
    };
    match error {
        workspace::Error::Path { path, rule } => path_rule(path, rule),
        workspace::Error::NotFound { path } => Failure::new(Reason::FileNotFound, message).with("path", path),
        workspace::Error::Sort { path, is, wanted } => path_rule(path, format!("is {is}, not {wanted}")),
        workspace::Error::NotEmpty { path } => path_rule(path, "is not empty".to_owned()),
        workspace::Error::TooLarge { what, limit } => {
            Failure::new(Reason::MessageTooLarge, message).with("field", what).with("limit", limit)
        }
        workspace::Error::Archive(_) => Failure::invalid("data", message),
        workspace::Error::Source(_)
        | workspace::Error::Manifest(_)
        | workspace::Error::Content { .. }
        | workspace::Error::Gone(_)
        | workspace::Error::Io { .. } => eyes.failure(&sandbox::Error::Files(error)),
    }
}
