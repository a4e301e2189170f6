//! Values as people read them.

use std::time::Duration;

use crate::{
    cli::output::one_line,
    proto::{ContentPart, ToolUse, Turn, Usage, content_part::Part},
};

/// Longest summary of a tool's input, in characters.
const SUMMARY: usize = 100;

/// Fields of an input that say best what a tool call is about, best first.
const TELLING: [&str; 9] =
    ["command", "file_path", "path", "pattern", "url", "query", "description", "prompt", "notebook_path"];

/// One line that says what a tool call is about.
pub(super) fn tool_input(tool: &ToolUse) -> String {
    let Ok(serde_json::Value::Object(input)) = serde_json::from_str(&tool.input_json) else {
        return one_line(&tool.input_json, SUMMARY);
    };
    let telling = TELLING.iter().find_map(|name| input.get(*name)?.as_str());
    match telling {
        Some(text) => one_line(text, SUMMARY),
        None if input.is_empty() => String::new(),
        None => one_line(&serde_json::Value::Object(input).to_string(), SUMMARY),
    }
}

/// Parts of a message or result as text.
pub(super) fn parts(parts: &[ContentPart]) -> String {
    let words = parts.iter().filter_map(|part| {
        Some(match part.part.as_ref()? {
            Part::Text(text) => text.clone(),
            Part::Image(blob) => format!("[image {}]", label(&blob.name, &blob.media_type)),
            Part::Attachment(blob) => format!("[file {}]", label(&blob.name, &blob.media_type)),
            Part::ImageUri(uri) => format!("[image {uri}]"),
            Part::FilePath(path) => format!("[file {path}]"),
        })
    });
    words.collect::<Vec<_>>().join("\n")
}

fn label<'a>(name: &'a str, media_type: &'a str) -> &'a str {
    if name.is_empty() { media_type } else { name }
}

/// Dollars; empty for nothing.
pub(crate) fn cost(micro_usd: i64) -> String {
    if micro_usd == 0 {
        return String::new();
    }
    // Four places show what a short turn costs.
    let ten_thousandths = (micro_usd + 50) / 100;
    format!("${}.{:04}", ten_thousandths / 10_000, ten_thousandths % 10_000)
}

/// How long a turn took, what it read and wrote, what it cost.
pub(super) fn totals(turn: &Turn) -> String {
    let usage = turn.usage.unwrap_or_default();
    let Usage { input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, .. } = usage;
    let read = input_tokens + cache_read_tokens + cache_write_tokens;
    let mut totals = vec![duration(turn)];
    if read > 0 {
        totals.push(format!("{} tokens in", thousands(read)));
    }
    if output_tokens > 0 {
        totals.push(format!("{} out", thousands(output_tokens)));
    }
    totals.push(cost(usage.cost_micro_usd));
    totals.retain(|part| !part.is_empty());
    totals.join(" · ")
}

fn duration(turn: &Turn) -> String {
    let time = |stamp: Option<prost_types::Timestamp>| std::time::SystemTime::try_from(stamp?).ok();
    let (Some(start), Some(end)) = (time(turn.start_time.or(turn.create_time)), time(turn.end_time)) else {
        return String::new();
    };
    let took = end.duration_since(start).unwrap_or(Duration::ZERO);
    match took.as_secs() {
        seconds @ 0..60 => format!("{seconds}.{} s", took.subsec_millis() / 100),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

/// A number with a comma between thousands.
pub(super) fn thousands(number: i64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([0, 999, 1000, -1000, 1_234_567].map(thousands), ["0", "999", "1,000", "-1,000", "1,234,567"]);
        assert_eq!([0, 49, 51, 12_345, 2_500_000].map(cost), ["", "$0.0000", "$0.0001", "$0.0123", "$2.5000"]);
    }

    #[test]
    fn a_tool_call_is_summed_up_in_one_line() {
        let tool = |input: &str| tool_input(&ToolUse { input_json: input.to_owned(), ..ToolUse::default() });
        assert_eq!(tool(r#"{"description":"Run it","command":"ls\nrm"}"#), "ls…");
        assert_eq!(tool(r#"{"n":1}"#), r#"{"n":1}"#);
        assert_eq!(tool("{}"), "");
        assert_eq!(tool("\u{1b}[31mred"), "red");
    }
}
