//! Output on its way to one reader: from the file as long as there is some it has not got, then as it comes from the pipe,
//! and from the file again when its socket could not keep up.

use std::{io, rc::Rc};

use prost::Message as _;
use tokio::net::UnixStream;

use super::{
    frame::before_chunk,
    protocol::{self, Answer, Refusal, Refused, Reply},
    spool::{End, Found, Spool},
};

/// Sends all output from `offset` on, until it ends or the reader hangs up.
pub(super) async fn serve(spool: &Spool, stream: UnixStream, mut offset: u64) -> io::Result<()> {
    let stream = Rc::new(stream);
    loop {
        match spool.at(offset) {
            Ok(Found::Bytes(bytes)) => {
                write_all(&stream, &before_chunk(bytes.len())).await?;
                write_all(&stream, &bytes).await?;
                offset += bytes.len() as u64;
            }
            Ok(Found::Nothing) => {
                let live = spool.follow(&stream, offset);
                let (rest, after) = tokio::select! {
                    over = live.over() => over,
                    () = hung_up(&stream) => return Ok(()),
                };
                write_all(&stream, &rest).await?;
                offset = after;
            }
            Ok(Found::End(end)) => return last(&stream, reply(end)).await,
            Err(refusal) => return last(&stream, refused(refusal)).await,
        }
    }
}

fn reply(end: End) -> Reply {
    match end {
        End::Complete => Reply::End(protocol::End {}),
        End::Failed(cause) => refused(Refusal::Unavailable(cause)),
        End::Lost(cause) => refused(Refusal::Gone(cause)),
    }
}

fn refused(refusal: Refusal) -> Reply {
    Reply::Refused(Refused { refusal: Some(refusal) })
}

async fn last(stream: &UnixStream, reply: Reply) -> io::Result<()> {
    write_all(stream, &Answer::from(reply).encode_length_delimited_to_vec()).await
}

async fn write_all(stream: &UnixStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match stream.try_write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.writable().await?,
            Err(error) => return Err(error),
        }
    }
    // A reader that lags far behind would otherwise never give way to other tasks.
    tokio::task::coop::consume_budget().await;
    Ok(())
}

/// Waits until the reader is gone. It has nothing more to say.
async fn hung_up(stream: &UnixStream) {
    loop {
        if stream.readable().await.is_err() {
            return;
        }
        match stream.try_read(&mut [0; 64]) {
            Ok(0) => return,
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return,
            Ok(_) | Err(_) => {}
        }
    }
}
