//! The figures, in the order in which they are told.

use crate::{Failure, figure::Bench, option, start};

/// A figure: its name, the kind of load, the server's options, the load's parameters, and what is aimed at.
type Row = (&'static str, &'static str, &'static [&'static str], &'static str, &'static str);

const NOW: &[&str] = &["--delta-window", "0"];

const ROWS: &[Row] = &[
    ("fan_saturate", "fan", &[], "sessions=1 watchers=1 deltas=1000000", "carried_per_s>=800000"),
    ("fan_saturate", "fan", &[], "sessions=1 watchers=4 deltas=1000000", "carried_per_s>=2000000"),
    ("fan_saturate", "fan", &[], "sessions=1 watchers=32 deltas=600000", "carried_per_s>=5000000"),
    ("fan_saturate", "fan", &[], "sessions=10 watchers=4 deltas=200000", "carried_per_s>=2500000"),
    (
        "fan_paced",
        "fan",
        NOW,
        "sessions=50 rate=20 watchers=4 deltas=200",
        "p50_us<=3000 p99_us<=commit_p99_us+1000 machine_cpu_s_per_million<=35",
    ),
    ("fan_paced", "fan", NOW, "sessions=50 rate=200 watchers=4 deltas=1600", "p99_us<=commit_p99_us+1000"),
    (
        "fan_coalesced",
        "fan",
        NOW,
        "sessions=50 rate=200 watchers=4 deltas=1600 max_batch_delay_ms=20 connections=1",
        "cpu_s_per_million<=6",
    ),
    ("ingest", "fan", &[], "sessions=1 watchers=0 deltas=1000000", "lines_per_s>=1000000"),
    ("ingest", "fan", &[], "sessions=10 watchers=0 deltas=200000", "lines_per_s>=1000000"),
    ("ingest", "fan", &[], "sessions=50 watchers=0 deltas=40000", "lines_per_s>=1000000"),
    ("turn_cost", "turn_cost", &[], "history_mb=1 turns=200", "cpu_ms_per_turn<=2"),
    ("turn_cost", "turn_cost", &[], "history_mb=100 turns=200", "cpu_ms_per_turn<=2 and <=1.1 of that at 1 MB"),
];

pub(crate) fn run(bench: &mut Bench, args: &[String]) -> Result<(), Failure> {
    let wanted: Vec<&str> = names(args);
    let is_wanted = |name: &str| wanted.is_empty() || wanted.contains(&name);
    let window = option(args, "--delta-window");
    let own: Vec<&str> = window.iter().flat_map(|window| ["--delta-window", window.as_str()]).collect();
    if is_wanted("start") && bench.external.is_none() {
        start::run()?;
    }
    for (name, kind, options, params, target) in ROWS {
        if is_wanted(name) {
            let options = if own.is_empty() { options } else { own.as_slice() };
            bench.figure(name, kind, options, &set(params, args), target);
        }
    }
    Ok(())
}

/// The words that are no options and no values of them.
fn names(args: &[String]) -> Vec<&str> {
    let mut names = Vec::new();
    let mut words = args.iter();
    while let Some(word) = words.next() {
        if word.starts_with("--") {
            words.next();
        } else if !word.contains('=') {
            names.push(word.as_str());
        }
    }
    names
}

/// The parameters, with `name=value` from the command line instead of theirs.
fn set(params: &str, args: &[String]) -> String {
    let own =
        |word: &&str| !args.iter().any(|arg| arg.split('=').next() == word.split('=').next() && arg.contains('='));
    let kept = params.split_whitespace().filter(own).map(str::to_owned);
    let own = args.iter().filter(|arg| arg.contains('=')).cloned();
    kept.chain(own).collect::<Vec<_>>().join(" ")
}
