//! Makes a sandbox at Modal. Its name is our id, and a name is given to one running sandbox only: so a create whose answer is
//! lost never makes a second one, and the one it made is found.
//!
//! It must not know what is written down of it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::sleep;
use tonic::{Code, Status};

use super::{
    control::Control,
    home::{Found, Home},
    names,
    origin::Witness,
    remote::Remote,
};
use crate::{
    domain::{LedgerEntry, ModalGpu, ModalNetwork, ModalSettings, SandboxId, SessionKey},
    modal_wire::client::{
        CommandRouterAccess, GpuConfig, NetworkAccess, PortSpecs, Resources, Sandbox, SandboxCreateRequest,
        SandboxCreateV2Request, SandboxGetFromNameRequest, SandboxTag, SchedulerPlacement,
        network_access::NetworkAccessType,
    },
};

/// After so long in which nothing runs in it Modal ends a sandbox, and keeps its files: whoever should have is not there.
const IDLE: Duration = Duration::from_mins(30);

/// How often a name that is taken is tried again, and after which pause.
const NAME_FREED_WITHIN: u32 = 10;
const PAUSE: Duration = Duration::from_secs(1);

/// Tags: what a sandbox belongs to, for whoever looks for what is left over.
pub(super) const OWNER: &str = "agent-runtime-owner";
pub(super) const SESSION: &str = "agent-runtime-session";
pub(super) const SANDBOX: &str = "agent-runtime-sandbox";
pub(super) const GENERATION: &str = "agent-runtime-generation";

/// A sandbox to make.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    pub(super) id: &'a SandboxId,
    pub(super) session: &'a SessionKey,
    pub(super) generation: i32,
    pub(super) owner: &'a str,
    pub(super) image_id: String,
    pub(super) workspace: &'a str,
    pub(super) settings: &'a ModalSettings,
}

/// A sandbox that is there.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) remote: Remote,
    pub(super) task_id: String,
    /// `None`: to be fetched.
    pub(super) access: Option<CommandRouterAccess>,
}

/// Makes it, or finds the one that was made before.
pub(super) async fn make(control: &Arc<Control>, home: &Home, plan: &Plan<'_>) -> Result<Made, Status> {
    let mut found = home.find(control).await?;
    let (mut tried, mut again) = (0, false);
    loop {
        let failure = match once(control, home, &found, plan).await {
            Ok(made) => return Ok(made),
            Err(failure) => failure,
        };
        if matches!(failure.code(), Code::NotFound | Code::FailedPrecondition) && !again {
            // The app may be what is missing.
            again = true;
            match home.find_again(control, &found).await {
                Ok(Some(other)) => found = other,
                Ok(None) | Err(_) => return Err(failure),
            }
            continue;
        }
        // The name may still be that of one that is just ending.
        tried += 1;
        if failure.code() != Code::AlreadyExists || tried == NAME_FREED_WITHIN {
            return Err(failure);
        }
        sleep(PAUSE).await;
    }
}

async fn once(control: &Arc<Control>, home: &Home, found: &Found, plan: &Plan<'_>) -> Result<Made, Status> {
    let made = match &plan.settings.gpu {
        // Only the first version of the call knows GPUs.
        Some(_) => make_v1(control, found, plan).await,
        None => make_v2(control, found, plan).await,
    };
    let failure = match made {
        Ok(made) => return Ok(made),
        Err(failure) => failure,
    };
    let unclear = matches!(
        failure.code(),
        Code::AlreadyExists
            | Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Cancelled
            | Code::Unknown
            | Code::Internal
    );
    if !unclear {
        return Err(failure);
    }
    match by_name(control, home.by_name(names::sandbox(plan.id), None)).await? {
        Some(sandbox_id) => adopt(control, sandbox_id).await.map_err(|status| match status.code() {
            // It was found, and is over by now.
            Code::NotFound => Status::already_exists(status.message()),
            _ => status,
        }),
        None => Err(failure),
    }
}

/// The sandbox that runs under the name of a row whose making was cut short, by Modal's id. `None`: none does.
pub(super) async fn running(
    control: &Control,
    home: &Arc<Home>,
    entry: &LedgerEntry,
) -> Result<Option<String>, Status> {
    let request = home.by_name(names::sandbox(&entry.id), entry.facts.origin.as_ref());
    let found = by_name(control, request).await?;
    if found.is_none() {
        Witness::of_life(home, entry).believe(control).await?;
    }
    Ok(found)
}

async fn by_name(control: &Control, request: SandboxGetFromNameRequest) -> Result<Option<String>, Status> {
    let second = control
        .call(request.clone(), |mut control, request| async move { control.sandbox_get_from_name_v2(request).await });
    match second.await {
        Ok(found) => return Ok(Some(found.sandbox_id)),
        Err(status) if status.code() == Code::NotFound => {}
        Err(status) => return Err(status),
    }
    let first =
        control.call(request, |mut control, request| async move { control.sandbox_get_from_name(request).await });
    match first.await {
        Ok(found) => Ok(Some(found.sandbox_id)),
        // Who does not know the first version has none of its sandboxes.
        Err(status) if matches!(status.code(), Code::NotFound | Code::Unimplemented) => Ok(None),
        Err(status) => Err(status),
    }
}

/// One that is there, of which only the id is known.
pub(super) async fn adopt(control: &Arc<Control>, sandbox_id: String) -> Result<Made, Status> {
    let remote = Remote::new(Arc::clone(control), sandbox_id);
    let task_id = remote.task_id().await?;
    Ok(Made { remote, task_id, access: None })
}

async fn make_v2(control: &Arc<Control>, found: &Found, plan: &Plan<'_>) -> Result<Made, Status> {
    let request = SandboxCreateV2Request {
        app_id: found.app_id.clone(),
        definition: Some(definition(plan)),
        tags: tags(plan),
        ..SandboxCreateV2Request::default()
    };
    let made =
        control.change(request, |mut control, request| async move { control.sandbox_create_v2(request).await }).await?;
    let remote = Remote::new(Arc::clone(control), made.sandbox_id);
    let task_id = if made.task_id.is_empty() { remote.task_id().await? } else { made.task_id };
    // What is empty tells as much as what is not there.
    let access = made.command_router_access.filter(|access| !access.url.is_empty());
    Ok(Made { remote, task_id, access })
}

async fn make_v1(control: &Arc<Control>, found: &Found, plan: &Plan<'_>) -> Result<Made, Status> {
    let request = SandboxCreateRequest {
        app_id: found.app_id.clone(),
        definition: Some(definition(plan)),
        tags: tags(plan),
        ..SandboxCreateRequest::default()
    };
    let made =
        control.change(request, |mut control, request| async move { control.sandbox_create(request).await }).await?;
    adopt(control, made.sandbox_id).await
}

fn definition(plan: &Plan<'_>) -> Sandbox {
    let ModalSettings {
        image: _,
        milli_cpu,
        memory_mib,
        timeout: _,
        gpu,
        network,
        milli_cpu_max,
        memory_mib_max,
        regions,
        cloud,
    } = plan.settings;
    let gpu_config = gpu.as_ref().map_or_else(GpuConfig::default, |ModalGpu { kind, count }| GpuConfig {
        count: *count,
        gpu_type: kind.clone(),
    });
    let resources = Resources {
        milli_cpu: *milli_cpu,
        memory_mb: *memory_mib,
        milli_cpu_max: *milli_cpu_max,
        memory_mb_max: *memory_mib_max,
        gpu_config: Some(gpu_config),
        ..Resources::default()
    };
    let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
    let leave = ("enable_exit_snapshot".to_owned(), "true".to_owned());
    Sandbox {
        image_id: plan.image_id.clone(),
        resources: Some(resources),
        timeout_secs: seconds(plan.settings.lifetime()),
        workdir: Some(plan.workspace.to_owned()),
        open_ports_oneof: Some(crate::modal_wire::client::sandbox::OpenPortsOneof::OpenPorts(PortSpecs::default())),
        network_access: Some(network_access(network.as_ref())),
        scheduler_placement: (!regions.is_empty())
            .then(|| SchedulerPlacement { regions: regions.clone(), ..SchedulerPlacement::default() }),
        cloud_provider_str: cloud.clone(),
        name: Some(names::sandbox(plan.id)),
        idle_timeout_secs: Some(seconds(IDLE)),
        experimental_options_v2: BTreeMap::from([leave]),
        ..Sandbox::default()
    }
}

fn network_access(network: Option<&ModalNetwork>) -> NetworkAccess {
    let (kind, cidrs, domains) = match network {
        None => (NetworkAccessType::Open, Vec::new(), Vec::new()),
        Some(ModalNetwork::Blocked) => (NetworkAccessType::Blocked, Vec::new(), Vec::new()),
        Some(ModalNetwork::Allowed { domains, cidrs }) => {
            (NetworkAccessType::Allowlist, cidrs.clone(), domains.clone())
        }
    };
    NetworkAccess { network_access_type: kind.into(), allowed_cidrs: cidrs, allowed_domains: domains }
}

fn tags(plan: &Plan<'_>) -> Vec<SandboxTag> {
    let tag = |name: &str, value: String| SandboxTag { tag_name: name.to_owned(), tag_value: value };
    vec![
        tag(OWNER, plan.owner.to_owned()),
        tag(SESSION, plan.session.session.to_string()),
        tag(SANDBOX, plan.id.to_string()),
        tag(GENERATION, plan.generation.to_string()),
    ]
}
