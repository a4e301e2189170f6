//! Input of programs: each byte once, by its offset, and what is known of it after a connection broke.

use agent_runtime::modal_wire::task_command_router::{
    TaskExecStdinStatusRequest, TaskExecStdinStatusResponse, TaskExecStdinWriteStreamEnd,
    TaskExecStdinWriteStreamRequest, TaskExecStdinWriteStreamStart, task_exec_stdin_write_stream_request::Payload,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use super::{Guest, Rig};

impl Guest {
    async fn stdin(&mut self, exec: &str) -> TaskExecStdinStatusResponse {
        let request = TaskExecStdinStatusRequest { task_id: self.task.clone(), exec_id: exec.to_owned() };
        self.router.task_exec_stdin_status(request).await.expect("a status").into_inner()
    }

    fn begin(&self, exec: &str, offset: u64) -> Payload {
        Payload::Start(TaskExecStdinWriteStreamStart { task_id: self.task.clone(), exec_id: exec.to_owned(), offset })
    }
}

fn message(payload: Payload) -> TaskExecStdinWriteStreamRequest {
    TaskExecStdinWriteStreamRequest { payload: Some(payload) }
}

fn data(text: &str) -> Payload {
    Payload::Data(text.as_bytes().to_vec().into())
}

#[tokio::test]
async fn a_byte_that_is_sent_again_counts_once() {
    let Some(mut rig) = Rig::new(&[]).await else { return };
    let mut sandbox = rig.plain().await;
    let exec = sandbox.start(&["cat"]).await;
    for (offset, text) in [(0, "abc"), (0, "abc"), (1, "bcde"), (5, ""), (2, "cdef")] {
        sandbox.write(&exec, offset, text.as_bytes(), false).await.unwrap();
    }
    let hole = sandbox.write(&exec, 7, b"x", false).await.unwrap_err();
    assert_eq!(hole.code(), Code::InvalidArgument, "{hole}");
    let status = sandbox.stdin(&exec).await;
    assert_eq!((status.num_bytes_written, status.closed), (6, false));
    sandbox.write(&exec, 6, b"!", true).await.unwrap();
    sandbox.write(&exec, 6, b"!", true).await.unwrap();
    assert_eq!(sandbox.write(&exec, 7, b"late", false).await.unwrap_err().code(), Code::FailedPrecondition);
    assert_eq!(sandbox.read(&exec, 0).await.unwrap(), b"abcdef!");
    let status = sandbox.stdin(&exec).await;
    assert_eq!((status.num_bytes_written, status.closed), (7, true));
}

#[tokio::test]
async fn a_stream_that_broke_goes_on_where_the_program_stands() {
    let Some(mut rig) = Rig::new(&[]).await else { return };
    let mut sandbox = rig.plain().await;
    let exec = sandbox.start(&["cat"]).await;
    let (sender, messages) = mpsc::channel(8);
    sender.send(message(sandbox.begin(&exec, 0))).await.unwrap();
    sender.send(message(data("first "))).await.unwrap();
    let mut router = sandbox.router.clone();
    let call = async move { router.task_exec_stdin_write_stream(ReceiverStream::new(messages)).await };
    // Asking ends the stream that is under way, whatever it had still to say.
    let ask = async {
        while sandbox.stdin(&exec).await.num_bytes_written == 0 {
            // It may have been asked before the stream had begun, and then nothing was ended.
            if sender.is_closed() {
                break;
            }
            tokio::task::yield_now().await;
        }
        sandbox.stdin(&exec).await
    };
    let (ended, status) = tokio::join!(call, ask);
    assert_eq!(ended.unwrap_err().code(), Code::Aborted);
    let known = status.num_bytes_written;
    assert!(known == 0 || known == 6, "whole writes or none: {known}");
    let rest = &"first second"[usize::try_from(known).unwrap()..];
    let messages = vec![
        message(sandbox.begin(&exec, known)),
        message(data(rest)),
        message(Payload::End(TaskExecStdinWriteStreamEnd {})),
    ];
    sandbox.router.task_exec_stdin_write_stream(tokio_stream::iter(messages)).await.unwrap();
    assert_eq!(sandbox.read(&exec, 0).await.unwrap(), b"first second");

    // Without its end message a stream leaves the input open.
    let exec = sandbox.start(&["cat"]).await;
    let messages = vec![message(sandbox.begin(&exec, 0)), message(data("x"))];
    sandbox.router.task_exec_stdin_write_stream(tokio_stream::iter(messages)).await.unwrap();
    assert!(!sandbox.stdin(&exec).await.closed);
    let refused = sandbox.router.task_exec_stdin_write_stream(tokio_stream::iter([message(data("y"))])).await;
    assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn input_for_a_program_that_has_ended_is_refused() {
    let Some(mut rig) = Rig::new(&[]).await else { return };
    let mut sandbox = rig.plain().await;
    let exec = sandbox.start(&["true"]).await;
    sandbox.wait(&exec).await.unwrap();
    assert_eq!(sandbox.write(&exec, 0, b"x", false).await.unwrap_err().code(), Code::FailedPrecondition);
}
