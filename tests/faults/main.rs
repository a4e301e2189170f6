//! The server's own process while its storage fails, and after: nothing that was acknowledged is lost, nothing that was
//! refused is found later, and it needs no restart.

#[path = "../support/mod.rs"]
mod support;

mod full;
mod held;
mod poison;
mod scenario;
mod sync;
