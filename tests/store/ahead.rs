//! Bytes that go ahead of the batch that names them, and checkpoints that keep some of them.

use agent_runtime::{
    domain::{Checkpoint, ParserState, TenantId, Timestamp, TurnId},
    store::{Batch, Beside, BlobBytes, BlobPiece, Error, NewCheckpoint, Piece, Store},
};

use crate::make::{Owner, key, log_line, store_one};

fn tenant() -> TenantId {
    TenantId::new("t")
}

/// All of some bytes, in pieces of the length given.
pub(crate) fn pieces(sha256: &str, data: &[u8], length: usize) -> Vec<BlobPiece> {
    let piece = |(index, data): (usize, &[u8])| BlobPiece {
        sha256: sha256.into(),
        size: 0,
        offset: (index * length) as u64,
        data: data.to_vec(),
    };
    let mut all: Vec<BlobPiece> = data.chunks(length).enumerate().map(piece).collect();
    if all.is_empty() {
        all.push(piece((0, b"")));
    }
    for piece in &mut all {
        piece.size = data.len() as u64;
    }
    all
}

async fn put(store: &dyn Store, sha256: &str, data: &[u8]) {
    store.put_blobs(&tenant(), "one", &pieces(sha256, data, 1 << 20)).await.unwrap();
}

async fn held(store: &dyn Store, sha256: &[&str]) -> Vec<bool> {
    let sha256: Vec<String> = sha256.iter().map(ToString::to_string).collect();
    store.held_blobs(&tenant(), &sha256).await.unwrap()
}

fn naming(owner: &mut Owner, names: &[&str]) -> Batch {
    let names = names.iter().map(ToString::to_string).collect();
    Batch { beside: Beside { names, ..Beside::default() }, ..owner.batch([log_line("x")]) }
}

/// All of some bytes that the session names.
async fn read(store: &dyn Store, owner: &Owner, sha256: &str) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let piece = store.blob(&owner.key, sha256, all.len() as u64).await.unwrap()?;
        assert!(piece.data.len() <= Piece::BYTES);
        if piece.data.is_empty() {
            assert_eq!(all.len() as u64, piece.end);
            return Some(all);
        }
        all.extend(piece.data);
    }
}

async fn collect(store: &dyn Store) {
    store.collect_blobs(Timestamp(i64::MAX)).await.unwrap();
}

fn long() -> Vec<u8> {
    (0..Piece::BYTES * 3 + 10).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

pub(crate) async fn bytes_put_ahead_count_once_they_are_whole(store: &dyn Store) {
    let mut owner = Owner::create(store, key("t"), |_| {}).await;
    let long = long();
    let parts = pieces("long", &long, Piece::BYTES + 1);
    assert_eq!(parts.len(), 4);
    for part in &parts {
        assert_eq!(held(store, &["long"]).await, [false]);
        let early = naming(&mut owner.clone(), &["long"]);
        assert!(matches!(store_one(store, early).await, Err(Error::Corrupt(_))));
        store.put_blobs(&tenant(), "one", std::slice::from_ref(part)).await.unwrap();
        // Again, as after an outcome that is not known.
        store.put_blobs(&tenant(), "one", std::slice::from_ref(part)).await.unwrap();
    }
    put(store, "empty", b"").await;
    assert_eq!(held(store, &["none", "long", "empty", "long"]).await, [false, true, true, true]);
    assert_eq!(store.held_blobs(&TenantId::new("u"), &["long".into()]).await.unwrap(), [false]);
    assert!(held(store, &[]).await.is_empty());

    // There, but nobody's before a batch names them.
    assert_eq!(read(store, &owner, "long").await, None);
    let batch = naming(&mut owner, &["long", "empty", "long"]);
    store_one(store, batch).await.unwrap();
    assert!(read(store, &owner, "long").await.unwrap() == long);
    assert_eq!(read(store, &owner, "empty").await.unwrap(), b"");
    let inside = store.blob(&owner.key, "long", Piece::BYTES as u64 + 3).await.unwrap().unwrap();
    assert!(long[Piece::BYTES + 3..].starts_with(&inside.data) && !inside.data.is_empty());
    // What is whole is not written again.
    put(store, "long", b"others").await;
    assert!(read(store, &owner, "long").await.unwrap() == long);
    // Those of a session that is created go ahead of it too.
    let (new, batch) = Owner::creation(key("t"), |_| {});
    let beside = Beside { names: vec!["long".into()], ..Beside::default() };
    store.create_session(&new.live.session, &Batch { beside, ..batch }).await.unwrap();
    assert!(read(store, &new, "long").await.unwrap() == long);
    let (none, batch) = Owner::creation(key("t"), |_| {});
    let beside = Beside { names: vec!["none".into()], ..Beside::default() };
    let refused = store.create_session(&none.live.session, &Batch { beside, ..batch }).await;
    assert!(matches!(&refused, Err(Error::Corrupt(text)) if text.contains("none")), "{refused:?}");
    assert!(store.session(&none.key).await.unwrap().is_none());
}

pub(crate) async fn bytes_on_their_way_are_one_hands(store: &dyn Store) {
    let mut owner = Owner::create(store, key("t"), |_| {}).await;
    let long = long();
    let good = pieces("long", &long, Piece::BYTES);
    let bad = pieces("long", &vec![b'x'; long.len()], Piece::BYTES);
    store.put_blobs(&tenant(), "bad", &bad[..3]).await.unwrap();
    store.put_blobs(&tenant(), "good", &good[..2]).await.unwrap();
    store.put_blobs(&tenant(), "bad", &bad[..1]).await.unwrap();
    // Nothing of a call is kept when one piece of it does not fit.
    let misfits = [
        vec![good[3].clone()],
        vec![good[2].clone(), BlobPiece { size: 1, ..good[3].clone() }],
        vec![BlobPiece { data: vec![0; long.len()], ..good[2].clone() }],
        vec![good[2].clone(), BlobPiece { sha256: "unknown".into(), ..good[3].clone() }],
    ];
    for misfit in misfits {
        let refused = store.put_blobs(&tenant(), "good", &misfit).await;
        assert!(matches!(&refused, Err(Error::Corrupt(text)) if text.contains("begin again at 0")), "{refused:?}");
        let refused = store.put_blobs(&tenant(), "good", &good[3..]).await;
        assert!(matches!(refused, Err(Error::Corrupt(_))), "{misfit:?} left something");
    }
    store.put_blobs(&tenant(), "good", &good[2..]).await.unwrap();
    // Too late, and without harm.
    store.put_blobs(&tenant(), "bad", &bad[3..]).await.unwrap();
    let batch = naming(&mut owner, &["long"]);
    store_one(store, batch).await.unwrap();
    assert!(read(store, &owner, "long").await.unwrap() == long);

    // One that was given up is begun anew; a batch that brings the bytes itself need not wait for them either.
    for name in ["again", "brought"] {
        store.put_blobs(&tenant(), "bad", &pieces(name, &bad[0].data, 1000)[..7]).await.unwrap();
    }
    store.put_blobs(&tenant(), "bad", &pieces("again", b"right", 2)).await.unwrap();
    let beside = Beside {
        blobs: vec![BlobBytes { sha256: "brought".into(), data: b"right".into() }],
        names: vec!["again".into(), "brought".into()],
        ..Beside::default()
    };
    store_one(store, Batch { beside, ..owner.batch([log_line("x")]) }).await.unwrap();
    for name in ["again", "brought"] {
        assert_eq!(read(store, &owner, name).await.unwrap(), b"right");
    }
}

pub(crate) async fn a_batch_that_names_missing_bytes_fails_alone(store: &dyn Store) {
    let mut owners = Vec::new();
    for _ in 0..3 {
        owners.push(Owner::create(store, key("t"), |_| {}).await);
    }
    put(store, "there", b"x").await;
    let named = [&["there"][..], &["there", "missing"], &["there"]];
    let batches: Vec<Batch> = owners.iter_mut().zip(named).map(|(owner, names)| naming(owner, names)).collect();
    let outcomes = store.append(&batches).await.unwrap();
    assert!(matches!(&outcomes[1], Err(Error::Corrupt(text)) if text.contains("missing")), "{outcomes:?}");
    assert_eq!((&outcomes[0], &outcomes[2]), (&Ok(()), &Ok(())));
    assert_eq!(store.events(&owners[1].key, 0, 10).await.unwrap().head, 1);
    for (owner, there) in owners.iter().zip([true, false, true]) {
        assert_eq!(read(store, owner, "there").await.is_some(), there);
    }
    for bad in ["adds", "manifest"] {
        let mut owner = Owner::create(store, key("t"), |_| {}).await;
        let named = |name| if bad == name { "missing" } else { "there" };
        let batch = checkpointed(&mut owner, named("manifest"), &[named("adds")], &[]);
        assert!(
            matches!(store_one(store, batch).await, Err(Error::Corrupt(text)) if text.contains("missing")),
            "{bad}"
        );
        assert_eq!(store.checkpoint(&owner.key).await, Ok(None));
    }
}

pub(crate) async fn bytes_that_nobody_needs_are_collected(store: &dyn Store) {
    let mut owner = Owner::create(store, key("t"), |_| {}).await;
    let long = long();
    let before = Timestamp::now();
    for name in ["whole", "named"] {
        put(store, name, b"x").await;
    }
    store.put_blobs(&tenant(), "one", &pieces("part", &long, Piece::BYTES)[..2]).await.unwrap();
    // What came a moment ago waits for the batch that names it.
    store.collect_blobs(before).await.unwrap();
    assert_eq!(held(store, &["whole", "named"]).await, [true, true]);
    let batch = naming(&mut owner, &["named"]);
    store_one(store, batch).await.unwrap();
    collect(store).await;
    assert_eq!(held(store, &["whole", "named"]).await, [false, true]);
    let rest = store.put_blobs(&tenant(), "one", &pieces("part", &long, Piece::BYTES)[2..]).await;
    assert!(matches!(rest, Err(Error::Corrupt(_))), "what was begun is gone: {rest:?}");

    // What somebody asked for a moment ago is as good as named.
    let old = owner.log.last().unwrap().time;
    let brought = Beside { blobs: vec![BlobBytes { sha256: "old".into(), data: b"x".into() }], ..Beside::default() };
    store_one(store, Batch { beside: brought, ..owner.batch([log_line("x")]) }).await.unwrap();
    owner.delete(store).await;
    store.purge(Timestamp(old.0 + 1_000_000_000)).await.unwrap();
    let due = Timestamp::now();
    assert_eq!(held(store, &["old"]).await, [true]);
    store.collect_blobs(due).await.unwrap();
    assert_eq!(held(store, &["old"]).await, [true]);
    collect(store).await;
    assert_eq!(held(store, &["old"]).await, [false]);
}

pub(crate) fn checkpointed(owner: &mut Owner, manifest: &str, adds: &[&str], drops: &[&str]) -> Batch {
    let batch = owner.batch([log_line("a turn ended")]);
    let checkpoint = Checkpoint {
        turn_id: Some(TurnId::new("turn_1")),
        sequence: owner.head(),
        generation: 2,
        parser: Some(ParserState { version: 1, state: "{\"a\":\"\0\"}".into() }),
        manifest: manifest.into(),
        files: 3,
        bytes: 4,
        create_time: Timestamp(owner.head()),
    };
    let list = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    Batch { checkpoint: Some(NewCheckpoint { checkpoint, adds: list(adds), drops: list(drops) }), ..batch }
}

pub(crate) async fn the_newest_checkpoint_keeps_its_bytes(store: &dyn Store) {
    let mut owner = Owner::create(store, key("t"), |_| {}).await;
    let mut other = Owner::create(store, key("t"), |_| {}).await;
    assert_eq!(store.checkpoint(&owner.key).await, Ok(None));
    for name in ["m1", "m2", "m3", "a", "b", "c", "told"] {
        put(store, name, name.as_bytes()).await;
    }
    let kept = async |owner: &Owner| {
        let mut kept = Vec::new();
        for name in ["m1", "m2", "m3", "a", "b", "c", "told"] {
            if let Some(data) = read(store, owner, name).await {
                assert_eq!(data, name.as_bytes());
                kept.push(name);
            }
        }
        kept
    };
    // An event names one of them, before it is in a checkpoint and after.
    let first = checkpointed(&mut owner, "m1", &["a", "b", "told"], &[]);
    let beside = Beside { names: vec!["told".into()], ..Beside::default() };
    store_one(store, Batch { beside, ..first.clone() }).await.unwrap();
    assert_eq!(store.checkpoint(&owner.key).await.unwrap(), first.checkpoint.map(|new| new.checkpoint));
    assert_eq!(kept(&owner).await, ["m1", "a", "b", "told"]);
    // Another session's checkpoint is its own affair.
    let theirs = checkpointed(&mut other, "m1", &["a"], &["b", "c"]);
    store_one(store, theirs).await.unwrap();

    // What is dropped goes, unless it is added too, or an event told of it; a manifest may be a file of the next.
    let second = checkpointed(&mut owner, "m2", &["b", "c", "m1"], &["a", "b", "told", "never"]);
    store_one(store, second.clone()).await.unwrap();
    assert_eq!(store.checkpoint(&owner.key).await.unwrap(), second.checkpoint.map(|new| new.checkpoint));
    collect(store).await;
    assert_eq!(kept(&owner).await, ["m1", "m2", "b", "c", "told"]);
    assert_eq!(kept(&other).await, ["m1", "a"]);
    assert_eq!(held(store, &["m3"]).await, [false]);

    // A batch that fails changes nothing of it.
    let late = Batch { epoch: 7, ..checkpointed(&mut owner.clone(), "m1", &[], &["b", "c"]) };
    assert!(store_one(store, late).await.is_err());
    let event_first = naming(&mut owner, &["b"]);
    store_one(store, event_first).await.unwrap();
    // The same manifest again: nothing changed.
    let third = checkpointed(&mut owner, "m2", &[], &[]);
    store_one(store, third).await.unwrap();
    collect(store).await;
    assert_eq!(kept(&owner).await, ["m1", "m2", "b", "c", "told"]);
    let fourth = checkpointed(&mut owner, "m1", &[], &["m1", "b", "c"]);
    store_one(store, fourth.clone()).await.unwrap();
    collect(store).await;
    assert_eq!(kept(&owner).await, ["m1", "b", "told"]);
    // It outlives its owner, and goes with the session.
    owner.acquire(store).await;
    assert_eq!(store.checkpoint(&owner.key).await.unwrap(), fourth.checkpoint.map(|new| new.checkpoint));
    assert_eq!(store.checkpoint(&key("t")).await, Ok(None));
    owner.delete(store).await;
    assert_eq!(store.checkpoint(&owner.key).await, Ok(None));
    store.purge(Timestamp(i64::MAX)).await.unwrap();
    collect(store).await;
    assert_eq!(kept(&other).await, ["m1", "a"]);
    assert_eq!(held(store, &["m1", "a", "m2", "b", "c", "told"]).await, [true, true, false, false, false, false]);
}
