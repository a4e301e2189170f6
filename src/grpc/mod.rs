//! Where wire and domain meet, and nowhere else: requests become what the core works with (`validate`), what the core
//! knows becomes messages (`convert`), and its failures become statuses (`status`).
//!
//! It knows no SQL and no sandbox. Handlers are thin: validate, one call into the core, convert.

mod access;
mod content;
pub mod convert;
pub mod fields;
mod frame;
mod lists;
pub mod page;
mod pieces;
mod profiles;
mod runtime;
mod sessions;
mod snapshot;
pub mod status;
pub mod validate;
mod watch;
mod workspace;

use tokio_util::sync::CancellationToken;
use tonic::{Extensions, codec::CompressionEncoding, service::RoutesBuilder};

pub use access::{Access, access};
pub use status::oversize;

use crate::{
    domain::{Caller, Failure, Reason},
    proto::{
        profile_service_server::ProfileServiceServer, runtime_service_server::RuntimeServiceServer,
        session_service_server::SessionServiceServer, workspace_service_server::WorkspaceServiceServer,
    },
    session::Manager,
};

/// Requests over this are refused unread.
pub const MAX_REQUEST_BYTES: usize = 8 << 20;

/// Adds the contract's services. Watches and uploads end when `drain` is cancelled.
pub fn add_services(routes: &mut RoutesBuilder, manager: &Manager, drain: &CancellationToken) {
    let gzip = CompressionEncoding::Gzip;
    let sessions = sessions::Sessions::new(manager.clone(), drain.clone());
    routes
        .add_service(
            SessionServiceServer::new(sessions)
                .max_decoding_message_size(MAX_REQUEST_BYTES)
                .accept_compressed(gzip)
                .send_compressed(gzip),
        )
        .add_service(
            ProfileServiceServer::new(profiles::Profiles::new(manager.clone()))
                .max_decoding_message_size(MAX_REQUEST_BYTES)
                .accept_compressed(gzip)
                .send_compressed(gzip),
        )
        .add_service(
            WorkspaceServiceServer::new(workspace::Workspace::new(manager.clone(), drain.clone()))
                .max_decoding_message_size(MAX_REQUEST_BYTES)
                .accept_compressed(gzip)
                .send_compressed(gzip),
        )
        .add_service(
            RuntimeServiceServer::new(runtime::Runtime::new(manager.clone()))
                .max_decoding_message_size(MAX_REQUEST_BYTES)
                .accept_compressed(gzip)
                .send_compressed(gzip),
        );
}

/// Who makes the call, as the authentication layer found out.
fn caller(extensions: &Extensions) -> Result<Caller, Failure> {
    let caller = extensions.get::<Caller>().cloned();
    caller.ok_or_else(|| Failure::new(Reason::AuthMissing, "the authentication layer did not see this call"))
}
