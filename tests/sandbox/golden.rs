//! A walk through all that the provider asks of Modal, for whoever writes down what it sends: `scripts/modal.sh provider` compares
//! that with what the official SDKs send. By itself it is a test like the others.

use std::time::Duration;

use agent_runtime::{
    domain::{FileType, ModalGpu, ModalSettings, SandboxId, WorkspaceFile},
    sandbox::{Content, Exit, ImageProject, NewSandbox, Output, Provider, Root, Sandbox, inventory::Inventory as _},
    workspace::same_archive,
};
use futures::StreamExt as _;

use crate::{
    elsewhere::Elsewhere,
    rig::{NOW, give, prints, read_from, session, soon, start, stdout},
};

/// A file in an archive.
fn project() -> Vec<u8> {
    let file = WorkspaceFile {
        path: "file".to_owned(),
        file_type: FileType::File,
        size_bytes: 5,
        sha256: String::new(),
        mode: 0o644,
        modify_time: None,
        symlink_target: String::new(),
    };
    same_archive([&file], |_| Ok(b"text\n".to_vec())).expect("packed")
}

/// What the SDKs' scenario asks for.
fn asked(gpu: Option<ModalGpu>) -> NewSandbox {
    let mut new = NewSandbox::plain(SandboxId::mint(), session(), NOW);
    new.spec.modal = Some(ModalSettings {
        image: "node:20-slim".to_owned(),
        milli_cpu: 1000,
        memory_mib: 1024,
        timeout: Some(Duration::from_hours(1)),
        gpu,
        ..ModalSettings::default()
    });
    new
}

/// A program that is given input, and both of its outputs.
async fn a_program(sandbox: &dyn Sandbox) {
    let exec = start(sandbox, "cat; echo err >&2; exit 3").await;
    give(sandbox, &exec, b"line1\n").await;
    assert_eq!(stdout(sandbox, &exec).await, b"line1\n");
    assert_eq!(read_from(sandbox, &exec, Output::Stderr, 0).await, b"err\n");
    assert_eq!(sandbox.wait(&exec).await, Ok(Exit::Code(3)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_walk() {
    let Some(elsewhere) = Elsewhere::stand_in().await else { return };
    let mut new = asked(None);
    let project = ImageProject::new("tools", "echo it is >installed", project().into());
    new.contents.projects.push(project.clone());
    let sandbox = soon(elsewhere.modal.create(new.clone())).await.expect("created");
    assert_eq!(prints(&*sandbox, &format!("cat {}", ImageProject::note("tools"))).await.trim(), project.folder());
    assert_eq!(prints(&*sandbox, &format!("cat {}/*", project.folder())).await, "text\nit is\n");
    a_program(&*sandbox).await;

    let files = sandbox.files();
    let content = Content::Bytes("hello fs\n".into());
    files.write(Root::Workspace, "file", 0o644, content, 1024).await.expect("written");
    let bytes = files.read(Root::Workspace, "file", 0).await.expect("readable").bytes;
    let read: Vec<_> = bytes.map(|bytes| bytes.expect("bytes")).collect().await;
    assert_eq!(read.concat(), b"hello fs\n");

    assert!(elsewhere.modal.list().await.expect("listed").iter().any(|one| one.id.as_ref() == Some(&new.id)));
    sandbox.check().await.expect("alive");
    sandbox.terminate(NOW).await.expect("terminated");
    let back = soon(elsewhere.modal.resume(new.clone())).await.expect("brought back");
    assert_eq!(prints(&*back, "cat file").await, "hello fs\n");

    // Another server attaches.
    let other = elsewhere.another(&elsewhere.server);
    let attached = other.attach(&new.id, NOW).await.expect("there");
    assert_eq!(prints(&*attached, "echo re").await, "re\n");
    elsewhere.modal.destroy(&new.id).await.expect("destroyed");
    elsewhere.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_walk_with_a_gpu() {
    let Some(elsewhere) = Elsewhere::stand_in().await else { return };
    let new = asked(Some(ModalGpu { kind: "A10G".to_owned(), count: 1 }));
    let sandbox = soon(elsewhere.modal.create(new.clone())).await.expect("created");
    a_program(&*sandbox).await;
    sandbox.check().await.expect("alive");
    sandbox.terminate(NOW).await.expect("terminated");
    elsewhere.modal.destroy(&new.id).await.expect("destroyed");
    elsewhere.close().await;
}
