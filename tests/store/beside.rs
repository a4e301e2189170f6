//! What is kept beside the log: text of blocks that is not inline, and bytes named by their hash.

use agent_runtime::{
    domain::{Block, BlockId, BlockState, Kind, Timestamp},
    store::{Beside, BlobBytes, Error, Piece, Store, TextPiece},
};

use crate::make::{Owner, delta, key, log_line, store_one, text_block};

fn cut(id: &str, text: &str, truncated_bytes: i64, state: BlockState) -> Block {
    Block { truncated_bytes, ..text_block(id, text, state) }
}

fn piece(id: &str, offset: usize, data: &str, anew: bool) -> TextPiece {
    TextPiece { block_id: BlockId::new(id), offset: offset as u64, data: data.into(), anew }
}

async fn append(store: &dyn Store, owner: &mut Owner, kinds: Vec<Kind>, texts: Vec<TextPiece>) {
    let batch = owner.batch(kinds);
    store_one(store, agent_runtime::store::Batch { beside: Beside { texts, ..Beside::default() }, ..batch })
        .await
        .unwrap();
}

/// All from a byte on, piece by piece.
async fn read(store: &dyn Store, owner: &Owner, id: &str, mut offset: u64) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let piece = store.block_text(&owner.key, &BlockId::new(id), offset).await.unwrap().unwrap();
        assert!(piece.data.len() <= Piece::BYTES);
        if piece.data.is_empty() {
            assert!(offset >= piece.end, "nothing at {offset} of {}", piece.end);
            return all;
        }
        offset += piece.data.len() as u64;
        all.extend(piece.data);
    }
}

pub(crate) async fn the_text_of_a_block_is_what_is_inline_and_the_rest(store: &dyn Store) {
    let mut owner = Owner::create(store, key("t"), |_| {}).await;
    let start = Kind::BlockStart { block: text_block("b\0", "", BlockState::Streaming) };
    append(store, &mut owner, vec![start, delta("b\0", "inl\u{e9}", 0)], vec![]).await;
    assert_eq!(read(store, &owner, "b\0", 0).await, "inl\u{e9}".as_bytes());
    let mut whole = "inl\u{e9}".to_owned();
    let mut more = |text: String| {
        let at = whole.len();
        whole.push_str(&text);
        piece("b\0", at, &text, at == 5)
    };
    let long = "\u{1f980}".repeat(Piece::BYTES / 4);
    let pieces = vec![more("\u{e9}1".into()), more(long.clone())];
    let update = Kind::BlockUpdate {
        block_id: BlockId::new("b\0"),
        patch: agent_runtime::domain::BlockPatch { truncated_bytes: Some(3), ..Default::default() },
    };
    append(store, &mut owner, vec![update], pieces).await;
    // Text alone, without an event; sent twice, as after an outcome that is not known.
    let alone = vec![more("2".into()), more(long)];
    append(store, &mut owner, vec![], alone.clone()).await;
    append(store, &mut owner, vec![], alone).await;
    for offset in [0, 1, 4, 5, 6, 8, 9, 1000, Piece::BYTES + 7, whole.len() - 1, whole.len(), whole.len() + 9] {
        let expected = whole.as_bytes().get(offset..).unwrap_or_default();
        assert_eq!(read(store, &owner, "b\0", offset as u64).await, expected, "from {offset}");
    }
    // A new owner knows how much there is; what is shown stays what the events say.
    assert_eq!(store.snapshot(&owner.key).await.unwrap().unwrap().blocks[0].truncated_bytes, 3);
    let open = owner.acquire(store).await.open;
    assert_eq!(open.blocks[0].truncated_bytes, i64::try_from(whole.len() - 5).unwrap());
    // Another text at the end, and then one that fits.
    let end = cut("b\0", "inline", 2, BlockState::Complete);
    append(store, &mut owner, vec![Kind::BlockComplete { block: end }], vec![piece("b\0", 6, "ok", true)]).await;
    assert_eq!(read(store, &owner, "b\0", 0).await, b"inlineok");
    append(store, &mut owner, vec![Kind::BlockStart { block: text_block("b\0", "new", BlockState::Complete) }], vec![])
        .await;
    assert_eq!(read(store, &owner, "b\0", 1).await, b"ew");
    // Nobody else's.
    assert_eq!(store.block_text(&owner.key, &BlockId::new("c"), 0).await, Ok(None));
    assert_eq!(store.block_text(&key("t"), &BlockId::new("b\0"), 0).await, Err(Error::NotFound));
}

async fn blobs(store: &dyn Store, owner: &mut Owner, blobs: Vec<BlobBytes>) -> Timestamp {
    let batch = owner.batch([log_line("x")]);
    let time = batch.events[0].time;
    store_one(store, agent_runtime::store::Batch { beside: Beside { blobs, ..Beside::default() }, ..batch })
        .await
        .unwrap();
    time
}

pub(crate) async fn bytes_are_there_for_those_who_name_them(store: &dyn Store) {
    let long: Vec<u8> = (0..Piece::BYTES * 2 + 10).map(|at| u8::try_from(at % 251).unwrap()).collect();
    let blob = |name: &str, data: &[u8]| BlobBytes { sha256: name.into(), data: data.to_vec() };
    let mut one = Owner::create(store, key("t"), |_| {}).await;
    let mut two = Owner::create(store, key("t"), |_| {}).await;
    let other = Owner::create(store, key("u"), |_| {}).await;
    blobs(store, &mut one, vec![blob("long", &long), blob("empty", b""), blob("long", &long)]).await;
    let mut read = Vec::new();
    while let Some(piece) = Some(store.blob(&one.key, "long", read.len() as u64).await.unwrap().unwrap())
        .filter(|piece| !piece.data.is_empty())
    {
        assert_eq!(piece.end, long.len() as u64);
        read.extend(piece.data);
    }
    assert!(read == long);
    let inside = store.blob(&one.key, "long", Piece::BYTES as u64 + 3).await.unwrap().unwrap();
    assert!(inside.data == long[Piece::BYTES + 3..Piece::BYTES * 2]);
    assert_eq!(store.blob(&one.key, "empty", 0).await.unwrap().unwrap(), Piece { data: vec![], end: 0 });
    for (owner, name) in [(&one, "none"), (&two, "long"), (&other, "long")] {
        assert_eq!(store.blob(&owner.key, name, 0).await, Ok(None));
    }
    assert_eq!(store.blob(&key("t"), "long", 0).await, Err(Error::NotFound));

    // As long as one session names them they stay, and a while longer.
    let last = blobs(store, &mut two, vec![blob("long", &long)]).await;
    one.delete(store).await;
    assert_eq!(store.blob(&one.key, "long", 0).await, Err(Error::NotFound));
    let later = Timestamp(last.0 + 1_000_000_000);
    store.purge(later).await.unwrap();
    store.collect_blobs(later).await.unwrap();
    assert!(store.blob(&two.key, "long", 0).await.unwrap().is_some());
    two.delete(store).await;
    store.purge(later).await.unwrap();
    let mut three = Owner::create(store, key("t"), |_| {}).await;
    store.collect_blobs(last).await.unwrap();
    // They are still there: whoever names them now brings no second copy, and finds them whole.
    let again = blobs(store, &mut three, vec![blob("long", b"another one")]).await;
    assert_eq!(store.blob(&three.key, "long", 0).await.unwrap().unwrap().end, long.len() as u64);
    three.delete(store).await;
    store.purge(later).await.unwrap();
    store.collect_blobs(again).await.unwrap();
    let mut four = Owner::create(store, key("t"), |_| {}).await;
    blobs(store, &mut four, vec![blob("long", b"x")]).await;
    assert_eq!(store.blob(&four.key, "long", 0).await.unwrap().unwrap().end, long.len() as u64, "named a moment ago");
    four.delete(store).await;
    store.purge(later).await.unwrap();
    store.collect_blobs(later).await.unwrap();
    let mut five = Owner::create(store, key("t"), |_| {}).await;
    blobs(store, &mut five, vec![blob("long", b"x")]).await;
    assert_eq!(store.blob(&five.key, "long", 0).await.unwrap().unwrap(), Piece { data: b"x".into(), end: 1 });
}
