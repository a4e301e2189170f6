//! What one watcher that reads nothing costs the others, and the server's memory. Runs with and without it take turns;
//! two runs without it in each round tell the noise.

use crate::{
    Failure,
    figure::{Bench, value},
    spread::Spread,
};

const ROUNDS: usize = 5;
pub(crate) const PARAMS: &str = "sessions=1 watchers=4 deltas=1000000";
const TARGET: &str = "others_slower_percent<5 rss_growth_kb<2000";

pub(crate) fn run(bench: &mut Bench, options: &[&str], params: &str) {
    let told = rounds(bench, options, params);
    bench.tell("stalled_watcher", options, &format!("{params} stalled=1"), told, TARGET);
}

fn rounds(bench: &Bench, options: &[&str], params: &str) -> Result<String, Failure> {
    let (mut slower, mut noise, mut growth, mut growth_noise) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let run = |stalled: usize| -> Result<(f64, f64), Failure> {
        let told = bench.measure("fan", options, &format!("{params} stalled={stalled}"))?;
        Ok((value(&told, "carried_per_s")?, value(&told, "peak_rss_kb")?))
    };
    for round in 0..ROUNDS {
        // With it first or last, so that what warms or tires the machine weighs on both.
        let (with, without) = if round % 2 == 0 {
            let with = run(1)?;
            (with, run(0)?)
        } else {
            let without = run(0)?;
            (run(1)?, without)
        };
        let equal = run(0)?;
        slower.push(percent_slower(with.0, without.0));
        noise.push(percent_slower(equal.0, without.0));
        growth.push(with.1 - without.1);
        growth_noise.push(equal.1 - without.1);
    }
    let (slower, noise) = (Spread::of(slower), Spread::of(noise));
    let (growth, growth_noise) = (Spread::of(growth), Spread::of(growth_noise));
    Ok(format!(
        "others_slower_percent={:.1} min={:.1} max={:.1} noise_percent={:.1} noise_min={:.1} noise_max={:.1} \
         rss_growth_kb={:.0} rss_growth_max_kb={:.0} rss_noise_kb={:.0} rss_noise_max_kb={:.0} pairs={ROUNDS}",
        slower.median,
        slower.min,
        slower.max,
        noise.median,
        noise.min,
        noise.max,
        growth.median,
        growth.max,
        growth_noise.median,
        growth_noise.max,
    ))
}

fn percent_slower(with: f64, without: f64) -> f64 {
    (1.0 - with / without) * 100.0
}
