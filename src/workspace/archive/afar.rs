//! What is to be done to bring an archive into a folder of another machine, of which is known what stands in its places. The
//! rules are those of bringing it into a folder here.

use std::collections::{BTreeMap, BTreeSet};

use rustix::fs::FileType;

use super::gather::{Gathered, Sort};
use crate::workspace::{Error, operations::word, path, tree::PLAIN_DIRECTORY};

/// One thing to do; those before it are done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Makes a directory, with a mode that lets it be filled.
    Make(String),
    /// Moves what lies at `from`, among what was gathered, to `to`.
    Move {
        /// Among what was gathered.
        from: String,
        /// In the folder.
        to: String,
        /// A file or link stands there, and is set aside until everything is in.
        replaces: bool,
    },
    /// Gives a directory that was not there its mode.
    Mode(String, u32),
}

impl Gathered {
    /// The paths of which must be known what stands there, sorted.
    #[must_use]
    pub fn places(&self) -> BTreeSet<String> {
        let targets = self.entries().keys().map(|path| path::join(self.under(), path));
        targets.chain(self.folders().map(str::to_owned)).collect()
    }

    /// What is to be done, and how many files and links that brings; `there` says what stands in its [`Self::places`].
    ///
    /// # Errors
    /// [`Error::Sort`] where a directory would replace a file or the other way round, [`Error::Path`] where a link leads
    /// elsewhere.
    pub fn steps(&self, there: &BTreeMap<String, FileType>) -> Result<(Vec<Step>, usize), Error> {
        for above in self.folders() {
            in_the_way(there, above, Sort::Directory(0))?;
        }
        for (path, sort) in self.entries() {
            in_the_way(there, &path::join(self.under(), path), *sort)?;
        }
        let mut steps = Vec::new();
        let mut missing: Vec<&str> = self.folders().filter(|folder| !there.contains_key(*folder)).collect();
        missing.sort_unstable();
        steps.extend(missing.into_iter().map(|folder| Step::Make(folder.to_owned())));
        let (mut moved, mut modes, mut brought) = (BTreeSet::new(), Vec::new(), 0);
        for (path, sort) in self.entries() {
            let to = path::join(self.under(), path);
            let goes_along = path::above(path).any(|above| moved.contains(above));
            match sort {
                Sort::Directory(mode) if !there.contains_key(&to) => {
                    if *mode != PLAIN_DIRECTORY {
                        modes.push(Step::Mode(to.clone(), *mode));
                    }
                    moved.insert(path.as_str());
                    if !goes_along {
                        steps.push(Step::Move { from: path.clone(), to, replaces: false });
                    }
                }
                // One that was there keeps its own mode.
                Sort::Directory(_) => {}
                Sort::File | Sort::Link => {
                    brought += 1;
                    if !goes_along {
                        let replaces = there.contains_key(&to);
                        steps.push(Step::Move { from: path.clone(), to, replaces });
                    }
                }
            }
        }
        // Deepest first: a directory that nobody may enter is closed last.
        steps.extend(modes.into_iter().rev());
        Ok((steps, brought))
    }

    /// The folder that everything goes to, and those above it.
    fn folders(&self) -> impl Iterator<Item = &str> {
        path::above(self.under()).chain(Some(self.under()).filter(|under| !under.is_empty()))
    }
}

fn in_the_way(there: &BTreeMap<String, FileType>, target: &str, sort: Sort) -> Result<(), Error> {
    if path::above(target).any(|above| there.get(above) == Some(&FileType::Symlink)) {
        return Err(Error::of(target, rustix::io::Errno::LOOP));
    }
    let wrong = |is, wanted| Err(Error::Sort { path: target.to_owned(), is: word(is), wanted });
    match (there.get(target).copied(), sort) {
        (None, _) | (Some(FileType::Directory), Sort::Directory(_)) => Ok(()),
        (Some(FileType::Directory), Sort::File) => wrong(FileType::Directory, "a file as in the archive"),
        (Some(FileType::Directory), Sort::Link) => wrong(FileType::Directory, "a link as in the archive"),
        (Some(is), Sort::Directory(_)) => wrong(is, "a directory as in the archive"),
        (Some(_), Sort::File | Sort::Link) => Ok(()),
    }
}
