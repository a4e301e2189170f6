//! A digest of JSON text that comes in pieces, blind to white space between tokens.
//!
//! It tells whether the input of a tool call, as it streamed, is the input that the call was made with, without keeping
//! the text.

use serde::{Deserialize, Serialize};

/// FNV-1a over the bytes that mean something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Digest {
    hash: u64,
    in_string: bool,
    escaped: bool,
}

impl Default for Digest {
    fn default() -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, in_string: false, escaped: false }
    }
}

impl Digest {
    /// Of one whole text.
    pub(super) fn of(text: &str) -> Self {
        let mut digest = Self::default();
        digest.add(text);
        digest
    }

    /// Adds the next piece.
    pub(super) fn add(&mut self, piece: &str) {
        for byte in piece.bytes() {
            if self.in_string {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
            } else if byte == b'"' {
                self.in_string = true;
            } else if byte.is_ascii_whitespace() {
                continue;
            }
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_counts_only_inside_strings() {
        let compact = Digest::of(r#"{"a":"x \" y","b":[1,2]}"#);
        assert_eq!(compact, Digest::of("{\n  \"a\": \"x \\\" y\",\r\n\t\"b\": [1, 2] }"));
        assert_ne!(compact, Digest::of(r#"{"a":"x \"y","b":[1,2]}"#));
        assert_ne!(Digest::of(""), Digest::of("{}"));
    }

    #[test]
    fn pieces_may_be_cut_anywhere() {
        let text = r#"{"a\\": " \" { ", "b" : 1}"#;
        for cut in 0..=text.len() {
            let mut digest = Digest::of(&text[..cut]);
            digest.add(&text[cut..]);
            assert_eq!(digest, Digest::of(text), "cut at {cut}");
        }
    }
}
