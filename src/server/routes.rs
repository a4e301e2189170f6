//! Services and the layers around them. From outside in: CORS, tracing, grpc-web, authentication, size; so that each protocol
//! renders a refusal in its own way.

use std::time::Duration;

use axum::middleware;
use http::{HeaderName, HeaderValue, header};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic_health::{ServingStatus, server::HealthReporter};
use tonic_web::GrpcWebLayer;
use tower_http::cors::CorsLayer;

use super::{Config, auth, oversize, trace};
use crate::{grpc, proto, session::Manager};

/// Services whose health is told, "" for all of them together.
pub(super) const SERVICES: [&str; 5] = [
    "",
    "agentruntime.v1.SessionService",
    "agentruntime.v1.WorkspaceService",
    "agentruntime.v1.ProfileService",
    "agentruntime.v1.RuntimeService",
];
/// How long a browser may remember what an origin is allowed.
const CORS_MAX_AGE: Duration = Duration::from_hours(2);

pub(super) async fn build(
    config: &Config,
    manager: &Manager,
    keys: &auth::Keys,
    drain: &CancellationToken,
) -> (HealthReporter, Routes) {
    let (health, health_service) = tonic_health::server::health_reporter();
    for service in SERVICES {
        health.set_service_status(service, ServingStatus::Serving).await;
    }
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // What the details of a refusal are made of, so that tools can print them.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
    };
    let mut routes = Routes::builder();
    grpc::add_services(&mut routes, manager, drain);
    routes
        .add_service(health_service)
        .add_service(reflection().build_v1().expect("the compiled contract is a valid descriptor set"))
        .add_service(reflection().build_v1alpha().expect("the compiled contract is a valid descriptor set"));
    let app = routes
        .routes()
        .prepare()
        .into_axum_router()
        .layer(middleware::from_fn(oversize::layer))
        .layer(middleware::from_fn_with_state(keys.clone(), auth::layer))
        .layer(GrpcWebLayer::new())
        .layer(middleware::from_fn(trace::layer))
        .layer(cors(&config.cors_origins));
    (health, Routes::from(app))
}

/// No foreign page may call unless its origin is named.
fn cors(origins: &[String]) -> CorsLayer {
    let origins = origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
    let requests =
        ["x-grpc-web", "x-user-agent", "grpc-timeout", "connect-protocol-version"].map(HeaderName::from_static);
    let answers = ["grpc-status", "grpc-message", "grpc-status-details-bin"].map(HeaderName::from_static);
    CorsLayer::new()
        .allow_origin(origins.collect::<Vec<_>>())
        .allow_methods([http::Method::POST])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE].into_iter().chain(requests).collect::<Vec<_>>())
        .expose_headers(answers)
        .max_age(CORS_MAX_AGE)
}
