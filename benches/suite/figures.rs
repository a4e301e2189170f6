//! The figures, in the order in which they are told.

use std::collections::HashSet;

use crate::{
    Failure, append,
    figure::{Bench, value},
    option, stalled, start,
};

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
        "p50_us<=3000 p99_us<=commit_p99_us+1000 cpu_s_per_million<=35",
    ),
    ("fan_paced", "fan", NOW, "sessions=50 rate=200 watchers=4 deltas=1600", "p99_us<=commit_p99_us+1000"),
    (
        "fan_coalesced",
        "fan",
        &[],
        "sessions=50 rate=200 watchers=4 deltas=1600 max_batch_delay_ms=20 connections=1",
        "cpu_s_per_million<=6",
    ),
    ("ingest", "fan", &[], "sessions=1 watchers=0 deltas=1000000", "lines_per_s>=1000000"),
    ("ingest", "fan", &[], "sessions=10 watchers=0 deltas=200000", "lines_per_s>=1000000"),
    ("ingest", "fan", &[], "sessions=50 watchers=0 deltas=40000", "lines_per_s>=1000000"),
    ("replay", "replay", NOW, "deltas=500000 watchers=1 rounds=5", "events_per_s>=3000000 for the best"),
    ("replay", "replay", NOW, "deltas=500000 watchers=4 rounds=5", "events_per_s>=3000000 for the best"),
    ("replay", "replay", NOW, "deltas=500000 watchers=32 rounds=3", "events_per_s>=3000000 for the best"),
    ("late_join", "late_join", NOW, "sessions=10 rate=200 deltas=1000", "missing=0 doubled=0"),
    ("reconnect", "reconnect", NOW, "sessions=10 rate=200 deltas=1000 cuts=2 away_ms=1000", "missing=0 doubled=0"),
    ("idle", "idle", &[], "sessions=10000", "kb_per_session<=4 base_rss_kb<=12000"),
    ("idle", "idle", &[], "sessions=600 turns=1", "measured, no target"),
    ("idle", "idle", &[], "sessions=1000 watches=1000", "kb_per_watch<=9"),
    ("idle", "idle", &[], "sessions=200 connections=200", "kb_per_connection<=28"),
    ("list", "list", &[], "sessions=10000 page=100 calls=200", "median_ms<=2"),
    ("load_session", "load_session", &[], "history_mb=1", "newest_100_ms<=2"),
    ("load_session", "load_session", &[], "history_mb=5", "newest_100_ms<=2"),
    ("load_session", "load_session", &[], "history_mb=20", "first_ms<=60 newest_100_ms<=2"),
    ("turn_cost", "turn_cost", &[], "history_mb=1 turns=200", "cpu_ms_per_turn<=2"),
    ("turn_cost", "turn_cost", &[], "history_mb=100 turns=200", "cpu_ms_per_turn<=2"),
];

pub(crate) fn run(bench: &mut Bench, args: &[String]) -> Result<(), Failure> {
    let wanted: Vec<&str> = names(args);
    let others = ["start", "append", "stalled_watcher"];
    if let Some(name) = wanted.iter().find(|name| !others.contains(name) && !ROWS.iter().any(|row| row.0 == **name)) {
        return Err(format!("there is no figure {name}").into());
    }
    let is_wanted = |name: &str| wanted.is_empty() || wanted.contains(&name);
    let window = option(args, "--delta-window");
    let own: Vec<&str> = window.iter().flat_map(|window| ["--delta-window", window.as_str()]).collect();
    if is_wanted("start") && bench.external.is_none() {
        start::run()?;
    }
    if is_wanted("append") && bench.external.is_none() {
        for (params, target) in append::ROWS {
            let params = set(params, args);
            bench.tell("append", &[], &params, append::run(&params), target);
        }
    }
    let (mut told_of, mut turns) = (HashSet::new(), Vec::new());
    for (name, kind, options, params, target) in ROWS {
        let params = set(params, args);
        // Rows that the command line made equal are one.
        if is_wanted(name) && told_of.insert((name, params.clone())) {
            let options = if own.is_empty() { options } else { own.as_slice() };
            let told = bench.figure(name, kind, options, &params, target);
            if *name == "turn_cost" {
                turns.extend(told.and_then(|told| value(&told, "cpu_ms_per_turn").ok()));
            }
        }
    }
    if is_wanted("stalled_watcher") {
        stalled::run(bench, &own, &set(stalled::PARAMS, args));
    }
    if let [short, long] = turns[..] {
        println!("turn_cost_ratio cpu_of_the_second_over_the_first={:.3} target=\"<=1.1\"", long / short);
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
