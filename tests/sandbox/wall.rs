//! What bubblewrap keeps programs from.

use std::fs;

use agent_runtime::{
    domain::Isolation,
    sandbox::{
        Error, Sandbox,
        local::{Local, LocalConfig, Wanted},
    },
};

use crate::rig::{NOW, Rig, config, give, prints, sandbox, sh, soon, stdout};

/// Runs a script with some of the host's directories shown.
async fn prints_with(sandbox: &dyn Sandbox, readable: &[&std::path::Path], script: &str) -> String {
    let mut spec = sh(script);
    spec.readable = readable.iter().map(|path| path.to_path_buf()).collect();
    sandbox.start(NOW, &spec).await.expect("started");
    give(sandbox, &spec.exec_id, b"").await;
    String::from_utf8(soon(stdout(sandbox, &spec.exec_id)).await).expect("text")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_data_directory_is_hidden() {
    let Some(rig) = Rig::namespace() else { return };
    let sandbox = sandbox(&rig.local).await;
    assert_eq!(sandbox.isolation(), Isolation::Namespace);
    let store = rig.data.path().join("store");
    let look = format!("cat {} 2>/dev/null || echo unseen", store.display());
    assert_eq!(prints(&*sandbox, &look).await, "unseen\n");
    // Nor when something around it is shown, in which case the rest is.
    let around = rig.data.path().parent().expect("a parent");
    let beside = tempfile::tempdir_in(around).expect("a directory");
    fs::write(beside.path().join("shown"), "shown\n").expect("written");
    let look = format!("{look}; cat {}", beside.path().join("shown").display());
    if around != std::path::Path::new("/tmp") {
        assert_eq!(prints_with(&*sandbox, &[around], &look).await, "unseen\nshown\n");
    }
    assert_eq!(prints_with(&*sandbox, &[beside.path()], &look).await, "unseen\nshown\n");
    // Nor by name, nor by another name.
    let link = beside.path().join("link");
    std::os::unix::fs::symlink(rig.data.path(), &link).expect("linked");
    for asked in [rig.data.path(), &rig.dir(&*sandbox), &link, std::path::Path::new("/")] {
        let mut spec = sh("exit 0");
        spec.readable = vec![asked.to_owned()];
        assert!(matches!(sandbox.start(NOW, &spec).await, Err(Error::Start { .. })), "{}", asked.display());
    }
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_shared_shows_in_what_is_hidden_and_nothing_else_does() {
    let outer = tempfile::tempdir().expect("a directory");
    let data = outer.path().join("data");
    let agents = data.join("cache/agents");
    fs::create_dir_all(&agents).expect("made");
    fs::write(data.join("store"), "SECRET").expect("written");
    fs::write(agents.join("tool"), "tool\n").expect("written");
    if Rig::namespace().is_none() {
        return;
    }
    let local = Local::new(LocalConfig {
        hidden: vec![data.clone()],
        shared: vec![data.join("cache")],
        ..config(&data.join("sandboxes"), Wanted::Namespace)
    })
    .expect("usable");
    let sandbox = sandbox(&local).await;
    let script = format!("cat {}/tool; cat {}/store || echo refused", agents.display(), data.display());
    // Alone, and when what holds the data directory is shown too.
    for readable in [vec![agents.as_path()], vec![outer.path(), agents.as_path()]] {
        assert_eq!(prints_with(&*sandbox, &readable, &script).await, "tool\nrefused\n", "{readable:?}");
    }
    local.shutdown().await.expect("shut down");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_hidden_stays_hidden_in_what_is_shown() {
    let outer = tempfile::tempdir().expect("a directory");
    let data = outer.path().join("data");
    fs::create_dir_all(&data).expect("made");
    fs::write(data.join("store"), "SECRET").expect("written");
    fs::write(outer.path().join("key"), "SECRET").expect("written");
    fs::write(outer.path().join("tool"), "tool\n").expect("written");
    if Rig::namespace().is_none() {
        return;
    }
    let local = Local::new(LocalConfig {
        hidden: vec![data.clone(), outer.path().join("key")],
        shared: Vec::new(),
        ..config(&data.join("sandboxes"), Wanted::Namespace)
    })
    .expect("usable");
    let sandbox = sandbox(&local).await;
    let script = format!(
        "cd {}; cat tool; ls -A data; cat key || echo refused; rm tool && echo removed",
        outer.path().display()
    );
    assert_eq!(prints_with(&*sandbox, &[outer.path()], &script).await, "tool\nrefused\n");
    local.shutdown().await.expect("shut down");
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_of_the_host_are_not_seen() {
    let Some(rig) = Rig::namespace() else { return };
    let sandbox = sandbox(&rig.local).await;
    let seen = prints(&*sandbox, "cat /proc/[0-9]*/comm").await;
    assert!(seen.lines().all(|name| matches!(name, "bwrap" | "sh" | "cat")), "{seen}");
    let own = std::process::id();
    assert_eq!(prints(&*sandbox, &format!("kill -0 {own} 2>/dev/null || echo none")).await, "none\n");
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_its_own_directories_are_writable() {
    let Some(rig) = Rig::namespace() else { return };
    let sandbox = sandbox(&rig.local).await;
    let script = "for dir in / /usr /usr/bin /etc /home /var /proc/sys/kernel /workspace /home/agent /tmp /var/tmp; do \
                  (echo x >$dir/written) 2>/dev/null && echo $dir; done; true";
    assert_eq!(prints(&*sandbox, script).await, "/workspace\n/home/agent\n/tmp\n/var/tmp\n");
    let dir = rig.dir(&*sandbox);
    assert!(["workspace", "home", "tmp"].iter().all(|own| dir.join(own).join("written").exists()));
    // It cannot give itself more.
    assert_eq!(prints(&*sandbox, "mount -o remount,rw / 2>/dev/null || echo refused").await, "refused\n");
    assert_eq!(prints(&*sandbox, "mknod /workspace/disk b 8 0 2>/dev/null || echo refused").await, "refused\n");
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn homes_are_private() {
    let Some(rig) = Rig::namespace() else { return };
    let (one, other) = (sandbox(&rig.local).await, sandbox(&rig.local).await);
    prints(&*one, "echo mine >/home/agent/file; echo mine >/tmp/file").await;
    assert_eq!(prints(&*other, "ls -A /home/agent /tmp /home").await, "/home:\nagent\n\n/home/agent:\n\n/tmp:\n");
    let look = format!("ls {} 2>/dev/null || echo unseen", rig.dir(&*one).display());
    assert_eq!(prints(&*other, &look).await, "unseen\n");
    // Nor the server's own home.
    let home = std::env::var("HOME").expect("a home");
    assert_eq!(prints(&*other, &format!("ls -A {home} 2>/dev/null | wc -l")).await, "0\n");
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_are_not_public_are_covered() {
    let Some(rig) = Rig::namespace() else { return };
    let sandbox = sandbox(&rig.local).await;
    // What the test may read and others may not, so only the cover keeps it from the program.
    for path in ["/etc/shadow", "/etc/gshadow", "/etc/ssl/private"] {
        let script = format!("if [ -d {path} ]; then ls -A {path}; else cat {path} 2>/dev/null; fi; true");
        assert_eq!(prints(&*sandbox, &script).await, "", "{path}");
    }
    assert!(prints(&*sandbox, "cat /etc/passwd").await.contains("root"));
    rig.close().await;
}

/// What bubblewrap itself would obey is for the program alone: loaded into bubblewrap, it would run outside.
#[tokio::test(flavor = "multi_thread")]
async fn the_wall_does_not_obey_the_program() {
    let Some(rig) = Rig::namespace() else { return };
    let sandbox = sandbox(&rig.local).await;
    let trace = rig.dir(&*sandbox).join("trace");
    let mut spec = sh("exit 0");
    spec.env =
        vec![("LD_DEBUG".to_owned(), "files".to_owned()), ("LD_DEBUG_OUTPUT".to_owned(), trace.display().to_string())];
    sandbox.start(NOW, &spec).await.expect("started");
    soon(sandbox.wait(&spec.exec_id)).await.expect("ended");
    let traced = fs::read_dir(rig.dir(&*sandbox))
        .expect("listed")
        .filter(|entry| entry.as_ref().is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("trace")));
    assert_eq!(traced.count(), 0);
    rig.close().await;
}
