//! The values of secrets, and texts without them. It knows no block and no event.
//!
//! Leftmost first, and of those that begin at the same place the longest; what is replaced is not looked at again. A text
//! that comes in pieces gives the same as the whole, wherever it is cut.

use std::{borrow::Cow, fmt};

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::forms;
use crate::domain::BlockId;

/// Bytes of values up to which the quickest automaton is made. Of longer ones it would take up to a kilobyte for each byte,
/// and time that grows with the square of a value of one letter.
const QUICK_MAX: usize = 8 * 1024;

/// See the module.
#[derive(Default)]
pub(in crate::session) struct Values {
    /// All that is looked for; `None`: there is nothing.
    finder: Option<AhoCorasick>,
    /// By the number of the pattern.
    texts: Vec<Form>,
    /// A value may begin with this byte.
    begins: Vec<bool>,
    longest: usize,
}

struct Form {
    /// As it is printed.
    text: String,
    /// What the secret is called.
    name: String,
    /// What stands in its place.
    placeholder: String,
}

impl Values {
    /// Of secrets and their values. One that is too short to be told from any other word is left out.
    pub(in crate::session) fn new(secrets: impl IntoIterator<Item = (String, String)>) -> Self {
        let forms = secrets.into_iter().flat_map(|(name, value)| {
            forms::of(&value).into_iter().map(move |text| (name.clone(), text)).collect::<Vec<_>>()
        });
        Self::of(forms)
    }

    /// What either of two looks for; where both know a text, it is called what the first calls it.
    pub(in crate::session) fn and(&self, others: &Self) -> Self {
        let known = self.texts.iter().chain(&others.texts);
        Self::of(known.map(|form| (form.name.clone(), form.text.clone())))
    }

    /// All that is looked for, each with the name of its secret.
    fn of(forms: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut texts: Vec<Form> = Vec::new();
        for (name, text) in forms {
            // Whoever is named first stands for a value that two have.
            if !texts.iter().any(|known| known.text == text) {
                let placeholder = placeholder(&name);
                texts.push(Form { text, name, placeholder });
            }
        }
        if texts.is_empty() {
            return Self::default();
        }
        let bytes: usize = texts.iter().map(|value| value.text.len()).sum();
        let finder = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .kind((bytes > QUICK_MAX).then_some(AhoCorasickKind::ContiguousNFA))
            .build(texts.iter().map(|value| &value.text))
            .expect("values are far shorter than what an automaton can hold");
        let mut begins = vec![false; 256];
        texts.iter().filter_map(|value| value.text.bytes().next()).for_each(|byte| begins[usize::from(byte)] = true);
        let longest = texts.iter().map(|value| value.text.len()).max().unwrap_or_default();
        Self { finder: Some(finder), texts, begins, longest }
    }

    /// There is nothing to replace.
    pub(super) fn is_empty(&self) -> bool {
        self.finder.is_none()
    }

    /// Replaces the values in a whole text.
    pub(super) fn replace(&self, text: &mut String) {
        let Some(finder) = &self.finder else { return };
        if finder.is_match(text.as_str()) {
            let mut without = String::with_capacity(text.len());
            finder.replace_all_with(text, &mut without, |found, _, without| {
                without.push_str(&self.texts[found.pattern().as_usize()].placeholder);
                true
            });
            *text = without;
        }
    }

    /// Replaces the values in bytes. Says whether there were any.
    pub(super) fn replace_bytes(&self, bytes: &mut Vec<u8>) -> bool {
        let Some(finder) = self.finder.as_ref().filter(|finder| finder.is_match(bytes.as_slice())) else {
            return false;
        };
        let mut without = Vec::with_capacity(bytes.len());
        finder.replace_all_with_bytes(bytes, &mut without, |found, _, without| {
            without.extend_from_slice(self.texts[found.pattern().as_usize()].placeholder.as_bytes());
            true
        });
        *bytes = without;
        true
    }

    /// Replaces the values in the strings of a JSON text, so that it says the same otherwise.
    pub(super) fn replace_in_strings(&self, json: &mut String) {
        let has_any = self.finder.as_ref().is_some_and(|finder| finder.is_match(json.as_str()));
        if has_any && let Ok(mut value) = serde_json::from_str::<Value>(json) {
            self.replace_in_value(&mut value);
            *json = value.to_string();
        }
    }

    fn replace_in_value(&self, value: &mut Value) {
        match value {
            Value::String(text) => self.replace(text),
            Value::Array(values) => values.iter_mut().for_each(|value| self.replace_in_value(value)),
            Value::Object(fields) => {
                for (mut name, mut value) in std::mem::take(fields) {
                    self.replace(&mut name);
                    self.replace_in_value(&mut value);
                    fields.insert(name, value);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Cuts off what may be the beginning of a value at the end of a text that was cut itself, and says how much that was.
    pub(super) fn cut_beginning(&self, bytes: &mut Vec<u8>) -> usize {
        let keep = self.open_end(bytes, 0).unwrap_or(bytes.len());
        let lost = bytes.len() - keep;
        bytes.truncate(keep);
        lost
    }

    /// Of a text of which more may come, `held` first: what is sure of it, without values, and the end that is not, because
    /// it is the beginning of a value.
    pub(super) fn sure(&self, held: Option<String>, text: String) -> (String, String) {
        let Some(finder) = &self.finder else { return (text, String::new()) };
        let mut text = match held {
            Some(held) => held + &text,
            None => text,
        };
        let (mut sure, mut at) = (Cow::Borrowed(""), 0);
        let mut end = self.open_end(text.as_bytes(), 0);
        loop {
            let found = finder.find(&text[at..]).map(|found| (at + found.start(), at + found.end(), found.pattern()));
            match found {
                // One that begins earlier, or is longer, could only come of the end.
                Some((from, to, pattern)) if end.is_none_or(|end| from < end) => {
                    let sure = sure.to_mut();
                    sure.push_str(&text[at..from]);
                    sure.push_str(&self.texts[pattern.as_usize()].placeholder);
                    at = to;
                    if end.is_some_and(|end| end < at) {
                        end = self.open_end(text.as_bytes(), at);
                    }
                }
                Some(_) | None => break,
            }
        }
        let open = text.split_off(end.unwrap_or(text.len()));
        match sure {
            Cow::Borrowed(_) => (text, open),
            Cow::Owned(sure) => (sure + &text[at..], open),
        }
    }

    /// Where, from `at` on, the longest end of a text begins that is the beginning of a value, and not all of it.
    fn open_end(&self, text: &[u8], at: usize) -> Option<usize> {
        let from = at.max(text.len().saturating_sub(self.longest.saturating_sub(1)));
        let is_open = |begin: &usize| {
            let end = &text[*begin..];
            self.begins[usize::from(end[0])]
                && self.texts.iter().any(|value| value.text.len() > end.len() && value.text.as_bytes().starts_with(end))
        };
        if self.is_empty() { None } else { (from..text.len()).find(is_open) }
    }

    /// The name of a value that begins like this, and what tells the value from another one of that name.
    pub(super) fn name_of(&self, id: &BlockId, beginning: &str) -> Option<(String, u32)> {
        let value = self.texts.iter().find(|value| value.text.starts_with(beginning))?;
        Some((value.name.clone(), check(id, &value.text)))
    }

    /// So many bytes of the value that was called this; `None`: it is not known, or is another one now.
    pub(super) fn beginning(&self, id: &BlockId, name: &str, bytes: u64, told: u32) -> Option<String> {
        let is_it = |value: &&Form| value.name == name && check(id, &value.text) == told;
        let value = self.texts.iter().find(is_it)?;
        value.text.get(..usize::try_from(bytes).ok()?).map(str::to_owned)
    }
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.texts.iter().map(|value| &value.name).collect();
        f.debug_tuple("Values").field(&names).finish()
    }
}

/// What stands for a value: it is text in JSON too, whatever the name.
pub(super) fn placeholder(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "_-./:".contains(c) { c } else { '_' };
    let name: String = name.chars().map(plain).collect();
    format!("[secret {name}]")
}

/// Whether something in a text stands for a value, or looks like it.
pub(in crate::session) fn hides(text: &str) -> bool {
    text.contains("[secret ")
}

/// Tells a value from another one, and nothing of it: another number for each block, too short to guess by.
fn check(id: &BlockId, text: &str) -> u32 {
    let hash = Sha256::new().chain_update(id.as_str()).chain_update([0]).chain_update(text).finalize();
    u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
}
