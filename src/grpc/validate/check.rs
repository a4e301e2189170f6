//! What a check of a request has found so far, and the rules that several requests share.

use std::{collections::BTreeMap, fmt::Display};

use super::{MAX_ID, MAX_LABELS, MAX_MODEL, MAX_NAME};
use crate::{
    domain::{Agent, Failure, PathRule, Reason, Violation},
    grpc::page,
};

/// A size over its limit, and what to do instead. Without a field it is that of a request as a whole.
pub(super) fn too_large(field: &str, size: u64, limit: u64, instead: &str) -> Failure {
    let what = if field.is_empty() { "the request" } else { field };
    let message = format!("{what} has {size} bytes, and {limit} is the limit; {instead}");
    let failure = Failure::new(Reason::MessageTooLarge, message).with("field", field).with("limit_bytes", limit);
    if field.is_empty() { failure } else { failure.with("size_bytes", size) }
}

/// Collects what is wrong with a request. Each rule returns a value to go on with, also when it is broken: it is thrown
/// away at the end.
#[derive(Debug, Default)]
pub(super) struct Check {
    violations: Vec<Violation>,
    /// Paths among the violations, and what the first of them comes to.
    paths: usize,
    path: Option<Failure>,
    too_large: Option<Failure>,
}

impl Check {
    /// The request as a whole: what came of it, or everything that is wrong.
    pub(super) fn finish<T>(self, value: T) -> Result<T, Failure> {
        let Some(first) = self.violations.first() else {
            return self.too_large.map_or(Ok(value), Err);
        };
        let only_paths = self.paths == self.violations.len();
        let path = self.path.filter(|_| only_paths);
        let mut failure = path.unwrap_or_else(|| Failure::invalid(&first.field, &first.rule));
        let more = self.violations.len() - 1;
        if more > 0 {
            failure.message = format!("{} (and {more} more)", failure.message);
        }
        failure.violations = self.violations;
        Err(failure)
    }

    /// The request as a whole, which is made of what was parsed; what could not be was refused.
    pub(super) fn finish_with<P, T>(self, parsed: Option<P>, make: impl FnOnce(P) -> T) -> Result<T, Failure> {
        let parsed = self.finish(parsed)?;
        Ok(make(parsed.expect("what cannot be parsed is refused")))
    }

    /// A path that breaks a rule.
    pub(super) fn refuse_path(&mut self, field: &str, path: &str, rule: PathRule) {
        self.refuse(field, rule.as_str());
        self.paths += 1;
        self.path.get_or_insert_with(|| rule.refusal(path));
    }

    /// A field that breaks a rule.
    pub(super) fn refuse(&mut self, field: impl Display, rule: impl Into<String>) {
        self.violations.push(Violation { field: field.to_string(), rule: rule.into() });
    }

    /// A field that has a meaning, but no effect in this version.
    pub(super) fn not_applied(&mut self, field: impl Display, is_set: bool) {
        if is_set {
            self.refuse(field, "not applied by this version");
        }
    }

    /// A field that only the server sets.
    pub(super) fn output_only(&mut self, field: impl Display, is_set: bool) {
        if is_set {
            self.refuse(field, "output only");
        }
    }

    /// A size over its limit. Told only when nothing else is wrong.
    pub(super) fn too_large(&mut self, field: &str, size: usize, limit: usize) {
        self.too_large = Some(too_large(field, size as u64, limit as u64, "put long text into a file"));
    }

    /// Bytes of a file. Told only when nothing else is wrong.
    pub(super) fn size(&mut self, field: &str, size: usize, limit: usize) {
        if size > limit {
            let refusal = too_large(field, size as u64, limit as u64, "use UploadFile for more");
            self.too_large.get_or_insert(refusal);
        }
    }

    /// What the check of a message found that stands in this field.
    pub(super) fn within(&mut self, field: &str, inner: Self) {
        let named = |Violation { field: name, rule }| Violation { field: format!("{field}.{name}"), rule };
        self.violations.extend(inner.violations.into_iter().map(named));
    }

    /// What another check of the same request found.
    pub(super) fn take<T: Default>(&mut self, result: Result<T, Failure>) -> T {
        result.unwrap_or_else(|failure| {
            self.violations.extend(failure.violations);
            T::default()
        })
    }

    /// Text of at most so many characters. No text holds U+0000, which not every store can keep.
    pub(super) fn text(&mut self, field: impl Display, text: String, limit: usize) -> String {
        if text.chars().count() > limit {
            self.refuse(&field, format!("at most {limit} characters"));
        }
        if text.contains('\0') {
            self.refuse(field, "must not contain U+0000");
        }
        text
    }

    /// An id of something that is there already.
    pub(super) fn id(&mut self, field: &str, id: String) -> String {
        if id.is_empty() {
            self.refuse(field, "required");
        }
        self.text(field, id, MAX_ID)
    }

    /// A name for people, which may be empty.
    pub(super) fn name(&mut self, field: &str, name: String) -> String {
        self.text(field, name, MAX_NAME)
    }

    /// An agent by name or alias; empty: none.
    pub(super) fn agent(&mut self, field: &str, name: &str) -> Option<Agent> {
        if name.is_empty() {
            return None;
        }
        let agent = Agent::parse(name);
        if agent.is_none() {
            self.refuse(field, format!("must be one of {}", Agent::ALL.map(Agent::as_str).join(", ")));
        }
        agent
    }

    /// A model in the agent's words, or empty. It becomes an argument of the agent program, and must not pass for an option
    /// of it.
    pub(super) fn model(&mut self, field: &str, model: String) -> String {
        if model.starts_with('-') || model.chars().any(char::is_control) {
            self.refuse(field, "must not begin with - or contain control characters");
        }
        self.text(field, model, MAX_MODEL)
    }

    /// A long text, whose limit counts bytes.
    pub(super) fn long_text(&mut self, field: &str, text: String, limit: usize) -> String {
        if text.len() > limit {
            self.refuse(field, format!("at most {limit} bytes"));
        }
        if text.contains('\0') {
            self.refuse(field, "must not contain U+0000");
        }
        text
    }

    /// The same, which must be there.
    pub(super) fn required_text(&mut self, field: &str, text: String, limit: usize) -> String {
        if text.is_empty() {
            self.refuse(field, "required");
        }
        self.long_text(field, text, limit)
    }

    /// The caller's own key of a session, or empty.
    pub(super) fn external_id(&mut self, id: String) -> String {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:/-".contains(&byte);
        if id.len() > 128 || !id.bytes().all(allowed) {
            self.refuse("external_id", "empty, or 1 to 128 characters of [A-Za-z0-9_.:/-]");
        }
        id
    }

    /// Labels to keep or to filter by.
    pub(super) fn labels(&mut self, labels: BTreeMap<String, String>) -> BTreeMap<String, String> {
        if labels.len() > MAX_LABELS {
            self.refuse("labels", format!("at most {MAX_LABELS} labels"));
        }
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_./-".contains(&byte);
        for (key, value) in &labels {
            let field = format!("labels[{key:?}]");
            if !(1..=63).contains(&key.len()) || !key.bytes().all(allowed) {
                self.refuse(&field, "keys are 1 to 63 characters of [A-Za-z0-9_./-]");
            }
            if value.chars().count() > 256 {
                self.refuse(&field, "values have at most 256 characters");
            }
            if value.contains('\0') {
                self.refuse(&field, "must not contain U+0000");
            }
        }
        labels
    }

    /// An enum that this build knows. `named` is what the contract calls it.
    pub(super) fn known<E: TryFrom<i32>>(&mut self, field: &str, number: i32, named: &str) -> Option<E> {
        let value = E::try_from(number).ok();
        if value.is_none() {
            self.refuse(field, format!("{number} is no {named} known to this server"));
        }
        value
    }

    /// How many a page holds.
    pub(super) fn page_size(&mut self, size: i32) -> usize {
        match usize::try_from(size) {
            Ok(0) => page::DEFAULT_SIZE,
            Ok(size) if size <= page::MAX_SIZE => size,
            Ok(_) | Err(_) => {
                self.refuse("page_size", format!("0 to {}", page::MAX_SIZE));
                page::DEFAULT_SIZE
            }
        }
    }
}
