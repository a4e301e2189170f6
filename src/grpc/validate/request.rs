//! Request ids: what a call is known by when it is repeated.

use prost::Message;
use sha2::{Digest as _, Sha256};

use super::{MAX_ID, check::Check};
use crate::domain::{Request, RequestId};

/// The call that a request is, where it may be repeated. `asks` is the request without its id and without what only says
/// how to watch: of that the hash is taken, as it was decoded, because clients write the same maps in any order.
pub(super) fn call(check: &mut Check, method: &str, id: String, asks: &impl Message) -> Option<Request> {
    call_in(check, "request_id", method, id, asks)
}

/// The same, where the id stands in another field.
pub(super) fn call_in(
    check: &mut Check,
    field: &str,
    method: &str,
    id: String,
    asks: &impl Message,
) -> Option<Request> {
    if id.is_empty() {
        return None;
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    if id.len() > MAX_ID || !id.bytes().all(allowed) {
        check.refuse(field, format!("empty, or 1 to {MAX_ID} characters of [A-Za-z0-9_-]"));
        return None;
    }
    let hash = Sha256::digest(asks.encode_to_vec()).into();
    Some(Request { id: RequestId::new(id), method: method.to_owned(), hash })
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::{Check, call};
    use crate::proto::CreateSessionRequest;

    /// Field `labels` of a request: each entry is a message of key and value.
    fn labels(pairs: &[(&str, &str)]) -> Vec<u8> {
        let text = |tag: u8, text: &str| [&[tag, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
        let entry = |(key, value): &(&str, &str)| [text(0x0a, key), text(0x12, value)].concat();
        pairs
            .iter()
            .map(entry)
            .flat_map(|entry| [vec![0x32, u8::try_from(entry.len()).unwrap()], entry].concat())
            .collect()
    }

    #[test]
    fn the_order_in_which_a_client_writes_a_map_means_nothing() {
        let hash = |wire: Vec<u8>| {
            let request = CreateSessionRequest::decode(&wire[..]).unwrap();
            assert!(!request.labels.is_empty());
            call(&mut Check::default(), "m", "id".into(), &request).unwrap().hash
        };
        let one = hash(labels(&[("a", "1"), ("b", "2"), ("c", "3")]));
        assert_eq!(hash(labels(&[("c", "3"), ("a", "1"), ("b", "2")])), one);
        assert_ne!(hash(labels(&[("a", "2"), ("b", "1"), ("c", "3")])), one);
    }
}
