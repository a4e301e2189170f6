//! The bytes of a file that a call brings: small ones in memory, large ones in a private file that has no name and goes
//! with its last user, also when the server is killed.

use std::{
    fs::File,
    io::{self, Seek as _, Write as _},
    os::{fd::AsRawFd as _, unix::fs::FileExt as _},
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::domain::{Failure, Reason};

/// Bytes that are all there, and their name. Clones share them.
#[derive(Clone, Debug)]
pub struct Content {
    /// SHA-256, lower-case hex.
    pub sha256: String,
    /// How many there are.
    pub size: u64,
    /// Where they are.
    pub bytes: ContentBytes,
}

/// Where bytes are.
#[derive(Clone, Debug)]
pub enum ContentBytes {
    /// Here.
    Memory(Bytes),
    /// In a file without a name, to be read at offsets: others read it too.
    File(Arc<File>),
}

impl Content {
    /// Bytes in memory.
    #[must_use]
    pub fn in_memory(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let sha256 = format!("{:x}", Sha256::digest(&bytes));
        Self { sha256, size: bytes.len() as u64, bytes: ContentBytes::Memory(bytes) }
    }

    /// All of them as a file of its own, from its first byte: reading it moves nobody else's place.
    pub(super) fn open(&self) -> io::Result<File> {
        match &self.bytes {
            ContentBytes::Memory(bytes) => {
                let mut file = tempfile::tempfile()?;
                file.write_all(bytes)?;
                file.rewind()?;
                Ok(file)
            }
            // It has no name but this one.
            ContentBytes::File(file) => File::open(format!("/proc/self/fd/{}", file.as_raw_fd())),
        }
    }

    /// Reads from an offset on, at most as much as the buffer takes; 0: the end. May block on the disk.
    ///
    /// # Errors
    /// What the disk says.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        match &self.bytes {
            ContentBytes::Memory(bytes) => {
                let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
                let taken = rest.len().min(buffer.len());
                buffer[..taken].copy_from_slice(&rest[..taken]);
                Ok(taken)
            }
            ContentBytes::File(file) => file.read_at(buffer, offset),
        }
    }
}

/// Equal bytes.
impl PartialEq for Content {
    fn eq(&self, other: &Self) -> bool {
        self.sha256 == other.sha256 && self.size == other.size
    }
}

impl Eq for Content {}

/// Bytes on their way in, kept and hashed as they come.
#[derive(Debug)]
pub struct Incoming {
    file: Arc<File>,
    hash: Sha256,
    size: u64,
}

impl Incoming {
    /// None yet. They go into a file in this folder, which others cannot find.
    pub(super) async fn begin(folder: &Path) -> Result<Self, Failure> {
        let folder = folder.to_owned();
        let file = blocking(move || tempfile::tempfile_in(folder)).await?;
        Ok(Self { file: Arc::new(file), hash: Sha256::new(), size: 0 })
    }

    /// How many came so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The next ones.
    ///
    /// # Errors
    /// [`Reason::StorageFull`], [`Reason::StorageUnavailable`].
    pub async fn push(&mut self, data: Bytes) -> Result<(), Failure> {
        self.size += data.len() as u64;
        self.hash.update(&data);
        let file = Arc::clone(&self.file);
        blocking(move || (&*file).write_all(&data)).await
    }

    /// There are no more.
    #[must_use]
    pub fn finish(self) -> Content {
        let Self { file, hash, size } = self;
        Content { sha256: format!("{:x}", hash.finalize()), size, bytes: ContentBytes::File(file) }
    }
}

/// Waits for the disk on a thread that may.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)));
    done.map_err(|error| {
        tracing::error!(%error, "what a call brings cannot be kept");
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Failure::new(Reason::StorageFull, "the server's disk is full; try again when space was freed")
            }
            _ => Failure::new(Reason::StorageUnavailable, "the server cannot keep what comes in; try again"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &Content) -> Vec<u8> {
        let (mut all, mut buffer) = (Vec::new(), [0; 7]);
        loop {
            let taken = content.read_at(all.len() as u64, &mut buffer).unwrap();
            if taken == 0 {
                return all;
            }
            all.extend_from_slice(&buffer[..taken]);
        }
    }

    #[tokio::test]
    async fn what_came_in_pieces_is_what_is_there_at_once() {
        let folder = tempfile::tempdir().unwrap();
        for pieces in [&[][..], &["one "], &["one ", "", "two ", "three"]] {
            let mut incoming = Incoming::begin(folder.path()).await.unwrap();
            for piece in pieces {
                incoming.push(Bytes::from(piece.as_bytes())).await.unwrap();
            }
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "others can find it");
            let whole = pieces.concat();
            assert_eq!(incoming.size(), whole.len() as u64);
            let (content, same) = (incoming.finish(), Content::in_memory(whole.clone()));
            assert_eq!(content, same);
            assert_eq!((read(&content), read(&same)), (whole.clone().into_bytes(), whole.into_bytes()));
            assert_ne!(content, Content::in_memory("other"));
        }
        assert_eq!(Content::in_memory("").sha256, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }

    #[tokio::test]
    async fn a_folder_that_is_not_there_is_the_server_s_trouble() {
        let failure = Incoming::begin(Path::new("/no/such/folder")).await.unwrap_err();
        assert_eq!(failure.reason, Reason::StorageUnavailable);
    }
}
