//! What a refusal of Modal's means for whoever asked for a sandbox, where it says nothing of the sandbox itself: whether that is
//! over is asked for, never read out of a status. Whether the answer is to be believed stands in `origin`.

use tonic::Status;

use super::origin;
use crate::sandbox::Error;

/// A call failed.
pub(super) fn unavailable(status: &Status) -> Error {
    if let Some(why) = origin::out_of_reach(status) {
        Error::OutOfReach(why)
    } else if status.message().is_empty() {
        Error::Unavailable(format!("Modal: {}", status.code()))
    } else {
        Error::Unavailable(format!("Modal: {}", status.message()))
    }
}
