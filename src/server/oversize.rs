//! Requests over the decode limit: tonic refuses them before any code of ours sees them, with `OUT_OF_RANGE`, which here
//! means a sequence, or, where they came compressed, without a word about the limit. This layer says what the contract
//! says: `RESOURCE_EXHAUSTED` with the limit.

use axum::{extract::Request, middleware::Next, response::Response};
use tonic::{Code, Status};

use crate::grpc;

/// Rewrites tonic's refusal. Ours of these codes always carry details, so one without is tonic's.
pub(super) async fn layer(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    match Status::from_header_map(response.headers()) {
        Some(status)
            if matches!(status.code(), Code::OutOfRange | Code::ResourceExhausted) && status.details().is_empty() =>
        {
            grpc::oversize(grpc::MAX_REQUEST_BYTES).into_http()
        }
        Some(_) | None => response,
    }
}
