//! What is stored of sandboxes away from this machine.

use std::time::Duration;

use crate::domain::{
    LedgerFacts, LedgerOrigin, LedgerSnapshot, ModalGpu, ModalNetwork, ModalSettings, SandboxSpec, Session, Timestamp,
};

pub(super) fn ledger() -> LedgerFacts {
    LedgerFacts {
        external_id: "sb-1".into(),
        task_id: "ta-1".into(),
        create_time: Timestamp(1),
        expire_time: Some(Timestamp(2)),
        end_time: Some(Timestamp(3)),
        settings: settings(ModalNetwork::Blocked),
        snapshot: Some(LedgerSnapshot { image_id: "im-1".into(), expire_time: Timestamp(4) }),
        // As builds before this one wrote it.
        origin: None,
    }
}

/// With where it was made.
pub(super) fn made() -> LedgerFacts {
    let origin = LedgerOrigin {
        server: "https://a.example:443".into(),
        app_id: "ap-1".into(),
        app: "app".into(),
        environment: "main".into(),
        token_id: "ak-1".into(),
    };
    LedgerFacts { origin: Some(origin), ..ledger() }
}

pub(super) fn asked(session: Session) -> Session {
    let network = ModalNetwork::Allowed { domains: vec!["a.example".into()], cidrs: vec!["10.0.0.0/8".into()] };
    let settings = ModalSettings {
        milli_cpu_max: 3000,
        memory_mib_max: 4096,
        regions: vec!["eu".into()],
        cloud: "aws".into(),
        ..settings(network)
    };
    let spec = SandboxSpec { strict: true, modal: Some(settings), ..session.sandbox_spec };
    Session { sandbox_spec: spec, ..session }
}

fn settings(network: ModalNetwork) -> ModalSettings {
    ModalSettings {
        image: "node:22".into(),
        milli_cpu: 1500,
        memory_mib: 2048,
        timeout: Some(Duration::from_hours(1)),
        gpu: Some(ModalGpu { kind: "A10G".into(), count: 2 }),
        network: Some(network),
        ..ModalSettings::default()
    }
}
