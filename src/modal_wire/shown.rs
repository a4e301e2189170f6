//! What is shown of messages that hold secrets or tokens: names, never values. Which messages these are stands in `build.rs`,
//! which leaves their `Debug` to this file.

use std::fmt;

use super::client::{
    AuthTokenGetResponse, CommandRouterAccess, SandboxGetCommandRouterAccessResponse, SecretGetOrCreateRequest,
    StringMap, TaskGetCommandRouterAccessResponse,
};

impl fmt::Debug for StringMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { contents } = self;
        f.debug_set().entries(contents.keys()).finish()
    }
}

impl fmt::Debug for SecretGetOrCreateRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { deployment_name, environment_name, object_creation_type, env_dict, app_id, required_keys } = self;
        f.debug_struct("SecretGetOrCreateRequest")
            .field("deployment_name", deployment_name)
            .field("environment_name", environment_name)
            .field("object_creation_type", object_creation_type)
            .field("names", &env_dict.keys())
            .field("app_id", app_id)
            .field("required_keys", required_keys)
            .finish()
    }
}

impl fmt::Debug for AuthTokenGetResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthTokenGetResponse").finish_non_exhaustive()
    }
}

/// Of an access only the address is shown.
macro_rules! access {
    ($($message:ident)+) => {
        $(impl fmt::Debug for $message {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($message)).field("url", &self.url).finish_non_exhaustive()
            }
        })+
    };
}

access!(CommandRouterAccess SandboxGetCommandRouterAccessResponse TaskGetCommandRouterAccessResponse);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modal_wire::client::{
        SandboxCreateV2Request, SandboxCreateV2Response, SecretSource, secret_source::Source,
    };

    #[test]
    fn values_are_not_shown() {
        let contents = StringMap { contents: [("KEY".to_owned(), "VALUE".to_owned())].into() };
        let create = SandboxCreateV2Request {
            secret_sources: vec![SecretSource { source: Some(Source::Env(contents)) }],
            ..SandboxCreateV2Request::default()
        };
        let access = CommandRouterAccess { jwt: "VALUE".to_owned(), url: "https://worker".to_owned() };
        let made =
            SandboxCreateV2Response { command_router_access: Some(access), ..SandboxCreateV2Response::default() };
        let token = AuthTokenGetResponse { token: "VALUE".to_owned() };
        let env_dict = [("KEY".to_owned(), "VALUE".to_owned())].into();
        let secret = SecretGetOrCreateRequest { env_dict, ..SecretGetOrCreateRequest::default() };
        let shown = format!("{create:?} {made:?} {token:?} {secret:?}");
        assert!(!shown.contains("VALUE") && shown.contains("KEY") && shown.contains("https://worker"), "{shown}");
    }
}
