//! The input of one program: kept in a file when it is accepted, and copied from there to the program's pipe, so that a
//! program that does not read holds up nobody.

use std::{
    cell::Cell,
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::{fd::OwnedFd, unix::fs::FileExt as _},
    path::PathBuf,
    rc::Rc,
};

use tokio::{io::AsyncWriteExt as _, net::unix::pipe, sync::Notify};
use tokio_util::sync::CancellationToken;

use super::{
    folder::private_file,
    protocol::{Given, Outside, Refusal},
};

/// Most bytes moved or compared at once.
const CHUNK: usize = 64 * 1024;

/// What a program was given.
#[derive(Debug)]
pub(super) struct Input {
    path: PathBuf,
    given: Cell<Given>,
    more: Notify,
}

impl Input {
    /// Makes the file, which must not be there.
    pub(super) fn create(path: PathBuf) -> io::Result<Rc<Self>> {
        private_file(&path)?;
        Ok(Rc::new(Self { path, given: Cell::default(), more: Notify::new() }))
    }

    /// What an earlier supervisor accepted.
    pub(super) fn open(path: PathBuf, closed: bool) -> io::Result<Rc<Self>> {
        let accepted = path.metadata()?.len();
        Ok(Rc::new(Self { path, given: Cell::new(Given { accepted, closed }), more: Notify::new() }))
    }

    pub(super) fn given(&self) -> Given {
        self.given.get()
    }

    /// Accepts what is new of `data`. Comparing and keeping are copies in the page cache, done inline.
    pub(super) fn write(&self, offset: u64, data: &[u8], eof: bool) -> Result<Given, Refusal> {
        let Given { accepted, closed } = self.given.get();
        if offset > accepted {
            return Err(Refusal::Outside(Outside { offset, from: 0, to: accepted }));
        }
        let failed = |error: io::Error| Refusal::Unavailable(format!("input was not kept: {error}"));
        let mut file = OpenOptions::new().read(true).append(true).open(&self.path).map_err(failed)?;
        let known = usize::try_from(accepted - offset).map_or(data.len(), |known| known.min(data.len()));
        let (known, new) = data.split_at(known);
        if let Some(at) = difference(&file, offset, known).map_err(failed)? {
            return Err(Refusal::StdinConflict(at));
        }
        let end = offset + data.len() as u64;
        // After the end was told, neither a longer input nor an earlier end says the same thing.
        if (closed && !new.is_empty()) || (eof && end < accepted) {
            return Err(Refusal::StdinConflict(end.min(accepted)));
        }
        if let Err(error) = file.write_all(new) {
            // A part of it may have been written; it was never accepted, so it must not be found there later.
            file.set_len(accepted).map_err(failed)?;
            return Err(failed(error));
        }
        self.given.set(Given { accepted: accepted + new.len() as u64, closed: closed || eof });
        self.more.notify_one();
        Ok(self.given.get())
    }

    /// Copies to the program until all of a closed input was copied, the program does not want it any more, or `ended`.
    pub(super) async fn feed(&self, pipe: OwnedFd, ended: CancellationToken) {
        let copied = tokio::select! {
            copied = self.copy(pipe) => copied,
            () = ended.cancelled() => return,
        };
        if let Err(error) = copied
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            tracing::warn!(path = %self.path.display(), %error, "input does not reach its program");
        }
    }

    async fn copy(&self, pipe: OwnedFd) -> io::Result<()> {
        // What does not block is our end alone: the program's is another open file and stays as it is.
        let mut pipe = pipe::Sender::from_owned_fd(pipe)?;
        let file = File::open(&self.path)?;
        let mut buffer = vec![0; CHUNK];
        let mut copied = 0;
        loop {
            let Given { accepted, closed } = self.given.get();
            let size = usize::try_from(accepted - copied).map_or(CHUNK, |left| left.min(CHUNK));
            if size > 0 {
                file.read_exact_at(&mut buffer[..size], copied)?;
                copied += pipe.write(&buffer[..size]).await? as u64;
            } else if closed {
                return Ok(());
            } else {
                self.more.notified().await;
            }
        }
    }
}

/// Where `data` first differs from what the file holds at `offset`.
fn difference(file: &File, offset: u64, data: &[u8]) -> io::Result<Option<u64>> {
    let mut kept = vec![0; data.len().min(CHUNK)];
    let mut at = offset;
    for chunk in data.chunks(CHUNK) {
        let kept = &mut kept[..chunk.len()];
        file.read_exact_at(kept, at)?;
        if let Some(index) = chunk.iter().zip(&*kept).position(|(given, kept)| given != kept) {
            return Ok(Some(at + index as u64));
        }
        at += chunk.len() as u64;
    }
    Ok(None)
}
