//! Halves of characters. What the CLI cuts, it cuts by the units of UTF-16, so a character of two of them can lose one; JSON
//! can say the other one, and no text can hold it.

use std::borrow::Cow;

/// What stands where something is that is no character, as long as what it replaces.
const REPLACEMENT: &str = "\\ufffd";

/// A line without escapes of halves: it says the same otherwise, and is as long.
pub(super) fn mended(line: &str) -> Cow<'_, str> {
    // Nearly all lines are seen to have none without a look at each escape.
    if !line.contains("\\u") {
        return Cow::Borrowed(line);
    }
    let bytes = line.as_bytes();
    let (mut mended, mut copied, mut at) = (String::new(), 0, 0);
    while let Some(found) = bytes.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == b'\\')) {
        let escape = at + found;
        at = match unit(bytes, escape) {
            Some(0xd800..=0xdbff) if matches!(unit(bytes, escape + 6), Some(0xdc00..=0xdfff)) => escape + 12,
            Some(0xd800..=0xdfff) => {
                mended.push_str(&line[copied..escape]);
                mended.push_str(REPLACEMENT);
                copied = escape + 6;
                copied
            }
            Some(_) => escape + 6,
            // Another escape, of one letter; a backslash may be what it stands for.
            None => escape + 2,
        };
    }
    if copied == 0 {
        return Cow::Borrowed(line);
    }
    mended.push_str(&line[copied..]);
    Cow::Owned(mended)
}

/// The unit of UTF-16 whose escape begins here.
fn unit(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    let is_hex = digits.iter().all(u8::is_ascii_hexdigit);
    is_hex.then(|| u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::mended;

    #[test]
    fn a_half_of_a_character_is_replaced_and_nothing_else() {
        for line in
            ["", "plain ü", r"\ud83d\ude00", r"\uD83D\uDE00 \u001b", r"\\ud83d", r"\\\\ud83d é", r"\u00", "\\", "\\é"]
        {
            assert_eq!(mended(line), line);
        }
        for (line, expected) in [
            (r"a \ud83d", r"a \ufffd"),
            (r"\ude00 b", r"\ufffd b"),
            (r"\ud83d\ud83d\ude00\ude00", r"\ufffd\ud83d\ude00\ufffd"),
            (r"\\\ud83d\n", r"\\\ufffd\n"),
            (r"é\uDBFFé\ud83d", r"é\ufffdé\ufffd"),
        ] {
            assert_eq!(mended(line), expected);
            assert_eq!(line.len(), expected.len());
        }
    }
}
