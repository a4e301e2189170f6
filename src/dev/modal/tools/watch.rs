//! Tells what happens below a path, a line of JSON an event, until its standard input is closed or its time is over.

use std::{
    collections::HashMap,
    fs,
    io::{self, ErrorKind, Write as _},
    mem::MaybeUninit,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init},
    io::Errno,
};
use serde::Serialize;

use super::Failure;

const EVENTS: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO);

/// What happened, by its name on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
enum Type {
    Access,
    Create,
    Modify,
    Remove,
    Rename,
    RenameFrom,
    RenameTo,
    Unknown,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Event {
    event_type: Type,
    paths: Vec<PathBuf>,
}

/// Watches until there is a reason to end.
pub(super) fn watch(
    path: &Path,
    recursive: bool,
    filter: Option<&[String]>,
    timeout_secs: Option<u64>,
) -> Result<(), Failure> {
    let until = timeout_secs.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    // Events name the place that a link leads to.
    let mut watching = Watching::new(&path.canonicalize()?, recursive)?;
    let stdin = io::stdin();
    loop {
        let left = match until.map(|until| until.checked_duration_since(Instant::now())) {
            Some(None) => return Ok(()),
            Some(Some(left)) => Some(Timespec::try_from(left).map_err(io::Error::other)?),
            None => None,
        };
        let mut ready =
            [PollFd::from_borrowed_fd(watching.inotify.as_fd(), PollFlags::IN), PollFd::new(&stdin, PollFlags::IN)];
        match poll(&mut ready, left.as_ref()) {
            Err(Errno::INTR) => continue,
            done => done.map_err(io::Error::from)?,
        };
        let [news, asked] = ready.map(|fd| !fd.revents().is_empty());
        // What happened before the end is told.
        if news {
            let mut out = io::stdout().lock();
            for event in watching.read()? {
                let name = format!("{:?}", event.event_type);
                if filter.is_none_or(|filter| filter.contains(&name)) {
                    serde_json::to_writer(&mut out, &event).map_err(io::Error::from)?;
                    out.write_all(b"\n")?;
                }
            }
            out.flush()?;
        }
        if asked && rustix::io::read(&stdin, &mut [0_u8; 512]).map_err(io::Error::from)? == 0 {
            return Ok(());
        }
    }
}

struct Watching {
    inotify: OwnedFd,
    recursive: bool,
    watched: HashMap<i32, PathBuf>,
}

impl Watching {
    fn new(path: &Path, recursive: bool) -> io::Result<Self> {
        let inotify = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let mut watching = Self { inotify, recursive, watched: HashMap::new() };
        watching.add(path)?;
        Ok(watching)
    }

    /// Watches a file or a directory, and with it the directories in it where that is wanted.
    fn add(&mut self, path: &Path) -> io::Result<()> {
        let wd = add_watch(&self.inotify, path, EVENTS)?;
        self.watched.insert(wd, path.to_owned());
        if !self.recursive || !path.is_dir() {
            return Ok(());
        }
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                self.add_below(&entry.path())?;
            }
        }
        Ok(())
    }

    /// One that is gone by now needs no watch. Where there are no more watches it cannot go on.
    fn add_below(&mut self, path: &Path) -> io::Result<()> {
        self.add(path).or_else(|error| if error.kind() == ErrorKind::StorageFull { Err(error) } else { Ok(()) })
    }

    /// What came since the last time.
    fn read(&mut self) -> io::Result<Vec<Event>> {
        let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
        let inotify = self.inotify.try_clone()?;
        let mut reader = Reader::new(&inotify, &mut buffer);
        let mut events: Vec<Event> = Vec::new();
        // The first half of a rename, by the number that both halves have.
        let mut halves: HashMap<u32, usize> = HashMap::new();
        loop {
            let event = match reader.next() {
                Err(Errno::AGAIN) => return Ok(events),
                Err(Errno::INTR) => continue,
                event => event?,
            };
            let flags = event.events();
            if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
                events.push(Event { event_type: Type::Unknown, paths: Vec::new() });
                continue;
            }
            if flags.contains(ReadFlags::IGNORED) {
                self.watched.remove(&event.wd());
                continue;
            }
            let Some(place) = self.watched.get(&event.wd()) else { continue };
            let path = match event.file_name() {
                Some(name) => place.join(std::ffi::OsStr::from_bytes(name.to_bytes())),
                None => place.clone(),
            };
            let directory = flags.contains(ReadFlags::ISDIR);
            if directory && self.recursive && flags.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO) {
                self.add_below(&path)?;
            }
            if flags.contains(ReadFlags::MOVED_FROM) {
                halves.insert(event.cookie(), events.len());
            }
            if flags.contains(ReadFlags::MOVED_TO)
                && let Some(first) = halves.remove(&event.cookie())
            {
                let from = &mut events[first];
                from.event_type = Type::Rename;
                from.paths.push(path);
                continue;
            }
            if let Some(event_type) = type_of(flags) {
                events.push(Event { event_type, paths: vec![path] });
            }
        }
    }
}

fn type_of(flags: ReadFlags) -> Option<Type> {
    let types = [
        (ReadFlags::CREATE, Type::Create),
        (ReadFlags::MODIFY, Type::Modify),
        (ReadFlags::ATTRIB, Type::Modify),
        (ReadFlags::CLOSE_WRITE, Type::Access),
        (ReadFlags::DELETE, Type::Remove),
        (ReadFlags::DELETE_SELF, Type::Remove),
        (ReadFlags::MOVED_FROM, Type::RenameFrom),
        (ReadFlags::MOVED_TO, Type::RenameTo),
    ];
    types.into_iter().find(|(flag, _)| flags.contains(*flag)).map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_name_what_happened_and_where() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path().canonicalize().expect("it is there");
        let mut watching = Watching::new(&place, true).expect("a watch");
        fs::create_dir(place.join("a")).expect("made");
        assert_eq!(watching.read().expect("events"), [event(Type::Create, &[&place.join("a")])]);
        // The new directory is watched too.
        fs::write(place.join("a/b"), "x").expect("written");
        let seen: Vec<Type> = watching.read().expect("events").into_iter().map(|event| event.event_type).collect();
        assert_eq!(seen, [Type::Create, Type::Modify, Type::Access]);
        fs::rename(place.join("a/b"), place.join("c")).expect("moved");
        assert_eq!(watching.read().expect("events"), [event(Type::Rename, &[&place.join("a/b"), &place.join("c")])]);
        fs::remove_file(place.join("c")).expect("removed");
        assert_eq!(watching.read().expect("events"), [event(Type::Remove, &[&place.join("c")])]);
    }

    fn event(event_type: Type, paths: &[&Path]) -> Event {
        Event { event_type, paths: paths.iter().map(|path| (*path).to_owned()).collect() }
    }
}
