//! The script of the model endpoint, in no vendor's words: what a model says to which prompt.
//!
//! It must know no wire format and no transport. The format is told in the [module above](super).

use std::path::Path;

use serde::Deserialize;

/// A script that was read and found playable.
#[derive(Clone, Debug)]
pub struct Script {
    sections: Vec<Section>,
}

/// Steps for the prompts that hold `when`; the first such section answers.
#[derive(Clone, Debug)]
struct Section {
    when: Option<String>,
    /// One run of calls answers one prompt.
    runs: Vec<Vec<Call>>,
}

/// One answered model call, with those that fail before it.
#[derive(Clone, Debug, Default)]
struct Call {
    failing: Vec<Failing>,
    answer: Option<Answer>,
}

/// Calls that fail.
#[derive(Clone, Debug)]
struct Failing {
    reply: Reply,
    /// `None`: every time.
    times: Option<u64>,
}

/// What the model says in one call.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) parts: Vec<Part>,
    pub(super) usage: Usage,
    /// Why the model stops, in the words of the wire format; `None`: because it is done, or waits for a tool.
    pub(super) stop: Option<String>,
}

/// One block of an answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Part {
    Text {
        text: String,
        pace: Pace,
    },
    Thinking {
        text: String,
        pace: Pace,
    },
    Numbers {
        count: u64,
        size: usize,
        pace_us: u64,
    },
    Tool {
        name: String,
        input: serde_json::Value,
        pace: Pace,
    },
    /// A block of the wire format as it begins, and what it grows by.
    Block {
        block: serde_json::Value,
        deltas: Vec<serde_json::Value>,
    },
}

/// How a text is cut, and the time between two cuts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    pub(super) chunk: usize,
    pub(super) pace_us: u64,
}

/// Token counts that a step states; what it leaves out is made up from the length of the texts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Usage {
    #[serde(rename = "input_tokens")]
    pub(super) input: Option<u64>,
    #[serde(rename = "output_tokens")]
    pub(super) output: Option<u64>,
    #[serde(rename = "cache_read_tokens", default)]
    pub(super) cache_read: u64,
    #[serde(rename = "cache_write_tokens", default)]
    pub(super) cache_write: u64,
}

/// An error answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) message: String,
    pub(super) retry_after: Option<u64>,
}

/// An answer that breaks off.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Broken {
    pub(super) answer: Answer,
    /// Events of the stream that are sent whole.
    pub(super) after: usize,
    /// The error that the stream ends with: its kind, in the words of the wire format, and a message. `None`: the connection is
    /// cut.
    pub(super) error: Option<(String, String)>,
}

/// What a wire format found out about one model call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ask {
    /// Which conversation asks, as far as the request tells.
    pub(super) session: String,
    /// What the user said so far, oldest first.
    pub(super) prompts: Vec<String>,
    /// Answers of the model since the last prompt.
    pub(super) answers: usize,
    /// The agent's working directory.
    pub(super) cwd: Option<String>,
    /// What the newest tool returned.
    pub(super) result: String,
    /// Images and documents that it was shown: media type and SHA-256 of each.
    pub(super) shown: Vec<String>,
}

/// What stands next in the script.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Reply {
    Answer(Answer),
    Refuse(Refusal),
    Break(Broken),
}

/// A script that cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("the script {path} cannot be read: {cause}")]
    Read {
        /// Which file.
        path: String,
        /// Why.
        cause: std::io::Error,
    },
    /// It is no JSON, or has a field that does not exist.
    #[error("the script is not of the form {{\"steps\":[…]}}: {0}")]
    Form(#[from] serde_json::Error),
    /// A step says too much or too little.
    #[error("step {step} of the script: {rule}")]
    Step {
        /// Counted from 1.
        step: usize,
        /// What is wrong.
        rule: String,
    },
}

impl Script {
    /// Reads a script from its text.
    ///
    /// # Errors
    /// [`Error::Form`], [`Error::Step`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        let file: File = serde_json::from_str(text)?;
        if file.steps.is_empty() {
            return Err(Error::Step { step: 1, rule: "there is none".into() });
        }
        let mut sections = vec![Section { when: None, runs: Vec::new() }];
        let mut run: Vec<Call> = Vec::new();
        let mut failing: Vec<Failing> = Vec::new();
        for (at, step) in file.steps.into_iter().enumerate() {
            let wrong = |rule: &str| Error::Step { step: at + 1, rule: rule.into() };
            if let Some(when) = &step.when {
                close(&mut sections, &mut run, &mut failing);
                sections.push(Section { when: Some(when.clone()), runs: Vec::new() });
            }
            match step.read().map_err(|rule| wrong(&rule))? {
                (reply @ (Reply::Refuse(_) | Reply::Break(_)), times) => {
                    failing.push(Failing { reply, times });
                    if times.is_none() {
                        close(&mut sections, &mut run, &mut failing);
                    }
                }
                (Reply::Answer(answer), _) => {
                    let goes_on = answer.parts.iter().any(|part| matches!(part, Part::Tool { .. }));
                    run.push(Call { failing: std::mem::take(&mut failing), answer: Some(answer) });
                    if !goes_on {
                        close(&mut sections, &mut run, &mut failing);
                    }
                }
            }
        }
        close(&mut sections, &mut run, &mut failing);
        sections.retain(|section| !section.runs.is_empty());
        Ok(Self { sections })
    }

    /// Reads a script from a file.
    ///
    /// # Errors
    /// As [`Self::parse`], and [`Error::Read`].
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text =
            std::fs::read_to_string(path).map_err(|cause| Error::Read { path: path.display().to_string(), cause })?;
        Self::parse(&text)
    }

    /// What answers this call, when the same call failed `failed` times before.
    pub(super) fn reply(&self, ask: &Ask, failed: u64) -> Reply {
        let nothing = String::new();
        let prompt = ask.prompts.last().unwrap_or(&nothing);
        let mine = self
            .sections
            .iter()
            .find(|section| section.when.as_deref().is_some_and(|when| contains(prompt, when)))
            .or_else(|| self.sections.iter().find(|section| section.when.is_none()));
        let Some(section) = mine else {
            return Reply::Answer(Answer::plain(format!("The script has nothing to say to: {prompt}")));
        };
        let earlier = ask.prompts.iter().rev().skip(1).filter(|earlier| self.same_section(earlier, section)).count();
        let run = &section.runs[earlier % section.runs.len()];
        let Some(call) = run.get(ask.answers) else {
            return Reply::Answer(Answer::plain("The script has no more steps for this prompt.".to_owned()));
        };
        let mut left = failed;
        for Failing { reply, times } in &call.failing {
            match times {
                Some(times) if left >= *times => left -= times,
                Some(_) | None => return reply.clone().filled_in(ask, prompt),
            }
        }
        match &call.answer {
            Some(answer) => Reply::Answer(answer.filled_in(ask, prompt)),
            None => Reply::Answer(Answer::plain("The script ends here.".to_owned())),
        }
    }

    fn same_section(&self, prompt: &str, section: &Section) -> bool {
        let matched =
            self.sections.iter().find(|other| other.when.as_deref().is_some_and(|when| contains(prompt, when)));
        match matched {
            Some(other) => std::ptr::eq(other, section),
            None => section.when.is_none(),
        }
    }
}

impl Reply {
    fn filled_in(self, ask: &Ask, prompt: &str) -> Self {
        match self {
            Self::Answer(answer) => Self::Answer(answer.filled_in(ask, prompt)),
            Self::Break(broken) => Self::Break(Broken { answer: broken.answer.filled_in(ask, prompt), ..broken }),
            Self::Refuse(refusal) => Self::Refuse(refusal),
        }
    }
}

impl Answer {
    /// One short text.
    pub(super) fn plain(text: String) -> Self {
        let pace = Pace { chunk: usize::MAX, pace_us: 0 };
        Self { parts: vec![Part::Text { text, pace }], usage: Usage::default(), stop: None }
    }

    fn filled_in(&self, ask: &Ask, prompt: &str) -> Self {
        let mut answer = self.clone();
        let fill = |text: &mut String| {
            if text.contains("{{") {
                *text = text
                    .replace("{{cwd}}", ask.cwd.as_deref().unwrap_or("."))
                    .replace("{{result}}", ask.result.trim_end())
                    .replace("{{prompt}}", prompt);
            }
        };
        for part in &mut answer.parts {
            match part {
                Part::Text { text, .. } | Part::Thinking { text, .. } => fill(text),
                Part::Tool { input, .. } => fill_strings(input, &fill),
                Part::Block { block, deltas } => {
                    fill_strings(block, &fill);
                    for delta in deltas {
                        fill_strings(delta, &fill);
                    }
                }
                Part::Numbers { .. } => {}
            }
        }
        answer
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    when: Option<String>,
    answer: Option<Vec<RawPart>>,
    usage: Option<Usage>,
    stop: Option<String>,
    breaks_after: Option<usize>,
    error: Option<String>,
    status: Option<u16>,
    times: Option<u64>,
    message: Option<String>,
    retry_after: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPart {
    text: Option<String>,
    thinking: Option<String>,
    tool: Option<String>,
    input: Option<serde_json::Value>,
    block: Option<serde_json::Value>,
    deltas: Option<Vec<serde_json::Value>>,
    count: Option<u64>,
    size: Option<usize>,
    chunk: Option<usize>,
    pace_ms: Option<u64>,
    pace_us: Option<u64>,
}

impl Step {
    /// What it says, and of what fails how often.
    fn read(self) -> Result<(Reply, Option<u64>), String> {
        let Self { when: _, answer, usage, stop, breaks_after, error, status, times, message, retry_after } = self;
        match (answer, status) {
            (Some(parts), None) => {
                if retry_after.is_some() {
                    return Err("\"retry_after\" belongs to a \"status\"".into());
                }
                if parts.is_empty() {
                    return Err("\"answer\" is empty".into());
                }
                let parts = parts.into_iter().map(RawPart::read).collect::<Result<_, _>>()?;
                let answer = Answer { parts, usage: usage.unwrap_or_default(), stop };
                let Some(after) = breaks_after else {
                    if times.is_some() || message.is_some() || error.is_some() {
                        return Err("\"times\" and \"message\" belong to a \"status\" or to \"breaks_after\", \"error\" to the latter".into());
                    }
                    return Ok((Reply::Answer(answer), None));
                };
                if message.is_some() && error.is_none() {
                    return Err("\"message\" belongs to an \"error\": where there is none the connection is cut".into());
                }
                let message = message.unwrap_or_else(|| "the script breaks off".to_owned());
                Ok((Reply::Break(Broken { answer, after, error: error.map(|kind| (kind, message)) }), times))
            }
            (None, Some(status)) if (400..600).contains(&status) => {
                if usage.is_some() || stop.is_some() || breaks_after.is_some() || error.is_some() {
                    return Err("\"usage\", \"stop\", \"breaks_after\" and \"error\" belong to an \"answer\"".into());
                }
                let message = message.unwrap_or_else(|| format!("the script answers {status}"));
                Ok((Reply::Refuse(Refusal { status, message, retry_after }), times))
            }
            (None, Some(status)) => Err(format!("\"status\" is {status}, and must be from 400 to 599")),
            (Some(_), Some(_)) | (None, None) => Err("it needs either \"answer\" or \"status\"".into()),
        }
    }
}

impl RawPart {
    fn read(self) -> Result<Part, String> {
        let pace_us = self.pace_us.unwrap_or(0) + self.pace_ms.unwrap_or(0) * 1000;
        let pace = Pace { chunk: self.chunk.unwrap_or(24).max(1), pace_us };
        if self.input.is_some() && self.tool.is_none() {
            return Err("\"input\" belongs to a \"tool\"".into());
        }
        if self.size.is_some() && self.count.is_none() {
            return Err("\"size\" belongs to a \"count\"".into());
        }
        if self.deltas.is_some() && self.block.is_none() {
            return Err("\"deltas\" belong to a \"block\"".into());
        }
        match (self.text, self.thinking, self.tool, self.count, self.block) {
            (Some(text), None, None, None, None) => Ok(Part::Text { text, pace }),
            (None, Some(text), None, None, None) => Ok(Part::Thinking { text, pace }),
            (None, None, Some(name), None, None) => {
                Ok(Part::Tool { name, input: self.input.unwrap_or_else(|| serde_json::json!({})), pace })
            }
            (None, None, None, Some(count), None) => {
                Ok(Part::Numbers { count, size: self.size.unwrap_or(20), pace_us })
            }
            (None, None, None, None, Some(block)) => Ok(Part::Block { block, deltas: self.deltas.unwrap_or_default() }),
            _ => Err(
                "each part of \"answer\" needs exactly one of \"text\", \"thinking\", \"tool\", \"count\", \"block\""
                    .into(),
            ),
        }
    }
}

/// Ends a run; failures that nothing follows are a run of their own.
fn close(sections: &mut [Section], run: &mut Vec<Call>, failing: &mut Vec<Failing>) {
    if !failing.is_empty() {
        run.push(Call { failing: std::mem::take(failing), answer: None });
    }
    if !run.is_empty()
        && let Some(section) = sections.last_mut()
    {
        section.runs.push(std::mem::take(run));
    }
}

fn contains(prompt: &str, when: &str) -> bool {
    prompt.to_lowercase().contains(&when.to_lowercase())
}

fn fill_strings(value: &mut serde_json::Value, fill: &impl Fn(&mut String)) {
    match value {
        serde_json::Value::String(text) => fill(text),
        serde_json::Value::Array(items) => items.iter_mut().for_each(|item| fill_strings(item, fill)),
        serde_json::Value::Object(fields) => fields.values_mut().for_each(|field| fill_strings(field, fill)),
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => {}
    }
}
