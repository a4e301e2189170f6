//! Whole sessions whose calls to Modal fail in all the ways that pass: nothing that the agent said is lost or doubled, there is
//! one sandbox at a time, and none is left.
//!
//! `ELSEWHERE_SEEDS=200` for more of them, `SEED` for the first; a seed that fails is printed and fails alone as well.

mod mixture;
mod script;
mod session;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use agent_runtime::proto;
use rand::{Rng as _, RngCore as _, SeedableRng as _, rngs::StdRng};
use sha2::{Digest as _, Sha256};
use tokio::{
    runtime::Handle,
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use self::{
    mixture::{ALL, Met, Mixture},
    script::Part,
    session::{PATIENCE, Session, told},
};
use crate::{
    cli,
    rig::{Rig, eventually, size, text},
    support::check_ranges,
};

/// Runs side by side.
const TOGETHER: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn faults_lose_nothing_double_nothing_and_leave_nothing() {
    if Rig::new(&[]).is_none() {
        return;
    }
    // Where it is not in the cache, each emulator installs it by itself.
    drop(cli::installed().await);
    let (first, seeds) = (size("SEED", 0) as u64, size("ELSEWHERE_SEEDS", 8) as u64);
    let (turns, mut runs, mut seed_of) = (Arc::new(Semaphore::new(TOGETHER)), JoinSet::new(), BTreeMap::new());
    for seed in first..first + seeds {
        let turns = Arc::clone(&turns);
        let run = runs.spawn_blocking(move || {
            Handle::current().block_on(async {
                let _turn = turns.acquire().await.expect("open");
                run(seed).await
            })
        });
        seed_of.insert(run.id(), seed);
    }
    let (mut met, mut failed) = (Met::default(), Vec::new());
    while let Some(ended) = runs.join_next().await {
        match ended {
            Ok(one) => met.join(one),
            Err(error) => {
                let seed = seed_of[&error.id()];
                eprintln!("SEED={seed} ELSEWHERE_SEEDS=1 fails: {:?}", Mixture::of(seed, &mut rng(seed)));
                failed.push(seed);
            }
        }
    }
    let (calls, faults) = met.sums();
    println!("{seeds} runs from {first}: {calls} calls, {faults} of which failed: {met:#?}");
    assert!(failed.is_empty(), "these seeds failed: {failed:?}");
    if seeds >= ALL {
        met.check();
    }
}

fn rng(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

/// One session, from its first message to its deletion.
async fn run(seed: u64) -> Met {
    let mut rng = rng(seed);
    let mixture = Mixture::of(seed, &mut rng);
    let (seed, life) = (seed.to_string(), mixture.token_life.to_string());
    let rig = Rig::with(&["--seed", &seed, "--token-life", &life, "--faults", &mixture.rules], &[]);
    let rig = rig.expect("there was one before");
    let server = rig.open_with(&["--compact-after", "1000000"]);
    let mut session = Session::begin(&server, mixture.gpu).await;
    let mut beside = session.watched_in_pieces(rng.random());

    // The second waits until the first is over.
    let first = Part::default()
        .says(&mut rng, 800, 8, 500)
        .runs("echo 1 >> ran; wc -l < ran", "1\n")
        .warns(&mut rng)
        .counts(300, 3);
    let second = Part::default().thinks(&mut rng, 400).asks(&mut rng).says(&mut rng, 300, 40, 0);
    session.send(first).await;
    session.send(second).await;
    session.allow().await;
    session.until_end().await;

    let mut given = vec![0; rng.random_range(1..200_000)];
    rng.fill_bytes(&mut given);
    session.write("given", &given).await;
    let digest = format!("{:x}", Sha256::digest(&given));
    let large = Part::default()
        .says(&mut rng, 40_000, 500, 100)
        .runs("sha256sum given | cut -c1-64; echo 2 >> ran; wc -l < ran", &format!("{digest}\n2\n"))
        .warns(&mut rng);
    session.turn(large).await;

    let stops = rng.random_range(1..=2);
    for back in 1..=stops {
        session.stop().await;
        if rng.random_bool(0.5) {
            eventually("it ended with its session", || rig.running().is_empty()).await;
        }
        let numbers = (1..back + 2).map(|number| format!("{number}\n")).collect::<Vec<_>>().concat();
        let again = Part::default()
            .runs(&format!("cat ran; echo {} >> ran", back + 2), &numbers)
            .says(&mut rng, 1000, 20, 300)
            .warns(&mut rng);
        session.turn(again).await;
    }
    assert!(session.read("given").await == given, "what was written is there, in the last sandbox too");
    let generation = session.judge().await;
    let id = session.id.clone();
    let whole = session.delete().await;
    let pieces = timeout(PATIENCE, beside.join_next()).await.expect("it ends with the session");
    let pieces = pieces.expect("one").expect("it is whole");
    check_ranges(0, &pieces);
    assert_eq!(told(&pieces, i64::MAX), told(&whole, i64::MAX), "what both watches saw");

    let made = rig.emulator.sandboxes();
    assert!(made.iter().all(|sandbox| text(&sandbox["tags"]["agent-runtime-session"]) == id), "{made:#?}");
    assert_eq!(made.len(), 1 + stops, "each was made once: {made:#?}");
    let generations: Vec<_> = made.iter().map(|sandbox| text(&sandbox["tags"]["agent-runtime-generation"])).collect();
    let wanted: Vec<_> = (1..=generation).map(|number| number.to_string()).collect();
    assert_eq!(generations, wanted, "one for each generation");
    drop(server);
    nothing_is_left(&rig).await;
    let mut met = Met::default();
    met.add(&rig.emulator.calls());
    met
}

/// After another look of the reaper nothing runs, and nothing is written down.
async fn nothing_is_left(rig: &Rig) {
    let lists = || rig.emulator.calls()["SandboxListV2"]["made"].as_u64().unwrap_or(0);
    let before = lists();
    let server = rig.open();
    eventually("the reaper looks", || lists() > before).await;
    let mut runtime = server.runtime().await;
    let patience = Instant::now() + PATIENCE;
    loop {
        let all = proto::ListSandboxesRequest { include_ended: true, ..Default::default() };
        let left = runtime.list_sandboxes(all).await.expect("listed").into_inner().sandboxes;
        if left.is_empty() && rig.running().is_empty() {
            return;
        }
        assert!(Instant::now() < patience, "left: {left:#?}, running: {:#?}", rig.running());
        sleep(Duration::from_millis(100)).await;
    }
}
