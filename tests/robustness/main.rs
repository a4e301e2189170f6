//! Robustness: real servers that are killed, stopped, cut off and lose their power while clients talk and watch; all that
//! clients see is taken down, and judged by what the contract promises. `make robustness` runs more of the same.

#![allow(unreachable_pub, reason = "a test binary is nobody's library")]

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/claude.rs"]
mod cli;

#[path = "../support/previous.rs"]
mod older;

#[path = "../support/wire_fold.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod wire_fold;

mod abilities;
mod case;
mod census;
mod ending;
mod etcd;
mod figures;
mod history;
mod judge;
mod link;
mod living;
mod made;
mod mutants;
mod mutate;
mod power;
mod proxy;
mod recorder;
mod rig;
mod runs;
mod script;
mod source;
mod stage;
mod traffic;
mod watcher;
