//! The scripted agent: a child process that plays what it is told, at the pace it is told. It is an agent like any other
//! to the rest of the house, and needs no account: for demos, UI work, load, and tests of what a real agent does rarely.
//!
//! It reads messages from stdin, one JSON object a line, `{"type":"user","id":"<block id>","text":"…"}`, and answers one
//! after the other. `{"type":"interrupt"}` ends the turn that it plays, where it stands. When its input ends it plays what
//! it was given and exits; when nobody reads its output any more it exits at once.
//!
//! # The script
//!
//! A message whose text begins with `[` or `{` is a script: a JSON list of steps, or one step after the other, one a line
//! for example. Any other text gets a friendly answer, word by word.
//!
//! ```json
//! [{"think": "Easy.", "size": 4, "pace_ms": 20},
//!  {"say": "I will look.", "size": 3, "pace_ms": 20},
//!  {"tool": "Bash", "input": {"command": "ls"}, "output": "a.txt\n", "duration_ms": 100, "exit_code": 0},
//!  {"count": 1000, "size": 20, "pace_us": 500},
//!  {"usage": {"input_tokens": 10, "output_tokens": 5, "cost_micro_usd": 120}, "model": "scripted-1"}]
//! ```
//!
//! | step | does | may also have |
//! |---|---|---|
//! | `say`, `think` | one block of text or thought | `size` characters a delta (24), `pace_ms`, `pace_us` between two (0), `open`: it is left unfinished |
//! | `count` | one block of so many numbered deltas, each a line of its own: `00000000000000000001 `, counted through the turn | `size` bytes a delta (20), `pace_ms`, `pace_us`, `open`, `blocks` that are open at once and take the deltas in turn (1), `stamp`: 13 of the bytes tell when it was written, in microseconds of the monotonic clock, `0000001 000123456789 ` |
//! | `tool` | one tool call and its result | `input` (`{}`), `output`: a text or any JSON (`""`), `is_error`, `duration_ms` it runs, `exit_code` |
//! | `run` | one tool call that is really done: a shell runs this in the workspace, and its output is the result | |
//! | `ask` | one tool call, as `{"tool": "Bash", "input": {…}}`, that asks for permission and waits for the answer, which is a line of input, `{"type":"answer","id":"…","allow":true,"input":…}` or `{"type":"answer","id":"…","allow":false,"message":"…"}`. Its output is the input it was let run with, or the message | `then`, `else`: steps to play when it was allowed, or not; `withdrawn`: it does not wait; `again`: steps that another process plays, if this one does not live to hear the answer, instead of the same request |
//! | `question` | the questions of one call of `AskUserQuestion`, as `[{"question": "Which?", "header": "Q", "options": [{"label": "A", "description": "…"}], "multiSelect": false}]`, which waits as `ask` does. Its output is its input with the answers in it | `then`, `else`: steps to play when it was answered, or declined; `again`: as of `ask` |
//! | `pause_ms` | waits | |
//! | `usage` | reports tokens and money: `input_tokens`, `output_tokens`, `cache_read_tokens`, `cache_write_tokens`, `thinking_tokens`, `cost_micro_usd` | `model`; else the one it was told, by `--model` or by a line of input, `{"type":"options","model":"…"}`. Each counts as one call of a model |
//! | `error` | the turn fails with this message | `retryable` |
//! | `exit` | the process ends here, with this code | `half_line`: text printed before, without an end of line |
//! | `raw`, `raw_base64` | prints this as it stands, with no end of line | |
//! | `long_line` | prints one line of so many bytes that means nothing | |
//! | `stderr` | prints this line to stderr | |
//! | `repeat` | plays its `steps` so often | `steps` |
//!
//! A step has exactly one of these names; a field that it does not know makes the turn fail, and nothing is played. A pace
//! holds over the whole step: what comes late is made up for.

use std::{
    io::{self, BufRead, BufReader, BufWriter, Write},
    process::ExitCode,
};

mod inbox;
mod play;
mod step;

use inbox::Inbox;
use play::{End, Turn};

/// Flags of `scripted-agent`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Args {
    /// Model that usage is reported of where the script names none.
    #[arg(long, default_value = "")]
    model: String,
}

/// Output that is gathered while nothing has to wait.
const WRITE: usize = 64 * 1024;

/// Plays what comes in on stdin, until it ends. The whole of `agent-runtime scripted-agent`.
#[must_use]
pub fn run(args: Args) -> ExitCode {
    let stdout = io::stdout();
    match serve_as(args, BufReader::new(io::stdin()), &mut stdout.lock(), &mut io::stderr()) {
        Ok(code) => ExitCode::from(code),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to be done if stderr fails too.
            let _ = writeln!(io::stderr(), "scripted-agent: {error}");
            ExitCode::FAILURE
        }
    }
}

/// As [`run`], over any streams. Returns the exit code.
///
/// # Errors
/// What reading and writing the streams gives.
pub fn serve(input: impl BufRead + Send + 'static, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    serve_as(Args::default(), input, out, err)
}

fn serve_as(
    args: Args,
    input: impl BufRead + Send + 'static,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    let Args { mut model } = args;
    let mut out = BufWriter::with_capacity(WRITE, out);
    let mut inbox = Inbox::of(input);
    while let Some(line) = inbox.next()? {
        match serde_json::from_slice::<Message>(&line) {
            Ok(Message::User { id, text }) => match Turn::new(&id, &model, &mut inbox, &mut out, err).play(&text) {
                Ok(()) => {}
                Err(End::Exit(code)) => return Ok(code),
                Err(End::Io(error)) => return Err(error),
            },
            Ok(Message::Options { model: other }) => model = other,
            Err(_) if line.trim_ascii().is_empty() => {}
            Err(error) => writeln!(err, "scripted-agent: a line of input is no message: {error}")?,
        }
    }
    Ok(0)
}

#[derive(serde::Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum Message {
    User { id: String, text: String },
    Options { model: String },
}
