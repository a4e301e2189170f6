//! Messages with anything in them, by their descriptors alone: a field that the contract gets has a value here at once.

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage as _, Value};

use crate::dice::Dice;

/// Texts whose characters have 1 to 4 bytes, and those that JSON has to escape.
pub(crate) const TEXTS: &[&str] = &["a", "two\nlines", "\"q\\", "äöü", "ẞ→", "北京", "🤔🙂", "e\u{301}", "\u{feff}x"];
/// Paths that UTF-16 sorts otherwise than their bytes, and one that is the beginning of another.
pub(crate) const PATHS: &[&str] = &["a", "a.b", "a/b", "b", "z", "é", "\u{ff5e}", "😀"];
const NUMBERS: &[i64] = &[1, 2, 127, 128, 300, 65_536];
const LONG_NUMBERS: &[i64] = &[1, 127, 128, 1 << 32, (1 << 53) + 1, i64::MAX];

/// Ids are few, so that they meet.
pub(crate) fn ids(field: &str) -> Option<&'static [&'static str]> {
    match field {
        "block_id" => Some(&["b1", "b2", "b3", "b4", "b5", "b6", "b7", "b8"]),
        "turn_id" => Some(&["t1", "t2", "t3", "t4"]),
        "conversation_id" => Some(&["main", "sub_1", "sub_2"]),
        "permission_id" => Some(&["p1", "p2"]),
        "question_id" => Some(&["q1", "q2"]),
        "path" | "previous_path" => Some(PATHS),
        _ => None,
    }
}

/// A message of that kind: each field is set or not; of a oneof one is, mostly.
pub(crate) fn fill(dice: &mut Dice, of: &MessageDescriptor, depth: usize) -> DynamicMessage {
    let mut message = DynamicMessage::new(of.clone());
    match of.full_name() {
        "google.protobuf.Timestamp" => {
            set(&mut message, "seconds", Value::I64(dice.pick(&[0, 1, 1_700_000_000])));
            set(&mut message, "nanos", Value::I32(dice.pick(&[0, 1, 120_000_000, 999_999_999])));
            return message;
        }
        "google.protobuf.Duration" => {
            set(&mut message, "seconds", Value::I64(dice.pick(&[0, 1, 3600])));
            set(&mut message, "nanos", Value::I32(dice.pick(&[0, 5_000_000])));
            return message;
        }
        "google.protobuf.Struct" => return structure(dice, message),
        _ => {}
    }
    // A field that the contract gets moves no other.
    let dice = dice.by_name();
    for field in of.fields() {
        let mut dice = dice(field.name());
        // What is deep is rarely there: a vector is read by people too.
        let chance = [75, 30, 12, 5].get(depth).copied().unwrap_or(0);
        if field.containing_oneof().is_none_or(|group| group.is_synthetic()) && dice.hits(chance) {
            let value = value(&mut dice, &field, depth);
            message.set_field(&field, value);
        }
    }
    for group in of.oneofs().filter(|group| !group.is_synthetic()) {
        let mut dice = dice(group.name());
        if dice.hits(90) {
            let fields: Vec<FieldDescriptor> = group.fields().collect();
            let field = dice.pick(&fields);
            let value = value(&mut dice, &field, depth);
            message.set_field(&field, value);
        }
    }
    message
}

/// A value that the field may have; a list or map has some.
pub(crate) fn value(dice: &mut Dice, field: &FieldDescriptor, depth: usize) -> Value {
    if let (true, Kind::Message(entry)) = (field.is_map(), field.kind()) {
        let of = entry.map_entry_value_field();
        let entries = (0..=dice.below(2)).map(|_| (MapKey::String(dice.pick(TEXTS).to_owned()), one(dice, &of, depth)));
        return Value::Map(entries.collect());
    }
    if field.is_list() {
        return Value::List((0..=dice.below(2)).map(|_| one(dice, field, depth)).collect());
    }
    one(dice, field, depth)
}

fn one(dice: &mut Dice, field: &FieldDescriptor, depth: usize) -> Value {
    // Where a field says whether it is set, its default is a value like any other.
    let zero = field.supports_presence() && dice.hits(30);
    match field.kind() {
        Kind::Message(of) => Value::Message(fill(dice, &of, depth + 1)),
        Kind::Enum(of) => {
            let numbers: Vec<i32> = of.values().map(|value| value.number()).collect();
            Value::EnumNumber(dice.pick(&numbers))
        }
        Kind::String => match ids(field.name()) {
            Some(ids) => Value::String(dice.pick(ids).to_owned()),
            None if zero => Value::String(String::new()),
            None => Value::String(dice.pick(TEXTS).to_owned()),
        },
        Kind::Bytes => Value::Bytes(dice.pick(&[&b"\0\xff"[..], b"raw"]).to_vec().into()),
        Kind::Bool => Value::Bool(true),
        Kind::Int32 if zero => Value::I32(0),
        Kind::Int32 => Value::I32(i32::try_from(dice.pick(NUMBERS)).unwrap()),
        Kind::Uint32 => Value::U32(u32::try_from(dice.pick(NUMBERS)).unwrap()),
        Kind::Int64 if zero => Value::I64(0),
        Kind::Int64 => Value::I64(dice.pick(LONG_NUMBERS)),
        Kind::Double
        | Kind::Float
        | Kind::Sint32
        | Kind::Sint64
        | Kind::Uint64
        | Kind::Fixed32
        | Kind::Fixed64
        | Kind::Sfixed32
        | Kind::Sfixed64 => panic!("the contract has a new type of field: say what {} can be", field.full_name()),
    }
}

/// An object of JSON.
fn structure(dice: &mut Dice, mut message: DynamicMessage) -> DynamicMessage {
    let values = [r"null", "true", "0.5", "-3", r#""text""#, r#"[1, "x"]"#, r#"{"a": {}}"#];
    let members: Vec<String> = (0..dice.below(3)).map(|at| format!(r#""m{at}": {}"#, dice.pick(&values))).collect();
    let text = format!("{{{}}}", members.join(", "));
    let mut json = serde_json::Deserializer::from_str(&text);
    message = DynamicMessage::deserialize(message.descriptor(), &mut json).unwrap();
    message
}

/// Sets a field by its name.
pub(crate) fn set(message: &mut DynamicMessage, name: &str, value: Value) {
    message.set_field_by_name(name, value);
}
