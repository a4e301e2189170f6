//! Which RPC needs which scope: one table, held to the contract's comments by `tests/contract`. What is not in it is
//! refused as if it needed everything.

use crate::domain::Scope;

/// What a request needs to pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing: health and reflection say nothing about anybody's data.
    Open,
    /// Any key.
    AnyKey,
    /// A key with this scope.
    Scope(Scope),
}

const OPEN: [&str; 3] =
    ["/grpc.health.v1.Health/", "/grpc.reflection.v1.ServerReflection/", "/grpc.reflection.v1alpha.ServerReflection/"];

const SCOPES: &[(Scope, &str, &[&str])] = &[
    (
        Scope::Read,
        "SessionService",
        &[
            "GetSession",
            "ListSessions",
            "GetTurn",
            "ListTurns",
            "ListPermissionRules",
            "WatchSession",
            "WatchSessions",
            "ListBlocks",
            "ReadBlockContent",
            "ReadBlob",
        ],
    ),
    (
        Scope::Write,
        "SessionService",
        &[
            "CreateSession",
            "UpdateSession",
            "StopSession",
            "DeleteSession",
            "SyncSession",
            "SendMessage",
            "RunTurn",
            "InterruptTurn",
            "CancelTurn",
        ],
    ),
    (Scope::Approve, "SessionService", &["ResolvePermission", "AnswerQuestion", "DeletePermissionRule"]),
    (Scope::Admin, "SessionService", &["ExportTranscript"]),
    (Scope::Read, "WorkspaceService", &["ListFiles", "ReadFile"]),
    (Scope::Write, "WorkspaceService", &["WriteFile", "UploadFile", "DeleteFile"]),
    (Scope::Read, "ProfileService", &["GetProfile", "ListProfiles"]),
    (Scope::Admin, "ProfileService", &["CreateProfile", "UpdateProfile", "DeleteProfile"]),
    (Scope::Admin, "RuntimeService", &["CreateApiKey", "ListApiKeys", "RevokeApiKey", "ListSandboxes"]),
];

/// What a request to this path needs.
#[must_use]
pub fn access(path: &str) -> Access {
    if OPEN.iter().any(|open| path.starts_with(open)) {
        return Access::Open;
    }
    if path == "/agentruntime.v1.RuntimeService/GetRuntimeInfo" {
        return Access::AnyKey;
    }
    let named = path.strip_prefix("/agentruntime.v1.").and_then(|path| path.split_once('/'));
    let found = named.and_then(|(service, method)| {
        SCOPES.iter().find(|(_, of, methods)| *of == service && methods.contains(&method)).map(|(scope, ..)| *scope)
    });
    // An unknown path is answered with UNIMPLEMENTED, but only to those who may do anything.
    Access::Scope(found.unwrap_or(Scope::Admin))
}
