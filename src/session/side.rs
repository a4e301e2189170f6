//! The agent's side of a session: nothing, an agent that is being started in steps, one that an earlier owner left and that is
//! looked for, or one that runs.

use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::sync::mpsc;

use super::{
    attach::Found,
    launch::Prepared,
    provide::NotProvided,
    running::{Happened, Running, maybe},
    turn::Prompt,
};
use crate::{domain::Failure, sandbox, store::StdinRow};

/// The agent's side of the session.
pub(super) enum Side {
    /// Nothing runs.
    Off,
    /// What an earlier owner left is looked for.
    Finding(BoxFuture<'static, Found>),
    /// The sandbox is being made ready; with a message, for an agent that is given it. What takes its time is told.
    Preparing(BoxFuture<'static, Result<Prepared, NotProvided>>, Option<Prompt>, mpsc::Receiver<String>),
    /// The program is being recorded, then started; input waits for it.
    Starting(Option<BoxFuture<'static, Result<Running, Failure>>>, Arc<dyn sandbox::Sandbox>, Vec<StdinRow>),
    /// The program runs.
    On(Box<Running>),
}

/// What the agent's side comes up with.
pub(super) enum SideTurn {
    Found(Found),
    Progress(String),
    Prepared(Result<Prepared, NotProvided>, Option<Prompt>),
    Started(Result<Running, Failure>, Arc<dyn sandbox::Sandbox>, Vec<StdinRow>),
    Happened(Happened),
}

impl Side {
    /// Waits for what it comes up with next; output only while `read`. Dropping the future loses nothing.
    pub(super) async fn next(&mut self, read: bool) -> SideTurn {
        match self {
            Self::Off => std::future::pending().await,
            Self::Finding(finding) => {
                let found = finding.await;
                *self = Self::Off;
                SideTurn::Found(found)
            }
            Self::Preparing(preparing, prompt, progress) => {
                let prepared = tokio::select! {
                    biased;
                    Some(what) = progress.recv() => return SideTurn::Progress(what),
                    prepared = preparing => prepared,
                };
                let prompt = prompt.clone();
                *self = Self::Off;
                SideTurn::Prepared(prepared, prompt)
            }
            Self::Starting(starting, sandbox, rows) => {
                let started = maybe(starting).await;
                let (sandbox, rows) = (Arc::clone(sandbox), std::mem::take(rows));
                *self = Self::Off;
                SideTurn::Started(started, sandbox, rows)
            }
            Self::On(running) => SideTurn::Happened(running.next(read).await),
        }
    }
}
