//! What a sandbox is made from.

use tokio::sync::mpsc;

use super::{Epoch, ImageProject};
use crate::domain::{Agent, SandboxId, SandboxSpec, SessionKey};

/// Tells whoever watches the session what takes its time, in words for people ("building the image"). Nobody may listen, or
/// not quickly enough: it is only said, by `try_send`.
pub type Progress = mpsc::Sender<String>;

/// A sandbox to make.
#[derive(Clone, Debug)]
pub struct NewSandbox {
    /// Minted and recorded by the caller before.
    pub id: SandboxId,
    /// Whose it is.
    pub session: SessionKey,
    /// Which one of the session's, from 1.
    pub generation: i32,
    /// Of the owner.
    pub epoch: Epoch,
    /// What was asked for.
    pub spec: SandboxSpec,
    /// What must be in it where it cannot use what is installed on this machine.
    pub contents: ImageContents,
    /// Where its making is told.
    pub progress: Progress,
}

/// What must be in the image of a sandbox away from this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageContents {
    /// Whose program.
    pub agent: Agent,
    /// The npm package of that program, with its exact version; empty: it comes with the base image.
    pub program: String,
    /// npm packages of the profile and its skills, as `name@version`, sorted, each once.
    pub npm: Vec<String>,
    /// pip packages of the profile and its skills, as `name==version`, sorted, each once.
    pub pip: Vec<String>,
    /// Projects of bundled tool servers that can be installed without anything secret. Only said where the sandbox is to be
    /// made: one that is brought back has what it began with.
    pub projects: Vec<ImageProject>,
}

impl ImageContents {
    /// Nothing but what an agent needs: the package that brings its program.
    #[must_use]
    pub fn of(agent: Agent, program: String) -> Self {
        Self { agent, program, npm: Vec::new(), pip: Vec::new(), projects: Vec::new() }
    }
}

impl NewSandbox {
    /// One of which nothing is asked: for whoever needs a sandbox and has no session.
    #[must_use]
    pub fn plain(id: SandboxId, session: SessionKey, epoch: Epoch) -> Self {
        let (progress, _) = mpsc::channel(1);
        let contents = ImageContents::of(Agent::Scripted, String::new());
        Self { id, session, generation: 1, epoch, spec: SandboxSpec::default(), contents, progress }
    }
}
