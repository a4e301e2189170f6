//! Files as a tar archive that is the same bytes for the same files, whenever and by whomever they were written: what is built
//! of it is known by its hash.

use std::io::{self, Cursor};

use tar::{Builder, EntryType, Header};

use super::Error;
use crate::domain::{FileType, WorkspaceFile};

/// The time of all that is in it: the earliest that archives of every kind can tell, 1980.
const TIME: u64 = 315_532_800;

/// Packs entries, which are sorted by path; `content` gives the bytes of a file.
///
/// # Errors
/// [`Error::Io`] when a file cannot be read.
pub fn same_archive<'f>(
    files: impl IntoIterator<Item = &'f WorkspaceFile>,
    mut content: impl FnMut(&WorkspaceFile) -> io::Result<Vec<u8>>,
) -> Result<Vec<u8>, Error> {
    let mut archive = Builder::new(Vec::new());
    for file in files {
        let added = match file.file_type {
            FileType::Directory => add(&mut archive, file, EntryType::Directory, Vec::new()),
            FileType::File => content(file).and_then(|bytes| add(&mut archive, file, EntryType::Regular, bytes)),
            FileType::Symlink => {
                let mut header = header(file, EntryType::Symlink, 0);
                archive.append_link(&mut header, &file.path, &file.symlink_target)
            }
        };
        added.map_err(|error| Error::io(format!("{:?} cannot be packed", file.path), &error))?;
    }
    archive.into_inner().map_err(|error| Error::io("files cannot be packed", &error))
}

fn add(archive: &mut Builder<Vec<u8>>, file: &WorkspaceFile, sort: EntryType, bytes: Vec<u8>) -> io::Result<()> {
    let mut header = header(file, sort, bytes.len() as u64);
    archive.append_data(&mut header, &file.path, Cursor::new(bytes))
}

fn header(file: &WorkspaceFile, sort: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(sort);
    header.set_size(size);
    header.set_mode(file.mode);
    header.set_mtime(TIME);
    header.set_uid(0);
    header.set_gid(0);
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;

    fn file(path: &str, file_type: FileType, micros: i64) -> WorkspaceFile {
        WorkspaceFile {
            path: path.to_owned(),
            file_type,
            size_bytes: 0,
            sha256: String::new(),
            mode: 0o755,
            modify_time: Some(Timestamp(micros)),
            symlink_target: if file_type == FileType::Symlink { "../elsewhere".to_owned() } else { String::new() },
        }
    }

    #[test]
    fn when_files_were_written_is_not_in_it() {
        let long = format!("a{}", "/long".repeat(60));
        let archive = |micros, text: &str| {
            let files = [
                file("a", FileType::Directory, micros),
                file(&long, FileType::Directory, micros),
                file("a/link", FileType::Symlink, micros),
                file("b", FileType::File, micros),
            ];
            same_archive(&files, |_| Ok(text.as_bytes().to_vec())).unwrap()
        };
        let one = archive(1, "text");
        assert_eq!(one, archive(2, "text"));
        assert_ne!(one, archive(1, "other"));
        let mut read = tar::Archive::new(&one[..]);
        let paths: Vec<String> =
            read.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect();
        assert_eq!(paths, ["a", long.as_str(), "a/link", "b"]);
    }
}
