//! Just enough Markdown for a terminal, character by character, because text comes in pieces of any size.
//!
//! It only colours: every character of the text stays, so that what is copied from the screen is what the agent wrote.

use std::io::{self, Write};

use anstyle::Style;

use super::{printer::Printer, style};

/// Where in the text it stands.
#[derive(Default)]
pub(super) struct Markdown {
    /// Inside a fence of three backticks.
    fenced: bool,
    /// Inside single backticks.
    code: bool,
    /// Inside double stars, or in a heading.
    strong: bool,
    /// Characters of this line that may become a mark, not printed yet.
    held: String,
    /// Characters of this line so far, without blanks at its beginning.
    column: usize,
}

impl Markdown {
    /// Prints the next piece of the text.
    pub(super) fn print<W: Write>(&mut self, piece: &str, out: &mut Printer<W>) -> io::Result<()> {
        let mut plain = String::new();
        for character in piece.chars() {
            if !self.held.is_empty() && !self.held.starts_with(character) {
                self.release(character, out)?;
            }
            if self.may_mark(character) {
                out.text(self.style(), &std::mem::take(&mut plain))?;
                self.held.push(character);
                continue;
            }
            plain.push(character);
            if character == '\n' {
                out.text(self.style(), &std::mem::take(&mut plain))?;
                // Marks never reach over a line here: an unpaired one must not colour the rest of the text.
                (self.code, self.strong, self.column) = (false, false, 0);
            } else {
                self.column += usize::from(self.column > 0 || !character.is_whitespace());
            }
        }
        out.text(self.style(), &plain)
    }

    fn may_mark(&self, character: char) -> bool {
        match character {
            '`' => true,
            '*' => !self.fenced,
            '#' => !self.fenced && (self.column == 0 || self.held.starts_with('#')),
            _ => false,
        }
    }

    /// Prints marks that were held back, now that what follows them is known.
    fn release<W: Write>(&mut self, next: char, out: &mut Printer<W>) -> io::Result<()> {
        if self.held.is_empty() {
            return Ok(());
        }
        let held = std::mem::take(&mut self.held);
        let before = self.style();
        match held.as_str() {
            "```" if self.column == 0 => {
                self.fenced = !self.fenced;
                out.text(style::DIM, &held)?;
            }
            "`" if !self.fenced => {
                self.code = !self.code;
                out.text(style::CODE, &held)?;
            }
            "**" if !self.code => {
                self.strong = !self.strong;
                out.text(style::STRONG, &held)?;
            }
            _ if held.starts_with('#') && held.len() <= 6 && next == ' ' => {
                self.strong = true;
                out.text(style::STRONG, &held)?;
            }
            _ => out.text(before, &held)?,
        }
        self.column += held.len();
        Ok(())
    }

    /// Prints what is still held back.
    pub(super) fn finish<W: Write>(&mut self, out: &mut Printer<W>) -> io::Result<()> {
        self.release('\n', out)
    }

    fn style(&self) -> Style {
        if self.fenced || self.code {
            style::CODE
        } else if self.strong {
            style::STRONG
        } else {
            style::TEXT
        }
    }
}
