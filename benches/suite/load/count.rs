//! Counting: every event's place and every running number, in order.

use agent_runtime::proto::{SessionEvent, Turn, TurnStatus, WatchSessionResponse, block::Content, session_event::Kind};

use crate::Failure;

/// Bytes of a number, and of one with a time.
pub(crate) const PLAIN: usize = 20;
pub(crate) const STAMPED: usize = 24;
/// Digits of the number before a time.
const NUMBER: usize = 10;

/// What one watcher has seen of the numbers of one turn.
pub(crate) struct Count {
    /// Turns that end before the one with the numbers.
    skip: usize,
    size: usize,
    turns: usize,
    /// The newest sequence that what came stands for.
    pub(crate) cursor: i64,
    /// Whether the place of each event is known to be right, which it is not before a snapshot.
    placed: bool,
    rest: Vec<u8>,
    /// The number that was seen last.
    pub(crate) last: u64,
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    /// Events that do not follow the one before.
    pub(crate) gaps: u64,
    /// Sequences that what came stands for.
    pub(crate) events: u64,
    pub(crate) responses: u64,
    /// Microseconds from the agent to here, where the deltas tell.
    pub(crate) latencies: Vec<u32>,
}

impl Count {
    pub(crate) fn new(skip: usize, size: usize) -> Self {
        Self {
            skip,
            size,
            turns: 0,
            cursor: 0,
            placed: true,
            rest: Vec::with_capacity(size),
            last: 0,
            lost: 0,
            doubled: 0,
            gaps: 0,
            events: 0,
            responses: 0,
            latencies: Vec::new(),
        }
    }

    /// Whether the turn with the numbers has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.turns > self.skip && self.placed
    }

    pub(crate) fn response(&mut self, response: WatchSessionResponse) {
        self.responses += 1;
        let now = (self.size == STAMPED).then(monotonic_micros);
        for event in response.events {
            self.event(event, now);
        }
    }

    fn event(&mut self, event: SessionEvent, now: Option<i64>) {
        let first = if event.first_sequence == 0 { event.sequence } else { event.first_sequence };
        match &event.kind {
            Some(Kind::SnapshotStart(_)) => return self.placed = false,
            Some(Kind::SnapshotChunk(chunk)) => {
                // What was said before, of which the numbers are all: whoever asks for a snapshot skips no turn.
                for block in chunk.state.iter().flat_map(|state| &state.blocks) {
                    if let Some(Content::AssistantText(said)) = &block.content {
                        self.text(said.text.as_bytes(), None);
                    }
                }
                let turns = chunk.state.iter().flat_map(|state| &state.turns);
                self.turns += turns.filter(|turn| is_final(turn)).count();
                return;
            }
            Some(Kind::SnapshotComplete(_)) => self.placed = true,
            kind => {
                // Only a bookmark may stand for nothing, and it stands where all else does.
                let empty = event.sequence < first && !matches!(kind, Some(Kind::Bookmark(_)));
                self.gaps += u64::from(first != self.cursor + 1 || !self.placed || empty);
                self.events += u64::try_from(event.sequence - first + 1).unwrap_or(0);
            }
        }
        self.cursor = event.sequence;
        match event.kind {
            Some(Kind::BlockDelta(delta)) if self.turns == self.skip => self.text(delta.delta.as_bytes(), now),
            Some(Kind::TurnUpdated(update)) => {
                self.turns += usize::from(update.turn.is_some_and(|turn| is_final(&turn)));
            }
            _ => {}
        }
    }

    /// Takes whole numbers from the front; a part of one waits for the rest.
    pub(crate) fn text(&mut self, mut text: &[u8], now: Option<i64>) {
        if !self.rest.is_empty() {
            let take = (self.size - self.rest.len()).min(text.len());
            self.rest.extend_from_slice(&text[..take]);
            text = &text[take..];
            if self.rest.len() == self.size {
                let whole = std::mem::take(&mut self.rest);
                self.number(&whole, now);
            }
        }
        let whole = text.chunks_exact(self.size);
        self.rest.extend_from_slice(whole.remainder());
        for number in whole {
            self.number(number, now);
        }
    }

    fn number(&mut self, text: &[u8], now: Option<i64>) {
        let digits = if self.size == STAMPED { NUMBER } else { self.size - 1 };
        let Some(number) = parse(&text[..digits]).filter(|_| text[self.size - 1] == b' ') else {
            self.lost += 1;
            return;
        };
        if number > self.last {
            self.lost += number - self.last - 1;
            self.last = number;
        } else {
            self.doubled += 1;
        }
        if let Some(now) = now {
            let Some(sent) = parse(&text[digits + 1..self.size - 1]) else {
                self.lost += 1;
                return;
            };
            let took = (now - i64::try_from(sent).unwrap_or(now)).rem_euclid(CYCLE);
            self.latencies.push(u32::try_from(took).unwrap_or(u32::MAX));
        }
    }

    /// Fails where anything is missing, doubled or out of place.
    pub(crate) fn check(&self, expected: u64) -> Result<(), Failure> {
        let missing = self.lost + expected.saturating_sub(self.last);
        if missing + self.doubled + self.gaps == 0 && self.last == expected && self.rest.is_empty() {
            return Ok(());
        }
        let (last, doubled, gaps) = (self.last, self.doubled, self.gaps);
        Err(format!("a watcher saw {last} of {expected}: lost={missing} doubled={doubled} gaps={gaps}").into())
    }
}

fn is_final(turn: &Turn) -> bool {
    let over = [TurnStatus::Completed, TurnStatus::Failed, TurnStatus::Lost, TurnStatus::Interrupted];
    over.contains(&turn.status())
}

/// Where the agent's clock begins again.
const CYCLE: i64 = 1_000_000_000_000;

fn monotonic_micros() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    (now.tv_sec * 1_000_000 + now.tv_nsec / 1000) % CYCLE
}

fn parse(digits: &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for digit in digits {
        number = number.checked_mul(10)? + u64::from(digit.checked_sub(b'0').filter(|digit| *digit < 10)?);
    }
    Some(number)
}

/// The value that so much of a sorted list does not exceed.
pub(crate) fn quantile(sorted: &[u32], thousandth: usize) -> u32 {
    sorted.get((sorted.len() * thousandth).div_ceil(1000).saturating_sub(1)).copied().unwrap_or(0)
}
