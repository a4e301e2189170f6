//! Images and snapshots: what a sandbox begins with, and what is kept of it.

use agent_runtime::modal_wire::{
    client::{
        Image, ImageContextFile, ImageDeleteRequest, ImageGetOrCreateRequest, ImageJoinStreamingRequest, Sandbox,
        SandboxGetExitSnapshotRequest, SandboxTerminateRequest, sandbox_get_exit_snapshot_response::Outcome,
    },
    task_command_router::TaskSnapshotFilesystemRequest,
};
use tonic::Code;

use super::Rig;

#[tokio::test]
async fn layers_are_built_once_and_say_what_was_left_out() {
    let Some(mut rig) = Rig::new(&[]).await else { return };
    let (base, log) = rig.layer(None, &["FROM node:20-slim"]).await;
    assert!(log.contains("pulls nothing"), "{log}");
    let commands = [
        "FROM base",
        "ENV GREETING=hello",
        "RUN mkdir -p /opt/thing && echo $GREETING > /opt/thing/file",
        "RUN apt-get install -y cowsay",
        "WORKDIR /srv/app",
    ];
    let (image, log) = rig.layer(Some(&base), &commands).await;
    assert!(log.contains("apt-get install -y cowsay: SKIPPED"), "{log}");
    assert_eq!(rig.layer(Some(&base), &commands).await.0, image, "the same commands are the same image");
    assert_ne!(rig.layer(Some(&base), &commands[..4]).await.0, image);
    let mut sandbox = rig.sandbox(Sandbox { image_id: image, ..Default::default() }, &[]).await.unwrap();
    assert_eq!(sandbox.run("cat /opt/thing/file; echo $GREETING; pwd", "").await.1, "hello\nhello\n/srv/app\n");
    assert_eq!(rig.plain().await.run("ls /opt/thing 2>&1 | wc -l", "").await.1.trim(), "1", "images are apart");

    let file = ImageContextFile { filename: "a.txt".into(), data: "context".into() };
    let copy = ["FROM x".to_owned(), "COPY a.txt /data/".to_owned()];
    let image = Image { dockerfile_commands: copy.into(), context_files: vec![file], ..Default::default() };
    let request = ImageGetOrCreateRequest { image: Some(image), app_id: rig.app.clone(), ..Default::default() };
    let copied = rig.control.image_get_or_create(request).await.unwrap().into_inner().image_id;
    let mut sandbox = loop {
        // Asked for before it is built, an image is refused.
        match rig.sandbox(Sandbox { image_id: copied.clone(), ..Default::default() }, &[]).await {
            Ok(sandbox) => break sandbox,
            Err(refused) => assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}"),
        }
    };
    assert_eq!(sandbox.run("cat /data/a.txt", "").await.1, "context");
    rig.control.image_delete(ImageDeleteRequest { image_id: copied.clone() }).await.unwrap();
    let refused = rig.sandbox(Sandbox { image_id: copied, ..Default::default() }, &[]).await.err().expect("refused");
    assert_eq!(refused.code(), Code::NotFound);
}

#[tokio::test]
async fn a_build_that_fails_says_why() {
    let Some(mut rig) = Rig::new(&[]).await else { return };
    let image =
        Image { dockerfile_commands: vec!["FROM x".into(), "RUN echo oh; test 1 = 2".into()], ..Default::default() };
    let request = ImageGetOrCreateRequest { image: Some(image), app_id: rig.app.clone(), ..Default::default() };
    let image_id = rig.control.image_get_or_create(request.clone()).await.unwrap().into_inner().image_id;
    let join = ImageJoinStreamingRequest {
        image_id: image_id.clone(),
        timeout: 55.0,
        include_logs_for_finished: true,
        ..Default::default()
    };
    let mut stream = rig.control.image_join_streaming(join).await.unwrap().into_inner();
    let (mut log, mut result) = (String::new(), None);
    while let Some(message) = stream.message().await.unwrap() {
        log.extend(message.task_logs.into_iter().map(|line| line.data));
        result = message.result.or(result);
    }
    let result = result.expect("an end");
    assert!(log.contains("\noh\n"), "{log}");
    assert_eq!(result.status().as_str_name(), "GENERIC_STATUS_FAILURE");
    assert!(result.exception.contains("exited with 1"), "{}", result.exception);
    let again = rig.control.image_get_or_create(request).await.unwrap().into_inner().image_id;
    assert_ne!(again, image_id, "it is tried again");
}

#[tokio::test]
async fn a_snapshot_restores_all_that_could_be_written() {
    let Some(mut rig) = Rig::new(&[]).await else { return };
    let mut sandbox = rig.plain().await;
    let script = "cd /workspace && echo kept > a && chmod 600 a && ln -s a b && mkdir -p /made/here && echo x > /root/.x && \
                  echo t > /tmp/t && echo l > /usr/local/l";
    sandbox.run(script, "").await;
    let request = TaskSnapshotFilesystemRequest {
        task_id: sandbox.task.clone(),
        snapshot_id: uuid::Uuid::new_v4().to_string(),
        ttl_seconds: Some(-1),
        ..Default::default()
    };
    let unset = TaskSnapshotFilesystemRequest { ttl_seconds: None, ..request.clone() };
    assert_eq!(sandbox.router.task_snapshot_filesystem(unset).await.unwrap_err().code(), Code::InvalidArgument);
    let image = sandbox.router.task_snapshot_filesystem(request.clone()).await.unwrap().into_inner().image_id;
    sandbox.run("echo later > /workspace/a", "").await;
    let again = sandbox.router.task_snapshot_filesystem(request).await.unwrap().into_inner().image_id;
    assert_eq!(again, image, "the same snapshot is the same image");
    let mut restored = rig.sandbox(Sandbox { image_id: image, ..Default::default() }, &[]).await.unwrap();
    let script = "cat /workspace/b /root/.x /tmp/t /usr/local/l; stat -c %a /workspace/a; ls -d /made/here";
    assert_eq!(restored.run(script, "").await.1, "kept\nx\nt\nl\n600\n/made/here\n");

    let short = TaskSnapshotFilesystemRequest {
        task_id: restored.task.clone(),
        snapshot_id: "short".into(),
        ttl_seconds: Some(1),
        ..Default::default()
    };
    let image = restored.router.task_snapshot_filesystem(short).await.unwrap().into_inner().image_id;
    let refused = loop {
        let definition = Sandbox { image_id: image.clone(), ..Default::default() };
        if let Err(refused) = rig.sandbox(definition, &[]).await {
            break refused;
        }
    };
    assert!(refused.code() == Code::NotFound && refused.message().contains("expired"), "{refused}");
}

#[tokio::test]
async fn the_last_state_is_kept_where_that_was_asked_for() {
    let Some(mut rig) = Rig::new(&[]).await else { return };
    let experimental_options_v2 = [("enable_exit_snapshot".to_owned(), "true".to_owned())].into();
    let mut sandbox = rig.sandbox(Sandbox { experimental_options_v2, ..Default::default() }, &[]).await.unwrap();
    sandbox.run("echo last > /workspace/file", "").await;
    let ask = SandboxGetExitSnapshotRequest { sandbox_id: sandbox.id.clone(), timeout: 0.0 };
    let outcome = rig.control.sandbox_get_exit_snapshot_v2(ask.clone()).await.unwrap().into_inner().outcome;
    assert!(matches!(outcome, Some(Outcome::Pending(_))), "{outcome:?}");
    let end = SandboxTerminateRequest { sandbox_id: sandbox.id.clone() };
    rig.control.sandbox_terminate_v2(end).await.unwrap();
    let wait = SandboxGetExitSnapshotRequest { timeout: 30.0, ..ask };
    let outcome = rig.control.sandbox_get_exit_snapshot_v2(wait).await.unwrap().into_inner().outcome;
    let Some(Outcome::Success(success)) = outcome else { panic!("{outcome:?}") };
    let mut restored = rig.sandbox(Sandbox { image_id: success.image_id, ..Default::default() }, &[]).await.unwrap();
    assert_eq!(restored.run("cat /workspace/file", "").await.1, "last\n");

    let plain = rig.plain().await;
    let ask = SandboxGetExitSnapshotRequest { sandbox_id: plain.id, timeout: 0.0 };
    let refused = rig.control.sandbox_get_exit_snapshot_v2(ask).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
}
