//! Plays one turn: its steps become lines. What the lines mean stands with their reader, the agent room's `scripted`.

use std::{
    io::{self, BufWriter, Write},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde::Serialize;
use serde_json::{Value, json};

use super::{
    inbox::{Heard, Inbox},
    step::{self, Ask, Count, Run, Speech, Step, Tool, Usage},
};
use crate::dev::number::Numbers;

/// Deltas without a pause after which an interrupt is looked for.
const LOOK: u64 = 64;
/// Bytes of a time behind a number: 12 digits and a space.
const STAMP: usize = 13;

/// Why nothing more is played in this process.
pub(super) enum End {
    Exit(u8),
    Io(io::Error),
}

/// Why a turn is not played on.
enum Cut {
    Interrupted,
    End(End),
}

/// How a step left the turn.
enum Next {
    GoOn,
    Interrupted,
    Failed { message: String, retryable: bool },
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Line<'a> {
    TurnStart {
        id: &'a str,
    },
    Start {
        id: &'a str,
        kind: &'static str,
    },
    Delta {
        id: &'a str,
        text: &'a str,
    },
    Complete {
        id: &'a str,
    },
    Tool {
        id: &'a str,
        name: &'a str,
        input: &'a Value,
    },
    ToolResult {
        id: &'a str,
        tool: &'a str,
        output: &'a Value,
        is_error: bool,
        duration_ms: u64,
        exit_code: Option<i32>,
    },
    Permission {
        id: &'a str,
        tool: &'a str,
        name: &'a str,
        input: &'a Value,
        #[serde(skip_serializing_if = "Option::is_none")]
        again: Option<&'a Value>,
    },
    PermissionWithdrawn {
        id: &'a str,
    },
    Usage {
        model: &'a str,
        usage: Usage,
    },
    Result {
        outcome: &'static str,
        message: &'a str,
        retryable: bool,
        usage: Usage,
    },
}

/// The answer to one message.
pub(super) struct Turn<'a, 'o> {
    /// The user's block.
    id: &'a str,
    /// Where a step names none.
    model: &'a str,
    inbox: &'a mut Inbox,
    out: &'a mut BufWriter<&'o mut dyn Write>,
    err: &'a mut dyn Write,
    /// Blocks so far: the next one's id has the next number.
    blocks: u64,
    /// The last running number.
    number: u64,
    usage: Usage,
}

impl<'a, 'o> Turn<'a, 'o> {
    pub(super) fn new(
        id: &'a str,
        model: &'a str,
        inbox: &'a mut Inbox,
        out: &'a mut BufWriter<&'o mut dyn Write>,
        err: &'a mut dyn Write,
    ) -> Self {
        Self { id, model, inbox, out, err, blocks: 0, number: 0, usage: Usage::default() }
    }

    pub(super) fn play(mut self, text: &str) -> Result<(), End> {
        self.line(&Line::TurnStart { id: self.id })?;
        let next = match self.perform(text) {
            Ok(next) => next,
            Err(Cut::Interrupted) => Next::Interrupted,
            Err(Cut::End(end)) => return Err(end),
        };
        let usage = self.usage;
        self.line(&match &next {
            Next::GoOn => Line::Result { outcome: "completed", message: "", retryable: false, usage },
            Next::Interrupted => Line::Result { outcome: "interrupted", message: "", retryable: false, usage },
            Next::Failed { message, retryable } => {
                Line::Result { outcome: "failed", message, retryable: *retryable, usage }
            }
        })?;
        Ok(self.out.flush()?)
    }

    fn perform(&mut self, text: &str) -> Result<Next, Cut> {
        if !text.trim_start().starts_with(['[', '{']) {
            return self.friendly(text);
        }
        match step::parse(text) {
            Ok(steps) => self.steps(&steps),
            Err(error) => Ok(Next::Failed {
                message: format!("the message begins like a script and is none: {error}"),
                retryable: false,
            }),
        }
    }

    fn steps(&mut self, steps: &[Step]) -> Result<Next, Cut> {
        for step in steps {
            match self.step(step)? {
                Next::GoOn => {}
                over @ (Next::Interrupted | Next::Failed { .. }) => return Ok(over),
            }
        }
        Ok(Next::GoOn)
    }

    fn step(&mut self, step: &Step) -> Result<Next, Cut> {
        match step {
            Step::Say(speech) => self.speak("text", speech)?,
            Step::Think(speech) => self.speak("thinking", speech)?,
            Step::Count(count) => self.count(count)?,
            Step::Tool(tool) => self.tool(tool)?,
            Step::Run(run) => self.run(run)?,
            Step::Pause(time) => self.wait_until(Instant::now() + *time)?,
            Step::Used(used) => {
                self.usage.add(used.usage);
                let model = if used.model.is_empty() { self.model } else { &used.model };
                self.line(&Line::Usage { model, usage: used.usage })?;
            }
            Step::Fail(fail) => {
                return Ok(Next::Failed { message: fail.message.clone(), retryable: fail.retryable });
            }
            Step::Exit(exit) => {
                self.out.write_all(exit.half_line.as_bytes())?;
                self.out.flush()?;
                return Err(Cut::End(End::Exit(exit.code)));
            }
            Step::Raw(bytes) => self.out.write_all(bytes)?,
            Step::LongLine(length) => {
                io::copy(&mut io::Read::take(io::repeat(b'x'), *length), self.out)?;
                self.out.write_all(b"\n")?;
            }
            Step::Stderr(text) => {
                // What was said before must not be read after it.
                self.out.flush()?;
                writeln!(self.err, "{text}")?;
                self.err.flush()?;
            }
            Step::Ask(ask) => return self.ask(ask),
            Step::Repeat(times, steps) => {
                for _ in 0..*times {
                    match self.steps(steps)? {
                        Next::GoOn => {}
                        over @ (Next::Interrupted | Next::Failed { .. }) => return Ok(over),
                    }
                }
            }
        }
        Ok(Next::GoOn)
    }

    fn friendly(&mut self, text: &str) -> Result<Next, Cut> {
        let heard: String = text.chars().take(200).collect();
        let more = if heard.len() < text.len() { "…" } else { "" };
        let answer = format!(
            "You said: \"{heard}{more}\" I am the scripted agent: I play what I am sent, and think nothing of it. \
             Try [{{\"say\": \"Hello\"}}, {{\"tool\": \"Bash\", \"input\": {{\"command\": \"ls\"}}, \"output\": \"a.txt\"}}]."
        );
        let id = self.next_block();
        let mut due = Instant::now();
        self.line(&Line::Start { id: &id, kind: "text" })?;
        for word in answer.split_inclusive(' ') {
            self.line(&Line::Delta { id: &id, text: word })?;
            due += Duration::from_millis(20);
            self.wait_until(due)?;
        }
        self.line(&Line::Complete { id: &id })?;
        Ok(Next::GoOn)
    }

    fn speak(&mut self, kind: &'static str, speech: &Speech) -> Result<(), Cut> {
        let id = self.next_block();
        self.line(&Line::Start { id: &id, kind })?;
        let mut due = Instant::now();
        let mut rest = speech.text.as_str();
        while !rest.is_empty() {
            let end = rest.char_indices().nth(speech.size()).map_or(rest.len(), |(end, _)| end);
            self.line(&Line::Delta { id: &id, text: &rest[..end] })?;
            rest = &rest[end..];
            due += speech.pace();
            self.wait_until(due)?;
        }
        if !speech.open {
            self.line(&Line::Complete { id: &id })?;
        }
        Ok(())
    }

    /// The fast one: a line is one copy into the buffer.
    fn count(&mut self, count: &Count) -> Result<(), Cut> {
        let ids: Vec<String> = (0..count.blocks.max(1)).map(|_| self.next_block()).collect();
        for id in &ids {
            self.line(&Line::Start { id, kind: "text" })?;
        }
        let before = |id| {
            let escaped = serde_json::to_string(id).expect("a text is JSON");
            format!("{{\"delta\":{{\"id\":{escaped},\"text\":\"")
        };
        let befores: Vec<String> = ids.iter().map(before).collect();
        let mut befores = befores.iter().cycle();
        let size = if count.stamp { count.size().saturating_sub(STAMP) } else { count.size() };
        let mut numbers = Numbers::after(self.number, size);
        let mut due = Instant::now();
        for at in 0..count.deltas {
            if at % LOOK == 0 {
                self.listen(Instant::now())?;
            }
            let before = befores.next().expect("at least one, again and again");
            self.out.write_all(before.as_bytes())?;
            self.out.write_all(numbers.next().as_bytes())?;
            if count.stamp {
                write!(self.out, "{:012} ", monotonic_micros())?;
            }
            self.out.write_all(b"\"}}\n")?;
            if !count.pace().is_zero() {
                due += count.pace();
                self.wait_until(due)?;
            }
        }
        self.number += count.deltas;
        for id in ids.iter().filter(|_| !count.open) {
            self.line(&Line::Complete { id })?;
        }
        Ok(())
    }

    fn tool(&mut self, tool: &Tool) -> Result<(), Cut> {
        let call = self.next_block();
        self.line(&Line::Tool { id: &call, name: &tool.name, input: &tool.input })?;
        self.wait_until(Instant::now() + Duration::from_millis(tool.duration_ms))?;
        let id = self.next_block();
        self.line(&Line::ToolResult {
            id: &id,
            tool: &call,
            output: &tool.output,
            is_error: tool.is_error,
            duration_ms: tool.duration_ms,
            exit_code: tool.exit_code,
        })?;
        Ok(())
    }

    /// The one thing that is really done.
    fn run(&mut self, run: &Run) -> Result<(), Cut> {
        let call = self.next_block();
        self.line(&Line::Tool { id: &call, name: "Bash", input: &json!({"command": run.command}) })?;
        self.out.flush()?;
        let began = Instant::now();
        let done = Command::new("/bin/sh").args(["-c", &run.command]).stdin(Stdio::null()).output();
        let (output, exit_code) = match done {
            Ok(done) => {
                let both = [done.stdout, done.stderr].concat();
                (String::from_utf8_lossy(&both).into_owned(), done.status.code())
            }
            Err(error) => (format!("there is no shell: {error}"), None),
        };
        let id = self.next_block();
        self.line(&Line::ToolResult {
            id: &id,
            tool: &call,
            output: &Value::String(output),
            is_error: exit_code != Some(0),
            duration_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            exit_code,
        })?;
        Ok(())
    }

    /// A call that waits for permission. Its output is the input that it was let run with, or why it was not.
    fn ask(&mut self, ask: &Ask) -> Result<Next, Cut> {
        let call = self.next_block();
        self.line(&Line::Tool { id: &call, name: &ask.tool, input: &ask.input })?;
        let again = ask.again.as_ref();
        self.line(&Line::Permission { id: &call, tool: &call, name: &ask.tool, input: &ask.input, again })?;
        let heard = if ask.withdrawn {
            self.line(&Line::PermissionWithdrawn { id: &call })?;
            Heard::Rejected("not waited for".to_owned())
        } else {
            self.out.flush()?;
            self.inbox.answer(&call)?
        };
        let (output, is_error, steps) = match heard {
            Heard::Allowed(input) => (input.unwrap_or_else(|| ask.input.clone()), false, &ask.then),
            Heard::Rejected(message) => (Value::String(message), true, &ask.otherwise),
            Heard::Interrupt => {
                self.line(&Line::PermissionWithdrawn { id: &call })?;
                return Err(Cut::Interrupted);
            }
            Heard::Nothing => return Err(Cut::End(End::Exit(1))),
        };
        let id = self.next_block();
        self.line(&Line::ToolResult {
            id: &id,
            tool: &call,
            output: &output,
            is_error,
            duration_ms: 0,
            exit_code: None,
        })?;
        self.steps(steps)
    }

    fn next_block(&mut self) -> String {
        self.blocks += 1;
        format!("{}/{}", self.id, self.blocks)
    }

    fn line(&mut self, line: &Line<'_>) -> io::Result<()> {
        serde_json::to_writer(&mut *self.out, line)?;
        self.out.write_all(b"\n")
    }

    /// Returns at once when the time is past; else what was said so far is heard meanwhile.
    fn wait_until(&mut self, due: Instant) -> Result<(), Cut> {
        if due > Instant::now() {
            self.out.flush()?;
            self.listen(due)?;
        }
        Ok(())
    }

    /// Waits until then, unless an interrupt comes.
    fn listen(&mut self, until: Instant) -> Result<(), Cut> {
        if self.inbox.interrupted_before(until) { Err(Cut::Interrupted) } else { Ok(()) }
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<io::Error> for Cut {
    fn from(error: io::Error) -> Self {
        Self::End(End::Io(error))
    }
}

/// Microseconds of the clock that all processes of a machine share and nobody sets, the last 12 digits.
fn monotonic_micros() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    (now.tv_sec * 1_000_000 + now.tv_nsec / 1000) % 1_000_000_000_000
}
