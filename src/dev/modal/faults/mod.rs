//! Calls that fail on purpose: which ones, after how much of the answer, how often, and whether the server asks for patience.
//!
//! A rule reads `Call=CODE@K*N`: the call fails with the code after K messages of its answer, the first N times. With
//! `CODE+S` the refusal asks to be tried again after S seconds; `%P` instead of `*N` fails each call with probability P,
//! by a seed. A unary call that fails after its one message has had its effect: its answer is lost. The call `*` is any.
//! `EXPIRED` in the place of a code lets the token that the call was made with expire there.
//!
//! Chance leaves alone what a caller tries for the third time, as its metadata tell: a fault that lasts is said by a number.

mod cut;
mod rule;
mod tally;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::{
    body::Body,
    extract::{Request, State},
    http::HeaderMap,
    middleware::Next,
    response::Response,
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

pub use self::rule::Rule;
pub(super) use self::tally::Count;
use self::{
    cut::Cut,
    rule::{Fault, HowOften},
    tally::Tally,
};
use super::world::World;

/// Attempts at one call that chance may let fail.
const BY_CHANCE: u32 = 2;

/// The rules, what is left of them, and what came of them.
#[derive(Debug)]
pub(super) struct Faults(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    rules: Vec<Rule>,
    chance: StdRng,
    tally: Tally,
}

impl Faults {
    /// These rules. The seed makes what they leave to chance the same each time.
    pub(super) fn new(rules: Vec<Rule>, seed: u64) -> Self {
        Self(Mutex::new(Inner { rules, chance: StdRng::seed_from_u64(seed), tally: Tally::new() }))
    }

    /// Replaces all rules.
    pub(super) fn set(&self, rules: Vec<Rule>) {
        self.inner().rules = rules;
    }

    /// What became of the calls so far.
    pub(super) fn tally(&self) -> Tally {
        self.inner().tally.clone()
    }

    /// The fault of a call that is made now, by the first rule that fires. `attempt`: how often it failed before; `token`: it
    /// came with one, which can expire.
    fn draw(&self, call: &str, attempt: u32, token: bool) -> Option<Fault> {
        let mut inner = self.inner();
        let Inner { rules, chance, tally } = &mut *inner;
        tally.entry(call.to_owned()).or_default().made += 1;
        let concerns = |rule: &Rule| (rule.call == call || rule.call == "*") && (token || !rule.fault.expires);
        rules.iter_mut().filter(|rule| concerns(rule)).find_map(|rule| {
            let fires = match &mut rule.how_often {
                HowOften::Times(left) => {
                    let fires = *left > 0;
                    *left = left.saturating_sub(1);
                    fires
                }
                HowOften::Chance(probability) => chance.random_bool(probability.clamp(0.0, 1.0)) && attempt < BY_CHANCE,
            };
            fires.then(|| rule.fault.clone())
        })
    }

    fn met(&self, call: &str, fault: &Fault) {
        self.inner().tally.entry(call.to_owned()).or_default().met(fault);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Each critical section leaves the rules whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets calls fail by the rules.
pub(super) async fn inject(State(world): State<Arc<World>>, request: Request, next: Next) -> Response {
    let call = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
    let attempt = said(request.headers(), "x-retry-attempt").parse().unwrap_or(0);
    let bearer = said(request.headers(), "authorization");
    let token = bearer.strip_prefix("Bearer ").unwrap_or_else(|| said(request.headers(), "x-modal-auth-token"));
    let token = token.to_owned();
    let Some(fault) = world.faults.draw(&call, attempt, !token.is_empty()) else { return next.run(request).await };
    let after = fault.after;
    let strike = move || {
        tracing::debug!(call, %fault, "a call fails on purpose");
        if fault.expires {
            world.tokens.revoke(&token);
        }
        world.faults.met(&call, &fault);
        fault.status()
    };
    if after == 0 {
        return strike().into_http();
    }
    let (parts, body) = next.run(request).await.into_parts();
    Response::from_parts(parts, Body::new(Cut::after(after, body, strike)))
}

fn said<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(texts: &[&str]) -> Vec<Rule> {
        texts.iter().map(|text| text.parse().expect("a rule")).collect()
    }

    #[test]
    fn rules_are_used_up() {
        let faults = Faults::new(rules(&["SandboxCreateV2=UNAVAILABLE@1*2", "*=RESOURCE_EXHAUSTED+0.5@0*1"]), 0);
        let drawn = |call: &str| faults.draw(call, 0, true).map(|fault| fault.to_string());
        assert_eq!(drawn("SandboxCreateV2").as_deref(), Some("UNAVAILABLE@1"));
        assert_eq!(drawn("AppGetOrCreate").as_deref(), Some("RESOURCE_EXHAUSTED+0.5@0"));
        assert_eq!(drawn("AppGetOrCreate"), None);
        assert!(drawn("SandboxCreateV2").is_some());
        assert_eq!(drawn("SandboxCreateV2"), None);
        assert_eq!(faults.tally()["SandboxCreateV2"].made, 3);
        let faults = Faults::new(rules(&["*=EXPIRED@0*1"]), 0);
        assert!(faults.draw("AuthTokenGet", 0, false).is_none(), "it has no token that could expire");
        assert!(faults.draw("SandboxListV2", 0, true).is_some());
    }

    #[test]
    fn chance_is_the_same_for_the_same_seed_and_not_for_good() {
        let drawn = |seed, attempt| {
            let faults = Faults::new(rules(&["TaskExecWait=INTERNAL@0%0.5"]), seed);
            (0..64).map(|_| faults.draw("TaskExecWait", attempt, true).is_some()).collect::<Vec<_>>()
        };
        assert_eq!(drawn(7, 0), drawn(7, 1));
        assert_ne!(drawn(7, 0), drawn(8, 0));
        assert!(!drawn(7, BY_CHANCE).contains(&true));
    }
}
