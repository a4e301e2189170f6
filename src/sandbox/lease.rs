//! The right to change anything: for providers that know no epochs, and so cannot refuse an owner that was replaced.
//!
//! It must not know what the right is made of.

use std::fmt;

/// Whether this process still is the one that may drive sandboxes.
pub trait Lease: fmt::Debug + Send + Sync {
    /// Asked right before each call that changes something: it costs little, and never waits. False for good once it was
    /// false.
    fn held(&self) -> bool;
}
