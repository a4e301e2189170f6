//! What a supervisor says to whom: every greeting that is not for its sandbox is refused, and what it does not know too.

use agent_runtime::{
    domain::Isolation,
    supervisor::{
        folder::Folder,
        frame::Frames,
        identity::Identity,
        proc,
        protocol::{Answer, Ask, Exec, Go, Hello, Read, Refusal, Refused, Reply, Request, Signal, VERSION},
        socket,
    },
};

use crate::{
    outlive::tiers,
    rig::{soon, start, stdout, until},
};

/// A greeting that is right.
fn hello(folder: &Folder) -> Hello {
    let identity = Identity::load(folder).expect("readable").expect("there");
    Hello { version: VERSION, nonce: identity.nonce, boot_id: proc::boot_id().expect("told"), epoch: 1 }
}

async fn say(folder: &Folder, asks: &[Ask]) -> Frames {
    let mut frames = Frames::new(socket::connect(folder).await.expect("listening"));
    frames.send(asks).await.expect("sent");
    frames
}

async fn answer(frames: &mut Frames) -> Option<Reply> {
    soon(frames.next::<Answer>()).await.expect("a message").map(|answer| answer.reply.expect("known"))
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_means_this_sandbox_is_let_in() {
    for rig in tiers() {
        let sandbox = crate::rig::sandbox(&rig.local).await;
        let exec = start(&*sandbox, "echo ready; exec cat").await;
        until(&*sandbox, &exec, "ready").await;
        let folder = Folder::at(rig.dir(&*sandbox));
        let right = hello(&folder);
        let wrong = [
            Hello { nonce: "another".to_owned(), ..right.clone() },
            Hello { nonce: String::new(), ..right.clone() },
            Hello { boot_id: "another".to_owned(), ..right.clone() },
            Hello { version: 0, ..right.clone() },
        ];
        // What comes with it is not done.
        let signal = Request::Signal(Signal { exec_id: exec.to_string(), number: 9 });
        for wrong in wrong.map(|hello| Ask::from(Request::Hello(hello))).into_iter().chain([signal.clone().into()]) {
            let mut frames = say(&folder, &[wrong.clone(), signal.clone().into()]).await;
            let refused = answer(&mut frames).await;
            assert!(
                matches!(&refused, Some(Reply::Refused(Refused { refusal: Some(Refusal::Stranger(_)) }))),
                "{wrong:?}: {refused:?}"
            );
            // Hung up, which may show as a reset because the rest was not read.
            assert!(!matches!(soon(frames.next::<Answer>()).await, Ok(Some(_))), "{wrong:?}");
        }
        assert_eq!(sandbox.write_stdin(crate::rig::NOW, &exec, 0, b"alive", true).await, Ok(5));
        assert_eq!(soon(stdout(&*sandbox, &exec)).await, b"ready\nalive");
        rig.close().await;
    }
}

/// Whoever is newer is served as far as this build goes.
#[tokio::test(flavor = "multi_thread")]
async fn the_lower_version_is_spoken() {
    for rig in tiers() {
        let sandbox = crate::rig::sandbox(&rig.local).await;
        let exec = start(&*sandbox, "echo ready; exec cat").await;
        until(&*sandbox, &exec, "ready").await;
        let folder = Folder::at(rig.dir(&*sandbox));
        for (given, spoken) in [(1, 1), (VERSION, VERSION), (VERSION + 98, VERSION)] {
            let right = Hello { version: given, ..hello(&folder) };
            // Something that no version so far knows.
            let mut frames = say(&folder, &[Request::Hello(right.clone()).into(), Ask { request: None }]).await;
            let Some(Reply::Welcome(welcome)) = answer(&mut frames).await else { panic!("version {given} is refused") };
            assert_eq!((welcome.version, welcome.epoch), (spoken, 1));
            assert_eq!((welcome.nonce, welcome.boot_id), (right.nonce, right.boot_id));
            assert!(!welcome.hardening.is_empty());
            let refused = answer(&mut frames).await;
            assert!(matches!(refused, Some(Reply::Refused(Refused { refusal: Some(Refusal::Unsupported(_)) }))));
            // The connection is as good as before.
            let status = Request::StdinStatus(Exec { exec_id: exec.to_string() });
            frames.send(&[Ask::from(status)]).await.expect("sent");
            assert!(matches!(answer(&mut frames).await, Some(Reply::Given(_))));
        }
        rig.close().await;
    }
}

/// Nothing that is sent can end a supervisor or reach another sandbox's files.
#[tokio::test(flavor = "multi_thread")]
async fn nonsense_does_no_harm() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    for rig in tiers() {
        let sandbox = crate::rig::sandbox(&rig.local).await;
        let exec = start(&*sandbox, "echo ready; exec cat").await;
        until(&*sandbox, &exec, "ready").await;
        let folder = Folder::at(rig.dir(&*sandbox));
        let noise = crate::rig::noise(4096);
        for nonsense in [&b"\xFF\xFF\xFF\xFF\xFF\xFF"[..], b"\x02\x0A", b"GET / HTTP/1.1\r\n\r\n", &noise, b""] {
            let mut stream = socket::connect(&folder).await.expect("listening");
            stream.write_all(nonsense).await.ok();
            stream.shutdown().await.ok();
            let mut rest = Vec::new();
            soon(stream.read_to_end(&mut rest)).await.ok();
        }
        let greeting = Ask::from(Request::Hello(hello(&folder)));
        for (exec_id, fd) in [("../../precious", 1), ("", 1), (exec.as_str(), 0), (exec.as_str(), 3)] {
            let read = Request::Read(Read { exec_id: exec_id.to_owned(), fd, offset: 0 });
            let mut frames = say(&folder, &[greeting.clone(), read.into(), Request::Go(Go {}).into()]).await;
            answer(&mut frames).await;
            assert!(matches!(answer(&mut frames).await, Some(Reply::Refused(_))), "{exec_id:?} {fd}");
        }
        assert_eq!(sandbox.write_stdin(crate::rig::NOW, &exec, 0, b"alive", true).await, Ok(5));
        assert_eq!(soon(stdout(&*sandbox, &exec)).await, b"ready\nalive");
        rig.close().await;
    }
}

/// What plain programs are kept from, where this kernel can.
/// A directory that programs may not write to, wherever the tests themselves lie.
fn outside() -> tempfile::TempDir {
    let home = std::env::var("HOME").unwrap_or_default();
    let candidates = [env!("CARGO_TARGET_TMPDIR"), &home, "/srv", "/opt"];
    let allowed = ["/tmp", "/var/tmp", "/dev", "/proc"];
    let mut elsewhere = candidates
        .iter()
        .map(std::path::Path::new)
        .filter(|path| path.canonicalize().is_ok_and(|real| allowed.iter().all(|allowed| !real.starts_with(allowed))));
    elsewhere.find_map(|path| tempfile::tempdir_in(path).ok()).expect("a directory outside of those for all")
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_programs_write_in_their_own_folder_only() {
    let rig = crate::rig::Rig::process();
    let sandbox = crate::rig::sandbox(&rig.local).await;
    assert_eq!(sandbox.isolation(), Isolation::Process);
    let exec = start(&*sandbox, "echo ready; exec cat").await;
    until(&*sandbox, &exec, "ready").await;
    let folder = Folder::at(rig.dir(&*sandbox));
    let mut frames = say(&folder, &[Request::Hello(hello(&folder)).into()]).await;
    let Some(Reply::Welcome(welcome)) = answer(&mut frames).await else { panic!("refused") };
    assert!(welcome.hardening.iter().any(|given_up| given_up == "new privileges"), "{:?}", welcome.hardening);
    let status =
        crate::rig::prints(&*sandbox, "grep -E 'NoNewPrivs|Max core' /proc/self/status /proc/self/limits").await;
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    let limits: Vec<&str> = status.lines().filter(|line| line.contains("core")).collect();
    assert!(limits[0].split_whitespace().rev().skip(1).take(2).all(|limit| limit == "0"), "{limits:?}");

    if !welcome.hardening.iter().any(|given_up| given_up.contains("Landlock")) {
        println!("SKIPPED Landlock: this kernel has none");
        rig.close().await;
        return;
    }
    // Not below a directory for temporary files, and the tests' own user may write there.
    let outside = outside();
    std::fs::write(outside.path().join("file"), "kept").expect("written");
    let script = format!(
        "cd {}; (echo x >new) 2>/dev/null && echo made; (echo x >file) 2>/dev/null && echo changed; \
         rm file 2>/dev/null && echo removed; cat file; \
         for dir in \"$HOME\" \"$TMPDIR\" /tmp /var/tmp; do f=$(mktemp -p $dir) && rm $f && echo own; done; \
         echo x >/dev/null && echo device; cd \"$HOME\" && git init -q . && echo repository",
        outside.path().display()
    );
    assert_eq!(crate::rig::prints(&*sandbox, &script).await, "keptown\nown\nown\nown\ndevice\nrepository\n");
    rig.close().await;
}
