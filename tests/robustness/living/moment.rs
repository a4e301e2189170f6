//! The moments at which a server is killed: those where something is half done.

use std::{
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    time::Duration,
};

use rand::{Rng as _, rngs::StdRng};
use tokio::time::{Instant, sleep};

use super::beats::{Beat, Beats};
use crate::abilities::Abilities;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Whatever goes on.
    Any,
    /// An agent has printed a part of a line.
    MidLine,
    /// A message is on its way in.
    Sending,
    /// A message was acknowledged, and the agent may not have it.
    Sent,
    /// The server has just begun to serve, and takes its agents over.
    Reattach,
    /// As any, and the server after it is killed before it serves.
    Start,
    /// An agent waits for permission.
    Asked,
    /// An answer is on its way in.
    Answering,
    /// An answer was acknowledged, and the agent may not have it.
    Answered,
    /// Not killed: asked to stop, as for an upgrade.
    Upgrade,
    /// The server stays, and one of its sandboxes goes.
    Destroy,
}

impl Moment {
    pub fn draw(rng: &mut StdRng, abilities: Abilities) -> Self {
        let most = if abilities.permissions { 100 } else { 76 };
        match rng.random_range(0..most) {
            0..14 => Self::Any,
            14..28 => Self::MidLine,
            28..34 => Self::Sending,
            34..44 => Self::Sent,
            44..62 => Self::Reattach,
            62..69 => Self::Start,
            69..75 => Self::Upgrade,
            75..76 => Self::Destroy,
            76..84 => Self::Asked,
            84..90 => Self::Answering,
            _ => Self::Answered,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::MidLine => "mid-line",
            Self::Sending => "sending",
            Self::Sent => "sent",
            Self::Reattach => "re-attach",
            Self::Start => "before start",
            Self::Asked => "asked",
            Self::Answering => "answering",
            Self::Answered => "answered",
            Self::Upgrade => "upgrade",
            Self::Destroy => "destroy",
        }
    }

    /// Waits until it is there, or any moment is good enough.
    pub async fn wait(self, data: &Path, beats: &Beats, pause: (u64, u64), rng: &mut StdRng) {
        let micros = |rng: &mut StdRng, most: u64| Duration::from_micros(rng.random_range(0..most));
        match self {
            Self::Any | Self::Upgrade | Self::Start | Self::Destroy => {
                sleep(Duration::from_millis(rng.random_range(pause.0..pause.1))).await;
            }
            Self::Reattach => sleep(micros(rng, 40_000)).await,
            Self::MidLine => mid_line(data).await,
            Self::Sending => {
                beats.next(Beat::Sending).await;
                sleep(micros(rng, 4000)).await;
            }
            Self::Sent => {
                beats.next(Beat::Sent).await;
                at_once_or_soon(rng).await;
            }
            Self::Asked => {
                beats.next(Beat::Asked).await;
                sleep(micros(rng, 20_000)).await;
            }
            Self::Answering => {
                beats.next(Beat::Answering).await;
                sleep(micros(rng, 4000)).await;
            }
            Self::Answered => {
                beats.next(Beat::Answered).await;
                at_once_or_soon(rng).await;
            }
        }
    }
}

/// Mostly at once: what follows an acknowledgement takes less than a millisecond.
async fn at_once_or_soon(rng: &mut StdRng) {
    if rng.random_bool(0.4) {
        sleep(Duration::from_micros(rng.random_range(0..3000))).await;
    }
}

/// Waits until some agent has printed a line in part.
async fn mid_line(data: &Path) {
    let end = Instant::now() + Duration::from_secs(1);
    while Instant::now() < end {
        if outputs(data).iter().any(|path| last_byte(path).is_some_and(|byte| byte != b'\n')) {
            return;
        }
        sleep(Duration::from_millis(1)).await;
    }
}

fn outputs(data: &Path) -> Vec<PathBuf> {
    let inside = |path: PathBuf| fs::read_dir(path).into_iter().flatten().filter_map(Result::ok).map(|e| e.path());
    let sandboxes = inside(data.join("sandboxes"));
    sandboxes.flat_map(|sandbox| inside(sandbox.join("exec"))).map(|exec| exec.join("stdout")).collect()
}

fn last_byte(path: &Path) -> Option<u8> {
    let mut file = File::open(path).ok()?;
    file.seek(SeekFrom::End(-1)).ok()?;
    let mut byte = [0];
    file.read_exact(&mut byte).ok()?;
    Some(byte[0])
}
