//! Sessions.

pub mod programs;
