//! Running numbers of a fixed width, counted in place: a reader sees at once whether one is missing or comes twice.

/// `1`, `2`, `3` with leading zeros and one space behind, each `size` bytes long.
#[derive(Clone, Debug)]
pub(super) struct Numbers {
    text: Vec<u8>,
}

impl Numbers {
    /// The last number given out was `last`.
    pub(super) fn after(last: u64, size: usize) -> Self {
        let width = size.saturating_sub(1).max(1);
        Self { text: format!("{last:0width$} ").into_bytes() }
    }

    /// The next number as text. One that does not fit in `size` makes the text longer.
    pub(super) fn next(&mut self) -> &str {
        let mut at = self.text.len() - 1;
        loop {
            if at == 0 {
                self.text.insert(0, b'1');
                break;
            }
            at -= 1;
            if self.text[at] == b'9' {
                self.text[at] = b'0';
            } else {
                self.text[at] += 1;
                break;
            }
        }
        std::str::from_utf8(&self.text).expect("digits and a space are text")
    }
}

#[cfg(test)]
mod tests {
    use super::Numbers;

    #[test]
    fn counts_and_grows() {
        let mut numbers = Numbers::after(0, 4);
        assert_eq!(numbers.next(), "001 ");
        let mut numbers = Numbers::after(9, 3);
        assert_eq!(numbers.next(), "10 ");
        let mut numbers = Numbers::after(99, 3);
        assert_eq!([numbers.next().to_owned(), numbers.next().to_owned()], ["100 ", "101 "]);
        assert_eq!(Numbers::after(0, 0).next(), "1 ");
    }
}
