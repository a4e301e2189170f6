//! Conformance: a byte of input counts once, however often it is given, and giving holds up nothing else.

use agent_runtime::{
    domain::ExecId,
    sandbox::{Error, Exit, Provider, Sandbox, Signal, StdinStatus},
};

use crate::rig::{NOW, give, noise, sandbox, start, stdout, until};

async fn write(sandbox: &dyn Sandbox, exec: &ExecId, offset: u64, text: &str, eof: bool) -> Result<u64, Error> {
    sandbox.write_stdin(NOW, exec, offset, text.as_bytes(), eof).await
}

pub(crate) async fn duplicates_count_once(provider: &dyn Provider) {
    let sandbox = sandbox(provider).await;
    let exec = start(&*sandbox, "cat").await;
    for _ in 0..3 {
        assert_eq!(write(&*sandbox, &exec, 0, "hello", false).await, Ok(5));
    }
    for _ in 0..3 {
        assert_eq!(write(&*sandbox, &exec, 5, " world", true).await, Ok(11));
    }
    assert_eq!(write(&*sandbox, &exec, 0, "hello", false).await, Ok(11));
    assert_eq!(stdout(&*sandbox, &exec).await, b"hello world");
}

pub(crate) async fn overlaps_count_once(provider: &dyn Provider) {
    let sandbox = sandbox(provider).await;
    let exec = start(&*sandbox, "cat").await;
    assert_eq!(write(&*sandbox, &exec, 0, "abcdef", false).await, Ok(6));
    assert_eq!(write(&*sandbox, &exec, 3, "defghi", false).await, Ok(9));
    assert_eq!(write(&*sandbox, &exec, 2, "cde", false).await, Ok(9));
    assert_eq!(write(&*sandbox, &exec, 0, "abcdefghijk", true).await, Ok(11));
    assert_eq!(stdout(&*sandbox, &exec).await, b"abcdefghijk");

    // The same across the pieces in which an implementation may compare.
    let exec = start(&*sandbox, "cat").await;
    let whole = noise(500_000);
    assert_eq!(sandbox.write_stdin(NOW, &exec, 0, &whole[..300_000], false).await, Ok(300_000));
    assert_eq!(sandbox.write_stdin(NOW, &exec, 1, &whole[1..], true).await, Ok(500_000));
    assert!(stdout(&*sandbox, &exec).await == whole);
}

pub(crate) async fn other_bytes_are_a_conflict(provider: &dyn Provider) {
    let sandbox = sandbox(provider).await;
    let exec = start(&*sandbox, "cat").await;
    assert_eq!(write(&*sandbox, &exec, 0, "abcdef", false).await, Ok(6));
    assert_eq!(write(&*sandbox, &exec, 2, "cdXf", false).await, Err(Error::StdinConflict { offset: 4 }));
    assert_eq!(write(&*sandbox, &exec, 4, "Xfgh", true).await, Err(Error::StdinConflict { offset: 4 }));
    // Nothing of the refused ones has come in.
    assert_eq!(sandbox.stdin_status(&exec).await, Ok(StdinStatus { accepted: 6, closed: false }));
    assert_eq!(write(&*sandbox, &exec, 6, "", true).await, Ok(6));
    assert_eq!(stdout(&*sandbox, &exec).await, b"abcdef");

    let exec = start(&*sandbox, "cat").await;
    let mut whole = noise(300_000);
    give(&*sandbox, &exec, &whole).await;
    whole[200_001] ^= 1;
    let conflict = sandbox.write_stdin(NOW, &exec, 7, &whole[7..], true).await;
    assert_eq!(conflict, Err(Error::StdinConflict { offset: 200_001 }));
}

pub(crate) async fn a_hole_is_refused(provider: &dyn Provider) {
    let sandbox = sandbox(provider).await;
    let exec = start(&*sandbox, "cat").await;
    assert_eq!(write(&*sandbox, &exec, 1, "b", false).await, Err(Error::Offset { offset: 1, from: 0, to: 0 }));
    assert_eq!(write(&*sandbox, &exec, 0, "abc", false).await, Ok(3));
    assert_eq!(write(&*sandbox, &exec, 4, "", true).await, Err(Error::Offset { offset: 4, from: 0, to: 3 }));
    assert_eq!(write(&*sandbox, &exec, 3, "d", true).await, Ok(4));
    assert_eq!(stdout(&*sandbox, &exec).await, b"abcd");
}

pub(crate) async fn the_end_of_input_is_told(provider: &dyn Provider) {
    let sandbox = sandbox(provider).await;
    let exec = start(&*sandbox, "cat >/dev/null; echo ended").await;
    assert_eq!(sandbox.stdin_status(&exec).await, Ok(StdinStatus { accepted: 0, closed: false }));
    assert_eq!(write(&*sandbox, &exec, 0, "text", false).await, Ok(4));
    assert_eq!(sandbox.stdin_status(&exec).await, Ok(StdinStatus { accepted: 4, closed: false }));
    assert_eq!(write(&*sandbox, &exec, 4, "", true).await, Ok(4));
    assert_eq!(sandbox.stdin_status(&exec).await, Ok(StdinStatus { accepted: 4, closed: true }));
    assert_eq!(stdout(&*sandbox, &exec).await, b"ended\n");
}

pub(crate) async fn nothing_follows_the_end(provider: &dyn Provider) {
    let sandbox = sandbox(provider).await;
    let exec = start(&*sandbox, "cat").await;
    assert_eq!(write(&*sandbox, &exec, 0, "abc", false).await, Ok(3));
    // An end before what was given says otherwise than what was given.
    assert_eq!(write(&*sandbox, &exec, 0, "a", true).await, Err(Error::StdinConflict { offset: 1 }));
    assert_eq!(write(&*sandbox, &exec, 3, "", true).await, Ok(3));
    assert_eq!(write(&*sandbox, &exec, 3, "d", false).await, Err(Error::StdinConflict { offset: 3 }));
    assert_eq!(write(&*sandbox, &exec, 1, "bcd", true).await, Err(Error::StdinConflict { offset: 3 }));
    assert_eq!(stdout(&*sandbox, &exec).await, b"abc");
}

pub(crate) async fn eight_megabytes_come_through(provider: &dyn Provider) {
    let sandbox = sandbox(provider).await;
    let exec = start(&*sandbox, "cat").await;
    let whole = noise(8 << 20);
    give(&*sandbox, &exec, &whole).await;
    assert!(stdout(&*sandbox, &exec).await == whole);
}

pub(crate) async fn a_program_that_never_reads(provider: &dyn Provider) {
    let sandbox = sandbox(provider).await;
    let exec = start(&*sandbox, "exec sleep 1000").await;
    let whole = noise(8 << 20);
    let give_all = async {
        let mut offset = 0;
        for piece in whole.chunks(100_000) {
            offset = sandbox.write_stdin(NOW, &exec, offset, piece, false).await.expect("accepted");
        }
        if provider.shares_machine() {
            let accepted = StdinStatus { accepted: 8 << 20, closed: false };
            assert_eq!(sandbox.stdin_status(&exec).await, Ok(accepted));
        }
    };
    let the_rest = async {
        // The rest of the sandbox goes on.
        let other = start(&*sandbox, "echo other").await;
        assert_eq!(stdout(&*sandbox, &other).await, b"other\n");
        sandbox.signal(NOW, &exec, Signal::Kill).await.expect("sent");
        assert_eq!(sandbox.wait(&exec).await, Ok(Exit::Signal(9)));
    };
    if provider.shares_machine() {
        give_all.await;
        the_rest.await;
    } else {
        // Elsewhere nobody may hold what the program does not read: giving waits for it, and for its end at the latest.
        tokio::join!(give_all, the_rest);
    }
}

pub(crate) async fn a_program_that_closes_its_input(provider: &dyn Provider) {
    let sandbox = sandbox(provider).await;
    let exec = start(&*sandbox, "exec 0<&-; echo closed; sleep 1000").await;
    until(&*sandbox, &exec, "closed").await;
    assert_eq!(write(&*sandbox, &exec, 0, "nobody reads this", false).await, Ok(17));
    assert_eq!(write(&*sandbox, &exec, 17, ", nor this", true).await, Ok(27));
    sandbox.signal(NOW, &exec, Signal::Kill).await.expect("sent");
    assert_eq!(sandbox.wait(&exec).await, Ok(Exit::Signal(9)));
}

pub(crate) async fn input_after_the_exit(provider: &dyn Provider) {
    let sandbox = sandbox(provider).await;
    let exec = start(&*sandbox, "exec 0<&-; echo closed; exit 0").await;
    assert_eq!(write(&*sandbox, &exec, 0, "nobody reads this", false).await, Ok(17));
    assert_eq!(sandbox.wait(&exec).await, Ok(Exit::Code(0)));
    assert_eq!(write(&*sandbox, &exec, 17, ", nor this", true).await, Ok(27));
    assert_eq!(sandbox.stdin_status(&exec).await, Ok(StdinStatus { accepted: 27, closed: true }));
}
