//! Moving what an archive brought to where it belongs. What is replaced is set aside until everything is in, so that a
//! failure half way can be undone.

use std::os::fd::OwnedFd;

use rustix::{
    fs::{AtFlags, FileType, unlinkat},
    io::Errno,
};

use super::gather::{Gathered, Sort};
use crate::workspace::{
    Error, Folder,
    folder::{Links, make_directory, set_mode},
    operations::{sort_of, word},
    path,
    staging::Staged,
};

/// What can be undone.
enum Step<'p> {
    /// A directory that was not there.
    Made(String),
    /// A file or link, in place of what is set aside.
    Put(OwnedFd, &'p str, Option<Staged>),
}

/// Moves everything in, or nothing.
pub(super) fn enter(folder: &Folder, gathered: &Gathered) -> Result<usize, Error> {
    let targets: Vec<(String, &str, Sort)> =
        gathered.entries().iter().map(|(path, sort)| (path::join(gathered.under(), path), &**path, *sort)).collect();
    for above in path::above(gathered.under()).chain(Some(gathered.under()).filter(|under| !under.is_empty())) {
        in_the_way(folder, above, Sort::Directory(0))?;
    }
    for (target, _, sort) in &targets {
        in_the_way(folder, target, *sort)?;
    }
    let mut steps = Vec::new();
    match all(folder, gathered, &targets, &mut steps) {
        Ok(()) => Ok(steps.iter().filter(|step| matches!(step, Step::Put(..))).count()),
        Err(error) => {
            for step in steps.into_iter().rev() {
                undo(folder, step);
            }
            Err(error)
        }
    }
}

/// Refuses where a directory would replace something else, or the other way round, or where a link leads elsewhere.
fn in_the_way(folder: &Folder, target: &str, sort: Sort) -> Result<(), Error> {
    let there = match folder.parent(target, Links::Refused) {
        Ok((place, name)) => sort_of(&place, name),
        // What is above was looked at before: it is missing and will be made.
        Err(Error::NotFound { .. }) => return Ok(()),
        Err(error) => return Err(error),
    };
    let wrong = |is, wanted| Err(Error::Sort { path: target.to_owned(), is: word(is), wanted });
    match (there, sort) {
        (Err(Errno::NOENT), _) | (Ok(FileType::Directory), Sort::Directory(_)) => Ok(()),
        (Err(errno), _) => Err(Error::of(target, errno)),
        (Ok(FileType::Directory), Sort::File) => wrong(FileType::Directory, "a file as in the archive"),
        (Ok(FileType::Directory), Sort::Link) => wrong(FileType::Directory, "a link as in the archive"),
        (Ok(is), Sort::Directory(_)) => wrong(is, "a directory as in the archive"),
        (Ok(_), Sort::File | Sort::Link) => Ok(()),
    }
}

fn all<'p>(
    folder: &Folder,
    gathered: &Gathered,
    targets: &'p [(String, &str, Sort)],
    steps: &mut Vec<Step<'p>>,
) -> Result<(), Error> {
    if !gathered.under().is_empty() {
        make(folder, gathered.under(), steps)?;
    }
    for (target, from, sort) in targets {
        match sort {
            Sort::Directory(_) => make(folder, target, steps)?,
            Sort::File | Sort::Link => {
                let (from, from_name) = gathered.folder().parent(from, Links::Refused)?;
                let (place, name) = folder.parent(target, Links::Refused)?;
                let aside = match sort_of(&place, name) {
                    Ok(_) => {
                        let spot = folder.staging.spot()?;
                        spot.take(&place, name).map_err(|errno| Error::moving(target, errno))?;
                        Some(spot)
                    }
                    Err(_) => None,
                };
                let put = rustix::fs::renameat(&from, from_name, &place, name);
                // Written down even when it failed: what was set aside must come back.
                steps.push(Step::Put(place, name, aside));
                put.map_err(|errno| Error::moving(target, errno))?;
            }
        }
    }
    // Modes last: a directory that nobody may write could not be filled. One that was there keeps its own.
    let made: std::collections::HashSet<&String> = steps
        .iter()
        .filter_map(|step| match step {
            Step::Made(path) => Some(path),
            Step::Put(..) => None,
        })
        .collect();
    for (target, _, sort) in targets.iter().rev() {
        if let Sort::Directory(mode) = sort
            && made.contains(target)
        {
            let (place, name) = folder.parent(target, Links::Refused)?;
            set_mode(&place, name, *mode).map_err(|errno| Error::of(target, errno))?;
        }
    }
    Ok(())
}

/// Makes a directory and those above it, where they are missing.
fn make(folder: &Folder, target: &str, steps: &mut Vec<Step<'_>>) -> Result<(), Error> {
    let mut missing = Vec::new();
    for above in Some(target).into_iter().chain(path::above(target)) {
        match folder.place(above, Links::Refused) {
            Ok(_) => break,
            Err(Errno::NOENT) => missing.push(above),
            Err(errno) => return Err(Error::of(above, errno)),
        }
    }
    for directory in missing.into_iter().rev() {
        let (place, name) = folder.parent(directory, Links::Refused)?;
        make_directory(&place, name, 0o755).map_err(|errno| Error::of(directory, errno))?;
        steps.push(Step::Made(directory.to_owned()));
    }
    Ok(())
}

/// As it was; what cannot be undone is told in the log.
fn undo(folder: &Folder, step: Step<'_>) {
    let undone = match step {
        Step::Made(path) => folder.delete(&path).map(drop),
        Step::Put(place, name, aside) => {
            let back = match &aside {
                Some(aside) => aside.give_back(&place, name),
                None => match unlinkat(&place, name, AtFlags::empty()) {
                    Err(Errno::NOENT) => Ok(()),
                    done => done,
                },
            };
            back.map_err(|errno| Error::of(name, errno))
        }
    };
    if let Err(error) = undone {
        tracing::warn!(%error, "an archive that could not be unpacked left something behind");
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs, path::Path};

    use super::*;
    use crate::workspace::ArchiveLimits;

    fn texts(root: &Path) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        let mut waiting = vec![root.to_owned()];
        while let Some(directory) = waiting.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(root).unwrap().display().to_string();
                if path.is_dir() {
                    found.insert(name, "a directory".to_owned());
                    waiting.push(path);
                } else {
                    found.insert(name, fs::read_to_string(path).unwrap());
                }
            }
        }
        found
    }

    /// Here the last file of all is lost before it is moved in.
    #[test]
    fn a_failure_half_way_is_undone() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("there")).unwrap();
        fs::write(root.join("a"), "kept").unwrap();
        fs::write(root.join("there/b"), "kept").unwrap();
        let before = texts(&root);
        let folder = Folder::open(&root, &dir.path().join("staging")).unwrap();
        let mut gathered = Gathered::new(&folder, "", ArchiveLimits::default(), 1).unwrap();
        let gather = |gathered: &mut Gathered| {
            for path in ["a", "there/b", "made/for/c", "z"] {
                gathered.file(path, 0o644, &mut &b"new"[..]).unwrap();
            }
        };
        gather(&mut gathered);
        gathered.folder().delete("z").unwrap();
        assert_eq!(enter(&folder, &gathered), Err(Error::NotFound { path: "z".to_owned() }));
        assert_eq!(texts(&root), before);
        gather(&mut gathered);
        assert_eq!(enter(&folder, &gathered), Ok(4));
        assert_eq!(texts(&root)["a"], "new");
    }
}
