//! When a sandbox is left that its provider ends: between turns in good time, and at the latest so early that a turn at work
//! can be ended and its files saved.
//!
//! Only times: what is done then, the actor knows.

use std::time::Duration;

use crate::domain::{ModalSettings, SandboxSpec, Timestamp};

/// Bounds of the time before its end at which a sandbox is left, which is a part of its whole life.
const BEFORE: [Duration; 2] = [Duration::from_mins(2), Duration::from_mins(15)];
const PART: u32 = 10;

/// The times of one sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lifetime {
    /// Nothing begins in it any more, and it is left as soon as nothing is at work.
    pub(super) leave: Timestamp,
    /// What is at work then is ended, to go on in the next one.
    pub(super) carry: Timestamp,
    /// How long an agent may take to end what it does.
    pub(super) grace: Duration,
}

impl Lifetime {
    /// Of a sandbox that was made with these settings and ends then.
    pub(super) fn of(spec: &SandboxSpec, expires: Timestamp) -> Self {
        let life = spec.modal.as_ref().map_or(ModalSettings::LONGEST, ModalSettings::lifetime);
        let before = before_the_end(life);
        let third = before / 3;
        Self { leave: earlier(expires, before), carry: earlier(expires, third * 2), grace: third }
    }
}

/// How long before its end a sandbox is left, of a whole life.
fn before_the_end(life: Duration) -> Duration {
    (life / PART).clamp(BEFORE[0], BEFORE[1]).min(life / 2)
}

fn earlier(time: Timestamp, by: Duration) -> Timestamp {
    Timestamp(time.0.saturating_sub(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sandbox_is_left_in_good_time() {
        let table = [(24 * 3600, 900), (3600, 360), (1800, 180), (600, 120), (240, 120), (100, 50), (10, 5)];
        for (life, before) in table {
            assert_eq!(before_the_end(Duration::from_secs(life)), Duration::from_secs(before), "a life of {life} s");
        }
    }

    #[test]
    fn what_is_at_work_is_ended_with_time_left_to_save_it() {
        let at = |seconds: i64| Timestamp(seconds * 1_000_000);
        for (life, leave, carry, grace) in [(24 * 3600, 900, 600, 300), (600, 120, 80, 40), (30, 15, 10, 5)] {
            let modal = ModalSettings { timeout: Some(Duration::from_secs(life)), ..ModalSettings::default() };
            let spec = SandboxSpec { modal: Some(modal), ..SandboxSpec::default() };
            let expected = Lifetime { leave: at(-leave), carry: at(-carry), grace: Duration::from_secs(grace) };
            assert_eq!(Lifetime::of(&spec, at(0)), expected, "a life of {life} s");
        }
        let day = Lifetime::of(&SandboxSpec::default(), at(0));
        assert_eq!(day.leave, at(-900), "where nothing is said");
    }
}
