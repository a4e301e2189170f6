//! A span for each request: what was called, how long it took, how it ended.

use axum::{extract::Request, middleware::Next, response::Response};
use tokio::time::Instant;
use tonic::{Code, Status};
use tracing::Instrument as _;

/// Runs the request inside its span. The path is the method; nothing of a message or a header is told.
pub(super) async fn layer(request: Request, next: Next) -> Response {
    let span = tracing::info_span!("rpc", method = request.uri().path());
    let began = Instant::now();
    async move {
        let response = next.run(request).await;
        let code = Status::from_header_map(response.headers()).map_or(Code::Ok, |status| status.code());
        tracing::debug!(?code, elapsed = ?began.elapsed(), "answered");
        response
    }
    .instrument(span)
    .await
}
