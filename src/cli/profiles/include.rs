//! What a profile's file says of things that lie elsewhere.
//!
//! - `XFrom: PATH` beside every text or content `x`: what the file at PATH holds, a path below the folder of the profile's
//!   file. So `systemPromptFrom`, `bodyFrom`, `promptFrom`, `contentFrom`, `valueFrom`.
//! - `contentText: TEXT` instead of `content`, which is base64.
//! - `valueFromEnv: NAME` instead of the `value` of a secret: what the variable NAME of this process holds.

use std::{
    env, fs,
    path::{Component, Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::Value;

/// A name that stands for a field of the contract.
pub(super) struct Include {
    /// Which field it gives a value to.
    pub(super) field: FieldDescriptor,
    source: Source,
}

#[derive(Clone, Copy)]
enum Source {
    File,
    Text,
    Environment,
}

impl Include {
    /// What a name means beside the message's own, if anything.
    pub(super) fn of(name: &str, message: &MessageDescriptor) -> Option<Self> {
        let field = |name: &str| message.get_field_by_json_name(name).filter(|field| !field.is_list());
        let is_secret = message.full_name() == "agentruntime.v1.Secret";
        if let Some(field) = name.strip_suffix("FromEnv").and_then(field) {
            return (is_secret && field.name() == "value").then_some(Self { field, source: Source::Environment });
        }
        if let Some(field) = name.strip_suffix("Text").and_then(field) {
            return (field.kind() == Kind::Bytes).then_some(Self { field, source: Source::Text });
        }
        let field = name.strip_suffix("From").and_then(field)?;
        matches!(field.kind(), Kind::String | Kind::Bytes).then_some(Self { field, source: Source::File })
    }
}

/// Where things lie that are named by path.
pub(super) struct Beside {
    folder: PathBuf,
}

impl Beside {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The value that a field gets, in its JSON form.
    pub(super) fn bring(&self, include: &Include, value: &Value) -> Result<Value, String> {
        let Value::String(said) = value else { return Err("must be text".into()) };
        let bytes = match include.source {
            Source::Text => said.clone().into_bytes(),
            Source::Environment => {
                let found = env::var(said).map_err(|_| format!("the variable {said} is not set, or holds no text"))?;
                found.into_bytes()
            }
            Source::File => self.read(said)?,
        };
        if include.field.kind() == Kind::Bytes {
            return Ok(Value::String(STANDARD.encode(bytes)));
        }
        let text = String::from_utf8(bytes).map_err(|_| format!("{said} holds no text, but other bytes"))?;
        Ok(Value::String(text))
    }

    /// Whoever applies a profile that somebody else wrote does not send away what lies outside its folder.
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        let plain = |part: Component| matches!(part, Component::Normal(_) | Component::CurDir);
        if path.is_empty() || !Path::new(path).components().all(plain) {
            return Err(format!("{path:?} must be a path below the folder of this file"));
        }
        let folder = if self.folder.as_os_str().is_empty() { Path::new(".") } else { &self.folder };
        let unreadable = |error| format!("cannot read {path}: {error}");
        let found = fs::canonicalize(folder.join(path)).map_err(unreadable)?;
        if !found.starts_with(fs::canonicalize(folder).map_err(unreadable)?) {
            return Err(format!("{path:?} is a link out of the folder of this file"));
        }
        fs::read(found).map_err(unreadable)
    }
}
