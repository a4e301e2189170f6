//! Programs in emulated sandboxes: what they see, what they write, and how they end.

use agent_runtime::modal_wire::{client::Sandbox, task_command_router::task_exec_wait_response::ExitStatus};
use tonic::Code;

use super::{Rig, source};

#[tokio::test]
async fn programs_see_a_root_of_their_own_and_each_other() {
    let Some(mut rig) = Rig::new(&[]).await else { return };
    let (mut one, mut other) = (rig.plain().await, rig.plain().await);
    let script = "id -u; echo $HOME; cd /workspace && echo mine > file && echo here > /made && cat /made; \
                  touch /usr/bin/x 2>/dev/null || echo read-only; agent-runtime --version > /dev/null && echo itself; ls /proc/1/exe > /dev/null; pwd";
    let (end, said) = one.run(script, "").await;
    assert_eq!((end, said.as_str()), (ExitStatus::Code(0), "0\n/root\nhere\nread-only\nitself\n/workspace\n"));
    assert_eq!(other.run("ls /workspace /made 2>&1; true", "").await.1.lines().count(), 2);
    // One pid namespace for all programs of a sandbox, and another one for the next sandbox.
    let sleeper = one.start(&["sh", "-c", "echo $$; exec sleep 1000"]).await;
    let pid = loop {
        let (_, pids) = one.run("pidof sleep || true", "").await;
        if let Some(pid) = pids.split_whitespace().next() {
            break pid.to_owned();
        }
    };
    assert_eq!(other.run("pidof sleep || echo none", "").await.1, "none\n");
    one.run(&format!("kill -TERM {pid}"), "").await;
    assert_eq!(one.wait(&sleeper).await.unwrap(), ExitStatus::Signal(15));
    assert_eq!(one.read(&sleeper, 0).await.unwrap(), format!("{pid}\n").into_bytes());
}

#[tokio::test]
async fn output_is_kept_and_read_from_any_offset() {
    let Some(mut rig) = Rig::new(&[]).await else { return };
    let mut sandbox = rig.plain().await;
    let exec = sandbox.start(&["sh", "-c", "seq 100000; read line; echo $line"]).await;
    let mut reader = sandbox.clone();
    let (id, follow) = (exec.clone(), reader.clone());
    let following = async move {
        let mut follow = follow;
        follow.read(&id, 0).await.unwrap()
    };
    let writing = async {
        sandbox.write(&exec, 0, b"last\n", false).await.unwrap();
    };
    let (all, ()) = tokio::join!(following, writing);
    let text = String::from_utf8(all.clone()).unwrap();
    assert!(text.starts_with("1\n2\n") && text.ends_with("100000\nlast\n"));
    for offset in [0, 1, 65_535, 65_536, all.len() - 1, all.len(), all.len() + 5] {
        let rest = reader.read(&exec, offset as u64).await.unwrap();
        assert_eq!(rest, all[offset.min(all.len())..], "from {offset}");
    }
}

#[tokio::test]
async fn a_start_is_made_once_and_says_what_is_wrong_with_it() {
    let Some(mut rig) = Rig::new(&[]).await else { return };
    let mut sandbox = rig.plain().await;
    let request = sandbox.request(&["sh", "-c", "echo run >> /root/runs"]);
    for _ in 0..3 {
        sandbox.router.task_exec_start(request.clone()).await.unwrap();
    }
    sandbox.wait(&request.exec_id).await.unwrap();
    assert_eq!(sandbox.run("cat /root/runs", "").await.1, "run\n");
    let mut other = request.clone();
    other.command_args.push("x".into());
    assert_eq!(sandbox.router.task_exec_start(other).await.unwrap_err().code(), Code::AlreadyExists);

    let long = "x".repeat(65_536);
    for (argv, workdir) in
        [(vec![], None), (vec!["sh", &long], None), (vec!["/no/such"], None), (vec!["true"], Some("tmp"))]
    {
        let mut request = sandbox.request(&argv);
        request.workdir = workdir.map(str::to_owned);
        let refused = sandbox.router.task_exec_start(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    }
    assert_eq!(sandbox.wait("unknown").await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn later_variables_win_and_reach_one_program_only() {
    let Some(mut rig) = Rig::new(&[]).await else { return };
    let mut sandbox = rig.plain().await;
    let mut request = sandbox.request(&["sh", "-c", "echo $A $B $C; pwd"]);
    request.env = [("A".to_owned(), "map".to_owned()), ("C".to_owned(), "map".to_owned())].into();
    request.secret_sources = vec![source(&[("A", "first"), ("B", "first")]), source(&[("A", "second")])];
    request.workdir = Some("/tmp".into());
    sandbox.router.task_exec_start(request.clone()).await.unwrap();
    assert_eq!(sandbox.read(&request.exec_id, 0).await.unwrap(), b"second first map\n/tmp\n");
    assert_eq!(sandbox.run("echo $A $B $C; pwd", "").await.1, "\n/root\n");
    let mut elsewhere = rig.sandbox(Sandbox { workdir: Some("/srv".into()), ..Default::default() }, &[]).await.unwrap();
    assert_eq!(elsewhere.run("pwd", "").await.1, "/srv\n");
}

#[tokio::test]
async fn a_program_that_takes_too_long_is_killed_with_its_group() {
    let Some(mut rig) = Rig::new(&[]).await else { return };
    let mut sandbox = rig.plain().await;
    let mut request = sandbox.request(&["sh", "-c", "sleep 1000 & sleep 1000"]);
    request.timeout_secs = Some(1);
    sandbox.router.task_exec_start(request.clone()).await.unwrap();
    assert_eq!(sandbox.wait(&request.exec_id).await.unwrap(), ExitStatus::Signal(9));
    assert_eq!(sandbox.read(&request.exec_id, 0).await.unwrap(), b"", "nobody holds its output any more");
    assert_eq!(sandbox.run("pidof sleep || echo none", "").await.1, "none\n");
}

#[tokio::test]
async fn the_file_tools_do_what_clients_expect_of_them() {
    const TOOLS: &str = "/__modal/.bin/modal-sandbox-fs-tools";
    let Some(mut rig) = Rig::new(&[]).await else { return };
    let mut sandbox = rig.plain().await;
    let ok = ExitStatus::Code(0);
    let write = r#"{"WriteFile":{"path":"/workspace/a/b.txt"}}"#;
    assert_eq!(sandbox.run_argv(&[TOOLS, write], "hello").await, (ok, String::new()));
    let read = r#"{"ReadFile":{"path":"/workspace/a/b.txt"}}"#;
    assert_eq!(sandbox.run_argv(&[TOOLS, read], "").await, (ok, "hello".to_owned()));
    sandbox.run("cd /workspace/a && chmod 640 b.txt && ln -s b.txt link && mkdir sub", "").await;
    let (_, listed) = sandbox.run_argv(&[TOOLS, r#"{"ListFiles":{"path":"/workspace/a"}}"#], "").await;
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let names: Vec<_> =
        listed.as_array().unwrap().iter().map(|entry| (entry["name"].clone(), entry["type"].clone())).collect();
    assert_eq!(
        serde_json::json!(names),
        serde_json::json!([["b.txt", "file"], ["link", "symlink"], ["sub", "directory"]])
    );
    assert_eq!(listed[1]["symlink_target"], "b.txt");
    let (_, stat) = sandbox.run_argv(&[TOOLS, r#"{"Stat":{"path":"/workspace/a/b.txt"}}"#], "").await;
    let stat: serde_json::Value = serde_json::from_str(&stat).unwrap();
    assert_eq!((&stat["size"], &stat["mode"], &stat["owner"]), (&5.into(), &0o640.into(), &"root".into()), "{stat}");

    let kinds = [
        (r#"{"ReadFile":{"path":"/workspace/none"}}"#, "NotFound"),
        (r#"{"ReadFile":{"path":"/workspace/a"}}"#, "IsDirectory"),
        (r#"{"WriteFile":{"path":"/workspace/a"}}"#, "IsDirectory"),
        (r#"{"WriteFile":{"path":"/workspace/a/b.txt/c"}}"#, "AlreadyExists"),
        (r#"{"ListFiles":{"path":"/workspace/a/b.txt"}}"#, "NotDirectory"),
        (r#"{"MakeDirectory":{"path":"/workspace/a","parents":false}}"#, "PathAlreadyExists"),
        (r#"{"MakeDirectory":{"path":"/workspace/x/y","parents":false}}"#, "NotFound"),
        (r#"{"Remove":{"path":"/workspace/a","recursive":false}}"#, "DirectoryNotEmpty"),
        (r#"{"Remove":{"path":"/workspace/none","recursive":true}}"#, "NotFound"),
        (r#"{"WriteFile":{"path":"/usr/bin/x"}}"#, "PermissionDenied"),
        (r#"{"Sing":{"path":"/"}}"#, "InvalidCommand"),
    ];
    for (command, kind) in kinds {
        let (end, said) = sandbox.run(&format!("{TOOLS} '{command}' 2>&1"), "").await;
        let said: serde_json::Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{command}: {said}"));
        assert_eq!(
            (end, &said["error_kind"], &said["version"]),
            (ExitStatus::Code(1), &kind.into(), &1.into()),
            "{command}"
        );
    }

    let watch = sandbox
        .start(&[TOOLS, r#"{"Watch":{"path":"/workspace","recursive":true,"filter":["Create"],"timeout_secs":null}}"#])
        .await;
    // Three directories are watched before anything happens in them.
    sandbox.run("until [ $(cat /proc/[0-9]*/fdinfo/* 2> /dev/null | grep -c ^inotify) -ge 3 ]; do :; done", "").await;
    sandbox.run("echo x > /workspace/a/sub/new; rm /workspace/a/sub/new", "").await;
    sandbox.write(&watch, 0, b"", true).await.unwrap();
    assert_eq!(sandbox.wait(&watch).await.unwrap(), ok);
    let events = String::from_utf8(sandbox.read(&watch, 0).await.unwrap()).unwrap();
    assert_eq!(events, "{\"event_type\":\"Create\",\"paths\":[\"/workspace/a/sub/new\"]}\n");
    // Its input stays open: it is over with its time, and says nothing of that.
    let command = r#"{"Watch":{"path":"/workspace","recursive":true,"filter":null,"timeout_secs":1}}"#;
    let watch = sandbox.start(&[TOOLS, command]).await;
    assert_eq!((sandbox.wait(&watch).await.unwrap(), sandbox.read(&watch, 0).await.unwrap()), (ok, Vec::new()));
    assert_eq!(sandbox.run_argv(&[TOOLS, r#"{"Remove":{"path":"/workspace/a","recursive":true}}"#], "").await.0, ok);
}
