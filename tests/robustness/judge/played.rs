//! Played: a turn says what its message tells the agent to say, all of it, in order and once, whatever happened to the
//! server meanwhile; and ends as its message makes it end.

use std::collections::{BTreeMap, BTreeSet};

use agent_runtime::proto::{
    Block, InputOutcome, PermissionRequest, Turn, TurnStatus, block::Content, session_event::Kind, tool_result::Output,
};

use super::{
    Faults,
    acknowledged::{message, of_turn},
    agent::{finished, numbers_of},
    lived::sandboxes,
    play::{End, Play, play},
};
use crate::case::{Case, Session};

pub fn played(case: &Case, faults: &mut Faults) {
    for (id, session) in &case.sessions {
        let excused = sandboxes(session).any(|sandbox| case.destroyed.contains_key(sandbox));
        of_session(id, session, excused, faults);
    }
}

/// Everything of one turn.
#[derive(Default)]
struct Said<'a> {
    message: Option<(&'a str, String)>,
    blocks: Vec<&'a Block>,
    /// Which of its requests were allowed, in the order in which they were made.
    answers: Vec<bool>,
}

/// `excused`: a sandbox of it was taken away, which may have made a turn fail.
fn of_session(id: &str, session: &Session, excused: bool, faults: &mut Faults) {
    let mut turns: BTreeMap<&str, Said<'_>> = BTreeMap::new();
    for block in finished(session) {
        turns.entry(&block.turn_id).or_default().blocks.push(block);
    }
    for event in &session.log {
        if let (Some(Kind::BlockStart(start)), Some(text)) = (&event.kind, message(event))
            && let Some(block) = &start.block
        {
            turns.entry(&block.turn_id).or_default().message = Some((&block.block_id, text));
        }
    }
    let permissions = permissions(session);
    for permission in &permissions {
        let outcome = permission.resolution.as_ref().map(agent_runtime::proto::InputResolution::outcome);
        let answer = match outcome {
            Some(InputOutcome::Allowed) => true,
            Some(InputOutcome::Rejected | InputOutcome::Expired) => false,
            _ => continue,
        };
        turns.entry(&permission.turn_id).or_default().answers.push(answer);
    }
    let mut last: BTreeMap<&str, &Turn> = BTreeMap::new();
    last.extend(session.log.iter().filter_map(of_turn).map(|turn| (turn.turn_id.as_str(), turn)));
    // One that was parked is told in other words to go on, in another process.
    let parked = session.log.iter().filter_map(of_turn).filter(|turn| turn.status() == TurnStatus::Parked);
    let parked: BTreeSet<&str> = parked.map(|turn| turn.turn_id.as_str()).collect();
    let excused = |turn: &Turn| excused && turn.status() == TurnStatus::Failed;
    for (name, turn) in last.into_iter().filter(|(name, turn)| !parked.contains(name) && !excused(turn)) {
        let Some(said) = turns.get(name) else { continue };
        if let Some((message, text)) = &said.message
            && let Err(what) = holds(said, message, text, turn.status())
        {
            faults.say(format!("{id}: {name}, {}, {what}", turn.status().as_str_name()));
        }
    }
}

/// The permissions that were asked for, one after the other, with their resolutions.
pub fn permissions(session: &Session) -> Vec<PermissionRequest> {
    let mut asked: Vec<PermissionRequest> = Vec::new();
    for event in &session.log {
        match &event.kind {
            Some(Kind::PermissionRequested(e)) => asked.extend(e.permission.clone()),
            Some(Kind::PermissionResolved(e)) => {
                let resolved = asked.iter_mut().find(|permission| permission.permission_id == e.permission_id);
                if let Some(permission) = resolved {
                    permission.resolution.clone_from(&e.resolution);
                }
            }
            _ => {}
        }
    }
    asked
}

fn holds(said: &Said<'_>, message: &str, text: &str, status: TurnStatus) -> Result<(), String> {
    if let Some(play) = play(message, text, &mut said.answers.iter().copied()) {
        return as_written(said, &play, status);
    }
    // The model of a real agent is told how many numbers to say.
    let wanted = text.split_once("numbers=").and_then(|(_, rest)| rest.split_whitespace().next()?.parse::<u64>().ok());
    let numbers: Vec<u64> = said.blocks.iter().flat_map(|block| numbers_of(block)).collect();
    match wanted {
        Some(wanted) if status == TurnStatus::Completed && numbers.len() as u64 != wanted => {
            Err(format!("says {} numbers of {wanted}", numbers.len()))
        }
        Some(_) if status == TurnStatus::Failed => Err("nothing made it fail".into()),
        Some(_) | None => Ok(()),
    }
}

fn as_written(said: &Said<'_>, play: &Play, status: TurnStatus) -> Result<(), String> {
    let is_whole = match (status, play.end) {
        (TurnStatus::Completed, End::Completed) | (TurnStatus::Failed, End::Failed) => true,
        (TurnStatus::Completed | TurnStatus::Failed, end) => return Err(format!("ends {end:?} by its message")),
        _ => false,
    };
    let of_block = |block: &&Block| Some((block.block_id.clone(), text(block)?, block.truncated_bytes == 0));
    let blocks: Vec<(String, String, bool)> = said.blocks.iter().filter_map(of_block).collect();
    for (at, (id, text, is_all)) in blocks.iter().enumerate() {
        let Some(wanted) = play.said.get(at) else { return Err(format!("says {id}, which it was not told to")) };
        if wanted.id != *id {
            return Err(format!("says {id} where {} comes", wanted.id));
        }
        if (is_whole && *is_all && wanted.text != *text) || !wanted.text.starts_with(text.as_str()) {
            return Err(format!("says {} bytes in {id}, and not the {} it was told to", text.len(), wanted.text.len()));
        }
    }
    if is_whole && blocks.len() != play.said.len() {
        return Err(format!("says {} blocks of {}", blocks.len(), play.said.len()));
    }
    Ok(())
}

/// As [`play`] tells it. `None`: the agent's script does not tell of such blocks.
fn text(block: &Block) -> Option<String> {
    match block.content.as_ref()? {
        Content::AssistantText(said) => Some(said.text.clone()),
        Content::Thinking(thought) => Some(thought.text.clone()),
        Content::ToolUse(call) => Some(call.tool_name.clone()),
        Content::ToolResult(result) => Some(match &result.output {
            Some(Output::Text(text)) => text.clone(),
            Some(Output::OutputJson(json)) => json.clone(),
            _ => String::new(),
        }),
        _ => None,
    }
}
