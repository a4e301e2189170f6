//! The scripted agent is interrupted: the turn ends where it stands, and the next one is played.

use std::io::{BufRead as _, BufReader, Write as _};

use agent_runtime::{
    agent::{self, Action, Outcome},
    domain::{Agent, BlockId},
};

use super::{read, spawn_agent, text_of};

#[test]
fn an_interrupt_ends_the_turn_that_is_played_and_no_other() {
    for script in [
        r#"[{"say":"So far.","open":true},{"pause_ms":600000},{"say":"Never."}]"#,
        r#"[{"say":"So far.","size":1,"pace_ms":5},{"tool":"Bash","duration_ms":600000},{"say":"Never."}]"#,
        r#"[{"say":"So far."},{"repeat":1000000,"steps":[{"count":1000000}]}]"#,
    ] {
        let mut child = spawn_agent();
        let mut stdin = child.stdin.take().expect("piped");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        // Between turns there is nothing to interrupt.
        stdin.write_all(&agent::interrupt(Agent::Scripted, "0")).expect("read");
        stdin.write_all(&crate::prompt(&BlockId::new("a"), script)).expect("read");
        let mut out = String::new();
        let mut interrupted = false;
        for line in &mut lines {
            let line = line.expect("text");
            out.extend([&line, "\n"]);
            if !interrupted && text_of(&read(out.as_bytes()), "a/1") == "So far." {
                stdin.write_all(&agent::interrupt(Agent::Scripted, "1")).expect("read");
                stdin.write_all(&crate::prompt(&BlockId::new("b"), "hello")).expect("read");
                interrupted = true;
            }
            if line.contains("\"result\"") {
                break;
            }
        }
        drop(stdin);
        let outcomes = |out: &str| -> Vec<Outcome> {
            let ends = read(out.as_bytes()).into_iter().filter_map(|action| match action {
                Action::TurnEnded(end) => Some(end.outcome),
                _ => None,
            });
            ends.collect()
        };
        assert_eq!(outcomes(&out), [Outcome::Interrupted], "{script}");
        assert!(!out.contains("Never."), "{script}");
        for line in lines {
            out.extend([&line.expect("text"), "\n"]);
        }
        assert_eq!(outcomes(&out), [Outcome::Interrupted, Outcome::Completed], "{script}");
        assert!(child.wait().expect("ended").success());
    }
}
