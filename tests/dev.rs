//! The stand-ins: the model endpoint with the real Claude Code CLI in front of it, the emulator of Modal, and the scripted
//! agent with its parser behind it.

#[path = "dev/asks.rs"]
mod asks;
#[path = "support/claude.rs"]
mod claude;
#[path = "dev/count.rs"]
mod count;
#[path = "support/emulator.rs"]
mod emulator;
#[path = "dev/interrupt.rs"]
mod interrupt;
#[path = "dev/modal/mod.rs"]
mod modal;

use std::{
    collections::BTreeSet,
    io::{Cursor, Read as _, Write as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
    process::Stdio,
    sync::LazyLock,
    time::Duration,
};

use agent_runtime::{
    agent::{self, Action, Draft, Outcome, Parser, Setup, package},
    cli::install::install_claude_code,
    dev::{
        model::{self, Handle, Kind, Script},
        scripted_agent,
    },
    domain::{Agent, BlockId, Content, ContentPart, ToolOutput},
};
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

async fn endpoint(script: Script) -> Handle {
    model::serve(TcpListener::bind("127.0.0.1:0").await.unwrap(), script).unwrap()
}

fn script(steps: Value) -> Script {
    Script::parse(&json!({ "steps": steps }).to_string()).unwrap()
}

// ---- the real CLI -----------------------------------------------------------------------------------------------------

/// One run of the CLI: each prompt is given after the result of the one before.
struct Run {
    lines: Vec<Value>,
    stderr: String,
    workspace: tempfile::TempDir,
}

impl Run {
    async fn of(program: &Path, handle: &Handle, prompts: &[&str]) -> Self {
        Self::talk(program, handle, prompts, None).await
    }

    /// As [`Self::of`]; the prompt with this index is interrupted once its answer has begun.
    async fn talk(program: &Path, handle: &Handle, prompts: &[&str], interrupted: Option<usize>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (home, workspace) = (tempfile::tempdir().unwrap(), dir);
        let mut child = tokio::process::Command::new(program)
            .args(["-p", "--input-format", "stream-json", "--output-format", "stream-json", "--verbose"])
            .args(["--include-partial-messages", "--replay-user-messages", "--permission-mode", "bypassPermissions"])
            .current_dir(workspace.path())
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .env("HOME", home.path())
            .envs(handle.env())
            .env("IS_SANDBOX", "1")
            .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
            .env("DISABLE_AUTOUPDATER", "1")
            .env("DISABLE_TELEMETRY", "1")
            .env("DISABLE_ERROR_REPORTING", "1")
            .env("CLAUDE_CODE_MAX_RETRIES", "2")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut stderr = child.stderr.take().unwrap();
        let talk = async {
            let mut lines = Vec::new();
            for (index, prompt) in prompts.iter().enumerate() {
                let message = json!({ "role": "user", "content": [{ "type": "text", "text": prompt }] });
                let line = json!({ "type": "user", "uuid": uuid::Uuid::new_v4().to_string(), "message": message });
                stdin.write_all(format!("{line}\n").as_bytes()).await.unwrap();
                while let Some(line) = stdout.next_line().await.unwrap() {
                    let line: Value = serde_json::from_str(&line).unwrap();
                    let ended = line["type"] == "result";
                    if interrupted == Some(index) && line["event"]["type"] == "content_block_start" {
                        let request = json!({ "subtype": "interrupt" });
                        let line = json!({ "type": "control_request", "request_id": "r", "request": request });
                        stdin.write_all(format!("{line}\n").as_bytes()).await.unwrap();
                    }
                    lines.push(line);
                    if ended {
                        break;
                    }
                }
            }
            drop(stdin);
            while let Some(line) = stdout.next_line().await.unwrap() {
                lines.push(serde_json::from_str(&line).unwrap());
            }
            let mut said = String::new();
            stderr.read_to_string(&mut said).await.unwrap();
            child.wait().await.unwrap();
            (lines, said)
        };
        let (lines, stderr) =
            tokio::time::timeout(Duration::from_secs(90), talk).await.expect("the CLI ends its turns");
        Self { lines, stderr, workspace }
    }

    fn of_type<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.lines.iter().filter(move |line| line["type"] == kind)
    }

    fn results(&self) -> Vec<&Value> {
        self.of_type("result").collect()
    }

    /// Blocks of that type in messages of that role.
    fn blocks<'a>(&'a self, role: &'a str, kind: &str) -> Vec<&'a Value> {
        self.of_type(role)
            .filter_map(|line| line["message"]["content"].as_array())
            .flatten()
            .filter(|block| block["type"] == kind)
            .collect()
    }
}

#[tokio::test]
async fn the_demo_writes_a_program_and_runs_it() {
    let Some(program) = claude::installed().await else { return };
    let handle = endpoint(model::demo_script()).await;
    let run = Run::of(&program, &handle, &["Show me something.", "And again."]).await;

    let file = std::fs::read_to_string(run.workspace.path().join("hello.sh")).unwrap();
    assert!(file.starts_with("#!/bin/sh\n"), "{file}");
    let outputs = run.blocks("user", "tool_result");
    let printed: Vec<_> = outputs.iter().filter(|block| block["content"].to_string().contains("338350")).collect();
    assert_eq!(printed.len(), 2, "both turns ran the program: {outputs:?} {}", run.stderr);
    assert!(printed.iter().all(|block| block["is_error"] == false));
    let results = run.results();
    assert_eq!(results.len(), 2);
    for result in results {
        assert_eq!((&result["subtype"], &result["is_error"]), (&json!("success"), &json!(false)), "{result}");
        assert!(result["result"].as_str().unwrap().contains("The squares of 1 to 100 add up to 338350."), "{result}");
    }
    assert_eq!(run.blocks("assistant", "thinking").len(), 2);

    let asked = handle.requests();
    let calls: Vec<_> = asked.iter().filter(|seen| seen.kind == Kind::Call).collect();
    assert_eq!(calls.iter().map(|seen| seen.answers).collect::<Vec<_>>(), [0, 1, 2, 0, 1, 2]);
    let workspace = run.workspace.path().canonicalize().unwrap();
    assert!(calls.iter().all(|seen| seen.cwd.as_deref() == workspace.to_str()), "{calls:?}");
    let started = run.of_type("stream_event").filter(|line| line["event"]["type"] == "message_start");
    let ids: BTreeSet<_> = started.map(|line| line["event"]["message"]["id"].to_string()).collect();
    assert_eq!(ids.len(), 6, "each answer has an id of its own");
    handle.shutdown().await;
}

#[tokio::test]
async fn refusals_reach_the_cli_and_retries_do_not_advance_the_script() {
    let Some(program) = claude::installed().await else { return };
    let handle = endpoint(script(json!([
        { "when": "login", "status": 401, "message": "invalid x-api-key" },
        { "when": "bad", "status": 400, "message": "no such thing" },
        { "when": "busy", "status": 529, "times": 2, "retry_after": 0 },
        { "answer": [{ "tool": "Bash", "input": { "command": "echo $((6*7)) > answer" } }] },
        { "status": 529, "times": 1 },
        { "answer": [{ "text": "The answer is there." }] },
    ])))
    .await;
    let (login, bad, busy) = tokio::join!(
        Run::of(&program, &handle, &["try the login"]),
        Run::of(&program, &handle, &["something bad"]),
        Run::of(&program, &handle, &["are you BUSY?"]),
    );

    for (run, status) in [(&login, 401), (&bad, 400)] {
        let results = run.results();
        assert_eq!(results.len(), 1, "{:?}", run.stderr);
        assert_eq!(results[0]["is_error"], true, "{}", results[0]);
        assert_eq!(results[0]["api_error_status"], status, "{}", results[0]);
    }
    let results = busy.results();
    assert_eq!((results.len(), &results[0]["is_error"]), (1, &json!(false)), "{}", results[0]);
    assert_eq!(results[0]["result"], "The answer is there.");
    assert_eq!(std::fs::read_to_string(busy.workspace.path().join("answer")).unwrap(), "42\n");
    let asked = handle.requests();
    let statuses = |prompt: &str| -> Vec<(usize, u16)> {
        let mine = asked.iter().filter(|seen| seen.kind == Kind::Call && seen.prompt == prompt);
        mine.map(|seen| (seen.answers, seen.status)).collect()
    };
    assert_eq!(statuses("are you BUSY?"), [(0, 529), (0, 529), (0, 200), (1, 529), (1, 200)]);
    assert!(statuses("try the login").iter().all(|(_, status)| *status == 401));
    assert!(statuses("something bad").iter().all(|(_, status)| *status == 400));
    handle.shutdown().await;
}

#[tokio::test]
async fn an_interrupted_answer_is_not_given_again() {
    let Some(program) = claude::installed().await else { return };
    let handle = endpoint(script(json!([
        { "answer": [{ "count": 1000, "pace_ms": 1000 }] },
        { "answer": [{ "text": "Something else." }] },
    ])))
    .await;
    let run = Run::talk(&program, &handle, &["Count.", "Stop that."], Some(0)).await;
    let results = run.results();
    assert_eq!(results.len(), 2, "{}", run.stderr);
    assert_eq!(results[0]["subtype"], "error_during_execution", "{}", results[0]);
    assert_eq!(results[1]["result"], "Something else.", "{}", results[1]);
    handle.shutdown().await;
}

#[tokio::test]
async fn a_subagent_is_answered_by_its_own_prompt() {
    let Some(program) = claude::installed().await else { return };
    let input = json!({ "description": "Count", "prompt": "Count the sheep.", "subagent_type": "general-purpose",
                        "run_in_background": false });
    let handle = endpoint(script(json!([
        { "answer": [{ "tool": "Agent", "input": input }] },
        { "answer": [{ "text": "It says: {{result}}" }] },
        { "when": "the sheep", "answer": [{ "tool": "Bash", "input": { "command": "echo $((3*4)) sheep" } }] },
        { "answer": [{ "text": "I count {{result}}" }] },
    ])))
    .await;
    let run = Run::of(&program, &handle, &["Let somebody count."]).await;
    let results = run.results();
    assert_eq!(results.len(), 1, "{}", run.stderr);
    assert!(results[0]["result"].as_str().unwrap().contains("I count 12 sheep"), "{}", results[0]);
    handle.shutdown().await;
}

#[tokio::test]
async fn an_installed_cli_is_not_installed_again() {
    if claude::installed().await.is_none() {
        return;
    }
    let cache = claude::cache();
    let inode = || std::fs::metadata(package::claude_code_dir(&cache)).unwrap().ino();
    let before = inode();
    let program = install_claude_code(&cache).await.unwrap();
    assert_eq!(inode(), before, "it was installed anew");
    assert!(program.starts_with(package::claude_code_dir(&cache)));
    let left = std::fs::read_dir(cache.join("agents")).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(left.into_iter().all(|name| !name.to_string_lossy().starts_with(".installing-")));
}

// ---- the endpoint without a CLI ---------------------------------------------------------------------------------------

/// One HTTP exchange: head and body of the answer.
async fn exchange(handle: &Handle, line: &str, body: &str) -> (String, String) {
    let mut stream = TcpStream::connect(handle.addr()).await.unwrap();
    let request = format!(
        "{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

fn user(text: &str) -> Value {
    json!({ "role": "user", "content": text })
}

#[tokio::test]
async fn every_other_request_is_answered_in_the_api_s_form() {
    let handle =
        endpoint(script(json!([{ "answer": [{ "text": "Hello {{prompt}}" }, { "count": 3, "size": 3 }] }]))).await;
    let (head, body) =
        exchange(&handle, "POST /v1/messages", &json!({ "model": "m", "messages": [user("you")] }).to_string()).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let message: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        message["content"],
        json!([{ "type": "text", "text": "Hello you" }, { "type": "text", "text": "01 02 03 " }])
    );
    assert_eq!(message["stop_reason"], "end_turn");

    let (_, body) = exchange(&handle, "POST /v1/messages/count_tokens", &json!({ "messages": [] }).to_string()).await;
    assert!(serde_json::from_str::<Value>(&body).unwrap()["input_tokens"].as_u64().unwrap() > 0);

    let title = json!({ "type": "json_schema", "schema": { "type": "object", "properties": { "title": { "type": "string" } } } });
    let asks = json!({ "messages": [user("name it")], "output_config": { "format": title } });
    let (_, body) = exchange(&handle, "POST /v1/messages", &asks.to_string()).await;
    let answer: Value = serde_json::from_str(&body).unwrap();
    let text: Value = serde_json::from_str(answer["content"][0]["text"].as_str().unwrap()).unwrap();
    assert!(text["title"].is_string());

    for (line, status) in [("GET /v1/models", "404"), ("GET /v1/messages", "404"), ("HEAD /api/hello", "404")] {
        let (head, body) = exchange(&handle, line, "").await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{line}: {head}");
        assert!(line.starts_with("HEAD") || body.contains("not_found_error"), "{line}: {body}");
    }
    let (head, body) = exchange(&handle, "POST /v1/messages", "{").await;
    assert!(head.starts_with("HTTP/1.1 400") && body.contains("invalid_request_error"), "{head} {body}");
    let kinds: Vec<_> = handle.requests().iter().map(|seen| seen.kind).collect();
    assert_eq!(kinds[..3], [Kind::Call, Kind::Count, Kind::Side]);
    handle.shutdown().await;
}

#[tokio::test]
async fn a_section_goes_on_with_each_of_its_prompts() {
    let handle = endpoint(script(json!([
        { "answer": [{ "text": "one" }] },
        { "answer": [{ "text": "two" }] },
        { "when": "other", "answer": [{ "text": "elsewhere" }] },
    ])))
    .await;
    let mut messages = Vec::new();
    for (prompt, expected) in [("a", "one"), ("another", "elsewhere"), ("b", "two"), ("c", "one")] {
        messages.push(user(prompt));
        let (_, body) = exchange(&handle, "POST /v1/messages", &json!({ "messages": messages }).to_string()).await;
        let answer: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(answer["content"][0]["text"], expected, "to {prompt}");
        messages.push(json!({ "role": "assistant", "content": answer["content"] }));
    }
    handle.shutdown().await;
}

#[tokio::test]
async fn a_paced_answer_is_cut_off_by_shutdown() {
    let handle = endpoint(script(json!([{ "answer": [{ "count": 1000, "pace_ms": 60_000 }] }]))).await;
    let mut stream = TcpStream::connect(handle.addr()).await.unwrap();
    let body = json!({ "messages": [user("go")], "stream": true }).to_string();
    let head = format!("POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut seen = String::new();
    while !seen.contains("content_block_start") {
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).await.unwrap();
        assert_ne!(count, 0, "{seen}");
        seen.push_str(std::str::from_utf8(&piece[..count]).unwrap());
    }
    assert!(!seen.contains("content_block_delta"), "the pace holds: {seen}");
    tokio::time::timeout(Duration::from_secs(5), handle.shutdown()).await.expect("it does not wait for the pace");
}

#[test]
fn the_command_says_what_to_export_and_ends_when_told() {
    use std::io::BufRead as _;
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_agent-runtime"))
        .args(["model-endpoint", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.strip_prefix("export ANTHROPIC_BASE_URL=http://").and_then(|rest| rest.split_once(' '));
    let (address, rest) = address.unwrap_or_else(|| panic!("{line}"));
    assert_eq!(rest, "ANTHROPIC_API_KEY=sk-loopback-endpoint\n");
    std::net::TcpStream::connect(address).unwrap();
    let process = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
}

#[tokio::test]
async fn only_loopback_is_served() {
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    assert!(model::serve(listener, model::demo_script()).is_err());
}

#[test]
fn a_wrong_script_is_refused_with_the_place() {
    for (steps, expected) in [
        (json!([]), "step 1"),
        (json!([{ "answer": [{ "text": "a" }] }, { "status": 200 }]), "step 2"),
        (json!([{ "answer": [{ "text": "a", "tool": "b" }] }]), "exactly one of"),
        (json!([{ "answer": [{ "txt": "a" }] }]), "txt"),
        (json!([{ "answer": [{ "text": "a" }], "times": 2 }]), "belong to a \"status\""),
        (json!([{ "when": "x" }]), "either \"answer\" or \"status\""),
    ] {
        let error = Script::parse(&json!({ "steps": steps }).to_string()).unwrap_err().to_string();
        assert!(error.contains(expected), "{steps}: {error}");
    }
}

// ---- the scripted agent -----------------------------------------------------------------------------------------------

/// What the scripted agent prints to these messages, in this process.
fn printed(texts: &[&str]) -> (Vec<u8>, u8) {
    let mut input = Vec::new();
    for (at, text) in texts.iter().enumerate() {
        input.extend(prompt(&BlockId::new(format!("blk_{at}")), text));
    }
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = scripted_agent::serve(Cursor::new(input), &mut out, &mut err).unwrap();
    (out, code)
}

fn parser() -> Parser {
    agent::plan(Agent::Scripted, &Setup { program: "self".into(), ..Setup::default() }).unwrap().parser
}

fn read(bytes: &[u8]) -> Vec<Action> {
    let (mut parser, mut actions) = (parser(), Vec::new());
    parser.feed(bytes, &mut actions);
    parser.finish(&mut actions);
    actions
}

/// Output with everything in it, printed once: it takes its time.
fn everything() -> &'static [u8] {
    static PRINTED: LazyLock<Vec<u8>> = LazyLock::new(print_everything);
    &PRINTED
}

fn print_everything() -> Vec<u8> {
    let script = json!([
        { "think": "Hm, \"so\" – ü", "size": 3 },
        { "say": "One\nline", "size": 2 },
        { "tool": "Bash", "input": { "command": "ls\n" }, "output": "a\nb", "exit_code": 1, "is_error": true },
        { "tool": "Read", "output": { "lines": [1, 2] }, "duration_ms": 1 },
        { "repeat": 2, "steps": [{ "count": 3, "size": 8, "pace_us": 1 }, { "pause_ms": 1 }] },
        { "usage": { "input_tokens": 3, "cost_micro_usd": 5 }, "model": "s-1" },
        { "usage": { "input_tokens": 4 } },
        { "raw": "garbage\n{\"delta\":{\"id\":\"nowhere\",\"text\":\"x\"}}\n\n" },
        { "raw_base64": "/wAKZWk=" },
        { "long_line": 70_000 },
        { "stderr": "oops" },
        { "say": "cut off", "open": true },
        { "error": "no luck", "retryable": true },
        { "say": "never said" },
    ]);
    let last = "{\"say\":\"unfinished\",\"open\":true}\n{\"exit\":3,\"half_line\":\"{\\\"delta\\\":\"}";
    let (out, code) = printed(&["Hi!", &script.to_string(), "[{\"say\": \"a\", \"tempo\": 1}]", last, "never heard"]);
    assert_eq!(code, 3);
    out
}

/// The text of the block, put together again.
fn text_of(actions: &[Action], id: &str) -> String {
    let deltas = actions.iter().filter_map(|action| match action {
        Action::Emit(Draft::Delta { block_id, text }) if block_id.as_str() == id => Some(text.as_str()),
        _ => None,
    });
    deltas.collect()
}

#[test]
fn a_script_becomes_what_it_says() {
    let actions = read(everything());
    assert_eq!(actions[0], Action::TurnStarted { block_id: Some(BlockId::new("blk_0")) });
    assert!(text_of(&actions, "blk_0/1").starts_with("You said: \"Hi!\""));
    assert_eq!(text_of(&actions, "blk_1/1"), "Hm, \"so\" – ü");
    assert_eq!(text_of(&actions, "blk_1/2"), "One\nline");
    assert_eq!(
        text_of(&actions, "blk_1/7") + &text_of(&actions, "blk_1/8"),
        "0000001 0000002 0000003 0000004 0000005 0000006 "
    );

    let results: Vec<_> = actions
        .iter()
        .filter_map(|action| match action {
            Action::Emit(Draft::Complete { content: Some(Content::ToolResult(result)), .. }) => Some(result),
            _ => None,
        })
        .collect();
    assert_eq!(results[0].output, Some(ToolOutput::Text("a\nb".into())));
    assert_eq!((results[0].is_error, results[0].exit_code), (true, Some(1)));
    assert_eq!(results[1].output, Some(ToolOutput::Json(r#"{"lines":[1,2]}"#.into())));
    assert_eq!(results[1].tool_use_id, "blk_1/5");

    let unparsed: Vec<_> = actions
        .iter()
        .filter_map(|action| match action {
            Action::Emit(Draft::Unparsed { raw, truncated_bytes }) => Some((raw.as_slice(), *truncated_bytes)),
            _ => None,
        })
        .collect();
    assert_eq!(unparsed[0], (&b"garbage"[..], 0));
    assert!(unparsed[1].0.starts_with(b"{\"delta\":{\"id\":\"nowhere\""));
    assert_eq!(unparsed[2], (&b"\xff\x00"[..], 0));
    assert_eq!((unparsed[3].0.len(), unparsed[3].1), (65_536, 70_002 - 65_536));
    assert_eq!(unparsed[4], (&b"{\"delta\":"[..], 0));
    assert_eq!(unparsed.len(), 5);

    let ends: Vec<_> = actions
        .iter()
        .filter_map(|action| match action {
            Action::TurnEnded(end) => Some(end),
            _ => None,
        })
        .collect();
    assert_eq!(ends.len(), 3, "the last turn never ends");
    assert_eq!(ends[0].outcome, Outcome::Completed);
    assert_eq!((ends[1].usage.input_tokens, ends[1].usage.cost_micro_usd), (7, 5));
    assert!(matches!(&ends[1].outcome, Outcome::Failed(error) if error.message == "no luck" && error.retryable));
    assert!(matches!(&ends[2].outcome, Outcome::Failed(error) if error.message.contains("tempo")), "{:?}", ends[2]);
    assert!(!actions.iter().any(
        |action| matches!(action, Action::Emit(Draft::Start { block_id, .. }) if block_id.as_str() == "blk_1/10")
    ));
}

#[test]
fn every_cut_goes_on_as_if_there_were_none() {
    let bytes = everything();
    let whole = read(bytes);
    // Cuts inside the long line are all alike.
    for cut in (0..=bytes.len()).filter(|cut| !bytes[..*cut].ends_with(&[b'x'; 40]) || cut % 4001 == 0) {
        let (mut first, mut actions) = (parser(), Vec::new());
        first.feed(&bytes[..cut], &mut actions);
        let checkpoint = first.checkpoint();
        let from = usize::try_from(checkpoint.offset).unwrap();
        assert!(from <= cut);
        let mut second = Parser::restore(Agent::Scripted, &checkpoint).unwrap();
        second.feed(&bytes[from..], &mut actions);
        second.finish(&mut actions);
        assert!(actions == whole, "cut at {cut}");
    }
}

#[test]
fn a_checkpoint_of_another_version_is_refused() {
    let mut checkpoint = parser().checkpoint();
    assert!(Parser::restore(Agent::Scripted, &checkpoint).is_ok());
    checkpoint.version += 1;
    assert!(Parser::restore(Agent::Scripted, &checkpoint).is_err());
    checkpoint.version -= 1;
    checkpoint.state = "[]".into();
    assert!(Parser::restore(Agent::Scripted, &checkpoint).is_err());
}

proptest! {
    #[test]
    fn any_chunks_give_the_same_actions(sizes in prop::collection::vec(1_usize..5000, 1..60)) {
        let bytes = everything();
        let (mut parser, mut actions) = (parser(), Vec::new());
        let mut rest = bytes;
        for size in sizes.iter().cycle() {
            if rest.is_empty() { break; }
            let (chunk, tail) = rest.split_at(rest.len().min(*size));
            parser.feed(chunk, &mut actions);
            rest = tail;
        }
        parser.finish(&mut actions);
        prop_assert!(actions == read(bytes));
    }
}

fn spawn_agent() -> std::process::Child {
    std::process::Command::new(env!("CARGO_BIN_EXE_agent-runtime"))
        .arg("scripted-agent")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn the_process_plays_what_it_was_given_and_ends_with_its_input() {
    let mut child = spawn_agent();
    let line = prompt(&BlockId::new("b"), r#"{"count":10000,"size":10}"#);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&line).unwrap();
    drop(stdin);
    let mut out = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut out).unwrap();
    assert!(child.wait().unwrap().success());
    let text = text_of(&read(&out), "b/1");
    let numbers: Vec<u64> = text.split_whitespace().map(|number| number.parse().unwrap()).collect();
    assert_eq!(numbers, (1..=10_000).collect::<Vec<_>>());
}

#[test]
fn the_process_ends_when_nobody_reads_it() {
    let mut child = spawn_agent();
    let endless = r#"{"repeat":1000000,"steps":[{"count":1000000}]}"#;
    let line = prompt(&BlockId::new("b"), endless);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&line).unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success(), "its input is still open");
    drop(stdin);
}

/// The line that gives the scripted agent a text.
fn prompt(block_id: &BlockId, text: &str) -> Vec<u8> {
    agent::prompt(Agent::Scripted, block_id, &[ContentPart::Text(text.to_owned())])
}
