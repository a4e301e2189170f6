//! The caller's own data: any JSON object, as the wire spells it.

use serde_json::{Number, Value};

use super::{MAX_METADATA, check::Check};
use crate::domain::Metadata;

/// Largest whole number that a double holds without its neighbours.
const MAX_WHOLE: f64 = 9_007_199_254_740_992.0;

/// The object, when it is one and not too large.
pub(super) fn metadata(check: &mut Check, wire: Option<prost_types::Struct>) -> Option<Metadata> {
    match object(wire?) {
        Err(rule) => {
            check.refuse("metadata", rule);
            None
        }
        Ok(metadata) => {
            let size = serde_json::to_vec(&metadata).map_or(usize::MAX, |json| json.len());
            if size > MAX_METADATA {
                check.refuse("metadata", format!("at most {MAX_METADATA} bytes as JSON, has {size}"));
            }
            Some(metadata)
        }
    }
}

fn object(wire: prost_types::Struct) -> Result<Metadata, &'static str> {
    wire.fields.into_iter().map(|(key, member)| Ok((clean(key)?, value(member)?))).collect()
}

fn value(wire: prost_types::Value) -> Result<Value, &'static str> {
    use prost_types::value::Kind;

    Ok(match wire.kind.ok_or("every value must be set")? {
        Kind::NullValue(_) => Value::Null,
        Kind::BoolValue(value) => Value::Bool(value),
        Kind::NumberValue(value) => Value::Number(number(value).ok_or("JSON has no infinity and no NaN")?),
        Kind::StringValue(text) => Value::String(clean(text)?),
        Kind::ListValue(list) => Value::Array(list.values.into_iter().map(self::value).collect::<Result<_, _>>()?),
        Kind::StructValue(members) => Value::Object(object(members)?),
    })
}

/// Whole numbers stay whole: the wire knows only doubles, and 1.0 is not what the caller wrote.
#[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
fn number(value: f64) -> Option<Number> {
    if value.fract() == 0.0 && value.abs() <= MAX_WHOLE && !(value == 0.0 && value.is_sign_negative()) {
        Some(Number::from(value as i64))
    } else {
        Number::from_f64(value)
    }
}

fn clean(text: String) -> Result<String, &'static str> {
    if text.contains('\0') { Err("must not contain U+0000") } else { Ok(text) }
}
