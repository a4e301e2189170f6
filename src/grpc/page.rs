//! Pages: tokens that say where the next one begins, and where a page ends.
//!
//! A token is bound to its query: with another filter or for another list it is refused, not misread. It is not signed,
//! because it says nothing but a place in a list that the caller may read anyway.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use prost::Message;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};

use crate::domain::Failure;

/// Size of a page that asks for none.
pub const DEFAULT_SIZE: usize = 50;
/// Largest page.
pub const MAX_SIZE: usize = 1000;
/// A page also ends here, so that no response gets larger than 4 MiB.
pub const MAX_BYTES: usize = 3 << 20;
/// Longest token that is looked at.
const MAX_TOKEN: usize = 4096;

#[derive(Serialize, Deserialize)]
struct Token<'a, P> {
    kind: &'a str,
    filter: &'a str,
    position: P,
}

/// A list with its filter: what a token is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    kind: &'static str,
    filter: String,
}

impl Query {
    /// `filter` is all of the request that chooses what is listed and in which order; its maps must be sorted.
    ///
    /// # Panics
    /// When the filter has no JSON form, which plain data has.
    pub fn new(kind: &'static str, filter: &impl Serialize) -> Self {
        let canonical = serde_json::to_vec(filter).expect("filters are plain data");
        Self { kind, filter: URL_SAFE_NO_PAD.encode(&Sha256::digest(canonical)[..12]) }
    }

    /// The token of the page that goes on from `position`.
    ///
    /// # Panics
    /// When the position has no JSON form, which plain data has.
    pub fn token(&self, position: &impl Serialize) -> String {
        let token = Token { kind: self.kind, filter: &self.filter, position };
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).expect("positions are plain data"))
    }

    /// The position in a token of this query; `None` when there is no token.
    ///
    /// # Errors
    /// [`crate::domain::Reason::InvalidField`] of `page_token`, when it is no token, or one of another query.
    pub fn position<P: DeserializeOwned>(&self, token: &str) -> Result<Option<P>, Failure> {
        if token.is_empty() {
            return Ok(None);
        }
        let garbage = || Failure::invalid("page_token", "must be the next_page_token of a page before, or empty");
        if token.len() > MAX_TOKEN {
            return Err(garbage());
        }
        let json = URL_SAFE_NO_PAD.decode(token).map_err(|_| garbage())?;
        let Token { kind, filter, position } = serde_json::from_slice::<Token<P>>(&json).map_err(|_| garbage())?;
        if kind != self.kind || filter != self.filter {
            return Err(Failure::invalid(
                "page_token",
                "is of another query: repeat all other fields of the first page",
            ));
        }
        Ok(Some(position))
    }
}

/// Ends a page: of `items`, which may hold one more than `size`, as many as fit, and the position after the last of them
/// when others follow.
pub fn cut<T: Message, P>(items: Vec<(T, P)>, size: usize) -> (Vec<T>, Option<P>) {
    let mut page = Vec::with_capacity(items.len().min(size));
    let mut bytes = 0;
    let mut last = None;
    for (item, position) in items {
        bytes += item.encoded_len();
        if page.len() == size || (bytes > MAX_BYTES && !page.is_empty()) {
            return (page, last);
        }
        page.push(item);
        last = Some(position);
    }
    (page, None)
}

#[cfg(test)]
mod tests {
    use super::{MAX_BYTES, Query, cut};
    use crate::proto::LogEntry;

    fn entry(bytes: usize) -> LogEntry {
        LogEntry { level: 0, message: "x".repeat(bytes) }
    }

    #[test]
    fn a_token_brings_its_position_back() {
        let query = Query::new("blocks", &("ses_1", "main", false));
        assert_eq!(query.position::<i64>(&query.token(&17)).unwrap(), Some(17));
        assert_eq!(query.position::<i64>("").unwrap(), None);
    }

    #[test]
    fn a_token_of_another_query_is_refused() {
        let token = Query::new("blocks", &("ses_1", "main", false)).token(&17);
        for other in [
            Query::new("blocks", &("ses_2", "main", false)),
            Query::new("blocks", &("ses_1", "main", true)),
            Query::new("turns", &("ses_1", "main", false)),
        ] {
            let failure = other.position::<i64>(&token).unwrap_err();
            assert_eq!(failure.violations[0].field, "page_token");
            assert!(failure.message.contains("another query"), "{failure}");
        }
    }

    #[test]
    fn garbage_is_refused() {
        let query = Query::new("blocks", &());
        let text = query.token(&"text instead of a number");
        for token in ["x", "!!", "e30", "\u{e4}", text.as_str(), &"A".repeat(5000)] {
            assert_eq!(query.position::<i64>(token).unwrap_err().violations[0].field, "page_token", "{token}");
        }
    }

    #[test]
    fn a_page_ends_by_number() {
        let items = |n: usize| (0..n).map(|at| (entry(1), at)).collect::<Vec<_>>();
        assert_eq!(cut(items(3), 3).1, None);
        let (page, next) = cut(items(4), 3);
        assert_eq!((page.len(), next), (3, Some(2)));
        assert_eq!(cut(items(0), 3).1, None);
    }

    #[test]
    fn a_page_ends_by_size_but_holds_one() {
        let (page, next) = cut(vec![(entry(MAX_BYTES / 2), 0), (entry(MAX_BYTES), 1)], 10);
        assert_eq!((page.len(), next), (1, Some(0)));
        let (page, next) = cut(vec![(entry(2 * MAX_BYTES), 0), (entry(1), 1)], 10);
        assert_eq!((page.len(), next), (1, Some(0)));
    }
}
