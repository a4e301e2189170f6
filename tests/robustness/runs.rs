//! The runs. Each takes its size from the environment: what is here by default is what every change must survive.

use std::time::Duration;

use crate::{
    figures::Figures,
    living::{self, Agent, Lived},
    older::previous,
    power::Power,
    rig::{Outcome, Plan, Rig, Setup, run},
};

/// A size, from the environment or as it is by default.
pub fn size(name: &str, default: usize) -> usize {
    let given = std::env::var(name).ok().filter(|text| !text.is_empty());
    given.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
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
        // Every other run: with exact logs, and with logs that shrink.
        compacts: seed % 2 == 1,
        power: None,
    }
}

/// One run after the other, each with its seed, until there is enough; and what all of it came to.
async fn until(
    name: &'static str,
    wanted: usize,
    figure: impl Fn(&Figures) -> usize,
    of: impl Fn(u64, usize) -> Plan,
) -> Figures {
    let mut total = Figures::default();
    let mut seed = seed();
    while figure(&total) < wanted {
        let outcome = run(of(seed, wanted - figure(&total))).await;
        total.add(outcome.approve(name));
        seed += 1;
    }
    // What was lost, doubled or left out would have ended it before.
    println!("{name}={} lost=0 doubled=0 gaps=0 {total}", figure(&total));
    total
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_doubled_or_reordered_when_the_server_is_killed() {
    let of = |seed, left: usize| Plan { kills: left.min(20), ..plan("kills", seed) };
    until("kills", size("KILLS", 40), |total| total.kills, of).await;
}

/// In the middle of blocks, while the server is killed now and then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_comes_back_gets_exactly_what_followed() {
    let of = |seed, left: usize| Plan { resumes: left.min(250), kills: 2, watchers: 24, ..plan("resumes", seed) };
    until("resumes", size("RESUMES", 500), |total| total.resumes, of).await;
}

/// Connections are cut, go silent and are slow; the server stands still for longer than they live.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_connections_and_a_server_that_stands_still_cost_nothing() {
    let of = |seed, left: usize| Plan { pauses: left.min(3), kills: 1, chaos: true, ..plan("pauses", seed) };
    until("pauses", size("PAUSES", 5), |total| total.pauses, of).await;
}

fn power(seed: u64, kills: usize, forget: &'static str) -> Plan {
    Plan { kills, power: Some(Power { forget }), ..plan("power", seed) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_acknowledged_or_seen_is_lost_with_the_power() {
    until("power", size("POWER", 8), |total| total.kills, |seed, left| power(seed, left.min(5), "")).await;
}

/// A disk that says it has what it has not: if nothing were lost then, the test above would prove nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_lies_is_found_out() {
    let Outcome { violations, figures, .. } = run(Plan { compacts: false, ..power(seed(), 4, "-wal") }).await;
    let lost = violations.iter().filter(|violation| ["durable", "acknowledged"].contains(&violation.judge)).count();
    println!("lying_disk lost={lost} {figures}");
    assert!(lost > 0, "nothing was lost: the loss of power is not felt");
}

fn living(seed: u64, kills: usize) -> living::Plan {
    living::Plan {
        name: "living",
        seed,
        sessions: 5,
        watchers: 4,
        kills,
        // Every other run, but not always the same ones as are compacted.
        setup: Setup {
            compacts: seed % 2 == 1,
            walls: seed / 2 % 2 == 1,
            env: vec![("AGENT_RUNTIME_ON_SHUTDOWN".into(), "detach".into())],
            ..Setup::default()
        },
        agent: Agent::Scripted,
        pause: (10, 400),
    }
}

/// One run after the other until turns lived through so many kills, each through three at least.
async fn live(name: &'static str, wanted: usize, of: impl Fn(u64, usize) -> living::Plan) {
    let (mut total, mut lived) = (Figures::default(), Lived::default());
    let mut seed = seed();
    while lived.kills < wanted {
        let plan = of(seed, wanted - lived.kills);
        let outcome = match plan.agent {
            Agent::Scripted => living::run(plan).await,
            Agent::ClaudeCode => match living::run_claude(plan).await {
                Some(outcome) => outcome,
                None => return,
            },
        };
        lived.add(Lived::of(&outcome.history));
        total.add(outcome.approve(name));
        seed += 1;
    }
    println!("{name}={} lost=0 doubled=0 gaps=0 left=0 {lived} {total}", lived.kills);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn turns_outlive_the_server() {
    live("living", size("KILLS", 40), |seed, left| living(seed, left.clamp(10, 30))).await;
}

/// Servers whose sandboxes are supervised by an older release's program, and servers that take those over, by turns.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn turns_outlive_an_upgrade_from_the_release_before() {
    let supervisor = tokio::task::block_in_place(|| previous("supervisor-v1"));
    let of = |seed, left: usize| {
        let mut plan = living::Plan { name: "previous", ..living(seed, left.clamp(10, 30)) };
        plan.setup.supervisor = Some(supervisor.clone());
        plan
    };
    live("previous", size("KILLS", 40).div_ceil(4), of).await;
}

/// The real CLI goes on as well, and its model is asked for nothing twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn turns_of_the_real_cli_outlive_the_server() {
    let of = |seed, left: usize| living::Plan {
        name: "claude",
        sessions: 2,
        watchers: 2,
        agent: Agent::ClaudeCode,
        pause: (100, 800),
        ..living(seed, left.clamp(8, 25))
    };
    live("claude_kills", size("CLAUDE_KILLS", 6), of).await;
}

/// The caller hangs up while its session is stored: it is there whole or not at all, and can be used and stopped at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_hangs_up_leaves_no_half_of_a_session() {
    let mut rig = Rig::start("hang up", seed() + 3, Setup::default()).await;
    for round in 0..60_u64 {
        let link = rig.link();
        // Connected, so that what is cut is the call.
        let _ = link.stop("ses_none", "").await;
        let _ = tokio::time::timeout(Duration::from_micros(100 * round), link.create("")).await;
    }
    rig.finish().await.approve("hang_up");
}
