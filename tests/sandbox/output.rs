//! Conformance: any byte of output can be read again, by anybody, at any time.

use agent_runtime::sandbox::{Error, Exit, Output, Provider};
use futures::{StreamExt as _, future::join_all};
use rand::Rng as _;

use crate::rig::{NOW, give, noise, read_from, sandbox, start, stdout, until};

pub(crate) async fn any_offset_reads_the_same(provider: &dyn Provider) {
    let sandbox = sandbox(provider).await;
    let exec = start(&*sandbox, "cat").await;
    let whole = noise(300_000);
    give(&*sandbox, &exec, &whole).await;
    assert!(stdout(&*sandbox, &exec).await == whole);
    for _ in 0..1000 {
        let offset = rand::rng().random_range(0..=whole.len());
        let rest = read_from(&*sandbox, &exec, Output::Stdout, offset as u64).await;
        assert!(rest == whole[offset..], "from {offset}");
    }
}

pub(crate) async fn several_readers_at_once(provider: &dyn Provider) {
    let sandbox = sandbox(provider).await;
    let exec = start(&*sandbox, "cat").await;
    let whole = noise(2_000_000);
    let readers = (0..8).map(|reader| {
        let (sandbox, exec, whole) = (&sandbox, &exec, &whole);
        async move {
            // Not there yet for all but the first: they come while it is written.
            if reader > 0 {
                sandbox.read(exec, Output::Stdout, 0).await.expect("readable").next().await;
            }
            let offset = reader * 1000;
            assert!(read_from(&**sandbox, exec, Output::Stdout, offset as u64).await == whole[offset..]);
        }
    });
    tokio::join!(join_all(readers), give(&*sandbox, &exec, &whole));
}

pub(crate) async fn reads_again_after_the_exit(provider: &dyn Provider) {
    let sandbox = sandbox(provider).await;
    let exec = start(&*sandbox, "echo one; echo two").await;
    assert_eq!(sandbox.wait(&exec).await, Ok(Exit::Code(0)));
    for _ in 0..3 {
        assert_eq!(stdout(&*sandbox, &exec).await, b"one\ntwo\n");
        assert_eq!(read_from(&*sandbox, &exec, Output::Stdout, 4).await, b"two\n");
        assert_eq!(read_from(&*sandbox, &exec, Output::Stdout, 8).await, b"");
    }
}

pub(crate) async fn reads_while_it_is_written(provider: &dyn Provider) {
    let sandbox = sandbox(provider).await;
    let exec = start(&*sandbox, "cat").await;
    let mut stream = sandbox.read(&exec, Output::Stdout, 0).await.expect("readable");
    let mut given = 0;
    for text in ["first", "second", "third"] {
        given = sandbox.write_stdin(NOW, &exec, given, text.as_bytes(), false).await.expect("accepted");
        let mut got = Vec::new();
        while got.len() < text.len() {
            got.extend_from_slice(&stream.next().await.expect("more").expect("a chunk"));
        }
        assert_eq!(got, text.as_bytes());
    }
    sandbox.write_stdin(NOW, &exec, given, b"", true).await.expect("closed");
    assert!(stream.next().await.is_none());
}

pub(crate) async fn beyond_the_end_is_refused(provider: &dyn Provider) {
    let sandbox = sandbox(provider).await;
    let exec = start(&*sandbox, "echo hello").await;
    assert_eq!(stdout(&*sandbox, &exec).await, b"hello\n");
    let refused = sandbox.read(&exec, Output::Stdout, 7).await.err();
    assert_eq!(refused, Some(Error::Offset { offset: 7, from: 0, to: 6 }));
    let refused = sandbox.release(NOW, &exec, Output::Stdout, 7).await;
    assert_eq!(refused, Err(Error::Offset { offset: 7, from: 0, to: 6 }));
}

pub(crate) async fn released_output_is_refused(provider: &dyn Provider) {
    let sandbox = sandbox(provider).await;
    let exec = start(&*sandbox, "cat").await;
    let whole = noise(1_000_000);
    let mut reader = sandbox.read(&exec, Output::Stdout, 0).await.expect("readable");
    give(&*sandbox, &exec, &whole).await;
    assert!(stdout(&*sandbox, &exec).await == whole);

    let offset = 500_003;
    sandbox.release(NOW, &exec, Output::Stdout, offset).await.expect("released");
    let refused = Error::Offset { offset: offset - 1, from: offset, to: 1_000_000 };
    assert_eq!(sandbox.read(&exec, Output::Stdout, offset - 1).await.err(), Some(refused));
    assert!(read_from(&*sandbox, &exec, Output::Stdout, offset).await == whole[500_003..]);
    // A reader from before does not get zeros for what is gone.
    assert!(matches!(reader.next().await, Some(Err(Error::Offset { offset: 0, .. }))));
    assert!(reader.next().await.is_none());

    // Less, the same and more.
    sandbox.release(NOW, &exec, Output::Stdout, 10).await.expect("released before");
    assert!(sandbox.read(&exec, Output::Stdout, 10).await.is_err());
    sandbox.release(NOW, &exec, Output::Stdout, offset).await.expect("released before");
    sandbox.release(NOW, &exec, Output::Stdout, 1_000_000).await.expect("released");
    assert_eq!(read_from(&*sandbox, &exec, Output::Stdout, 1_000_000).await, b"");
}

pub(crate) async fn binary_output_is_exact(provider: &dyn Provider) {
    let sandbox = sandbox(provider).await;
    let script = (0..=255).fold(String::new(), |script, byte| format!("{script}\\{byte:03o}"));
    let exec = start(&*sandbox, &format!("printf '{script}'; printf '\\303(\\377' >&2")).await;
    assert_eq!(stdout(&*sandbox, &exec).await, (0..=255).collect::<Vec<u8>>());
    assert_eq!(read_from(&*sandbox, &exec, Output::Stderr, 0).await, b"\xC3(\xFF");
}

pub(crate) async fn the_two_outputs_are_apart(provider: &dyn Provider) {
    let sandbox = sandbox(provider).await;
    let exec = start(&*sandbox, "echo out; exec 1>&-; echo err >&2; cat >&2").await;
    give(&*sandbox, &exec, b"more").await;
    assert_eq!(read_from(&*sandbox, &exec, Output::Stderr, 0).await, b"err\nmore");
    assert_eq!(stdout(&*sandbox, &exec).await, b"out\n");
}

pub(crate) async fn fifty_megabytes(provider: &dyn Provider) {
    const SIZE: usize = 50_000_000;
    let sandbox = sandbox(provider).await;
    let exec = start(&*sandbox, &format!("yes 0123456789abcde | head -c {SIZE}")).await;
    until(&*sandbox, &exec, "0123").await;
    let whole = stdout(&*sandbox, &exec).await;
    assert_eq!(whole.len(), SIZE);
    let line = b"0123456789abcde\n";
    assert!(whole.chunks(line.len()).all(|chunk| chunk == &line[..chunk.len()]));
}
