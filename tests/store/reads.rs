//! What every store must do: how it is read. Functions over `dyn Store`, run against each implementation.

use agent_runtime::{
    domain::{
        BlockId, BlockState, ConversationId, Kind, ProfileId, SandboxStatus, SessionKey, SessionState, SessionStatus,
        SessionUpdate, TenantId, Timestamp, TurnStatus,
    },
    store::{Batch, BlockQuery, Error, SessionQuery, Store},
};

use crate::make::{
    Owner, all, delta, ids, key, labels, log_line, main_blocks, profile, sandbox, store_one, text_block, turn,
};

pub(crate) async fn another_tenant_finds_nothing(store: &dyn Store) {
    let mut owner = Owner::create(store, key("t"), |session| {
        session.external_id = "mine".into();
        session.labels = labels(&[("a", "b")]);
    })
    .await;
    let running = Kind::SandboxChanged { sandbox: sandbox("sbx_1", SandboxStatus::Ready) };
    owner.append(store, [running, Kind::BlockStart { block: text_block("b", "x", BlockState::Streaming) }]).await;
    store.put_profile(&TenantId::new("t"), &profile("p", 1, "name"), None).await.unwrap();

    let stranger = SessionKey { tenant: TenantId::new("u"), session: owner.key.session.clone() };
    assert!(store.session(&stranger).await.unwrap().is_none());
    assert!(store.snapshot(&stranger).await.unwrap().is_none());
    assert!(store.acquire(&stranger).await.unwrap().is_none());
    assert!(store.blocks(&stranger, &main_blocks()).await.unwrap().is_none());
    assert!(matches!(store.events(&stranger, 0, 10).await, Err(Error::NotFound)));
    let theirs = Batch { key: stranger.clone(), ..owner.clone().batch([log_line("x")]) };
    assert_eq!(store_one(store, theirs).await, Err(Error::NotFound));
    for query in [
        all(),
        SessionQuery { external_id: Some("mine".into()), ..all() },
        SessionQuery { labels: labels(&[("a", "b")]), ..all() },
        SessionQuery { status: Some(SessionStatus::Idle), ..all() },
        SessionQuery { profile_id: Some(ProfileId::new("default")), ..all() },
    ] {
        assert_eq!(ids(store, "u", &query).await, [""; 0]);
        assert_eq!(ids(store, "t", &query).await, [owner.key.session.as_str()]);
    }
    assert_eq!(store.active_sessions(&stranger.tenant).await.unwrap(), 0);
    assert!(store.profile(&stranger.tenant, &ProfileId::new("p"), 1).await.unwrap().is_none());
    assert_eq!(store.profiles(&stranger.tenant, None, 10).await.unwrap(), []);
    // The same id in both tenants: two sessions.
    let (mut twin, batch) = Owner::creation(stranger, |_| {});
    store.create_session(&twin.live.session, &batch).await.unwrap();
    twin.append(store, [Kind::TurnUpdated { turn: turn("theirs", TurnStatus::Running) }]).await;
    for (tenant, busy) in [("t", false), ("u", true)] {
        let page = store.sessions(&TenantId::new(tenant), &all()).await.unwrap();
        assert_eq!(page.len(), 1);
        assert_eq!(page[0].active_turn.is_some(), busy);
    }
    assert_eq!(store.snapshot(&owner.key).await.unwrap().unwrap(), owner.folded());
    assert_eq!(store.snapshot(&twin.key).await.unwrap().unwrap(), twin.folded());
}

pub(crate) async fn events_come_in_pages(store: &dyn Store) {
    let mut owner = Owner::create(store, key("t"), |_| {}).await;
    owner.append(store, (0..250).map(|at| log_line(&at.to_string()))).await;
    let mut after = 0;
    let mut read = Vec::new();
    while after < 251 {
        let page = store.events(&owner.key, after, 100).await.unwrap();
        assert_eq!((page.head, page.deleted), (251, false));
        assert_eq!(page.uid, owner.live.session.uid);
        assert!(!page.events.is_empty() && page.events.len() <= 100);
        read.extend(page.events);
        after = read.last().unwrap().sequence;
    }
    assert_eq!(read, owner.log);
    assert_eq!(store.events(&owner.key, 251, 100).await.unwrap().events, []);
    let head = store.events(&owner.key, 0, 0).await.unwrap();
    assert_eq!((head.events.len(), head.head), (0, 251));

    // Pages end at about 256 KiB.
    let large = "x".repeat(75 * 1024);
    owner.append(store, (0..6).map(|_| log_line(&large))).await;
    let page = store.events(&owner.key, 251, 100).await.unwrap();
    assert_eq!(page.events, owner.log[251..255]);

    // An event that stands for several stands where its last one did.
    let mut merged = owner.batch([log_line("merged"), log_line("next")]);
    for event in &mut merged.events {
        event.sequence += 4;
        event.first_sequence += 4;
    }
    merged.events[0].first_sequence -= 4;
    owner.log.truncate(257);
    owner.log.extend(merged.events.iter().cloned());
    store_one(store, merged).await.unwrap();
    assert_eq!(store.events(&owner.key, 257, 100).await.unwrap().events, owner.log[257..]);
    assert_eq!(store.events(&owner.key, 259, 1).await.unwrap().events, owner.log[257..258]);
    assert_eq!(store.snapshot(&owner.key).await.unwrap().unwrap().session.sequence, 263);
}

pub(crate) async fn text_may_hold_any_character(store: &dyn Store) {
    let odd = "a\0b\u{1}\u{7f}\u{2028}\u{fffd}🦀\0";
    let mut owner = Owner::create(store, key("t"), |session| session.name = odd.into()).await;
    let mut block = text_block(odd, odd, BlockState::Streaming);
    block.conversation_id = ConversationId::new(odd);
    let mut twin = block.clone();
    twin.block_id = BlockId::new("a\0c");
    let kinds = [Kind::BlockStart { block }, Kind::BlockStart { block: twin }, log_line(odd)];
    owner.append(store, kinds).await;
    owner.append(store, [delta(odd, odd, odd.len())]).await;
    assert_eq!(store.snapshot(&owner.key).await.unwrap().unwrap(), owner.folded());
    assert_eq!(store.events(&owner.key, 0, 10).await.unwrap().events, owner.log);
    let query = BlockQuery { conversation_id: ConversationId::new(odd), ..main_blocks() };
    assert_eq!(store.blocks(&owner.key, &query).await.unwrap().unwrap().blocks, owner.folded().blocks);
    assert_eq!(owner.acquire(store).await.open.blocks, owner.folded().blocks);
}

pub(crate) async fn blocks_come_in_pages_of_bytes(store: &dyn Store) {
    let mut owner = Owner::create(store, key("t"), |_| {}).await;
    let kilobyte = "x".repeat(1024);
    let blocks = (0..10).map(|at| text_block(&format!("b{at}"), &kilobyte, BlockState::Complete));
    owner.append(store, blocks.map(|block| Kind::BlockComplete { block })).await;
    owner.append(store, [Kind::BlockStart { block: text_block("open", "", BlockState::Streaming) }]).await;
    // Text that is in no row yet: it counts all the same.
    let deltas = (0..64).map(|at| delta("open", &kilobyte, at * 1024));
    owner.append(store, deltas).await;
    owner.append(store, [Kind::BlockStart { block: text_block("last", "", BlockState::Streaming) }]).await;

    let mut query = BlockQuery { max_bytes: 4 * 1024, ..main_blocks() };
    let mut sizes = Vec::new();
    let mut read = Vec::new();
    loop {
        let page = store.blocks(&owner.key, &query).await.unwrap().unwrap();
        assert_eq!(page.sequence, owner.head());
        sizes.push(page.blocks.len());
        read.extend(page.blocks);
        query.after = page.next;
        if page.next.is_none() {
            break;
        }
    }
    assert_eq!(read, owner.folded().blocks);
    assert_eq!(sizes, [3, 3, 3, 1, 1, 1]);
    let none = BlockQuery { conversation_id: ConversationId::new("other"), ..main_blocks() };
    let page = store.blocks(&owner.key, &none).await.unwrap().unwrap();
    assert_eq!((page.blocks, page.next), (vec![], None));
}

pub(crate) async fn sessions_are_listed_newest_first(store: &dyn Store) {
    let mut owners = Vec::new();
    for at in 0..12 {
        let owner = Owner::create(store, key("t"), |session| {
            // Three of each time, so that the id decides.
            session.create_time = Timestamp(at / 3);
            session.profile_id = ProfileId::new(if at % 2 == 0 { "even" } else { "odd" });
            session.labels = labels(&[("third", if at % 3 == 0 { "yes" } else { "no" }), ("all", "yes")]);
            session.status = if at % 4 == 0 { SessionStatus::Running } else { SessionStatus::Idle };
        });
        owners.push(owner.await);
    }
    let active = turn("active", TurnStatus::AwaitingInput);
    let queued = [turn("b", TurnStatus::Queued), turn("a", TurnStatus::Queued)];
    let mut kinds = vec![Kind::TurnUpdated { turn: turn("over", TurnStatus::Failed) }];
    kinds.push(Kind::TurnUpdated { turn: active.clone() });
    kinds.extend(queued.clone().map(|turn| Kind::TurnQueued { turn }));
    owners[7].append(store, kinds).await;

    let mut expected: Vec<_> = owners.iter().map(|owner| owner.live.session.clone()).collect();
    expected.sort_by(|a, b| (b.create_time, &b.session_id).cmp(&(a.create_time, &a.session_id)));
    let mut query = SessionQuery { limit: 5, ..all() };
    let mut listed = Vec::new();
    loop {
        let page = store.sessions(&TenantId::new("t"), &query).await.unwrap();
        listed.extend(page.iter().map(|view| view.session.clone()));
        for view in &page {
            let busy = view.session.session_id == owners[7].key.session;
            assert_eq!(view.active_turn, busy.then(|| active.clone()));
            assert_eq!(view.queued_turns, if busy { queued.to_vec() } else { vec![] });
        }
        let Some(last) = page.last() else { break };
        query.before = Some((last.session.create_time, last.session.session_id.clone()));
    }
    assert_eq!(listed, expected);

    let names: Vec<String> = owners.iter().map(|owner| owner.key.session.to_string()).collect();
    let same = |mut found: Vec<String>, expected: &[usize]| {
        found.sort();
        let mut expected: Vec<_> = expected.iter().map(|at| names[*at].clone()).collect();
        expected.sort();
        assert_eq!(found, expected);
    };
    let even = Some(ProfileId::new("even"));
    let third = labels(&[("third", "yes")]);
    let both = labels(&[("third", "yes"), ("all", "yes")]);
    let neither = labels(&[("third", "yes"), ("all", "no")]);
    let running = Some(SessionStatus::Running);
    same(ids(store, "t", &SessionQuery { status: running, ..all() }).await, &[0, 4, 8]);
    same(ids(store, "t", &SessionQuery { profile_id: even.clone(), ..all() }).await, &[0, 2, 4, 6, 8, 10]);
    same(ids(store, "t", &SessionQuery { labels: third.clone(), ..all() }).await, &[0, 3, 6, 9]);
    same(ids(store, "t", &SessionQuery { labels: both.clone(), ..all() }).await, &[0, 3, 6, 9]);
    same(ids(store, "t", &SessionQuery { labels: neither, ..all() }).await, &[]);
    let narrow = SessionQuery { labels: both, profile_id: even, status: running, ..all() };
    same(ids(store, "t", &narrow).await, &[0]);
    let before = Some((Timestamp(2), owners[0].key.session.clone()));
    same(ids(store, "t", &SessionQuery { labels: third, before, ..all() }).await, &[0, 3]);

    // The record changes, and the filters with it.
    let update = SessionUpdate {
        name: "renamed".into(),
        labels: labels(&[("third", "maybe")]),
        metadata: None,
        options: owners[0].live.session.options.clone(),
        etag: "2".into(),
    };
    let idle = Kind::StatusChanged { status: SessionStatus::Idle, reason: String::new(), error: None };
    owners[0].append(store, [Kind::SessionUpdated(update), idle]).await;
    same(ids(store, "t", &SessionQuery { labels: labels(&[("third", "maybe")]), ..all() }).await, &[0]);
    same(ids(store, "t", &SessionQuery { labels: labels(&[("third", "yes")]), ..all() }).await, &[3, 6, 9]);
    same(ids(store, "t", &SessionQuery { status: running, ..all() }).await, &[4, 8]);
}

pub(crate) async fn what_runs_is_found(store: &dyn Store) {
    let tenant = TenantId::new("t");
    let mut busy = Owner::create(store, key("t"), |_| {}).await;
    let mut idle = Owner::create(store, key("t"), |_| {}).await;
    let mut other = Owner::create(store, key("u"), |_| {}).await;
    busy.append(store, [Kind::TurnQueued { turn: turn("t", TurnStatus::Queued) }]).await;
    idle.append(store, [Kind::TurnUpdated { turn: turn("t", TurnStatus::Lost) }]).await;
    other.append(store, [Kind::TurnUpdated { turn: turn("t", TurnStatus::Parked) }]).await;
    let mut expected = vec![busy.key.clone(), other.key.clone()];
    expected.sort();
    assert_eq!(store.unfinished().await.unwrap(), expected);
    busy.append(store, [Kind::TurnUpdated { turn: turn("t", TurnStatus::Cancelled) }]).await;
    assert_eq!(store.unfinished().await.unwrap(), [other.key.clone()]);

    let change = |status| Kind::SandboxChanged { sandbox: sandbox("s", status) };
    for (status, count) in [
        (SandboxStatus::Starting, 1),
        (SandboxStatus::Ready, 1),
        (SandboxStatus::Unhealthy, 1),
        (SandboxStatus::Terminated, 0),
    ] {
        idle.append(store, [change(status)]).await;
        assert_eq!(store.active_sessions(&tenant).await.unwrap(), count, "{status:?}");
    }
}

pub(crate) async fn profiles_have_revisions(store: &dyn Store) {
    let tenant = TenantId::new("t");
    let put = async |id, revision, name| store.put_profile(&tenant, &profile(id, revision, name), None).await;
    put("p1", 1, "b").await.unwrap();
    put("p2", 1, "a").await.unwrap();
    put("p0", 1, "b").await.unwrap();
    assert_eq!(put("p1", 1, "other").await, Err(Error::Conflict { epoch: 0, head: 1 }));
    assert_eq!(put("p1", 3, "other").await, Err(Error::Conflict { epoch: 0, head: 1 }));
    assert_eq!(put("p3", 2, "other").await, Err(Error::Conflict { epoch: 0, head: 0 }));
    put("p1", 2, "c").await.unwrap();

    let get = async |revision| store.profile(&tenant, &ProfileId::new("p1"), revision).await.unwrap();
    assert_eq!(get(0).await, Some(profile("p1", 2, "c")));
    assert_eq!(get(1).await, Some(profile("p1", 1, "b")));
    assert_eq!(get(2).await, Some(profile("p1", 2, "c")));
    assert_eq!(get(3).await, None);
    let all = [profile("p2", 1, "a"), profile("p0", 1, "b"), profile("p1", 2, "c")];
    assert_eq!(store.profiles(&tenant, None, 10).await.unwrap(), all);
    assert_eq!(store.profiles(&tenant, None, 1).await.unwrap(), all[..1]);
    let after = ("a".to_owned(), ProfileId::new("p2"));
    assert_eq!(store.profiles(&tenant, Some(&after), 10).await.unwrap(), all[1..]);
}

/// While one writes, others read: whatever they get is the state after some batch, and the log agrees.
pub(crate) async fn readers_see_one_moment(store: &dyn Store) {
    let mut owner = Owner::create(store, key("t"), |_| {}).await;
    owner.append(store, [Kind::BlockStart { block: text_block("b", "", BlockState::Streaming) }]).await;
    let (key, mut done) = (owner.key.clone(), false);
    let done = std::cell::Cell::from_mut(&mut done);
    let write = async {
        for at in 0..60 {
            let text = Kind::BlockStart { block: text_block(&format!("b{at}"), "x", BlockState::Complete) };
            owner.append(store, [delta("b", "ab", at * 2), text]).await;
        }
        done.set(true);
    };
    let read = async {
        let mut reads = 0;
        while !done.get() || reads == 0 {
            let snapshot = store.snapshot(&key).await.unwrap().unwrap();
            let page = store.blocks(&key, &main_blocks()).await.unwrap().unwrap();
            let log = store.events(&key, 0, 1000).await.unwrap();
            assert!(snapshot.session.sequence <= page.sequence && page.sequence <= log.head);
            assert_eq!(log.events.last().unwrap().sequence, log.head);
            let until =
                |sequence| SessionState::fold(log.events.iter().filter(move |event| event.sequence <= sequence));
            assert_eq!(until(snapshot.session.sequence).unwrap(), snapshot);
            assert_eq!(until(page.sequence).unwrap().blocks, page.blocks);
            reads += 1;
        }
    };
    tokio::join!(write, read);
}
