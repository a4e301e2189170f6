//! Stand-ins that are real programs: a model endpoint on loopback, an emulator of Modal, and an agent that plays a script.
//! They serve demos, UI work, load and tests without an account; nothing else of the house needs them.

pub mod modal;
pub mod model;
mod number;
pub mod scripted_agent;
