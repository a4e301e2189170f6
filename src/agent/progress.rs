//! How far an agent is in its turn, and how it is told that it is to be run in another way from now on.

/// How far the turn at work is in this process, in all since it began there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Model calls that began, subagents' included.
    pub steps: i32,
    /// Model calls that ended: each may have made the turn cost more.
    pub ended: i32,
    /// What it has cost, as far as the agent told.
    pub cost_micro_usd: i64,
    /// The part of that which [`Draft::Used`](super::Draft::Used) has not told.
    pub untold_micro_usd: i64,
}

/// How a program that runs comes to run as these options say, from its next message on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Adapt {
    /// It does already.
    Keep,
    /// It is given this first.
    Tell(Vec<u8>),
    /// It cannot: another one is to be started in its place.
    Restart,
}
