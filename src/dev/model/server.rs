//! The HTTP server: routes, what was asked, and how often a call failed. The wire formats stand in their modules.

use std::{
    collections::{HashMap, VecDeque},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, Method, StatusCode, Uri},
    response::Response,
    routing::post,
};
use tokio_util::sync::CancellationToken;

use super::{
    anthropic,
    journal::Journal,
    script::{Ask, Reply, Script},
};

/// Requests that are remembered.
const REMEMBERED: usize = 1000;

/// Calls whose failures are counted at once; beyond it, counting begins again.
const COUNTED: usize = 10_000;

/// Agents send their whole conversation each time.
const BODY_LIMIT: usize = 64 * 1024 * 1024;

/// A request that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Of what sort.
    pub kind: Kind,
    /// For example `POST /v1/messages?beta=true`.
    pub line: String,
    /// The agent's own session, where the request tells it.
    pub session: String,
    /// Model that was asked; may be empty.
    pub model: String,
    /// What the user said last; may be empty.
    pub prompt: String,
    /// Answers of the model since then.
    pub answers: usize,
    /// Working directory that the request tells.
    pub cwd: Option<String>,
    /// Images and documents that the request shows: media type and SHA-256 of each.
    pub shown: Vec<String>,
    /// Status of the answer.
    pub status: u16,
}

/// The sorts of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A model call of an agent, answered from the script.
    Call,
    /// A model call beside the agent's work, for example for a title; answered by something neutral.
    Side,
    /// Counting tokens.
    Count,
    /// Anything else; answered by 404 or 400.
    Other,
}

#[derive(Debug)]
pub(super) struct Shared {
    script: Script,
    pub(super) stop: CancellationToken,
    seen: Mutex<VecDeque<Seen>>,
    journal: Mutex<Journal>,
    failed: Mutex<HashMap<u64, u64>>,
}

impl Shared {
    pub(super) fn new(script: Script, stop: CancellationToken) -> Arc<Self> {
        Arc::new(Self { script, stop, seen: Mutex::default(), journal: Mutex::default(), failed: Mutex::default() })
    }

    pub(super) fn requests(&self) -> Vec<Seen> {
        lock(&self.seen).iter().cloned().collect()
    }

    pub(super) fn calls(&self) -> Vec<serde_json::Value> {
        lock(&self.journal).read()
    }

    /// What the script says to this call; a failure is counted.
    pub(super) fn reply(&self, ask: &Ask) -> Reply {
        let mut hasher = DefaultHasher::new();
        (&ask.session, &ask.prompts, ask.answers).hash(&mut hasher);
        let call = hasher.finish();
        let mut failed = lock(&self.failed);
        let reply = self.script.reply(ask, failed.get(&call).copied().unwrap_or(0));
        if let Reply::Refuse(_) | Reply::Break(_) = &reply {
            if failed.len() >= COUNTED {
                failed.clear();
            }
            *failed.entry(call).or_insert(0) += 1;
        }
        reply
    }

    fn remember(&self, seen: Seen) {
        let mut all = lock(&self.seen);
        if all.len() >= REMEMBERED {
            all.pop_front();
        }
        all.push_back(seen);
    }
}

/// What a wire format makes of a request.
pub(super) struct Outcome {
    pub(super) kind: Kind,
    pub(super) ask: Ask,
    pub(super) model: String,
    pub(super) response: Response<Body>,
}

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/v1/messages", post(messages))
        .route("/v1/messages/count_tokens", post(count_tokens))
        .fallback(nothing_here)
        .method_not_allowed_fallback(nothing_here)
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(shared)
}

async fn messages(State(shared): State<Arc<Shared>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let outcome = anthropic::messages(&shared, &headers, &body);
    if outcome.kind == Kind::Call {
        lock(&shared.journal).keep(body);
    }
    note(&shared, &Method::POST, &uri, outcome)
}

async fn count_tokens(State(shared): State<Arc<Shared>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    note(&shared, &Method::POST, &uri, anthropic::count_tokens(&headers, &body))
}

async fn nothing_here(State(shared): State<Arc<Shared>>, method: Method, uri: Uri) -> Response {
    let message = format!("the model endpoint answers POST /v1/messages, not {method} {}", uri.path());
    let response = anthropic::error(StatusCode::NOT_FOUND, &message, None);
    let outcome = Outcome { kind: Kind::Other, ask: Ask::default(), model: String::new(), response };
    note(&shared, &method, &uri, outcome)
}

fn note(shared: &Shared, method: &Method, uri: &Uri, outcome: Outcome) -> Response {
    let Outcome { kind, mut ask, model, response } = outcome;
    shared.remember(Seen {
        kind,
        line: format!("{method} {uri}"),
        session: ask.session,
        model,
        prompt: ask.prompts.pop().unwrap_or_default(),
        answers: ask.answers,
        cwd: ask.cwd,
        shown: ask.shown,
        status: response.status().as_u16(),
    });
    response
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each critical section leaves the map whole, whatever happened in another one.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
