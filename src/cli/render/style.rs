//! The colours. Every one is of the basic sixteen, so that the reader's own palette decides what they look like.

use anstyle::{AnsiColor, Style};

/// What stands back.
pub(crate) const DIM: Style = Style::new().dimmed();
/// The user's words.
pub(crate) const USER: Style = AnsiColor::Cyan.on_default().bold();
/// Text of the agent.
pub(crate) const TEXT: Style = Style::new();
/// What the agent thinks.
pub(crate) const THINKING: Style = Style::new().dimmed().italic();
/// Name of a tool.
pub(crate) const TOOL: Style = AnsiColor::Magenta.on_default().bold();
/// Code inside text.
pub(crate) const CODE: Style = AnsiColor::Cyan.on_default();
/// Headings, and what is emphasised.
pub(crate) const STRONG: Style = Style::new().bold();
/// What went well.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();
/// What somebody has to look at.
pub(crate) const WARN: Style = AnsiColor::Yellow.on_default().bold();
/// What went wrong.
pub(crate) const ERROR: Style = AnsiColor::Red.on_default().bold();
/// The words of an error.
pub(crate) const ERROR_TEXT: Style = AnsiColor::Red.on_default();
