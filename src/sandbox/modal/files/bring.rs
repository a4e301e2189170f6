//! Bringing much at once: put together on this machine by the workspace's own rules, then sent as one stream, and moved in by
//! a helper.

use std::{fs::File, sync::Arc};

use tokio::{runtime::Handle, time::Instant};

use super::{
    LITTLE, ModalFiles, aside,
    entries::{parts, unclear},
    records::{Records, Report},
    scan::{How, names},
    script::{self, Around, Script},
    sending,
};
use crate::{
    domain::{ArchiveFormat, WorkspaceFile},
    sandbox::{
        Contents, Error, Root, Source,
        blocking::{GiveUp, blocking, content_of},
        modal::helper,
    },
    workspace::{
        self, ArchiveLimits, Comparison, Folder, Ignore, Listed, Restored, Scope, Step, clone, copy_directory, gather,
        restore, top,
    },
};

/// Where what was sent is unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Into {
    /// Beside everything, to be moved in.
    Aside,
    /// Where it belongs.
    Place,
}

impl ModalFiles {
    pub(super) async fn bring_archive(
        &self,
        format: ArchiveFormat,
        archive: File,
        under: &str,
        limits: ArchiveLimits,
    ) -> Result<usize, Error> {
        if !under.is_empty() {
            parts(under)?;
        }
        let (staging, below) = (self.staging.clone(), under.to_owned());
        let (held, gathered) = blocking(&self.tracker, move || {
            let (held, folder) = workspace::aside(&staging)?;
            gather(&folder, format, archive, &below, limits).map(|gathered| (held, gathered))
        })
        .await??;
        let places = gathered.places();
        let input = helper::bytes(names(&places));
        let most = places.iter().map(|place| place.len() + 256).sum::<usize>() + LITTLE;
        let printed = self.run(Script::Stand, Root::Workspace, ".", &[], input, most).await?;
        let there = stands(&printed)?.into_iter().map(|listed| Ok((text(listed.path)?, listed.sort)));
        let (steps, brought) = gathered.steps(&there.collect::<Result<_, Error>>()?)?;
        let around = Around { before: Vec::new(), after: script::moves(&steps) };
        let (folder, staged) = gathered.into_parts();
        self.bring(Root::Workspace, around, Into::Aside, folder, (held, staged)).await?;
        Ok(brought)
    }

    pub(super) async fn bring_source(&self, source: Source) -> Result<(), Error> {
        let found = self.run(Script::Empty, Root::Workspace, ".", &[], helper::nothing(), LITTLE).await?;
        if let Some(name) = found.split(|byte| *byte == 0).next().filter(|name| !name.is_empty()) {
            let name = String::from_utf8_lossy(name);
            let what = format!("the workspace is not empty: it holds {name:?}");
            return Err(Error::Files(workspace::Error::Source(what)));
        }
        let stop = GiveUp::default();
        let stopped = stop.is_given_up();
        let staging = self.staging.clone();
        let (held, folder, names) = blocking(&self.tracker, move || {
            let (held, folder) = workspace::aside(&staging)?;
            match source {
                Source::Git(source, cloning) => clone(&folder, &source, &cloning, &stopped)?,
                Source::Directory(from, copying) => drop(copy_directory(&folder, &from, &copying)?),
            }
            let names = top(&folder)?;
            Ok::<_, workspace::Error>((held, folder, names))
        })
        .await??;
        let steps: Vec<Step> =
            names.into_iter().map(|name| Step::Move { from: name.clone(), to: name, replaces: false }).collect();
        let around = Around { before: b"be_empty\n".to_vec(), after: script::moves(&steps) };
        self.bring(Root::Workspace, around, Into::Aside, folder, held).await
    }

    pub(super) async fn bring_tree(
        &self,
        root: Root,
        scope: &Scope,
        files: Vec<WorkspaceFile>,
        contents: Arc<dyn Contents>,
    ) -> Result<Restored, Error> {
        let until = Instant::now() + scope.time;
        // What must have changed is not known before the comparison.
        let pass_over = !Comparison::speaks_of(&files, scope);
        let how = How { scope, cutoff: "+".to_owned(), pass_over, tags: false };
        let mut listed = Vec::new();
        let whole = self
            .list(root, &how, until, |report| {
                match report {
                    Report::Entry(entry) => listed.push(entry),
                    Report::Now(_) | Report::Tag(_) | Report::Read { .. } | Report::End => {}
                }
                true
            })
            .await?;
        let slow = || Error::Unavailable(format!("the sandbox's files could not be listed within {:?}", scope.time));
        if !whole {
            return Err(slow());
        }
        let mut comparison = Comparison::new(scope, &files, listed)?;
        let unread = comparison.unread();
        if !unread.is_empty() {
            let take = |after: Listed, sha256: Option<String>, _: bool| {
                if let (Ok(path), Some(sha256)) = (String::from_utf8(after.path), sha256) {
                    comparison.read(&path, &sha256);
                }
            };
            if !self.hash(root, &unread, false, until, take).await? {
                return Err(slow());
            }
        }
        let repair = comparison.finish();
        let around = script::repair(&repair);
        if repair.write.is_empty() && around == Around::default() {
            return Ok(repair.restored);
        }
        let (staging, handle, restored) = (self.staging.clone(), Handle::current(), repair.restored);
        let (held, folder) = blocking(&self.tracker, move || {
            let (held, folder) = workspace::aside(&staging)?;
            let everything = Scope { ignore: Ignore::Nothing, ..Scope::kept() };
            let content = &mut |sha256: &str| content_of(&*contents, &handle, sha256);
            restore(&folder, &everything, &repair.write, content)?;
            Ok::<_, workspace::Error>((held, folder))
        })
        .await??;
        self.bring(root, around, Into::Place, folder, held).await?;
        Ok(restored)
    }

    /// Sends a folder, and does something before and after it is there. `held` is kept until it was sent.
    async fn bring<T: Send + 'static>(
        &self,
        root: Root,
        around: Around,
        into: Into,
        folder: Folder,
        held: T,
    ) -> Result<(), Error> {
        let aside = aside();
        let Around { before, after } = around;
        let (first, then) = (before.len().to_string(), after.len().to_string());
        let into = match into {
            Into::Aside => "new",
            Into::Place => "here",
        };
        let input = sending::packed(&self.tracker, [before, after].concat(), folder, format!("{aside}-end"), held);
        self.run(Script::Bring, root, ".", &[&aside, &first, &then, into], input, LITTLE).await.map(drop)
    }
}

/// What stands where it was asked for.
fn stands(printed: &[u8]) -> Result<Vec<Listed>, Error> {
    let reports = Records::of_files().take(printed).map_err(|error| Error::Unavailable(error.to_string()))?;
    if reports.last() != Some(&Report::End) {
        return Err(unclear());
    }
    let listed = reports.into_iter().filter_map(|report| match report {
        Report::Read { after, sha256: _, exactly: _ } => Some(after),
        Report::Now(_) | Report::Tag(_) | Report::Entry(_) | Report::End => None,
    });
    Ok(listed.collect())
}

fn text(path: Vec<u8>) -> Result<String, Error> {
    String::from_utf8(path).map_err(|_| unclear())
}
