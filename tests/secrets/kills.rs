//! Servers that are killed in the middle of a value: what was held back is neither lost nor said.

use agent_runtime::proto::{SessionEvent, TurnStatus, block::Content};
use serde_json::json;

use crate::{
    canary::{Cage, read_until},
    support::{check_ranges, ended, fold, last_turn, send, snapshot, watch},
};

#[tokio::test]
async fn a_value_is_replaced_whoever_reads_the_rest_of_it() {
    let cage = Cage::new(&[], &[]).await;
    let mut server = cage.open();
    let mut sessions = server.sessions().await;
    let id = Cage::session(&mut sessions, "scripted", "").await;
    let (all, shown) = (cage.all(), cage.shown());
    // Each piece of the text begins with a letter that can be said at once, and ends in the middle of a value.
    let text = cage.secrets().iter().map(|(_, value)| format!("0123456789 {value}")).collect::<Vec<_>>().concat();
    let script = json!([{ "say": format!("{text} {all}"), "size": 15, "pace_ms": 150 }]);
    let (turn, sequence) = send(&mut sessions, &id, &cage.spelled(&script)).await.expect("accepted");
    let (mut events, mut cursor): (Vec<SessionEvent>, _) = (Vec::new(), sequence);
    let said = |events: &[SessionEvent]| {
        let text = |block: &agent_runtime::proto::Block| match &block.content {
            Some(Content::AssistantText(text)) => Some(text.text.clone()),
            _ => None,
        };
        fold(events).blocks.iter().find_map(text).unwrap_or_default()
    };
    for _ in 0..6 {
        let mut stream = watch(&mut sessions, &id, Some(cursor)).await.expect("a watch");
        let before = said(&events).len();
        // As soon as more is said, what is held with it is stored.
        read_until(&mut stream, &mut events, |events| said(events).len() > before).await;
        cursor = check_ranges(sequence, &events);
        drop(server.kill());
        server = cage.open();
        sessions = server.sessions().await;
    }
    let mut stream = watch(&mut sessions, &id, Some(cursor)).await.expect("a watch");
    let over = |events: &[SessionEvent]| events.iter().any(|event| ended(event, &turn.turn_id));
    read_until(&mut stream, &mut events, over).await;
    check_ranges(sequence, &events);
    assert_eq!(last_turn(&events).status(), TurnStatus::Completed);
    let expected = cage.secrets().iter().map(|(name, _)| format!("0123456789 [secret {name}]")).collect::<Vec<_>>();
    assert_eq!(said(&events), format!("{} {shown}", expected.concat()));
    let (state, _) = snapshot(&mut sessions, &id).await;
    assert_eq!(fold(&events).blocks.last(), state.blocks.last(), "live is not what a reload shows");
    cage.search(server, &id, &events).await;
    cage.search_the_file();
}
