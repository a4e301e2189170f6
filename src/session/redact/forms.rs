//! What stands for a secret's value in what agents print: the value, and the value as JSON spells it in a string. No other
//! encoding is promised.

use std::fmt::Write as _;

/// A shorter value is a word like any other: to replace it would garble texts and protect nothing.
pub(super) const SHORTEST: usize = 8;
/// How a value begins that is sent in a header: what follows is the secret.
const SCHEMES: [&str; 3] = ["bearer ", "basic ", "token "];

/// All texts that stand for this value.
pub(super) fn of(value: &str) -> Vec<String> {
    let trimmed = value.trim();
    let mut plain = vec![value, trimmed];
    plain.extend(SCHEMES.iter().filter_map(|scheme| {
        let (begins, rest) = trimmed.split_at_checked(scheme.len())?;
        begins.eq_ignore_ascii_case(scheme).then(|| rest.trim_start())
    }));
    let mut forms: Vec<String> = Vec::new();
    for plain in plain.into_iter().filter(|plain| plain.len() >= SHORTEST) {
        forms.push(plain.to_owned());
        let escaped = escaped(plain);
        forms.push(ascii(&escaped));
        forms.push(escaped);
    }
    forms.sort_unstable();
    forms.dedup();
    forms
}

/// As JSON spells it between quotes.
fn escaped(text: &str) -> String {
    let quoted = serde_json::to_string(text).expect("a text is JSON");
    quoted[1..quoted.len() - 1].to_owned()
}

/// The same in ASCII only, as some programs write it.
fn ascii(escaped: &str) -> String {
    let mut ascii = String::with_capacity(escaped.len());
    for c in escaped.chars() {
        if c.is_ascii() {
            ascii.push(c);
        } else {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                let _ = write!(ascii, "\\u{unit:04x}");
            }
        }
    }
    ascii
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn a_value_has_the_forms_it_is_printed_in_and_a_short_one_none() {
        assert_eq!(of("sk-123456"), ["sk-123456"]);
        assert_eq!(of("seven77"), [""; 0]);
        assert_eq!(of("a\"b\\c\nüü"), ["a\"b\\c\nüü", "a\\\"b\\\\c\\n\\u00fc\\u00fc", "a\\\"b\\\\c\\nüü"]);
        assert_eq!(of("Bearer sk-123456"), ["Bearer sk-123456", "sk-123456"]);
        assert_eq!(of("Bearer short"), ["Bearer short"]);
        assert_eq!(of(" padded-value\n"), [" padded-value\n", " padded-value\\n", "padded-value"]);
    }
}
