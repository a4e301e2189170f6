//! Hints that something in a folder may have changed, from the kernel. A look tells what did: hints can be late, too many
//! or, where watches run out, missing, which is said.

use std::{
    collections::HashMap,
    ffi::CStr,
    mem::MaybeUninit,
    os::fd::{AsFd as _, OwnedFd},
    sync::Arc,
};

use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, eventfd, poll},
    fs::{
        Dir,
        inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init},
    },
    io::Errno,
};

use super::{
    Error, Folder, Ignore,
    folder::{Links, itself},
    ignore::TAG,
    path,
};

/// Most directories that are watched: the kernel gives all programs of a user a number of watches together.
const WATCHES: usize = 8192;

/// What to do where there are no more.
const NO_WATCHER: &str = "a folder cannot be watched; raise fs.inotify.max_user_instances, unless this process has too \
                          many files open";
const NO_WATCH: &str = "a directory cannot be watched; raise fs.inotify.max_user_watches";

/// What counts. That a file grows is not among it: whoever writes a log would wake somebody with every line, and the
/// end of writing is told.
const EVENTS: WatchFlags = WatchFlags::CLOSE_WRITE
    .union(WatchFlags::CREATE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::ONLYDIR);

/// Watches a folder and all in it that is shown.
#[derive(Debug)]
pub struct Hints {
    folder: Folder,
    inotify: OwnedFd,
    stop: Arc<OwnedFd>,
    watched: HashMap<i32, String>,
    missing: Option<Error>,
}

/// Ends the wait for hints when it is dropped.
#[derive(Debug)]
pub struct StopHints(Arc<OwnedFd>);

impl Hints {
    /// Begins to watch.
    ///
    /// # Errors
    /// [`Error::Io`] when the kernel gives no watch at all; [`Error::Gone`].
    pub fn new(folder: Folder) -> Result<(Self, StopHints), Error> {
        let failed = |errno: Errno| Error::io("a folder cannot be watched", &errno.into());
        let inotify = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).map_err(|errno| match errno {
            Errno::MFILE => Error::io(NO_WATCHER, &errno.into()),
            errno => failed(errno),
        })?;
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(failed)?);
        let mut hints = Self { folder, inotify, stop: Arc::clone(&stop), watched: HashMap::new(), missing: None };
        hints.watch("")?;
        match hints.missing.take_if(|_| hints.watched.is_empty()) {
            Some(nothing) => Err(nothing),
            None => Ok((hints, StopHints(stop))),
        }
    }

    /// Waits until something may have changed; says `false` when the wait was ended.
    ///
    /// # Errors
    /// [`Error::Io`] when the kernel tells nothing any more.
    pub fn wait(&mut self) -> Result<bool, Error> {
        loop {
            let mut ready =
                [PollFd::new(&self.inotify, PollFlags::IN), PollFd::from_borrowed_fd(self.stop.as_fd(), PollFlags::IN)];
            match poll(&mut ready, None) {
                Err(Errno::INTR) => continue,
                done => done.map_err(|errno| Error::io("a folder is not watched any more", &errno.into()))?,
            };
            if !ready[1].revents().is_empty() {
                return Ok(false);
            }
            if self.drain()? {
                return Ok(true);
            }
        }
    }

    /// Why not everything that is shown is watched, where it is not: whoever wants to know more looks now and then.
    #[must_use]
    pub fn missing(&self) -> Option<&Error> {
        self.missing.as_ref()
    }

    /// Takes what came since the last time, without waiting, and says whether something may have changed.
    fn drain(&mut self) -> Result<bool, Error> {
        let failed = |errno: Errno| Error::io("a folder is not watched any more", &errno.into());
        let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
        let (mut changed, mut fresh) = (false, Vec::new());
        let inotify = self.inotify.try_clone().map_err(|error| Error::io("a descriptor cannot be had", &error))?;
        let mut reader = Reader::new(&inotify, &mut buffer);
        loop {
            let event = match reader.next() {
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => continue,
                event => event.map_err(failed)?,
            };
            let events = event.events();
            if events.contains(ReadFlags::QUEUE_OVERFLOW) {
                // Folders may have come unseen.
                changed = true;
                fresh.push(String::new());
                continue;
            }
            if events.contains(ReadFlags::IGNORED) {
                self.watched.remove(&event.wd());
                continue;
            }
            let Some(folder) = self.watched.get(&event.wd()) else { continue };
            let is_directory = events.contains(ReadFlags::ISDIR);
            let name = event.file_name().map_or(Ok(""), CStr::to_str);
            if name.is_ok_and(|name| Ignore::Hidden.leaves_out(name, is_directory)) {
                continue;
            }
            changed = true;
            if is_directory
                && events.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO)
                && let Ok(name) = name
            {
                fresh.push(path::join(folder, name));
            }
        }
        for folder in fresh {
            self.watch(&folder)?;
        }
        Ok(changed)
    }

    /// Watches a directory and those in it. One that is watched already is known by its new name from then on.
    fn watch(&mut self, path: &str) -> Result<(), Error> {
        let mut waiting = vec![path.to_owned()];
        while let Some(path) = waiting.pop() {
            let listing = match self.folder.listing(&path, Links::Refused) {
                Ok(listing) => listing,
                // Gone again, or not ours to read.
                Err(_) if !path.is_empty() => continue,
                Err(errno) => return Err(Error::of(".", errno)),
            };
            if self.watched.len() >= WATCHES {
                let what = "the number of directories to be watched".to_owned();
                self.missing = Some(Error::TooLarge { what, limit: WATCHES as u64 });
                return Ok(());
            }
            // By what is open and not by name, which may lead elsewhere by now.
            let watch = match add_watch(&self.inotify, format!("{}/.", itself(&listing)), EVENTS) {
                Ok(watch) => watch,
                Err(errno) => {
                    let doing = if errno == Errno::NOSPC { NO_WATCH } else { "a directory cannot be watched" };
                    self.missing = Some(Error::io(doing, &errno.into()));
                    continue;
                }
            };
            self.watched.insert(watch, path.clone());
            // Listed after it is watched: what comes in between is seen one way or the other.
            let mut below = Vec::new();
            let mut tagged = false;
            for entry in Dir::new(listing).into_iter().flatten().flatten() {
                let Ok(name) = entry.file_name().to_str() else { continue };
                tagged |= name == TAG;
                let may_be_directory = entry.file_type().is_dir() || entry.file_type() == rustix::fs::FileType::Unknown;
                if may_be_directory && !matches!(name, "." | "..") && !Ignore::Hidden.leaves_out(name, true) {
                    below.push(path::join(&path, name));
                }
            }
            if !tagged || path.is_empty() {
                waiting.append(&mut below);
            }
        }
        Ok(())
    }
}

impl Drop for StopHints {
    fn drop(&mut self) {
        // Fails only when it was raised already.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }
}
