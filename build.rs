//! Compiles the contract with protox, so that nobody needs `protoc`, and keeps its comments for reflection; and, apart from it,
//! the part of Modal's API that one of the providers speaks.

use std::{env, path::PathBuf};

/// Kinds of event too large to stand inside the event: one delta would take up as much memory as a whole snapshot.
const LARGE_KINDS: [&str; 15] = [
    "block_start",
    "block_update",
    "block_complete",
    "turn_updated",
    "conversation_updated",
    "turn_queued",
    "session_created",
    "session_updated",
    "status_changed",
    "sandbox_changed",
    "permission_requested",
    "permission_resolved",
    "question_requested",
    "question_resolved",
    "snapshot_chunk",
];

/// Responses that carry events: encoded once for all who watch.
const ENCODED_RESPONSES: [&str; 2] = ["WatchSessionResponse", "RunTurnResponse"];

/// Messages of Modal's that hold secrets or tokens: `src/modal_wire` says what may be shown of them.
const SECRET_MESSAGES: [&str; 6] = [
    ".modal.client.StringMap",
    ".modal.client.SecretGetOrCreateRequest",
    ".modal.client.AuthTokenGetResponse",
    ".modal.client.CommandRouterAccess",
    ".modal.client.SandboxGetCommandRouterAccessResponse",
    ".modal.client.TaskGetCommandRouterAccessResponse",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=third_party/modal");
    println!("cargo:rerun-if-changed=migrations");
    contract()?;
    modal()
}

fn contract() -> Result<(), Box<dyn std::error::Error>> {
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
    let mut config = tonic_prost_build::Config::new();
    // The codec tells requests from responses by their names.
    config.enable_type_names();
    let mut builder = tonic_prost_build::configure();
    for kind in LARGE_KINDS {
        builder = builder.boxed(format!(".agentruntime.v1.SessionEvent.kind.{kind}"));
    }
    let files = compiler.file_descriptor_set();
    builder
        // Maps in a fixed order: two requests that mean the same are the same bytes.
        .btree_map(".")
        .bytes(".")
        .boxed(".agentruntime.v1.Session.active_turn")
        .codec_path("crate::proto::Codec")
        .build_server(false)
        .compile_fds_with_config(files.clone(), config)?;
    // The server's side apart, because it sends some responses as bytes that are encoded already.
    let services = out.join("services");
    std::fs::create_dir_all(&services)?;
    let mut builder = tonic_prost_build::configure();
    for response in ENCODED_RESPONSES {
        builder = builder.extern_path(format!(".agentruntime.v1.{response}"), "crate::proto::Encoded");
    }
    builder
        .extern_path(".agentruntime.v1", "crate::proto")
        .codec_path("crate::proto::Codec")
        .build_client(false)
        .out_dir(services)
        .compile_fds(files)?;
    Ok(())
}

/// Both sides of Modal's API, into a folder of its own: the provider calls it, the emulator serves it.
fn modal() -> Result<(), Box<dyn std::error::Error>> {
    let mut compiler = protox::Compiler::new(["third_party/modal"])?;
    compiler.include_imports(true);
    compiler.open_files(["modal_proto/api.proto", "modal_proto/task_command_router.proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?).join("modal");
    std::fs::create_dir_all(&out)?;
    let mut config = tonic_prost_build::Config::new();
    // Details of a status are told apart by their names.
    config.enable_type_names().skip_debug(SECRET_MESSAGES);
    tonic_prost_build::configure()
        .btree_map(".")
        .bytes(".")
        .out_dir(out)
        .compile_fds_with_config(compiler.file_descriptor_set(), config)?;
    Ok(())
}
