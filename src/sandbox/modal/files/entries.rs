//! Single entries: described, read, written and deleted by one helper each.

use std::{
    collections::BTreeMap,
    io::{Read as _, Seek as _, SeekFrom},
};

use bytes::{Bytes, BytesMut};
use futures::stream::{self, BoxStream, StreamExt as _};

use super::{
    LITTLE, ModalFiles, aside, codes,
    records::{decimal, hash, stated},
    scan::names,
    script::Script,
    sending,
};
use crate::{
    domain::FileType,
    sandbox::{
        Content, Error, Reading, Root,
        blocking::blocking,
        modal::helper::{self, End, Running},
    },
    workspace::{self, Entry, Listed, check_path, packed, word},
};

/// Most bytes of a file that are given at once.
const CHUNK: usize = 64 * 1024;

/// Longest name of an entry.
const NAME_MAX: usize = 255;

/// Fields that stand before a file's bytes.
const FIELDS: usize = 4;

impl ModalFiles {
    pub(super) async fn describe(&self, root: Root, path: &str) -> Result<Entry, Error> {
        let (folder, name) = parts(path)?;
        let told = self.run(Script::Entry, root, path, &[folder, name], helper::nothing(), LITTLE).await?;
        let mut fields = told.split(|byte| *byte == 0);
        let mut next = || fields.next().ok_or_else(unclear);
        let (now, here, stat, sum, target) = (next()?, next()?, next()?, next()?, next()?);
        let listed = Listed { target: target.to_owned(), ..stated(stat).ok_or_else(unclear)? };
        if listed.sort.is_symlink() && std::str::from_utf8(target).is_err() {
            let rule = "leads to a name that is not UTF-8".to_owned();
            return Err(Error::Files(workspace::Error::Path { path: path.to_owned(), rule }));
        }
        let entry = listed.entry(&real(here, name)?, &String::from_utf8_lossy(sum), clock(now)?);
        entry.ok_or_else(|| {
            let wanted = "a file, a link or a directory";
            Error::Files(workspace::Error::Sort { path: path.to_owned(), is: word(listed.sort), wanted })
        })
    }

    pub(super) async fn open(&self, root: Root, path: &str, offset: u64) -> Result<Reading, Error> {
        let (folder, name) = parts(path)?;
        // Beyond what a shell counts there is nothing to read either.
        let offset = offset.min(i64::MAX as u64 - 1).to_string();
        let command = Script::Read.command(self.root(root), &[folder, name, &offset]);
        let Running { mut stdout, end } = self.helper.start(command, helper::nothing()).await?;
        let (mut fields, mut rest) = (Vec::new(), BytesMut::new());
        while fields.len() < FIELDS {
            if let Some(at) = rest.iter().position(|byte| *byte == 0) {
                let mut field = rest.split_to(at + 1);
                field.truncate(at);
                fields.push(field);
                continue;
            }
            let Some(bytes) = stdout.next().await else {
                let End { code, stderr } = end.await?;
                return Err(codes::failure(code, path, &stderr).unwrap_or_else(unclear));
            };
            rest.extend_from_slice(&bytes?);
        }
        let listed = stated(&fields[2]).ok_or_else(unclear)?;
        let sha256 = hash(&fields[3]).ok_or_else(unclear)?;
        let entry = listed.entry(&real(&fields[1], name)?, &sha256, clock(&fields[0])?).ok_or_else(unclear)?;
        let rest = Rest { path: path.to_owned(), first: rest.freeze(), running: Some(Running { stdout, end }) };
        Ok(Reading { file: entry.file, bytes: rest.pieces() })
    }

    pub(super) async fn small(&self, root: Root, path: &str, most: u64) -> Result<Bytes, Error> {
        let (folder, name) = parts(path)?;
        let too_large =
            || Error::Files(workspace::Error::TooLarge { what: format!("{path:?}, in bytes,"), limit: most });
        let asked = most.min(i64::MAX as u64 - 1);
        let command = Script::Small.command(self.root(root), &[folder, name, &asked.to_string()]);
        let printed = usize::try_from(asked).unwrap_or(usize::MAX).saturating_add(1);
        let done = self.helper.run(command, helper::nothing(), printed).await?;
        if done.code == codes::TOO_LARGE || done.stdout.len() as u64 > most {
            return Err(too_large());
        }
        codes::failure(done.code, path, &done.stderr).map_or(Ok(done.stdout), Err)
    }

    pub(super) async fn several(
        &self,
        root: Root,
        paths: &[String],
        most: u64,
    ) -> Result<BTreeMap<String, Bytes>, Error> {
        for path in paths {
            parts(path)?;
        }
        // Each has a header, and is filled up.
        let printed = usize::try_from(most).unwrap_or(usize::MAX).saturating_add(paths.len() * 8192 + LITTLE);
        let command = Script::Gather.command(self.root(root), &[]);
        let Running { mut stdout, end } = self.helper.start(command, helper::bytes(names(paths))).await?;
        let mut tar = Vec::new();
        while let Some(bytes) = stdout.next().await {
            tar.extend_from_slice(&bytes?);
            // They grow: whoever reads them one by one sees which.
            if tar.len() > printed {
                return self.one_by_one(root, paths, most).await;
            }
        }
        let End { code, stderr } = end.await?;
        if let Some(error) = codes::failure(code, ".", &stderr) {
            return Err(error);
        }
        let files = packed(&tar).map_err(|_| unclear())?;
        Ok(files.into_iter().map(|(path, bytes)| (path, bytes.into())).collect())
    }

    async fn one_by_one(&self, root: Root, paths: &[String], most: u64) -> Result<BTreeMap<String, Bytes>, Error> {
        let (mut files, mut left) = (BTreeMap::new(), most);
        for path in paths {
            match self.small(root, path, left).await {
                Ok(bytes) => {
                    left -= bytes.len() as u64;
                    files.insert(path.clone(), bytes);
                }
                Err(Error::Files(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(files)
    }

    pub(super) async fn put(
        &self,
        root: Root,
        path: &str,
        mode: u32,
        content: Content,
        limit: u64,
    ) -> Result<Entry, Error> {
        let (folder, name) = parts(path)?;
        let what = path.to_owned();
        let measured = blocking(&self.tracker, move || measure(&what, content, limit)).await??;
        let (mode, size) = (format!("{mode:o}"), measured.size.to_string());
        let input = sending::content(measured.content);
        let told = self.run(Script::Write, root, path, &[&aside(), folder, name, &mode, &size], input, LITTLE).await?;
        let mut fields = told.split(|byte| *byte == 0);
        let mut next = || fields.next().ok_or_else(unclear);
        let (now, here, stat) = (next()?, next()?, next()?);
        let listed = stated(stat).ok_or_else(unclear)?;
        let mut entry = listed.entry(&real(here, name)?, &measured.sha256, clock(now)?).ok_or_else(unclear)?;
        // What stands there may be another file by now.
        entry.file.size_bytes = i64::try_from(measured.size).unwrap_or(i64::MAX);
        entry.stamp = entry.stamp.map(workspace::Stamp::unsettled);
        Ok(entry)
    }

    pub(super) async fn take_away(&self, root: Root, path: &str) -> Result<FileType, Error> {
        let (folder, name) = parts(path)?;
        let was = self.run(Script::Delete, root, path, &[folder, name], helper::nothing(), LITTLE).await?;
        match &*was {
            b"f" => Ok(FileType::File),
            b"d" => Ok(FileType::Directory),
            b"l" => Ok(FileType::Symlink),
            _ => Err(unclear()),
        }
    }
}

/// What is to be written, and what it is.
struct Measured {
    content: Content,
    size: u64,
    sha256: String,
}

/// Reads it once before it is sent: a file that is too large is not sent at all.
fn measure(path: &str, mut content: Content, limit: u64) -> Result<Measured, workspace::Error> {
    let unreadable = |error: std::io::Error| workspace::Error::Io {
        doing: format!("{path:?} cannot be written"),
        kind: error.kind(),
        cause: error.to_string(),
    };
    let digest = match &mut content {
        Content::Bytes(bytes) => workspace::digest(&mut &**bytes, limit).map_err(unreadable)?,
        Content::File(file) => {
            let begins = file.stream_position().map_err(unreadable)?;
            let digest = workspace::digest(&mut file.by_ref(), limit).map_err(unreadable)?;
            file.seek(SeekFrom::Start(begins)).map_err(unreadable)?;
            digest
        }
    };
    let too_large = || workspace::Error::TooLarge { what: format!("{path:?}, in bytes,"), limit };
    let (sha256, size) = digest.ok_or_else(too_large)?;
    Ok(Measured { content, size, sha256 })
}

/// The bytes of a file, behind what was said of it.
struct Rest {
    path: String,
    first: Bytes,
    /// Until it has ended.
    running: Option<Running>,
}

impl Rest {
    fn pieces(self) -> BoxStream<'static, Result<Bytes, Error>> {
        stream::try_unfold(self, Self::next).boxed()
    }

    async fn next(mut self) -> Result<Option<(Bytes, Self)>, Error> {
        while self.first.is_empty() {
            let Some(mut running) = self.running.take() else { return Ok(None) };
            if let Some(bytes) = running.stdout.next().await {
                self.first = bytes?;
                self.running = Some(running);
                continue;
            }
            let End { code, stderr } = running.end.await?;
            if let Some(error) = codes::failure(code, &self.path, &stderr) {
                return Err(error);
            }
        }
        let piece = self.first.split_to(self.first.len().min(CHUNK));
        Ok(Some((piece, self)))
    }
}

/// The folder that holds it, empty for the root, and its name there; refused where it can be neither.
pub(super) fn parts(path: &str) -> Result<(&str, &str), Error> {
    check_path(path)?;
    if path.split('/').any(|part| part.len() > NAME_MAX) {
        let rule = "has a part that is too long for a name".to_owned();
        return Err(Error::Files(workspace::Error::Path { path: path.to_owned(), rule }));
    }
    Ok(path.rsplit_once('/').unwrap_or(("", path)))
}

/// Where an entry really lies.
fn real(here: &[u8], name: &str) -> Result<String, Error> {
    let here = std::str::from_utf8(here).map_err(|_| unclear())?;
    Ok(if here.is_empty() { name.to_owned() } else { format!("{here}/{name}") })
}

fn clock(now: &[u8]) -> Result<i64, Error> {
    std::str::from_utf8(now).ok().and_then(decimal).ok_or_else(unclear)
}

/// A helper did not say what it says.
pub(super) fn unclear() -> Error {
    Error::Unavailable("a helper in the sandbox did not say what became of a file".to_owned())
}
