//! What the emulator and the first process of a cell say to each other, over one socket: a length, then JSON. The three
//! standard streams of a program travel beside its order, so that what it reads and writes passes nobody else.

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Longer than any order: arguments and environments together are a few MiB at most.
const LONGEST: u32 = 64 << 20;

/// Bytes of the length in front.
const LENGTH: usize = 4;

/// What the first process is told.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Order {
    /// Start a program; its standard streams come beside this.
    Start { number: u64, start: Start },
    /// Kill it and its group.
    Kill { number: u64 },
}

/// A program to start.
#[derive(Debug, Serialize, Deserialize)]
pub(in super::super) struct Start {
    /// The program and its arguments.
    pub(in super::super) argv: Vec<String>,
    /// Its whole environment.
    pub(in super::super) env: Vec<(String, String)>,
    /// Its directory.
    pub(in super::super) cwd: String,
}

/// What the first process tells.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Report {
    /// It listens.
    Ready,
    /// A program runs.
    Started { number: u64 },
    /// A program cannot be run.
    Refused { number: u64, cause: String },
    /// A program has ended.
    Ended { number: u64, end: End },
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) enum End {
    /// By itself.
    Code(i32),
    /// By a signal.
    Signal(i32),
}

/// A message as it travels.
pub(super) fn frame(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; LENGTH];
    serde_json::to_writer(&mut frame, message)?;
    let size = u32::try_from(frame.len() - LENGTH).map_err(|_| too_long())?;
    frame[..LENGTH].copy_from_slice(&size.to_le_bytes());
    Ok(frame)
}

/// The length that a message says it has, if it may have it.
pub(super) fn size(size: u32) -> io::Result<usize> {
    if size > LONGEST { Err(too_long()) } else { usize::try_from(size).map_err(|_| too_long()) }
}

/// Sends the beginning of a frame, and with it descriptors; returns how much was sent.
pub(super) fn send_with(socket: impl AsFd, frame: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::other("a program has three standard streams"));
    }
    Ok(sendmsg(socket, &[io::IoSlice::new(frame)], &mut beside, SendFlags::NOSIGNAL)?)
}

/// Takes the next message and what came beside it; `None` when there will be none.
pub(super) fn receive<T: DeserializeOwned>(
    socket: &std::os::unix::net::UnixStream,
) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let (mut length, mut got, mut fds) = ([0; LENGTH], 0, Vec::new());
    while got < LENGTH {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut beside = RecvAncillaryBuffer::new(&mut space);
        let mut into = [io::IoSliceMut::new(&mut length[got..])];
        match recvmsg(socket, &mut into, &mut beside, RecvFlags::CMSG_CLOEXEC) {
            Ok(message) if message.bytes == 0 => return Ok(None),
            Ok(message) => got += message.bytes,
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        for message in beside.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                fds.extend(rights);
            }
        }
    }
    let mut text = vec![0; size(u32::from_le_bytes(length))?];
    io::Read::read_exact(&mut &*socket, &mut text)?;
    Ok(Some((serde_json::from_slice(&text)?, fds)))
}

fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a message between the emulator and a sandbox is too long")
}
