//! Output of the real CLIs, broken at random: the parser reads on, says the same in any pieces, and a good turn that follows
//! is read as it is.
//!
//! `MUTATION_SECONDS` says for how long (60), `MUTATION_SEED` which ones.

use std::{
    collections::BTreeMap,
    env,
    time::{Duration, Instant},
};

use agent_runtime::{
    agent::{Action, Draft, Outcome, Parser},
    domain::{Agent, BlockId, Content, Kind, TurnStatus},
    session,
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use crate::{captures, feed, finish, parser};

/// What follows the broken output; nothing in it can have been told before.
const AFTER: &str = concat!(
    r#"{"type":"command_lifecycle","command_uuid":"after","state":"started"}"#,
    "\n",
    r#"{"type":"assistant","uuid":"after-u","message":{"id":"after-m","model":"m","content":[{"type":"text","text":"good"}]}}"#,
    "\n",
    r#"{"type":"result","subtype":"success","is_error":false,"uuid":"after-r","user_message_uuid":"after"}"#,
    "\n",
    r#"{"type":"command_lifecycle","command_uuid":"after","state":"completed"}"#,
    "\n",
);

fn number(name: &str, otherwise: u64) -> u64 {
    env::var(name).map_or(otherwise, |value| value.parse().expect("a number"))
}

/// The lines of a capture after a few changes.
fn mutate(rng: &mut StdRng) -> Vec<u8> {
    let all = captures::all();
    let lines = |rng: &mut StdRng| -> Vec<Vec<u8>> {
        let stdout = &all[rng.random_range(0..all.len())].stdout;
        stdout.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
    };
    let mut mine = lines(rng);
    for _ in 0..rng.random_range(1..12) {
        if mine.is_empty() {
            break;
        }
        let at = rng.random_range(0..mine.len());
        match rng.random_range(0..11) {
            // Repeat, move, leave out.
            0 => mine.insert(rng.random_range(0..=mine.len()), mine[at].clone()),
            1 => {
                let other = rng.random_range(0..mine.len());
                mine.swap(at, other);
            }
            2 => drop(mine.remove(at)),
            3 => mine.truncate(at),
            // Lines of another process.
            4 => {
                let theirs = lines(rng);
                let from = rng.random_range(0..theirs.len());
                let to = rng.random_range(from..theirs.len().min(from + 30)) + 1;
                mine.splice(at..at, theirs[from..to].iter().cloned());
            }
            _ => bytes(rng, &mut mine[at]),
        }
    }
    mine.concat()
}

/// Changes one line.
fn bytes(rng: &mut StdRng, line: &mut Vec<u8>) {
    if line.is_empty() {
        return;
    }
    let at = rng.random_range(0..line.len());
    match rng.random_range(0..7) {
        0 => line[at] ^= 1 << rng.random_range(0..8),
        1 => line.truncate(at),
        2 => drop(line.drain(at..line.len().min(at + rng.random_range(1..40)))),
        3 => line.splice(at..at, *b"\xff\xfe\xed\xa0\x80").for_each(drop),
        // A number becomes one that fits nowhere.
        4 => {
            if let Some(at) = line.iter().skip(at).position(u8::is_ascii_digit).map(|more| at + more) {
                let huge: &[u8] = [&b"1e400"[..], b"-9223372036854775808", b"99999999999999999999999", b"1e18", b"0.1"]
                    [rng.random_range(0..5)];
                let end = line[at..].iter().position(|byte| !byte.is_ascii_digit()).map_or(line.len(), |end| at + end);
                line.splice(at..end, huge.iter().copied()).for_each(drop);
            }
        }
        // A value becomes one of another type, or one without end.
        5 => {
            if let Some(at) = line.iter().skip(at).position(|byte| *byte == b':').map(|more| at + more + 1) {
                let other: &[u8] = [&b"null,\"x\":"[..], b"[],\"x\":", b"{},\"x\":", b"7,\"x\":", b"\"\",\"x\":"]
                    [rng.random_range(0..5)];
                line.splice(at..at, other.iter().copied()).for_each(drop);
            }
        }
        _ => {
            let deep = b"[{\"a\":".repeat(rng.random_range(1..3000));
            line.splice(at..at, deep).for_each(drop);
        }
    }
}

fn check(stdout: &[u8], rng: &mut StdRng) {
    let whole = [stdout, b"\n", AFTER.as_bytes()].concat();
    let mut reader = parser();
    let mut actions = feed(&mut reader, &whole);
    actions.extend(finish(&mut reader));

    let mut turn = false;
    for action in &actions {
        match action {
            Action::TurnStarted { .. } => assert!(!std::mem::replace(&mut turn, true), "a turn starts inside a turn"),
            Action::TurnEnded(_) => assert!(std::mem::replace(&mut turn, false), "a turn ends outside a turn"),
            Action::Emit(_) | Action::Write(_) | Action::Ask(_) | Action::AskWithdrawn { .. } | Action::Forgotten => {}
        }
    }
    assert!(!turn, "the last turn does not end");
    let begun = Action::TurnStarted { block_id: Some(BlockId::new("after")) };
    let from = actions.iter().rposition(|action| *action == begun).expect("the good turn begins");
    let good = |action: &Action| match action {
        Action::Emit(Draft::Complete { block_id, content: Some(Content::AssistantText { text, .. }), .. }) => {
            block_id.as_str() == "after-m/0" && text == "good"
        }
        _ => false,
    };
    assert!(actions[from..].iter().any(good), "the good text is not read: {:?}", &actions[from..]);
    let Some(Action::TurnEnded(end)) = actions.last() else { panic!("{:?}", actions.last()) };
    assert_eq!(end.outcome, Outcome::Completed);

    // In two pieces, by two parsers.
    let cut = rng.random_range(0..=whole.len());
    let mut first = parser();
    let mut pieces = feed(&mut first, &whole[..cut]);
    let checkpoint = first.checkpoint();
    let mut second = Parser::restore(Agent::ClaudeCode, &checkpoint).expect("its own checkpoint");
    pieces.extend(feed(&mut second, &whole[usize::try_from(checkpoint.offset).expect("small")..]));
    pieces.extend(finish(&mut second));
    assert!(pieces == actions, "cut at {cut} it says something else");
}

/// As a session would record it: what is said of turns and blocks adds up, whatever it is. Only what nobody answers keeps a turn
/// open: a subagent in the background that asks does that beyond the end of the turn that started it.
fn record(stdout: &[u8]) {
    let whole = [stdout, b"\n", AFTER.as_bytes()].concat();
    let events = session::replay(Agent::ClaudeCode, &whole).expect("a fresh parser");
    for (event, sequence) in events.iter().zip(1..) {
        assert_eq!(event.sequence, sequence);
    }
    let (mut turns, mut asks) = (BTreeMap::new(), BTreeMap::new());
    for event in &events {
        match &event.kind {
            Kind::TurnUpdated { turn } => {
                turns.insert(&turn.turn_id, turn.status);
            }
            Kind::PermissionRequested { permission } => {
                asks.insert(&permission.permission_id, &permission.turn_id);
            }
            Kind::QuestionRequested { question } => {
                asks.insert(&question.question_id, &question.turn_id);
            }
            Kind::PermissionResolved { permission_id: ask, .. } | Kind::QuestionResolved { question_id: ask, .. } => {
                asks.remove(ask);
            }
            _ => {}
        }
    }
    let waits = |turn| asks.values().any(|asking| *asking == turn);
    for (turn, status) in &turns {
        let well = status.is_final() || (*status == TurnStatus::AwaitingInput && waits(*turn));
        assert!(well, "a turn is left open: {turns:?}, {asks:?}");
    }
}

#[test]
fn broken_output_never_stops_the_stream() {
    let seed = number("MUTATION_SEED", rand::random::<u32>().into());
    let until = Instant::now() + Duration::from_secs(number("MUTATION_SECONDS", 60));
    println!("MUTATION_SEED={seed}");
    let mut count = 0_u64;
    while Instant::now() < until {
        let case = seed.wrapping_add(count.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let told = std::panic::catch_unwind(|| {
            let mut rng = StdRng::seed_from_u64(case);
            let stdout = mutate(&mut rng);
            check(&stdout, &mut rng);
            if count.is_multiple_of(4) {
                record(&stdout);
            }
        });
        assert!(told.is_ok(), "output number {count} of MUTATION_SEED={seed} breaks the reader");
        count += 1;
    }
    println!("{count} outputs were broken");
    assert!(count > 0);
}
