//! Whatever an agent prints, the stream goes on and the turn ends.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use agent_runtime::proto::{TurnStatus, block::Content};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use prost::Message as _;

use crate::support::{PATIENCE, Server, play, scripted};

const INLINE: usize = 256 * 1024;

/// Bytes without a pattern, the same in every run.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(length).collect()
}

fn raw(bytes: &[u8]) -> String {
    format!(r#"{{"raw_base64":"{}"}}"#, STANDARD.encode(bytes))
}

#[tokio::test]
async fn garbage_becomes_events_and_the_turn_goes_on() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let mut noise = noise(20_000);
    noise.push(b'\n');
    let lines = noise.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
    let script = format!(
        r#"[{{"say":"Before."}},{},{},{},{{"raw":"{{\"delta\":{{\"id\":\"nobody\",\"text\":\"x\"}}}}\n"}},{{"say":"After."}}]"#,
        raw(&noise),
        raw(b"\xff\xfe no text\n"),
        raw(b"\0\0\n[1,2\n\"text\"\n"),
    );
    let played = play(&mut sessions, &id, &script).await;
    assert_eq!(played.turn.status(), TurnStatus::Completed, "{:?}", played.turn);
    let unparsed = played.unparsed();
    assert!(unparsed.iter().any(|told| told.raw[..] == *b"\xff\xfe no text"), "bytes are kept as they are");
    assert!(unparsed.iter().any(|told| told.raw.starts_with(b"{\"delta\"")), "of a block that is not open");
    // A line of noise may end in what counts as the end of a line; none is lost.
    assert_eq!(unparsed.len(), lines + 5, "every line that is none is told");
    assert!(unparsed.iter().all(|told| told.truncated_bytes == 0));
    let texts: Vec<&str> = played.contents().into_iter().filter_map(text).collect();
    assert_eq!(texts, ["Before.", "After."]);
}

fn text(content: &Content) -> Option<&str> {
    if let Content::AssistantText(text) = content { Some(&text.text) } else { None }
}

#[tokio::test]
async fn a_line_of_any_length_is_one_event_of_bounded_size() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    for (length, kept) in [(10_000_000, 64 * 1024), (40_000_000, 64 * 1024), (1000, 1000)] {
        let script = format!(r#"[{{"say":"Before."}},{{"long_line":{length}}},{{"say":"After."}}]"#);
        let played = play(&mut sessions, &id, &script).await;
        assert_eq!(played.turn.status(), TurnStatus::Completed, "{:?}", played.turn);
        let unparsed = played.unparsed();
        let last = unparsed.last().expect("told");
        assert_eq!(last.raw.len(), kept);
        assert_eq!(usize::try_from(last.truncated_bytes).expect("a size") + last.raw.len(), length);
        let last = played.contents().into_iter().filter_map(text).next_back();
        assert_eq!(last, Some("After."));
    }
}

#[tokio::test]
async fn half_a_line_at_exit_is_told() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let script = r#"[{"say":"Before."},{"exit":3,"half_line":"{\"delta\":{\"id\":"}]"#;
    let played = play(&mut sessions, &id, script).await;
    assert_eq!(played.turn.status(), TurnStatus::Failed);
    assert_eq!(played.turn.error.as_ref().expect("a cause").metadata["exit_code"], "3");
    assert_eq!(played.unparsed().last().expect("told").raw[..], *br#"{"delta":{"id":"#);
    assert_eq!(play(&mut sessions, &id, "hello").await.turn.status(), TurnStatus::Completed);
}

#[tokio::test]
async fn standard_error_becomes_log_lines() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let script =
        r#"[{"stderr":"something is odd"},{"say":"Well."},{"stderr":"  still odd  "},{"stderr":""},{"exit":1}]"#;
    let played = play(&mut sessions, &id, script).await;
    let logged = played.logged();
    assert!(logged.contains(&"something is odd") && logged.contains(&"  still odd"), "{logged:?}");
    assert!(logged.iter().all(|line| !line.is_empty()));
    assert!(played.unparsed().is_empty(), "standard error is not standard output");
}

/// What was read of it is given back: else a program that complains for long would be left standing in the end.
#[tokio::test]
async fn standard_error_that_was_read_is_released() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let complaint = "x".repeat(60_000);
    let script = format!("[{}]", vec![format!(r#"{{"stderr":"{complaint}"}}"#); 4].join(","));
    for _ in 0..6 {
        assert_eq!(play(&mut sessions, &id, &script).await.turn.status(), TurnStatus::Completed);
    }
    let spool = find(&server.data().join("sandboxes"), "stderr");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let spool = fs::metadata(&spool).expect("there");
        assert!(spool.len() > 1_400_000);
        if spool.blocks() * 512 < 1 << 20 {
            break;
        }
        assert!(Instant::now() < deadline, "{} bytes are still held", spool.blocks() * 512);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn find(folder: &Path, name: &str) -> PathBuf {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("listed") {
            let entry = entry.expect("an entry");
            if entry.file_name() == name {
                return entry.path();
            }
            if entry.file_type().expect("known").is_dir() {
                folders.push(entry.path());
            }
        }
    }
    panic!("there is no {name}");
}

#[tokio::test]
async fn a_text_over_the_limit_is_cut_to_a_prefix_that_says_so() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let played = play(&mut sessions, &id, r#"[{"count":15000,"size":20},{"say":"After."}]"#).await;
    assert_eq!(played.turn.status(), TurnStatus::Completed);
    let block = &played.state.blocks[1];
    let held = text(block.content.as_ref().expect("content")).expect("a text");
    let whole = (1..=15000).map(|number| format!("{number:019} ")).collect::<Vec<_>>().concat();
    assert_eq!(held.len(), INLINE);
    assert!(whole.starts_with(held), "what is kept is no prefix");
    assert_eq!(usize::try_from(block.truncated_bytes).expect("a size"), whole.len() - INLINE);
    assert_eq!(played.state.blocks[2].truncated_bytes, 0);

    // Characters are kept whole, and one below the limit is.
    let letter = "\u{20ac}";
    let script = format!(r#"[{{"say":"{}","size":10000}}]"#, letter.repeat(80_000));
    let played = play(&mut sessions, &id, &script).await;
    let block = played.state.blocks.last().expect("a block");
    assert_eq!(text(block.content.as_ref().expect("content")).expect("a text").chars().count(), 80_000);
    assert_eq!(block.truncated_bytes, 0);
}

#[tokio::test]
async fn a_tool_s_output_over_the_limit_is_cut() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    // As a line of its own, because a message cannot be so long: the agent's words, put together from pieces.
    let head = r#"{\"tool_result\":{\"id\":\"r\",\"tool\":\"t\",\"output\":\""#;
    let tail = r#"\",\"is_error\":false,\"duration_ms\":1,\"exit_code\":0}}\n"#;
    let script = format!(
        r#"[{{"raw":"{{\"tool\":{{\"id\":\"t\",\"name\":\"Bash\",\"input\":{{}}}}}}\n"}},{{"raw":"{head}"}},
            {{"repeat":300,"steps":[{{"raw":"{}"}}]}},{{"raw":"{tail}"}},{{"say":"After."}}]"#,
        "y".repeat(1000)
    );
    let played = play(&mut sessions, &id, &script).await;
    assert_eq!(played.turn.status(), TurnStatus::Completed, "{:?}", played.turn);
    assert_eq!(played.unparsed().len(), 0, "{:?}", played.unparsed());
    let result = played.state.blocks.iter().find(|block| block.block_id == "r").expect("the result");
    assert_eq!(result.truncated_bytes, 300_000 - i64::try_from(INLINE).expect("small"));
    assert!(result.encoded_len() < INLINE + 1000);
}

#[tokio::test]
async fn a_block_that_the_agent_leaves_open_ends_with_its_turn() {
    use agent_runtime::proto::BlockState::{Complete, Interrupted};
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let script = r#"[{"think":"Hm","open":true},{"say":"Half","open":true},{"say":"Whole."}]"#;
    let played = play(&mut sessions, &id, script).await;
    assert_eq!(played.turn.status(), TurnStatus::Completed);
    let states: Vec<_> = played.state.blocks.iter().map(agent_runtime::proto::Block::state).collect();
    assert_eq!(states, [Complete, Interrupted, Interrupted, Complete]);
}
