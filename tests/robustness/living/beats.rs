//! What the authors are about to do or have just been told, for whoever waits to kill the server at that very moment.

use std::time::Duration;

use tokio::{sync::broadcast, time::timeout};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// A message is on its way.
    Sending,
    /// It was acknowledged.
    Sent,
    /// The agent's request for permission was seen.
    Asked,
    /// An answer to it is on its way.
    Answering,
    /// It was acknowledged.
    Answered,
}

/// See the module.
#[derive(Clone)]
pub struct Beats(broadcast::Sender<Beat>);

impl Default for Beats {
    fn default() -> Self {
        Self(broadcast::channel(1024).0)
    }
}

impl Beats {
    pub fn tell(&self, beat: Beat) {
        // Nobody listens while the server starts.
        let _ = self.0.send(beat);
    }

    /// Waits until the next one of this kind, but not for long.
    pub async fn next(&self, wanted: Beat) {
        let mut beats = self.0.subscribe();
        let waiting = async { while beats.recv().await.is_ok_and(|beat| beat != wanted) {} };
        // What does not come is not worth waiting for: any moment is one.
        let _ = timeout(Duration::from_secs(2), waiting).await;
    }
}
