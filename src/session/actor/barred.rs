//! A session whose agent may be at work where this server cannot reach it: nothing is decided about it, nothing of it is given up,
//! and whoever asks for something is told what to do. Another server goes on with it, or its sandbox's life ends.

use tokio::sync::watch;

use super::{Actor, Leaving};
use crate::{
    domain::{Failure, Kind, SandboxStatus},
    session::Command,
};

/// Why what is looked for is out of reach; nothing where it is not.
#[derive(Default)]
pub(super) struct Barred(Option<watch::Receiver<Option<Failure>>>);

impl Barred {
    /// Where it is told from now on.
    pub(super) fn teller(&mut self) -> watch::Sender<Option<Failure>> {
        let (teller, told) = watch::channel(None);
        self.0 = Some(told);
        teller
    }

    /// Waits until it is told. Dropping the future loses nothing.
    pub(super) async fn told(&mut self) {
        let over = match &mut self.0 {
            Some(told) => told.changed().await.is_err(),
            None => true,
        };
        if over {
            // Whoever would tell it has found what was looked for.
            self.0 = None;
            std::future::pending::<()>().await;
        }
    }

    fn failure(&self) -> Option<Failure> {
        self.0.as_ref().and_then(|told| told.borrow().clone())
    }
}

impl Actor {
    /// What is looked for is out of reach, and so will be.
    pub(super) fn is_barred(&self) -> bool {
        self.is_sought() && self.barred.failure().is_some()
    }

    /// Whoever watches is told, and whoever waits.
    pub(super) fn tell_barred(&mut self) {
        let Some(failure) = self.barred.failure() else { return };
        self.joining.refuse(&failure);
        self.refuse_stop(&failure);
        let sandbox = self.sandbox(SandboxStatus::Unhealthy, &failure.message);
        self.pending.record_session(None, Kind::SandboxChanged { sandbox });
    }

    /// Does what is asked, if that can be decided.
    pub(super) fn hear(&mut self, command: Command) {
        let Some(failure) = self.barred.failure().filter(|_| self.is_barred()) else { return self.command(command) };
        match command {
            // Its row stays, and with it whoever ends what runs there.
            Command::Delete { .. } => self.command(command),
            Command::Send { .. }
            | Command::Interrupt { .. }
            | Command::Cancel { .. }
            | Command::Resolve { .. }
            | Command::Answer { .. }
            | Command::DeleteRule { .. }
            | Command::Stop { .. }
            | Command::Edit { .. }
            | Command::Update { .. }
            | Command::Sync { .. } => command.refuse(failure),
        }
    }

    /// The server ends. However it does, what it cannot reach it does not end.
    pub(super) fn leave_as_it_is(&mut self) {
        self.files.dismiss();
        self.closing = None;
        self.leaving = Some(Leaving::Detach);
    }
}
