//! Calls that fail on purpose: which ones, after how much of the answer, how often, and whether the server asks for patience.
//!
//! A rule reads `Call=CODE@K*N`: the call fails with the code after K messages of its answer, the first N times. With
//! `CODE+S` the refusal asks to be tried again after S seconds; `%P` instead of `*N` fails each call with probability P,
//! by a seed. A unary call that fails after its one message has had its effect: its answer is lost. The call `*` is any.
//! `EXPIRED` in the place of a code lets the token that the call was made with expire there. `OK+S` fails nothing: the call is
//! held back for S seconds, or until the rules are replaced; with 0 seconds it lets a call pass that a later rule would fail.
//! `OK@K` with K above 0 ends an answer there in good order, whatever would have followed.
//!
//! Chance leaves alone what a caller tries for the third time, as its metadata tell: a fault that lasts is said by a number,
//! or by certainty (`%1`).

mod cut;
mod rule;
mod tally;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    body::{Body, to_bytes},
    extract::{Request, State},
    http::HeaderMap,
    middleware::Next,
    response::Response,
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tokio::sync::watch;
use tonic::Status;

pub use self::rule::Rule;
pub(super) use self::tally::Count;
use self::{
    cut::Cut,
    rule::{Fault, HowOften},
    tally::Tally,
};
use super::world::World;
use crate::modal_wire::MESSAGE_LIMIT;

/// Attempts at one call that chance may let fail.
const BY_CHANCE: u32 = 2;

/// The rules, what is left of them, and what came of them.
#[derive(Debug)]
pub(super) struct Faults {
    inner: Mutex<Inner>,
    /// Rings when the rules are replaced.
    replaced: watch::Sender<()>,
}

#[derive(Debug)]
struct Inner {
    rules: Vec<Rule>,
    chance: StdRng,
    tally: Tally,
    /// How often each call was failed or held back since the rules were set.
    struck: BTreeMap<String, u64>,
}

impl Faults {
    /// These rules. The seed makes what they leave to chance the same each time.
    pub(super) fn new(rules: Vec<Rule>, seed: u64) -> Self {
        let (chance, tally, struck) = (StdRng::seed_from_u64(seed), Tally::new(), BTreeMap::new());
        let inner = Mutex::new(Inner { rules, chance, tally, struck });
        Self { inner, replaced: watch::Sender::new(()) }
    }

    /// Replaces all rules.
    pub(super) fn set(&self, rules: Vec<Rule>) {
        let mut inner = self.inner();
        inner.rules = rules;
        inner.struck.clear();
        drop(inner);
        self.replaced.send_replace(());
    }

    /// How often each call was failed or held back since the rules were set.
    pub(super) fn struck(&self) -> BTreeMap<String, u64> {
        self.inner().struck.clone()
    }

    /// What became of the calls so far.
    pub(super) fn tally(&self) -> Tally {
        self.inner().tally.clone()
    }

    /// The fault of a call that is made now, by the first rule that fires. `attempt`: how often it failed before; `token`: it
    /// came with one, which can expire.
    fn draw(&self, call: &str, attempt: u32, token: bool) -> Option<Fault> {
        let mut inner = self.inner();
        let Inner { rules, chance, tally, struck } = &mut *inner;
        tally.entry(call.to_owned()).or_default().made += 1;
        let concerns = |rule: &Rule| (rule.call == call || rule.call == "*") && (token || !rule.fault.expires);
        let fired = rules.iter_mut().filter(|rule| concerns(rule)).find_map(|rule| {
            let fires = match &mut rule.how_often {
                HowOften::Times(left) => {
                    let fires = *left > 0;
                    *left = left.saturating_sub(1);
                    fires
                }
                HowOften::Chance(probability) => {
                    chance.random_bool(probability.clamp(0.0, 1.0)) && (attempt < BY_CHANCE || *probability >= 1.0)
                }
            };
            fires.then(|| rule.fault.clone())
        });
        if fired.is_some() {
            *struck.entry(call.to_owned()).or_default() += 1;
        }
        fired
    }

    fn met(&self, call: &str, fault: &Fault) {
        self.inner().tally.entry(call.to_owned()).or_default().met(fault);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Each critical section leaves the rules whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets calls fail by the rules.
pub(super) async fn inject(State(world): State<Arc<World>>, request: Request, next: Next) -> Response {
    let call = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
    let attempt = said(request.headers(), "x-retry-attempt").parse().unwrap_or(0);
    let bearer = said(request.headers(), "authorization");
    let token = bearer.strip_prefix("Bearer ").unwrap_or_else(|| said(request.headers(), "x-modal-auth-token"));
    let token = token.to_owned();
    let replaced = world.faults.replaced.subscribe();
    let Some(fault) = world.faults.draw(&call, attempt, !token.is_empty()) else { return next.run(request).await };
    if let Some(wait) = fault.holds_back() {
        tracing::debug!(call, ?wait, "a call is held back on purpose");
        return hold_back(world, wait, replaced, request, next).await;
    }
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

/// Lets a call begin later. It has arrived: that its caller leaves meanwhile does not undo it.
async fn hold_back(
    world: Arc<World>,
    wait: Duration,
    mut replaced: watch::Receiver<()>,
    request: Request,
    next: Next,
) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(bytes) = to_bytes(body, MESSAGE_LIMIT).await else {
        return Status::cancelled("its caller left while it was sent").into_http();
    };
    let stop = world.stop.clone();
    let held = async move {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = replaced.changed() => {}
            () = stop.cancelled() => return Status::unavailable("the emulator ends").into_http(),
        }
        next.run(Request::from_parts(parts, Body::from(bytes))).await
    };
    world.tracker.spawn(held).await.unwrap_or_else(|error| Status::internal(error.to_string()).into_http())
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
    fn what_is_let_pass_is_counted_and_a_later_rule_waits() {
        let faults = Faults::new(rules(&["A=OK+0@0*1", "A=NOT_FOUND@0*1"]), 0);
        let drawn: Vec<_> = std::iter::from_fn(|| faults.draw("A", 0, true)).map(|fault| fault.to_string()).collect();
        assert_eq!(drawn, ["OK+0@0", "NOT_FOUND@0"]);
        assert_eq!(faults.struck()["A"], 2);
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
        let certain = Faults::new(rules(&["A=INTERNAL@0%1"]), 0);
        assert!((0..9).all(|attempt| certain.draw("A", attempt, true).is_some()));
    }
}
