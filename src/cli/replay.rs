//! `replay`: what a recording of an agent's output means, without an agent.

use std::{fs, path::PathBuf};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    connect::Common,
    error::{Error, context},
    view::View,
};
use crate::{client::State, server};

/// Flags of `replay`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Whose output it is.
    #[arg(long, default_value = "claude-code")]
    agent: String,
    /// Its standard output as it was, or a recording of both directions with lines like `{"t":0,"dir":"stdout","msg":{}}`.
    file: PathBuf,
}

pub(super) fn run(common: &Common, args: &Args) -> Result<(), Error> {
    let recorded = fs::read(&args.file).map_err(context(format_args!("cannot read {}", args.file.display())))?;
    // The single place where the command line reaches the parsers: the server's front door.
    let events = server::replay(&args.agent, &agent_output(&recorded)).map_err(Error::Other)?;
    let (mut state, mut view) = (State::default(), View::new(common.json));
    for event in &events {
        state.apply(event);
        view.event(event, &state)?;
    }
    view.end()?;
    Ok(())
}

/// A line of a recording of both directions.
#[derive(Deserialize)]
struct Recorded<'a> {
    #[serde(rename = "t")]
    _time: f64,
    dir: &'a str,
    #[serde(borrow)]
    msg: Option<&'a RawValue>,
    line: Option<String>,
}

/// What the agent printed: the recorded bytes, or in a recording of both directions the agent's part of them.
fn agent_output(recorded: &[u8]) -> Vec<u8> {
    let mut output = Vec::with_capacity(recorded.len());
    for line in recorded.split_inclusive(|byte| *byte == b'\n') {
        match serde_json::from_slice::<Recorded<'_>>(line) {
            Ok(Recorded { dir: "stdout" | "agent->client" | "in", msg, line, .. }) => {
                match (msg, line) {
                    (Some(msg), _) => output.extend_from_slice(msg.get().as_bytes()),
                    (None, Some(line)) => output.extend_from_slice(line.as_bytes()),
                    (None, None) => continue,
                }
                output.push(b'\n');
            }
            // What was said to the agent, and the notes of whoever recorded it.
            Ok(_) => {}
            Err(_) => output.extend_from_slice(line),
        }
    }
    output
}

#[cfg(test)]
mod tests {
    use super::agent_output;

    #[test]
    fn only_the_agents_part_of_a_recording_counts() {
        let recorded = concat!(
            "{\"t\":3,\"dir\":\"stdin\",\"msg\":{\"a\":1}}\n",
            "{\"t\":4,\"dir\":\"stdout\",\"msg\":{\"b\": 1.50,\"a\":[]}}\n",
            "{\"t\":5,\"dir\":\"note\",\"line\":\"init\"}\n",
            "{\"t\":6,\"dir\":\"agent->client\",\"line\":\"half a \\\"line\"}\n",
        );
        assert_eq!(agent_output(recorded.as_bytes()), b"{\"b\": 1.50,\"a\":[]}\nhalf a \"line\n");
    }

    #[test]
    fn raw_output_stays_as_it_is() {
        let raw = b"{\"type\":\"system\"}\nnot json \xff\n\n{\"t\":1}\nhalf";
        assert_eq!(agent_output(raw), raw);
    }
}
