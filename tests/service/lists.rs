//! Lists: pages, filters and orders.

use std::collections::BTreeMap;

use agent_runtime::proto;
use tonic::Code;

use crate::support::{Server, Sessions, fields, get, play, reason, scripted, snapshot, stop};

async fn list(sessions: &mut Sessions, request: &proto::ListSessionsRequest) -> Vec<Vec<proto::Session>> {
    let mut pages = Vec::new();
    let mut request = request.clone();
    loop {
        let page = sessions.list_sessions(request.clone()).await.expect("a page").into_inner();
        pages.push(page.sessions);
        if page.next_page_token.is_empty() {
            return pages;
        }
        request.page_token = page.next_page_token;
    }
}

fn ids(pages: &[Vec<proto::Session>]) -> Vec<&str> {
    pages.iter().flatten().map(|session| session.session_id.as_str()).collect()
}

#[tokio::test]
async fn sessions_are_paged_newest_first_and_filtered() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let profile = proto::AgentProfile { name: "other".into(), ..Default::default() };
    let request = proto::CreateProfileRequest { profile: Some(profile), ..Default::default() };
    let profile = server.profiles().await.create_profile(request).await.expect("created").into_inner().profile.unwrap();
    let mut made = Vec::new();
    for number in 0..5 {
        let labels = [("parity", ["even", "odd"][number % 2]), ("all", "yes")];
        let request = proto::CreateSessionRequest {
            agent: "scripted".into(),
            external_id: format!("number-{number}"),
            labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            profile_id: if number == 3 { profile.profile_id.clone() } else { String::new() },
            ..Default::default()
        };
        made.push(sessions.create_session(request).await.expect("created").into_inner().session.unwrap());
    }
    let newest_first: Vec<&str> = made.iter().rev().map(|session| session.session_id.as_str()).collect();
    let by_two = proto::ListSessionsRequest { page_size: 2, ..Default::default() };
    let pages = list(&mut sessions, &by_two).await;
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
    assert_eq!(ids(&pages), newest_first);
    for session in pages.into_iter().flatten() {
        assert_eq!(get(&mut sessions, &session.session_id).await, session);
    }

    let labels = |pairs: &[(&str, &str)]| proto::ListSessionsRequest {
        labels: pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        page_size: 1,
        ..Default::default()
    };
    let of = |numbers: &[usize]| numbers.iter().map(|number| made[*number].session_id.as_str()).collect::<Vec<_>>();
    assert_eq!(ids(&list(&mut sessions, &labels(&[("parity", "odd"), ("all", "yes")])).await), of(&[3, 1]));
    assert!(ids(&list(&mut sessions, &labels(&[("parity", "odd"), ("all", "no")])).await).is_empty());
    let profile = proto::ListSessionsRequest { profile_id: profile.profile_id, ..Default::default() };
    assert_eq!(ids(&list(&mut sessions, &profile).await), of(&[3]));
    let external = proto::ListSessionsRequest { external_id: "number-2".into(), ..Default::default() };
    assert_eq!(ids(&list(&mut sessions, &external).await), of(&[2]));
    stop(&mut sessions, &made[1].session_id).await;
    let stopped = proto::ListSessionsRequest { status: proto::SessionStatus::Stopped.into(), ..Default::default() };
    assert_eq!(ids(&list(&mut sessions, &stopped).await), of(&[1]));
    let idle = proto::ListSessionsRequest { status: proto::SessionStatus::Idle.into(), ..by_two.clone() };
    assert_eq!(ids(&list(&mut sessions, &idle).await), of(&[4, 3, 2, 0]));

    let first = sessions.list_sessions(by_two.clone()).await.expect("a page").into_inner();
    for other in
        [idle, proto::ListSessionsRequest { labels: BTreeMap::from([("a".into(), "b".into())]), ..by_two.clone() }]
    {
        let other = proto::ListSessionsRequest { page_token: first.next_page_token.clone(), ..other };
        let refused = sessions.list_sessions(other).await.expect_err("a token of another query");
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::InvalidArgument, "INVALID_FIELD"));
        assert_eq!(fields(&refused), ["page_token"]);
    }

    let delete = proto::DeleteSessionRequest { session_id: made[4].session_id.clone(), ..Default::default() };
    sessions.delete_session(delete).await.expect("deleted");
    assert_eq!(ids(&list(&mut sessions, &by_two).await), of(&[3, 2, 1, 0]));
    let deleted = proto::ListSessionsRequest { status: proto::SessionStatus::Deleted.into(), ..Default::default() };
    assert!(ids(&list(&mut sessions, &deleted).await).is_empty());
}

#[tokio::test]
async fn a_page_that_began_does_not_move_when_sessions_are_added() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let mut made = Vec::new();
    for _ in 0..3 {
        made.push(scripted(&mut sessions).await.session_id);
    }
    let request = proto::ListSessionsRequest { page_size: 2, ..Default::default() };
    let first = sessions.list_sessions(request.clone()).await.expect("a page").into_inner();
    scripted(&mut sessions).await;
    let request = proto::ListSessionsRequest { page_token: first.next_page_token, ..request };
    let second = sessions.list_sessions(request).await.expect("a page").into_inner();
    assert_eq!(ids(&[second.sessions]), [made[0].as_str()]);
    assert_eq!(second.next_page_token, "");
}

#[tokio::test]
async fn blocks_are_paged_in_both_orders_and_are_those_of_a_snapshot() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let script =
        r#"[{"think":"Hm."},{"say":"One."},{"tool":"Bash","input":{"command":"ls"},"output":"a"},{"say":"Two."}]"#;
    play(&mut sessions, &id, script).await;
    let (state, head) = snapshot(&mut sessions, &id).await;
    assert_eq!(state.blocks.len(), 6, "the user's, and five of the agent");

    let request = |order: proto::ListOrder, page_size, page_token: &str| proto::ListBlocksRequest {
        session_id: id.clone(),
        order: order.into(),
        page_size,
        page_token: page_token.into(),
        ..Default::default()
    };
    for order in [proto::ListOrder::Unspecified, proto::ListOrder::OldestFirst, proto::ListOrder::NewestFirst] {
        let mut blocks = Vec::new();
        let mut token = String::new();
        for page in 0.. {
            let answer = sessions.list_blocks(request(order, 4, &token)).await.expect("a page").into_inner();
            assert_eq!(answer.blocks.len(), [4, 2][page]);
            assert_eq!(answer.sequence, head);
            blocks.extend(answer.blocks);
            token = answer.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        if order == proto::ListOrder::NewestFirst {
            blocks.reverse();
        }
        assert_eq!(blocks, state.blocks, "{order:?}");
    }

    let token = sessions.list_blocks(request(proto::ListOrder::OldestFirst, 1, "")).await.expect("a page");
    let token = token.into_inner().next_page_token;
    let other_session = scripted(&mut sessions).await.session_id;
    let sound = request(proto::ListOrder::OldestFirst, 1, &token);
    for other in [
        proto::ListBlocksRequest { conversation_id: "toolu_1".into(), ..sound.clone() },
        proto::ListBlocksRequest { session_id: other_session, ..sound.clone() },
        proto::ListBlocksRequest { order: proto::ListOrder::NewestFirst.into(), ..sound.clone() },
    ] {
        let refused = sessions.list_blocks(other).await.expect_err("a token of another query");
        assert_eq!(fields(&refused), ["page_token"]);
    }
    let named = proto::ListBlocksRequest { conversation_id: "main".into(), page_token: String::new(), ..sound };
    assert_eq!(sessions.list_blocks(named).await.expect("main by its name").into_inner().blocks[0], state.blocks[0]);
    let other =
        proto::ListBlocksRequest { conversation_id: "toolu_1".into(), ..request(proto::ListOrder::Unspecified, 0, "") };
    assert!(sessions.list_blocks(other).await.expect("an empty page").into_inner().blocks.is_empty());
}
