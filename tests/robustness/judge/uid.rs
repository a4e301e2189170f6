//! Uid: a cursor means something only in the log it was taken from, and a session has one log.

use super::Faults;
use crate::{case::Case, history::Answer};

pub fn uid(case: &Case, faults: &mut Faults) {
    for stream in &case.streams {
        let told = stream.uid();
        if let (None, Some(_), None) = (&told, stream.frames.first(), stream.open.of_call) {
            faults.say(format!("{}: the first frame does not say which log it is", stream.name()));
        }
        let expected = Some(&stream.open.expected_uid).filter(|uid| !uid.is_empty());
        let snapshot = stream.events().next().is_some_and(|event| event.sequence == 0);
        if let (Some(told), Some(expected)) = (&told, expected)
            && told != expected
            && !snapshot
        {
            faults.say(format!("{}: a cursor of {expected} was used in {told}", stream.name()));
        }
        let held = case.sessions.get(&stream.open.session).filter(|held| !held.uid.is_empty());
        if let (Some(told), Some(held)) = (&told, held)
            && *told != held.uid
        {
            faults.say(format!("{}: is of the log {told}, the session's is {}", stream.name(), held.uid));
        }
    }
    for called in &case.calls {
        let Some((_, Answer::Ok { session, uid, .. })) = &called.answer else { continue };
        let held = case.sessions.get(session).filter(|held| !held.uid.is_empty() && !uid.is_empty());
        if let Some(held) = held.filter(|held| held.uid != *uid) {
            faults.say(format!("{session} was created as {uid} and is {}", held.uid));
        }
    }
}
