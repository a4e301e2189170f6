//! What a session asks of a sandbox at Modal.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Settings only Modal knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModalSettings {
    /// Registry reference; empty: the image the server builds for the agent.
    pub image: String,
    /// Thousandths of a core that are reserved; 0: [`ModalSettings::MILLI_CPU`].
    pub milli_cpu: u32,
    /// Memory that is reserved; 0: [`ModalSettings::MEMORY_MIB`].
    pub memory_mib: u32,
    /// Longest life of one sandbox; `None`: [`ModalSettings::LONGEST`].
    pub timeout: Option<Duration>,
    /// `None`: none.
    pub gpu: Option<ModalGpu>,
    /// `None`: open.
    pub network: Option<ModalNetwork>,
    /// Most thousandths of a core; 0: [`ModalSettings::BURST`] times what is reserved.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub milli_cpu_max: u32,
    /// Most memory; 0: [`ModalSettings::BURST`] times what is reserved.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub memory_mib_max: u32,
    /// Where it may run; empty: anywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub regions: Vec<String>,
    /// Whose machines; empty: anybody's.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cloud: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl ModalSettings {
    /// Longest life that a sandbox can have.
    pub const LONGEST: Duration = Duration::from_hours(24);

    /// Cores and memory where nothing is said: what an agent's program needs, which is more than the provider's default.
    pub const MILLI_CPU: u32 = 1000;
    /// See [`Self::MILLI_CPU`].
    pub const MEMORY_MIB: u32 = 2048;

    /// Most that the provider gives.
    pub const MOST_MILLI_CPU: u32 = 64_000;
    /// See [`Self::MOST_MILLI_CPU`].
    pub const MOST_MEMORY_MIB: u32 = 344_064;

    /// How often what is reserved a sandbox may use where nothing is said: more is paid by what is used, so that what has gone
    /// wild must come to an end, and what builds and tests use for a moment need not be reserved all the time.
    pub const BURST: u32 = 4;

    /// The same with the defaults filled in.
    #[must_use]
    pub fn filled(self) -> Self {
        let or = |said: u32, default: u32| if said == 0 { default } else { said };
        let milli_cpu = or(self.milli_cpu, Self::MILLI_CPU);
        let memory_mib = or(self.memory_mib, Self::MEMORY_MIB);
        let burst = |reserved: u32, most: u32| reserved.saturating_mul(Self::BURST).min(most);
        Self {
            milli_cpu,
            memory_mib,
            milli_cpu_max: or(self.milli_cpu_max, burst(milli_cpu, Self::MOST_MILLI_CPU)),
            memory_mib_max: or(self.memory_mib_max, burst(memory_mib, Self::MOST_MEMORY_MIB)),
            timeout: Some(self.lifetime()),
            ..self
        }
    }

    /// How long a sandbox may live.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.timeout.unwrap_or(Self::LONGEST)
    }

    /// The settings that are said, as `SandboxSpec` names them.
    #[must_use]
    pub fn said(&self) -> Vec<String> {
        let Self { image, milli_cpu, memory_mib, timeout, gpu, network, milli_cpu_max, memory_mib_max, regions, cloud } =
            self;
        let said = [
            ("image", !image.is_empty()),
            ("cpu", *milli_cpu > 0),
            ("memory_mib", *memory_mib > 0),
            ("timeout", timeout.is_some()),
            ("gpu", gpu.is_some()),
            ("network", network.is_some()),
            ("cpu_max", *milli_cpu_max > 0),
            ("memory_mib_max", *memory_mib_max > 0),
            ("regions", !regions.is_empty()),
            ("cloud", !cloud.is_empty()),
        ];
        said.into_iter().filter(|(_, is_said)| *is_said).map(|(name, _)| format!("modal.{name}")).collect()
    }
}

/// Graphics processors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModalGpu {
    /// In upper case, for example "A10G".
    pub kind: String,
    /// How many; at least 1.
    pub count: u32,
}

/// Whom programs in a sandbox may reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModalNetwork {
    /// Nobody.
    Blocked,
    /// These only.
    Allowed {
        /// By name, as TLS says it.
        domains: Vec<String>,
        /// By address, as ranges.
        cidrs: Vec<String>,
    },
}
