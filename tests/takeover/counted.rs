//! An agent counts while its servers come and go: every number is in the log once and in its place.

use std::time::{Duration, Instant};

use agent_runtime::proto::TurnStatus;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use rustix::process::Signal;

use crate::{
    house::{House, Seen, numbers},
    support::{play, scripted, send},
};

/// What ends a server, one after the other.
const ENDS: [Option<Signal>; 10] = [
    None,
    None,
    Some(Signal::TERM),
    None,
    Some(Signal::TERM),
    Some(Signal::TERM),
    None,
    None,
    None,
    Some(Signal::TERM),
];

async fn counts_on(args: &[&str], number: u64) {
    let mut rng = StdRng::seed_from_u64(number);
    let house = House::new(args);
    let mut server = house.open();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let script = r#"[{"count":4000,"pace_us":1500},{"tool":"Bash","output":"done"},{"count":1000,"pace_us":500}]"#;
    let (turn, _) = send(&mut sessions, &id, script).await.expect("accepted");
    let mut seen = Seen::default();
    let mut agents = Vec::new();
    for end in ENDS {
        let until = Instant::now() + Duration::from_millis(rng.random_range(30..700));
        seen.read(&mut sessions, &id, &turn.turn_id, until).await;
        if agents.is_empty() {
            agents = house.agents();
        }
        match end {
            None => drop(server.kill()),
            Some(signal) => {
                let ended = server.end(signal);
                assert!(ended.status.success() && ended.took < Duration::from_secs(5), "{:?}", ended.took);
            }
        }
        server = house.open();
        sessions = server.sessions().await;
    }
    let end = seen.finish(&mut sessions, &id, &turn.turn_id).await;
    assert_eq!(end.status(), TurnStatus::Completed, "{:?}", end.error);
    assert_eq!(seen.said(), numbers(5000), "what the agent printed is not what the log has");
    assert_eq!(seen.starts_of(&turn.turn_id), 1);
    assert_eq!((house.agents(), house.execs().len()), (agents, 1), "another process went on");
    // Nothing is left of it all that would hinder the next message.
    assert_eq!(play(&mut sessions, &id, "hello").await.turn.status(), TurnStatus::Completed);
    house.close(server);
}

#[tokio::test]
async fn a_turn_goes_on_through_ten_servers() {
    counts_on(&[], 1).await;
}

#[tokio::test]
async fn a_turn_goes_on_through_ten_servers_without_a_wall() {
    counts_on(&["--sandbox", "process"], 2).await;
}
