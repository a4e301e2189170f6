//! Secrets: agents print what the server knows and nobody is to see, in every way there is; then it is looked for wherever
//! the server keeps or shows something. Real servers, the scripted agent, and the real Claude Code CLI.

#[path = "../support/claude.rs"]
mod cli;
#[path = "../support/mod.rs"]
mod support;

mod canary;
mod claude;
mod kills;
mod printed;
