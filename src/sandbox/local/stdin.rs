//! The input of one program: kept in a file when it is accepted, and copied from there to the program's pipe by a
//! thread of its own, so that a program that does not read holds up nobody.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::fs::FileExt as _,
    },
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use rustix::{event::PollFlags, io::ioctl_fionbio};

use super::{layout::private_file, wake::Wake};
use crate::sandbox::{Error, StdinStatus};

/// Most bytes moved or compared at once.
const CHUNK: usize = 64 * 1024;

/// What a program was given.
#[derive(Debug)]
pub(super) struct Stdin {
    path: PathBuf,
    state: Mutex<State>,
    wake: Wake,
}

#[derive(Clone, Copy, Debug)]
struct State {
    accepted: u64,
    closed: bool,
    /// The program is gone: nothing needs copying any more.
    ended: bool,
}

impl Stdin {
    /// Makes the file, which must not be there.
    pub(super) fn create(path: PathBuf) -> io::Result<Arc<Self>> {
        private_file(&path)?;
        let state = Mutex::new(State { accepted: 0, closed: false, ended: false });
        Ok(Arc::new(Self { path, state, wake: Wake::new()? }))
    }

    pub(super) fn status(&self) -> StdinStatus {
        let state = self.state();
        StdinStatus { accepted: state.accepted, closed: state.closed }
    }

    /// Accepts what is new of `data`. Comparing and keeping are copies in the page cache, done inline.
    pub(super) fn write(&self, offset: u64, data: &[u8], eof: bool) -> Result<u64, Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if offset > state.accepted {
            return Err(Error::Offset { offset, from: 0, to: state.accepted });
        }
        let failed = |error: io::Error| Error::Unavailable(format!("input was not kept: {error}"));
        let mut file = OpenOptions::new().read(true).append(true).open(&self.path).map_err(failed)?;
        let known = usize::try_from(state.accepted - offset).map_or(data.len(), |known| known.min(data.len()));
        let (known, new) = data.split_at(known);
        if let Some(at) = difference(&file, offset, known).map_err(failed)? {
            return Err(Error::StdinConflict { offset: at });
        }
        let end = offset + data.len() as u64;
        // After the end was told, neither a longer input nor an earlier end says the same thing.
        if (state.closed && !new.is_empty()) || (eof && end < state.accepted) {
            return Err(Error::StdinConflict { offset: end.min(state.accepted) });
        }
        if let Err(error) = file.write_all(new) {
            // A part of it may have been written; it was never accepted, so it must not be found there later.
            file.set_len(state.accepted).map_err(failed)?;
            return Err(failed(error));
        }
        state.accepted += new.len() as u64;
        state.closed |= eof;
        self.wake.raise();
        Ok(state.accepted)
    }

    /// The thread's work: copies until all of a closed input was copied, or the program does not want it any more.
    pub(super) fn feed(&self, pipe: OwnedFd) {
        if let Err(error) = self.copy(pipe)
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            tracing::warn!(path = %self.path.display(), %error, "input does not reach its program");
        }
    }

    /// The program is gone.
    pub(super) fn end(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
        self.wake.raise();
    }

    fn copy(&self, pipe: OwnedFd) -> io::Result<()> {
        // Ours alone: the program's end of the pipe is another open file and stays as it is.
        ioctl_fionbio(&pipe, true)?;
        let mut pipe = File::from(pipe);
        let file = File::open(&self.path)?;
        let mut buffer = vec![0; CHUNK];
        let mut copied = 0;
        loop {
            self.wake.clear();
            let state = self.state();
            if state.ended || (state.closed && copied == state.accepted) {
                return Ok(());
            }
            let size = usize::try_from(state.accepted - copied).map_or(CHUNK, |left| left.min(CHUNK));
            if size == 0 {
                self.wake.wait(None)?;
                continue;
            }
            file.read_exact_at(&mut buffer[..size], copied)?;
            match pipe.write(&buffer[..size]) {
                Ok(written) => copied += written as u64,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wake.wait(Some((pipe.as_fd(), PollFlags::OUT)))?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn state(&self) -> State {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
