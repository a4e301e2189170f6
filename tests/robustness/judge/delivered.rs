//! Delivered: the agent is given every message of a turn that it worked on, once; and hears it once, by what it prints itself.

use std::collections::{BTreeMap, BTreeSet};

use agent_runtime::proto::TurnStatus;
use serde_json::Value;

use super::{Faults, acknowledged::of_turn, agent::prompts, lived::sandboxes};
use crate::case::{Case, Session};

pub fn delivered(case: &Case, faults: &mut Faults) {
    let mut given: BTreeMap<String, usize> = BTreeMap::new();
    let mut heard: BTreeMap<String, usize> = BTreeMap::new();
    let mut known: BTreeSet<&str> = BTreeSet::new();
    for ((sandbox, _, fd), data) in &case.spools {
        known.insert(sandbox);
        // What an agent knew goes with its sandbox, and it may end before it takes a message up; then another one gets it.
        if fd == "stdin" && case.destroyed.contains_key(sandbox) {
            continue;
        }
        let (count, ids) = if fd == "stdin" { (&mut given, prompts(data)) } else { (&mut heard, taken_up(data)) };
        for id in ids {
            *count.entry(id).or_default() += 1;
        }
    }
    for (id, times) in given.iter().filter(|(_, times)| **times > 1) {
        faults.say(format!("the agent was given {id} {times} times"));
    }
    for (id, times) in heard.iter().filter(|(_, times)| **times > 1) {
        faults.say(format!("the agent heard {id} {times} times"));
    }
    // What lay on a disk that lost its power may be gone, and what was in a sandbox that is gone is.
    let is_kept = !case.fates.iter().any(|fate| fate == "power lost");
    for (id, session) in case.sessions.iter().filter(|(_, session)| is_kept && session.whole && !session.gone) {
        let is_there = |sandbox: &str| known.contains(sandbox) && !case.destroyed.contains_key(sandbox);
        if !sandboxes(session).all(is_there) {
            continue;
        }
        for message in completed(session).filter(|message| !given.contains_key(*message)) {
            faults.say(format!("{id}: {message} was worked on, and the agent was not given it"));
        }
    }
    asked_once(case, faults);
}

/// Messages of turns that came to their end.
fn completed(session: &Session) -> impl Iterator<Item = &str> {
    let turns = session.log.iter().filter_map(of_turn);
    turns.filter(|turn| turn.status() == TurnStatus::Completed).map(|turn| turn.block_id.as_str())
}

/// What the scripted agent says it has read.
fn taken_up(data: &str) -> Vec<String> {
    let lines = data.lines().filter(|line| line.starts_with("{\"turn_start\""));
    let values = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    values.filter_map(|value| Some(value["turn_start"]["id"].as_str()?.to_owned())).collect()
}

/// A real agent asks its model once for each step of a message; with the message twice it would ask twice.
fn asked_once(case: &Case, faults: &mut Faults) {
    let mut times: BTreeMap<&(String, usize, String), usize> = BTreeMap::new();
    case.asked.iter().for_each(|asked| *times.entry(asked).or_default() += 1);
    for ((session, answers, prompt), times) in times.into_iter().filter(|(_, times)| *times > 1) {
        faults.say(format!("{session} asked its model {times} times for step {answers} of {prompt:?}"));
    }
}
