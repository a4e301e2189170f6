//! The contract, held to what it says of itself and to what the code does with it.

mod codec;
mod convert;
mod fields;
mod fold;
mod lint;
mod reasons;
mod rpcs;

#[path = "../support/from_wire.rs"]
#[allow(unreachable_pub, dead_code)]
mod from_wire;
#[path = "../support/generate.rs"]
#[allow(unreachable_pub, dead_code)]
mod generate;
#[path = "../support/wire_fold.rs"]
#[allow(unreachable_pub, dead_code)]
mod wire_fold;

use agent_runtime::proto::FILE_DESCRIPTOR_SET;
use prost::Message as _;
use prost_types::{FileDescriptorProto, FileDescriptorSet, source_code_info::Location};

/// The files of the contract itself.
fn files() -> Vec<FileDescriptorProto> {
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
    set.file.into_iter().filter(|file| file.package() == "agentruntime.v1").collect()
}

/// The comment above what stands at `path` (as `SourceCodeInfo` counts), in one line.
fn comment(file: &FileDescriptorProto, path: &[i32]) -> String {
    let info = file.source_code_info.as_ref().unwrap();
    let location = info.location.iter().find(|location| location.path == path);
    let text = location.map(Location::leading_comments).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
