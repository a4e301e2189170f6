//! Files that say a profile: YAML or JSON, with the names of the contract's JSON form or of the contract itself.
//!
//! Every name is looked up in the contract's descriptors, so that one that means nothing is refused with its place. Beside
//! the contract's own there are names for what lies elsewhere: see [`super::include`].

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value};

use super::include::{Beside, Include};
use crate::{
    cli::error::{Error, context},
    proto::{self, AgentProfile, descriptors},
};

const PROFILE: &str = "agentruntime.v1.AgentProfile";

/// The profile in a file; "-" is standard input, beside which lies what lies in the current folder.
pub(super) fn read(file: &str) -> Result<AgentProfile, Error> {
    let (text, folder) = if file == "-" {
        let mut text = String::new();
        std::io::stdin().lock().read_to_string(&mut text)?;
        (text, PathBuf::from("."))
    } else {
        let text = fs::read_to_string(file).map_err(context(format_args!("cannot read {file}")))?;
        (text, Path::new(file).parent().map(Path::to_owned).unwrap_or_default())
    };
    parse(&text, &Beside::new(folder)).map_err(|fault| Error::Other(format!("{file}: {fault}")))
}

/// The profile that a text says.
pub(super) fn parse(text: &str, beside: &Beside) -> Result<AgentProfile, String> {
    // JSON is nearly YAML, but for some escapes.
    let value: Value = if text.trim_start().starts_with('{') {
        serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?
    } else {
        serde_saphyr::from_str(text).map_err(|error| format!("not YAML: {error}"))?
    };
    let message = descriptors().get_message_by_name(PROFILE).ok_or("the contract has no profiles")?;
    let whole = Walk { beside }.message("", value, &message)?;
    proto::from_json(PROFILE, &whole.to_string()).map_err(|error| error.to_string())
}

struct Walk<'a> {
    beside: &'a Beside,
}

impl Walk<'_> {
    /// An object whose names are the message's, with what lies elsewhere brought in.
    fn message(&self, place: &str, value: Value, message: &MessageDescriptor) -> Result<Value, String> {
        let Value::Object(members) = value else {
            let what = if place.is_empty() { "the file" } else { place };
            return Err(format!("{what}: must be a list of names with values, not {}", sort(&value)));
        };
        let mut whole = Map::new();
        for (name, value) in members {
            let at = join(place, &name);
            let known = message.get_field_by_json_name(&name).or_else(|| message.get_field_by_name(&name));
            let (field, value) = match known {
                Some(field) => {
                    let value = self.field(&at, value, &field)?;
                    (field, value)
                }
                None => match Include::of(&name, message) {
                    Some(include) => {
                        let value = self.beside.bring(&include, &value).map_err(|fault| format!("{at}: {fault}"))?;
                        (include.field, value)
                    }
                    None => return Err(format!("{at}: {}", unknown(message))),
                },
            };
            if whole.insert(field.json_name().to_owned(), value).is_some() {
                return Err(format!("{at}: {} is said twice", field.json_name()));
            }
        }
        Ok(Value::Object(whole))
    }

    fn field(&self, place: &str, value: Value, field: &FieldDescriptor) -> Result<Value, String> {
        match (value, field.kind()) {
            // Nothing behind a name is nothing said.
            (Value::Null, _) => Ok(Value::Null),
            (Value::Array(values), kind) if field.is_list() => {
                let one = |(at, value)| self.single(&format!("{place}[{at}]"), value, &kind);
                values.into_iter().enumerate().map(one).collect::<Result<Vec<_>, _>>().map(Value::Array)
            }
            (Value::Object(members), Kind::Message(entry)) if field.is_map() => {
                let kind = entry.map_entry_value_field().kind();
                let one = |(name, value): (String, Value)| {
                    // A secret that is named without anything is one to keep.
                    let value = if value.is_null() { Value::Object(Map::new()) } else { value };
                    let value = self.single(&join(place, &name), value, &kind)?;
                    Ok((name, value))
                };
                members.into_iter().map(one).collect::<Result<Map<_, _>, String>>().map(Value::Object)
            }
            (value, _) if field.is_list() => Err(format!("{place}: must be a list, not {}", sort(&value))),
            (value, _) if field.is_map() => {
                Err(format!("{place}: must be a list of names with values, not {}", sort(&value)))
            }
            (value, kind) => self.single(place, value, &kind),
        }
    }

    fn single(&self, place: &str, value: Value, kind: &Kind) -> Result<Value, String> {
        match kind {
            Kind::Message(message) if message.package_name() == "agentruntime.v1" => {
                self.message(place, value, message)
            }
            Kind::String | Kind::Bytes if !value.is_string() => {
                Err(format!("{place}: must be text, not {}: put it into quotes", sort(&value)))
            }
            _ => Ok(value),
        }
    }
}

fn join(place: &str, name: &str) -> String {
    if place.is_empty() { name.to_owned() } else { format!("{place}.{name}") }
}

fn unknown(message: &MessageDescriptor) -> String {
    let names: Vec<String> = message.fields().map(|field| field.json_name().to_owned()).collect();
    format!("unknown name; there are {}", names.join(", "))
}

fn sort(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a yes or no",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a list of names with values",
    }
}

#[cfg(test)]
mod tests;
