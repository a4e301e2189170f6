//! The part of Modal's own gRPC API that is spoken here, as Rust types with clients and servers: what `third_party/modal`
//! compiles to. Names are Modal's, in Rust's spelling.
//!
//! A leaf: it must not know who calls or who answers. The provider (`sandbox`) calls, the emulator (`dev`) answers; neither
//! reflection nor our own clients know these types.

mod shown;

pub use client::modal_client_client::ModalClientClient as ControlClient;
pub use client::modal_client_server::{ModalClient as Control, ModalClientServer as ControlServer};
pub use task_command_router::task_command_router_client::TaskCommandRouterClient as RouterClient;
pub use task_command_router::task_command_router_server::{
    TaskCommandRouter as Router, TaskCommandRouterServer as RouterServer,
};

/// Package `modal.client`: the control plane.
#[allow(missing_docs, clippy::pedantic, clippy::doc_lazy_continuation, clippy::doc_overindented_list_items)]
pub mod client {
    include!(concat!(env!("OUT_DIR"), "/modal/modal.client.rs"));
}

/// Package `modal.task_command_router`: what speaks for the machine a sandbox runs on.
#[allow(missing_docs, clippy::pedantic, clippy::doc_lazy_continuation, clippy::doc_overindented_list_items)]
pub mod task_command_router {
    include!(concat!(env!("OUT_DIR"), "/modal/modal.task_command_router.rs"));
}

/// Longest message either side takes: 100 MiB, as the official clients have it.
pub const MESSAGE_LIMIT: usize = 100 << 20;
