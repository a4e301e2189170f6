//! Sessions whose sandboxes are at Modal: what holds for those on this machine holds for them, over the emulator.

#[path = "../support/authority.rs"]
mod authority;
#[path = "../support/claude.rs"]
mod cli;
#[path = "../support/emulator.rs"]
mod emulator;
#[path = "../support/mod.rs"]
mod support;

mod claude;
mod faults;
mod fenced;
mod health;
mod idle;
mod image;
mod joining;
mod kept;
mod life;
mod origin;
mod orphans;
mod others;
mod prebuilt;
mod reach;
mod reaper;
mod rig;
mod sessions;
mod tls;
