//! What every store must do: streaming text of many sessions in one append, which a store may write in a way of its own.

use agent_runtime::{
    domain::{BlockId, BlockState, ExecId, Kind, SandboxId},
    store::{Batch, Error, ExecMark, Held, Store},
};

use crate::make::{Owner, delta, key, text_block};

/// The batch of one delta, as a session makes it while its agent prints.
fn streaming(owner: &mut Owner, offset: u64) -> Batch {
    let text = Kind::BlockStart { block: text_block("b", "", BlockState::Streaming) };
    let kind = if owner.log.len() == 1 { text } else { delta("b", "0123", (owner.log.len() - 2) * 4) };
    let mut batch = owner.batch([kind]);
    for event in batch.events.iter_mut().chain(owner.log.last_mut()) {
        event.actor = None;
    }
    Batch { exec: Some(mark(offset)), ..batch }
}

/// Something is held back at every other offset.
fn mark(offset: u64) -> ExecMark {
    let hold = Held { block_id: BlockId::new("b"), secret: "KEY".into(), bytes: offset, check: 7 };
    ExecMark {
        exec_id: ExecId::new("exec_1"),
        sandbox_id: SandboxId::new("sbx_1"),
        generation: 1,
        stdout_offset: offset,
        stderr_offset: 0,
        parser_version: 1,
        parser_state: None,
        held: if offset.is_multiple_of(2) { Vec::new() } else { vec![hold] },
        ended: false,
    }
}

async fn check(store: &dyn Store, owners: &mut [Owner], offset: u64) {
    for owner in owners {
        assert_eq!(store.events(&owner.key, 0, 1000).await.unwrap().events, owner.log);
        assert_eq!(store.snapshot(&owner.key).await.unwrap().unwrap(), owner.folded());
        let acquired = owner.clone().acquire(store).await;
        // Who asked was the newest owner for a moment.
        owner.epoch += 1;
        assert_eq!(acquired.exec.unwrap(), mark(offset));
    }
}

pub(crate) async fn text_of_many_sessions_is_stored_at_once(store: &dyn Store) {
    let mut owners = Vec::new();
    for _ in 0..23 {
        owners.push(Owner::create(store, key("t"), |_| {}).await);
    }
    // Groups of every size, each of them several times.
    for offset in 1..4 {
        let mut from = 0;
        for size in [1, 2, 3, 4, 13] {
            let batches: Vec<_> = owners[from..from + size].iter_mut().map(|owner| streaming(owner, offset)).collect();
            assert_eq!(store.append(&batches).await.unwrap(), vec![Ok(()); size]);
            // Sent again it is a conflict that tells where the log stands.
            let head = batches[0].head + 1;
            let again = store.append(&batches).await.unwrap();
            let epoch = batches[0].epoch;
            assert_eq!(again, vec![Err(Error::Conflict { epoch, head }); size]);
            from += size;
        }
        check(store, &mut owners, offset).await;
    }
}

pub(crate) async fn one_that_does_not_fit_hinders_no_other(store: &dyn Store) {
    let mut owners = Vec::new();
    for _ in 0..11 {
        owners.push(Owner::create(store, key("t"), |_| {}).await);
    }
    for offset in 1..3 {
        let batches: Vec<_> = owners.iter_mut().map(|owner| streaming(owner, offset)).collect();
        assert_eq!(store.append(&batches).await.unwrap(), vec![Ok(()); 11]);
    }
    let mut lost = owners.remove(5);
    let mut batches: Vec<_> = owners.iter_mut().map(|owner| streaming(owner, 3)).collect();
    let (epoch, head) = (lost.epoch, i64::try_from(lost.log.len()).unwrap());
    batches.insert(5, Batch { epoch: epoch + 7, ..streaming(&mut lost.clone(), 3) });
    let mut expected = vec![Ok(()); 11];
    expected[5] = Err(Error::Conflict { epoch, head });
    assert_eq!(store.append(&batches).await.unwrap(), expected);
    check(store, &mut owners, 3).await;
    check(store, std::slice::from_mut(&mut lost), 2).await;
    // The same session twice: the second goes on from the first.
    let twice = [streaming(&mut lost, 4), streaming(&mut lost, 5)];
    assert_eq!(store.append(&twice).await.unwrap(), [Ok(()), Ok(())]);
    check(store, std::slice::from_mut(&mut lost), 5).await;
}
