//! What the agent is given, line by line: read by a thread of its own, so that an interrupt is heard in the middle of a
//! turn. It knows of the lines only whether they are one.

use std::{
    collections::VecDeque,
    io::{self, BufRead},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::Instant,
};

use serde_json::Value;

/// The line that ends the turn that is played.
#[derive(serde::Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum Interrupt {
    Interrupt,
}

/// See the module.
pub(super) struct Inbox {
    lines: Receiver<io::Result<Vec<u8>>>,
    /// Read while a turn was played, and no interrupts.
    waiting: VecDeque<io::Result<Vec<u8>>>,
}

impl Inbox {
    /// Reads `input` to its end. The thread ends with it or with the process, whichever is first.
    pub(super) fn of(input: impl BufRead + Send + 'static) -> Self {
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || input.split(b'\n').try_for_each(|line| sender.send(line)));
        Self { lines, waiting: VecDeque::new() }
    }

    /// The next line; `None`: there are no more. Between turns there is nothing to interrupt.
    pub(super) fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let Some(line) = self.waiting.pop_front().or_else(|| self.lines.recv().ok()) else { return Ok(None) };
            let line = line?;
            if !is_interrupt(&line) {
                return Ok(Some(line));
            }
        }
    }

    /// Waits for an interrupt until then; false: none came.
    pub(super) fn interrupted_before(&mut self, due: Instant) -> bool {
        loop {
            let left = due.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(Ok(line)) if is_interrupt(&line) => return true,
                Ok(line) => self.waiting.push_back(line),
                Err(RecvTimeoutError::Timeout) => return false,
                Err(RecvTimeoutError::Disconnected) => {
                    thread::sleep(left);
                    return false;
                }
            }
        }
    }
}

impl Inbox {
    /// Waits for the answer to a request. What else comes meanwhile is kept; an answer to anything else is dropped, for
    /// nobody asked.
    pub(super) fn answer(&mut self, request: &str) -> io::Result<Heard> {
        loop {
            let Ok(line) = self.lines.recv() else { return Ok(Heard::Nothing) };
            let line = line?;
            match serde_json::from_slice(&line) {
                _ if is_interrupt(&line) => return Ok(Heard::Interrupt),
                Ok(Answer { kind: Sort::Answer, id, allow, input, message }) if id == request => {
                    return Ok(if allow { Heard::Allowed(input) } else { Heard::Rejected(message) });
                }
                Ok(Answer { .. }) => {}
                Err(_) => self.waiting.push_back(Ok(line)),
            }
        }
    }
}

/// What came in place of an answer, or as one.
pub(super) enum Heard {
    /// The tool may run, perhaps with this input.
    Allowed(Option<Value>),
    /// It may not.
    Rejected(String),
    /// The turn is over.
    Interrupt,
    /// Nothing more will come.
    Nothing,
}

/// `{"type":"answer","id":"…","allow":true,"input":…}`, or without `allow` and with a `message`.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    #[serde(rename = "type")]
    kind: Sort,
    id: String,
    allow: bool,
    #[serde(default)]
    input: Option<Value>,
    #[serde(default)]
    message: String,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum Sort {
    Answer,
}

fn is_interrupt(line: &[u8]) -> bool {
    matches!(serde_json::from_slice(line), Ok(Interrupt::Interrupt))
}
