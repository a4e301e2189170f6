//! Reading a watch and counting what comes.

use super::{client::Stream, count::Count};
use crate::Failure;

/// Reads until the turn with the numbers has ended.
pub(crate) async fn finish(mut count: Count, mut stream: Stream) -> Result<Count, Failure> {
    until(&mut count, &mut stream, Count::is_over).await?;
    Ok(count)
}

/// Reads until it is enough.
pub(crate) async fn until(
    count: &mut Count,
    stream: &mut Stream,
    enough: impl Fn(&Count) -> bool,
) -> Result<(), Failure> {
    while !enough(count) {
        count.response(stream.message().await?.ok_or("the watch ended")?);
    }
    Ok(())
}
