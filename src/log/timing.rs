//! How long transactions take: a histogram that is always on, because a transaction costs a thousand times what counting
//! it does. It is told once, when the log is closed.

use std::{
    future::Future,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// Buckets of one doubling: an answer is off by at most one in so many.
const STEPS: u64 = 16;
/// Below so many microseconds each has a bucket of its own.
const EXACT: u64 = 2 * STEPS;
/// Up to about an hour; what takes longer is in the last one.
const BUCKETS: usize = 480;

/// How often what took how long.
#[derive(Debug)]
pub(super) struct Timing {
    buckets: [AtomicU64; BUCKETS],
}

impl Default for Timing {
    fn default() -> Self {
        Self { buckets: [const { AtomicU64::new(0) }; BUCKETS] }
    }
}

impl Timing {
    /// Waits for a future, and counts how long that took.
    pub(super) async fn of<T>(&self, work: impl Future<Output = T>) -> T {
        let began = Instant::now();
        let outcome = work.await;
        self.record(began.elapsed());
        outcome
    }

    fn record(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.buckets[bucket(micros)].fetch_add(1, Ordering::Relaxed);
    }

    /// Says it all, to those who listen.
    pub(super) fn tell(&self) {
        let counts = self.buckets.each_ref().map(|bucket| bucket.load(Ordering::Relaxed));
        let commits: u64 = counts.iter().sum();
        let (p50_us, p99_us) = (quantile(&counts, commits, 500), quantile(&counts, commits, 990));
        tracing::debug!(commits, p50_us, p99_us, "how long transactions took");
    }
}

/// Where a time is counted: in steps that grow with it.
fn bucket(micros: u64) -> usize {
    let doublings = micros.max(EXACT).ilog2() - EXACT.ilog2();
    let at = if micros < EXACT {
        micros
    } else {
        EXACT + u64::from(doublings) * STEPS + ((micros >> (doublings + 1)) - STEPS)
    };
    usize::try_from(at).unwrap_or(BUCKETS).min(BUCKETS - 1)
}

/// The longest time that is counted in a bucket.
fn upper(bucket: usize) -> u64 {
    let at = bucket as u64;
    if at < EXACT {
        return at;
    }
    let (doublings, step) = ((at - EXACT) / STEPS, (at - EXACT) % STEPS);
    ((STEPS + step + 1) << (doublings + 1)) - 1
}

/// The time that so many of a thousand did not exceed.
fn quantile(counts: &[u64], all: u64, thousandth: u64) -> u64 {
    let wanted = (all * thousandth).div_ceil(1000);
    let mut seen = 0;
    let reached = counts.iter().position(|count| {
        seen += count;
        seen >= wanted
    });
    reached.map_or(0, upper)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{BUCKETS, Timing, bucket, quantile, upper};

    #[test]
    fn every_time_lies_in_its_bucket_and_the_one_after_in_the_next() {
        for at in 0..BUCKETS - 1 {
            assert_eq!(bucket(upper(at)), at);
            assert_eq!(bucket(upper(at) + 1), at + 1);
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn a_quantile_is_off_by_a_sixteenth_at_most() {
        let timing = Timing::default();
        for micros in 1..=1000 {
            timing.record(Duration::from_micros(micros));
        }
        let counts = timing.buckets.map(std::sync::atomic::AtomicU64::into_inner);
        for (thousandth, exact) in [(500, 500), (990, 990)] {
            let told = quantile(&counts, 1000, thousandth);
            assert!(told >= exact && told <= exact + exact / 16 + 1, "{told} for {exact}");
        }
    }
}
