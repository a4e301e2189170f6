//! Where the agent runs.

use super::{number, text, timestamp};
use crate::{
    domain::{Isolation, Sandbox, SandboxStatus},
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
