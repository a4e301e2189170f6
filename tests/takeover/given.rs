//! Messages whose server dies around the moment at which the agent is given them: each accepted one reaches the agent, once.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use agent_runtime::proto::{TurnStatus, block::Content};
use futures::future::join_all;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::Value;

use crate::{
    house::House,
    support::{PATIENCE, Sessions, scripted, send, snapshot},
};

const ROUNDS: u32 = 25;

/// All is over in these sessions.
async fn settled(sessions: &mut Sessions, ids: &[String]) {
    let patience = Instant::now() + PATIENCE;
    for id in ids {
        loop {
            let (state, _) = snapshot(sessions, id).await;
            if state.turns.iter().all(|turn| turn.status() as i32 >= TurnStatus::Completed as i32) {
                break;
            }
            assert!(Instant::now() < patience, "a turn does not end: {:?}", state.turns);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// The longest that a server lives after the messages of a round were sent, in microseconds, where nothing is slow.
const WINDOW: u64 = 60_000;

#[tokio::test]
async fn a_message_that_was_accepted_reaches_the_agent_once_whenever_its_server_dies() {
    let mut rng = StdRng::seed_from_u64(7);
    let house = House::new(&["--sandbox", "process"]);
    let mut ids: Vec<String> = Vec::new();
    let mut accepted = Vec::new();
    // Longer where the machine is slow, so that some are answered everywhere.
    let mut window = WINDOW;
    for round in 0..ROUNDS {
        let server = house.open();
        let mut sessions = server.sessions().await;
        settled(&mut sessions, &ids).await;
        // Agents that run, whose input it is, and some that must be started for it.
        let mut clients = Vec::new();
        ids.push(scripted(&mut sessions).await.session_id);
        for _ in &ids {
            clients.push(server.sessions().await);
        }
        let chosen: Vec<&String> = ids.iter().rev().take(4).collect();
        let texts: Vec<String> = chosen.iter().map(|_| format!(r#"[{{"say":"round {round}"}}]"#)).collect();
        let sending =
            join_all(clients.iter_mut().zip(&chosen).zip(&texts).map(|((client, id), text)| send(client, id, text)));
        // Some rounds die before anything is answered, some after all is done.
        let dies = tokio::time::sleep(Duration::from_micros(rng.random_range(0..window)));
        let mut server = Some(server);
        let mut answers = Vec::new();
        tokio::select! {
            all = sending => {
                answers = all;
                tokio::time::sleep(Duration::from_micros(rng.random_range(0..25_000))).await;
            }
            () = dies => {}
        }
        server.take().expect("it runs").kill();
        window = if answers.is_empty() { (window * 3 / 2).min(WINDOW * 32) } else { (window * 2 / 3).max(WINDOW) };
        accepted.extend(answers.into_iter().filter_map(Result::ok).map(|(turn, _)| turn.turn_id));
    }
    let server = house.open();
    let mut sessions = server.sessions().await;
    settled(&mut sessions, &ids).await;
    assert!(accepted.len() > 10, "only {} messages were accepted: the rounds are too short", accepted.len());
    let mut given: BTreeMap<String, usize> = BTreeMap::new();
    for exec in house.execs() {
        let input = std::fs::read_to_string(exec.join("stdin")).unwrap_or_default();
        for line in input.lines() {
            let line: Value = serde_json::from_str(line).expect("whole lines");
            *given.entry(line["id"].as_str().expect("an id").to_owned()).or_default() += 1;
        }
    }
    let mut known = Vec::new();
    for id in &ids {
        let (state, _) = snapshot(&mut sessions, id).await;
        for turn in &state.turns {
            assert_eq!(turn.status(), TurnStatus::Completed, "{:?}", turn.error);
            assert_eq!(given.remove(&turn.block_id), Some(1), "the agent was not given {} once", turn.block_id);
            let answers = state.blocks.iter().filter(|block| block.turn_id == turn.turn_id);
            let texts: Vec<_> = answers
                .filter_map(|block| match &block.content {
                    Some(Content::AssistantText(text)) => Some(text.text.as_str()),
                    _ => None,
                })
                .collect();
            assert!(matches!(texts[..], [text] if text.starts_with("round ")), "{texts:?}");
            known.push(turn.turn_id.clone());
        }
    }
    assert_eq!(given, BTreeMap::new(), "agents were given what is not in the log");
    let forgotten: Vec<_> = accepted.iter().filter(|turn| !known.contains(turn)).collect();
    assert!(forgotten.is_empty(), "{forgotten:?}");
    house.close(server);
}
