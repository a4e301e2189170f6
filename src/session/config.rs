//! What a manager is made of, and what a session is made from.

use std::{collections::BTreeMap, fmt, ops::Deref, path::PathBuf, time::Duration};

use crate::{
    domain::{
        Agent, ContentPart, Metadata, ProfileId, Request, SandboxSpec, SeedFile, SessionOptions, WorkspaceSource,
    },
    packages::Packages,
    sandbox::Providers,
    store::BlobBytes,
    workspace::Copying,
};

use super::{Programs, Secrets};

/// How sessions are run.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where sandboxes come from.
    pub providers: Providers,
    /// Where the agents' programs are.
    pub programs: Programs,
    /// The agent of a session that names none, as its profile does.
    pub default_agent: Agent,
    /// After a delta that was sent at once, what follows within this time is one delta.
    pub delta_window: Duration,
    /// The same while nobody watches.
    pub unwatched_delta_window: Duration,
    /// Silence after which a session's sandbox is stopped.
    pub idle_timeout: Duration,
    /// Which folders of this machine workspaces may start from a copy of.
    pub copying: Copying,
    /// Folder for what calls bring, while it comes in.
    pub spool: PathBuf,
    /// How long a request for permission stays open; then it is rejected.
    pub ask_timeout: Duration,
    /// How long an agent may take to end a turn that was interrupted; then its program is ended.
    pub interrupt_grace: Duration,
    /// Variables of the server's environment, of which agents get those they name.
    pub environment: Hidden<BTreeMap<String, String>>,
    /// Secrets of the server itself, by name: replaced in what agents print, as all that the server knows are.
    pub own_secrets: Hidden<Vec<(String, String)>>,
    /// Secrets that profiles name.
    pub secrets: Secrets,
    /// Where packages of profiles are installed.
    pub packages: Packages,
}

/// What nobody is shown, not by `Debug` either.
#[derive(Clone, Default)]
pub struct Hidden<T>(pub T);

impl<T> Deref for Hidden<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Hidden<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden(..)")
    }
}

/// What becomes of the agents when their server ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// They work on, and the next server takes them over.
    Detach,
    /// They are asked to stop what they do, then ended.
    Stop,
}

/// A session to create, checked.
#[derive(Clone, Debug, Default)]
pub struct NewSession {
    /// `None`: "default".
    pub profile_id: Option<ProfileId>,
    /// `None`: the profile's, else the server's default.
    pub agent: Option<Agent>,
    /// May be empty.
    pub external_id: String,
    /// May be empty.
    pub name: String,
    /// How the agent is run.
    pub options: SessionOptions,
    /// For filters.
    pub labels: BTreeMap<String, String>,
    /// The caller's own data.
    pub metadata: Option<Metadata>,
    /// Which sandbox. `None`: what the profile says.
    pub sandbox: Option<SandboxSpec>,
    /// Where its workspace starts from.
    pub workspace: Option<WorkspaceSource>,
    /// Files to put into it then.
    pub seed_files: Vec<SeedFile>,
    /// The bytes of both, each once.
    pub seeds: Vec<BlobBytes>,
    /// Start the sandbox now, not with the first message.
    pub start_sandbox: bool,
    /// The first message.
    pub message: Option<Vec<ContentPart>>,
    /// The call that asks for it, where that may be repeated.
    pub request: Option<Request>,
}
