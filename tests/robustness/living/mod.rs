//! Turns that outlive servers: long turns of several sessions, and a server that is killed again and again at the moments that
//! hurt most, or stopped and started as in an upgrade. Whoever counts them counts only turns that lived through three kills.

mod author;
mod beats;
mod claude;
mod hits;
mod moment;
mod mutate;

use std::time::Duration;

use agent_runtime::dev::model::Handle;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tokio::{task::JoinSet, time::timeout};
use tokio_util::task::TaskTracker;

pub use hits::Lived;

use crate::{
    abilities::Abilities,
    census,
    rig::{Outcome, Rig, Setup},
    stage::Stage,
    watcher,
};
use author::Author;
use beats::Beats;
use moment::Moment;

/// How long turns that nobody disturbs any more may take.
const ENDS_WITHIN: Duration = Duration::from_mins(2);

/// What a run is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    pub name: &'static str,
    pub seed: u64,
    /// Sessions; each has one who talks to it.
    pub sessions: usize,
    pub watchers: u32,
    pub kills: usize,
    pub setup: Setup,
    /// Who answers.
    pub agent: Agent,
    /// Between a server's start and the next kill, where nothing is waited for, in milliseconds.
    pub pause: (u64, u64),
}

/// See [`Plan`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agent {
    Scripted,
    ClaudeCode,
}

/// Carries out a plan with the real Claude Code CLI. `None`: there is no CLI here.
pub async fn run_claude(plan: Plan) -> Option<Outcome> {
    let (plan, model) = claude::prepare(plan).await?;
    let outcome = carry_out(plan, Some(&model)).await;
    model.shutdown().await;
    Some(outcome)
}

/// Carries out a plan.
pub async fn run(plan: Plan) -> Outcome {
    carry_out(plan, None).await
}

async fn carry_out(plan: Plan, model: Option<&Handle>) -> Outcome {
    let mut rng = StdRng::seed_from_u64(plan.seed);
    let mut rig = Rig::start(plan.name, plan.seed, plan.setup.clone()).await;
    let abilities = Abilities::of(&rig.link()).await;
    let stage = Stage::new(abilities, plan.sessions);
    let beats = Beats::default();
    let (mut authors, watchers) = (JoinSet::new(), TaskTracker::new());
    for _ in 0..plan.sessions {
        let author = Author {
            link: rig.link(),
            rival: rig.link(),
            stage: stage.clone(),
            beats: beats.clone(),
            agent: plan.agent,
        };
        authors.spawn(author.write(rng.random()));
    }
    for _ in 0..plan.watchers {
        watchers.spawn(watcher::watch(rig.link(), stage.clone(), rng.random()));
    }
    let mut kills = 0;
    while kills < plan.kills {
        let moment = Moment::draw(&mut rng, abilities);
        moment.wait(&rig.data(), &beats, plan.pause, &mut rng).await;
        match moment {
            Moment::Destroy => {
                rig.destroy_one(&mut rng);
                continue;
            }
            Moment::Upgrade => rig.detach(),
            Moment::Start => {
                rig.kill(moment.name());
                rig.kill_while_it_starts(Duration::from_millis(rng.random_range(0..120)));
                kills += 2;
            }
            _ => {
                rig.kill(moment.name());
                kills += 1;
            }
        }
        // Where there is one of an earlier release, servers of both come one after the other.
        rig.supervise_with(plan.setup.supervisor.clone().filter(|_| rng.random_bool(0.5)));
        rig.up();
        if rng.random_bool(0.1) {
            let (recorder, data) = (rig.recorder.clone(), rig.data());
            tokio::task::block_in_place(|| census::take(&recorder, &data, false));
        }
    }
    stage.close();
    // One that found something impossible has said so.
    let ends = async { while authors.join_next().await.is_some_and(|author| author.is_ok()) {} };
    let ended = timeout(ENDS_WITHIN, ends).await.is_ok() && authors.is_empty();
    stage.end();
    rig.proxy.cut_all();
    watchers.close();
    watchers.wait().await;
    assert!(ended, "somebody who wrote did not come to an end, seed {}", plan.seed);
    if let Some(model) = model {
        claude::asked(&rig.recorder, model);
    }
    rig.finish().await
}
