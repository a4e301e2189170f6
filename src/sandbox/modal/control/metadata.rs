//! What stands beside each call to the control plane: who calls, with which library, and which attempt it is.

use std::fmt;

use tonic::{
    Status,
    metadata::{Ascii, MetadataMap, MetadataValue},
};
use uuid::Uuid;

use super::super::attempts::Attempts;

/// What the server may think of us: a client of the Go SDK's kind (there is no number for others), which behaves like the Python
/// SDK of this version. Who we are stands in the name of the library.
const CLIENT_TYPE: &str = "9";
const CLIENT_VERSION: &str = "1.0.0";
const LIBRARY: &str = concat!("agent-runtime/", env!("CARGO_PKG_VERSION"));

/// An account's token.
#[derive(Clone)]
pub struct Credentials {
    /// Begins with "ak-".
    pub token_id: String,
    /// Begins with "as-".
    pub token_secret: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("token_id", &self.token_id).finish_non_exhaustive()
    }
}

/// What is said of ourselves with each call.
#[derive(Debug)]
pub(super) struct Identity {
    token_id: MetadataValue<Ascii>,
    token_secret: MetadataValue<Ascii>,
    host: MetadataValue<Ascii>,
}

impl Identity {
    pub(super) fn new(credentials: &Credentials, host: &str) -> Result<Self, String> {
        let value = |what: &str, text: &str| {
            if text.is_empty() {
                return Err(format!("{what} is empty"));
            }
            text.parse::<MetadataValue<Ascii>>().map_err(|_| format!("{what} holds characters that none has"))
        };
        let token_id = value("MODAL_TOKEN_ID", &credentials.token_id)?;
        let mut token_secret = value("MODAL_TOKEN_SECRET", &credentials.token_secret)?;
        token_secret.set_sensitive(true);
        Ok(Self { token_id, token_secret, host: value("Modal's host", host)? })
    }

    pub(super) fn say(&self, metadata: &mut MetadataMap) {
        metadata.insert("x-modal-client-type", MetadataValue::from_static(CLIENT_TYPE));
        metadata.insert("x-modal-client-version", MetadataValue::from_static(CLIENT_VERSION));
        metadata.insert("x-modal-libmodal-version", MetadataValue::from_static(LIBRARY));
        metadata.insert("x-modal-token-id", self.token_id.clone());
        metadata.insert("x-modal-token-secret", self.token_secret.clone());
        metadata.insert("x-modal-host", self.host.clone());
    }
}

/// The token of the hour.
pub(super) fn say_token(metadata: &mut MetadataMap, token: &str) -> Result<(), Status> {
    let mut value: MetadataValue<Ascii> =
        token.parse().map_err(|_| Status::internal("Modal's token cannot be sent back"))?;
    value.set_sensitive(true);
    metadata.insert("x-modal-auth-token", value);
    Ok(())
}

/// Which attempt this is, and the key that makes all of them one.
pub(super) fn say_attempt(metadata: &mut MetadataMap, key: Uuid, attempts: &Attempts) -> Result<(), Status> {
    let mut put = |name: &'static str, text: String| {
        let value = text.parse().map_err(|_| Status::internal(format!("{name} cannot be {text:?}")))?;
        metadata.insert(name, value);
        Ok::<_, Status>(())
    };
    let (failed, throttled) = attempts.so_far();
    put("x-idempotency-key", key.to_string())?;
    put("x-retry-attempt", failed.to_string())?;
    put("x-throttle-retry-attempt", throttled.to_string())?;
    let seconds = format!("{:.3}", attempts.elapsed().as_secs_f64());
    if failed > 0 {
        put("x-retry-delay", seconds.clone())?;
    }
    if throttled > 0 {
        put("x-throttle-retry-delay", seconds)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tonic::Status;

    use super::super::super::attempts::CONTROL;
    use super::*;

    #[test]
    fn each_attempt_says_which_it_is() {
        let (key, mut attempts) = (Uuid::new_v4(), Attempts::new(CONTROL));
        let said = |attempts: &Attempts| {
            let mut metadata = MetadataMap::new();
            say_attempt(&mut metadata, key, attempts).unwrap();
            let text = |name: &str| metadata.get(name).map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(text("x-idempotency-key"), Some(key.to_string()));
            (text("x-retry-attempt"), text("x-retry-delay").is_some(), text("x-throttle-retry-attempt"))
        };
        assert_eq!(said(&attempts), (Some("0".to_owned()), false, Some("0".to_owned())));
        attempts.after(&Status::unavailable("")).unwrap();
        assert_eq!(said(&attempts), (Some("1".to_owned()), true, Some("0".to_owned())));
    }

    #[test]
    fn a_secret_is_not_shown() {
        let credentials = Credentials { token_id: "ak-1".to_owned(), token_secret: "as-VALUE".to_owned() };
        let identity = Identity::new(&credentials, "api.modal.com").unwrap();
        let mut metadata = MetadataMap::new();
        identity.say(&mut metadata);
        let shown = format!("{credentials:?} {identity:?} {metadata:?}");
        assert!(!shown.contains("VALUE"), "{shown}");
        assert_eq!(metadata.get("x-modal-token-secret").unwrap(), "as-VALUE");
        let empty = Credentials { token_secret: String::new(), ..credentials };
        assert!(Identity::new(&empty, "api.modal.com").is_err());
    }
}
