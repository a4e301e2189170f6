//! What the scripted agent says to a message, worked out from its script alone: written from the table of its steps, not
//! from its code.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

/// What a message brings.
#[derive(Debug, Default)]
pub struct Play {
    /// Block by block, in the order in which they begin.
    pub said: Vec<Said>,
    pub end: End,
}

/// A block's text. Of a call it is the tool's name.
#[derive(Debug)]
pub struct Said {
    pub id: String,
    pub text: String,
}

/// How it ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum End {
    #[default]
    Completed,
    /// By an error, or with the process.
    Failed,
    /// It waits for an answer that was not given.
    Waits,
}

struct Player<'a> {
    play: Play,
    message: &'a str,
    answers: &'a mut dyn Iterator<Item = bool>,
    blocks: usize,
    number: u64,
    /// Output that has no end of line yet.
    line: Vec<u8>,
    /// Blocks that the script begins by itself, and where they are.
    open: BTreeMap<String, usize>,
}

/// `None`: the message is no script. `answers`: which of its requests were allowed, one after the other.
pub fn play(message: &str, text: &str, answers: &mut dyn Iterator<Item = bool>) -> Option<Play> {
    let steps = serde_json::Deserializer::from_str(text).into_iter::<Value>().collect::<Result<Vec<_>, _>>().ok()?;
    let begins = text.trim_start().starts_with(['[', '{']);
    let mut player = Player {
        play: Play::default(),
        message,
        answers,
        blocks: 0,
        number: 0,
        line: Vec::new(),
        open: BTreeMap::new(),
    };
    let end = steps.iter().find_map(|value| player.steps(value));
    player.play.end = end.unwrap_or_default();
    begins.then_some(player.play)
}

impl Player<'_> {
    /// `Some`: nothing follows.
    fn steps(&mut self, value: &Value) -> Option<End> {
        match value {
            Value::Array(steps) => steps.iter().find_map(|step| self.step(step)),
            step => self.step(step),
        }
    }

    fn step(&mut self, step: &Value) -> Option<End> {
        let number = |name: &str| step[name].as_u64();
        for name in ["say", "think"] {
            if let Some(text) = step[name].as_str() {
                self.block(text.to_owned());
            }
        }
        if let Some(count) = number("count") {
            self.count(count, number("size").unwrap_or(20), number("blocks").unwrap_or(1).max(1));
        }
        if let Some(tool) = step["tool"].as_str() {
            self.block(tool.to_owned());
            self.block(output(&step["output"]));
        }
        if let Some(raw) = step["raw"].as_str() {
            self.raw(raw.as_bytes());
        }
        if let Some(raw) = step["raw_base64"].as_str() {
            self.raw(&STANDARD.decode(raw).unwrap_or_default());
        }
        if let Some(times) = number("repeat") {
            return (0..times).find_map(|_| self.steps(&step["steps"]));
        }
        if step["ask"].is_object() {
            let ask = &step["ask"];
            self.block(ask["tool"].as_str().unwrap_or_default().to_owned());
            let Some(allowed) = self.answers.next() else { return Some(End::Waits) };
            // Its result is what it was allowed to do, or the words it was refused with: none.
            self.block(if allowed { output(&ask["input"]) } else { String::new() });
            return self.steps(&step[if allowed { "then" } else { "else" }]);
        }
        (step["error"].is_string() || step["exit"].is_u64()).then_some(End::Failed)
    }

    fn block(&mut self, text: String) -> usize {
        self.blocks += 1;
        self.play.said.push(Said { id: format!("{}/{}", self.message, self.blocks), text });
        self.play.said.len() - 1
    }

    fn count(&mut self, count: u64, size: u64, blocks: u64) {
        let places: Vec<usize> = (0..blocks).map(|_| self.block(String::new())).collect();
        let width = usize::try_from(size).unwrap_or(20) - 1;
        for (_, place) in (0..count).zip(places.iter().cycle()) {
            self.number += 1;
            let number = format!("{:0width$} ", self.number);
            self.play.said[*place].text += &number;
        }
    }

    /// Whole lines of it may begin blocks, and let them grow.
    fn raw(&mut self, bytes: &[u8]) {
        self.line.extend_from_slice(bytes);
        while let Some(end) = self.line.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.line.drain(..=end).collect();
            let Ok(value) = serde_json::from_slice::<Value>(&line) else { continue };
            let text = |of: &str, field: &str| value[of][field].as_str().map(str::to_owned);
            if let Some(id) = text("start", "id") {
                self.open.insert(id.clone(), self.play.said.len());
                self.play.said.push(Said { id, text: String::new() });
            } else if let (Some(id), Some(more)) = (text("delta", "id"), text("delta", "text"))
                && let Some(place) = self.open.get(&id)
            {
                self.play.said[*place].text += &more;
            } else if let Some(id) = text("complete", "id") {
                self.open.remove(&id);
            }
        }
    }
}

/// A text is itself, anything else is JSON.
fn output(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
