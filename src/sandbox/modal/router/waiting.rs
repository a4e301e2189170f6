//! Waiting for the end of a program: a call that is held for a while, made again for as long as the sandbox lives.

use std::time::Duration;

use tokio::time::sleep;
use tonic::{Code, Request, Status};

use super::{Ended, Router};
use crate::{
    modal_wire::task_command_router::{TaskExecWaitRequest, task_exec_wait_response::ExitStatus},
    sandbox::modal::attempts::{self, Attempts},
};

/// How long one call is held.
const HELD: Duration = Duration::from_mins(1);
/// Between a call that told nothing and the next.
const PAUSE: Duration = Duration::from_secs(1);

impl Router {
    /// Waits for the end of a program, however long that takes.
    pub(in super::super) async fn wait(&self, exec_id: &str) -> Result<Ended, Status> {
        let mut attempts = Attempts::new(attempts::FOLLOWING);
        loop {
            let access = self.right(&mut attempts).await?;
            let waited = async {
                let exec_id = exec_id.to_owned();
                let mut request = Request::new(TaskExecWaitRequest { task_id: self.task_id.clone(), exec_id });
                request.set_timeout(HELD);
                access.say(request.metadata_mut(), &attempts)?;
                Ok::<_, Status>(self.client(&access).await?.task_exec_wait(request).await?.into_inner())
            };
            match waited.await.map(|answer| answer.exit_status) {
                Ok(Some(ExitStatus::Code(code))) => return Ok(Ended::Code(code)),
                Ok(Some(ExitStatus::Signal(signal))) => return Ok(Ended::Signal(signal)),
                // It runs; a held call that came to its end says the same. Not every router holds calls.
                Ok(None) => {
                    attempts.reset();
                    sleep(PAUSE).await;
                }
                Err(failure) if failure.code() == Code::DeadlineExceeded => attempts.reset(),
                Err(failure) => {
                    self.overcome(failure, &access, &mut attempts).await?;
                    self.still_there().await?;
                }
            }
        }
    }
}
