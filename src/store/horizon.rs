//! Up to where the deltas of a log can go. It knows blocks and no database.
//!
//! A delta can go when a whole block of the same id follows it: whoever reads on from before the delta gets the whole block
//! in its place, and whoever has the delta already sees it replaced. So the deltas up to a sequence can go when at that
//! sequence no block has grown since it was last told whole. It is not enough that every block that is open now began
//! later: a block that is final now may have grown on both sides, and what is left of it would have a hole.

use std::collections::HashSet;

use crate::domain::BlockId;

/// What an event is to a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tells<'a> {
    /// The block grows.
    Growth(&'a BlockId),
    /// All of the block, as a start and a completion tell it.
    Whole(&'a BlockId),
    /// Neither.
    Other,
}

/// Reads a log in order and keeps the last sequence up to which deltas can go.
#[derive(Debug)]
pub(super) struct Horizon {
    grown: HashSet<BlockId>,
    at: i64,
}

impl Horizon {
    /// After a sequence that was one already, or at the beginning of a log.
    pub(super) fn after(sequence: i64) -> Self {
        Self { grown: HashSet::new(), at: sequence }
    }

    /// The last sequence up to which deltas can go.
    pub(super) fn at(&self) -> i64 {
        self.at
    }

    /// Some block has grown since it was told whole.
    pub(super) fn is_open(&self) -> bool {
        !self.grown.is_empty()
    }

    /// Takes the next event.
    pub(super) fn pass(&mut self, sequence: i64, tells: Tells<'_>) {
        match tells {
            Tells::Growth(id) => {
                if !self.grown.contains(id) {
                    self.grown.insert(id.clone());
                }
            }
            Tells::Whole(id) => {
                self.grown.remove(id);
            }
            Tells::Other => {}
        }
        if self.grown.is_empty() {
            self.at = sequence;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::domain::{
        Agent, Block, BlockPatch, BlockState, Content, ConversationId, Event, Kind, LogLevel, LogUid, Principal,
        ProfileId, SandboxSpec, Session, SessionId, SessionOptions, SessionState, SessionStatus, Timestamp, Usage,
    };

    fn tells(kind: &Kind) -> Tells<'_> {
        match kind {
            Kind::BlockDelta { block_id, .. } => Tells::Growth(block_id),
            Kind::BlockStart { block } | Kind::BlockComplete { block } => Tells::Whole(&block.block_id),
            _ => Tells::Other,
        }
    }

    fn horizon(events: &[Event]) -> i64 {
        let mut horizon = Horizon::after(0);
        for event in events {
            horizon.pass(event.sequence, tells(&event.kind));
        }
        horizon.at()
    }

    fn state() -> SessionState {
        SessionState::new(Session {
            session_id: SessionId::new("s"),
            uid: LogUid::new("u"),
            external_id: String::new(),
            agent: Agent::Scripted,
            name: String::new(),
            status: SessionStatus::Idle,
            profile_id: ProfileId::new("default"),
            profile_revision: 1,
            sequence: 0,
            sandbox: None,
            sandbox_spec: SandboxSpec::default(),
            workspace: None,
            seed_files: Vec::new(),
            options: SessionOptions::default(),
            usage: Usage::default(),
            labels: std::collections::BTreeMap::new(),
            metadata: None,
            created_by: Principal::system(),
            create_time: Timestamp(0),
            last_activity_time: Timestamp(0),
            etag: String::new(),
            error: None,
        })
    }

    fn block(id: &str, text: String, state: BlockState) -> Block {
        Block {
            block_id: BlockId::new(id),
            conversation_id: ConversationId::main(),
            turn_id: None,
            state,
            create_time: Timestamp(0),
            complete_time: None,
            truncated_bytes: 0,
            content: Content::Thinking { text, summary: String::new() },
        }
    }

    /// A log of three blocks that open, grow, are patched and close in any order, and open again.
    fn log(steps: &[(u8, u8)]) -> Vec<Event> {
        let mut live = state();
        let mut events = Vec::new();
        for (sequence, (what, which)) in (1..).zip(steps) {
            let id = ["a", "b", "c"][usize::from(which % 3)];
            let held = live.block(&BlockId::new(id)).filter(|block| block.state == BlockState::Streaming);
            let text = held.and_then(|block| block.content.growing()).unwrap_or_default().to_owned();
            let kind = match (what % 6, held.is_some()) {
                (0 | 1, false) => Kind::BlockStart { block: block(id, String::new(), BlockState::Streaming) },
                (2..=4, true) => Kind::BlockDelta {
                    block_id: BlockId::new(id),
                    offset: i64::try_from(text.len()).unwrap(),
                    delta: format!("{id}{sequence} "),
                },
                (1, true) => Kind::BlockUpdate {
                    block_id: BlockId::new(id),
                    patch: BlockPatch { summary: Some(sequence.to_string()), ..BlockPatch::default() },
                },
                (0, true) => Kind::BlockComplete { block: block(id, text, BlockState::Complete) },
                _ => Kind::Log { level: LogLevel::Info, message: String::new() },
            };
            let time = Timestamp(sequence);
            let conversation_id = ConversationId::main();
            let event = Event { sequence, first_sequence: sequence, conversation_id, time, actor: None, kind };
            live.apply(&event);
            events.push(event);
        }
        events
    }

    fn folded<'a>(mut from: SessionState, events: impl Iterator<Item = &'a Event>) -> SessionState {
        for event in events {
            // What a client holds itself to: no delta begins behind what it holds.
            if let Kind::BlockDelta { block_id, offset, .. } = &event.kind {
                let held = from.block(block_id).and_then(|block| block.content.growing()).map_or(0, str::len);
                assert!(*offset <= i64::try_from(held).unwrap(), "a hole before {}", event.sequence);
            }
            from.apply(event);
        }
        from
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whoever has seen any part of the log and reads the rest without its old deltas has the same state.
        #[test]
        fn whoever_reads_on_without_the_deltas_has_the_same_state(steps in vec((any::<u8>(), any::<u8>()), 0..60)) {
            let events = log(&steps);
            let whole = folded(state(), events.iter());
            for read in 0..=events.len() {
                let horizon = horizon(&events[..read]);
                let kept = |event: &&Event| {
                    event.sequence > horizon || !matches!(event.kind, Kind::BlockDelta { .. })
                };
                for cut in 0..=events.len() {
                    let held = folded(state(), events[..cut].iter());
                    let rest = folded(held, events[cut..].iter().filter(kept));
                    prop_assert_eq!(&rest, &whole, "horizon {} of {}, cut {}", horizon, read, cut);
                }
            }
        }

        /// It is the last one: each later sequence cuts through text.
        #[test]
        fn a_log_without_open_text_can_go_as_a_whole(steps in vec((any::<u8>(), any::<u8>()), 1..60)) {
            let events = log(&steps);
            let grown = |id: &str| {
                let of = |event: &&Event| match tells(&event.kind) {
                    Tells::Growth(other) | Tells::Whole(other) => other.as_str() == id,
                    Tells::Other => false,
                };
                events.iter().rev().find(of).is_some_and(|event| matches!(tells(&event.kind), Tells::Growth(_)))
            };
            let open = ["a", "b", "c"].into_iter().any(grown);
            prop_assert_eq!(horizon(&events) == events.last().unwrap().sequence, !open);
        }
    }
}
