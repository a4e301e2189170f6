//! Sandboxes that are there: their router, their end, their tags, and what was kept of them.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use super::making::metadata;
use crate::{
    dev::modal::{
        error::Error,
        ids,
        sandbox::{ExitSnapshot, Life, Sandbox, Version},
        world::World,
    },
    modal_wire::client::{
        SandboxGetCommandRouterAccessRequest, SandboxGetCommandRouterAccessResponse, SandboxGetExitSnapshotRequest,
        SandboxGetExitSnapshotResponse, SandboxGetTaskIdRequest, SandboxGetTaskIdResponse, SandboxGetTunnelsRequest,
        SandboxGetTunnelsResponse, SandboxTagsGetRequest, SandboxTagsGetResponse, SandboxTagsSetRequest,
        SandboxTerminateRequest, SandboxTerminateResponse, SandboxWaitRequest, SandboxWaitResponse,
        TaskGetCommandRouterAccessResponse,
        sandbox_get_command_router_access_request::Target,
        sandbox_get_exit_snapshot_response::{Error as SnapshotError, ErrorCode, Outcome, Pending, Success},
    },
};

/// Longest that a call waits for something to happen.
const LONGEST: f32 = 55.0;

/// A sandbox by an id that the calls of this version take.
fn find(world: &World, version: Version, id: &str) -> Result<Arc<Sandbox>, Error> {
    let of = if ids::is_v1(id) { Version::V1 } else { Version::V2 };
    if of == version {
        world.sandbox(id)
    } else {
        Err(Error::NotFound(format!("there is no sandbox {id} of this version")))
    }
}

pub(super) fn task_id(
    world: &World,
    version: Version,
    request: &SandboxGetTaskIdRequest,
) -> Result<SandboxGetTaskIdResponse, Error> {
    let sandbox = find(world, version, &request.sandbox_id)?;
    let task_id = world.is_placed(&sandbox).then(|| sandbox.facts.task.clone());
    Ok(SandboxGetTaskIdResponse { task_id, task_result: sandbox.result() })
}

pub(super) fn access(
    world: &World,
    request: &SandboxGetCommandRouterAccessRequest,
    url: String,
) -> Result<SandboxGetCommandRouterAccessResponse, Error> {
    let sandbox = match &request.target {
        Some(Target::SandboxId(id)) => find(world, Version::V2, id)?,
        Some(Target::TaskId(id)) => world.task(id)?,
        None => return Err(Error::Invalid("target is missing".to_owned())),
    };
    if sandbox.result().is_some() {
        return Err(Error::State(format!("sandbox {} has ended", sandbox.facts.id)));
    }
    let jwt = world.tokens.issue(&sandbox.facts.task);
    Ok(SandboxGetCommandRouterAccessResponse { jwt, url, worker_ipv4_address: String::new() })
}

pub(super) fn task_access(world: &World, task: &str, url: String) -> Result<TaskGetCommandRouterAccessResponse, Error> {
    let sandbox = world.task(task)?;
    if sandbox.result().is_some() {
        return Err(sandbox.gone());
    }
    Ok(TaskGetCommandRouterAccessResponse { jwt: world.tokens.issue(task), url })
}

pub(super) async fn wait(
    world: &World,
    version: Version,
    request: &SandboxWaitRequest,
) -> Result<SandboxWaitResponse, Error> {
    let sandbox = find(world, version, &request.sandbox_id)?;
    let mut life = sandbox.life();
    let ended = life.wait_for(|life| matches!(life, Life::Ended(..)));
    let longest = if world.options.holds { LONGEST } else { 0.0 };
    // That it goes on running is an answer.
    let _ = timeout(Duration::from_secs_f32(request.timeout.clamp(0.0, longest)), ended).await;
    Ok(SandboxWaitResponse { result: sandbox.result(), metadata: Some(metadata(&sandbox)) })
}

pub(super) fn terminate(
    world: &World,
    version: Version,
    request: &SandboxTerminateRequest,
) -> Result<SandboxTerminateResponse, Error> {
    let sandbox = find(world, version, &request.sandbox_id)?;
    let existing_result = sandbox.result();
    sandbox.terminate();
    Ok(SandboxTerminateResponse { existing_result })
}

pub(super) fn tags(
    world: &World,
    version: Version,
    request: &SandboxTagsGetRequest,
) -> Result<SandboxTagsGetResponse, Error> {
    Ok(SandboxTagsGetResponse { tags: find(world, version, &request.sandbox_id)?.tags() })
}

pub(super) fn set_tags(world: &World, version: Version, request: SandboxTagsSetRequest) -> Result<(), Error> {
    find(world, version, &request.sandbox_id)?.set_tags(request.tags);
    Ok(())
}

/// No sandbox here has any; whoever asks is told so, or that it has ended.
pub(super) fn tunnels(
    world: &World,
    version: Version,
    request: &SandboxGetTunnelsRequest,
) -> Result<SandboxGetTunnelsResponse, Error> {
    let sandbox = find(world, version, &request.sandbox_id)?;
    Ok(SandboxGetTunnelsResponse { result: sandbox.result(), tunnels: Vec::new() })
}

pub(super) async fn exit_snapshot(
    world: &World,
    version: Version,
    request: &SandboxGetExitSnapshotRequest,
) -> Result<SandboxGetExitSnapshotResponse, Error> {
    let sandbox = find(world, version, &request.sandbox_id)?;
    let mut snapshot = sandbox.exit_snapshot();
    let there = snapshot.wait_for(|snapshot| *snapshot != ExitSnapshot::Pending);
    let _ = timeout(Duration::from_secs_f32(request.timeout.clamp(0.0, LONGEST)), there).await;
    let outcome = match snapshot.borrow().clone() {
        ExitSnapshot::Unwanted => {
            return Err(Error::State("the sandbox was made without enable_exit_snapshot".to_owned()));
        }
        ExitSnapshot::Pending => Outcome::Pending(Pending {}),
        ExitSnapshot::Kept(image_id) => Outcome::Success(Success { image_id }),
        ExitSnapshot::Failed(message) => {
            Outcome::Error(SnapshotError { error_code: ErrorCode::Internal.into(), message })
        }
    };
    Ok(SandboxGetExitSnapshotResponse { outcome: Some(outcome) })
}
