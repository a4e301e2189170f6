//! Output on its way to one reader: from the file as long as there is some it has not got, then as it comes from the pipe,
//! and from the file again when its socket could not keep up.

use std::{io, rc::Rc};

use prost::Message as _;
use tokio::net::{UnixStream, unix::pipe};

use super::{
    frame::before_chunk,
    protocol::{self, Answer, Refusal, Refused, Reply},
    spool::{End, Found, Spool},
};

/// Sends all output from `offset` on, until it ends or the reader hangs up.
pub(super) async fn serve(spool: &Spool, mut stream: UnixStream, mut offset: u64) -> io::Result<()> {
    loop {
        match spool.at(offset) {
            Ok(Found::Bytes(bytes)) => {
                write_all(&stream, &before_chunk(bytes.len())).await?;
                write_all(&stream, &bytes).await?;
                offset += bytes.len() as u64;
            }
            Ok(Found::Nothing) => {
                let bare = stream.into_std()?;
                let ears = ears(&bare)?;
                let live = spool.follow(bare, offset);
                tokio::select! {
                    () = live.over() => {}
                    () = hung_up(&ears) => return Ok(()),
                }
                let live = Rc::into_inner(live).expect("others hold it only while they hand it something");
                let (bare, rest, after) = live.into_rest();
                stream = UnixStream::from_std(bare)?;
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

/// Hears that the other side hangs up, and nothing else. A socket as such is watched for room to write as well, and each
/// byte that its reader takes would wake this process; what is made for reading ends of pipes is not.
fn ears(stream: &std::os::unix::net::UnixStream) -> io::Result<pipe::Receiver> {
    pipe::Receiver::from_owned_fd_unchecked(stream.try_clone()?.into())
}

/// Waits until the reader is gone. It has nothing more to say.
async fn hung_up(ears: &pipe::Receiver) {
    loop {
        if ears.readable().await.is_err() {
            return;
        }
        match ears.try_read(&mut [0; 64]) {
            Ok(0) => return,
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return,
            Ok(_) | Err(_) => {}
        }
    }
}
