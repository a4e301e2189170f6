//! The steps of a script, read strictly: each form by itself, so that no field is ever ignored.

use std::time::Duration;

use serde::{
    Deserialize, Serialize,
    de::{DeserializeOwned, Error as _},
};
use serde_json::{Error, Value};

/// One thing to do. What each does stands in the [module above](super).
#[derive(Debug)]
pub(super) enum Step {
    Say(Speech),
    Think(Speech),
    Count(Count),
    Tool(Tool),
    Run(Run),
    Pause(Duration),
    Used(Used),
    Fail(Fail),
    Exit(Exit),
    Raw(Vec<u8>),
    LongLine(u64),
    Stderr(String),
    Repeat(u64, Vec<Step>),
    Ask(Ask),
}

/// A tool call that asks before it runs.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) tool: String,
    pub(super) input: Value,
    /// It does not wait for the answer.
    pub(super) withdrawn: bool,
    pub(super) then: Vec<Step>,
    pub(super) otherwise: Vec<Step>,
    /// Played instead of the same request by another process, as it was written.
    pub(super) again: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Speech {
    #[serde(alias = "say", alias = "think")]
    pub(super) text: String,
    size: Option<usize>,
    #[serde(default)]
    pace_ms: u64,
    #[serde(default)]
    pace_us: u64,
    #[serde(default)]
    pub(super) open: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Count {
    #[serde(rename = "count")]
    pub(super) deltas: u64,
    size: Option<usize>,
    #[serde(default)]
    pace_ms: u64,
    #[serde(default)]
    pace_us: u64,
    #[serde(default)]
    pub(super) open: bool,
    /// Each delta also tells when it was written.
    #[serde(default)]
    pub(super) stamp: bool,
    /// Blocks that are open at once and take the deltas in turn; 0 is 1.
    #[serde(default)]
    pub(super) blocks: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tool {
    #[serde(rename = "tool")]
    pub(super) name: String,
    #[serde(default = "empty_object")]
    pub(super) input: Value,
    #[serde(default = "empty_text")]
    pub(super) output: Value,
    #[serde(default)]
    pub(super) is_error: bool,
    #[serde(default)]
    pub(super) duration_ms: u64,
    pub(super) exit_code: Option<i32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Run {
    #[serde(rename = "run")]
    pub(super) command: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Used {
    pub(super) usage: Usage,
    #[serde(default)]
    pub(super) model: String,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Usage {
    pub(super) input_tokens: i64,
    pub(super) output_tokens: i64,
    pub(super) cache_read_tokens: i64,
    pub(super) cache_write_tokens: i64,
    pub(super) thinking_tokens: i64,
    pub(super) cost_micro_usd: i64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fail {
    #[serde(rename = "error")]
    pub(super) message: String,
    #[serde(default)]
    pub(super) retryable: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Exit {
    #[serde(rename = "exit")]
    pub(super) code: u8,
    #[serde(default)]
    pub(super) half_line: String,
}

/// The steps of a message that begins like a script.
pub(super) fn parse(text: &str) -> Result<Vec<Step>, Error> {
    let mut steps = Vec::new();
    for value in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
        match value? {
            Value::Array(values) => steps.append(&mut list(values)?),
            value => steps.push(Step::from_value(value)?),
        }
    }
    Ok(steps)
}

fn list(values: Vec<Value>) -> Result<Vec<Step>, Error> {
    values.into_iter().map(Step::from_value).collect()
}

impl Step {
    fn from_value(value: Value) -> Result<Self, Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Pause {
            pause_ms: u64,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Raw {
            #[serde(alias = "raw", alias = "raw_base64", alias = "stderr")]
            text: String,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct LongLine {
            long_line: u64,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Repeat {
            repeat: u64,
            steps: Vec<Value>,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Asked {
            ask: Call,
            #[serde(default)]
            then: Vec<Value>,
            #[serde(default, rename = "else")]
            otherwise: Vec<Value>,
            #[serde(default)]
            withdrawn: bool,
            again: Option<Vec<Value>>,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Questions {
            #[serde(rename = "question")]
            items: Value,
            #[serde(default)]
            then: Vec<Value>,
            #[serde(default, rename = "else")]
            otherwise: Vec<Value>,
            again: Option<Vec<Value>>,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Call {
            tool: String,
            #[serde(default = "empty_object")]
            input: Value,
        }
        const NAMES: [&str; 16] = [
            "say",
            "think",
            "count",
            "tool",
            "run",
            "pause_ms",
            "usage",
            "error",
            "exit",
            "raw",
            "raw_base64",
            "long_line",
            "stderr",
            "repeat",
            "ask",
            "question",
        ];

        let Some(name) = NAMES.into_iter().find(|name| value.get(name).is_some()) else {
            return Err(Error::custom(format!("a step needs one of {}; this has none: {value}", NAMES.join(", "))));
        };
        Ok(match name {
            "say" => Self::Say(read(value)?),
            "think" => Self::Think(read(value)?),
            "count" => Self::Count(read(value)?),
            "tool" => Self::Tool(read(value)?),
            "run" => Self::Run(read(value)?),
            "pause_ms" => Self::Pause(Duration::from_millis(read::<Pause>(value)?.pause_ms)),
            "usage" => Self::Used(read(value)?),
            "error" => Self::Fail(read(value)?),
            "exit" => Self::Exit(read(value)?),
            "raw" => Self::Raw(read::<Raw>(value)?.text.into_bytes()),
            "raw_base64" => {
                use base64::{Engine as _, engine::general_purpose::STANDARD};
                Self::Raw(STANDARD.decode(read::<Raw>(value)?.text).map_err(Error::custom)?)
            }
            "long_line" => Self::LongLine(read::<LongLine>(value)?.long_line),
            "stderr" => Self::Stderr(read::<Raw>(value)?.text),
            "repeat" => {
                let Repeat { repeat, steps } = read(value)?;
                Self::Repeat(repeat, list(steps)?)
            }
            "question" => {
                let Questions { items, then, otherwise, again } = read(value)?;
                let (tool, input) = ("AskUserQuestion".to_owned(), serde_json::json!({ "questions": items }));
                Self::Ask(Ask { tool, input, withdrawn: false, ..Ask::then(then, otherwise, again)? })
            }
            _ => {
                let Asked { ask, then, otherwise, withdrawn, again } = read(value)?;
                let Call { tool, input } = ask;
                Self::Ask(Ask { tool, input, withdrawn, ..Ask::then(then, otherwise, again)? })
            }
        })
    }
}

impl Ask {
    /// What comes after the answer.
    fn then(then: Vec<Value>, otherwise: Vec<Value>, again: Option<Vec<Value>>) -> Result<Self, Error> {
        // A step that is none must be found now, not by the process that plays it.
        if let Some(again) = &again {
            list(again.clone())?;
        }
        let (then, otherwise, again) = (list(then)?, list(otherwise)?, again.map(Value::Array));
        Ok(Self { tool: String::new(), input: Value::Null, withdrawn: false, then, otherwise, again })
    }
}

impl Speech {
    pub(super) fn pace(&self) -> Duration {
        Duration::from_millis(self.pace_ms) + Duration::from_micros(self.pace_us)
    }

    pub(super) fn size(&self) -> usize {
        self.size.unwrap_or(24).max(1)
    }
}

impl Count {
    pub(super) fn pace(&self) -> Duration {
        Duration::from_millis(self.pace_ms) + Duration::from_micros(self.pace_us)
    }

    pub(super) fn size(&self) -> usize {
        self.size.unwrap_or(20)
    }
}

impl Usage {
    pub(super) fn add(&mut self, other: Self) {
        self.input_tokens += other.input_tokens;
        self.output_tokens += other.output_tokens;
        self.cache_read_tokens += other.cache_read_tokens;
        self.cache_write_tokens += other.cache_write_tokens;
        self.thinking_tokens += other.thinking_tokens;
        self.cost_micro_usd += other.cost_micro_usd;
    }
}

fn read<T: DeserializeOwned>(value: Value) -> Result<T, Error> {
    let shown = value.to_string();
    T::deserialize(value).map_err(|error| Error::custom(format!("{error} in {shown}")))
}

fn empty_object() -> Value {
    Value::Object(serde_json::Map::new())
}

fn empty_text() -> Value {
    Value::String(String::new())
}
