//! Conversions lose nothing: domain to message to bytes to message to domain is the same.

use std::collections::BTreeSet;

use agent_runtime::{
    domain::{Event, Profile, ProfileSetup, SessionState, Timestamp, TurnStatus},
    proto::{self, from_json, to_json},
    store::SessionView,
};
use proptest::prelude::*;
use prost::Message as _;

use crate::{
    from_wire,
    generate::{Generator, KINDS, index},
};

#[test]
fn every_kind_of_event_is_generated() {
    let mut generator = Generator::new(1);
    let kinds: BTreeSet<usize> = (0..KINDS).map(|which| index(&generator.kind(which))).collect();
    assert_eq!(kinds.len(), KINDS);
    assert_eq!(kinds.last(), Some(&(KINDS - 1)));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) })]

    #[test]
    fn events_come_back_whole(seed: u64) {
        let mut generator = Generator::new(seed);
        for which in 0..KINDS {
            let kind = generator.kind(which);
            let event: Event = generator.event(kind);
            let wire = proto::SessionEvent::from(event.clone());
            let read = proto::SessionEvent::decode(wire.encode_to_vec().as_slice()).unwrap();
            prop_assert_eq!(&wire, &read);
            prop_assert_eq!(from_wire::event(read), event);
            let json = to_json("agentruntime.v1.SessionEvent", &wire);
            prop_assert_eq!(from_json::<proto::SessionEvent>("agentruntime.v1.SessionEvent", &json).unwrap(), wire);
        }
    }

    #[test]
    fn states_come_back_whole(seed: u64) {
        let events = Generator::new(seed).log(60);
        let state = SessionState::fold(&events).unwrap();
        let wire = proto::SessionState::from(state.clone()).encode_to_vec();
        let read = proto::SessionState::decode(wire.as_slice()).unwrap();
        prop_assert_eq!(read.session.as_ref().unwrap().oldest_sequence, 0);
        prop_assert_eq!(from_wire::state(read), state);
    }
}

#[test]
fn an_event_that_stands_for_itself_says_no_first_sequence() {
    let mut generator = Generator::new(3);
    let kind = generator.kind(1);
    let event = Event { sequence: 7, first_sequence: 7, ..generator.event(kind) };
    assert_eq!(proto::SessionEvent::from(event.clone()).first_sequence, 0);
    assert_eq!(proto::SessionEvent::from(Event { first_sequence: 3, ..event }).first_sequence, 3);
}

#[test]
fn calls_show_the_turns_and_the_oldest_sequence() {
    let mut generator = Generator::new(4);
    let mut turn = |status| agent_runtime::domain::Turn { status, ..generator.turn() };
    let (running, queued) = (turn(TurnStatus::Running), turn(TurnStatus::Queued));
    let view = SessionView {
        session: Generator::new(5).session(),
        oldest_sequence: 7,
        active_turn: Some(running.clone()),
        queued_turns: vec![queued.clone()],
        open_permissions: Vec::new(),
        open_questions: Vec::new(),
    };
    let session = proto::Session::from(view.clone());
    assert_eq!(session.oldest_sequence, 7);
    assert_eq!(session.active_turn, Some(Box::new(running.into())));
    assert_eq!(session.queued_turns, vec![queued.into()]);
    assert_eq!(proto::GetSessionResponse::from(view).session, Some(session));
}

#[test]
fn total_tokens_are_summed() {
    let usage = agent_runtime::domain::Usage {
        input_tokens: 1,
        output_tokens: 20,
        cache_read_tokens: 300,
        cache_write_tokens: 4000,
        thinking_tokens: 50000,
        cost_micro_usd: 7,
    };
    assert_eq!(proto::Usage::from(usage).total_tokens, 4321);
}

#[test]
fn profiles_show_what_is_kept() {
    let profile = Profile {
        profile_id: agent_runtime::domain::ProfileId::new("prof_1"),
        revision: 2,
        name: "reviewer".into(),
        description: "reads".into(),
        agent: Some(agent_runtime::domain::Agent::ClaudeCode),
        setup: ProfileSetup::default(),
        created_by: Some(agent_runtime::domain::Principal::system()),
        create_time: Timestamp(1_000_000),
        update_time: Timestamp(2_500_000),
        etag: "e".into(),
    };
    let wire = proto::AgentProfile::from(profile);
    let shown = (wire.profile_id.as_str(), wire.revision, wire.name.as_str(), wire.agent.as_str(), wire.etag.as_str());
    assert_eq!(shown, ("prof_1", 2, "reviewer", "claude-code", "e"));
    assert_eq!(wire.update_time, Some(prost_types::Timestamp { seconds: 2, nanos: 500_000_000 }));
    assert!(wire.created_by.is_some() && wire.create_time.is_some());
}
