//! The runs. Each takes its size from the environment: what is here by default is what every change must survive.

use crate::{
    figures::Figures,
    judge::judge,
    power::Power,
    rig::{Plan, run},
};

/// A size, from the environment or as it is by default.
pub fn size(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// Seeds follow each other from one that can be given, else from chance.
pub fn seed() -> u64 {
    let given = std::env::var("SEED").ok().filter(|text| !text.is_empty());
    given.map_or_else(|| u64::from(rand::random::<u32>()) << 16, |text| text.parse().expect("SEED is a number"))
}

fn plan(name: &'static str, seed: u64) -> Plan {
    Plan {
        name,
        seed,
        sessions: 4,
        writers: 3,
        watchers: 6,
        kills: 0,
        pauses: 0,
        resumes: 0,
        chaos: false,
        power: None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_doubled_or_reordered_when_the_server_is_killed() {
    let kills = size("KILLS", 40);
    let mut total = Figures::default();
    let mut seed = seed();
    while total.kills < kills {
        seed += 1;
        let kills = (kills - total.kills).min(20);
        total.add(run(Plan { kills, ..plan("kills", seed) }).await.approve("kills"));
    }
    println!("TOTAL kills={} lost=0 doubled=0 gaps=0 {total}", total.kills);
}
