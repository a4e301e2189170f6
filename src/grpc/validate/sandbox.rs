//! Which sandbox a session runs in.

use std::{net::IpAddr, time::Duration};

use super::{MAX_ID, check::Check};
use crate::{
    domain::{Isolation, ModalGpu, ModalNetwork, ModalSettings, SandboxSpec},
    proto,
};

/// Fewest and most cores, in thousandths.
const CPU: [u32; 2] = [125, ModalSettings::MOST_MILLI_CPU];
/// Least and most memory, in MiB.
const MEMORY: [u32; 2] = [128, ModalSettings::MOST_MEMORY_MIB];
/// Shortest and longest life of one sandbox.
const TIMEOUT: [Duration; 2] = [Duration::from_secs(10), ModalSettings::LONGEST];
/// Most graphics processors.
const GPUS: u32 = 8;
/// A registry reference, in characters.
const MAX_IMAGE: usize = 256;
/// Whom programs may reach: names or ranges.
const MAX_ALLOWED: usize = 100;
/// Regions that a sandbox may run in.
const MAX_REGIONS: usize = 16;
/// The name of a region or of a cloud, in bytes.
const MAX_PLACE: usize = 32;
/// The name of a host, in bytes.
const MAX_HOST: usize = 253;

/// Which sandbox to use; `field` is where it stands in the request.
pub(super) fn sandbox_spec(check: &mut Check, field: &str, spec: proto::SandboxSpec) -> SandboxSpec {
    let proto::SandboxSpec { provider, min_isolation, strict, modal } = spec;
    let min_isolation = match check.known(&format!("{field}.min_isolation"), min_isolation, "Isolation") {
        None | Some(proto::Isolation::Unspecified) => None,
        Some(proto::Isolation::Process) => Some(Isolation::Process),
        Some(proto::Isolation::Namespace) => Some(Isolation::Namespace),
        Some(proto::Isolation::Remote) => Some(Isolation::Remote),
    };
    SandboxSpec {
        provider: check.text(format_args!("{field}.provider"), provider, MAX_ID),
        min_isolation,
        strict,
        modal: modal.map(|settings| self::settings(check, &format!("{field}.modal"), settings)),
    }
}

fn settings(check: &mut Check, field: &str, settings: proto::ModalSettings) -> ModalSettings {
    let proto::ModalSettings { image, cpu, memory_mib, timeout, gpu, network, cpu_max, memory_mib_max, regions, cloud } =
        settings;
    // Words of a build file: nothing may end the line that it stands in.
    if image.starts_with('-') || image.chars().any(|c| c.is_whitespace() || c.is_control()) {
        check.refuse(format_args!("{field}.image"), "a registry reference, for example \"node:22-slim\"");
    }
    let timeout = timeout.and_then(|timeout| {
        let timeout = Duration::try_from(timeout).ok().filter(|it| (TIMEOUT[0]..=TIMEOUT[1]).contains(it));
        if timeout.is_none() {
            check.refuse(format_args!("{field}.timeout"), "10 s to 24 h");
        }
        timeout
    });
    let memory = |check: &mut Check, name: &str, mib: i64| {
        let memory = u32::try_from(mib).ok().filter(|it| *it == 0 || (MEMORY[0]..=MEMORY[1]).contains(it));
        if memory.is_none() {
            check.refuse(format_args!("{field}.{name}"), format!("0, or {} to {}", MEMORY[0], MEMORY[1]));
        }
        memory.unwrap_or(0)
    };
    for (at, region) in regions.iter().enumerate().filter(|(_, region)| !is_place(region)) {
        let rule = format!("{region:?} is no name of a region, for example \"us-east\"");
        check.refuse(format_args!("{field}.regions[{at}]"), rule);
    }
    if regions.len() > MAX_REGIONS {
        check.refuse(format_args!("{field}.regions"), format!("at most {MAX_REGIONS}"));
    }
    if !cloud.is_empty() && !is_place(&cloud) {
        check.refuse(format_args!("{field}.cloud"), format!("{cloud:?} is no name of a cloud, for example \"aws\""));
    }
    let settings = ModalSettings {
        image: check.text(format_args!("{field}.image"), image, MAX_IMAGE),
        milli_cpu: milli_cpu(check, &format!("{field}.cpu"), cpu),
        memory_mib: memory(check, "memory_mib", memory_mib),
        timeout,
        gpu: self::gpu(check, field, &gpu),
        network: network.and_then(|network| self::network(check, &format!("{field}.network"), network)),
        milli_cpu_max: milli_cpu(check, &format!("{field}.cpu_max"), cpu_max),
        memory_mib_max: memory(check, "memory_mib_max", memory_mib_max),
        regions,
        cloud,
    };
    // What is reserved where nothing is said counts as well.
    let filled = settings.clone().filled();
    if filled.milli_cpu_max < filled.milli_cpu {
        check.refuse(format_args!("{field}.cpu_max"), "0, or no fewer cores than are reserved (cpu)");
    }
    if filled.memory_mib_max < filled.memory_mib {
        check.refuse(format_args!("{field}.memory_mib_max"), "0, or no less memory than is reserved (memory_mib)");
    }
    settings
}

fn milli_cpu(check: &mut Check, field: &str, cores: f64) -> u32 {
    let most = f64::from(CPU[1]) / 1000.0;
    // Below, it is a small number that is not negative.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let milli = (0.0..=most).contains(&cores).then(|| (cores * 1000.0).round() as u32);
    let milli = milli.filter(|milli| (*milli == 0 && cores == 0.0) || *milli >= CPU[0]);
    if milli.is_none() {
        check.refuse(field, "0, or 0.125 to 64 cores");
    }
    milli.unwrap_or(0)
}

fn gpu(check: &mut Check, field: &str, gpu: &str) -> Option<ModalGpu> {
    if gpu.is_empty() {
        return None;
    }
    let (kind, count) = gpu.split_once(':').unwrap_or((gpu, "1"));
    let plain = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"-!".contains(&byte);
    let named = (1..=32).contains(&kind.len()) && kind.bytes().all(plain);
    let count = count.parse::<u32>().ok().filter(|count| named && (1..=GPUS).contains(count));
    if count.is_none() {
        let rule = format!("a kind in upper case, with how many behind a colon (1 to {GPUS}): \"A10G\" or \"A10G:2\"");
        check.refuse(format_args!("{field}.gpu"), rule);
    }
    count.map(|count| ModalGpu { kind: kind.to_owned(), count })
}

fn network(check: &mut Check, field: &str, network: proto::ModalNetwork) -> Option<ModalNetwork> {
    let proto::ModalNetwork { blocked, allowed_domains, allowed_cidrs } = network;
    let (domains, cidrs) = (allowed_domains, allowed_cidrs);
    if domains.len() + cidrs.len() > MAX_ALLOWED {
        check.refuse(field, format!("at most {MAX_ALLOWED} names and ranges"));
    }
    for (at, domain) in domains.iter().enumerate().filter(|(_, domain)| !is_host(domain)) {
        check.refuse(
            format_args!("{field}.allowed_domains[{at}]"),
            format!("{domain:?} is no name of a host in lower case; \"*.\" may stand before it"),
        );
    }
    for (at, cidr) in cidrs.iter().enumerate().filter(|(_, cidr)| !is_range(cidr)) {
        let rule = format!("{cidr:?} is no range of addresses, for example \"10.0.0.0/8\"");
        check.refuse(format_args!("{field}.allowed_cidrs[{at}]"), rule);
    }
    match (blocked, domains.is_empty() && cidrs.is_empty()) {
        (true, true) => Some(ModalNetwork::Blocked),
        (false, false) => Some(ModalNetwork::Allowed { domains, cidrs }),
        (true, false) => {
            check.refuse(format_args!("{field}.blocked"), "leaves nobody who could be allowed: say one of both");
            None
        }
        // As if it were not said: the network is open.
        (false, true) => None,
    }
}

fn is_place(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=MAX_PLACE).contains(&name.len()) && name.bytes().all(plain)
}

fn is_host(name: &str) -> bool {
    let host = name.strip_prefix("*.").unwrap_or(name);
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(plain) && !label.starts_with('-');
    host.len() <= MAX_HOST && host.contains('.') && host.split('.').all(label)
}

fn is_range(cidr: &str) -> bool {
    let parsed = cidr.split_once('/').and_then(|(addr, bits)| Some((addr.parse().ok()?, bits.parse::<u8>().ok()?)));
    parsed.is_some_and(|(addr, bits)| match addr {
        IpAddr::V4(_) => bits <= 32,
        IpAddr::V6(_) => bits <= 128,
    })
}
