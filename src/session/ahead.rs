//! Puts the contents of files ahead into the store, so that the batch that tells of them only has to name them: large bytes
//! never stand in the way of other sessions' commits.

use std::collections::BTreeMap;

use futures::{StreamExt as _, stream};
use sha2::{Digest as _, Sha256};

use super::look::Eyes;
use crate::{
    domain::Failure,
    log::unavailable,
    sandbox::{self, Root},
    store::{BlobPiece, Piece},
};

/// Bytes of one transaction.
const AT_ONCE: usize = 4 << 20;
/// Small files that are read at once, however small they are.
const FILES: usize = 1000;
/// Contents that are asked for at once.
const ASKED: usize = 1000;

/// Contents that are to be kept: by hash, where they lie and how many bytes they have.
pub(super) type Wanted = BTreeMap<String, (Root, String, u64)>;

/// A file that did not hold still, so that its content could not be kept.
#[derive(Debug)]
pub(super) struct Moved {
    pub(super) root: Root,
    pub(super) path: String,
    /// Of what it held when it was looked at.
    pub(super) sha256: String,
}

/// A content that is small enough to be held.
struct Small {
    hash: String,
    root: Root,
    path: String,
    size: u64,
}

impl Eyes {
    /// Keeps these contents, and says which of them could not be kept because their files did not hold still.
    pub(super) async fn put_ahead(&self, mut wanted: Wanted) -> Result<Vec<Moved>, Failure> {
        let hashes: Vec<String> = wanted.keys().cloned().collect();
        for asked in hashes.chunks(ASKED) {
            let held = self.store().held_blobs(&self.key.tenant, asked).await.map_err(|error| unavailable(&error))?;
            for (hash, _) in asked.iter().zip(held).filter(|(_, held)| *held) {
                wanted.remove(hash);
            }
        }
        let mut moved = Vec::new();
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for (hash, (root, path, size)) in wanted {
            if size > Piece::BYTES as u64 {
                if !self.put_large(&hash, root, &path, size).await? {
                    moved.push(Moved { root, path, sha256: hash });
                }
                continue;
            }
            bytes += size;
            batch.push(Small { hash, root, path, size });
            if bytes >= AT_ONCE as u64 || batch.len() >= FILES {
                moved.extend(self.put_small(std::mem::take(&mut batch)).await?);
                bytes = 0;
            }
        }
        moved.extend(self.put_small(batch).await?);
        Ok(moved)
    }

    /// Reads small files, all of a root at once, and puts them. Says which of them are others by now.
    async fn put_small(&self, files: Vec<Small>) -> Result<Vec<Moved>, Failure> {
        let (mut moved, mut pieces) = (Vec::new(), Vec::new());
        for root in [Root::Workspace, Root::Home] {
            let paths: Vec<String> =
                files.iter().filter(|file| file.root == root).map(|file| file.path.clone()).collect();
            if paths.is_empty() {
                continue;
            }
            let most = files.iter().filter(|file| file.root == root).map(|file| file.size).sum();
            let read = self.files.read_all(root, &paths, most).await;
            let mut read = self.still_there(read)?.unwrap_or_default();
            for Small { hash, root, path, size } in files.iter().filter(|file| file.root == root) {
                match read.remove(path) {
                    Some(data) if format!("{:x}", Sha256::digest(&data)) == *hash => {
                        pieces.push(BlobPiece { sha256: hash.clone(), size: *size, offset: 0, data: data.into() });
                    }
                    Some(_) | None => moved.push(Moved { root: *root, path: path.clone(), sha256: hash.clone() }),
                }
            }
        }
        self.put(&pieces).await?;
        Ok(moved)
    }

    /// Puts pieces ahead, all in one transaction.
    pub(super) async fn put(&self, pieces: &[BlobPiece]) -> Result<(), Failure> {
        if pieces.is_empty() {
            return Ok(());
        }
        self.store().put_blobs(&self.key.tenant, &self.by, pieces).await.map_err(|error| unavailable(&error))
    }

    /// Reads a large file and puts it as it comes; its last piece, which makes it whole, only when the hash is right.
    async fn put_large(&self, hash: &str, root: Root, path: &str, size: u64) -> Result<bool, Failure> {
        let Some(mut reading) = self.open(root, path).await? else { return Ok(false) };
        let (mut digest, mut offset) = (Sha256::new(), 0);
        let (mut data, mut waiting) = (Vec::new(), Vec::new());
        while let Some(bytes) = reading.next().await {
            let Some(bytes) = self.still_there(bytes)? else { return Ok(false) };
            digest.update(&bytes);
            data.extend_from_slice(&bytes);
            while data.len() > Piece::BYTES {
                let rest = data.split_off(Piece::BYTES);
                let piece = std::mem::replace(&mut data, rest);
                waiting.push(BlobPiece { sha256: hash.to_owned(), size, offset, data: piece });
                offset += Piece::BYTES as u64;
            }
            if offset + data.len() as u64 > size {
                return Ok(false);
            }
            if waiting.len() * Piece::BYTES >= AT_ONCE {
                self.put(&std::mem::take(&mut waiting)).await?;
            }
        }
        if offset + data.len() as u64 != size || format!("{:x}", digest.finalize()) != hash {
            return Ok(false);
        }
        waiting.push(BlobPiece { sha256: hash.to_owned(), size, offset, data });
        self.put(&waiting).await?;
        Ok(true)
    }

    async fn open(
        &self,
        root: Root,
        path: &str,
    ) -> Result<Option<stream::BoxStream<'static, Result<bytes::Bytes, sandbox::Error>>>, Failure> {
        let reading = self.files.read(root, path, 0).await;
        self.still_there(reading.map(|reading| reading.bytes))
    }

    /// A file that cannot be read any more is looked at again; a sandbox that is gone is a failure.
    fn still_there<T>(&self, result: Result<T, sandbox::Error>) -> Result<Option<T>, Failure> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(sandbox::Error::Files(_)) => Ok(None),
            Err(error) => Err(self.failure(&error)),
        }
    }
}
