//! What `run` asks the person in front of it, on a terminal of its own: what is shown, what is typed, and ^C.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    process::{Child, Command},
    sync::mpsc,
    time::{Duration, Instant},
};

use agent_runtime::proto::{ResolvePermissionRequest, Turn, TurnStatus};
use rustix::{
    process::Signal,
    pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt},
};
use serde_json::{Value, json};

use crate::{
    asked::ask,
    support::{PATIENCE, Server, get, scripted, send, snapshot},
};

/// As shells have it: 128 + SIGINT.
const INTERRUPTED: Option<i32> = Some(130);

/// `run` at a terminal.
struct Terminal {
    process: Child,
    keys: File,
    shown: mpsc::Receiver<Vec<u8>>,
    /// What was shown and not yet looked for.
    text: String,
}

impl Terminal {
    /// In this session.
    fn run(server: &Server, session: &str, script: &Value, more: &[&str]) -> Self {
        Self::new(server, &[&["--session", session, &script.to_string()], more].concat())
    }

    fn new(server: &Server, args: &[&str]) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let keys = openpt(flags).expect("a terminal");
        grantpt(&keys).expect("granted");
        unlockpt(&keys).expect("unlocked");
        let screen = ioctl_tiocgptpeer(&keys, flags).expect("its other side");
        // A session of its own, so that ^C goes to whoever is at this terminal.
        let mut command = Command::new("setsid");
        command.args(["--ctty", env!("CARGO_BIN_EXE_agent-runtime"), "run"]).args(args);
        command.args(["--addr", &server.addr, "--key", &server.key]).env("NO_COLOR", "1");
        command.stdin(screen.try_clone().expect("a copy")).stdout(screen.try_clone().expect("a copy")).stderr(screen);
        let process = command.spawn().expect("it runs");
        drop(command);
        let keys = File::from(keys);
        let mut reader = keys.try_clone().expect("a copy");
        let (sender, shown) = mpsc::channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // A terminal that nobody is at any more cannot be read.
            while let Ok(read) = reader.read(&mut bytes) {
                if sender.send(bytes[..read].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self { process, keys, shown, text: String::new() }
    }

    /// Waits until this is shown, after what was waited for before, and returns what stood before it.
    fn shows(&mut self, what: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.text.find(what) {
                let rest = self.text.split_off(at + what.len());
                return std::mem::replace(&mut self.text, rest);
            }
            let left = until.saturating_duration_since(Instant::now());
            match self.shown.recv_timeout(left) {
                Ok(bytes) => self.text.push_str(&String::from_utf8_lossy(&bytes)),
                Err(error) => panic!("{what:?} is not shown ({error}), but {:?}", self.text),
            }
        }
    }

    fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("somebody is there");
    }

    /// Waits until it takes ^C as a wish, and no longer as its end.
    fn hears(&self) {
        let until = Instant::now() + PATIENCE;
        let caught = || {
            let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap_or_default();
            let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or("0").trim();
            u64::from_str_radix(mask, 16).is_ok_and(|mask| mask & 0b10 != 0)
        };
        while !caught() {
            assert!(Instant::now() < until, "it does not listen for signals");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for its end, and says with which code.
    fn ends(&mut self) -> Option<i32> {
        self.leaves().or_else(|| panic!("it does not end: {:?}", self.text))
    }

    /// The same; `None`: it does not end, and was killed.
    fn leaves(&mut self) -> Option<i32> {
        let until = Instant::now() + Duration::from_secs(20);
        while Instant::now() < until {
            if let Some(status) = self.process.try_wait().expect("a child") {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.process.kill().expect("it is there");
        self.process.wait().expect("reaped").code()
    }
}

/// The turn does not end by itself.
fn pause() -> Value {
    json!({ "pause_ms": 600_000 })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_person_at_the_terminal_is_asked_and_can_end_it() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let items = json!([
        { "question": "Which one?", "options": [{ "label": "Red" }, { "label": "Blue" }] },
        { "question": "Why?" },
    ]);
    let mut terminal = Terminal::run(&server, &id, &json!([ask(), ask(), { "question": items }, pause()]), &[]);
    terminal.shows("allow Bash? [y/n, a: always] ");
    terminal.types("what?\n");
    terminal.shows("allow Bash? [y/n, a: always] ");
    terminal.types("y\n");
    terminal.shows("It ran.");
    terminal.shows("allow Bash? [y/n, a: always] ");
    terminal.types("n\n");
    terminal.shows("It did not run.");
    assert!(terminal.shows("a number, a label or a text: ").contains("2. Blue"));
    terminal.types("2\n");
    assert!(terminal.shows("a number, a label or a text: ").contains("Why?"));
    terminal.types("it is calm\n");
    let answered = async {
        while snapshot(&mut sessions, &id).await.0.questions.iter().any(|question| question.resolution.is_none()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, answered).await.expect("the answers arrive");
    terminal.types("\x03");
    assert_eq!(terminal.ends(), INTERRUPTED);
    let state = snapshot(&mut sessions, &id).await.0;
    assert_eq!(state.turns[0].status(), TurnStatus::Interrupted);
    let answers = &state.questions[0].resolution.as_ref().expect("answered").answers;
    assert_eq!((answers[0].choices.join(","), answers[1].text.as_str()), ("Blue".to_owned(), "it is calm"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_typed_for_a_request_that_is_over_says_nothing_about_the_next() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let mut terminal = Terminal::run(&server, &id, &json!([ask(), ask()]), &[]);
    terminal.shows("allow Bash? [y/n, a: always] ");
    let open = snapshot(&mut sessions, &id).await.0.permissions.remove(0).permission_id;
    let request = ResolvePermissionRequest {
        session_id: id.clone(),
        permission_id: open,
        option_id: "allow_once".into(),
        ..Default::default()
    };
    sessions.resolve_permission(request).await.expect("answered elsewhere");
    terminal.shows("answered elsewhere");
    terminal.types("y\n");
    terminal.shows("allow Bash? [y/n, a: always] ");
    terminal.types("n\n");
    terminal.shows("It did not run.");
    assert_eq!(terminal.ends(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_interrupt_leaves_also_a_server_that_does_not_answer() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let mut terminal = Terminal::run(&server, &id, &json!([{ "say": "Hello." }, pause()]), &[]);
    terminal.shows("Hello.");
    server.signal(Signal::STOP);
    terminal.types("\x03");
    std::thread::sleep(Duration::from_secs(1));
    terminal.types("\x03");
    let ended = terminal.leaves();
    server.signal(Signal::CONT);
    assert_eq!(ended, INTERRUPTED);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_leaves_a_server_that_does_not_create_the_session() {
    let server = Server::start();
    server.signal(Signal::STOP);
    let mut terminal = Terminal::new(&server, &["--agent", "scripted", "hello"]);
    terminal.hears();
    terminal.types("\x03");
    let ended = terminal.leaves();
    server.signal(Signal::CONT);
    assert_eq!(ended, INTERRUPTED);
}

/// The server sleeps while the message and the wish to end it are on their way, so nothing can be known of the turn yet.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_before_the_first_event_is_not_for_the_turn_of_another_caller() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let (others, _) = send(&mut sessions, &id, &json!([pause()]).to_string()).await.expect("accepted");
    server.signal(Signal::STOP);
    let mut terminal = Terminal::run(&server, &id, &json!([pause()]), &["--busy", "queue"]);
    terminal.hears();
    terminal.types("\x03");
    std::thread::sleep(Duration::from_millis(300));
    server.signal(Signal::CONT);
    terminal.ends();
    let turns = snapshot(&mut sessions, &id).await.0.turns;
    assert_eq!(turns.iter().map(Turn::status).collect::<Vec<_>>(), [TurnStatus::Running, TurnStatus::Cancelled]);
    let active = get(&mut sessions, &id).await.active_turn.expect("it goes on");
    assert_eq!(active.turn_id, others.turn_id);
}
