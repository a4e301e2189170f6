//! A folder of this machine as a tar stream, for a machine that holds the tree it belongs to: names of any length, modes,
//! times to the microsecond, and no owners.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::CStr,
    fs::File,
    io::{self, Write},
};

use rustix::{
    fs::{Dir, FileType as Sort, Statx, readlinkat},
    io::Errno,
};
use tar::{Archive, Builder, EntryType, Header};

use super::{
    Error, Folder,
    folder::{Links, MODE_BITS, open_content},
    path,
    stamp::{self, look},
};

/// Longest name that a header itself holds.
const NAME_MAX: usize = 100;

/// Writes everything in the folder, which nobody changes meanwhile; directories come before what they hold. Sockets, pipes
/// and devices are left out. Last comes an empty file of the name `mark`, by which whoever unpacks sees that it was all.
///
/// # Errors
/// [`Error::Io`], also when `to` does not take it.
pub fn pack(folder: &Folder, mark: &str, to: impl Write) -> Result<(), Error> {
    let mut pack = Pack { folder, to: Builder::new(to), names: HashMap::new() };
    let mut waiting = vec![String::new()];
    while let Some(above) = waiting.pop() {
        let failed = |errno| Error::of(if above.is_empty() { "." } else { &above }, errno);
        for entry in Dir::new(folder.listing(&above, Links::Refused).map_err(failed)?).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if let Some(below) = pack.entry(&above, entry.file_name())? {
                waiting.push(below);
            }
        }
    }
    let marked = pack.header(EntryType::Regular, mark, "", &Attributes::default(), &mut io::empty());
    marked
        .and_then(|()| pack.to.into_inner())
        .and_then(|mut to| to.flush())
        .map_err(|error| Error::io("files cannot be packed", &error))
}

struct Pack<'f, W: Write> {
    folder: &'f Folder,
    to: Builder<W>,
    /// The first name of files that have several.
    names: HashMap<(u32, u32, u64), String>,
}

impl<W: Write> Pack<'_, W> {
    /// Writes one, and says where to go on if it is a directory.
    fn entry(&mut self, above: &str, name: &CStr) -> Result<Option<String>, Error> {
        let Ok(name) = name.to_str() else { return Ok(None) };
        if matches!(name, "." | "..") {
            return Ok(None);
        }
        let path = path::join(above, name);
        let failed = |errno: Errno| Error::of(&path, errno);
        let unwritten = |error: io::Error| Error::io(format!("{path:?} cannot be packed"), &error);
        let place = self.folder.place(above, Links::Refused).map_err(failed)?;
        let stat = look(&place, name).map_err(failed)?;
        let attributes = Attributes::of(&stat);
        match Sort::from_raw_mode(u32::from(stat.stx_mode)) {
            Sort::Directory => {
                self.header(EntryType::Directory, &path, "", &attributes, &mut io::empty()).map_err(unwritten)?;
                return Ok(Some(path));
            }
            Sort::Symlink => {
                let target = readlinkat(&place, name, Vec::new()).map_err(failed)?;
                let target = target.into_string().map_err(|_| Error::path(&path, "leads to a name that is not UTF-8"));
                self.header(EntryType::Symlink, &path, &target?, &attributes, &mut io::empty()).map_err(unwritten)?;
            }
            Sort::RegularFile => {
                let identity = (stat.stx_dev_major, stat.stx_dev_minor, stat.stx_ino);
                let first = self.names.get(&identity).filter(|_| stat.stx_nlink > 1).cloned();
                if let Some(first) = first {
                    self.header(EntryType::Link, &path, &first, &attributes, &mut io::empty()).map_err(unwritten)?;
                } else {
                    let mut content = File::from(open_content(&place, name).map_err(failed)?);
                    self.header(EntryType::Regular, &path, "", &attributes, &mut content).map_err(unwritten)?;
                    if stat.stx_nlink > 1 {
                        self.names.insert(identity, path);
                    }
                }
            }
            Sort::Fifo | Sort::Socket | Sort::CharacterDevice | Sort::BlockDevice | Sort::Unknown => {}
        }
        Ok(None)
    }

    fn header(
        &mut self,
        sort: EntryType,
        path: &str,
        target: &str,
        attributes: &Attributes,
        content: &mut dyn io::Read,
    ) -> io::Result<()> {
        let Attributes { mode, size, micros } = *attributes;
        let (seconds, rest) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
        let mut extensions: Vec<(&str, String)> = Vec::new();
        if path.len() > NAME_MAX {
            extensions.push(("path", path.to_owned()));
        }
        if target.len() > NAME_MAX {
            extensions.push(("linkpath", target.to_owned()));
        }
        if rest != 0 || seconds < 0 {
            extensions.push(("mtime", decimal(micros)));
        }
        self.to.append_pax_extensions(extensions.iter().map(|(key, value)| (*key, value.as_bytes())))?;
        let mut header = Header::new_ustar();
        header.set_entry_type(sort);
        header.set_size(if sort.is_file() { size } else { 0 });
        header.set_mode(mode);
        header.set_mtime(u64::try_from(seconds).unwrap_or(0));
        header.set_uid(0);
        header.set_gid(0);
        let bytes = header.as_old_mut();
        put(&mut bytes.name, path);
        put(&mut bytes.linkname, target);
        header.set_cksum();
        self.to.append(&header, content)
    }
}

/// What is told of an entry beside its name.
#[derive(Clone, Copy, Default)]
struct Attributes {
    mode: u32,
    size: u64,
    micros: i64,
}

impl Attributes {
    fn of(stat: &Statx) -> Self {
        let micros = stamp::modify_time(stat).0;
        Self { mode: u32::from(stat.stx_mode) & MODE_BITS, size: stat.stx_size, micros }
    }
}

/// The files of a tar stream that is small enough to be held, by their paths; what is no file is passed over.
///
/// # Errors
/// [`Error::Archive`] when it is damaged.
pub fn packed(tar: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, Error> {
    let damaged = |error: io::Error| Error::Archive(error.to_string());
    let mut files = BTreeMap::new();
    for entry in Archive::new(tar).entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        let path = String::from_utf8(entry.path_bytes().into_owned());
        if let (Ok(path), EntryType::Regular | EntryType::Continuous) = (path, entry.header().entry_type()) {
            let mut bytes = Vec::new();
            io::Read::read_to_end(&mut entry, &mut bytes).map_err(damaged)?;
            files.insert(path.strip_prefix("./").unwrap_or(&path).to_owned(), bytes);
        }
    }
    Ok(files)
}

/// As much as fits; where that is not all, an extension says it whole.
fn put(place: &mut [u8; NAME_MAX], text: &str) {
    let fits = text.len().min(NAME_MAX);
    place[..fits].copy_from_slice(&text.as_bytes()[..fits]);
}

/// Seconds, as tar says them.
fn decimal(micros: i64) -> String {
    let sign = if micros < 0 { "-" } else { "" };
    let micros = micros.unsigned_abs();
    format!("{sign}{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_the_beginning() {
        assert_eq!(decimal(-1), "-0.000001");
        assert_eq!(decimal(1_700_000_000_123_456), "1700000000.123456");
    }
}
