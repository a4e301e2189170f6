//! Calls that are made again: which failures pass, how long to wait, and what the server itself asks for.
//!
//! It must not know which calls there are, nor whether this process may still make them: that is asked before each attempt by
//! whoever sends it.

use std::time::Duration;

use prost::Message as _;
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::modal_wire::client::{RpcRetryPolicy, RpcStatus};

/// The end of the name under which a server's wish stands in the details of a status.
const POLICY: &str = "/modal.client.RPCRetryPolicy";
/// A server that asks for no wait is asked again after this one.
const SHORTEST: Duration = Duration::from_millis(100);
/// How long in all a call waits because the server wants it to: who asks for a sandbox is told, instead of waiting for good.
const THROTTLED_MOST: Duration = Duration::from_mins(10);

/// How often a call may be made again because its token was not accepted any more. Each token is a new one, and may end as
/// well before it comes to be used; one that is never accepted is the account's, or the sandbox's.
const RENEWED_MOST: u32 = 3;

/// How often a kind of call is made again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    retries: u32,
    first: Duration,
    longest: Duration,
    /// Running out of time is for the caller to judge.
    deadline_is_final: bool,
}

/// Calls to the control plane.
pub(super) const CONTROL: Patience = Patience {
    retries: 3,
    first: Duration::from_millis(100),
    longest: Duration::from_secs(1),
    deadline_is_final: false,
};

/// Calls to a router.
pub(super) const ROUTER: Patience = Patience {
    retries: 10,
    first: Duration::from_millis(10),
    longest: Duration::from_secs(10),
    deadline_is_final: false,
};

/// What a program that runs is followed and fed by: a sandbox that cannot be reached for a while still works. About a quarter of
/// an hour.
pub(super) const FOLLOWING: Patience = Patience { retries: 100, ..ROUTER };

/// Calls to a router that have a time to be done in.
pub(super) const TIMED: Patience = Patience { deadline_is_final: true, ..ROUTER };

/// Calls that are made again by whoever knows what an earlier one may have done.
pub(super) const ONCE: Patience = Patience { retries: 0, ..ROUTER };

/// The attempts at one call.
#[derive(Debug)]
pub(super) struct Attempts {
    patience: Patience,
    began: Instant,
    failed: u32,
    throttled: u32,
    renewed: u32,
    waited: Duration,
    delay: Duration,
}

impl Attempts {
    pub(super) fn new(patience: Patience) -> Self {
        let (waited, delay) = (Duration::ZERO, patience.first);
        Self { patience, began: Instant::now(), failed: 0, throttled: 0, renewed: 0, waited, delay }
    }

    /// Something came through: what fails next is the first failure again.
    pub(super) fn reset(&mut self) {
        *self = Self::new(self.patience);
    }

    /// How many failed, and how many the server put off.
    pub(super) fn so_far(&self) -> (u32, u32) {
        (self.failed, self.throttled)
    }

    /// It fails for so long that the sandbox is to be asked about: nobody waits for one that is over.
    pub(super) fn is_long(&self) -> bool {
        self.failed >= ROUTER.retries
    }

    /// Since the first attempt.
    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// How long to wait before the next attempt; `None`: this failure is the last.
    pub(super) fn after(&mut self, failure: &Status) -> Option<Duration> {
        if let Some(asked) = put_off(failure) {
            // The server could not, and says when: that is no failed attempt.
            let wait = asked.max(SHORTEST);
            self.throttled += 1;
            self.waited += wait;
            return (self.waited <= THROTTLED_MOST).then_some(wait);
        }
        if !self.passes(failure.code()) || self.failed >= self.patience.retries {
            return None;
        }
        self.failed += 1;
        let wait = self.delay;
        self.delay = (self.delay * 2).min(self.patience.longest);
        Some(wait)
    }

    /// Whether a call whose token was refused is made again, with another one.
    pub(super) fn renews(&mut self, failure: &Status) -> bool {
        let renews = failure.code() == Code::Unauthenticated && self.renewed < RENEWED_MOST;
        self.renewed += u32::from(renews);
        renews
    }

    fn passes(&self, code: Code) -> bool {
        match code {
            Code::DeadlineExceeded | Code::Cancelled => !self.patience.deadline_is_final,
            Code::Unavailable | Code::Internal | Code::Unknown => true,
            Code::Ok
            | Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::ResourceExhausted
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::DataLoss
            | Code::Unauthenticated => false,
        }
    }
}

/// How long the server wants to be left alone, if it says so.
fn put_off(status: &Status) -> Option<Duration> {
    let details = RpcStatus::decode(status.details()).ok()?.details;
    let policy = details.iter().find(|detail| detail.type_url.ends_with(POLICY))?;
    let RpcRetryPolicy { retry_after_secs } = RpcRetryPolicy::decode(&*policy.value).ok()?;
    Some(Duration::try_from_secs_f32(retry_after_secs).unwrap_or(SHORTEST))
}

#[cfg(test)]
mod tests {
    use prost_types::Any;

    use super::*;

    fn throttled(code: Code, seconds: f32) -> Status {
        let policy = RpcRetryPolicy { retry_after_secs: seconds }.encode_to_vec();
        let detail = Any { type_url: format!("type.modal.com{POLICY}"), value: policy };
        let status = RpcStatus { code: code.into(), message: "later".to_owned(), details: vec![detail] };
        Status::with_details(code, "later", status.encode_to_vec().into())
    }

    #[test]
    fn what_passes_is_tried_again_so_often() {
        let mut attempts = Attempts::new(CONTROL);
        let waits: Vec<_> = std::iter::from_fn(|| attempts.after(&Status::unavailable(""))).collect();
        assert_eq!(waits, [100, 200, 400].map(Duration::from_millis));
        assert_eq!(attempts.so_far(), (3, 0));
        for status in [Status::resource_exhausted(""), Status::not_found(""), Status::unauthenticated("")] {
            assert_eq!(Attempts::new(CONTROL).after(&status), None, "{status}");
        }
        for status in [Status::deadline_exceeded(""), Status::cancelled("")] {
            assert!(Attempts::new(ROUTER).after(&status).is_some(), "{status}");
            assert_eq!(Attempts::new(TIMED).after(&status), None, "{status}");
        }
    }

    #[test]
    fn a_server_that_says_when_is_waited_for() {
        let mut attempts = Attempts::new(CONTROL);
        for (seconds, millis) in [(2.0, 2000), (0.0, 100), (-1.0, 100)] {
            let wait = attempts.after(&throttled(Code::ResourceExhausted, seconds));
            assert_eq!(wait, Some(Duration::from_millis(millis)));
        }
        assert_eq!(attempts.so_far(), (0, 3));
        assert!(attempts.after(&Status::internal("")).is_some(), "none of these was a failure");
        assert_eq!(attempts.after(&throttled(Code::Unavailable, 601.0)), None, "not for good");
    }

    #[test]
    fn a_token_that_is_refused_is_exchanged_so_often() {
        let mut attempts = Attempts::new(ROUTER);
        assert!(!attempts.renews(&Status::unavailable("")));
        let refused = Status::unauthenticated("");
        for _ in 0..2 {
            assert!((0..RENEWED_MOST).all(|_| attempts.renews(&refused)));
            assert!(!attempts.renews(&refused), "not for good");
            attempts.reset();
        }
    }

    #[test]
    fn what_comes_through_gives_the_budget_back() {
        let mut attempts = Attempts::new(ROUTER);
        for _ in 0..30 {
            for _ in 0..10 {
                assert!(attempts.after(&Status::unavailable("")).is_some());
            }
            assert!(attempts.after(&Status::unavailable("")).is_none());
            attempts.reset();
        }
    }
}
