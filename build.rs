//! Compiles the contract with protox, so that nobody needs `protoc`, and keeps its comments for reflection.

use std::{env, path::PathBuf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files([
        "agentruntime/v1/session_service.proto",
        "agentruntime/v1/workspace_service.proto",
        "agentruntime/v1/profile_service.proto",
        "agentruntime/v1/runtime_service.proto",
        "agentruntime/v1/error_reason.proto",
    ])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    std::fs::write(out.join("agentruntime.binpb"), compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure()
        // Maps in a fixed order: two requests that mean the same are the same bytes.
        .btree_map(".")
        .bytes(".")
        .codec_path("crate::proto::Codec")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
