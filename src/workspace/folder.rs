//! A folder that nothing leaves: every path is resolved by the kernel beneath its descriptor, so that neither `..` nor a
//! link, nor a directory that is swapped for a link meanwhile, leads out of it. Where the kernel cannot do that (before
//! Linux 5.6, or behind a filter that refuses `openat2`), the same is done by hand, one part of the path at a time.

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{Mode, OFlags, ResolveFlags, chmod, mkdirat, open, openat, openat2, readlinkat},
    io::{Errno, Result},
    process::geteuid,
};

use super::{Error, path, staging::Staging, stamp::look, tree::PLAIN_DIRECTORY};

/// Links that are followed on the way to one entry, as in the kernel.
const LINKS_MAX: usize = 40;

/// How often the kernel is asked again when things moved while it looked.
const TRIES: usize = 64;

/// An open folder. Everything done with it is relative to the directory that it was when it was opened.
#[derive(Debug)]
pub struct Folder {
    root: OwnedFd,
    pub(super) staging: Staging,
    by_hand: bool,
}

/// What links among the directories of a path are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Links {
    /// Followed where they stay in the folder.
    Inside,
    /// Refused.
    Refused,
}

impl Folder {
    /// Opens the folder. `staging` is a directory on the same file system and not in the folder, made when it is needed,
    /// where things are put together before they are moved in; nobody else uses it.
    ///
    /// # Errors
    /// [`Error::Gone`] when there is no such directory.
    pub fn open(root: &Path, staging: &Path) -> std::result::Result<Self, Error> {
        let opened = open(root, DIRECTORY, Mode::empty());
        let root = opened.map_err(|errno| match errno {
            Errno::NOENT | Errno::NOTDIR => Error::Gone(format!("{} is no directory", root.display())),
            errno => Error::io(format!("{} cannot be opened", root.display()), &errno.into()),
        })?;
        // A filter that does not know the call says EPERM, as does nothing else here.
        let tried = openat2(&root, ".", DIRECTORY, Mode::empty(), ResolveFlags::BENEATH);
        let by_hand = matches!(tried, Err(Errno::NOSYS | Errno::PERM));
        Ok(Self { root, staging: Staging::new(staging), by_hand })
    }

    /// The same folder, resolving by hand although the kernel can: for tests of that.
    #[must_use]
    pub fn by_hand(self) -> Self {
        Self { by_hand: true, ..self }
    }

    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// The directory at `path`, the folder itself where that is empty, as a place to do things in.
    pub(super) fn place(&self, path: &str, links: Links) -> Result<OwnedFd> {
        self.directory(path, links, OFlags::PATH | DIRECTORY)
    }

    /// The same, to be listed.
    pub(super) fn listing(&self, path: &str, links: Links) -> Result<OwnedFd> {
        self.directory(path, links, DIRECTORY)
    }

    fn directory(&self, path: &str, links: Links, flags: OFlags) -> Result<OwnedFd> {
        let path = if path.is_empty() { "." } else { path };
        if self.by_hand {
            return openat(by_hand(self.root(), path, links)?, ".", flags, Mode::empty());
        }
        let mut resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        if links == Links::Refused {
            resolve |= ResolveFlags::NO_SYMLINKS;
        }
        for _ in 0..TRIES {
            match openat2(self.root(), path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                done => return done,
            }
        }
        // Things move too fast for the kernel to prove that it stayed inside; by hand that holds at any speed.
        openat(by_hand(self.root(), path, links)?, ".", flags, Mode::empty())
    }

    /// The directory that holds `path`, and the entry's name in it.
    pub(super) fn parent<'p>(&self, path: &'p str, links: Links) -> std::result::Result<(OwnedFd, &'p str), Error> {
        path::check(path)?;
        let (above, name) = path::split(path);
        Ok((self.place(above, links).map_err(|errno| Error::of(path, errno))?, name))
    }

    /// The same, made where it is missing.
    pub(super) fn parent_made<'p>(
        &self,
        path: &'p str,
        links: Links,
    ) -> std::result::Result<(OwnedFd, &'p str), Error> {
        path::check(path)?;
        let (above, name) = path::split(path);
        let made = self.place_made(above, links).map_err(|errno| match errno {
            Errno::NOTDIR => Error::path(path, "goes through a file: delete that first"),
            Errno::NOENT => Error::path(path, "goes through a link that leads nowhere"),
            errno => Error::of(path, errno),
        });
        Ok((made?, name))
    }

    /// Where an entry really lies, if its path goes through links: what a look calls it.
    pub(super) fn real(&self, place: &OwnedFd, path: &str) -> std::result::Result<String, Error> {
        let (above, name) = path::split(path);
        if above.is_empty() || self.place(above, Links::Refused).is_ok() {
            return Ok(path.to_owned());
        }
        let lies =
            |of: BorrowedFd<'_>| readlinkat(rustix::fs::CWD, format!("/proc/self/fd/{}", of.as_raw_fd()), Vec::new());
        let (root, place) =
            lies(self.root()).and_then(|root| Ok((root, lies(place.as_fd())?))).map_err(|e| Error::of(path, e))?;
        let below = place.to_bytes().strip_prefix(root.to_bytes()).and_then(|below| std::str::from_utf8(below).ok());
        let below = below.ok_or_else(|| Error::path(path, "lies in a folder that was moved meanwhile"))?;
        Ok(path::join(below.trim_start_matches('/'), name))
    }

    fn place_made(&self, path: &str, links: Links) -> Result<OwnedFd> {
        match self.place(path, links) {
            Err(Errno::NOENT) if !path.is_empty() => {
                let (above, name) = path::split(path);
                let above = self.place_made(above, links)?;
                make_directory(&above, name, PLAIN_DIRECTORY)?;
                match openat(&above, name, OFlags::PATH | OFlags::NOFOLLOW | DIRECTORY, Mode::empty()) {
                    // A link was there, which may lead to a directory or nowhere.
                    Err(Errno::NOTDIR | Errno::LOOP) => self.place(path, links),
                    opened => opened,
                }
            }
            opened => opened,
        }
    }
}

/// How directories are opened, apart from what for.
const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);

/// Walks one part at a time. Going up takes the directory one came from, whatever became of it meanwhile, so the walk
/// cannot leave the folder even where directories are moved about.
fn by_hand(root: BorrowedFd<'_>, path: &str, links: Links) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | DIRECTORY;
    let mut walked = vec![openat(root, ".", flags, Mode::empty())?];
    let mut parts: VecDeque<Vec<u8>> = path.split('/').map(|part| part.as_bytes().to_vec()).collect();
    let mut followed = 0;
    while let Some(part) = parts.pop_front() {
        let here = walked.last().ok_or(Errno::XDEV)?;
        match &*part {
            b"" | b"." => {}
            b".." if walked.len() == 1 => return Err(Errno::XDEV),
            b".." => {
                walked.pop();
            }
            name => match openat(here, name, flags, Mode::empty()) {
                Ok(next) => walked.push(next),
                Err(Errno::NOTDIR | Errno::LOOP) => {
                    let target = match readlinkat(here, name, Vec::new()) {
                        Err(Errno::INVAL) => return Err(Errno::NOTDIR),
                        target => target?.into_bytes(),
                    };
                    followed += 1;
                    if links == Links::Refused || followed > LINKS_MAX {
                        return Err(Errno::LOOP);
                    }
                    if target.starts_with(b"/") {
                        return Err(Errno::XDEV);
                    }
                    for part in target.split(|byte| *byte == b'/').rev() {
                        parts.push_front(part.to_vec());
                    }
                }
                Err(errno) => return Err(errno),
            },
        }
    }
    walked.pop().ok_or(Errno::XDEV)
}

/// Makes a directory with exactly this mode; one that is there stays as it is.
pub(super) fn make_directory(place: &OwnedFd, name: &str, mode: u32) -> Result<()> {
    match mkdirat(place, name, Mode::RWXU) {
        Ok(()) => set_mode(place, name, mode),
        Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Sets the mode of an entry itself; a link has none.
pub(super) fn set_mode(place: &OwnedFd, name: &str, mode: u32) -> Result<()> {
    let entry = openat(place, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    if rustix::fs::FileType::from_raw_mode(u32::from(look(&entry, "")?.stx_mode)).is_symlink() {
        return Err(Errno::LOOP);
    }
    chmod(itself(&entry), Mode::from_raw_mode(mode & MODE_BITS))
}

/// Opens a file's content to be read.
pub(super) fn open_plain(place: &OwnedFd, name: &str) -> Result<OwnedFd> {
    // Not blocking: a pipe may stand there by now.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    openat(place, name, flags, Mode::empty())
}

/// Opens a file's content to be read, whatever its mode: what its owner may not read is opened up for a moment.
pub(super) fn open_content(place: &OwnedFd, name: &str) -> Result<OwnedFd> {
    match open_plain(place, name) {
        Err(Errno::ACCESS) => {}
        opened => return opened,
    }
    let entry = openat(place, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let stat = look(&entry, "")?;
    let mode = Mode::from_raw_mode(u32::from(stat.stx_mode));
    if stat.stx_uid != geteuid().as_raw() || !rustix::fs::FileType::from_raw_mode(u32::from(stat.stx_mode)).is_file() {
        return Err(Errno::ACCESS);
    }
    chmod(itself(&entry), mode | Mode::RUSR)?;
    let opened = open(itself(&entry), OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty());
    chmod(itself(&entry), mode)?;
    opened
}

/// The permission bits that are told and put back; programs that run as somebody else are not made here.
pub(super) const MODE_BITS: u32 = 0o777;

/// A name for exactly what is open, wherever it is called what.
pub(super) fn itself(entry: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", entry.as_raw_fd())
}

/// What the machine said, as an error of the standard library.
pub(super) fn io(errno: Errno) -> io::Error {
    errno.into()
}
