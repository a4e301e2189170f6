//! Puts styled text on the screen, line by line, with a margin; knows where the cursor stands.

use std::io::{self, Write};

use anstyle::Style;

use super::style::DIM;
use crate::cli::output::printable;

/// A writer with a margin.
pub(super) struct Printer<W> {
    out: W,
    margin: String,
    at_line_start: bool,
    blank_before: bool,
}

impl<W: Write> Printer<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, margin: String::new(), at_line_start: true, blank_before: true }
    }

    /// What every following line begins with.
    pub(super) fn set_margin(&mut self, margin: &str) {
        if self.margin != margin {
            margin.clone_into(&mut self.margin);
        }
    }

    /// Writes text that may end in the middle of a line. What could steer the terminal is left out.
    pub(super) fn text(&mut self, style: Style, text: &str) -> io::Result<()> {
        for piece in printable(text).split_inclusive('\n') {
            let line = piece.strip_suffix('\n');
            let words = line.unwrap_or(piece);
            if !words.is_empty() {
                if self.at_line_start && !self.margin.is_empty() {
                    write!(self.out, "{DIM}{}{DIM:#}", self.margin)?;
                }
                write!(self.out, "{style}{words}{style:#}")?;
                (self.at_line_start, self.blank_before) = (false, false);
            }
            if line.is_some() {
                self.new_line()?;
            }
        }
        Ok(())
    }

    /// Writes a line of its own.
    pub(super) fn line(&mut self, parts: &[(Style, &str)]) -> io::Result<()> {
        self.fresh_line()?;
        for (style, part) in parts {
            self.text(*style, part)?;
        }
        self.fresh_line()
    }

    /// Ends the line that was begun, if one was.
    pub(super) fn fresh_line(&mut self) -> io::Result<()> {
        if self.at_line_start { Ok(()) } else { self.new_line() }
    }

    /// Leaves one blank line before what comes, except at the top.
    pub(super) fn gap(&mut self) -> io::Result<()> {
        self.fresh_line()?;
        if !self.blank_before {
            writeln!(self.out)?;
            self.blank_before = true;
        }
        Ok(())
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn new_line(&mut self) -> io::Result<()> {
        // Never two blank lines in a row: agents are generous with them.
        if !(self.at_line_start && self.blank_before) {
            self.blank_before = self.at_line_start;
            writeln!(self.out)?;
        }
        self.at_line_start = true;
        Ok(())
    }
}
