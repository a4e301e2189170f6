//! The commands.

pub mod install;
