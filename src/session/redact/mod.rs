//! Secrets in what agents print: the exact values that the server knows are replaced by `[secret NAME]` before anything of
//! it is recorded, also where a value comes in pieces.
//!
//! `values` finds and replaces, `forms` says what stands for a value, `known` which values there are, `fields` where an
//! agent's words stand. Here stands what goes on between two pieces of one block: the end of its text that may be the
//! beginning of a value is held back until more comes or the block ends. What is held was read before the offset that is
//! stored, so it is stored with that offset: by the name of the value and a number of bytes, never as text.

mod fields;
mod forms;
mod known;
#[cfg(test)]
mod tests;
mod values;

use std::{collections::BTreeMap, sync::Arc};

pub(super) use self::{
    known::{Known, of_profile, of_program},
    values::{Values, hides},
};
use crate::{
    agent::Action,
    domain::{Blob, BlockId},
    store::Held,
};

/// What is replaced in one session, and what is held back of its open blocks.
#[derive(Debug, Default)]
pub(super) struct Redaction {
    values: Arc<Values>,
    /// Ends of texts that may be the beginnings of values, by block. Hardly ever more than one.
    holds: BTreeMap<BlockId, Hold>,
    /// Bytes that held a value and have another hash without it, by the hash that the agent's block names.
    renamed: BTreeMap<String, Blob>,
}

/// The beginning of a value. It hides itself.
#[derive(Clone, PartialEq, Eq)]
struct Hold(String);

/// What an agent asks for, without the values of secrets: nothing else is recorded.
#[derive(Debug)]
pub(super) struct Redacted(Action);

impl Redacted {
    /// The same, to look at.
    pub(super) fn action(&self) -> &Action {
        &self.0
    }

    /// The same, to be carried out.
    pub(super) fn into_action(self) -> Action {
        self.0
    }
}

impl Redaction {
    /// Of a session whose values these are. What its last owner held back is held on to, where its value is still known; else
    /// the blocks are returned whose text goes on with what stands for the value.
    pub(super) fn new(values: Arc<Values>, held: &[Held]) -> (Self, Vec<(BlockId, String)>) {
        let mut unknown = Vec::new();
        let mut holds = BTreeMap::new();
        for Held { block_id, secret, bytes, check } in held {
            match values.beginning(block_id, secret, *bytes, *check) {
                Some(text) => drop(holds.insert(block_id.clone(), Hold(text))),
                None => unknown.push((block_id.clone(), values::placeholder(secret))),
            }
        }
        (Self { values, holds, renamed: BTreeMap::new() }, unknown)
    }

    /// The program that starts next knows these as well: a secret may have got another value since. What was known stays so,
    /// because it is held on to and may still be said.
    pub(super) fn learn(&mut self, values: &Values) {
        self.values = Arc::new(values.and(&self.values));
    }

    /// The program that is gone on with knows these, whatever they are called by now. Where both know one, it keeps its name.
    pub(super) fn recall(&mut self, values: &Values) {
        self.values = Arc::new(self.values.and(values));
    }

    /// What is held back now, for the next owner.
    pub(super) fn held(&self) -> Vec<Held> {
        let named = |(id, hold): (&BlockId, &Hold)| {
            let (secret, check) = self.values.name_of(id, &hold.0)?;
            Some(Held { block_id: id.clone(), secret, bytes: hold.0.len() as u64, check })
        };
        self.holds.iter().filter_map(named).collect()
    }

    /// JSON that is ours, without the values of secrets in its strings.
    pub(super) fn hide(&self, json: &mut String) {
        self.values.replace_in_strings(json);
    }

    /// Text that a block grows by, as far as it is sure; the rest is held.
    fn grow(&mut self, id: &BlockId, text: String) -> String {
        if self.values.is_empty() {
            return text;
        }
        let before = self.holds.remove(id).map(|hold| hold.0);
        let (sure, open) = self.values.sure(before, text);
        if !open.is_empty() {
            self.holds.insert(id.clone(), Hold(open));
        }
        sure
    }

    /// The text of a block that begins, or begins anew.
    fn begin(&mut self, id: &BlockId, text: String) -> String {
        self.holds.remove(id);
        self.grow(id, text)
    }

    /// What is held of a block to which nothing more comes, without the values in it.
    pub(super) fn rest(&mut self, id: &BlockId) -> Option<String> {
        let Hold(mut text) = self.holds.remove(id)?;
        self.values.replace(&mut text);
        Some(text)
    }
}

impl std::fmt::Debug for Hold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hold({} bytes)", self.0.len())
    }
}
