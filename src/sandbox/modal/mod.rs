//! Sandboxes of Modal: far away, reached only through the programs that are run in them.

mod address;
mod attempts;
mod control;
mod failure;
mod files;
pub mod helper;
mod helpers;
mod input;
mod jwt;
mod names;
mod program;
mod remote;
mod router;
mod scripts;

pub use files::ModalFiles;
