//! What is asked of a sandbox, and every bound of it from both sides.

use std::time::Duration;

use agent_runtime::{
    domain::{Failure, ModalGpu, ModalNetwork, ModalSettings, SandboxSpec},
    grpc::validate,
    proto,
};

use crate::{creation, refused};

fn asked(modal: proto::ModalSettings) -> Result<ModalSettings, Failure> {
    let spec = proto::SandboxSpec { strict: true, modal: Some(modal), ..Default::default() };
    let taken = validate::create_session(proto::CreateSessionRequest { sandbox: Some(spec.clone()), ..creation() })?;
    let taken = taken.sandbox.expect("a sandbox");
    assert!(taken.strict);
    // A profile asks in the same words, and shows what it asks as it was said.
    let profile = proto::AgentProfile { name: "p".into(), sandbox: Some(spec.clone()), ..Default::default() };
    let request = proto::CreateProfileRequest { profile: Some(profile), request_id: String::new() };
    let kept = validate::create_profile(request).expect("the same").setup.sandbox.expect("a sandbox");
    assert_eq!(kept, taken);
    assert_eq!(proto::SandboxSpec::from(kept), spec);
    Ok(taken.modal.expect("settings"))
}

fn network(network: proto::ModalNetwork) -> Result<Option<ModalNetwork>, Failure> {
    asked(proto::ModalSettings { network: Some(network), ..Default::default() }).map(|settings| settings.network)
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_asked_of_modal_is_taken() {
    let timeout = Some(prost_types::Duration { seconds: 3600, nanos: 0 });
    let all = proto::ModalSettings {
        image: "ghcr.io/a/b:1@sha256:00".into(),
        cpu: 1.5,
        memory_mib: 4096,
        timeout,
        gpu: "A10G:2".into(),
        network: Some(proto::ModalNetwork { blocked: true, ..Default::default() }),
        cpu_max: 3.25,
        memory_mib_max: 8192,
        regions: texts(&["eu", "us-east-1"]),
        cloud: "aws".into(),
    };
    let taken = ModalSettings {
        image: "ghcr.io/a/b:1@sha256:00".into(),
        milli_cpu: 1500,
        memory_mib: 4096,
        timeout: Some(Duration::from_hours(1)),
        gpu: Some(ModalGpu { kind: "A10G".into(), count: 2 }),
        network: Some(ModalNetwork::Blocked),
        milli_cpu_max: 3250,
        memory_mib_max: 8192,
        regions: texts(&["eu", "us-east-1"]),
        cloud: "aws".into(),
    };
    assert_eq!(asked(all).unwrap(), taken);
    let (domains, cidrs) = (texts(&["api.anthropic.com", "*.example.com"]), texts(&["10.0.0.0/8", "fd00::/8"]));
    let allowed =
        proto::ModalNetwork { blocked: false, allowed_domains: domains.clone(), allowed_cidrs: cidrs.clone() };
    assert_eq!(network(allowed).unwrap(), Some(ModalNetwork::Allowed { domains, cidrs }));
    assert_eq!(asked(proto::ModalSettings::default()).unwrap(), ModalSettings::default());
    let open = Some(proto::ModalNetwork::default());
    let open = proto::SandboxSpec {
        modal: Some(proto::ModalSettings { network: open, ..Default::default() }),
        ..Default::default()
    };
    let taken = validate::create_session(proto::CreateSessionRequest { sandbox: Some(open), ..creation() }).unwrap();
    let settings = Some(ModalSettings::default());
    assert_eq!(taken.sandbox, Some(SandboxSpec { modal: settings, ..SandboxSpec::default() }), "that is open");
}

#[test]
fn what_is_asked_of_modal_has_bounds() {
    let plain = proto::ModalSettings::default;
    for image in ["-x", "a b", "a\nRUN b", &"i".repeat(257)] {
        refused(asked(proto::ModalSettings { image: image.into(), ..plain() }), "sandbox.modal.image");
    }
    for (cpu, milli) in [(0.0, 0), (0.125, 125), (64.0, 64_000), (0.333_333, 333)] {
        let spec = proto::SandboxSpec { modal: Some(proto::ModalSettings { cpu, ..plain() }), ..Default::default() };
        let taken = validate::create_session(proto::CreateSessionRequest { sandbox: Some(spec), ..creation() });
        assert_eq!(taken.unwrap().sandbox.unwrap().modal.unwrap().milli_cpu, milli);
    }
    for cpu in [-1.0, 0.000_1, 0.124, 64.1, f64::NAN, f64::INFINITY] {
        refused(asked(proto::ModalSettings { cpu, ..plain() }), "sandbox.modal.cpu");
    }
    for memory_mib in [-1, 127, 344_065, i64::MAX] {
        refused(asked(proto::ModalSettings { memory_mib, ..plain() }), "sandbox.modal.memory_mib");
    }
    for seconds in [10, 24 * 3600] {
        let timeout = Some(prost_types::Duration { seconds, nanos: 0 });
        asked(proto::ModalSettings { timeout, ..plain() }).unwrap();
    }
    for (seconds, nanos) in [(0, 0), (-1, 0), (9, 999_999_999), (24 * 3600, 1)] {
        let timeout = Some(prost_types::Duration { seconds, nanos });
        refused(asked(proto::ModalSettings { timeout, ..plain() }), "sandbox.modal.timeout");
    }
    assert_eq!(asked(proto::ModalSettings { gpu: "H100".into(), ..plain() }).unwrap().gpu.unwrap().count, 1);
    for gpu in ["a10g", ":2", "A10G:", "A10G:0", "A10G:9", "A10G:2:2", "A 10"] {
        refused(asked(proto::ModalSettings { gpu: gpu.into(), ..plain() }), "sandbox.modal.gpu");
    }
}

#[test]
fn a_cap_is_no_less_than_what_is_reserved() {
    let plain = proto::ModalSettings::default;
    for (cpu, cpu_max) in [(0.0, 1.0), (2.0, 2.0), (0.5, 0.5), (64.0, 64.0), (64.0, 0.0)] {
        asked(proto::ModalSettings { cpu, cpu_max, ..plain() }).unwrap();
    }
    // Nothing said is one core.
    for (cpu, cpu_max) in [(0.0, 0.999), (2.0, 1.999), (0.0, -1.0), (0.0, 64.1), (0.0, f64::NAN)] {
        refused(asked(proto::ModalSettings { cpu, cpu_max, ..plain() }), "sandbox.modal.cpu_max");
    }
    for (memory_mib, memory_mib_max) in [(0, 2048), (512, 512), (344_064, 344_064), (344_064, 0)] {
        asked(proto::ModalSettings { memory_mib, memory_mib_max, ..plain() }).unwrap();
    }
    for (memory_mib, memory_mib_max) in [(0, 2047), (512, 511), (0, -1), (0, 344_065)] {
        let refusal = asked(proto::ModalSettings { memory_mib, memory_mib_max, ..plain() });
        refused(refusal, "sandbox.modal.memory_mib_max");
    }
}

#[test]
fn a_place_has_a_plain_name() {
    let plain = proto::ModalSettings::default;
    asked(proto::ModalSettings { regions: vec!["eu".into(); 16], ..plain() }).unwrap();
    refused(asked(proto::ModalSettings { regions: vec!["eu".into(); 17], ..plain() }), "sandbox.modal.regions");
    for name in ["", "US", "us east", &"r".repeat(33)] {
        let regions = texts(&["eu", name]);
        refused(asked(proto::ModalSettings { regions, ..plain() }), "sandbox.modal.regions[1]");
    }
    for cloud in ["AWS", "a b", &"c".repeat(33)] {
        refused(asked(proto::ModalSettings { cloud: cloud.into(), ..plain() }), "sandbox.modal.cloud");
    }
}

#[test]
fn whom_programs_may_reach_is_said_in_one_way() {
    let plain = proto::ModalNetwork::default;
    let both = proto::ModalNetwork { blocked: true, allowed_domains: texts(&["a.example"]), ..plain() };
    refused(network(both), "sandbox.modal.network.blocked");
    for name in ["", "example", "A.example", "a..example", "https://a.example", "-a.example", "*.", "a.*.example"] {
        let network = network(proto::ModalNetwork { allowed_domains: texts(&["a.example", name]), ..plain() });
        refused(network, "sandbox.modal.network.allowed_domains[1]");
    }
    for range in ["", "10.0.0.0", "10.0.0.0/33", "fd00::/129", "a/8"] {
        let network = network(proto::ModalNetwork { allowed_cidrs: texts(&[range]), ..plain() });
        refused(network, "sandbox.modal.network.allowed_cidrs[0]");
    }
    let many = |count| network(proto::ModalNetwork { allowed_domains: vec!["a.example".into(); count], ..plain() });
    assert!(many(100).is_ok());
    refused(many(101), "sandbox.modal.network");
}
