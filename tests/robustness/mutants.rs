//! The judges judged: a true history is changed as each fault of a server would show, and the judge it is meant for must say
//! so. Each mutant is made of the history made by hand, and of one that was recorded, where that has a place for it.

use agent_runtime::proto::{BlockState, SessionEvent, TurnStatus, block::Content, session_event::Kind};

use crate::{
    history::{Line, Wire},
    judge::judge,
    made,
    mutate::{Change, History},
    rig::{Plan, run},
    runs::seed,
};

/// What it is, who must catch it, and how it is made; the change says whether there was a place for it.
const MUTANTS: &[(&str, &str, Change)] = &[
    ("drop", "reliable", |h| h.in_frame(|events| three(events).map(|at| drop(events.remove(at + 1))))),
    ("a delta left out, and the next one says it stands for it", "reliable", |h| {
        h.in_frame(|events| {
            let at = events.windows(2).position(|pair| pair.iter().all(|event| is_delta(&event.0)))?;
            let gone = events.remove(at).0;
            events[at].0.first_sequence = crate::case::first(&gone);
            Some(())
        })
    }),
    ("a merged delta without one of its parts", "durable", |h| {
        h.in_frame(|events| {
            let is_merged = |event: &SessionEvent| is_delta(event) && crate::case::first(event) < event.sequence;
            let at = events.iter().position(|event| is_merged(&event.0))?;
            let Some(Kind::BlockDelta(merged)) = &mut events[at].0.kind else { return None };
            let end = merged.delta.char_indices().nth(merged.delta.chars().count() / 2)?.0;
            merged.delta.truncate(end);
            Some(())
        })
    }),
    ("a log without a delta that was not compacted", "ranges", |h| h.compact_one(is_delta)),
    ("a log that lost more than deltas", "ranges", |h| {
        h.compact_one(|event| matches!(event.kind, Some(Kind::StatusChanged(_))))
    }),
    ("duplicate", "unique", |h| h.in_frame(|events| three(events).map(|at| events.insert(at + 1, events[at].clone())))),
    ("swap", "ordered", |h| h.in_frame(|events| three(events).map(|at| events.swap(at, at + 1)))),
    ("a range that reaches back", "ranges", |h| {
        h.in_frame(|events| three(events).map(|at| events[at + 1].0.first_sequence = events[at].0.sequence))
    }),
    ("early bookmark", "bookmarkable", |h| {
        h.in_frame(|events| {
            let at = three(events)?;
            let (first, last) = (events[at].0.sequence, events[at + 1].0.sequence);
            events.splice(at..at + 2, [Wire(made::bookmark(first - 1, last, last))]);
            Some(())
        })
    }),
    ("a bookmark of a head that never was", "bookmarkable", |h| {
        h.in_frame(|events| {
            let Some(Kind::Bookmark(bookmark)) = &mut events.first_mut()?.0.kind else { return None };
            bookmark.head_sequence += 100_000;
            Some(())
        })
    }),
    ("publish before commit", "durable", |h| {
        let head = h.log_head()?;
        h.in_frame(|events| {
            let last = events.last().filter(|last| last.0.sequence == head)?.0.clone();
            events.push(Wire(SessionEvent { sequence: head + 1, first_sequence: 0, ..last }));
            Some(())
        })
    }),
    ("publish before commit, and other text later", "durable", |h| {
        h.in_frame(|events| delta(events).map(|delta| *delta = "?".repeat(delta.len())))
    }),
    ("snapshot then subscribe", "reliable", |h| h.after_snapshot(|events| events.drain(..1).next().map(drop))),
    ("snapshot from pending", "fold", |h| {
        let (next, text) = h.next_delta_after_snapshot()?;
        h.in_snapshot(|block| (block.block_id == next).then(|| grow(block, &text)).flatten())
    }),
    ("compaction under a paged snapshot", "fold", |h| {
        h.in_snapshot(|block| {
            let Some(Content::AssistantText(said)) = &mut block.content else { return None };
            (block.state == i32::from(BlockState::Streaming) && !said.text.is_empty()).then(|| said.text.clear())
        })
    }),
    ("cursor at snapshot start", "resumable", History::cut_inside_snapshot),
    ("merge across blocks", "unique", |h| h.in_frame(across_blocks)),
    ("merge into a submitted batch", "durable", |h| {
        let (sequence, _) = h.logged_delta()?;
        h.everywhere(|event| match &mut event.kind {
            Some(Kind::BlockDelta(delta)) if event.sequence == sequence => {
                delta.delta.push_str("more");
                Some(())
            }
            _ => None,
        })
    }),
    ("a delta at another offset", "offsets", |h| {
        h.in_frame(|events| {
            let found = events.iter_mut().find_map(|event| match &mut event.0.kind {
                Some(Kind::BlockDelta(delta)) => Some(&mut delta.offset),
                _ => None,
            });
            found.map(|offset| *offset += 1)
        })
    }),
    ("offset ahead of flush", "agent", |h| {
        // The log lacks what was printed last in a block of a turn that came to its end.
        let block = h.completed_block()?;
        let line = serde_json::json!({"delta": {"id": block, "text": "and more"}});
        h.spooled("stdout", &block, &format!("{line}\n"))
    }),
    ("stdin before commit", "agent", |h| {
        h.spooled("stdin", "", "{\"type\":\"user\",\"id\":\"blk_never_stored\",\"text\":\"?\"}\n")
    }),
    ("a prompt given twice", "delivered", |h| h.spool_twice("stdin")),
    ("a prompt heard twice", "delivered", |h| h.spool_line_twice("stdout", "\"turn_start\"")),
    ("a prompt that is never given", "delivered", |h| h.spools_without("stdin", "\"user\"")),
    ("a model that is asked twice", "delivered", History::ask_twice),
    ("an answer given twice", "answered", |h| h.spool_line_twice("stdin", "\"allow\"")),
    ("an answer that the agent is not given", "answered", |h| h.spools_without("stdin", "\"allow\"")),
    ("an agent that is told the answer that came too late", "answered", History::told_otherwise),
    ("a second answer that wins as well", "answered", History::resolved_twice),
    ("an acknowledged answer that is not the one", "answered", History::resolved_otherwise),
    ("a turn that is lost with its server", "lived", |h| h.end_as(TurnStatus::Lost)),
    ("a turn that hangs", "lived", History::stuck),
    ("a turn that fails for no reason", "played", |h| h.end_as(TurnStatus::Failed)),
    ("a number left out at the end by log and streams alike", "played", |h| {
        h.in_log(|event| match &mut event.kind {
            Some(Kind::BlockComplete(complete)) => {
                let Some(Content::AssistantText(said)) = &mut complete.block.as_mut()?.content else { return None };
                let is_numbered = said.text.contains("0000000000000000002 ") && said.text.ends_with(' ');
                is_numbered.then(|| said.text.truncate(said.text.trim_end().rfind(' ').map_or(0, |at| at + 1)))
            }
            _ => None,
        })
    }),
    ("two supervisors of one sandbox", "left", |h| {
        h.counted(false, |of| of.values_mut().for_each(|count| *count += 1))
    }),
    ("a supervisor that stays", "left", |h| h.counted(true, |of| of.extend([("sbx_left".to_owned(), 1)]))),
    ("a number left out by log and streams alike", "agent", |h| {
        h.in_log(|event| match &mut event.kind {
            Some(Kind::BlockComplete(complete)) => {
                let Some(Content::AssistantText(said)) = &mut complete.block.as_mut()?.content else { return None };
                let at = said.text.match_indices("00000000000000000002 ").next()?.0;
                said.text.replace_range(at..at + 21, "");
                Some(())
            }
            _ => None,
        })
    }),
    ("resume on a re-created session", "uid", History::another_uid),
    ("an acknowledged turn is lost", "acknowledged", History::lose_last_turn),
    ("a message stored twice", "acknowledged", History::store_message_twice),
    ("a refused message is stored", "acknowledged", History::refuse_accepted),
    ("a turn that ends twice", "turns", History::end_twice),
    ("half a commit", "atomic", |h| {
        // The end of a turn without that of its block.
        h.in_log(|event| match &event.kind {
            Some(Kind::BlockComplete(_)) => {
                event.kind = Some(Kind::Log(agent_runtime::proto::LogEntry::default()));
                Some(())
            }
            _ => None,
        })
    }),
    ("back in time", "time", History::back_in_time),
    ("retried interrupt hits the next turn", "idempotent", |h| {
        h.with_request_ids()?;
        let turn = h.last_completed_turn()?;
        h.in_log(|event| match &mut event.kind {
            Some(Kind::TurnUpdated(updated)) => {
                let held = updated.turn.as_mut().filter(|t| t.turn_id == turn)?;
                (held.status() == TurnStatus::Completed).then(|| held.set_status(TurnStatus::Interrupted))
            }
            _ => None,
        })
    }),
    ("a retry with another answer", "idempotent", History::another_answer),
];

/// Three stored events in a row, beginning here.
fn three(events: &[Wire<SessionEvent>]) -> Option<usize> {
    events.windows(3).position(|three| three.iter().all(|event| !crate::case::is_frame(&event.0)))
}

fn is_delta(event: &SessionEvent) -> bool {
    matches!(event.kind, Some(Kind::BlockDelta(_)))
}

/// The text of the first delta.
fn delta(events: &mut [Wire<SessionEvent>]) -> Option<&mut String> {
    events.iter_mut().find_map(|event| match &mut event.0.kind {
        Some(Kind::BlockDelta(delta)) => Some(&mut delta.delta),
        _ => None,
    })
}

fn grow(block: &mut agent_runtime::proto::Block, text: &str) -> Option<()> {
    let Some(Content::AssistantText(said)) = &mut block.content else { return None };
    said.text.push_str(text);
    Some(())
}

/// A10 B11 A12 becomes A10-12 B11.
fn across_blocks(events: &mut Vec<Wire<SessionEvent>>) -> Option<()> {
    let id = |event: &Wire<SessionEvent>| match &event.0.kind {
        Some(Kind::BlockDelta(delta)) => Some((delta.block_id.clone(), delta.delta.clone())),
        _ => None,
    };
    let at = events.windows(3).position(|three| match (id(&three[0]), id(&three[1]), id(&three[2])) {
        (Some((a, _)), Some((b, _)), Some((c, _))) => a == c && a != b,
        _ => false,
    })?;
    let third = events.remove(at + 2);
    let (_, text) = id(&third)?;
    let merged = &mut events[at].0;
    merged.first_sequence = merged.sequence;
    merged.sequence = third.0.sequence;
    if let Some(Kind::BlockDelta(delta)) = &mut merged.kind {
        delta.delta.push_str(&text);
    }
    Some(())
}

/// Mutants whose judge does not look at every turn: in a recorded history the block that they change may be of one that was
/// parked. In the history made by hand it is not, and there their own judge has to catch them.
const OF_ANY_TURN: &[&str] = &["a number left out at the end by log and streams alike"];

/// `by_its_own`: by the judge it is meant for, but for those excepted; else by any, because less is known.
fn must_be_caught(history: &[Line], what: &str, by_its_own: bool, except: &[&str]) -> usize {
    let violations = judge(history);
    assert!(violations.is_empty(), "the true history, {what}, is found wrong: {}", violations[0]);
    let mut made = 0;
    for (name, by, change) in MUTANTS {
        let mut mutant = History::new(history.to_vec());
        if change(&mut mutant).is_none() {
            continue;
        }
        made += 1;
        let found = judge(&mutant.lines);
        let judges: Vec<_> = found.iter().map(|violation| violation.judge).collect();
        let is_caught = if by_its_own && !except.contains(name) { judges.contains(by) } else { !judges.is_empty() };
        assert!(is_caught, "{name}, {what}, is not caught by {by} but by {judges:?}");
    }
    made
}

#[test]
fn every_mutant_of_a_history_made_by_hand_is_caught_by_its_judge() {
    let made = must_be_caught(&made::history(false), "made by hand", true, &[]);
    let missing: Vec<_> = MUTANTS
        .iter()
        .filter(|(_, _, change)| change(&mut History::new(made::history(false))).is_none())
        .map(|(name, _, _)| name)
        .collect();
    assert!(missing.is_empty(), "{made} mutants were made, these have no place: {missing:?}");
    println!("mutants={made} caught={made}");
}

#[test]
fn mutants_are_caught_as_well_where_the_log_was_compacted() {
    let made = must_be_caught(&made::history(true), "made by hand and compacted", false, &[]);
    println!("compacted_mutants={made} caught={made}");
    assert!(made > MUTANTS.len() / 2, "the compacted history has places for {made} mutants only");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mutants_of_a_recorded_history_are_caught_by_their_judges() {
    let plan = Plan {
        name: "mutants",
        seed: seed() + 7,
        sessions: 3,
        writers: 3,
        watchers: 8,
        kills: 2,
        pauses: 0,
        resumes: 150,
        chaos: false,
        compacts: false,
        power: None,
    };
    let outcome = run(plan).await;
    let history = outcome.history.clone();
    outcome.approve("mutants");
    let made = tokio::task::block_in_place(|| must_be_caught(&history, "recorded", true, OF_ANY_TURN));
    println!("recorded_mutants={made} caught={made}");
    assert!(made > MUTANTS.len() / 2, "the recorded history has places for {made} mutants only");
}

/// Every judge has a mutant that it alone is there for.
#[test]
fn no_judge_is_without_a_mutant() {
    for (name, _) in crate::judge::JUDGES {
        assert!(MUTANTS.iter().any(|(_, by, _)| *by == name), "nothing shows that {name} finds anything");
    }
}

#[test]
fn a_history_is_judged_again_from_its_file() {
    // With HISTORY=file it is that one.
    if let Some(path) = std::env::var_os("HISTORY").filter(|path| !path.is_empty()) {
        let history = crate::history::read(path.as_ref()).expect("a history");
        let violations = judge(&history);
        let list: Vec<String> = violations.iter().map(ToString::to_string).collect();
        println!("revalidated={} violations={}", history.len(), violations.len());
        assert!(violations.is_empty(), "{}", list.join("\n"));
        return;
    }
    let folder = crate::rig::folder(0);
    std::fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join("history.jsonl");
    let mut mutant = History::new(made::history(false));
    assert!(mutant.in_frame(|events| three(events).map(|at| drop(events.remove(at + 1)))).is_some());
    for history in [made::history(false), mutant.lines] {
        crate::history::write(&path, &history).expect("written");
        assert_eq!(judge(&crate::history::read(&path).expect("read")), judge(&history));
    }
    std::fs::remove_dir_all(folder).expect("removed");
}
