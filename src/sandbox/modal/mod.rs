//! Sandboxes of Modal: far away, reached only through the programs that are run in them.

pub mod helper;
