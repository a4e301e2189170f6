//! Secrets. Their values are never part of an error.

use std::collections::{BTreeMap, HashSet};

use crate::{
    domain::{KeptSecret, Secret, SecretPlace},
    grpc::validate::{MAX_SECRET, check::Check},
    proto::{self, secret::Source},
};

/// Secrets of one map.
const MAX_SECRETS: usize = 256;
/// Longest name of a variable, a header or a secret, in characters.
const MAX_SECRET_NAME: usize = 128;

/// The secrets of a profile, as its parts are looked at.
#[derive(Debug, Default)]
pub(super) struct Secrets {
    /// Those that stay as they are stored.
    pub(super) keep: Vec<KeptSecret>,
}

/// What the keys of a map are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keys {
    /// Variables of an environment.
    Variables,
    /// Headers of HTTP requests.
    Headers,
}

impl Secrets {
    /// The secrets of one map that are given; those that are to be kept are noted.
    pub(super) fn take(
        &mut self,
        check: &mut Check,
        field: &str,
        wire: BTreeMap<String, proto::Secret>,
        keys: Keys,
        place: &SecretPlace,
    ) -> BTreeMap<String, Secret> {
        if wire.len() > MAX_SECRETS {
            check.refuse(field, format!("at most {MAX_SECRETS}"));
        }
        let mut headers = HashSet::new();
        let mut given = BTreeMap::new();
        for (name, proto::Secret { source }) in wire {
            let field = format!("{field}[{name:?}]");
            key(check, &field, &name, keys);
            if keys == Keys::Headers && !headers.insert(name.to_ascii_lowercase()) {
                check.refuse(&field, "is named twice: the case of a header's name means nothing");
            }
            match source {
                Some(Source::Value(value)) => {
                    let secret = value_of(check, &field, value, keys);
                    given.insert(name, secret);
                }
                Some(Source::Ref(to)) => {
                    if !is_variable(&to) {
                        check.refuse(format_args!("{field}.ref"), VARIABLE);
                    }
                    given.insert(name, Secret::Ref(to));
                }
                None => self.keep.push(KeptSecret { place: place.clone(), name, field }),
            }
        }
        given
    }
}

const VARIABLE: &str = "1 to 128 characters of [A-Za-z0-9_], the first no digit";

fn key(check: &mut Check, field: &str, name: &str, keys: Keys) {
    match keys {
        Keys::Variables if !is_variable(name) => check.refuse(field, format!("the name is {VARIABLE}")),
        Keys::Headers if !is_header(name) => {
            check.refuse(field, "the name is 1 to 128 characters of [A-Za-z0-9!#$%&'*+.^_`|~-]");
        }
        Keys::Variables | Keys::Headers => {}
    }
}

fn value_of(check: &mut Check, field: &str, value: String, keys: Keys) -> Secret {
    let field = format!("{field}.value");
    if value.len() > MAX_SECRET {
        check.refuse(&field, format!("at most {MAX_SECRET} bytes"));
    }
    match keys {
        Keys::Variables if value.contains('\0') => check.refuse(&field, "must not contain U+0000"),
        Keys::Headers if value.chars().any(char::is_control) => {
            check.refuse(&field, "a header's value has no control characters");
        }
        Keys::Variables | Keys::Headers => {}
    }
    Secret::Value(value)
}

fn is_variable(name: &str) -> bool {
    (1..=MAX_SECRET_NAME).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !name.starts_with(|first: char| first.is_ascii_digit())
}

fn is_header(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+.^_`|~-".contains(&byte);
    (1..=MAX_SECRET_NAME).contains(&name.len()) && name.bytes().all(allowed)
}
