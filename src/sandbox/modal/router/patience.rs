//! Waiting out a sandbox that cannot be reached: with the patience that a call has, and asking whether it is still there once
//! that takes long.

use tokio::time::sleep;
use tonic::{Code, Status};
use uuid::Uuid;

use super::{Access, Router};
use crate::sandbox::modal::attempts::Attempts;

impl Router {
    /// The right to speak to it. A control plane that does not give it is asked again, as the router itself would be.
    pub(super) async fn right(&self, attempts: &mut Attempts) -> Result<Access, Status> {
        loop {
            match self.access.current(self).await {
                Ok(access) => return Ok(access),
                Err(failure) => self.wait_out(failure, attempts).await?,
            }
        }
    }

    /// Waits until another attempt makes sense; fails where none does. A token that was refused is exchanged.
    pub(super) async fn overcome(
        &self,
        failure: Status,
        access: &Access,
        attempts: &mut Attempts,
    ) -> Result<(), Status> {
        if !attempts.renews(&failure) {
            return self.wait_out(failure, attempts).await;
        }
        match self.access.renew(self, access).await {
            Ok(()) => Ok(()),
            Err(failure) => self.wait_out(failure, attempts).await,
        }
    }

    pub(super) async fn wait_out(&self, failure: Status, attempts: &mut Attempts) -> Result<(), Status> {
        let Some(wait) = attempts.after(&failure) else { return Err(failure) };
        if attempts.is_long() {
            self.still_there().await?;
        }
        sleep(wait).await;
        Ok(())
    }

    /// Asks for a sign of life: what it says of a program that there never was. How it says no is not established, and each way
    /// to say it is one, but for those in which nobody may have been reached, or heard.
    pub(in super::super) async fn answers(&self) -> Result<(), Status> {
        match self.poll(&Uuid::nil().to_string()).await {
            Ok(_) => Ok(()),
            Err(status) if is_answer(status.code()) => Ok(()),
            Err(status) => Err(status),
        }
    }
}

fn is_answer(code: Code) -> bool {
    match code {
        Code::Ok
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unimplemented => true,
        Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss
        | Code::Unauthenticated => false,
    }
}
