//! Tokens that expire: for the account, and for the router of each task. Clients read when they expire, so they are JWTs.

use std::{
    collections::HashSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Bytes of a block of SHA-256, which the key of a signature fills.
const BLOCK: usize = 64;

/// Makes tokens and checks them.
#[derive(Debug)]
pub(super) struct Tokens {
    key: [u8; 32],
    life: Duration,
    /// Seconds by which the clock that they go by is ahead.
    clock: i64,
    /// Tokens of an earlier one have expired, whatever they say.
    generation: AtomicU64,
    /// No two tokens are the same.
    number: AtomicU64,
    /// Those that have expired before their time.
    revoked: Mutex<HashSet<String>>,
}

/// Why a token does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Invalid {
    /// It is none of ours.
    #[error("the token is not valid")]
    Forged,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// It is good for something else.
    #[error("the token is for something else")]
    Other,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    sub: String,
    exp: u64,
    generation: u64,
    number: u64,
}

impl Tokens {
    /// Tokens that live so long, by a clock that is so many seconds ahead.
    pub(super) fn new(life: Duration, clock: i64) -> Self {
        let (generation, number) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { key: rand::random(), life, clock, generation, number, revoked: Mutex::default() }
    }

    /// A token for a subject.
    pub(super) fn issue(&self, subject: &str) -> String {
        let exp = self.now() + self.life.as_secs();
        let generation = self.generation.load(Ordering::Relaxed);
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let claims = Claims { sub: subject.to_owned(), exp, generation, number };
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
        let claims = URL_SAFE_NO_PAD.encode(serde_json::json!(claims).to_string());
        let signed = format!("{header}.{claims}");
        let signature = URL_SAFE_NO_PAD.encode(self.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    /// Whether a token is good for a subject now.
    pub(super) fn check(&self, token: &str, subject: &str) -> Result<(), Invalid> {
        let (signed, signature) = token.rsplit_once('.').ok_or(Invalid::Forged)?;
        let given = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Invalid::Forged)?;
        if !bool::from(subtle::ConstantTimeEq::ct_eq(given.as_slice(), self.sign(signed.as_bytes()).as_slice())) {
            return Err(Invalid::Forged);
        }
        let (_, claims) = signed.split_once('.').ok_or(Invalid::Forged)?;
        let claims = URL_SAFE_NO_PAD.decode(claims).map_err(|_| Invalid::Forged)?;
        let claims: Claims = serde_json::from_slice(&claims).map_err(|_| Invalid::Forged)?;
        let revoked = self.revoked.lock().unwrap_or_else(PoisonError::into_inner).contains(token);
        let of_before = claims.generation != self.generation.load(Ordering::Relaxed);
        if revoked || of_before || claims.exp <= self.now() {
            return Err(Invalid::Expired);
        }
        if claims.sub == subject { Ok(()) } else { Err(Invalid::Other) }
    }

    /// From now on all tokens that there are have expired.
    pub(super) fn expire(&self) {
        self.generation.fetch_add(1, Ordering::Relaxed);
    }

    /// From now on this one has expired.
    pub(super) fn revoke(&self, token: &str) {
        self.revoked.lock().unwrap_or_else(PoisonError::into_inner).insert(token.to_owned());
    }

    /// Seconds since 1970.
    fn now(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs().saturating_add_signed(self.clock)
    }

    /// HMAC with SHA-256, by its definition (RFC 2104).
    fn sign(&self, message: &[u8]) -> [u8; 32] {
        let mut block = [0; BLOCK];
        block[..self.key.len()].copy_from_slice(&self.key);
        let inner = Sha256::new().chain_update(block.map(|byte| byte ^ 0x36)).chain_update(message).finalize();
        Sha256::new().chain_update(block.map(|byte| byte ^ 0x5c)).chain_update(inner).finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_its_subject_and_its_time() {
        let tokens = Tokens::new(Duration::from_mins(1), -3600);
        let token = tokens.issue("ta-1");
        assert_eq!(tokens.check(&token, "ta-1"), Ok(()));
        assert_eq!(tokens.check(&token, "ta-2"), Err(Invalid::Other));
        assert_eq!(tokens.check(&token.replacen('.', ".x", 1), "ta-1"), Err(Invalid::Forged));
        assert_eq!(tokens.check("", "ta-1"), Err(Invalid::Forged));
        let other = tokens.issue("ta-1");
        tokens.revoke(&token);
        assert_eq!(tokens.check(&token, "ta-1"), Err(Invalid::Expired));
        assert_eq!(tokens.check(&other, "ta-1"), Ok(()));
        tokens.expire();
        assert_eq!(tokens.check(&other, "ta-1"), Err(Invalid::Expired));
        assert_eq!(tokens.check(&tokens.issue("ta-1"), "ta-1"), Ok(()));
        let short = Tokens::new(Duration::ZERO, 0);
        assert_eq!(short.check(&short.issue("ta-1"), "ta-1"), Err(Invalid::Expired));
        assert_eq!(short.check(&token, "ta-1"), Err(Invalid::Forged));
    }
}
