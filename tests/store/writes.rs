//! What every store must do: what is written, and by whom. Functions over `dyn Store`, run against each one.

use std::{future, task::Poll};

use agent_runtime::{
    domain::{
        BlockId, BlockState, Conversation, ExecId, InputOutcome, InputResolution, Kind, PermissionEffect,
        PermissionRule, SandboxId, SandboxStatus, Session, Timestamp, TurnStatus, Usage,
    },
    store::{Batch, Beside, BlobBytes, Error, ExecMark, Held, Part, SessionQuery, StdinRow, Store, TextPiece},
};

use crate::make::{
    Owner, all, delta, ids, key, labels, log_line, main_blocks, permission, question, sandbox, store_one, text_block,
    turn,
};
use crate::requests;

pub(crate) async fn a_session_is_created_once(store: &dyn Store) {
    let (owner, batch) = Owner::creation(key("t"), |_| {});
    let wrong_epoch = Batch { epoch: 1, ..batch.clone() };
    assert_eq!(
        store.create_session(&owner.live.session, &wrong_epoch).await,
        Err(Error::Conflict { epoch: 0, head: 0 })
    );
    assert!(store.session(&owner.key).await.unwrap().is_none());

    store.create_session(&owner.live.session, &batch).await.unwrap();
    let again = store.create_session(&owner.live.session, &batch).await;
    assert_eq!(again, Err(Error::Conflict { epoch: 0, head: 1 }));
    assert_eq!(store.snapshot(&owner.key).await.unwrap().unwrap(), owner.folded());
    assert_eq!(store.events(&owner.key, 0, 10).await.unwrap().events, owner.log);
}

pub(crate) async fn only_the_newest_owner_appends(store: &dyn Store) {
    let mut old = Owner::create(store, key("t"), |_| {}).await;
    old.acquire(store).await;
    old.append(store, [log_line("mine")]).await;
    let mut new = old.clone();
    new.acquire(store).await;

    let late = old.clone().batch([log_line("too late"), Kind::TurnUpdated { turn: turn("t", TurnStatus::Running) }]);
    assert_eq!(store_one(store, late).await, Err(Error::Conflict { epoch: 2, head: 2 }));
    let early = Batch { epoch: 3, ..new.clone().batch([log_line("not yet")]) };
    assert_eq!(store_one(store, early).await, Err(Error::Conflict { epoch: 2, head: 2 }));
    new.append(store, [log_line("now mine")]).await;
    assert_eq!(store.snapshot(&new.key).await.unwrap().unwrap(), new.folded());
    assert_eq!(store.events(&new.key, 0, 10).await.unwrap().events, new.log);
}

pub(crate) async fn a_batch_goes_on_from_the_head(store: &dyn Store) {
    let mut owner = Owner::create(store, key("t"), |_| {}).await;
    owner.append(store, [log_line("two"), log_line("three")]).await;
    for wrong in [0, 2, 4] {
        let mut batch = owner.clone().batch([log_line("x")]);
        batch.head = wrong;
        for (sequence, event) in (wrong + 1..).zip(&mut batch.events) {
            (event.sequence, event.first_sequence) = (sequence, sequence);
        }
        assert_eq!(store_one(store, batch).await, Err(Error::Conflict { epoch: 0, head: 3 }), "at head {wrong}");
    }
    let stored = owner.batch([log_line("four")]);
    store_one(store, stored.clone()).await.unwrap();
    // Sent again, because nobody knew whether it was stored: the answer tells that it was.
    assert_eq!(store_one(store, stored).await, Err(Error::Conflict { epoch: 0, head: 4 }));
    assert_eq!(store.events(&owner.key, 0, 10).await.unwrap().events, owner.log);

    let nobody = Owner::creation(key("t"), |_| {}).1;
    assert_eq!(store_one(store, nobody).await, Err(Error::NotFound));
}

pub(crate) async fn a_hole_is_never_stored(store: &dyn Store) {
    let owner = Owner::create(store, key("t"), |_| {}).await;
    let good = owner.clone().batch([log_line("two"), log_line("three"), log_line("four")]);
    let mut hole = good.clone();
    hole.events.remove(1);
    let mut back = good.clone();
    back.events.swap(0, 2);
    let mut twice = good.clone();
    twice.events[1] = twice.events[0].clone();
    let mut silent = good.clone();
    silent.events.clear();
    silent.parts.push(Part::Turn(turn("t", TurnStatus::Running)));
    for bad in [hole, back, twice, silent] {
        assert!(matches!(store_one(store, bad).await, Err(Error::Corrupt(_))));
    }
    assert_eq!(store.events(&owner.key, 0, 10).await.unwrap().head, 1);
    store_one(store, good).await.unwrap();
}

pub(crate) async fn batches_of_one_append_fail_alone(store: &dyn Store) {
    let mut first = Owner::create(store, key("t"), |_| {}).await;
    let mut second = Owner::create(store, key("t"), |_| {}).await;
    let mut third = Owner::create(store, key("u"), |_| {}).await;
    second.acquire(store).await;
    let stale = Batch { epoch: 0, ..second.clone().batch([log_line("stale")]) };
    let unknown = Owner::creation(key("t"), |_| {}).1;
    let batches = [
        first.batch([log_line("a"), Kind::TurnUpdated { turn: turn("t", TurnStatus::Running) }]),
        stale,
        first.batch([log_line("b")]),
        unknown,
        third.batch((0..250).map(|at| log_line(&at.to_string()))),
    ];
    let outcomes = store.append(&batches).await.unwrap();
    let conflict = Err(Error::Conflict { epoch: 1, head: 1 });
    assert_eq!(outcomes, [Ok(()), conflict, Ok(()), Err(Error::NotFound), Ok(())]);
    for owner in [&first, &second, &third] {
        assert_eq!(store.events(&owner.key, 0, 1000).await.unwrap().events, owner.log);
        assert_eq!(store.snapshot(&owner.key).await.unwrap().unwrap(), owner.folded());
    }
    assert_eq!(store.append(&[]).await.unwrap(), []);
}

pub(crate) async fn a_new_owner_gets_what_is_open(store: &dyn Store) {
    let mut owner = Owner::create(store, key("t"), |_| {}).await;
    let rule = PermissionRule {
        rule_id: "r".into(),
        tool_name: "Bash".into(),
        pattern: String::new(),
        effect: PermissionEffect::Allow,
        created_by: None,
        create_time: None,
    };
    let resolution = InputResolution {
        outcome: InputOutcome::Allowed,
        option_id: String::new(),
        message: String::new(),
        updated_input_json: String::new(),
        answers: Vec::new(),
        resolved_by: None,
        resolve_time: None,
        rule_id: String::new(),
        effect: None,
    };
    let usage = Usage { output_tokens: 7, ..Usage::default() };
    let over = [
        Kind::ConversationUpdated { conversation: Conversation::main(), session_usage: usage },
        Kind::TurnUpdated { turn: turn("over", TurnStatus::Completed) },
        Kind::BlockComplete { block: text_block("over", "final", BlockState::Complete) },
        Kind::PermissionRequested { permission: permission("over") },
        Kind::PermissionResolved { permission_id: "over".into(), resolution: resolution.clone() },
        Kind::QuestionRequested { question: question("over") },
        Kind::QuestionResolved { question_id: "over".into(), resolution },
        Kind::FilesChanged { changes: Vec::new(), more: false },
        Kind::PermissionRulesChanged { rules: vec![rule.clone()] },
    ];
    owner.append(store, over).await;
    let open = [
        Kind::TurnUpdated { turn: turn("running", TurnStatus::Running) },
        Kind::TurnQueued { turn: turn("queued", TurnStatus::Queued) },
        Kind::BlockStart { block: text_block("open", "", BlockState::Streaming) },
        delta("open", "He", 0),
        Kind::PermissionRequested { permission: permission("open") },
        Kind::QuestionRequested { question: question("open") },
    ];
    owner.append(store, open).await;
    owner.append(store, [delta("open", "llo", 2)]).await;

    let acquired = owner.acquire(store).await;
    let folded = owner.folded();
    assert_eq!(acquired.open.session, folded.session);
    assert_eq!(acquired.open.turns, folded.turns[1..]);
    assert_eq!(acquired.open.conversations, [Conversation::main()]);
    assert_eq!(acquired.open.blocks, [text_block("open", "Hello", BlockState::Streaming)]);
    assert_eq!(acquired.open.permissions, [permission("open")]);
    assert_eq!(acquired.open.questions, [question("open")]);
    assert_eq!(acquired.open.permission_rules, [rule]);
    assert_eq!((acquired.exec, acquired.stdin), (None, vec![]));

    let view = store.session(&owner.key).await.unwrap().unwrap();
    assert_eq!(view.session, folded.session);
    assert_eq!(view.active_turn.unwrap(), turn("running", TurnStatus::Running));
    assert_eq!(view.queued_turns, [turn("queued", TurnStatus::Queued)]);
    assert_eq!((view.open_permissions, view.open_questions), (vec![permission("open")], vec![question("open")]));
    // One by one they are there when they are over, too.
    for id in ["over", "open"] {
        let found = store.permission(&owner.key, id).await.unwrap();
        assert_eq!(found.as_ref(), folded.permissions.iter().find(|asked| asked.permission_id == id));
    }
    assert_eq!(store.permission(&owner.key, "none").await.unwrap(), None);
    assert_eq!(store.permission(&key("t"), "open").await.unwrap(), None);
    assert!(store.acquire(&key("t")).await.unwrap().is_none());
}

pub(crate) async fn a_new_owner_gets_where_the_program_stands(store: &dyn Store) {
    let mut owner = Owner::create(store, key("t"), |_| {}).await;
    let mark = |id: &str, offset, version, state: Option<&str>| ExecMark {
        exec_id: ExecId::new(id),
        sandbox_id: SandboxId::new("sbx_1"),
        generation: 3,
        stdout_offset: offset,
        stderr_offset: offset / 2,
        parser_version: version,
        parser_state: state.map(str::to_owned),
        held: Vec::new(),
        ended: false,
    };
    let row = |id: &str, offset, data: &[u8]| StdinRow { exec_id: ExecId::new(id), offset, data: data.to_vec() };
    let mut put = async |exec: ExecMark, stdin: Vec<StdinRow>, taken: Option<u64>| {
        let stdin_taken = taken.map(|taken| (exec.exec_id.clone(), taken));
        let batch = Batch { exec: Some(exec), stdin, stdin_taken, ..owner.batch([log_line("x")]) };
        store_one(store, batch).await.unwrap();
        owner.acquire(store).await
    };
    // Names that sort against the order of time.
    put(mark("exec_z", 10, 1, Some("old")), vec![row("exec_z", 0, b"old")], None).await;
    let acquired = put(
        mark("exec_a", 20, 1, Some("{\"line\":\"\0\"}")),
        vec![row("exec_a", 5, b"wor"), row("exec_a", 0, b"hello")],
        None,
    )
    .await;
    assert_eq!(acquired.exec.unwrap(), mark("exec_a", 20, 1, Some("{\"line\":\"\0\"}")));
    assert_eq!(acquired.stdin, [row("exec_a", 0, b"hello"), row("exec_a", 5, b"wor")]);
    // No new state: the one that is stored, with its version, although the offset moves on.
    let acquired = put(mark("exec_a", 30, 2, None), vec![row("exec_a", 8, b"\0\xff")], None).await;
    assert_eq!(acquired.exec.unwrap(), mark("exec_a", 30, 1, Some("{\"line\":\"\0\"}")));
    assert_eq!(acquired.stdin.len(), 3);
    // What the sandbox has taken need not be kept; only the newest row is, because the next one begins where it ends.
    for (taken, left) in [(4, 3), (7, 2), (8, 1), (10, 1), (99, 1)] {
        let acquired = put(mark("exec_a", 30, 2, None), vec![], Some(taken)).await;
        assert_eq!(acquired.stdin.len(), left, "{taken} bytes taken");
        assert_eq!(acquired.stdin.last().unwrap(), &row("exec_a", 8, b"\0\xff"));
    }
    // What is held back stands and goes with the offset.
    let holds = vec![Held { block_id: BlockId::new("b"), secret: "KEY".into(), bytes: 3, check: 7 }];
    let holding = ExecMark { held: holds.clone(), ..mark("exec_a", 35, 2, None) };
    assert_eq!(put(holding, vec![], None).await.exec.unwrap().held, holds);
    assert_eq!(put(mark("exec_a", 36, 2, None), vec![], None).await.exec.unwrap().held, []);
    let ended = ExecMark { ended: true, ..mark("exec_a", 40, 2, Some("new")) };
    let acquired = put(ended.clone(), vec![], None).await;
    assert_eq!((acquired.exec, acquired.stdin), (Some(ended), vec![]));
}

pub(crate) async fn a_deleted_session_leaves_its_log(store: &dyn Store) {
    let mut owner = Owner::create(store, key("t"), |session| session.external_id = "mine".into()).await;
    let running = Kind::SandboxChanged { sandbox: sandbox("sbx_1", SandboxStatus::Ready) };
    owner.append(store, [running, Kind::TurnUpdated { turn: turn("t", TurnStatus::Running) }]).await;
    assert_eq!(store.active_sessions(&owner.key.tenant).await.unwrap(), 1);
    owner.delete(store).await;

    assert!(store.session(&owner.key).await.unwrap().is_none());
    assert!(store.snapshot(&owner.key).await.unwrap().is_none());
    assert!(store.acquire(&owner.key).await.unwrap().is_none());
    assert!(store.blocks(&owner.key, &main_blocks()).await.unwrap().is_none());
    assert_eq!(store.sessions(&owner.key.tenant, &all()).await.unwrap(), []);
    assert_eq!(store.unfinished().await.unwrap(), []);
    assert_eq!(store.active_sessions(&owner.key.tenant).await.unwrap(), 0);
    let page = store.events(&owner.key, 0, 10).await.unwrap();
    assert!(page.deleted);
    assert_eq!((page.head, &page.uid), (4, &owner.live.session.uid));
    assert_eq!(page.events, owner.log);

    let late = owner.clone().batch([log_line("late")]);
    assert_eq!(store_one(store, late).await, Err(Error::Conflict { epoch: 0, head: 4 }));
    let (again, batch) = Owner::creation(owner.key.clone(), |_| {});
    assert_eq!(store.create_session(&again.live.session, &batch).await, Err(Error::Conflict { epoch: 0, head: 4 }));
    Owner::create(store, key("t"), |session| session.external_id = "mine".into()).await;
}

pub(crate) async fn purging_leaves_only_the_tombstone(store: &dyn Store) {
    let mut old = Owner::create(store, key("t"), |session| session.labels = labels(&[("a", "b")])).await;
    let first = Kind::SandboxChanged { sandbox: sandbox("sbx_first", SandboxStatus::Terminated) };
    let batch = Batch { exec: Some(exec("sbx_first")), ..old.batch([first, log_line("x")]) };
    store_one(store, batch).await.unwrap();
    let second = Kind::SandboxChanged { sandbox: sandbox("sbx_second", SandboxStatus::Ready) };
    let parts = [
        second,
        Kind::TurnUpdated { turn: turn("t", TurnStatus::Running) },
        Kind::BlockStart { block: text_block("b", "", BlockState::Streaming) },
        Kind::PermissionRequested { permission: permission("p") },
        Kind::QuestionRequested { question: question("q") },
        Kind::PermissionRulesChanged { rules: vec![] },
    ];
    let beside = Beside {
        texts: vec![TextPiece { block_id: BlockId::new("b"), offset: 0, data: b"text".into(), anew: true }],
        blobs: vec![BlobBytes { sha256: "hash".into(), data: b"bytes".into() }],
        ..Beside::default()
    };
    let batch = old.batch(parts);
    store_one(store, Batch { beside, ..batch }).await.unwrap();
    old.delete(store).await;
    let mut young = Owner::create(store, key("t"), |_| {}).await;
    young.delete(store).await;
    let alive = Owner::create(store, key("t"), |_| {}).await;

    let deleted_at = old.log.last().unwrap().time;
    assert_eq!(store.purge(deleted_at).await.unwrap(), []);
    assert!(store.events(&old.key, 0, 1).await.is_ok());
    let had = store.purge(Timestamp(deleted_at.0 + 1)).await.unwrap();
    assert_eq!(had, [SandboxId::new("sbx_first"), SandboxId::new("sbx_second")]);
    assert_eq!(store.purge(Timestamp(deleted_at.0 + 1)).await.unwrap(), []);

    assert!(matches!(store.events(&old.key, 0, 10).await, Err(Error::NotFound)));
    assert!(store.snapshot(&old.key).await.unwrap().is_none());
    let (again, batch) = Owner::creation(old.key.clone(), |_| {});
    assert!(matches!(store.create_session(&again.live.session, &batch).await, Err(Error::Conflict { .. })));
    assert!(store.events(&young.key, 0, 10).await.unwrap().deleted);
    assert_eq!(store.snapshot(&alive.key).await.unwrap().unwrap(), alive.folded());
    assert!(matches!(store.events(&key("t"), 0, 10).await, Err(Error::NotFound)));
}

pub(crate) async fn an_external_id_is_one_session_of_a_tenant(store: &dyn Store) {
    let with = |id: &'static str| move |session: &mut Session| session.external_id = id.into();
    let mut first = Owner::create(store, key("t"), with("mine")).await;
    let (second, batch) = Owner::creation(key("t"), with("mine"));
    let refused = store.create_session(&second.live.session, &batch).await;
    assert_eq!(refused, Err(Error::ExternalIdInUse(first.key.session.clone())));
    assert!(store.session(&second.key).await.unwrap().is_none());
    Owner::create(store, key("u"), with("mine")).await;
    Owner::create(store, key("t"), with("")).await;
    Owner::create(store, key("t"), with("")).await;

    first.delete(store).await;
    store.create_session(&second.live.session, &batch).await.unwrap();
    let mine = SessionQuery { external_id: Some("mine".into()), ..all() };
    assert_eq!(ids(store, "t", &mine).await, [second.key.session.as_str()]);
}

pub(crate) async fn a_closed_store_says_so(store: &dyn Store) {
    let owner = Owner::create(store, key("t"), |_| {}).await;
    store.close().await;
    store.close().await;
    let closed = |error| assert!(matches!(&error, Error::Unavailable(_)), "{error:?}");
    closed(store.snapshot(&owner.key).await.unwrap_err());
    closed(store.append(&[owner.clone().batch([log_line("x")])]).await.unwrap_err());
    closed(store.acquire(&owner.key).await.unwrap_err());
}

/// Dropping a call leaves no half of it behind, and the store goes on.
pub(crate) async fn a_caller_may_give_up_at_any_point(store: &dyn Store) {
    let mut owner = Owner::create(store, key("t"), |_| {}).await;
    let mut given_up = 0;
    // At the first point where the call waits, the second, and so on; where they are differs from time to time.
    for round in 0..80 {
        let waits = round % 4 + 1;
        let block = Kind::BlockStart { block: text_block(&format!("b{round}"), "x", BlockState::Complete) };
        let batch = owner.batch([block, log_line("x")]);
        let call_id = format!("r{round}");
        let batch = Batch { calls: vec![requests::call(&call_id, 1)], ..batch };
        let batches = [batch.clone()];
        let mut call = store.append(&batches);
        let mut waited = 0;
        let outcome = future::poll_fn(|cx| match call.as_mut().poll(cx) {
            Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
            Poll::Pending => {
                waited += 1;
                if waited == waits { Poll::Ready(None) } else { Poll::Pending }
            }
        })
        .await;
        drop(call);
        if outcome.is_none() {
            given_up += 1;
            // The call is remembered exactly if its events are there. It may still be becoming so: what was the same
            // before and after the events were looked for was the same meanwhile.
            let mut known = [false, true];
            while known[0] != known[1] {
                known[0] = requests::known(store, "t", &call_id).await.is_some();
                let stored = store.events(&owner.key, batch.head, 1).await.unwrap().head > batch.head;
                known[1] = requests::known(store, "t", &call_id).await.is_some();
                assert!(known[0] != known[1] || known[0] == stored, "round {round}: {known:?} {stored}");
            }
            // Not known whether it was stored: sending it again tells.
            match store_one(store, batch).await {
                Ok(()) => {}
                Err(error) => assert_eq!(error, Error::Conflict { epoch: 0, head: owner.head() }),
            }
        }
        assert_eq!(store.snapshot(&owner.key).await.unwrap().unwrap(), owner.folded());
    }
    assert!(given_up > 0);
    assert_eq!(store.events(&owner.key, 0, 1000).await.unwrap().events, owner.log);
}

fn exec(sandbox: &str) -> ExecMark {
    ExecMark {
        exec_id: ExecId::mint(),
        sandbox_id: SandboxId::new(sandbox),
        generation: 1,
        stdout_offset: 0,
        stderr_offset: 0,
        parser_version: 1,
        parser_state: None,
        held: Vec::new(),
        ended: false,
    }
}
