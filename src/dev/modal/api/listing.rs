//! Sandboxes by tags, page by page, and by name.

use std::sync::Arc;

use super::making::metadata;
use crate::{
    dev::modal::{
        error::Error,
        sandbox::{Life, Sandbox, Version},
        world::World,
    },
    modal_wire::client::{
        ResourceInfo, Resources, SandboxGetFromNameRequest, SandboxGetFromNameResponse, SandboxInfo,
        SandboxListRequest, SandboxListResponse, TaskInfo, resource_info::ResourceValue,
    },
};

/// What a sandbox gets that asks for nothing: thousandths of a core, and MiB.
const RESERVED: (u32, u32) = (125, 128);

/// One page, newest first. The list of the second version shows sandboxes of both.
pub(super) fn list(world: &World, version: Version, request: &SandboxListRequest) -> SandboxListResponse {
    let SandboxListRequest { app_id, before_timestamp, environment_name: _, include_finished, tags } = request;
    let wanted = |sandbox: &Arc<Sandbox>| {
        let facts = &sandbox.facts;
        let own = sandbox.tags();
        (app_id.is_empty() || facts.app == *app_id)
            && (version == Version::V2 || facts.version == Version::V1)
            && (*before_timestamp <= 0.0 || facts.created < *before_timestamp)
            && (*include_finished || sandbox.result().is_none())
            && tags.iter().all(|tag| own.contains(tag))
    };
    let mut found: Vec<_> = world.sandboxes().into_iter().filter(wanted).collect();
    found.sort_by(|one, other| other.facts.created.total_cmp(&one.facts.created));
    found.truncate(world.options.page);
    SandboxListResponse { sandboxes: found.iter().map(|sandbox| info(sandbox)).collect() }
}

pub(super) fn from_name(
    world: &World,
    version: Version,
    request: &SandboxGetFromNameRequest,
) -> Result<SandboxGetFromNameResponse, Error> {
    let app = world.app(&request.environment_name, &request.app_name, false, false)?;
    let has_name = |sandbox: &&Arc<Sandbox>| {
        let facts = &sandbox.facts;
        facts.app == app
            && facts.version == version
            && facts.definition.name.as_deref() == Some(request.sandbox_name.as_str())
            && (request.include_terminated || sandbox.result().is_none())
    };
    // The newest: only one of a name runs.
    let sandboxes = world.sandboxes();
    let found = sandboxes.iter().rev().find(has_name);
    let found = found.ok_or_else(|| Error::NotFound(format!("there is no sandbox named {}", request.sandbox_name)))?;
    Ok(SandboxGetFromNameResponse { sandbox_id: found.facts.id.clone(), metadata: Some(metadata(found)) })
}

fn info(sandbox: &Sandbox) -> SandboxInfo {
    let facts = &sandbox.facts;
    let definition = &facts.definition;
    let (result, finished_at) = match &*sandbox.life().borrow() {
        Life::Running => (None, 0.0),
        Life::Ended(result, at) => (Some(result.clone()), *at),
    };
    let task_info =
        TaskInfo { id: facts.task.clone(), started_at: facts.created, finished_at, result, enqueued_at: facts.created };
    SandboxInfo {
        id: facts.id.clone(),
        created_at: facts.created,
        task_info: Some(task_info),
        app_id: facts.app.clone(),
        tags: sandbox.tags(),
        name: definition.name.clone().unwrap_or_default(),
        image_id: definition.image_id.clone(),
        resource_info: Some(resources(definition.resources.clone().unwrap_or_default())),
        regions: definition.scheduler_placement.as_ref().map(|placement| placement.regions.clone()).unwrap_or_default(),
        timeout_secs: definition.timeout_secs,
        idle_timeout_secs: definition.idle_timeout_secs,
        ready_at: Some(facts.created),
        readiness_probe: None,
        tunnels: Vec::new(),
        metadata: Some(metadata(sandbox)),
    }
}

fn resources(asked: Resources) -> ResourceInfo {
    let value = |asked: u32, default: u32| {
        Some(ResourceValue { value: if asked == 0 { default } else { asked }, is_default: asked == 0 })
    };
    ResourceInfo {
        memory_mb: value(asked.memory_mb, RESERVED.1),
        milli_cpu: value(asked.milli_cpu, RESERVED.0),
        gpu_type: asked.gpu_config.unwrap_or_default().gpu_type,
        memory_mb_max: asked.memory_mb_max,
        ephemeral_disk_mb: asked.ephemeral_disk_mb,
        milli_cpu_max: asked.milli_cpu_max,
    }
}
