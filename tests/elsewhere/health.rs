//! A sandbox that cannot be reached for a while, and a server that ends sandboxes which need their time.

use std::time::Duration;

use agent_runtime::proto::{SandboxStatus, SessionEvent, TurnStatus, block::Content, session_event::Kind};
use rustix::process::Signal;
use serde_json::json;

use crate::{
    rig::{Rig, created, printed, sandbox, says, shell},
    support::{check_ranges, ended, get, last_turn, play, read_on, send, snapshot, watch},
};

/// All that is said to a sandbox's router.
const ROUTER: [&str; 6] =
    ["TaskExecStart", "TaskExecStdioRead", "TaskExecStdinWrite", "TaskExecStdinStatus", "TaskExecPoll", "TaskExecWait"];

#[tokio::test]
async fn a_sandbox_that_is_out_of_reach_is_unhealthy_until_it_is_not_and_its_turn_goes_on() {
    let Some(rig) = Rig::new(&[]) else { return };
    let server = rig.open();
    let mut sessions = server.sessions().await;
    let id = created(&mut sessions, "scripted").await;
    // Streams do not last, so that they have to be opened again.
    rig.emulator.set_faults("TaskExecStdioRead=UNAVAILABLE@20*1000000");
    play(&mut sessions, &id, &json!({ "say": "hello" }).to_string()).await;
    let (turn, head) =
        send(&mut sessions, &id, &json!([{ "count": 3000, "pace_ms": 20 }]).to_string()).await.expect("taken");
    let mut live = watch(&mut sessions, &id, Some(head)).await.expect("a watch");
    let (mut events, mut at) = (Vec::new(), 0);
    read_on(&mut live, &mut events, &mut at, event_counts).await;
    rig.emulator.set_faults(&ROUTER.map(|call| format!("{call}=UNAVAILABLE@0%1")).join(","));
    read_on(&mut live, &mut events, &mut at, |event| says(event, SandboxStatus::Unhealthy, "")).await;
    let unhealthy = sandbox(&mut sessions, &id).await;
    assert!(!unhealthy.status_message.is_empty() && unhealthy.last_health_check_time.is_some(), "{unhealthy:?}");
    assert_eq!(get(&mut sessions, &id).await.active_turn.expect("it works on").turn_id, turn.turn_id);
    rig.emulator.set_faults("");
    read_on(&mut live, &mut events, &mut at, |event| says(event, SandboxStatus::Ready, "")).await;
    read_on(&mut live, &mut events, &mut at, |event| ended(event, &turn.turn_id)).await;
    assert_eq!(last_turn(&events).status(), TurnStatus::Completed, "{:?}", last_turn(&events));
    check_ranges(head, &events);
    let (state, _) = snapshot(&mut sessions, &id).await;
    let Some(Content::AssistantText(counted)) = state.blocks.last().and_then(|block| block.content.as_ref()) else {
        panic!("{:?}", state.blocks.last())
    };
    let numbers = counted.text.split_whitespace().map(|word| word.parse::<u64>().expect("a number"));
    assert!(numbers.eq(1..=3000), "nothing is lost and nothing twice: {}", counted.text);
    assert_eq!(sandbox(&mut sessions, &id).await.generation, 1, "in the same sandbox");
}

/// Text has come.
fn event_counts(event: &SessionEvent) -> bool {
    matches!(event.kind, Some(Kind::BlockDelta(_)))
}

#[tokio::test]
async fn a_server_that_stops_gives_sandboxes_the_time_to_keep_their_files() {
    let Some(rig) = Rig::new(&[]) else { return };
    let mut server = rig.open();
    let mut sessions = server.sessions().await;
    let id = created(&mut sessions, "scripted").await;
    play(&mut sessions, &id, &shell("echo one > kept")).await;
    // More than those on this machine would get.
    rig.emulator.set_faults("TaskSnapshotFilesystem=RESOURCE_EXHAUSTED+22@0*1");
    let stopped = server.end(Signal::TERM);
    let took = stopped.took;
    assert!(stopped.status.success() && took >= Duration::from_secs(22), "{:?} after {took:?}", stopped.status);
    assert_eq!(rig.running(), [""; 0], "it is over");
    drop(server);

    let server = rig.open();
    let mut sessions = server.sessions().await;
    assert_eq!(sandbox(&mut sessions, &id).await.status(), SandboxStatus::Terminated);
    let made = rig.emulator.sandboxes().len();
    let played = play(&mut sessions, &id, &shell("cat kept")).await;
    assert!(printed(&played).contains("one"), "{}", printed(&played));
    assert_eq!((made, rig.emulator.sandboxes().len()), (1, 2));
}
