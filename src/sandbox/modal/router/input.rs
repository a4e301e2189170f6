//! Input, given at an offset. A write whose answer is lost may have come through, so before it is made again the router is
//! asked how much it has.

use bytes::Bytes;
use tokio::time::sleep;
use tonic::{Code, Status};

use super::Router;
use crate::{
    modal_wire::task_command_router::{TaskExecStdinStatusRequest, TaskExecStdinWriteRequest},
    sandbox::{
        StdinStatus,
        modal::attempts::{self, Attempts},
    },
};

/// Most input of one call.
const PIECE: usize = 1 << 20;

/// What became of input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Given {
    /// The router has it.
    Accepted,
    /// The program is over, or has closed its input: it reads no more.
    Over,
}

impl Router {
    /// Gives a program input at an offset, then, with `eof`, closes its input. Nobody else may be giving it any.
    pub(in super::super) async fn give(
        &self,
        exec_id: &str,
        offset: u64,
        data: Bytes,
        eof: bool,
    ) -> Result<Given, Status> {
        let end = offset + data.len() as u64;
        let (mut from, mut attempts) = (0, Attempts::new(attempts::FOLLOWING));
        loop {
            let to = data.len().min(from + PIECE);
            let last = to == data.len();
            let written = self.write(exec_id, offset + from as u64, data.slice(from..to), eof && last).await;
            match written {
                Ok(()) if last => return Ok(Given::Accepted),
                Ok(()) => {
                    from = to;
                    attempts.reset();
                }
                Err(failure) => {
                    if matches!(failure.code(), Code::FailedPrecondition | Code::Aborted | Code::NotFound)
                        && self.poll(exec_id).await?.is_some()
                    {
                        return Ok(Given::Over);
                    }
                    if failure.code() == Code::FailedPrecondition {
                        self.still_there().await?;
                        return Ok(Given::Over);
                    }
                    let wait = match failure.code() {
                        Code::Aborted => attempts.after(&Status::unavailable("")),
                        _ => attempts.after(&failure),
                    };
                    let Some(wait) = wait else { return Err(failure) };
                    sleep(wait).await;
                    let status = loop {
                        match self.stdin_status(exec_id).await {
                            Ok(status) => break status,
                            Err(failure) => self.wait_out(failure, &mut attempts).await?,
                        }
                    };
                    if status.accepted >= end && (status.closed || !eof) {
                        return Ok(Given::Accepted);
                    }
                    if failure.code() == Code::DeadlineExceeded {
                        // The router answers, and the program does not read: that is no failure.
                        attempts.reset();
                    }
                    // What it has is not given again; more than was sent cannot be.
                    let has = usize::try_from(status.accepted.saturating_sub(offset)).unwrap_or(usize::MAX);
                    from = has.min(data.len());
                }
            }
        }
    }

    /// How much input a program was given. A router that cannot say is given all of it once more: what it has at an offset it
    /// does not take twice.
    pub(in super::super) async fn stdin_status(&self, exec_id: &str) -> Result<StdinStatus, Status> {
        let request = TaskExecStdinStatusRequest { task_id: self.task_id.clone(), exec_id: exec_id.to_owned() };
        let asked =
            self.call(request, |mut router, request| async move { router.task_exec_stdin_status(request).await });
        match asked.await {
            Ok(status) => Ok(StdinStatus { accepted: status.num_bytes_written, closed: status.closed }),
            Err(status) if status.code() == Code::Unimplemented => Ok(StdinStatus { accepted: 0, closed: false }),
            Err(status) => Err(status),
        }
    }

    /// One piece, once, but for a token that ended.
    async fn write(&self, exec_id: &str, offset: u64, data: Bytes, eof: bool) -> Result<(), Status> {
        let (task_id, exec_id) = (self.task_id.clone(), exec_id.to_owned());
        let request = TaskExecStdinWriteRequest { task_id, exec_id, offset, data, eof };
        self.change(request, attempts::ONCE, None, |mut router, request| async move {
            router.task_exec_stdin_write(request).await
        })
        .await?;
        Ok(())
    }
}
