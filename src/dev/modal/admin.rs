//! What tests tell an emulator beside Modal's own calls, as plain HTTP below `/emulator/`: what there is and was built, that a
//! sandbox dies, that all tokens have expired, which calls fail, and how often each was made and failed.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::{get, post},
};
use serde::Serialize;

use super::{
    asked::{Asked, Build},
    faults::{Count, Rule},
    sandbox::{ExitSnapshot, Life, Sandbox},
    world::World,
};

/// A sandbox, for whoever tests with it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Shown {
    /// Its id.
    pub id: String,
    /// Its task's.
    pub task: String,
    /// Its name among the running ones of its app; may be empty.
    pub name: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// The image it was made from.
    pub image: String,
    /// It runs.
    pub running: bool,
    /// How it ended, as Modal names it; empty while it runs.
    pub status: String,
    /// What it was asked to be like.
    pub asked: Asked,
}

pub(super) fn router(world: Arc<World>) -> Router {
    Router::new()
        .route("/emulator/sandboxes", get(list))
        .route("/emulator/sandboxes/{id}/kill", post(kill))
        .route("/emulator/builds", get(builds))
        .route("/emulator/snapshots", get(snapshots))
        .route("/emulator/forget-apps", post(forget_apps))
        .route("/emulator/expire-tokens", post(expire))
        .route("/emulator/drop-snapshots", post(drop_snapshots))
        .route("/emulator/faults", post(faults).get(struck))
        .route("/emulator/calls", get(calls))
        .with_state(world)
}

async fn list(State(world): State<Arc<World>>) -> Json<Vec<Shown>> {
    Json(shown(&world))
}

async fn builds(State(world): State<Arc<World>>) -> Json<Vec<Build>> {
    Json(world.images.builds())
}

async fn kill(State(world): State<Arc<World>>, Path(id): Path<String>) -> Result<(), (StatusCode, String)> {
    let sandbox = world.sandbox(&id).map_err(|error| (StatusCode::NOT_FOUND, error.to_string()))?;
    sandbox.fail().await;
    Ok(())
}

/// Ids of the images that hold files of sandboxes.
async fn snapshots(State(world): State<Arc<World>>) -> Json<Vec<String>> {
    Json(world.images.kept())
}

/// As if somebody had deleted all apps.
async fn forget_apps(State(world): State<Arc<World>>) {
    world.forget_apps();
}

async fn expire(State(world): State<Arc<World>>) {
    world.tokens.expire();
}

/// As if the time of all snapshots were over.
async fn drop_snapshots(State(world): State<Arc<World>>) {
    // Also what a sandbox that is over is still leaving: it would come a moment later.
    for sandbox in world.sandboxes().iter().filter(|sandbox| sandbox.result().is_some()) {
        let _ = sandbox.exit_snapshot().wait_for(|left| *left != ExitSnapshot::Pending).await;
    }
    world.images.drop_snapshots();
}

/// The body holds the rules, with commas between them; none: nothing fails any more.
async fn faults(State(world): State<Arc<World>>, text: String) -> Result<(), (StatusCode, String)> {
    world.faults.set(rules(&text).map_err(|said| (StatusCode::BAD_REQUEST, said))?);
    Ok(())
}

/// How often they have struck each call since they were set.
async fn struck(State(world): State<Arc<World>>) -> Json<BTreeMap<String, u64>> {
    Json(world.faults.struck())
}

async fn calls(State(world): State<Arc<World>>) -> Json<BTreeMap<String, Count>> {
    Json(world.faults.tally())
}

/// Rules with commas between them.
pub(super) fn rules(text: &str) -> Result<Vec<Rule>, String> {
    text.split(',').map(str::trim).filter(|rule| !rule.is_empty()).map(str::parse).collect()
}

/// All sandboxes there are and were.
pub(super) fn shown(world: &World) -> Vec<Shown> {
    world.sandboxes().iter().map(|sandbox| show(sandbox)).collect()
}

fn show(sandbox: &Sandbox) -> Shown {
    let facts = &sandbox.facts;
    let status = match &*sandbox.life().borrow() {
        Life::Running => String::new(),
        Life::Ended(result, _) => result.status().as_str_name().to_owned(),
    };
    Shown {
        id: facts.id.clone(),
        task: facts.task.clone(),
        name: facts.definition.name.clone().unwrap_or_default(),
        tags: sandbox.tags().into_iter().map(|tag| (tag.tag_name, tag.tag_value)).collect(),
        image: facts.definition.image_id.clone(),
        running: status.is_empty(),
        status,
        asked: Asked::of(facts.version, &facts.definition),
    }
}
