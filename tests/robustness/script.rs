//! What the scripted agent is told to print: numbered text above all, so that what is missing or doubled is seen, and
//! everything else that an agent may do.

use rand::{Rng as _, rngs::StdRng, seq::IndexedRandom as _};
use serde_json::{Value, json};

/// A script unlike any other; its first words name it.
pub fn script(rng: &mut StdRng) -> String {
    let name = format!("p{:016x}", rng.random::<u64>());
    let mut steps = vec![json!({"say": format!("I was told {name}"), "size": rng.random_range(2..12)})];
    for part in 0..rng.random_range(1..5) {
        steps.extend(step(rng, &format!("{name}-{part}")));
    }
    Value::Array(steps).to_string()
}

/// One that takes seconds, and in which nothing goes wrong: numbers, lines that stand half printed for a while, tools, and
/// where `asks` requests for permission with other steps for each answer.
pub fn long(rng: &mut StdRng, asks: bool) -> String {
    let name = format!("p{:016x}", rng.random::<u64>());
    let mut steps = vec![json!({"say": format!("I was told {name}"), "size": 6, "pace_ms": 5})];
    for part in 0..rng.random_range(5..9) {
        let name = format!("{name}-{part}");
        let count = rng.random_range(20..80);
        steps.push(json!({"count": count, "size": 20, "pace_us": rng.random_range(2000..12_000)}));
        steps.extend(match rng.random_range(0..10) {
            0..4 => half_lines(rng, &name),
            4..7 if asks => vec![ask(rng, &name)],
            7 => interleaved(rng, &name),
            8 => vec![json!({"think": words(rng), "size": 3, "pace_ms": 8})],
            _ => vec![json!({
                "tool": "Bash", "input": {"command": name}, "output": words(rng), "duration_ms": rng.random_range(20..200)
            })],
        });
    }
    Value::Array(steps).to_string()
}

/// A block whose lines are printed in two parts, with a pause between them.
fn half_lines(rng: &mut StdRng, id: &str) -> Vec<Value> {
    let mut steps = vec![json!({"raw": format!("{}\n", json!({"start": {"id": id, "kind": "text"}}))})];
    for piece in 0..rng.random_range(2..6) {
        let line = format!("{}\n", json!({"delta": {"id": id, "text": format!("{piece}-half ")}}));
        let (begin, end) = line.split_at(rng.random_range(1..line.len() - 1));
        steps.push(json!({"raw": begin}));
        steps.push(json!({"pause_ms": rng.random_range(20..90)}));
        steps.push(json!({"raw": end}));
    }
    steps.push(json!({"raw": format!("{}\n", json!({"complete": {"id": id}}))}));
    steps
}

fn ask(rng: &mut StdRng, name: &str) -> Value {
    let say = |what: &str| json!({"say": format!("{what} {name}"), "size": 7, "pace_ms": 4});
    let count = json!({"count": rng.random_range(5..20), "size": 20, "pace_us": 4000});
    json!({"ask": {"tool": "Bash", "input": {"command": name}}, "then": [say("allowed"), count], "else": [say("rejected")]})
}

fn step(rng: &mut StdRng, name: &str) -> Vec<Value> {
    match rng.random_range(0..20) {
        0..9 => {
            let open = rng.random_bool(0.1);
            vec![
                json!({"count": rng.random_range(5..60), "size": 20, "pace_us": rng.random_range(200..6000), "open": open}),
            ]
        }
        9 => vec![json!({"count": rng.random_range(50..600), "size": 20})],
        10..12 => vec![json!({"think": words(rng), "size": rng.random_range(1..9), "pace_ms": rng.random_range(0..8)})],
        12..14 => vec![json!({
            "tool": "Bash", "input": {"command": name}, "output": words(rng), "duration_ms": rng.random_range(0..40),
            "is_error": rng.random_bool(0.2), "exit_code": 0
        })],
        14 => vec![json!({"usage": {"input_tokens": 7, "output_tokens": 9, "cost_micro_usd": 3}, "model": "m"})],
        15 => vec![json!({"raw": garbage(rng)}), json!({"raw_base64": "/8MoAA=="}), json!({"raw": "\n"})],
        16 => vec![json!({"stderr": name})],
        17..19 => interleaved(rng, name),
        _ => vec![match rng.random_range(0..3) {
            0 => json!({"error": "it went wrong"}),
            1 => json!({"exit": 3, "half_line": "{\"delta\":{\"id\":\"ha"}),
            _ => json!({"pause_ms": rng.random_range(1..60)}),
        }],
    }
}

/// Blocks that grow at the same time, piece by piece.
fn interleaved(rng: &mut StdRng, name: &str) -> Vec<Value> {
    let ids: Vec<String> = (0..rng.random_range(2..4)).map(|block| format!("{name}/{block}")).collect();
    let line = |value: Value| json!({"raw": format!("{value}\n")});
    let kind = |at: usize| if at == 1 { "thinking" } else { "text" };
    let mut steps: Vec<Value> =
        ids.iter().enumerate().map(|(at, id)| line(json!({"start": {"id": id, "kind": kind(at)}}))).collect();
    for piece in 0..rng.random_range(4..30) {
        let id = ids.choose(rng).expect("at least two");
        steps.push(line(json!({"delta": {"id": id, "text": format!("{piece}-{} ", ["a", "ü", "漢"][piece % 3])}})));
        if rng.random_bool(0.4) {
            steps.push(json!({"pause_ms": rng.random_range(1..6)}));
        }
    }
    // One of them may stay open until the turn ends.
    let left = usize::from(rng.random_bool(0.2));
    steps.extend(ids.iter().skip(left).map(|id| line(json!({"complete": {"id": id}}))));
    steps
}

fn words(rng: &mut StdRng) -> String {
    "one two three four five six seven eight nine ten eleven "
        .split_inclusive(' ')
        .take(rng.random_range(1..12))
        .collect()
}

fn garbage(rng: &mut StdRng) -> &'static str {
    ["nothing\n", "{\"delta\":{\"id\":\"nobody\",\"text\":\"x\"}}\n", "{}\n", "[1,2\n"].choose(rng).expect("some")
}
