//! Sessions whose sandboxes are at Modal: what holds for those on this machine holds for them, over the emulator.

#[path = "../support/claude.rs"]
mod cli;
#[path = "../support/emulator.rs"]
mod emulator;
#[path = "../support/mod.rs"]
mod support;

mod claude;
mod health;
mod idle;
mod kept;
mod life;
mod orphans;
mod reach;
mod rig;
mod sessions;
