//! The ledger of acknowledgements: what was acknowledged is there once, what was refused is not there, and every turn that
//! was accepted ends once.

use std::collections::BTreeMap;

use agent_runtime::proto::{SessionEvent, Turn, block::Content, content_part::Part, session_event::Kind};

use super::{Faults, atomic::is_final};
use crate::{
    case::{Called, Case, Session},
    history::Answer,
};

/// Codes after which nobody knows whether the call had its effect.
const UNKNOWN: [&str; 8] =
    ["Unavailable", "DeadlineExceeded", "Unknown", "Internal", "Cancelled", "Aborted", "DataLoss", "Unauthenticated"];

pub fn acknowledged(case: &Case, faults: &mut Faults) {
    let mut messages: BTreeMap<&str, BTreeMap<String, usize>> = BTreeMap::new();
    for (id, session) in &case.sessions {
        let of_session = messages.entry(id).or_default();
        for text in session.log.iter().filter_map(message) {
            *of_session.entry(text).or_default() += 1;
        }
        for (text, times) in of_session.iter().filter(|(_, times)| **times > 1) {
            faults.say(format!("{id}: a message is there {times} times: {}", clip(text)));
        }
    }
    for called in &case.calls {
        match &called.answer {
            Some((_, Answer::Ok { session, turn, sequence, .. })) => {
                accepted(case, called, session, turn, *sequence, faults);
            }
            Some((_, Answer::Err { code, .. }))
                if !called.call.text.is_empty() && !UNKNOWN.contains(&code.as_str()) =>
            {
                // A retry of it may have been taken.
                let mut of_text = case.calls.iter().filter(|other| other.call.text == called.call.text);
                let again = of_text.any(may_have_effect);
                let there =
                    messages.get(called.call.session.as_str()).is_some_and(|m| m.contains_key(&called.call.text));
                // Deleted before the stream of its turn was opened: there is nothing left to follow.
                let overtaken = called.call.method == "RunTurn"
                    && code == "NotFound"
                    && case.sessions.get(&called.call.session).is_some_and(|session| session.gone);
                if there && !again && !overtaken {
                    faults.say(format!(
                        "a message that was refused with {code} is in the log: {}",
                        clip(&called.call.text)
                    ));
                }
            }
            Some((_, Answer::Err { .. })) | None => {}
        }
    }
}

fn accepted(case: &Case, called: &Called, id: &str, turn: &str, sequence: i64, faults: &mut Faults) {
    let Some(session) = case.sessions.get(id) else {
        faults.say(format!("{id} was created and nobody knows of it in the end"));
        return;
    };
    let deleted = case.calls.iter().any(|other| other.call.method == "DeleteSession" && other.call.session == id);
    if session.gone && !deleted {
        faults.say(format!("{id} was created and is gone"));
    }
    if called.call.method == "DeleteSession" && !session.gone {
        faults.say(format!("{id} was deleted and is there"));
    }
    if turn.is_empty() || !session.whole {
        return;
    }
    let first = session.log.iter().find(|event| of_turn(event).is_some_and(|t| t.turn_id == turn));
    match first {
        None => faults.say(format!("{id}: {turn} was accepted and is not in the log")),
        Some(event) if event.sequence <= sequence && called.call.after.is_none() => {
            faults.say(format!("{id}: {turn} begins at {}, it was told to follow {sequence}", event.sequence));
        }
        Some(_) => {
            let text = session.log.iter().find_map(|event| {
                let of_turn = matches!(&event.kind, Some(Kind::BlockStart(e)) if e.block.as_ref().is_some_and(|b| b.turn_id == turn));
                if of_turn { message(event) } else { None }
            });
            if text.as_ref().is_some_and(|text| *text != called.call.text) {
                faults.say(format!("{id}: {turn} has another message than was sent: {}", clip(&called.call.text)));
            }
        }
    }
}

/// It was done, or nobody knows.
pub fn may_have_effect(called: &Called) -> bool {
    match &called.answer {
        Some((_, Answer::Err { code, .. })) => UNKNOWN.contains(&code.as_str()),
        Some((_, Answer::Ok { .. })) | None => true,
    }
}

/// Every turn ends once, and is not heard of after that.
pub fn turns(case: &Case, faults: &mut Faults) {
    for (id, session) in &case.sessions {
        let mut ends: BTreeMap<&str, usize> = BTreeMap::new();
        for turn in session.log.iter().filter_map(of_turn) {
            let ended = ends.entry(&turn.turn_id).or_default();
            if *ended > 0 {
                faults.say(format!("{id}: {} goes on after its end", turn.turn_id));
            }
            *ended += usize::from(is_final(turn.status()));
        }
        for (turn, ended) in ends.iter().filter(|(_, ended)| **ended != 1) {
            if session.whole {
                faults.say(format!("{id}: {turn} ended {ended} times"));
            }
        }
        blocks_begin_once(id, session, faults);
    }
}

fn blocks_begin_once(id: &str, session: &Session, faults: &mut Faults) {
    let mut begun: BTreeMap<&str, usize> = BTreeMap::new();
    let starts = session.log.iter().filter_map(|event| match &event.kind {
        Some(Kind::BlockStart(e)) => e.block.as_ref(),
        _ => None,
    });
    for block in starts {
        *begun.entry(&block.block_id).or_default() += 1;
    }
    for (block, times) in begun.into_iter().filter(|(_, times)| *times > 1) {
        faults.say(format!("{id}: {block} begins {times} times"));
    }
}

/// The turn that an event tells of.
pub fn of_turn(event: &SessionEvent) -> Option<&Turn> {
    match &event.kind {
        Some(Kind::TurnUpdated(e)) => e.turn.as_ref(),
        Some(Kind::TurnQueued(e)) => e.turn.as_ref(),
        _ => None,
    }
}

/// The user's text, where the event brings one.
pub fn message(event: &SessionEvent) -> Option<String> {
    let Some(Kind::BlockStart(start)) = &event.kind else { return None };
    let Some(Content::UserMessage(message)) = &start.block.as_ref()?.content else { return None };
    let texts = message.parts.iter().filter_map(|part| match &part.part {
        Some(Part::Text(text)) => Some(text.as_str()),
        _ => None,
    });
    Some(texts.collect())
}

fn clip(text: &str) -> String {
    text.chars().take(80).collect()
}
