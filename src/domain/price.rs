//! What a sandbox elsewhere costs, as an estimate: Modal's list prices for sandboxes, times what is reserved. One table, to be
//! changed with the list.
//!
//! What is not in it: use above what is reserved, surcharges of regions, building of images, keeping of snapshots, credits.

use std::time::Duration;

use super::{ModalGpu, ModalSettings};

/// Where the prices are from, for people.
pub const PRICES: &str = "modal.com/pricing, sandboxes, as of October 2026: an estimate of what is reserved";

/// Billionths of a US dollar a second.
const CORE: u64 = 39_420;
const GIB: u64 = 6_670;
const GPUS: [(&str, u64); 12] = [
    ("T4", 164_000),
    ("L4", 222_000),
    ("A10", 306_000),
    ("A10G", 306_000),
    ("L40S", 542_000),
    ("A100", 583_000),
    ("A100-40GB", 583_000),
    ("A100-80GB", 694_000),
    ("RTX-PRO-6000", 842_000),
    ("H100", 1_097_000),
    ("H200", 1_261_000),
    ("B200", 1_736_000),
];

impl ModalSettings {
    /// What a sandbox with these settings costs in so long a time, in millionths of a US dollar, defaults filled in. A
    /// graphics processor that is not in the table counts as the dearest.
    #[must_use]
    pub fn cost_micro_usd(&self, time: Duration) -> i64 {
        let Self { milli_cpu, memory_mib, gpu, .. } = self.clone().filled();
        let dearest = GPUS.iter().map(|(_, price)| *price).max().unwrap_or(0);
        let gpu = gpu.map_or(0, |ModalGpu { kind, count }| {
            // "H100!" means that no other kind is taken for it.
            let kind = kind.trim_end_matches('!');
            u64::from(count) * GPUS.iter().find(|(name, _)| *name == kind).map_or(dearest, |(_, price)| *price)
        });
        let second = u64::from(milli_cpu) * CORE / 1000 + u64::from(memory_mib) * GIB / 1024 + gpu;
        let nanos = u128::from(second) * time.as_millis() / 1000;
        i64::try_from(nanos / 1000).unwrap_or(i64::MAX)
    }

    /// What it costs an hour.
    #[must_use]
    pub fn hourly_cost_micro_usd(&self) -> i64 {
        self.cost_micro_usd(Duration::from_hours(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpu(kind: &str, count: u32) -> ModalSettings {
        let gpu = Some(ModalGpu { kind: kind.to_owned(), count });
        ModalSettings { milli_cpu: 1, memory_mib: 1, gpu, ..ModalSettings::default() }
    }

    #[test]
    fn what_is_reserved_is_what_it_costs() {
        // A core and 2 GiB: 0.00003942 + 2 * 0.00000667 dollars a second.
        assert_eq!(ModalSettings::default().hourly_cost_micro_usd(), 189_936);
        let small = ModalSettings { milli_cpu: 125, memory_mib: 1024, ..ModalSettings::default() };
        assert_eq!(small.cost_micro_usd(Duration::from_secs(1000)), 11_597);
        assert_eq!(small.cost_micro_usd(Duration::ZERO), 0);
        assert_eq!(gpu("H100", 2).cost_micro_usd(Duration::from_secs(1)), 2194);
        assert_eq!(gpu("H100!", 1).cost_micro_usd(Duration::from_secs(1)), 1097);
        assert_eq!(gpu("X1", 1).cost_micro_usd(Duration::from_secs(1)), 1736, "an unknown one is not taken for cheap");
    }
}
