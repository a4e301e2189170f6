//! The token that the control plane gives and wants back: had when it is first needed, and exchanged well before its end by
//! one caller while the others go on with the old one.

use std::{
    error::Error as _,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use futures::FutureExt as _;
use rand::Rng as _;
use tokio::time::sleep;
use tonic::{Code, Status};

use super::super::{
    attempts::{Attempts, CONTROL},
    jwt,
    shared::Once,
};

/// Part of a token's life after which it is exchanged, and how much later at most, so that not all do it at once.
const USED: f64 = 0.5;
const LATER: f64 = 0.1;
/// Waits after an exchange that failed while the old token is good.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_mins(1);

/// One account's token.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    held: Arc<Mutex<Option<Held>>>,
    exchange: Once<Result<String, Status>>,
}

#[derive(Clone)]
struct Held {
    token: String,
    expires: SystemTime,
    exchange: SystemTime,
    failures: u32,
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("expires", &self.expires).finish_non_exhaustive()
    }
}

impl Tokens {
    /// A token that is good now; `fetch` asks for one, once.
    pub(super) async fn current<F: Future<Output = Result<String, Status>> + Send + 'static>(
        &self,
        fetch: impl Fn() -> F,
    ) -> Result<String, Status> {
        let mut attempts = Attempts::new(CONTROL);
        loop {
            if let Some(held) = self.good()
                && (SystemTime::now() < held.exchange || self.exchange.is_at_work())
            {
                return Ok(held.token);
            }
            let begin = || {
                let (held, fetched) = (Arc::clone(&self.held), fetch());
                async move { Ok(hold(&held, fetched.await?)) }.boxed()
            };
            let error = match self.exchange.get(begin).await {
                Ok(token) => return Ok(token),
                Err(error) => error,
            };
            if let Some(held) = self.good() {
                tracing::debug!(%error, "Modal's token could not be exchanged; the old one is still good");
                self.put_off();
                return Ok(held.token);
            }
            match attempts.after(&error) {
                Some(wait) => sleep(wait).await,
                None => return Err(explained(error)),
            }
        }
    }

    /// The server does not take this one any more.
    pub(super) fn refused(&self, token: &str) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.as_ref().is_some_and(|held| held.token == token) {
            *held = None;
        }
    }

    fn good(&self) -> Option<Held> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.clone().filter(|held| SystemTime::now() < held.expires)
    }

    fn put_off(&self) {
        if let Some(held) = &mut *self.held.lock().unwrap_or_else(PoisonError::into_inner) {
            held.exchange = SystemTime::now() + (FIRST * (1 << held.failures.min(7))).min(LONGEST);
            held.failures += 1;
        }
    }
}

fn hold(held: &Mutex<Option<Held>>, token: String) -> String {
    let now = SystemTime::now();
    let expires = jwt::expires(&token, now);
    let life = expires.duration_since(now).unwrap_or_default();
    let exchange = now + life.mul_f64(USED + rand::rng().random_range(0.0..LATER));
    let new = Held { token: token.clone(), expires, exchange, failures: 0 };
    *held.lock().unwrap_or_else(PoisonError::into_inner) = Some(new);
    token
}

/// What to do when the account is not let in.
fn explained(error: Status) -> Status {
    // One with a cause is of our own making: nobody was asked.
    if error.source().is_none() && matches!(error.code(), Code::Unauthenticated | Code::PermissionDenied) {
        let said = error.message();
        return Status::new(
            error.code(),
            format!("Modal does not accept MODAL_TOKEN_ID and MODAL_TOKEN_SECRET: {said}"),
        );
    }
    error
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

    use super::*;

    fn token(number: usize, life: Duration) -> String {
        let end = (SystemTime::now() + life).duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
        format!("h.{}.s{number}", URL_SAFE_NO_PAD.encode(format!("{{\"exp\":{end}}}")))
    }

    #[tokio::test]
    async fn one_is_had_for_all_and_kept() {
        let (tokens, asked) = (Tokens::default(), Arc::new(AtomicUsize::new(0)));
        let fetch = || {
            let asked = Arc::clone(&asked);
            async move {
                tokio::task::yield_now().await;
                Ok(token(asked.fetch_add(1, Ordering::SeqCst), Duration::from_mins(20)))
            }
        };
        let all = futures::future::join_all((0..20).map(|_| tokens.current(fetch))).await;
        assert!(all.iter().all(|one| one.as_ref().unwrap().ends_with("s0")));
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn the_old_one_is_good_until_its_end() {
        let tokens = Tokens::default();
        let old = tokens.current(|| async { Ok(token(0, Duration::from_mins(20))) }).await.unwrap();
        tokens.held.lock().unwrap().as_mut().unwrap().exchange = SystemTime::UNIX_EPOCH;
        let fails = || async { Err(Status::unavailable("")) };
        assert_eq!(tokens.current(fails).await.unwrap(), old);
        assert!(tokens.held.lock().unwrap().as_ref().unwrap().exchange > SystemTime::now(), "not asked at once again");
        tokens.held.lock().unwrap().as_mut().unwrap().expires = SystemTime::UNIX_EPOCH;
        let refused = tokens.current(|| async { Err(Status::unauthenticated("no")) }).await.unwrap_err();
        assert!(refused.message().contains("MODAL_TOKEN_ID"), "{refused}");
        let new = tokens.current(|| async { Ok(token(1, Duration::from_mins(20))) }).await.unwrap();
        assert!(new.ends_with("s1"));
        tokens.refused(&old);
        assert_eq!(tokens.current(fails).await.unwrap(), new, "another one was refused");
        tokens.refused(&new);
        assert!(tokens.current(fails).await.is_err());
    }
}
