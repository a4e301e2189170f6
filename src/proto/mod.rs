//! The contract as Rust types: what `proto/agentruntime/v1/*.proto` compiles to, and how it is read and written.
//!
//! A leaf: it knows nothing of the domain, nor what any message is for. Where a message becomes something the house works
//! with is `grpc`.

mod codec;
mod json;

pub use codec::{Codec, Encoded};
pub use generated::*;
pub use json::{JsonError, descriptors, from_json, to_json};
pub use services::*;

/// The domain of every `google.rpc.ErrorInfo` this contract speaks of.
pub const ERROR_DOMAIN: &str = "agentruntime.v1";

/// The compiled contract with its comments, for reflection: a `google.protobuf.FileDescriptorSet`.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/agentruntime.binpb"));

#[allow(missing_docs, clippy::pedantic, clippy::doc_lazy_continuation, clippy::doc_overindented_list_items)]
mod generated {
    tonic::include_proto!("agentruntime.v1");
}

#[allow(missing_docs, clippy::pedantic, clippy::doc_lazy_continuation, clippy::doc_overindented_list_items)]
mod services {
    include!(concat!(env!("OUT_DIR"), "/services/agentruntime.v1.rs"));
}
