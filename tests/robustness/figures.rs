//! What a run came to, as one line.

use std::fmt;

use crate::history::{Answer, Line, What};

#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    pub seed: u64,
    pub kills: usize,
    pub pauses: usize,
    /// Messages and sessions that were acknowledged.
    pub acknowledged: usize,
    pub refused: usize,
    pub streams: usize,
    pub resumes: usize,
    pub events: usize,
    pub seconds: f64,
}

impl Figures {
    pub fn of(history: &[Line]) -> Self {
        let mut figures = Self::default();
        let mut resuming = std::collections::BTreeSet::new();
        for line in history {
            match &line.what {
                What::Run { seed, .. } => figures.seed = *seed,
                What::Server { fate, .. } => match fate.as_str() {
                    "killed" | "power lost" => figures.kills += 1,
                    "stopped" => figures.pauses += 1,
                    _ => {}
                },
                What::Answer { answer: Answer::Ok { .. }, .. } => figures.acknowledged += 1,
                What::Answer { answer: Answer::Err { .. }, .. } => figures.refused += 1,
                What::Open(open) => {
                    figures.streams += 1;
                    if open.after.is_some() && open.of_call.is_none() && line.client > 0 {
                        resuming.insert(open.stream);
                    }
                }
                What::Frame { stream, events, .. } => {
                    figures.events += events.len();
                    figures.resumes += usize::from(resuming.remove(stream));
                }
                _ => {}
            }
            figures.seconds = std::time::Duration::from_micros(line.at_us).as_secs_f64();
        }
        figures
    }

    pub fn add(&mut self, other: Self) {
        self.seed = other.seed;
        self.kills += other.kills;
        self.pauses += other.pauses;
        self.acknowledged += other.acknowledged;
        self.refused += other.refused;
        self.streams += other.streams;
        self.resumes += other.resumes;
        self.events += other.events;
        self.seconds += other.seconds;
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, kills, pauses, acknowledged, refused, streams, resumes, events, seconds } = self;
        write!(
            f,
            "kills={kills} pauses={pauses} acknowledged={acknowledged} refused={refused} streams={streams} \
             resumes={resumes} events={events} seconds={seconds:.0} seed={seed}"
        )
    }
}
