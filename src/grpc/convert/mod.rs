//! Domain to wire. Structs are taken apart whole and enums matched without a wildcard, so that a part that is new in the
//! domain does not compile until it is told here.
//!
//! The other direction does not exist: what comes in are requests, and those are `validate`'s.

mod block;
mod error;
mod event;
mod permission;
mod principal;
mod profile;
mod record;
mod sandbox;
mod session;
mod turn;
mod workspace;

use std::{fmt::Display, time::Duration};

pub use record::sandbox_record;
pub use session::session;

use crate::domain::{Metadata, Timestamp};

/// A point in time, exact to the microsecond.
#[must_use]
pub fn timestamp(time: Timestamp) -> prost_types::Timestamp {
    let Timestamp(micros) = time;
    // Always less than a second, and so always an i32.
    let nanos = i32::try_from(micros.rem_euclid(1_000_000) * 1000).unwrap_or_default();
    prost_types::Timestamp { seconds: micros.div_euclid(1_000_000), nanos }
}

/// A length of time.
#[must_use]
pub fn duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or_default(),
    }
}

/// A JSON object. Numbers are doubles on the wire.
#[must_use]
pub fn metadata(metadata: Metadata) -> prost_types::Struct {
    prost_types::Struct { fields: metadata.into_iter().map(|(key, member)| (key, value(member))).collect() }
}

fn value(value: serde_json::Value) -> prost_types::Value {
    use prost_types::value::Kind;
    use serde_json::Value;

    let kind = match value {
        Value::Null => Kind::NullValue(prost_types::NullValue::NullValue.into()),
        Value::Bool(value) => Kind::BoolValue(value),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Value::String(text) => Kind::StringValue(text),
        Value::Array(values) => {
            Kind::ListValue(prost_types::ListValue { values: values.into_iter().map(self::value).collect() })
        }
        Value::Object(members) => Kind::StructValue(metadata(members)),
    };
    prost_types::Value { kind: Some(kind) }
}

/// What is absent is empty on the wire.
fn text<T: Display>(id: Option<T>) -> String {
    id.map(|id| id.to_string()).unwrap_or_default()
}

/// A list, element by element.
pub(super) fn list<T, U: From<T>>(items: Vec<T>) -> Vec<U> {
    items.into_iter().map(U::from).collect()
}

/// An enum as the field of a message that holds it.
fn number<T, U: From<T> + Into<i32>>(value: T) -> i32 {
    U::from(value).into()
}
