//! Authentication: one layer in front of every service. What is not known to be open needs a key, and the key its scope.
//! Handlers find the [`Caller`] in the request and trust it.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::header::AUTHORIZATION;
use subtle::ConstantTimeEq as _;

use crate::{
    domain::{Caller, Failure, Reason},
    grpc::{self, Access},
};

/// The keys a server takes.
#[derive(Clone, Debug)]
pub(super) struct Keys(Arc<Known>);

struct Known {
    /// `None`: everybody is the caller.
    key: Option<String>,
    caller: Caller,
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Known").field("caller", &self.caller).finish_non_exhaustive()
    }
}

impl Keys {
    /// One key, and who its bearer is.
    pub(super) fn new(key: Option<String>, caller: Caller) -> Self {
        Self(Arc::new(Known { key, caller }))
    }

    /// Who makes the request.
    fn caller(&self, request: &Request) -> Result<Caller, Failure> {
        let Some(key) = &self.0.key else { return Ok(self.0.caller.clone()) };
        let Some(header) = request.headers().get(AUTHORIZATION) else {
            let message = "say who you are: metadata `authorization: Bearer KEY`; KEY stands in the file `key` of the \
                           server's data folder";
            return Err(Failure::new(Reason::AuthMissing, message));
        };
        let given = header.to_str().ok().and_then(|header| header.strip_prefix("Bearer "));
        let known = given.is_some_and(|given| given.as_bytes().ct_eq(key.as_bytes()).into());
        if known {
            Ok(self.0.caller.clone())
        } else {
            Err(Failure::new(Reason::AuthInvalid, "this key is not known here").with("cause", "unknown"))
        }
    }
}

/// Lets a request through that may pass, with its caller.
pub(super) async fn layer(State(keys): State<Keys>, mut request: Request, next: Next) -> Response {
    let access = grpc::access(request.uri().path());
    if access != Access::Open {
        match keys.caller(&request).and_then(|caller| allowed(caller, access)) {
            Ok(caller) => {
                request.extensions_mut().insert(caller);
            }
            Err(refusal) => return tonic::Status::from(refusal).into_http(),
        }
    }
    next.run(request).await
}

fn allowed(caller: Caller, access: Access) -> Result<Caller, Failure> {
    match access {
        Access::Scope(scope) if !caller.scopes.contains(&scope) => {
            let scope = format!("SCOPE_{}", format!("{scope:?}").to_uppercase());
            let message = format!("this key lacks {scope}");
            Err(Failure::new(Reason::AccessDenied, message).with("scope", scope))
        }
        Access::Scope(_) | Access::AnyKey | Access::Open => Ok(caller),
    }
}
