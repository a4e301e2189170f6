//! How each kind of block is printed.

use std::io::{self, Write};

use super::{Renderer, markdown::Markdown, style, words};
use crate::{
    cli::output::{one_line, printable},
    client::State,
    proto::{
        Block, BlockState, ExecutionStatus, SystemNoticeKind, ToolResult, ToolUse, block::Content, tool_result::Output,
    },
};

/// Lines shown of a tool's result.
const RESULT_LINES: usize = 10;
/// Characters shown of each.
const RESULT_WIDTH: usize = 100;

/// What is on the screen of a block.
#[derive(Default)]
pub(super) struct Shown {
    /// Bytes of its text.
    bytes: usize,
    /// Lines of its result.
    lines: usize,
    markdown: Markdown,
    done: bool,
}

impl<W: Write> Renderer<W> {
    /// Prints what is new of a block; true when there is nothing more to print of it.
    pub(super) fn block(&mut self, block: &Block, state: &State) -> io::Result<bool> {
        if self.shown.get(&block.block_id).is_some_and(|shown| shown.done) {
            return Ok(true);
        }
        let is_final = block.state() != BlockState::Streaming;
        let margin = if matches!(block.conversation_id.as_str(), "" | "main") { "" } else { "┊ " };
        let done = match &block.content {
            Some(Content::AssistantText(content)) => self.grow(block, margin, &content.text, true)?,
            Some(Content::Thinking(content)) => {
                let text = if content.text.is_empty() && is_final { &content.summary } else { &content.text };
                self.grow(block, margin, text, false)?
            }
            Some(Content::ToolUse(tool)) => {
                let ready = is_final || tool.status() != ExecutionStatus::Pending || is_whole(&tool.input_json);
                if ready {
                    self.tool_use(margin, tool)?;
                }
                ready
            }
            Some(Content::ToolResult(result)) => self.tool_result(block, margin, result, state)?,
            Some(Content::UserMessage(message)) => {
                self.begin(margin)?;
                self.out.text(style::USER, "❯ ")?;
                self.out.text(style::STRONG, words::parts(&message.parts).trim_end())?;
                true
            }
            Some(Content::System(notice)) => {
                let mark = if notice.kind() == SystemNoticeKind::Error { style::WARN } else { style::DIM };
                if !notice.message.is_empty() {
                    self.begin(margin)?;
                    self.out.line(&[(mark, &format!("· {}", notice.message.trim_end()))])?;
                }
                true
            }
            Some(Content::Subagent(call)) => {
                self.begin(margin)?;
                let input = format!("  {}", one_line(&call.input, 100));
                self.out.line(&[(style::TOOL, "◆ "), (style::TOOL, &call.name), (style::DIM, &input)])?;
                true
            }
            Some(Content::Error(error)) => {
                self.begin(margin)?;
                self.out.line(&[(style::ERROR, "✗ "), (style::ERROR_TEXT, error.message.trim_end())])?;
                self.last_error.clone_from(&error.message);
                true
            }
            // A kind of block newer than this program.
            None => true,
        };
        if done {
            self.finish(block)?;
        }
        Ok(done)
    }

    /// Prints what a growing text has more than the screen; true when it grows no more.
    fn grow(&mut self, block: &Block, margin: &str, text: &str, markdown: bool) -> io::Result<bool> {
        let is_final = block.state() != BlockState::Streaming;
        // Blank lines at either end are not worth the room.
        let text = if is_final { text.trim_end() } else { text };
        let start = text.len() - text.trim_start().len();
        let shown_bytes = self.shown.get(&block.block_id).map_or(0, |shown| shown.bytes);
        if shown_bytes == 0 && start < text.len() {
            self.begin(margin)?;
        }
        self.spinner.hide();
        self.out.set_margin(margin);
        let from = shown_bytes.max(start);
        if let Some(fresh) = text.get(from..).filter(|fresh| !fresh.is_empty()) {
            let shown = self.shown.entry(block.block_id.clone()).or_default();
            shown.bytes = text.len();
            if markdown {
                shown.markdown.print(fresh, &mut self.out)?;
            } else {
                self.out.text(style::THINKING, fresh)?;
            }
        }
        if is_final && let Some(shown) = self.shown.get_mut(&block.block_id) {
            shown.markdown.finish(&mut self.out)?;
        }
        Ok(is_final)
    }

    fn tool_use(&mut self, margin: &str, tool: &ToolUse) -> io::Result<()> {
        self.begin(margin)?;
        self.tool_name("● ", tool)?;
        self.last_tool = Some(tool.tool_use_id.clone());
        Ok(())
    }

    fn tool_name(&mut self, mark: &str, tool: &ToolUse) -> io::Result<()> {
        let name = if tool.display_name.is_empty() { &tool.tool_name } else { &tool.display_name };
        let input = format!("  {}", words::tool_input(tool));
        self.out.line(&[(style::TOOL, mark), (style::TOOL, name), (style::TEXT, input.trim_end())])
    }

    /// Prints the first lines of a result as they come, and at its end how many there are more.
    fn tool_result(&mut self, block: &Block, margin: &str, result: &ToolResult, state: &State) -> io::Result<bool> {
        let is_final = block.state() != BlockState::Streaming;
        let text = match &result.output {
            Some(Output::Text(text)) => printable(text),
            Some(Output::OutputJson(json)) => printable(json),
            Some(Output::Parts(parts)) => printable(&words::parts(&parts.parts)),
            None => String::new(),
        };
        let text = text.trim_end();
        let mut lines: Vec<&str> = text.lines().collect();
        if !is_final {
            // The last one may still grow.
            lines.pop();
        }
        let before = self.shown.get(&block.block_id).map(|shown| shown.lines);
        if before.is_none() && (is_final || !lines.is_empty()) {
            self.begin_result(margin, result, state)?;
        }
        let gutter = if result.is_error { style::ERROR_TEXT } else { style::DIM };
        let words = if result.is_error { style::ERROR_TEXT } else { style::DIM };
        let shown = before.unwrap_or(0);
        for line in lines.iter().take(RESULT_LINES).skip(shown) {
            let line = cut(line);
            self.out.line(&[(gutter, "  │ "), (words, &line)])?;
        }
        if before.is_some() || is_final || !lines.is_empty() {
            self.shown.entry(block.block_id.clone()).or_default().lines = lines.len().min(RESULT_LINES);
        }
        if is_final {
            let mut rest = Vec::new();
            match lines.len().saturating_sub(RESULT_LINES) {
                0 if lines.is_empty() => rest.push("(no output)".to_owned()),
                0 => {}
                1 => rest.push("… 1 more line".to_owned()),
                more => rest.push(format!("… {more} more lines")),
            }
            if let Some(code) = result.exit_code.filter(|code| *code != 0) {
                rest.push(format!("exit status {code}"));
            }
            if !rest.is_empty() {
                self.out.line(&[(gutter, "  │ "), (gutter, &rest.join(" · "))])?;
            }
        }
        Ok(is_final)
    }

    /// A result stands below its call; one that does not says whose it is.
    fn begin_result(&mut self, margin: &str, result: &ToolResult, state: &State) -> io::Result<()> {
        if self.last_tool.take().is_some_and(|last| last == result.tool_use_id) {
            self.spinner.hide();
            self.out.set_margin(margin);
            return self.out.fresh_line();
        }
        self.begin(margin)?;
        let call = state.as_proto().blocks.iter().rev().find_map(|block| match &block.content {
            Some(Content::ToolUse(tool)) if tool.tool_use_id == result.tool_use_id => Some(tool),
            _ => None,
        });
        match call {
            Some(tool) => self.tool_name("○ ", tool),
            None => Ok(()),
        }
    }

    /// Room for something new.
    pub(super) fn begin(&mut self, margin: &str) -> io::Result<()> {
        self.spinner.hide();
        self.last_tool = None;
        self.out.gap()?;
        self.out.set_margin(margin);
        Ok(())
    }

    fn finish(&mut self, block: &Block) -> io::Result<()> {
        self.out.fresh_line()?;
        if block.truncated_bytes > 0 {
            let note = format!("  … {} more bytes", words::thousands(block.truncated_bytes));
            self.out.line(&[(style::DIM, &note)])?;
        }
        let shown = self.shown.entry(block.block_id.clone()).or_default();
        shown.done = true;
        Ok(())
    }
}

/// The tool call that runs, for the spinner.
pub(super) fn running_tool(blocks: &[Block]) -> Option<String> {
    blocks.iter().rev().take(32).find_map(|block| match &block.content {
        Some(Content::ToolUse(tool)) if tool.status() == ExecutionStatus::Running => {
            Some(format!("{} {}", tool.tool_name, one_line(&words::tool_input(tool), 40)).trim_end().to_owned())
        }
        _ => None,
    })
}

/// Whether an input has all of its text: an object with something in it that is closed.
fn is_whole(input_json: &str) -> bool {
    matches!(serde_json::from_str(input_json), Ok(serde_json::Value::Object(input)) if !input.is_empty())
}

fn cut(line: &str) -> String {
    if line.chars().count() <= RESULT_WIDTH {
        return line.to_owned();
    }
    line.chars().take(RESULT_WIDTH - 1).chain(['…']).collect()
}
