//! Where the agent runs.

use super::{duration, number, text, timestamp};
use crate::{
    domain::{Isolation, ModalGpu, ModalNetwork, ModalSettings, Sandbox, SandboxSpec, SandboxStatus},
    proto,
};

impl From<Sandbox> for proto::Sandbox {
    fn from(sandbox: Sandbox) -> Self {
        let Sandbox {
            sandbox_id,
            provider,
            status,
            status_message,
            generation,
            isolation,
            restored_to_sequence,
            not_applied,
            expire_time,
            last_health_check_time,
        } = sandbox;
        Self {
            sandbox_id: text(sandbox_id),
            provider,
            status: number::<_, proto::SandboxStatus>(status),
            status_message,
            generation,
            isolation: number::<_, proto::Isolation>(isolation),
            restored_to_sequence,
            not_applied,
            expire_time: expire_time.map(timestamp),
            last_health_check_time: last_health_check_time.map(timestamp),
        }
    }
}

impl From<SandboxStatus> for proto::SandboxStatus {
    fn from(status: SandboxStatus) -> Self {
        match status {
            SandboxStatus::Starting => Self::Starting,
            SandboxStatus::Ready => Self::Ready,
            SandboxStatus::Unhealthy => Self::Unhealthy,
            SandboxStatus::Terminated => Self::Terminated,
        }
    }
}

impl From<Isolation> for proto::Isolation {
    fn from(isolation: Isolation) -> Self {
        match isolation {
            Isolation::Process => Self::Process,
            Isolation::Namespace => Self::Namespace,
            Isolation::Remote => Self::Remote,
        }
    }
}

impl From<SandboxSpec> for proto::SandboxSpec {
    fn from(spec: SandboxSpec) -> Self {
        let SandboxSpec { provider, min_isolation, strict, modal } = spec;
        Self {
            provider,
            min_isolation: min_isolation.map(number::<_, proto::Isolation>).unwrap_or_default(),
            strict,
            modal: modal.map(proto::ModalSettings::from),
        }
    }
}

impl From<ModalSettings> for proto::ModalSettings {
    fn from(settings: ModalSettings) -> Self {
        let ModalSettings {
            image,
            milli_cpu,
            memory_mib,
            timeout,
            gpu,
            network,
            milli_cpu_max,
            memory_mib_max,
            regions,
            cloud,
        } = settings;
        Self {
            image,
            cpu: f64::from(milli_cpu) / 1000.0,
            memory_mib: memory_mib.into(),
            timeout: timeout.map(duration),
            gpu: gpu.map(shown).unwrap_or_default(),
            network: network.map(proto::ModalNetwork::from),
            cpu_max: f64::from(milli_cpu_max) / 1000.0,
            memory_mib_max: memory_mib_max.into(),
            regions,
            cloud,
        }
    }
}

fn shown(gpu: ModalGpu) -> String {
    let ModalGpu { kind, count } = gpu;
    if count == 1 { kind } else { format!("{kind}:{count}") }
}

impl From<ModalNetwork> for proto::ModalNetwork {
    fn from(network: ModalNetwork) -> Self {
        match network {
            ModalNetwork::Blocked => Self { blocked: true, ..Self::default() },
            ModalNetwork::Allowed { domains, cidrs } => {
                Self { blocked: false, allowed_domains: domains, allowed_cidrs: cidrs }
            }
        }
    }
}
