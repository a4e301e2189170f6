//! Live equals reload: the domain's fold and one that is written from the contract alone agree, from the first event and
//! from a snapshot cut anywhere.

use agent_runtime::{
    domain::{Change, Event, Session, SessionState},
    proto,
};
use proptest::prelude::*;

use crate::{generate::Generator, wire_fold};

fn wire(events: &[Event]) -> Vec<proto::SessionEvent> {
    events.iter().cloned().map(proto::SessionEvent::from).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) })]

    #[test]
    fn both_folds_agree(seed: u64, length in 1_usize..120) {
        let events = Generator::new(seed).log(length);
        let ours = SessionState::fold(&events).unwrap();
        prop_assert_eq!(proto::SessionState::from(ours), wire_fold::fold(&wire(&events)));
    }

    #[test]
    fn a_snapshot_at_any_cut_goes_on_to_the_same_state(seed: u64, length in 2_usize..60) {
        let events = Generator::new(seed).log(length);
        let whole = SessionState::fold(&events).unwrap();
        let wire = wire(&events);
        for cut in 1..events.len() {
            let snapshot = SessionState::fold(&events[..cut]).unwrap();
            let mut ours = snapshot.clone();
            events[cut..].iter().for_each(|event| {
                ours.apply(event);
            });
            prop_assert_eq!(&ours, &whole, "cut at {}", cut);
            let mut theirs = proto::SessionState::from(snapshot);
            wire[cut..].iter().for_each(|event| wire_fold::apply(&mut theirs, event));
            prop_assert_eq!(theirs, proto::SessionState::from(whole.clone()), "cut at {}", cut);
        }
    }

    /// What a store writes beside an event is enough: nothing else changes than what the fold says.
    #[test]
    fn the_fold_names_all_that_it_changes(seed: u64, length in 2_usize..60) {
        let events = Generator::new(seed).log(length);
        let mut state = SessionState::fold(&events[..1]).unwrap();
        for event in &events[1..] {
            let before = state.clone();
            let change = state.apply(event);
            prop_assert_eq!(without(before, &change), without(state.clone(), &change), "{:?}", event);
        }
    }
}

/// The state less what a change names, and less what every event changes.
fn without(mut state: SessionState, change: &Change) -> SessionState {
    let any = Generator::new(0).session();
    state.session.sequence = 0;
    state.session.last_activity_time = any.last_activity_time;
    match change {
        Change::None => {}
        Change::Session => state.session = any,
        Change::BlockText(id) | Change::Block(id) => state.blocks.retain(|block| block.block_id != *id),
        Change::Turn(id) => state.turns.retain(|turn| turn.turn_id != *id),
        Change::Conversation(id) => {
            state.conversations.retain(|conversation| conversation.conversation_id != *id);
            state.session = Session { usage: any.usage, ..state.session };
        }
        Change::Permission(id) => state.permissions.retain(|permission| permission.permission_id != *id),
        Change::PermissionRules => state.permission_rules.clear(),
        Change::Question(id) => state.questions.retain(|question| question.question_id != *id),
        Change::Files(paths) => state.files.retain(|file| !paths.contains(&file.path)),
    }
    state
}
