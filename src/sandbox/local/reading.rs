//! Output on its way from a supervisor to one reader.

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _};

use super::call::{Call, unexpected};
use crate::{
    sandbox::Error,
    supervisor::protocol::{Go, Reply, Request},
};

/// What the supervisor sends, once it is asked to: nothing is on its way to a reader that has not begun.
pub(super) fn chunks(call: Call) -> BoxStream<'static, Result<Bytes, Error>> {
    stream::unfold(Reader::Ready(call), Reader::next).boxed()
}

enum Reader {
    Ready(Call),
    Reading(Call),
    Over,
}

impl Reader {
    async fn next(self) -> Option<(Result<Bytes, Error>, Self)> {
        let mut call = match self {
            Self::Ready(mut call) => {
                // That it is not there any more shows in what it says.
                call.ask(Request::Go(Go {})).await;
                call
            }
            Self::Reading(call) => call,
            Self::Over => return None,
        };
        match call.reply().await {
            Ok(Some(Reply::Chunk(bytes))) => Some((Ok(bytes), Self::Reading(call))),
            Ok(Some(Reply::End(_))) => None,
            Ok(Some(other)) => Some((Err(unexpected(&other)), Self::Over)),
            Ok(None) => Some((Err(Error::Gone("its supervisor died".to_owned())), Self::Over)),
            Err(error) => Some((Err(error), Self::Over)),
        }
    }
}
