//! Offsets: a delta continues exactly what its block holds, and what it brings is what the block holds in the end.

use std::collections::HashMap;

use agent_runtime::proto::{Block, SessionEvent, block::Content, session_event::Kind, tool_result::Output};

use super::Faults;
use crate::case::{Case, Session};

pub fn offsets(case: &Case, faults: &mut Faults) {
    for (id, session) in &case.sessions {
        let mut held = HashMap::new();
        for event in &session.log {
            if let Err(what) = grow(&mut held, event, true) {
                faults.say(format!("the log of {id}: {} {what}", event.sequence));
            }
        }
    }
    for (stream, session) in case.known() {
        let texts = texts(session);
        let mut held = HashMap::new();
        let from_start = stream.open.after == Some(0);
        for event in stream.events() {
            if let Err(what) = grow(&mut held, event, from_start) {
                faults.say(format!("{}: {} {what}", stream.name(), event.sequence));
            }
            if let Some(Kind::BlockDelta(delta)) = &event.kind
                && let Some(text) = texts.get(delta.block_id.as_str())
            {
                let at = usize::try_from(delta.offset).unwrap_or(usize::MAX);
                if !text.get(at..).is_some_and(|rest| rest.starts_with(&delta.delta)) {
                    faults.say(format!(
                        "{}: the delta {} is not what its block holds at {}",
                        stream.name(),
                        event.sequence,
                        delta.offset
                    ));
                }
            }
        }
    }
}

/// The growing text of every block that is complete, by the last that the log says of it.
fn texts(session: &Session) -> HashMap<&str, &str> {
    let complete = session.log.iter().filter_map(|event| match &event.kind {
        Some(Kind::BlockComplete(done)) => done.block.as_ref(),
        _ => None,
    });
    complete
        .filter(|block| !is_replaced(block))
        .filter_map(|block| Some((block.block_id.as_str(), text(block)?)))
        .collect()
}

/// A tool's input may be replaced by an update.
fn is_replaced(block: &Block) -> bool {
    matches!(block.content, Some(Content::ToolUse(_)))
}

/// The length of each block that is known, after one more event.
fn grow(held: &mut HashMap<String, usize>, event: &SessionEvent, all: bool) -> Result<(), String> {
    match &event.kind {
        Some(Kind::BlockStart(e)) => put(held, e.block.as_ref()),
        Some(Kind::BlockComplete(e)) => put(held, e.block.as_ref()),
        Some(Kind::SnapshotChunk(e)) => {
            e.state.iter().flat_map(|state| &state.blocks).for_each(|block| put(held, Some(block)));
        }
        Some(Kind::BlockUpdate(e)) => {
            if let Some(input) = &e.input_json {
                held.insert(e.block_id.clone(), input.len());
            }
        }
        Some(Kind::BlockDelta(e)) => {
            let offset = usize::try_from(e.offset).map_err(|_| "has a negative offset".to_owned())?;
            if e.delta.is_empty() {
                return Err("is a delta of nothing".into());
            }
            match held.get(&e.block_id) {
                Some(length) if *length != offset => {
                    return Err(format!("continues {} at {offset}, it holds {length}", e.block_id));
                }
                None if all => return Err(format!("continues {}, which did not begin", e.block_id)),
                Some(_) | None => {}
            }
            held.insert(e.block_id.clone(), offset + e.delta.len());
        }
        _ => {}
    }
    Ok(())
}

fn put(held: &mut HashMap<String, usize>, block: Option<&Block>) {
    if let Some(block) = block {
        held.insert(block.block_id.clone(), text(block).map_or(0, str::len));
    }
}

/// The text of a block that grows.
pub fn text(block: &Block) -> Option<&str> {
    match block.content.as_ref()? {
        Content::AssistantText(c) => Some(&c.text),
        Content::Thinking(c) => Some(&c.text),
        Content::ToolUse(c) => Some(&c.input_json),
        Content::ToolResult(c) => match &c.output {
            Some(Output::Text(text)) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

/// The same, to be changed.
pub fn growing(block: &mut Block) -> Option<&mut String> {
    match block.content.as_mut()? {
        Content::AssistantText(c) => Some(&mut c.text),
        Content::Thinking(c) => Some(&mut c.text),
        Content::ToolUse(c) => Some(&mut c.input_json),
        Content::ToolResult(c) => match &mut c.output {
            Some(Output::Text(text)) => Some(text),
            _ => None,
        },
        _ => None,
    }
}
