//! Messages as canonical proto3 JSON, through the descriptors that reflection serves, so that nothing has to be generated
//! for it.

use std::{collections::BTreeMap, sync::LazyLock};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, Kind, MapKey, MessageDescriptor, ReflectMessage as _, Value};
use serde::{
    Serialize, Serializer,
    ser::{Error as _, SerializeMap as _},
};

use super::FILE_DESCRIPTOR_SET;

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("build.rs wrote the descriptors of a contract that compiles")
});

/// Text that is not the JSON form of the message it should be.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// The contract has no message of that name.
    #[error("there is no message {0}")]
    UnknownMessage(String),
    /// The text is no JSON, or not of that message.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// The Rust type is not the named message.
    #[error("the message does not fit its type: {0}")]
    Type(#[from] prost::DecodeError),
}

/// The descriptors of the whole contract.
#[must_use]
pub fn descriptors() -> &'static DescriptorPool {
    &POOL
}

/// Canonical JSON of a message: lowerCamelCase names, int64 as text, enums by name, unset and default fields left out.
/// Fields stand in the contract's order and maps are sorted, so that equal messages are equal texts.
///
/// # Panics
/// When `full_name` is not the name of `message`, for example "agentruntime.v1.Session".
pub fn to_json<M: Message>(full_name: &str, message: &M) -> String {
    let descriptor = POOL.get_message_by_name(full_name).expect("callers name a message of the contract");
    let dynamic = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice())
        .expect("callers name the message they give");
    serde_json::to_string(&Ordered(&dynamic)).expect("the contract has no type without a JSON form")
}

/// The message that a JSON text says; lowerCamelCase and snake_case names are taken, unknown ones refused.
///
/// # Errors
/// [`JsonError`].
pub fn from_json<M: Message + Default>(full_name: &str, text: &str) -> Result<M, JsonError> {
    let descriptor =
        POOL.get_message_by_name(full_name).ok_or_else(|| JsonError::UnknownMessage(full_name.to_owned()))?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let dynamic = DynamicMessage::deserialize(descriptor, &mut deserializer)?;
    deserializer.end()?;
    Ok(dynamic.transcode_to()?)
}

/// A message whose maps are written in order; prost-reflect keeps them in hash maps.
struct Ordered<'a>(&'a DynamicMessage);

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(message) = self;
        if message.descriptor().package_name() == "google.protobuf" {
            // Times, durations, masks and structs have forms of their own; `to_value` sorts a struct's keys.
            return serde_json::to_value(message).map_err(S::Error::custom)?.serialize(serializer);
        }
        let mut map = serializer.serialize_map(None)?;
        for (field, value) in message.fields() {
            map.serialize_entry(field.json_name(), &OrderedValue(value, &field.kind()))?;
        }
        map.end()
    }
}

struct OrderedValue<'a>(&'a Value, &'a Kind);

impl Serialize for OrderedValue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(value, kind) = self;
        match value {
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::I32(value) => serializer.serialize_i32(*value),
            Value::U32(value) => serializer.serialize_u32(*value),
            Value::I64(value) => serializer.collect_str(value),
            Value::U64(value) => serializer.collect_str(value),
            Value::F32(value) => float(f64::from(*value), serializer),
            Value::F64(value) => float(*value, serializer),
            Value::String(value) => serializer.serialize_str(value),
            Value::Bytes(value) => serializer.serialize_str(&STANDARD.encode(value)),
            Value::EnumNumber(number) => match kind.as_enum().and_then(|descriptor| descriptor.get_value(*number)) {
                Some(value) => serializer.serialize_str(value.name()),
                None => serializer.serialize_i32(*number),
            },
            Value::Message(message) => Ordered(message).serialize(serializer),
            Value::List(values) => serializer.collect_seq(values.iter().map(|value| OrderedValue(value, kind))),
            Value::Map(entries) => {
                let entry = kind.as_message().map(MessageDescriptor::map_entry_value_field);
                let kind = entry.map_or_else(|| (*kind).clone(), |field| field.kind());
                let sorted: BTreeMap<String, &Value> =
                    entries.iter().map(|(key, value)| (key_text(key), value)).collect();
                serializer.collect_map(sorted.into_iter().map(|(key, value)| (key, OrderedValue(value, &kind))))
            }
        }
    }
}

/// JSON has no number for these three.
fn float<S: Serializer>(value: f64, serializer: S) -> Result<S::Ok, S::Error> {
    if value.is_nan() {
        serializer.serialize_str("NaN")
    } else if value.is_infinite() {
        serializer.serialize_str(if value > 0.0 { "Infinity" } else { "-Infinity" })
    } else {
        serializer.serialize_f64(value)
    }
}

fn key_text(key: &MapKey) -> String {
    match key {
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
        MapKey::String(key) => key.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::{from_json, to_json};
    use crate::proto::{Session, SessionEvent};

    #[test]
    fn a_message_is_what_its_json_says() {
        let text = concat!(
            r#"{"sequence":"7","conversationId":"main","eventTime":"2026-01-02T03:04:05.000006Z","#,
            r#""actor":{"subject":"u","kind":"PRINCIPAL_KIND_USER"},"#,
            r#""blockUpdate":{"blockId":"b","status":"EXECUTION_STATUS_RUNNING","duration":"1.500s","exitCode":0}}"#
        );
        let event: SessionEvent = from_json("agentruntime.v1.SessionEvent", text).unwrap();
        assert_eq!(event.sequence, 7);
        assert_eq!(to_json("agentruntime.v1.SessionEvent", &event), text);
    }

    #[test]
    fn maps_are_sorted() {
        let keys: Vec<String> = (0..20).map(|n| format!("k{n:02}")).collect();
        let labels = keys.iter().map(|key| (key.clone(), String::new())).collect();
        let text = to_json("agentruntime.v1.Session", &Session { labels, ..Session::default() });
        let at: Vec<usize> = keys.iter().map(|key| text.find(key.as_str()).unwrap()).collect();
        assert!(at.is_sorted(), "{text}");
    }

    #[test]
    fn unknown_fields_and_trailing_text_are_refused() {
        for text in [r#"{"nope":1}"#, "{} {}", "", r#"{"sequence":"x"}"#] {
            assert!(from_json::<SessionEvent>("agentruntime.v1.SessionEvent", text).is_err(), "{text}");
        }
        assert!(from_json::<SessionEvent>("agentruntime.v1.Nope", "{}").is_err());
    }
}
