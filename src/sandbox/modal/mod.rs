//! Sandboxes of Modal: far away, reached only through the programs that are run in them.

mod files;
pub mod helper;

pub use files::ModalFiles;
