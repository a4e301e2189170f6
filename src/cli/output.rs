//! Small things every command prints.

use std::io::{self, Write};

use prost::Message;

use crate::proto;

/// The message as canonical JSON; `name` is its name in the contract.
pub(super) fn json<M: Message>(name: &str, message: &M) -> String {
    proto::to_json(&format!("agentruntime.v1.{name}"), message)
}

/// Prints a message as JSON.
pub(super) fn print_json<M: Message>(name: &str, message: &M) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{}", json(name, message))
}

/// Prints rows in columns as wide as they need; the first row is the head.
pub(super) fn table<const N: usize>(out: &mut impl Write, rows: &[[String; N]]) -> io::Result<()> {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    for (index, row) in rows.iter().enumerate() {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        let line = cells.join("  ");
        let (line, style) = (line.trim_end(), super::render::style::DIM);
        if index == 0 { writeln!(out, "{style}{line}{style:#}")? } else { writeln!(out, "{line}")? }
    }
    Ok(())
}

/// The name of an enum value without what all values of the enum begin with: "idle" of `SESSION_STATUS_IDLE`.
pub(super) fn word(name: &str, prefix: &str) -> String {
    name.trim_start_matches(prefix).to_ascii_lowercase().replace('_', " ")
}

/// The text without what could steer a terminal: control sequences and control characters.
pub(super) fn printable(text: &str) -> String {
    let stripped = anstream::adapter::strip_str(text).to_string();
    stripped.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

/// At most `length` characters of the first line of a text.
pub(super) fn one_line(text: &str, length: usize) -> String {
    let text = printable(text);
    let mut lines = text.trim().lines();
    let line = lines.next().unwrap_or_default();
    if lines.next().is_none() && line.chars().count() <= length {
        return line.to_owned();
    }
    line.chars().take(length.saturating_sub(1)).chain(['…']).collect()
}
