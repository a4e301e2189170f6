//! What was asked of an emulator, for whoever tests a client with it: what sandboxes are to be like, in Modal's words, and what
//! images are built of.

use std::collections::BTreeMap;

use serde::Serialize;

use super::sandbox::Version;
use crate::modal_wire::client::{self, Resources};

/// What a sandbox was asked to be like.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Asked {
    /// Of the call that made it: 1 or 2.
    pub version: u32,
    /// Thousandths of a core, reserved and at most.
    pub milli_cpu: [u32; 2],
    /// Memory, reserved and at most.
    pub memory_mb: [u32; 2],
    /// Kind of graphics processors, and how many.
    pub gpu: (String, u32),
    /// Seconds that it may live, and of those without use.
    pub timeout_secs: u32,
    /// See above; `None`: as long as it lives.
    pub idle_timeout_secs: Option<u32>,
    /// As Modal names it.
    pub network: String,
    /// Ranges that may be reached.
    pub allowed_cidrs: Vec<String>,
    /// Names that may be reached.
    pub allowed_domains: Vec<String>,
    /// Where it may run.
    pub regions: Vec<String>,
    /// On whose machines.
    pub cloud: String,
    /// Where its programs work.
    pub workdir: String,
    /// Options by name.
    pub options: BTreeMap<String, String>,
}

/// An image whose layer was built, and not found in the cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Build {
    /// The image.
    pub image: String,
    /// The layer's commands.
    pub commands: Vec<String>,
    /// Names and sizes of the files that came with them.
    pub files: BTreeMap<String, usize>,
}

impl Asked {
    pub(super) fn of(version: Version, definition: &client::Sandbox) -> Self {
        let Resources { memory_mb, milli_cpu, gpu_config, memory_mb_max, ephemeral_disk_mb: _, milli_cpu_max } =
            definition.resources.clone().unwrap_or_default();
        let gpu = gpu_config.unwrap_or_default();
        let network = definition.network_access.clone().unwrap_or_default();
        Self {
            version: match version {
                Version::V1 => 1,
                Version::V2 => 2,
            },
            milli_cpu: [milli_cpu, milli_cpu_max],
            memory_mb: [memory_mb, memory_mb_max],
            gpu: (gpu.gpu_type, gpu.count),
            timeout_secs: definition.timeout_secs,
            idle_timeout_secs: definition.idle_timeout_secs,
            network: network.network_access_type().as_str_name().to_owned(),
            allowed_cidrs: network.allowed_cidrs,
            allowed_domains: network.allowed_domains,
            regions: definition.scheduler_placement.clone().unwrap_or_default().regions,
            cloud: definition.cloud_provider_str.clone(),
            workdir: definition.workdir.clone().unwrap_or_default(),
            options: definition.experimental_options_v2.clone().into_iter().collect(),
        }
    }
}

impl Build {
    pub(super) fn of(image: &str, layer: &client::Image) -> Self {
        let files = layer.context_files.iter().map(|file| (file.filename.clone(), file.data.len())).collect();
        Self { image: image.to_owned(), commands: layer.dockerfile_commands.clone(), files }
    }
}
