//! Turns one by one and in pages, also long after they ended.

use agent_runtime::proto::{self, BusyPolicy, ListOrder, Turn, TurnStatus};
use tonic::Code;

use crate::{
    at_work::{Seen, WORKS, cancel, get_turn, queue, send_with},
    support::{Server, fields, play, reason, scripted, snapshot},
};

/// All pages of a list of turns.
async fn pages(
    sessions: &mut crate::support::Sessions,
    id: &str,
    status: TurnStatus,
    order: ListOrder,
    page_size: i32,
) -> Vec<Vec<Turn>> {
    let mut pages = Vec::new();
    let mut page_token = String::new();
    loop {
        let (status, order) = (status.into(), order.into());
        let request = proto::ListTurnsRequest { session_id: id.into(), status, order, page_size, page_token };
        let page = sessions.list_turns(request).await.expect("listed").into_inner();
        pages.push(page.turns);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return pages;
        }
    }
}

#[tokio::test]
async fn turns_are_listed_in_pages() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let (seen, _) = Seen::at_work(&mut sessions, WORKS).await;
    let id = seen.id;
    for at in 0..6 {
        let turn = queue(&mut sessions, &id, &at.to_string()).await;
        if at % 2 == 0 {
            cancel(&mut sessions, &id, &turn.turn_id).await.expect("cancelled");
        }
    }
    let (state, _) = snapshot(&mut sessions, &id).await;
    let all = state.turns;
    assert_eq!(all.len(), 7);
    let any = TurnStatus::Unspecified;
    assert_eq!(pages(&mut sessions, &id, any, ListOrder::Unspecified, 0).await, std::slice::from_ref(&all));
    for size in [1, 2, 7] {
        let paged = pages(&mut sessions, &id, any, ListOrder::OldestFirst, size).await;
        assert!(paged.iter().all(|page| page.len() <= usize::try_from(size).expect("small")));
        assert_eq!(paged.concat(), all, "{size}");
        let mut back = pages(&mut sessions, &id, any, ListOrder::NewestFirst, size).await.concat();
        back.reverse();
        assert_eq!(back, all, "{size}");
    }
    for status in [TurnStatus::Cancelled, TurnStatus::Queued, TurnStatus::Running, TurnStatus::Lost] {
        let of: Vec<_> = all.iter().filter(|turn| turn.status() == status).cloned().collect();
        assert_eq!(pages(&mut sessions, &id, status, ListOrder::OldestFirst, 2).await.concat(), of, "{status:?}");
    }

    let list = proto::ListTurnsRequest { session_id: id, page_size: 1, ..Default::default() };
    let first = sessions.list_turns(list.clone()).await.expect("listed").into_inner();
    let other = proto::ListTurnsRequest {
        page_token: first.next_page_token,
        status: TurnStatus::Queued.into(),
        ..list.clone()
    };
    assert_eq!(fields(&sessions.list_turns(other).await.expect_err("of another query")), ["page_token"]);
    for (bad, field) in [
        (proto::ListTurnsRequest { page_size: 1001, ..list.clone() }, "page_size"),
        (proto::ListTurnsRequest { status: 99, ..list.clone() }, "status"),
        (proto::ListTurnsRequest { order: 9, ..list.clone() }, "order"),
        (proto::ListTurnsRequest { session_id: String::new(), ..list.clone() }, "session_id"),
    ] {
        assert_eq!(fields(&sessions.list_turns(bad).await.expect_err("refused")), [field]);
    }
    let gone = proto::ListTurnsRequest { session_id: "ses_none".into(), ..list };
    assert_eq!(reason(&sessions.list_turns(gone).await.expect_err("there is none")), "SESSION_NOT_FOUND");
}

#[tokio::test]
async fn a_turn_is_told_by_its_id_also_when_it_is_over() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let played = play(&mut sessions, &id, "hello").await;
    assert_eq!(get_turn(&mut sessions, &id, &played.turn.turn_id).await.expect("there"), played.turn);
    let next = send_with(&mut sessions, &id, WORKS, BusyPolicy::Queue).await.expect("accepted");
    let turn = get_turn(&mut sessions, &id, &next.turn_id).await.expect("there");
    assert_eq!((turn.turn_id, turn.end_time), (next.turn_id, None));
    let other = scripted(&mut sessions).await.session_id;
    for (session, turn, expected) in [
        (id.as_str(), "turn_none", "TURN_NOT_FOUND"),
        (other.as_str(), played.turn.turn_id.as_str(), "TURN_NOT_FOUND"),
        ("ses_none", played.turn.turn_id.as_str(), "SESSION_NOT_FOUND"),
    ] {
        let refused = get_turn(&mut sessions, session, turn).await.expect_err("there is none");
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::NotFound, expected));
    }
    assert_eq!(fields(&get_turn(&mut sessions, &id, "").await.expect_err("which?")), ["turn_id"]);
}
