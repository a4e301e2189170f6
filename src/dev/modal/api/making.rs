//! Apps, environments, secrets, and the making of sandboxes: what of a definition takes effect, and what is refused because
//! the emulator does not have it.

use std::sync::Arc;

use crate::{
    dev::modal::{
        error::Error,
        ids,
        sandbox::{Sandbox, Version},
        world::{Wanted, World, now},
    },
    modal_wire::client::{
        self, AppGetOrCreateRequest, AppGetOrCreateResponse, CommandRouterAccess, CreationInfo,
        EnvironmentGetOrCreateRequest, EnvironmentGetOrCreateResponse, EnvironmentMetadata, EnvironmentSettings,
        ObjectCreationType, SandboxCreateRequest, SandboxCreateResponse, SandboxCreateV2Request,
        SandboxCreateV2Response, SandboxHandleMetadata, SecretGetOrCreateRequest, SecretGetOrCreateResponse,
        SecretMetadata,
    },
};

/// How images are built, as far as an account tells.
pub(super) const BUILDER: &str = "2025.06";

/// The longest name a sandbox may have.
const NAME: usize = 64;

pub(super) fn app(world: &World, request: &AppGetOrCreateRequest) -> Result<AppGetOrCreateResponse, Error> {
    let (make, fail_if_there) = match request.object_creation_type() {
        ObjectCreationType::Unspecified => (false, false),
        ObjectCreationType::CreateIfMissing | ObjectCreationType::CreateOverwriteIfExists => (true, false),
        ObjectCreationType::CreateFailIfExists => (true, true),
        ObjectCreationType::Ephemeral | ObjectCreationType::AnonymousOwnedByApp => {
            return Err(Error::NotEmulated("apps without a name"));
        }
    };
    if request.app_name.is_empty() {
        return Err(Error::Invalid("app_name is empty".to_owned()));
    }
    Ok(AppGetOrCreateResponse { app_id: world.app(&request.environment_name, &request.app_name, make, fail_if_there)? })
}

/// There is whichever environment is asked for; the one without a name is `main`.
pub(super) fn environment(request: EnvironmentGetOrCreateRequest) -> EnvironmentGetOrCreateResponse {
    let name = Some(request.deployment_name).filter(|name| !name.is_empty()).unwrap_or_else(|| "main".to_owned());
    let settings = EnvironmentSettings { image_builder_version: BUILDER.to_owned() };
    EnvironmentGetOrCreateResponse {
        environment_id: ids::short("en"),
        metadata: Some(EnvironmentMetadata { name, settings: Some(settings) }),
    }
}

pub(super) fn secret(world: &World, request: SecretGetOrCreateRequest) -> Result<SecretGetOrCreateResponse, Error> {
    let kind = request.object_creation_type();
    let SecretGetOrCreateRequest { deployment_name, environment_name, env_dict, .. } = request;
    let name = (!deployment_name.is_empty()).then_some((environment_name.as_str(), deployment_name.as_str()));
    let env = Some(env_dict.into_iter().collect());
    let secret_id = match (kind, name) {
        (ObjectCreationType::AnonymousOwnedByApp | ObjectCreationType::Ephemeral, _) => world.secret(None, env)?,
        (ObjectCreationType::CreateIfMissing, Some(_)) => match world.secret(name, None) {
            Err(Error::NotFound(_)) => world.secret(name, env)?,
            other => other?,
        },
        (ObjectCreationType::CreateFailIfExists, Some(_)) if world.secret(name, None).is_ok() => {
            return Err(Error::Exists(format!("there is a secret {deployment_name} already")));
        }
        (ObjectCreationType::CreateOverwriteIfExists | ObjectCreationType::CreateFailIfExists, Some(_)) => {
            world.secret(name, env)?
        }
        (ObjectCreationType::Unspecified, Some(_)) => world.secret(name, None)?,
        (_, None) => return Err(Error::Invalid("deployment_name is empty".to_owned())),
    };
    let creation_info = Some(CreationInfo { created_at: now(), created_by: "emulator".to_owned() });
    let metadata = Some(SecretMetadata { name: deployment_name, creation_info });
    Ok(SecretGetOrCreateResponse { secret_id, metadata })
}

pub(super) async fn v1(world: &Arc<World>, request: SandboxCreateRequest) -> Result<SandboxCreateResponse, Error> {
    let SandboxCreateRequest { app_id, definition, environment_name: _, tags } = request;
    let definition = definition.ok_or_else(|| Error::Invalid("definition is missing".to_owned()))?;
    let env = variables(world, &definition)?;
    let sandbox = make(world, Wanted { version: Version::V1, app: app_id, definition, env, tags }).await?;
    Ok(SandboxCreateResponse { sandbox_id: sandbox.facts.id.clone(), metadata: Some(metadata(&sandbox)) })
}

pub(super) async fn v2(
    world: &Arc<World>,
    request: SandboxCreateV2Request,
    url: String,
) -> Result<SandboxCreateV2Response, Error> {
    let SandboxCreateV2Request {
        app_id,
        definition,
        ephemeral_secrets,
        tags,
        cloud_bucket_mount_credentials,
        secret_sources,
    } = request;
    if !cloud_bucket_mount_credentials.is_empty() {
        return Err(Error::NotEmulated("cloud buckets (cloud_bucket_mount_credentials)"));
    }
    let definition = definition.ok_or_else(|| Error::Invalid("definition is missing".to_owned()))?;
    if gpu(&definition) {
        return Err(Error::Invalid("SandboxCreateV2 takes no GPU (definition.resources.gpu_config)".to_owned()));
    }
    let mut env = variables(world, &definition)?;
    env.extend(ephemeral_secrets.unwrap_or_default().contents);
    env.extend(world.sources(&secret_sources)?);
    let sandbox = make(world, Wanted { version: Version::V2, app: app_id, definition, env, tags }).await?;
    let (task_id, access) = if world.is_placed(&sandbox) {
        let task_id = sandbox.facts.task.clone();
        let access = CommandRouterAccess { jwt: world.tokens.issue(&task_id), url };
        (task_id, access)
    } else {
        Default::default()
    };
    Ok(SandboxCreateV2Response {
        sandbox_id: sandbox.facts.id.clone(),
        tunnels: Vec::new(),
        task_id,
        metadata: Some(metadata(&sandbox)),
        command_router_access: Some(access),
        sandbox_token: world.tokens.issue(&sandbox.facts.id),
    })
}

async fn make(world: &Arc<World>, wanted: Wanted) -> Result<Arc<Sandbox>, Error> {
    examine(&wanted.definition)?;
    for (name, _) in &wanted.env {
        let mut bytes = name.bytes();
        let begins = bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_');
        if !begins || !bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(Error::Invalid(format!("{name:?} is no name of a variable")));
        }
    }
    world.create(wanted).await
}

/// What a sandbox is known by to those who hold its id.
pub(super) fn metadata(sandbox: &Sandbox) -> SandboxHandleMetadata {
    SandboxHandleMetadata { result: sandbox.result(), app_id: sandbox.facts.app.clone() }
}

fn variables(world: &World, definition: &client::Sandbox) -> Result<Vec<(String, String)>, Error> {
    let mut env: Vec<_> = definition.environment_variables.iter().flat_map(|map| map.contents.clone()).collect();
    env.extend(world.kept(&definition.secret_ids)?);
    Ok(env)
}

fn gpu(definition: &client::Sandbox) -> bool {
    let gpu = definition.resources.as_ref().and_then(|resources| resources.gpu_config.as_ref());
    gpu.is_some_and(|gpu| gpu.count > 0 || !gpu.gpu_type.is_empty())
}

/// Refuses by name what has no effect here and would be missed. What is only recorded stands in `ARCHITECTURE.md`.
fn examine(definition: &client::Sandbox) -> Result<(), Error> {
    use client::sandbox::OpenPortsOneof;

    let client::Sandbox {
        entrypoint_args: _,
        mount_ids,
        image_id: _,
        secret_ids: _,
        resources: _,
        timeout_secs: _,
        workdir,
        volume_mounts,
        pty_info,
        scheduler_placement: _,
        i6pn_enabled,
        network_access: _,
        proxy_id,
        enable_snapshot,
        cloud_provider_str: _,
        runtime: _,
        verbose: _,
        name,
        idle_timeout_secs: _,
        custom_domain,
        include_oidc_identity_token,
        readiness_probe,
        inbound_cidr_allowlist,
        environment_variables: _,
        experimental_options_v2: _,
        open_ports_oneof,
    } = definition;
    let ports = matches!(open_ports_oneof, Some(OpenPortsOneof::OpenPorts(ports)) if !ports.ports.is_empty());
    let refused = [
        (!mount_ids.is_empty(), "mounts (mount_ids)"),
        (!volume_mounts.is_empty(), "volumes (volume_mounts)"),
        (pty_info.as_ref().is_some_and(|pty| pty.enabled), "terminals (pty_info)"),
        (*i6pn_enabled, "networks between sandboxes (i6pn_enabled)"),
        (proxy_id.is_some(), "proxies (proxy_id)"),
        (*enable_snapshot, "snapshots of memory (enable_snapshot)"),
        (
            !custom_domain.is_empty() || ports || !inbound_cidr_allowlist.is_empty(),
            "tunnels (open_ports and what limits them)",
        ),
        (*include_oidc_identity_token, "identity tokens (include_oidc_identity_token)"),
        (readiness_probe.is_some(), "readiness probes (readiness_probe)"),
    ];
    if let Some((_, what)) = refused.into_iter().find(|(there, _)| *there) {
        return Err(Error::NotEmulated(what));
    }
    let fits = |name: &String| {
        name.len() <= NAME && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    if !name.as_ref().is_none_or(fits) {
        return Err(Error::Invalid("a name has at most 64 of A-Z, a-z, 0-9, '.', '_' and '-'".to_owned()));
    }
    if workdir.as_ref().is_some_and(|dir| !dir.is_empty() && !dir.starts_with('/')) {
        return Err(Error::Invalid("workdir must be an absolute path".to_owned()));
    }
    Ok(())
}
