//! Lives and ends of emulated sandboxes, their names, tags and lists.

use agent_runtime::modal_wire::client::{
    GpuConfig, NetworkAccess, ObjectCreationType, Resources, Sandbox, SandboxCreateRequest, SandboxGetFromNameRequest,
    SandboxGetTaskIdRequest, SandboxListRequest, SandboxTag, SandboxTerminateRequest, SandboxWaitRequest,
    SecretGetOrCreateRequest, TaskGetCommandRouterAccessRequest, generic_result::GenericStatus,
    network_access::NetworkAccessType,
};
use tonic::Code;

use super::{Guest, Rig};

impl Rig {
    /// How a sandbox ended, once it has.
    async fn end(&mut self, id: &str) -> (GenericStatus, i32) {
        for _ in 0..6 {
            let request = SandboxWaitRequest { sandbox_id: id.to_owned(), timeout: 10.0 };
            if let Some(result) = self.control.sandbox_wait_v2(request).await.unwrap().into_inner().result {
                return (result.status(), result.exitcode);
            }
        }
        panic!("{id} does not end");
    }

    async fn terminate(&mut self, id: &str) {
        let request = SandboxTerminateRequest { sandbox_id: id.to_owned() };
        self.control.sandbox_terminate_v2(request).await.unwrap();
    }
}

fn entry(argv: &[&str]) -> Sandbox {
    Sandbox { entrypoint_args: argv.iter().map(|argument| (*argument).to_owned()).collect(), ..Default::default() }
}

#[tokio::test]
async fn every_end_is_told_as_what_it_is() {
    let Some(mut rig) = Rig::new(&[]).await else { return };
    let ended = [
        (entry(&["true"]), (GenericStatus::Success, 0)),
        (entry(&["sh", "-c", "exit 7"]), (GenericStatus::Failure, 7)),
        (entry(&["/no/such"]), (GenericStatus::InitFailure, 1)),
        (Sandbox { timeout_secs: 1, ..Default::default() }, (GenericStatus::Timeout, 124)),
        (Sandbox { idle_timeout_secs: Some(1), ..Default::default() }, (GenericStatus::IdleTimeout, 137)),
    ];
    for (definition, wanted) in ended {
        let sandbox = rig.sandbox(definition.clone(), &[]).await.unwrap();
        assert_eq!(rig.end(&sandbox.id).await, wanted, "{definition:?}");
    }
    let mut dies = rig.plain().await;
    let exec = dies.start(&["sleep", "1000"]).await;
    rig.emulator.kill_sandbox(&dies.id);
    assert_eq!(rig.end(&dies.id).await.0, GenericStatus::InternalFailure);
    for refused in [dies.wait(&exec).await.unwrap_err(), dies.read(&exec, 0).await.unwrap_err()] {
        assert_eq!(refused.code(), Code::NotFound, "nothing of it is kept");
    }
    assert!(rig.emulator.running().is_empty());
}

#[tokio::test]
async fn a_running_program_keeps_a_sandbox_from_being_idle() {
    let Some(mut rig) = Rig::new(&[]).await else { return };
    // Long enough that a busy machine starts the program in time.
    let definition = Sandbox { idle_timeout_secs: Some(4), ..Default::default() };
    let mut sandbox = rig.sandbox(definition, &[]).await.unwrap();
    let exec = sandbox.start(&["sleep", "5"]).await;
    sandbox.wait(&exec).await.expect("longer than the limit");
    assert_eq!(rig.end(&sandbox.id).await.0, GenericStatus::IdleTimeout);
}

#[tokio::test]
async fn an_end_that_is_asked_for_comes_later_and_frees_the_name() {
    let Some(mut rig) = Rig::new(&["--linger", "3000"]).await else { return };
    let named = || Sandbox { name: Some("one".into()), ..Default::default() };
    let sandbox = rig.sandbox(named(), &[]).await.unwrap();
    let taken = rig.sandbox(named(), &[]).await.err().expect("the name is taken");
    assert_eq!(taken.code(), Code::AlreadyExists);
    rig.terminate(&sandbox.id).await;
    assert_eq!(rig.emulator.running().len(), 1, "it has not ended yet");
    assert_eq!(rig.end(&sandbox.id).await, (GenericStatus::Terminated, 137));
    let again = rig.sandbox(named(), &[]).await.unwrap();
    let mut by_name = SandboxGetFromNameRequest {
        sandbox_name: "one".into(),
        app_name: "test".into(),
        include_terminated: true,
        ..Default::default()
    };
    let found = rig.control.sandbox_get_from_name_v2(by_name.clone()).await.unwrap().into_inner();
    assert_eq!(found.sandbox_id, again.id);
    rig.terminate(&again.id).await;
    rig.end(&again.id).await;
    assert_eq!(rig.control.sandbox_get_from_name_v2(by_name.clone()).await.unwrap().into_inner().sandbox_id, again.id);
    by_name.include_terminated = false;
    assert_eq!(rig.control.sandbox_get_from_name_v2(by_name).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn lists_are_paged_and_show_what_has_all_the_tags() {
    let Some(mut rig) = Rig::new(&["--page", "2"]).await else { return };
    let image = rig.image().await;
    let mut made = Vec::new();
    for number in 0..5 {
        let tags = [("owner", "me"), ("number", if number % 2 == 0 { "even" } else { "odd" })];
        made.push(rig.sandbox(Sandbox { image_id: image.clone(), ..Default::default() }, &tags).await.unwrap().id);
    }
    let tag = |name: &str, value: &str| SandboxTag { tag_name: name.into(), tag_value: value.into() };
    rig.terminate(&made[1]).await;
    rig.end(&made[1]).await;
    let newest_first = |ids: &[usize]| ids.iter().map(|index| made[*index].clone()).collect::<Vec<_>>();
    let lists = [
        (vec![tag("owner", "me")], false, newest_first(&[4, 3, 2, 0])),
        (vec![tag("owner", "me")], true, newest_first(&[4, 3, 2, 1, 0])),
        (vec![tag("owner", "me"), tag("number", "even")], true, newest_first(&[4, 2, 0])),
        (vec![tag("owner", "you")], true, vec![]),
    ];
    for (tags, include_finished, wanted) in lists {
        let mut request = SandboxListRequest { app_id: rig.app.clone(), tags, include_finished, ..Default::default() };
        let mut found = Vec::new();
        loop {
            let page = rig.control.sandbox_list_v2(request.clone()).await.unwrap().into_inner().sandboxes;
            let Some(last) = page.last() else { break };
            assert!(page.len() <= 2);
            request.before_timestamp = last.created_at;
            found.extend(page.into_iter().map(|sandbox| sandbox.id));
        }
        assert_eq!(found, wanted);
    }
}

#[tokio::test]
async fn a_killed_emulator_takes_all_with_it() {
    let Some(mut rig) = Rig::new(&[]).await else { return };
    let mut sandbox = rig.sandbox(entry(&["sleep", "1000"]), &[]).await.unwrap();
    sandbox.start(&["sh", "-c", "setsid sleep 1000 & sleep 1000"]).await;
    assert!(!rig.emulator.processes().is_empty());
    rig.emulator.kill();
    // They notice by a socket that is closed.
    while !rig.emulator.processes().is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

#[tokio::test]
async fn what_is_not_emulated_is_refused_by_name() {
    let Some(mut rig) = Rig::new(&[]).await else { return };
    let gpu = Resources { gpu_config: Some(GpuConfig { count: 1, gpu_type: "T4".into() }), ..Default::default() };
    let refused = [
        (Sandbox { resources: Some(gpu), ..Default::default() }, Code::InvalidArgument, "GPU"),
        (Sandbox { name: Some("a b".into()), ..Default::default() }, Code::InvalidArgument, "name"),
        (Sandbox { timeout_secs: 86_401, ..Default::default() }, Code::InvalidArgument, "timeout_secs"),
        (Sandbox { image_id: "im-unknown".into(), ..Default::default() }, Code::NotFound, "im-unknown"),
        (Sandbox { enable_snapshot: true, ..Default::default() }, Code::Unimplemented, "enable_snapshot"),
        (Sandbox { proxy_id: Some("pr-1".into()), ..Default::default() }, Code::Unimplemented, "proxy_id"),
    ];
    for (definition, code, what) in refused {
        let refused = rig.sandbox(definition, &[]).await.err().expect("refused");
        assert!(refused.code() == code && refused.message().contains(what), "{refused}");
    }
    let blocked = NetworkAccess { network_access_type: NetworkAccessType::Blocked.into(), ..Default::default() };
    let definition = Sandbox { network_access: Some(blocked), ..Default::default() };
    let mut blocked = rig.sandbox(definition, &[]).await.unwrap();
    assert_eq!(blocked.run("tail -n +3 /proc/net/dev | cut -d: -f1", "").await.1.trim(), "lo");
}

#[tokio::test]
async fn the_first_version_takes_kept_secrets_and_gpus() {
    let Some(mut rig) = Rig::new(&[]).await else { return };
    let secret = SecretGetOrCreateRequest {
        object_creation_type: ObjectCreationType::Ephemeral.into(),
        env_dict: [("A".to_owned(), "kept".to_owned())].into(),
        ..Default::default()
    };
    let secret_id = rig.control.secret_get_or_create(secret).await.unwrap().into_inner().secret_id;
    let gpu = GpuConfig { count: 1, gpu_type: "T4".into() };
    let definition = Sandbox {
        image_id: rig.image().await,
        secret_ids: vec![secret_id],
        resources: Some(Resources { gpu_config: Some(gpu), ..Default::default() }),
        ..Default::default()
    };
    let request = SandboxCreateRequest { app_id: rig.app.clone(), definition: Some(definition), ..Default::default() };
    let id = rig.control.sandbox_create(request).await.unwrap().into_inner().sandbox_id;
    assert_eq!(id.len(), "sb-".len() + 22, "as clients tell the first version");
    let ask = SandboxGetTaskIdRequest { sandbox_id: id.clone(), ..Default::default() };
    assert_eq!(rig.control.sandbox_get_task_id_v2(ask.clone()).await.unwrap_err().code(), Code::NotFound);
    let task = rig.control.sandbox_get_task_id(ask).await.unwrap().into_inner().task_id.unwrap();
    let access = TaskGetCommandRouterAccessRequest { task_id: task.clone() };
    let jwt = rig.control.task_get_command_router_access(access).await.unwrap().into_inner().jwt;
    let mut sandbox = Guest { id: id.clone(), task, router: rig.router(&jwt) };
    assert_eq!(sandbox.run("echo $A", "").await.1, "kept\n");
    let all = SandboxListRequest { app_id: rig.app.clone(), ..Default::default() };
    assert_eq!(rig.control.sandbox_list_v2(all).await.unwrap().into_inner().sandboxes[0].id, id);
    rig.control.sandbox_terminate(SandboxTerminateRequest { sandbox_id: id }).await.unwrap();
}
