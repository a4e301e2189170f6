//! Answered: a permission is resolved once, by the first answer that was stored; whoever was acknowledged is told of that
//! one, and the agent is given it, once.

use std::collections::BTreeMap;

use agent_runtime::proto::{InputOutcome, PermissionRequest, TurnStatus, session_event::Kind};
use serde_json::Value;

use super::{Faults, acknowledged::of_turn, agent::input, lived::sandboxes, played::permissions};
use crate::{
    case::{Case, Session},
    history::Answer,
};

/// What the programs of a session asked for and were told, by the agent's own name for the request.
#[derive(Default)]
struct Heard {
    /// The tool call each is about.
    asked: BTreeMap<String, String>,
    /// Whether it was allowed, as often as it was told.
    told: BTreeMap<String, Vec<bool>>,
}

pub fn answered(case: &Case, faults: &mut Faults) {
    for (id, session) in &case.sessions {
        once(id, session, faults);
        let permissions = permissions(session);
        acknowledged(case, &permissions, faults);
        if sandboxes(session).any(|sandbox| case.destroyed.contains_key(sandbox)) {
            continue;
        }
        let heard = heard(case, session);
        for (request, told) in heard.told.iter().filter(|(_, told)| told.len() > 1) {
            faults.say(format!("{id}: the agent was told {} times about {request}", told.len()));
        }
        for permission in permissions.iter().filter(|permission| is_over(session, &permission.turn_id)) {
            if let Err(what) = reached(permission, &heard) {
                faults.say(format!("{id}: {} {what}", permission.permission_id));
            }
        }
    }
}

fn once(id: &str, session: &Session, faults: &mut Faults) {
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for event in &session.log {
        match &event.kind {
            Some(Kind::PermissionRequested(e)) => {
                let asked = e.permission.as_ref().map(|permission| permission.permission_id.as_str());
                times.entry(asked.unwrap_or_default()).or_default();
            }
            Some(Kind::PermissionResolved(e)) => *times.entry(&e.permission_id).or_default() += 1,
            _ => {}
        }
    }
    for (permission, times) in times.into_iter().filter(|(_, times)| *times > 1 || (session.whole && *times == 0)) {
        faults.say(format!("{id}: {permission} is resolved {times} times"));
    }
}

fn acknowledged(case: &Case, permissions: &[PermissionRequest], faults: &mut Faults) {
    for permission in permissions {
        let calls = case.calls.iter().filter(|called| called.call.permission == permission.permission_id);
        let chosen = permission.resolution.as_ref().map(|resolution| resolution.option_id.as_str()).unwrap_or_default();
        for called in calls {
            let Some((_, Answer::Ok { option, .. })) = &called.answer else { continue };
            if option != chosen || called.call.option != chosen {
                faults.say(format!(
                    "{}: {} was acknowledged with {option:?}, the log has {chosen:?}",
                    permission.permission_id, called.call.option
                ));
            }
        }
    }
}

/// It came to its end by itself, so that the agent has all that it waited for.
fn is_over(session: &Session, turn: &str) -> bool {
    let mut turns = session.log.iter().filter_map(of_turn);
    session.whole && turns.any(|held| held.turn_id == turn && held.status() == TurnStatus::Completed)
}

fn heard(case: &Case, session: &Session) -> Heard {
    let mut heard = Heard::default();
    for sandbox in sandboxes(session) {
        for ((_, _, fd), data) in case.spools.iter().filter(|((of, _, _), _)| of == sandbox) {
            for line in input(data) {
                if fd == "stdin" {
                    let Some((request, allow)) = answer(&line) else { continue };
                    heard.told.entry(request).or_default().push(allow);
                } else if let Some((request, call)) = asks(&line) {
                    heard.asked.insert(request, call);
                }
            }
        }
    }
    heard
}

/// The scripted agent's line, or that of Claude Code.
fn answer(line: &Value) -> Option<(String, bool)> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    match line["type"].as_str()? {
        "answer" => Some((text(&line["id"])?, line["allow"].as_bool()?)),
        "control_response" => {
            let response = &line["response"];
            Some((text(&response["request_id"])?, response["response"]["behavior"] == "allow"))
        }
        _ => None,
    }
}

fn asks(line: &Value) -> Option<(String, String)> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let asked = &line["permission"];
    if asked.is_object() {
        return Some((text(&asked["id"])?, text(&asked["tool"])?));
    }
    let is_asked = line["type"] == "control_request" && line["request"]["subtype"] == "can_use_tool";
    is_asked.then(|| Some((text(&line["request_id"])?, text(&line["request"]["tool_use_id"])?)))?
}

/// The agent was told what was decided.
fn reached(permission: &PermissionRequest, heard: &Heard) -> Result<(), String> {
    let outcome = permission.resolution.as_ref().map(agent_runtime::proto::InputResolution::outcome);
    let wanted = match outcome {
        Some(InputOutcome::Allowed) => true,
        Some(InputOutcome::Rejected | InputOutcome::Expired) => false,
        _ => return Ok(()),
    };
    let mut requests = heard.asked.iter().filter(|(_, call)| **call == permission.tool_use_id);
    // What the agent printed of it may be freed.
    let Some((request, _)) = requests.next() else { return Ok(()) };
    match heard.told.get(request).and_then(|told| told.first()) {
        Some(allowed) if *allowed == wanted => Ok(()),
        Some(_) => Err("was told otherwise to the agent".into()),
        None => Err("was never told to the agent".into()),
    }
}
