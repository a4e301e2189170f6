//! Calls that fail on purpose: which ones, after how much of the answer, how often, and whether the server asks for patience.
//!
//! A rule reads `Call=CODE@K*N`: the call fails with the code after K messages of its answer, the first N times. With
//! `CODE+S` the refusal asks to be tried again after S seconds; `%P` instead of `*N` fails each call with probability P,
//! by a seed. A unary call that fails after its one message has had its effect: its answer is lost. The call `*` is any.
//! `OK+S` fails nothing: the call is held back for S seconds, or until the rules are replaced; with 0 seconds it lets a call
//! pass that a later rule would fail.

use std::{
    collections::BTreeMap,
    pin::Pin,
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderValue},
    middleware::Next,
    response::Response,
};
use http_body::Frame;
use prost::Message as _;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tokio::sync::watch;
use tonic::{Code, Status};

use super::world::World;
use crate::modal_wire::{
    MESSAGE_LIMIT,
    client::{RpcRetryPolicy, RpcStatus},
};

/// Bytes in front of each message: a flag and a length.
const PREFIX: usize = 5;

/// Which calls fail, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    call: String,
    code: Code,
    retry_after: Option<f32>,
    after: u64,
    how_often: HowOften,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum HowOften {
    Times(u64),
    Chance(f64),
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text}: a fault reads Call=CODE[+SECONDS]@MESSAGES*TIMES or …%PROBABILITY");
        let (call, rest) = text.split_once('=').ok_or_else(wrong)?;
        let (code, rest) = rest.split_once('@').ok_or_else(wrong)?;
        let (code, retry_after) = match code.split_once('+') {
            Some((code, seconds)) => (code, Some(seconds.parse().map_err(|_| wrong())?)),
            None => (code, None),
        };
        let (after, how_often) = if let Some((after, times)) = rest.split_once('*') {
            (after, HowOften::Times(times.parse().map_err(|_| wrong())?))
        } else {
            let (after, chance) = rest.split_once('%').ok_or_else(wrong)?;
            (after, HowOften::Chance(chance.parse().map_err(|_| wrong())?))
        };
        let code = code_of(code).ok_or_else(|| format!("{code} is no status of gRPC"))?;
        Ok(Self { call: call.to_owned(), code, retry_after, after: after.parse().map_err(|_| wrong())?, how_often })
    }
}

impl Rule {
    fn status(&self) -> Status {
        let Some(retry_after_secs) = self.retry_after else { return Status::new(self.code, "injected") };
        let policy = prost_types::Any {
            type_url: "type.modal.com/modal.client.RPCRetryPolicy".to_owned(),
            value: RpcRetryPolicy { retry_after_secs }.encode_to_vec(),
        };
        let details = RpcStatus { code: i32::from(self.code), message: "injected".to_owned(), details: vec![policy] };
        Status::with_details(self.code, "injected", details.encode_to_vec().into())
    }
}

/// The rules, and what is left of them.
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
    /// How often each call was failed or held back since the rules were set.
    struck: BTreeMap<String, u64>,
}

impl Faults {
    /// These rules. The seed makes what they leave to chance the same each time.
    pub(super) fn new(rules: Vec<Rule>, seed: u64) -> Self {
        let inner = Inner { rules, chance: StdRng::seed_from_u64(seed), struck: BTreeMap::new() };
        Self { inner: Mutex::new(inner), replaced: watch::Sender::new(()) }
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

    /// The fault of a call that is made now; the first rule that fires.
    fn draw(&self, call: &str) -> Option<Rule> {
        let mut inner = self.inner();
        let Inner { rules, chance, struck } = &mut *inner;
        let fired = rules.iter_mut().filter(|rule| rule.call == call || rule.call == "*").find_map(|rule| {
            let fires = match &mut rule.how_often {
                HowOften::Times(left) => {
                    let fires = *left > 0;
                    *left = left.saturating_sub(1);
                    fires
                }
                HowOften::Chance(probability) => chance.random_bool(probability.clamp(0.0, 1.0)),
            };
            fires.then(|| rule.clone())
        });
        if fired.is_some() {
            *struck.entry(call.to_owned()).or_default() += 1;
        }
        fired
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Each critical section leaves the rules whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets calls fail by the rules.
pub(super) async fn inject(State(world): State<Arc<World>>, request: Request, next: Next) -> Response {
    let call = request.uri().path().rsplit('/').next().unwrap_or_default();
    let replaced = world.faults.replaced.subscribe();
    let Some(rule) = world.faults.draw(call) else { return next.run(request).await };
    tracing::debug!(call, fault = ?rule.code, after = rule.after, "a call fails on purpose");
    if rule.code == Code::Ok {
        return hold_back(world, &rule, replaced, request, next).await;
    }
    if rule.after == 0 {
        return rule.status().into_http();
    }
    let (parts, body) = next.run(request).await.into_parts();
    let cut = Cut { body, status: rule.status(), left: rule.after, skip: 0, begun: Vec::new(), over: false };
    Response::from_parts(parts, Body::new(cut))
}

/// Lets a call begin later. It has arrived: that its caller leaves meanwhile does not undo it.
async fn hold_back(
    world: Arc<World>,
    rule: &Rule,
    mut replaced: watch::Receiver<()>,
    request: Request,
    next: Next,
) -> Response {
    let wait = rule.retry_after.and_then(|seconds| Duration::try_from_secs_f32(seconds).ok()).unwrap_or_default();
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

/// An answer that ends with a fault after some of its messages.
struct Cut {
    body: Body,
    status: Status,
    /// Messages that may pass.
    left: u64,
    /// Bytes to the end of the message that is passing.
    skip: usize,
    /// The beginning of what stands before the next one.
    begun: Vec<u8>,
    over: bool,
}

impl Cut {
    /// How much of these bytes may pass; less than all when the last message that may ends in them.
    fn measure(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            if self.skip > 0 {
                let step = self.skip.min(bytes.len() - at);
                (self.skip, at) = (self.skip - step, at + step);
                if self.skip == 0 && self.left == 0 {
                    return at;
                }
                continue;
            }
            self.begun.push(bytes[at]);
            at += 1;
            if let [_, a, b, c, d] = self.begun[..] {
                self.skip = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
                self.begun.clear();
                self.left -= 1;
                if self.skip == 0 && self.left == 0 {
                    return at;
                }
            }
        }
        debug_assert!(self.begun.len() < PREFIX, "a prefix that is whole is read");
        at
    }

    fn fault(&mut self) -> Frame<Bytes> {
        self.over = true;
        let mut trailers = HeaderMap::new();
        if self.status.add_header(&mut trailers).is_err() {
            trailers.insert("grpc-status", HeaderValue::from(i32::from(self.status.code())));
        }
        Frame::trailers(trailers)
    }
}

impl HttpBody for Cut {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.over {
            return Poll::Ready(None);
        }
        if self.left == 0 && self.skip == 0 {
            return Poll::Ready(Some(Ok(self.fault())));
        }
        match std::task::ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    let passes = self.measure(&data);
                    Poll::Ready(Some(Ok(Frame::data(data.slice(..passes)))))
                }
                // The answer ended before its time.
                Err(frame) => {
                    self.over = true;
                    Poll::Ready(Some(Ok(frame)))
                }
            },
            other => Poll::Ready(other),
        }
    }
}

fn code_of(name: &str) -> Option<Code> {
    (0..=16).map(Code::from_i32).find(|code| {
        // `DeadlineExceeded` is DEADLINE_EXCEEDED on the wire.
        let mut spelled = String::new();
        for character in format!("{code:?}").chars() {
            if character.is_uppercase() && !spelled.is_empty() {
                spelled.push('_');
            }
            spelled.push(character.to_ascii_uppercase());
        }
        spelled == name
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(texts: &[&str]) -> Vec<Rule> {
        texts.iter().map(|text| text.parse().expect("a rule")).collect()
    }

    #[test]
    fn rules_are_read_and_used_up() {
        let faults = Faults::new(rules(&["SandboxCreateV2=UNAVAILABLE@1*2", "*=RESOURCE_EXHAUSTED+0.5@0*1"]), 0);
        let first = faults.draw("SandboxCreateV2").expect("the first");
        assert_eq!((first.code, first.after), (Code::Unavailable, 1));
        let status = faults.draw("AppGetOrCreate").expect("any call").status();
        let details = RpcStatus::decode(status.details()).expect("details");
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(details.details[0].type_url.ends_with("/modal.client.RPCRetryPolicy"));
        assert!(faults.draw("AppGetOrCreate").is_none());
        assert!(faults.draw("SandboxCreateV2").is_some());
        assert!(faults.draw("SandboxCreateV2").is_none());
        let held = Faults::new(rules(&["A=OK+0@0*1", "A=NOT_FOUND@0*1"]), 0);
        let drawn: Vec<_> = std::iter::from_fn(|| held.draw("A")).map(|rule| rule.code).collect();
        assert_eq!((drawn, held.struck()["A"]), (vec![Code::Ok, Code::NotFound], 2));
        for wrong in ["", "A=B@0*1", "A=UNAVAILABLE@0", "A=UNAVAILABLE@x*1", "A=UNAVAILABLE*1"] {
            assert!(wrong.parse::<Rule>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn chance_is_the_same_for_the_same_seed() {
        let drawn = |seed| {
            let faults = Faults::new(rules(&["TaskExecWait=INTERNAL@0%0.5"]), seed);
            (0..64).map(|_| faults.draw("TaskExecWait").is_some()).collect::<Vec<_>>()
        };
        assert_eq!(drawn(7), drawn(7));
        assert_ne!(drawn(7), drawn(8));
    }

    #[test]
    fn an_answer_is_cut_behind_a_whole_message() {
        let message = |size: u8| [&[0, 0, 0, 0, size][..], &vec![7; usize::from(size)]].concat();
        let cut = |left| Cut {
            body: Body::empty(),
            status: Status::unavailable("x"),
            left,
            skip: 0,
            begun: Vec::new(),
            over: false,
        };
        let all = [message(3), message(0), message(9)].concat();
        for (left, wanted) in [(1, 8), (2, 13), (3, all.len()), (4, all.len())] {
            let mut whole = cut(left);
            assert_eq!(whole.measure(&all), wanted);
            // The same, a byte at a time.
            let mut slow = cut(left);
            let passed = all.iter().take_while(|byte| {
                !(slow.left == 0 && slow.skip == 0) && slow.measure(std::slice::from_ref(byte)) == 1
            });
            assert_eq!(passed.count(), wanted);
        }
    }
}
