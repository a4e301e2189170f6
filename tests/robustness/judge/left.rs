//! Left: one supervisor and one agent at most for each sandbox while a server is there; and nobody in the end.

use super::Faults;
use crate::case::Case;

pub fn left(case: &Case, faults: &mut Faults) {
    for seen in &case.processes {
        for (what, counted) in [("supervisors", &seen.supervisors), ("agents", &seen.agents)] {
            for (sandbox, times) in counted.iter().filter(|(_, times)| seen.over || **times > 1) {
                let when = if seen.over { "in the end" } else { "at once" };
                faults.say(format!("{sandbox} has {times} {what} {when}"));
            }
        }
        for process in &seen.left {
            faults.say(format!("a process of the data folder is left: {process}"));
        }
    }
}
