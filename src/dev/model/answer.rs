//! The body of a streamed answer: frames at their times, as few writes as the pace allows.
//!
//! It knows no wire format: a frame is bytes, and the wait before them.

use std::{io, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::script::{Pace, Part};
use crate::dev::number::Numbers;

/// Bytes, and the microseconds to wait before them.
pub(super) type Frame = (u64, String);

/// Frames as they are needed.
pub(super) type Frames = Box<dyn Iterator<Item = Frame> + Send>;

/// Bytes that are gathered while no frame has to wait.
const WRITE: usize = 8 * 1024;

/// The deltas of a part; of a block of the wire format each as the JSON that it is.
pub(super) fn deltas(part: Part) -> Box<dyn Iterator<Item = (u64, String)> + Send> {
    match part {
        Part::Text { text, pace } | Part::Thinking { text, pace } => cut(text, pace),
        Part::Tool { input, pace, name: _ } => cut(input.to_string(), pace),
        Part::Block { deltas, block: _ } => Box::new(deltas.into_iter().map(|delta| (0, delta.to_string()))),
        Part::Numbers { count, size, pace_us } => {
            let mut numbers = Numbers::after(0, size);
            Box::new((0..count).map(move |_| (pace_us, numbers.next().to_owned())))
        }
    }
}

fn cut(text: String, pace: Pace) -> Box<dyn Iterator<Item = (u64, String)> + Send> {
    let mut at = 0;
    Box::new(std::iter::from_fn(move || {
        let rest = text.get(at..).filter(|rest| !rest.is_empty())?;
        let end = rest.char_indices().nth(pace.chunk).map_or(rest.len(), |(end, _)| end);
        at += end;
        Some((pace.pace_us, rest[..end].to_owned()))
    }))
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// With its last frame.
    Whole,
    /// After its last frame its connection is cut.
    Cut,
}

struct Playing {
    frames: Frames,
    end: End,
    held: Option<Frame>,
    due: Instant,
    stop: CancellationToken,
}

/// Sends the frames. What is late is sent at once, so that the pace holds over the whole of it.
pub(super) fn body(frames: Frames, end: End, stop: CancellationToken) -> Body {
    let playing = Playing { frames, end, held: None, due: Instant::now(), stop };
    Body::from_stream(stream::unfold(playing, |mut playing| async move {
        match playing.next_write().await {
            Some(bytes) => Some((Ok(bytes), playing)),
            None if std::mem::replace(&mut playing.end, End::Whole) == End::Cut => {
                // What was sent before goes out first: the server flushes whenever it has to wait.
                tokio::task::yield_now().await;
                Some((Err(io::Error::other("the script breaks off")), playing))
            }
            None => None,
        }
    }))
}

impl Playing {
    async fn next_write(&mut self) -> Option<Bytes> {
        let mut write = Vec::new();
        while write.len() < WRITE {
            let held = self.held.take();
            let waits_already = held.is_some();
            let Some((wait_us, bytes)) = held.or_else(|| self.frames.next()) else { break };
            if !waits_already {
                self.due += Duration::from_micros(wait_us);
            }
            if wait_us > 0 && self.due > Instant::now() {
                if !write.is_empty() {
                    self.held = Some((wait_us, bytes));
                    break;
                }
                tokio::select! {
                    () = sleep_until(self.due) => {}
                    () = self.stop.cancelled() => return None,
                }
            }
            write.extend_from_slice(bytes.as_bytes());
        }
        if write.is_empty() || self.stop.is_cancelled() { None } else { Some(write.into()) }
    }
}
