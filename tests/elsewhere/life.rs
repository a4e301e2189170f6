//! The life of a sandbox has an end that its provider sets: sessions leave it in good time, and turns that are at work then go
//! on in the next one.

use std::time::SystemTime;

use agent_runtime::proto::{self, SandboxStatus, SystemNoticeKind, TurnStatus, block::Content};
use serde_json::json;

use crate::{
    rig::{Rig, eventually, lives, nothing_is_listed, printed, sandbox, says, shell, text, told},
    support::{check_ranges, fold, last_turn, play, send, snapshot, until, until_end_of, watch},
};

/// How long sandboxes live here, in seconds: a session leaves in the second half, and a turn at work in the last third.
const LIFE: i64 = 30;

/// Ids at Modal of those that this session's sandbox was, with how each ended.
fn ends(rig: &Rig) -> Vec<String> {
    rig.emulator.sandboxes().iter().map(|it| text(&it["status"])).collect()
}

#[tokio::test]
async fn a_session_moves_before_its_sandbox_ends_and_finds_its_repository_again() {
    let Some(rig) = Rig::new(&[]) else { return };
    let server = rig.open();
    let mut sessions = server.sessions().await;
    let id = lives(&mut sessions, "scripted", LIFE).await;
    let commit = "git init -q . && echo one > kept && git add kept && git -c user.name=a -c user.email=a@b commit -qm first \
                  && echo two > later && git log --format=%s";
    let played = play(&mut sessions, &id, &shell(commit)).await;
    assert!(printed(&played).contains("first"), "{}", printed(&played));
    let first = sandbox(&mut sessions, &id).await;
    let (before, head) = (rig.running(), played.events.last().expect("events").sequence);

    let mut live = watch(&mut sessions, &id, Some(head)).await.expect("a watch");
    let left = until(&mut live, |event| says(event, SandboxStatus::Terminated, "lifetime ends")).await;
    let expires = SystemTime::try_from(first.expire_time.expect("an end")).expect("a time");
    assert!(SystemTime::now() < expires, "it was left before its end");
    check_ranges(head, &left);
    eventually("the old one is gone", || rig.running().is_empty()).await;
    assert_eq!(ends(&rig), ["GENERIC_STATUS_TERMINATED"], "it was ended, and did not end by itself");

    let script = shell("git log --format=%s; git status --porcelain; cat kept later");
    let played = play(&mut sessions, &id, &script).await;
    let said = printed(&played);
    assert!(["first", "?? later", "one", "two"].iter().all(|word| said.contains(word)), "{said}");
    let second = sandbox(&mut sessions, &id).await;
    assert_eq!((first.generation, second.generation), (1, 2), "{second:?}");
    assert!(second.restored_to_sequence > 2 && second.restored_to_sequence <= head + 1, "{second:?}");
    assert!(SystemTime::try_from(second.expire_time.expect("an end")).expect("a time") > expires);
    let running = rig.emulator.running();
    assert_eq!(running.len(), 1);
    assert_ne!([text(&running[0]["id"])], before[..]);
    assert_eq!(text(&running[0]["tags"]["agent-runtime-generation"]), "2");

    let request = proto::DeleteSessionRequest { session_id: id, ..Default::default() };
    sessions.delete_session(request).await.expect("deleted");
    eventually("it is removed with its session", || rig.running().is_empty()).await;
    nothing_is_listed(&server).await;
    assert_eq!(rig.emulator.snapshots(), [""; 0], "nothing of either is left");
}

#[tokio::test]
async fn what_changed_since_the_last_turn_is_in_a_checkpoint_before_its_sandbox_is_left() {
    let Some(rig) = Rig::new(&[]) else { return };
    let server = rig.open();
    let mut sessions = server.sessions().await;
    let id = lives(&mut sessions, "scripted", LIFE).await;
    let script = shell("(sleep 3; echo late > late) > /dev/null 2>&1 & echo one > kept");
    let played = play(&mut sessions, &id, &script).await;
    let (first, head) = (sandbox(&mut sessions, &id).await, played.events.last().expect("events").sequence);
    let mut live = watch(&mut sessions, &id, Some(head)).await.expect("a watch");
    until(&mut live, |event| says(event, SandboxStatus::Terminated, "lifetime ends")).await;
    eventually("it is gone", || rig.running().is_empty()).await;
    // Only the checkpoint is left.
    rig.emulator.drop_snapshots();
    let played = play(&mut sessions, &id, &shell("cat kept late")).await;
    let said = printed(&played);
    assert!(said.contains("one") && said.contains("late"), "{said}");
    let second = sandbox(&mut sessions, &id).await;
    assert_eq!((second.sandbox_id == first.sandbox_id, second.generation), (false, 2));
    assert!(second.restored_to_sequence > head, "{second:?}, and the turn ended at {head}");
}

#[tokio::test]
async fn a_turn_at_work_goes_on_in_the_next_sandbox() {
    let Some(rig) = Rig::new(&[]) else { return };
    let server = rig.open();
    let mut sessions = server.sessions().await;
    let id = lives(&mut sessions, "scripted", LIFE).await;
    play(&mut sessions, &id, &shell("echo one > kept")).await;
    let script = json!([{ "run": "echo begun >> log" }, { "count": 100_000, "pace_ms": 10 }]).to_string();
    let played = play(&mut sessions, &id, &script).await;
    assert_eq!(played.turn.status(), TurnStatus::Completed, "{:?}", played.turn);

    let sandboxes = told(&played.events);
    let at = |status: SandboxStatus, words: &str| {
        sandboxes.iter().position(|(is, message, _)| *is == status && message.contains(words)).expect("it was told")
    };
    let warned = at(SandboxStatus::Ready, "the agent is interrupted");
    let ended = at(SandboxStatus::Terminated, "lifetime ends");
    assert!(warned < ended, "{sandboxes:?}");
    assert_eq!(sandboxes.last().map(|(status, _, generation)| (*status, *generation)), Some((SandboxStatus::Ready, 2)));

    // What was said before is there, broken off where it was, and what the next process was told stands behind it.
    let contents = played.contents();
    let told = contents.iter().position(|content| is_continuation(content)).expect("it was told to go on");
    let Content::AssistantText(counted) = contents[told - 1] else { panic!("{:?}", contents[told - 1]) };
    let numbers: Vec<u64> = counted.text.split_whitespace().map(|word| word.parse().expect("a number")).collect();
    assert!(numbers.iter().copied().eq(1..=numbers.len() as u64) && numbers.len() > 100, "{} numbers", numbers.len());
    assert!(printed(&played).contains("interrupted by the runtime"), "{}", printed(&played));
    assert_eq!(ends(&rig), ["GENERIC_STATUS_TERMINATED", ""], "one after the other, and both in good time");
    let played = play(&mut sessions, &id, &shell("cat kept log")).await;
    let said = printed(&played);
    assert_eq!((said.contains("one"), said.matches("begun").count()), (true, 1), "{said}");
}

#[tokio::test]
async fn a_turn_moves_also_when_its_agent_does_not_listen_and_its_server_dies() {
    let Some(rig) = Rig::new(&[]) else { return };
    let server = rig.open();
    let mut sessions = server.sessions().await;
    let id = lives(&mut sessions, "scripted", LIFE).await;
    // Nobody reads the interrupt as long as this runs.
    let script = shell("echo begun >> log; trap '' TERM INT; sleep 600");
    let (turn, head) = send(&mut sessions, &id, &script).await.expect("taken");
    let mut live = watch(&mut sessions, &id, Some(head)).await.expect("a watch");
    let mut events = until(&mut live, |event| says(event, SandboxStatus::Ready, "the agent is interrupted")).await;
    server.kill();

    let server = rig.open();
    let mut sessions = server.sessions().await;
    let after = events.last().expect("events").sequence;
    let mut live = watch(&mut sessions, &id, Some(after)).await.expect("a watch");
    events.extend(until_end_of(&mut live, &turn.turn_id).await);
    assert_eq!(last_turn(&events).status(), TurnStatus::Completed, "{:?}", last_turn(&events));
    check_ranges(head, &events);
    assert_eq!(
        told(&events).last().map(|(status, _, generation)| (*status, *generation)),
        Some((SandboxStatus::Ready, 2))
    );
    let (reloaded, _) = snapshot(&mut sessions, &id).await;
    let contents: Vec<_> = reloaded.blocks.iter().filter_map(|block| block.content.as_ref()).collect();
    assert_eq!(contents.iter().filter(|content| is_continuation(content)).count(), 1, "{contents:?}");
    let mut whole = watch(&mut sessions, &id, Some(0)).await.expect("a watch");
    let replayed = until_end_of(&mut whole, &turn.turn_id).await;
    assert_eq!(fold(&replayed).blocks, reloaded.blocks, "live is what a reload shows");
    let played = play(&mut sessions, &id, &shell("cat log")).await;
    assert_eq!(printed(&played).matches("begun").count(), 1, "{}", printed(&played));
}

#[tokio::test]
async fn claude_code_goes_on_with_its_turn_and_remembers_it() {
    let steps = json!([
        { "answer": [{ "tool": "Bash", "input": { "command": "echo once >> ran; sleep 600", "timeout": 600_000 } }] },
        { "when": "interrupted by the runtime", "answer": [{ "tool": "Bash", "input": { "command": "wc -l < ran" } }] },
        { "answer": [{ "text": "It ran {{result}}, so I am done." }] },
    ]);
    let Some((rig, model)) = Rig::with_model(steps, &[]).await else { return };
    let server = rig.open();
    let mut sessions = server.sessions().await;
    let id = lives(&mut sessions, "claude-code", LIFE).await;
    let played = play(&mut sessions, &id, "Run it.").await;
    assert_eq!(played.turn.status(), TurnStatus::Completed, "{:?}", played.turn);
    assert!(printed(&played).contains("It ran 1, so I am done"), "{}", printed(&played));
    assert_eq!(sandbox(&mut sessions, &id).await.generation, 2);
    assert_eq!(ends(&rig), ["GENERIC_STATUS_TERMINATED", ""]);
    let asked = model.calls().last().expect("a call").to_string();
    assert!(asked.contains("Run it.") && asked.contains("interrupted by the runtime"), "{asked}");
}

fn is_continuation(content: &Content) -> bool {
    matches!(content, Content::System(notice) if notice.kind() == SystemNoticeKind::Continuation)
}
