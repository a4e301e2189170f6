//! Mutants of the source: the server broken for real, in a copy, as somebody might break it; and the runs must find out. With
//! MUTANTS=1 each is built and run; without, only whether the table still fits the sources.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const KILLS: &str = "runs::nothing_is_lost_doubled_or_reordered_when_the_server_is_killed";
const LIVES: &str = "runs::turns_outlive_the_server";
const RESUMES: &str = "runs::whoever_comes_back_gets_exactly_what_followed";
const POWER: &str = "runs::nothing_that_was_acknowledged_or_seen_is_lost_with_the_power";

/// A change of the sources.
struct Mutant {
    name: &'static str,
    /// File, what stands there once, and what stands there instead.
    edits: &'static [(&'static str, &'static str, &'static str)],
    /// The run that must find it, with its size.
    run: (&'static str, &'static str, &'static str),
    /// One of these judges.
    by: &'static [&'static str],
}

/// Makes every commit slow, so that a kill hits what is around it.
const SLOW: (&str, &str, &str) = (
    "src/log/appender.rs",
    "let outcomes = timing.of(self.append(&batches)).await;",
    "tokio::time::sleep(Duration::from_millis(15)).await;\n            let outcomes = timing.of(self.append(&batches)).await;",
);

/// What is stored for the agent reaches it late, so that a kill comes before it.
const LATE_INPUT: (&str, &str, &str) = (
    "src/session/running.rs",
    "                Call::Write(row) => {\n",
    "                Call::Write(row) => {\n                    tokio::time::sleep(std::time::Duration::from_millis(15)).await;\n",
);

const TABLE: &[Mutant] = &[
    Mutant {
        name: "publish before commit",
        edits: &[
            (
                "src/log/appender.rs",
                "let outcomes = timing.of(self.append(&batches)).await;",
                "for batch in &batches {
                    hub::publish(&self.hubs, &batch.key, batch.events.clone());
                }
                tokio::time::sleep(Duration::from_millis(15)).await;
                let outcomes = timing.of(self.append(&batches)).await;",
            ),
            (
                "src/log/appender.rs",
                "                if outcome.is_ok() {\n                    hub::publish(&self.hubs, &batch.key, batch.events);\n                }\n",
                "                let _ = batch;\n",
            ),
        ],
        run: (KILLS, "KILLS", "60"),
        by: &["durable", "time", "resumable"],
    },
    Mutant {
        name: "acknowledge before commit",
        edits: &[
            SLOW,
            (
                "src/session/actor/turns.rs",
                "stored.map(|()| accepted)));\n        self.after.push(After::Reply(Box::new(answer)));",
                "stored.map(|()| accepted)));\n        answer(Ok(()));",
            ),
        ],
        run: (KILLS, "KILLS", "60"),
        by: &["acknowledged"],
    },
    Mutant {
        name: "acknowledge an answer before commit",
        edits: &[
            SLOW,
            (
                "src/session/actor/asking.rs",
                "stored.map(|()| resolved)));\n        self.after.push(After::Reply(Box::new(answer)));",
                "stored.map(|()| resolved)));\n        answer(Ok(()));",
            ),
        ],
        run: (LIVES, "KILLS", "60"),
        by: &["answered"],
    },
    Mutant {
        name: "stdin before commit",
        edits: &[
            SLOW,
            (
                "src/session/actor.rs",
                "        self.stdin.push(row.clone());\n        self.after.push(After::Write(row));",
                "        self.stdin.push(row.clone());\n        if let Side::On(running) = &mut self.side {\n            running.write(row);\n        }",
            ),
        ],
        run: (KILLS, "KILLS", "100"),
        by: &["agent"],
    },
    Mutant {
        name: "output read again from its beginning",
        edits: &[("src/session/attach.rs", "Output::Stdout, mark.stdout_offset).await?", "Output::Stdout, 0).await?")],
        run: (KILLS, "KILLS", "60"),
        by: &["agent", "turns", "fold", "offsets"],
    },
    Mutant {
        name: "a message is given again to another agent",
        edits: &[
            (
                "src/session/attach.rs",
                "        Err(Unattached::Lost(lost)) => Found::Nothing(lost),",
                "        Err(Unattached::Lost(lost)) => prompt.map_or_else(|| Found::Nothing(lost), Found::Message),",
            ),
            (
                "src/session/attach.rs",
                "let accepted = sandbox.stdin_status(&mark.exec_id).await?.accepted;",
                "let accepted = sandbox.stdin_status(&mark.exec_id).await?.accepted;
    if mark.stdout_offset == 0 {
        return Err(AttachError::Other(\"sandbox_lost\", String::new()));
    }",
            ),
        ],
        run: (KILLS, "KILLS", "100"),
        by: &["delivered", "agent", "lived"],
    },
    Mutant {
        name: "snapshot then subscribe",
        edits: &[
            (
                "src/log/watch.rs",
                "    let mut seat = Seat::take(&log.inner.hubs, key);\n    let store",
                "    let store",
            ),
            (
                "src/log/watch.rs",
                "    seat.set_behind(true);\n",
                "    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                let mut seat = Seat::take(&log.inner.hubs, key);
                seat.set_behind(true);\n",
            ),
            ("src/log/hub.rs", "is_none_or(|first| first.first_sequence > cursor + 1)", "is_none()"),
            ("src/log/watch.rs", "        if first.first_sequence > self.seen + 1 {", "        if false {"),
        ],
        run: (RESUMES, "RESUMES", "500"),
        by: &["reliable", "ranges"],
    },
    Mutant {
        name: "a cursor past the snapshot",
        edits: &[(
            "src/log/watch.rs",
            "(self.cursor, self.seen) = (snapshot.sequence(), snapshot.sequence());",
            "(self.cursor, self.seen) = (snapshot.sequence() + 1, snapshot.sequence() + 1);",
        )],
        run: (RESUMES, "RESUMES", "500"),
        by: &["reliable", "ranges"],
    },
    Mutant {
        name: "a turn ends and leaves its blocks open",
        edits: &[(
            "src/session/pending.rs",
            "filter(left).map(|block| block.block_id.clone()).collect();",
            "filter(left).filter(|_| false).map(|block| block.block_id.clone()).collect();",
        )],
        run: (KILLS, "KILLS", "60"),
        by: &["atomic"],
    },
    Mutant {
        name: "a delta that is merged loses its text",
        edits: &[("src/log/segment.rs", "    delta.push_str(more);\n    last", "    last")],
        run: (RESUMES, "RESUMES", "500"),
        by: &["durable"],
    },
    Mutant {
        name: "compaction takes deltas of blocks that are not told whole",
        edits: &[("src/store/sqlite/compact.rs", "let horizon = read.horizon.at();", "let horizon = read.last;")],
        run: (RESUMES, "RESUMES", "1000"),
        by: &["fold", "offsets"],
    },
    Mutant {
        name: "compaction takes more than deltas",
        edits: &[(
            "src/store/sqlite/compact.rs",
            "            AND block_id IS NOT NULL\"",
            "            AND (block_id IS NOT NULL OR kind = 'turn_updated')\"",
        )],
        run: (RESUMES, "RESUMES", "1000"),
        by: &["durable"],
    },
    Mutant {
        name: "takeover: the offset is ahead of what was flushed",
        edits: &[(
            "src/agent/lines.rs",
            "    pub(super) fn offset(&self) -> u64 {\n        self.offset\n",
            "    pub(super) fn offset(&self) -> u64 {\n        self.offset + self.pending()\n",
        )],
        run: (LIVES, "KILLS", "60"),
        by: &["played", "agent"],
    },
    Mutant {
        name: "takeover: the parser forgets what it knew",
        edits: &[(
            "src/session/attach.rs",
            "let state = mark.parser_state.clone().unwrap_or_default();",
            "let state = \"{\\\"open\\\":[]}\".to_owned();",
        )],
        run: (LIVES, "KILLS", "40"),
        by: &["played", "agent"],
    },
    Mutant {
        name: "takeover: all input is given once more, without a look at what was accepted",
        edits: &[(
            "src/session/attach.rs",
            "let rest = left.stdin.iter().filter(|row| end(row) > accepted).cloned().collect();",
            "let again = |row: &StdinRow| StdinRow { offset: row.offset + accepted, ..row.clone() };
    let rest = left.stdin.iter().map(again).collect();",
        )],
        run: (LIVES, "KILLS", "20"),
        by: &["delivered", "answered"],
    },
    Mutant {
        name: "takeover: the outbox is forgotten",
        edits: &[
            LATE_INPUT,
            (
                "src/session/attach.rs",
                "let rest = left.stdin.iter().filter(|row| end(row) > accepted).cloned().collect();",
                "let rest = Vec::new();",
            ),
        ],
        run: (LIVES, "KILLS", "60"),
        by: &["lived", "delivered", "answered"],
    },
    Mutant {
        name: "takeover: a message that was given and not taken up yet is given to another process",
        edits: &[
            LATE_INPUT,
            (
                "src/session/attach.rs",
                "Ok((running, rest, values)) => Found::Program { running: Box::new(running), rest, given: prompt, values },",
                "Ok((running, rest, values)) => match prompt {
            Some(prompt) => Found::Message(prompt),
            None => Found::Program { running: Box::new(running), rest, given: None, values },
        },",
            ),
        ],
        run: (LIVES, "KILLS", "60"),
        by: &["delivered", "left"],
    },
    Mutant {
        name: "power loss: commits are not flushed",
        edits: &[(
            "src/store/sqlite/open.rs",
            ".synchronous(SqliteSynchronous::Full)",
            ".synchronous(SqliteSynchronous::Normal)",
        )],
        run: (POWER, "POWER", "30"),
        by: &["durable", "acknowledged", "resumable"],
    },
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn target() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target")
}

/// The file with the edit made; what is looked for must stand there once.
fn edited(text: &str, mutant: &Mutant, file: &str, find: &str, replace: &str) -> String {
    assert_eq!(text.matches(find).count(), 1, "{}: {file} does not have exactly one `{find}`", mutant.name);
    text.replace(find, replace)
}

#[test]
fn every_mutant_of_the_source_has_its_place_and_is_caught() {
    for mutant in TABLE {
        for (file, find, replace) in mutant.edits {
            let text = fs::read_to_string(root().join(file)).expect("a source");
            edited(&text, mutant, file, find, replace);
        }
    }
    // Any, or those whose names hold what is given.
    let Some(wanted) = std::env::var("MUTANTS").ok().filter(|wanted| !wanted.is_empty()) else { return };
    let mutants: Vec<&Mutant> = TABLE.iter().filter(|mutant| wanted == "1" || mutant.name.contains(&wanted)).collect();
    let folder = target().join("robustness").join("source");
    let mut escaped = Vec::new();
    for mutant in &mutants {
        let server = build(&folder, mutant);
        let (run, name, size) = mutant.run;
        let mut command = Command::new(std::env::current_exe().expect("this binary"));
        command.args([run, "--exact", "--nocapture"]).env("SERVER_UNDER_TEST", server).env(name, size);
        let output = command.env_remove("MUTANTS").output().expect("the run");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let verdict = said.lines().find(|line| line.starts_with("violations in")).unwrap_or("nothing was found");
        println!("source_mutant={:?} {verdict}", mutant.name);
        let caught = mutant.by.iter().any(|judge| verdict.contains(&format!("\"{judge}\"")));
        if output.status.success() || !caught {
            let end: Vec<&str> = said.lines().rev().take(8).collect();
            escaped.push(format!("{}: {end:#?}", mutant.name));
        }
    }
    println!("source_mutants={} escaped={}", mutants.len(), escaped.len());
    assert!(escaped.is_empty(), "{}", escaped.join("\n"));
}

/// The server with the edits, in a folder and a target folder of its own.
fn build(folder: &Path, mutant: &Mutant) -> PathBuf {
    let sources = folder.join("package");
    let _ = fs::remove_dir_all(&sources);
    for part in ["src", "proto", "migrations", "benches", "examples"] {
        copy(&root().join(part), &sources.join(part));
    }
    for part in ["Cargo.toml", "Cargo.lock", "build.rs", "README.md"] {
        fs::copy(root().join(part), sources.join(part)).expect("a copy");
    }
    for (file, find, replace) in mutant.edits {
        let path = sources.join(file);
        let text = fs::read_to_string(&path).expect("a source");
        fs::write(&path, edited(&text, mutant, file, find, replace)).expect("written");
    }
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--locked", "--bin", "agent-runtime"]).current_dir(&sources);
    let output = cargo.env("CARGO_TARGET_DIR", folder.join("target")).output().expect("cargo");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{} does not build:\n{said}", mutant.name);
    folder.join("target/debug/agent-runtime")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("sources").filter_map(Result::ok) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a copy");
        }
    }
}
