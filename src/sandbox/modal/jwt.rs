//! When a token of Modal's ends. Tokens are not checked here: who made them is known from where they came.

use std::time::{Duration, SystemTime};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

/// What a token is good for when it does not say.
const UNSAID: Duration = Duration::from_mins(20);

/// The end of a token that is had at `now`.
pub(super) fn expires(token: &str, now: SystemTime) -> SystemTime {
    said(token).unwrap_or(now + UNSAID)
}

fn said(token: &str) -> Option<SystemTime> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?.trim_end_matches('=')).ok()?;
    let seconds = serde_json::from_slice::<Value>(&claims).ok()?.get("exp")?.as_f64()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_read_where_it_is_said() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let token = |claims: &str| format!("eyJhbGciOiJIUzI1NiJ9.{}.c2ln", URL_SAFE_NO_PAD.encode(claims));
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(expires(&token(r#"{"exp":2000000}"#), now), at(2_000_000));
        assert_eq!(expires(&token(r#"{"sub":"x","exp":2000000.0}"#), now), at(2_000_000));
        for unsaid in [token("{}"), token(r#"{"exp":"soon"}"#), token(r#"{"exp":-1}"#), "no token".to_owned()] {
            assert_eq!(expires(&unsaid, now), now + UNSAID, "{unsaid}");
        }
    }
}
