//! One connection to a sandbox's supervisor: finding out whether one is there and means the same sandbox, asking it, and
//! what its refusals are to those who use sandboxes. It starts nobody.

use std::io::{self, ErrorKind};

use crate::{
    domain::ExecId,
    sandbox::Error,
    supervisor::{
        folder::Folder,
        frame::Frames,
        identity::Identity,
        proc,
        protocol::{Answer, Ask, Hello, Refusal, Reply, Request, VERSION, Welcome},
        socket,
    },
};

/// A connection on which something was asked.
#[derive(Debug)]
pub(super) struct Call {
    frames: Frames,
    epoch: i64,
    version: u32,
}

impl Call {
    /// Connects and asks for something; `None` when nobody is there, and then nothing was done.
    pub(super) async fn open(
        folder: &Folder,
        identity: &Identity,
        epoch: i64,
        request: Request,
    ) -> Result<Option<Self>, Error> {
        let mut frames = match socket::connect(folder).await {
            Ok(stream) => Frames::new(stream),
            Err(error) if nobody(&error) => return Ok(None),
            Err(error) => return Err(unreachable(&error)),
        };
        let boot_id = proc::boot_id().map_err(|error| unreachable(&error))?;
        let hello = Hello { version: VERSION, nonce: identity.nonce.clone(), boot_id, epoch };
        match frames.send(&[Ask::from(Request::Hello(hello)), Ask::from(request)]).await {
            Ok(()) => {}
            Err(error) if nobody(&error) => return Ok(None),
            Err(error) => return Err(unreachable(&error)),
        }
        let mut call = Self { frames, epoch, version: 0 };
        match call.reply().await? {
            Some(Reply::Welcome(Welcome { version, hardening, .. })) => {
                tracing::trace!(version, ?hardening, sandbox = folder.id(), "a supervisor is there");
                Ok(Some(Self { version, ..call }))
            }
            Some(other) => Err(unexpected(&other)),
            None => Ok(None),
        }
    }

    /// The version that both sides speak.
    pub(super) fn version(&self) -> u32 {
        self.version
    }

    /// Asks for something more, once the last was answered; says whether it could.
    pub(super) async fn ask(&mut self, request: Request) -> bool {
        self.frames.send(&[Ask::from(request)]).await.is_ok()
    }

    /// What the supervisor says next; `None` when it has hung up. Dropping the future loses nothing.
    pub(super) async fn reply(&mut self) -> Result<Option<Reply>, Error> {
        match self.frames.next::<Answer>().await {
            Ok(Some(Answer { reply: Some(Reply::Refused(refused)) })) => Err(match refused.refusal {
                Some(refusal) => self.refuse(refusal),
                None => Error::Unavailable("a newer supervisor refuses it for a reason of its own".to_owned()),
            }),
            Ok(Some(Answer { reply: Some(reply) })) => Ok(Some(reply)),
            Ok(Some(Answer { reply: None })) => {
                Err(Error::Unavailable("a newer supervisor says something new".to_owned()))
            }
            Ok(None) => Ok(None),
            Err(error) if nobody(&error) => Ok(None),
            Err(error) => Err(unreachable(&error)),
        }
    }

    /// Which program cannot be started is for the caller to say.
    fn refuse(&self, refusal: Refusal) -> Error {
        match refusal {
            Refusal::Stale(seen) => Error::Stale { given: self.epoch, seen },
            Refusal::UnknownExec(exec) => Error::UnknownExec(ExecId::new(exec)),
            Refusal::Outside(outside) => Error::Offset { offset: outside.offset, from: outside.from, to: outside.to },
            Refusal::StdinConflict(offset) => Error::StdinConflict { offset },
            Refusal::Start(cause) => Error::Start { program: String::new(), cause },
            Refusal::Gone(cause) | Refusal::Stranger(cause) => Error::Gone(cause),
            Refusal::Unavailable(cause) | Refusal::Unsupported(cause) => Error::Unavailable(cause),
        }
    }
}

/// What says that no supervisor is there, or is not any more.
fn nobody(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound
            | ErrorKind::NotADirectory
            | ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::BrokenPipe
            | ErrorKind::UnexpectedEof
    )
}

pub(super) fn unexpected(reply: &Reply) -> Error {
    Error::Unavailable(format!("the sandbox's supervisor says what was not asked: {reply:?}"))
}

fn unreachable(error: &io::Error) -> Error {
    Error::Unavailable(format!("the sandbox's supervisor cannot be reached: {error}"))
}
