//! Input for programs as it comes over the wire, and what its refusals are called there.

use futures::StreamExt as _;
use tonic::{Status, Streaming};

use crate::{
    dev::modal::{
        error::Error,
        program::{InputRefused, Program},
    },
    modal_wire::task_command_router::{
        TaskExecStdinWriteStreamRequest, TaskExecStdinWriteStreamStart, task_exec_stdin_write_stream_request::Payload,
    },
};

/// Gives a program input that stands at an offset.
pub(super) async fn write(program: &Program, offset: u64, data: &[u8], eof: bool) -> Result<(), Error> {
    program.input.write(offset, data, eof, &mut program.input.turn()).await.map_err(refused)
}

/// The message that a stream of input begins with.
pub(super) async fn start(
    messages: &mut Streaming<TaskExecStdinWriteStreamRequest>,
) -> Result<TaskExecStdinWriteStreamStart, Status> {
    match messages.message().await?.and_then(|message| message.payload) {
        Some(Payload::Start(start)) => Ok(start),
        Some(Payload::Data(_) | Payload::End(_)) | None => {
            Err(Error::Invalid("a stream of input begins with a start".to_owned()).into())
        }
    }
}

/// Gives a program what a stream brings. Only its end message closes the input; a stream that breaks off leaves it open.
pub(super) async fn write_all(
    program: &Program,
    mut offset: u64,
    mut messages: Streaming<TaskExecStdinWriteStreamRequest>,
) -> Result<(), Status> {
    let mut turn = program.input.turn();
    loop {
        let message = tokio::select! {
            message = messages.next() => message,
            () = turn.over() => return Err(refused(InputRefused::Evicted).into()),
        };
        match message.transpose()?.and_then(|message| message.payload) {
            Some(Payload::Data(data)) => {
                program.input.write(offset, &data, false, &mut turn).await.map_err(refused)?;
                offset += data.len() as u64;
            }
            Some(Payload::End(_)) => {
                program.input.write(offset, &[], true, &mut turn).await.map_err(refused)?;
                return Ok(());
            }
            Some(Payload::Start(_)) => {
                return Err(Error::Invalid("a stream of input starts once".to_owned()).into());
            }
            None => return Ok(()),
        }
    }
}

fn refused(refused: InputRefused) -> Error {
    let said = refused.to_string();
    match refused {
        InputRefused::Hole { .. } => Error::Invalid(said),
        InputRefused::Closed | InputRefused::Broken => Error::State(said),
        InputRefused::Evicted => Error::Aborted(said),
    }
}
