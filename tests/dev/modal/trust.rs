//! Who may call, tokens that expire, and calls that fail on purpose.

use agent_runtime::modal_wire::{
    ControlClient,
    client::{
        AppGetOrCreateRequest, RpcRetryPolicy, RpcStatus, Sandbox, SandboxCreateV2Request,
        SandboxGetCommandRouterAccessRequest, SandboxGetFromNameRequest, SandboxWaitRequest,
        sandbox_get_command_router_access_request::Target,
    },
    task_command_router::TaskExecStdioReadRequest,
};
use prost::Message as _;
use tonic::Code;

use super::{Rig, sends};

#[tokio::test]
async fn callers_say_who_they_are_and_what_they_are() {
    let Some(mut rig) = Rig::new(&[]).await else { return };
    let sandbox = rig.plain().await;
    let (id, secret) = (rig.emulator.env[1].1.clone(), rig.emulator.env[2].1.clone());
    let kind = [("x-modal-client-type", "1"), ("x-modal-client-version", "1.6.4")];
    let account = [("x-modal-token-id", id.as_str()), ("x-modal-token-secret", secret.as_str())];
    let lists: [(&[(&'static str, &str)], Code); 4] = [
        (&account, Code::FailedPrecondition),
        (&kind, Code::Unauthenticated),
        (&[kind[0], kind[1], account[0], ("x-modal-token-secret", "wrong")], Code::Unauthenticated),
        (&[kind[0], kind[1], account[0], account[1]], Code::NotFound),
    ];
    for (metadata, code) in lists {
        let mut control = ControlClient::with_interceptor(rig.channel.clone(), sends(metadata));
        let refused =
            control.app_get_or_create(AppGetOrCreateRequest { app_name: "none".into(), ..Default::default() });
        assert_eq!(refused.await.unwrap_err().code(), code, "{metadata:?}");
    }
    // The calls of the second version need the account's other token as well.
    let all = [kind[0], kind[1], account[0], account[1]];
    let mut control = ControlClient::with_interceptor(rig.channel.clone(), sends(&all));
    let wait = SandboxWaitRequest { sandbox_id: sandbox.id.clone(), timeout: 0.0 };
    assert_eq!(control.sandbox_wait_v2(wait).await.unwrap_err().code(), Code::Unauthenticated);

    let other = rig.plain().await;
    let mut stranger = sandbox.clone();
    stranger.task = other.task.clone();
    let refused = stranger.router.task_exec_start(stranger.request(&["true"])).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "a token is good for its task");
}

#[tokio::test]
async fn tokens_expire_and_are_given_again() {
    let Some(mut rig) = Rig::new(&[]).await else { return };
    let mut sandbox = rig.plain().await;
    let exec = sandbox.start(&["sh", "-c", "echo begun; read line; echo $line"]).await;
    let (task_id, exec_id) = (sandbox.task.clone(), exec.clone());
    let request = TaskExecStdioReadRequest { task_id, exec_id, ..Default::default() };
    let mut stream = sandbox.router.task_exec_stdio_read(request).await.unwrap().into_inner();
    assert_eq!(&stream.message().await.unwrap().unwrap().data[..], b"begun\n");
    rig.emulator.expire_tokens();
    assert_eq!(sandbox.write(&exec, 0, b"x\n", false).await.unwrap_err().code(), Code::Unauthenticated);
    let target = Some(Target::SandboxId(sandbox.id.clone()));
    let refused = rig.control.sandbox_get_command_router_access(SandboxGetCommandRouterAccessRequest { target }).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unauthenticated, "the account's token has expired too");

    let (_, mut control) = Rig::connect(&rig.emulator).await;
    let target = Some(Target::SandboxId(sandbox.id.clone()));
    let access = control.sandbox_get_command_router_access(SandboxGetCommandRouterAccessRequest { target }).await;
    sandbox.router = rig.router(&access.unwrap().into_inner().jwt);
    sandbox.write(&exec, 0, b"x\n", false).await.unwrap();
    assert_eq!(&stream.message().await.unwrap().unwrap().data[..], b"x\n", "a stream that was begun goes on");
}

#[tokio::test]
async fn calls_fail_where_they_are_told_to() {
    let Some(mut rig) = Rig::new(&["--faults", "AppGetOrCreate=RESOURCE_EXHAUSTED+0.5@0*0"]).await else { return };
    let image = rig.image().await;
    rig.emulator.set_faults(
        "SandboxWaitV2=RESOURCE_EXHAUSTED+0.5@0*1, SandboxCreateV2=UNAVAILABLE@1*1, TaskExecStdioRead=UNAVAILABLE@1*2",
    );
    // The answer is lost, and the sandbox is there.
    let definition = Sandbox { name: Some("lost".into()), image_id: image.clone(), ..Default::default() };
    let request =
        SandboxCreateV2Request { app_id: rig.app.clone(), definition: Some(definition), ..Default::default() };
    assert_eq!(rig.control.sandbox_create_v2(request.clone()).await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(rig.control.sandbox_create_v2(request).await.unwrap_err().code(), Code::AlreadyExists);
    let by_name =
        SandboxGetFromNameRequest { sandbox_name: "lost".into(), app_name: "test".into(), ..Default::default() };
    let id = rig.control.sandbox_get_from_name_v2(by_name).await.unwrap().into_inner().sandbox_id;
    assert_eq!(rig.emulator.running().len(), 1);

    let wait = SandboxWaitRequest { sandbox_id: id, timeout: 0.0 };
    let refused = rig.control.sandbox_wait_v2(wait.clone()).await.unwrap_err();
    let details = RpcStatus::decode(refused.details()).unwrap();
    let policy = RpcRetryPolicy::decode(&details.details[0].value[..]).unwrap();
    assert_eq!((refused.code(), policy.retry_after_secs), (Code::ResourceExhausted, 0.5));
    rig.control.sandbox_wait_v2(wait).await.unwrap();

    let mut sandbox = rig.sandbox(Sandbox { image_id: image, ..Default::default() }, &[]).await.unwrap();
    let exec = sandbox.start(&["seq", "30000"]).await;
    sandbox.wait(&exec).await.unwrap();
    let mut all = Vec::new();
    let mut cuts = 0;
    loop {
        let (task_id, exec_id, offset) = (sandbox.task.clone(), exec.clone(), all.len() as u64);
        let request = TaskExecStdioReadRequest { task_id, exec_id, offset, ..Default::default() };
        let mut stream = sandbox.router.task_exec_stdio_read(request).await.unwrap().into_inner();
        let end = loop {
            match stream.message().await {
                Ok(Some(message)) => all.extend_from_slice(&message.data),
                end => break end,
            }
        };
        match end {
            Ok(_) => break,
            Err(status) => assert_eq!(status.code(), Code::Unavailable),
        }
        cuts += 1;
    }
    let whole: String = (1..=30_000).fold(String::new(), |text, number| text + &format!("{number}\n"));
    assert_eq!((cuts, String::from_utf8(all).unwrap()), (2, whole));
    let calls = rig.emulator.calls();
    assert_eq!(calls["TaskExecStdioRead"], serde_json::json!({ "made": 3, "failed": { "UNAVAILABLE@1": 2 } }));

    // The token ends in the middle of an answer, and is good for nothing any more.
    rig.emulator.set_faults("TaskExecStdioRead=EXPIRED@1*1");
    let (task_id, exec_id) = (sandbox.task.clone(), exec.clone());
    let request = TaskExecStdioReadRequest { task_id, exec_id, ..Default::default() };
    let mut stream = sandbox.router.task_exec_stdio_read(request.clone()).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().is_some());
    assert_eq!(stream.message().await.unwrap_err().code(), Code::Unauthenticated);
    assert_eq!(sandbox.router.task_exec_stdio_read(request).await.unwrap_err().code(), Code::Unauthenticated);
}
