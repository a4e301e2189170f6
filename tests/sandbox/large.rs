//! Messages that are longer than the 4 MiB that gRPC allows where nobody says otherwise, both ways: Modal's are up to 100 MiB.

use agent_runtime::{
    domain::{FileType, SandboxId, WorkspaceFile},
    modal_wire::{
        ControlClient,
        client::{
            AppGetOrCreateRequest, AuthTokenGetRequest, Image, ImageGetOrCreateRequest, ImageJoinStreamingRequest,
            ObjectCreationType, Sandbox, SandboxCreateV2Request, SandboxTag,
        },
    },
    sandbox::{
        Content, ImageProject, NewSandbox, Output, Provider as _, Root, inventory::Inventory as _, ledger::Ledger as _,
    },
    workspace::same_archive,
};
use futures::StreamExt as _;
use tonic::{Request, metadata::MetadataValue, transport::Endpoint};

use crate::{
    elsewhere::Elsewhere,
    rig::{NOW, give, noise, prints, read_from, session, soon, start, stdout},
};

/// More than one message holds where nobody says otherwise.
const LARGE: usize = 6 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn output_files_and_images_may_be_large() {
    let Some(elsewhere) = Elsewhere::start_with(&["--chunk", "8388608"]).await else { return };
    let whole = noise(LARGE);
    let mut new = NewSandbox::plain(SandboxId::mint(), session(), NOW);
    let file = WorkspaceFile {
        path: "large".to_owned(),
        file_type: FileType::File,
        size_bytes: i64::try_from(whole.len()).expect("small"),
        sha256: String::new(),
        mode: 0o644,
        modify_time: None,
        symlink_target: String::new(),
    };
    let project = same_archive([&file], |_| Ok(whole.clone())).expect("packed");
    assert!(project.len() > LARGE);
    let project = ImageProject::new("tools", "", project.into());
    new.contents.projects.push(project.clone());
    // One request that builds an image.
    let sandbox = soon(elsewhere.modal.create(new)).await.expect("created");
    assert_eq!(prints(&*sandbox, &format!("wc -c <{}/large", project.folder())).await.trim(), LARGE.to_string());

    // One answer of output, once all of it is there.
    let exec = start(&*sandbox, "cat").await;
    give(&*sandbox, &exec, &whole).await;
    sandbox.wait(&exec).await.expect("ended");
    assert!(soon(stdout(&*sandbox, &exec)).await == whole);
    assert!(soon(read_from(&*sandbox, &exec, Output::Stdout, 123)).await == whole[123..]);

    let files = sandbox.files();
    let content = Content::Bytes(whole.clone().into());
    soon(files.write(Root::Workspace, "file", 0o644, content, 8 << 20)).await.expect("written");
    let bytes = soon(files.read(Root::Workspace, "file", 0)).await.expect("readable").bytes;
    let read: Vec<_> = soon(bytes.map(|bytes| bytes.expect("bytes")).collect()).await;
    assert!(read.concat() == whole);
    elsewhere.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_may_be_large() {
    let Some(elsewhere) = Elsewhere::start().await else { return };
    let [url, id, secret] = [0, 1, 2].map(|at| elsewhere.emulator.env[at].1.clone());
    let channel = Endpoint::from_shared(url).expect("a URL").connect().await.expect("connected");
    let mut control = ControlClient::new(channel);
    let request = |token: &str| {
        let pairs = [
            ("x-modal-client-type", "9"),
            ("x-modal-client-version", "1.0.0"),
            ("x-modal-token-id", &id),
            ("x-modal-token-secret", &secret),
            ("x-modal-auth-token", token),
        ];
        let mut request = Request::new(());
        for (name, value) in pairs {
            request.metadata_mut().insert(name, MetadataValue::try_from(value).expect("ASCII"));
        }
        request
    };
    let token = control.auth_token_get(request("").map(|()| AuthTokenGetRequest {})).await.expect("a token");
    let token = token.into_inner().token;
    let app = AppGetOrCreateRequest {
        app_name: "agent-runtime".to_owned(),
        object_creation_type: ObjectCreationType::CreateIfMissing.into(),
        ..AppGetOrCreateRequest::default()
    };
    let app_id = control.app_get_or_create(request(&token).map(|()| app)).await.expect("an app").into_inner().app_id;
    let image = ImageGetOrCreateRequest {
        image: Some(Image { dockerfile_commands: vec!["FROM debian:12".to_owned()], ..Image::default() }),
        app_id: app_id.clone(),
        ..ImageGetOrCreateRequest::default()
    };
    let image = control.image_get_or_create(request(&token).map(|()| image)).await.expect("an image").into_inner();
    let join = ImageJoinStreamingRequest { image_id: image.image_id.clone(), timeout: 10.0, ..Default::default() };
    let mut built = control.image_join_streaming(request(&token).map(|()| join)).await.expect("a log").into_inner();
    while built.message().await.expect("it goes on").is_some() {}

    let tag = |name: &str, value: String| SandboxTag { tag_name: name.to_owned(), tag_value: value };
    for at in 0..3 {
        let definition = Sandbox { image_id: image.image_id.clone(), timeout_secs: 600, ..Sandbox::default() };
        let create = SandboxCreateV2Request {
            app_id: app_id.clone(),
            definition: Some(definition),
            tags: vec![
                tag("agent-runtime-owner", elsewhere.book.owner().to_owned()),
                tag("agent-runtime-sandbox", format!("sbx_{at}")),
                tag("padding", "x".repeat(LARGE / 3)),
            ],
            ..SandboxCreateV2Request::default()
        };
        control.sandbox_create_v2(request(&token).map(|()| create)).await.expect("created");
    }
    let listed = soon(elsewhere.modal.list()).await.expect("listed");
    assert_eq!(listed.len(), 3);
    elsewhere.close().await;
}
