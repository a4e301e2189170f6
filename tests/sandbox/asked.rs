//! What a session asks of its sandbox is what Modal is asked for.

use std::time::Duration;

use agent_runtime::{
    domain::{ModalGpu, ModalNetwork, ModalSettings, SandboxId},
    sandbox::{NewSandbox, Provider as _},
};
use serde_json::{Value, json};

use crate::{
    elsewhere::Elsewhere,
    rig::{NOW, session},
};

/// What the emulator was asked for.
async fn asked(elsewhere: &Elsewhere, settings: Option<ModalSettings>) -> Value {
    let mut new = NewSandbox::plain(SandboxId::mint(), session(), NOW);
    new.spec.modal = settings;
    elsewhere.modal.create(new).await.expect("created");
    elsewhere.emulator.sandboxes().pop().expect("a sandbox")["asked"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_arrives() {
    let Some(elsewhere) = Elsewhere::start().await else { return };
    let plain = asked(&elsewhere, None).await;
    let expected = json!({
        "version": 2,
        // Four times what is reserved, so that what has gone wild costs no more.
        "milli_cpu": [1000, 4000],
        "memory_mb": [2048, 8192],
        "gpu": ["", 0],
        "timeout_secs": 24 * 3600,
        // Whoever should end it is not there then.
        "idle_timeout_secs": 30 * 60,
        "network": "OPEN",
        "allowed_cidrs": [],
        "allowed_domains": [],
        "regions": [],
        "cloud": "",
        "workdir": "/workspace",
        "options": { "enable_exit_snapshot": "true" },
    });
    assert_eq!(plain, expected);
    let settings = ModalSettings {
        milli_cpu: 500,
        memory_mib: 1024,
        timeout: Some(Duration::from_hours(2)),
        milli_cpu_max: 1500,
        memory_mib_max: 3072,
        regions: vec!["eu".to_owned(), "us-east".to_owned()],
        cloud: "aws".to_owned(),
        ..ModalSettings::default()
    };
    let mut expected = expected;
    expected["milli_cpu"] = json!([500, 1500]);
    expected["memory_mb"] = json!([1024, 3072]);
    expected["timeout_secs"] = json!(2 * 3600);
    expected["regions"] = json!(["eu", "us-east"]);
    expected["cloud"] = json!("aws");
    assert_eq!(asked(&elsewhere, Some(settings)).await, expected);
    let large = ModalSettings { milli_cpu: 32_000, memory_mib: 100_000, ..ModalSettings::default() };
    let large = asked(&elsewhere, Some(large)).await;
    assert_eq!((&large["milli_cpu"], &large["memory_mb"]), (&json!([32_000, 64_000]), &json!([100_000, 344_064])));
    elsewhere.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_programs_may_reach_arrives() {
    let Some(elsewhere) = Elsewhere::start().await else { return };
    let network = |network| Some(ModalSettings { network: Some(network), ..ModalSettings::default() });
    let blocked = asked(&elsewhere, network(ModalNetwork::Blocked)).await;
    assert_eq!(blocked["network"], "BLOCKED");
    let allowed = ModalNetwork::Allowed {
        domains: vec!["api.anthropic.com".to_owned(), "*.example.com".to_owned()],
        cidrs: vec!["10.0.0.0/8".to_owned()],
    };
    let allowed = asked(&elsewhere, network(allowed)).await;
    let told = (&allowed["network"], &allowed["allowed_domains"], &allowed["allowed_cidrs"]);
    assert_eq!(told, (&json!("ALLOWLIST"), &json!(["api.anthropic.com", "*.example.com"]), &json!(["10.0.0.0/8"])));
    elsewhere.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gpu_is_asked_of_the_first_version() {
    let Some(elsewhere) = Elsewhere::start().await else { return };
    let gpu = Some(ModalGpu { kind: "A10G".to_owned(), count: 2 });
    let asked = asked(&elsewhere, Some(ModalSettings { gpu, milli_cpu: 2000, ..ModalSettings::default() })).await;
    assert_eq!((&asked["version"], &asked["gpu"]), (&json!(1), &json!(["A10G", 2])));
    assert_eq!(asked["milli_cpu"], json!([2000, 8000]));
    elsewhere.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_is_what_the_image_stands_on() {
    let Some(elsewhere) = Elsewhere::start().await else { return };
    let image = "ghcr.io/a/b:1".to_owned();
    asked(&elsewhere, Some(ModalSettings { image, ..ModalSettings::default() })).await;
    let builds = elsewhere.emulator.builds();
    assert_eq!(builds[0]["commands"][0], "FROM ghcr.io/a/b:1", "{builds:?}");
    elsewhere.close().await;
}
