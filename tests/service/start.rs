//! How a server starts, why it does not, and what it says when it stops.

use std::{
    ffi::OsStr,
    io::{BufRead as _, BufReader},
    net::Ipv4Addr,
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
    path::Path,
    process::{Command, Output, Stdio},
};

use agent_runtime::{
    client::{Client, Target},
    proto::{self, session_event::Kind},
};
use tempfile::TempDir;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::support::{self, PATIENCE, Server, get, reason, scripted};

/// What a server says that does not start. With `--listen` twice clap would refuse, so the address stands here.
fn refused(data: &Path, listen: &str, args: &[&str]) -> String {
    let output: Output = Command::new(env!("CARGO_BIN_EXE_agent-runtime"))
        .args(["serve", "--listen", listen, "--data"])
        .arg(data)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("the server's program");
    assert!(!output.status.success(), "it started at {listen} with {args:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "it said that it listens");
    String::from_utf8(output.stderr).expect("text")
}

#[test]
fn a_variable_that_is_no_text_does_not_keep_a_server_from_starting() {
    let data = TempDir::new().unwrap();
    let mut process = support::command(data.path())
        .env("NO_TEXT", OsStr::from_bytes(b"\xff"))
        .stdout(Stdio::piped())
        .spawn()
        .expect("the server's program");
    let mut said = String::new();
    BufReader::new(process.stdout.take().expect("piped")).read_line(&mut said).expect("text");
    let pid = rustix::process::Pid::from_child(&process);
    // One that did not start is gone already.
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    process.wait().expect("reaped");
    assert!(said.starts_with("listening on "), "{said}");
}

#[test]
fn nothing_is_open_to_others_by_mistake() {
    let data = TempDir::new().unwrap();
    let said = refused(data.path(), "0.0.0.0:0", &[]);
    assert!(said.contains("--tls-cert") && said.contains("--insecure"), "{said}");
    let said = refused(data.path(), "[::]:0", &[]);
    assert!(said.contains("--tls-cert"), "{said}");
    for args in [&["--no-auth"][..], &["--no-auth", "--insecure"]] {
        let said = refused(data.path(), "0.0.0.0:0", args);
        assert!(said.contains("--no-auth is for loopback addresses only"), "{said}");
    }
    assert_eq!(data.path().read_dir().unwrap().count(), 0, "a server that may not start wrote something");
}

#[test]
fn what_cannot_be_used_is_named() {
    let data = TempDir::new().unwrap();
    let said = refused(data.path(), "127.0.0.1:0", &["--tls-cert", "/no/cert.pem", "--tls-key", "/no/key.pem"]);
    assert!(said.contains("/no/cert.pem"), "{said}");
    let said = refused(data.path(), "127.0.0.1:0", &["--tls-cert", "/no/cert.pem"]);
    assert!(said.contains("--tls-key"), "{said}");
    let held = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let taken = held.local_addr().unwrap().to_string();
    let said = refused(data.path(), &taken, &[]);
    assert!(said.contains(&taken), "{said}");
    drop(held);
    std::fs::write(data.path().join("key"), "").unwrap();
    let said = refused(data.path(), "127.0.0.1:0", &[]);
    assert!(said.contains("key") && said.contains("empty"), "{said}");
}

#[tokio::test]
async fn the_second_server_of_a_folder_is_told_where_the_first_one_is() {
    let mut server = Server::start();
    let said = refused(server.data(), "127.0.0.1:0", &[]);
    assert!(said.contains(&server.addr), "{said}");
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    assert_eq!(
        support::last_turn(&support::run(&mut sessions, &id, "hello").await).status(),
        proto::TurnStatus::Completed
    );
    server.terminate();
    drop(Server::start_on(server.data(), &[]));
}

#[test]
fn the_key_is_the_owner_s_alone_and_stays() {
    let data = TempDir::new().unwrap();
    let first = Server::start_on(data.path(), &[]).key.clone();
    let mode = data.path().join("key").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(first.starts_with("ark_") && first.len() > 40, "{first}");
    assert_eq!(Server::start_on(data.path(), &[]).key, first, "a restart changed the key");
    assert_ne!(Server::start().key, first);
}

/// A certificate of its own for 127.0.0.1, made by openssl. `None`: this machine has none, which is told.
fn certificate(folder: &Path) -> Option<(String, String)> {
    let path = |name: &str| folder.join(name).display().to_string();
    let (certificate, key) = (path("cert.pem"), path("key.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout", &key, "-out", &certificate])
        .output();
    match made {
        Ok(made) => {
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
            Some((certificate, key))
        }
        Err(error) => {
            println!("SKIPPED: there is no openssl to make a certificate with: {error}");
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI must have openssl");
            None
        }
    }
}

#[tokio::test]
async fn over_tls_calls_and_streams_work_and_clear_text_does_not() {
    let folder = TempDir::new().unwrap();
    let Some((certificate, key)) = certificate(folder.path()) else { return };
    let server = Server::start_with(&["--tls-cert", &certificate, "--tls-key", &key], &[]);
    let pem = std::fs::read(&certificate).unwrap();
    let target = |scheme: &str| Target { addr: format!("{scheme}{}", server.addr), key: server.key.clone() };
    let client = Client::connect_trusting(target("https://"), Some(&pem)).await.expect("TLS");
    let request = proto::CreateSessionRequest { agent: "scripted".into(), ..Default::default() };
    let session = client.create_session(request).await.expect("created").session.unwrap();
    let request = proto::RunTurnRequest { session_id: session.session_id, text: "hello".into(), ..Default::default() };
    let events: Vec<_> = futures::StreamExt::collect(client.run_turn(request)).await;
    let events: Vec<_> = events.into_iter().map(|event| event.expect("no error")).collect();
    assert_eq!(support::last_turn(&events).status(), proto::TurnStatus::Completed);

    // Who gives a certificate wants TLS, and never tells the key in the clear.
    let client = Client::connect_trusting(target(""), Some(&pem)).await.expect("TLS");
    client.get_runtime_info(proto::GetRuntimeInfoRequest {}).await.expect("TLS");
    let refused = Client::connect_trusting(target("http://"), Some(&pem)).await.expect_err("not over TLS");
    assert_eq!(refused.code, Code::InvalidArgument);
    let unknown = Client::connect(target("https://")).await.expect_err("nobody's certificate");
    assert_eq!(unknown.code, Code::Unavailable);

    if let Ok(plain) = Client::connect(target("http://")).await {
        let error = plain.get_runtime_info(proto::GetRuntimeInfoRequest {}).await;
        error.expect_err("a server with TLS answers in clear text");
    }
}

#[tokio::test]
async fn a_stop_ends_turns_and_streams_in_order() {
    let data = TempDir::new().unwrap();
    let mut server = Server::start_on(data.path(), &[]);
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let text = r#"[{"say":"So far.","open":true},{"pause_ms":600000}]"#.into();
    let request = proto::RunTurnRequest { session_id: id.clone(), text, ..Default::default() };
    let mut stream = sessions.run_turn(request).await.expect("accepted").into_inner();
    let first = stream.message().await.expect("no error").expect("the acceptance");
    let mut events = Vec::new();
    while !events.iter().any(support::taken_up) {
        events.extend(stream.message().await.expect("no error").expect("more").events);
    }
    let stopping = std::thread::spawn(move || (server.terminate(), server));
    let status = loop {
        match tokio::time::timeout(PATIENCE, stream.message()).await.expect("no hang") {
            Ok(response) => events.extend(response.expect("not as if the turn were over").events),
            Err(status) => break status,
        }
    };
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "SHUTTING_DOWN"));
    assert!(status.get_details_retry_info().is_some(), "{status:?}");
    let last = events.last().expect("events");
    assert!(matches!(last.kind, Some(Kind::Bookmark(_))), "{last:?}");
    let cursor = support::check_ranges(first.sequence, &events);
    drop((stopping.join().expect("stopped"), stream, sessions));

    let server = Server::start_on(data.path(), &[]);
    let mut sessions = server.sessions().await;
    let mut stream = support::watch(&mut sessions, &id, Some(cursor)).await.expect("a watch");
    let turn = first.turn.expect("a turn");
    let rest = support::until_end_of(&mut stream, &turn.turn_id).await;
    support::check_ranges(cursor, &rest);
    let turn = support::last_turn(&rest);
    // Its agent ended it, as it was asked to.
    assert_eq!((turn.status(), &turn.error), (proto::TurnStatus::Interrupted, &None));
    assert_eq!(get(&mut sessions, &id).await.status(), proto::SessionStatus::Idle);
}
