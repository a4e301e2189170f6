//! One sandbox as the control plane knows it: alive or over, where its router is, how it is ended, what it left. Sandboxes with
//! a GPU are made by another version of these calls, which their ids tell apart.
//!
//! It must not know what runs in a sandbox.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;
use tonic::{Code, Request, Status};

use super::{control::Control, home::Home, origin::Witness};
use crate::{
    domain::LedgerEntry,
    modal_wire::client::{
        CommandRouterAccess, GenericResult, SandboxGetCommandRouterAccessRequest, SandboxGetExitSnapshotRequest,
        SandboxGetExitSnapshotResponse, SandboxGetTaskIdRequest, SandboxTerminateRequest, SandboxWaitRequest,
        TaskGetCommandRouterAccessRequest, generic_result::GenericStatus,
        sandbox_get_command_router_access_request::Target, sandbox_get_exit_snapshot_response::Outcome,
    },
};

/// How long the control plane may hold a call that waits, in seconds.
const HELD: f32 = 10.0;
/// How much longer an answer to such a call may take on its way.
const LATE: Duration = Duration::from_secs(5);
/// How long a sandbox that was told to end may take; then it is asked about no more.
const ENDING: Duration = Duration::from_mins(2);
/// How long a snapshot that a sandbox leaves may take to be there.
const LEAVING: Duration = Duration::from_mins(5);
/// How long a sandbox may wait for its machine.
const PLACING: Duration = Duration::from_mins(5);
/// Between two looks at what is not there yet.
const PAUSE: Duration = Duration::from_millis(500);

/// A sandbox at Modal.
#[derive(Clone, Debug)]
pub(super) struct Remote {
    control: Arc<Control>,
    sandbox_id: String,
    /// Asked when Modal does not know it.
    witness: Witness,
}

/// What a sandbox has left of its files at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// This image.
    Image(String),
    /// None.
    Nothing,
    /// It is said to come, and does not.
    NotYet,
}

/// How a sandbox ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Over(pub(super) String);

impl Remote {
    /// One that this account has made or seen.
    pub(super) fn new(control: Arc<Control>, sandbox_id: String) -> Self {
        Self { control, sandbox_id, witness: Witness::default() }
    }

    /// The one that a row names, which may have been made elsewhere.
    pub(super) fn of(control: &Arc<Control>, home: &Arc<Home>, entry: &LedgerEntry) -> Self {
        let (control, sandbox_id) = (Arc::clone(control), entry.facts.external_id.clone());
        Self { control, sandbox_id, witness: Witness::of_life(home, entry) }
    }

    /// The same, by another word about whether it is there.
    pub(super) fn told_by(self, witness: Witness) -> Self {
        Self { witness, ..self }
    }

    /// Modal's id.
    pub(super) fn sandbox_id(&self) -> &str {
        &self.sandbox_id
    }

    pub(super) fn control(&self) -> &Arc<Control> {
        &self.control
    }

    /// Whether it is over; `None`: it is not. Modal forgets what is over for long, so one it does not know is over, if it was
    /// made there.
    pub(super) async fn over(&self) -> Result<Option<Over>, Status> {
        match self.wait(0.0).await {
            Ok(result) => Ok(result.as_ref().and_then(over)),
            Err(status) if status.code() == Code::NotFound => {
                self.witness.believe(&self.control).await?;
                Ok(Some(Over("Modal does not know it any more".to_owned())))
            }
            Err(status) => Err(status),
        }
    }

    /// Asks it to end, and waits until it is over.
    pub(super) async fn terminate(&self) -> Result<(), Status> {
        let request = SandboxTerminateRequest { sandbox_id: self.sandbox_id.clone() };
        let asked = if self.is_v1() {
            self.control
                .change(request, |mut control, request| async move { control.sandbox_terminate(request).await })
                .await
        } else {
            self.control
                .change(request, |mut control, request| async move { control.sandbox_terminate_v2(request).await })
                .await
        };
        match asked {
            Ok(_) => {}
            Err(status) if status.code() == Code::NotFound => return self.witness.believe(&self.control).await,
            Err(status) => return Err(status),
        }
        let gone = tokio::time::timeout(ENDING, async {
            loop {
                match self.wait(HELD).await {
                    Ok(result) if result.as_ref().and_then(over).is_some() => return Ok(()),
                    // Not everybody holds calls.
                    Ok(_) => sleep(PAUSE).await,
                    Err(status) if status.code() == Code::NotFound => return Ok(()),
                    Err(status) => return Err(status),
                }
            }
        });
        gone.await.unwrap_or_else(|_| Err(Status::unavailable(format!("{} does not end", self.sandbox_id))))
    }

    /// Where its router is, and the right to speak to it. One that is over has none: `FAILED_PRECONDITION`.
    pub(super) async fn access(&self, task_id: &str) -> Result<CommandRouterAccess, Status> {
        if self.is_v1() {
            let request = TaskGetCommandRouterAccessRequest { task_id: task_id.to_owned() };
            let call = self.control.call(request, |mut control, request| async move {
                control.task_get_command_router_access(request).await
            });
            return call.await.map(|access| CommandRouterAccess { jwt: access.jwt, url: access.url });
        }
        let target = Some(Target::SandboxId(self.sandbox_id.clone()));
        let request = SandboxGetCommandRouterAccessRequest { target };
        let call = self.control.call(request, |mut control, request| async move {
            control.sandbox_get_command_router_access(request).await
        });
        call.await.map(|access| CommandRouterAccess { jwt: access.jwt, url: access.url })
    }

    /// What runs it: known once it has a machine. One that is over before has none: `NOT_FOUND`.
    pub(super) async fn task_id(&self) -> Result<String, Status> {
        let placed = tokio::time::timeout(PLACING, async {
            loop {
                let sandbox_id = self.sandbox_id.clone();
                let request = SandboxGetTaskIdRequest { sandbox_id, ..SandboxGetTaskIdRequest::default() };
                let answer = if self.is_v1() {
                    self.control
                        .call(request, |mut control, request| async move { control.sandbox_get_task_id(request).await })
                        .await?
                } else {
                    self.control
                        .call(
                            request,
                            |mut control, request| async move { control.sandbox_get_task_id_v2(request).await },
                        )
                        .await?
                };
                if let Some(Over(how)) = answer.task_result.as_ref().and_then(over) {
                    return Err(Status::not_found(format!("{} is over: {how}", self.sandbox_id)));
                }
                if let Some(task_id) = answer.task_id.filter(|task_id| !task_id.is_empty()) {
                    return Ok(task_id);
                }
                sleep(PAUSE).await;
            }
        });
        placed.await.unwrap_or_else(|_| Err(Status::unavailable(format!("{} gets no machine", self.sandbox_id))))
    }

    /// The image of what its file system was when it ended.
    pub(super) async fn exit_snapshot(&self) -> Result<Left, Status> {
        let mut awaited = false;
        let kept = tokio::time::timeout(LEAVING, async {
            loop {
                let answer = match self.ask_exit_snapshot().await {
                    Ok(answer) => answer,
                    Err(status) if status.code() == Code::NotFound => {
                        return self.witness.believe(&self.control).await.map(|()| Left::Nothing);
                    }
                    Err(status)
                        if matches!(
                            status.code(),
                            Code::FailedPrecondition | Code::Unimplemented | Code::InvalidArgument
                        ) =>
                    {
                        return Ok(Left::Nothing);
                    }
                    Err(status) => return Err(status),
                };
                match answer.outcome {
                    Some(Outcome::Success(success)) => return Ok(Left::Image(success.image_id)),
                    Some(Outcome::Error(error)) => {
                        tracing::warn!(sandbox = self.sandbox_id, why = error.message, "a sandbox left no snapshot");
                        return Ok(Left::Nothing);
                    }
                    // Not there yet; an answer that says nothing is taken for the same.
                    Some(Outcome::Pending(_)) | None => {
                        awaited = true;
                        sleep(PAUSE).await;
                    }
                }
            }
        });
        match kept.await {
            Ok(left) => left,
            Err(_) if awaited => Ok(Left::NotYet),
            Err(_) => Err(Status::unavailable("Modal does not say what a sandbox has left")),
        }
    }

    async fn ask_exit_snapshot(&self) -> Result<SandboxGetExitSnapshotResponse, Status> {
        let request = SandboxGetExitSnapshotRequest { sandbox_id: self.sandbox_id.clone(), timeout: HELD };
        if self.is_v1() {
            self.control
                .call(request, |mut control, request| async move { control.sandbox_get_exit_snapshot(request).await })
                .await
        } else {
            self.control
                .call(
                    request,
                    |mut control, request| async move { control.sandbox_get_exit_snapshot_v2(request).await },
                )
                .await
        }
    }

    async fn wait(&self, timeout: f32) -> Result<Option<GenericResult>, Status> {
        let request = SandboxWaitRequest { sandbox_id: self.sandbox_id.clone(), timeout };
        let deadline = (timeout > 0.0).then(|| Duration::from_secs_f32(timeout) + LATE);
        let within = |mut request: Request<SandboxWaitRequest>| {
            if let Some(deadline) = deadline {
                request.set_timeout(deadline);
            }
            request
        };
        let answer = if self.is_v1() {
            let wait = self.control.call(request, |mut control, request| {
                let request = within(request);
                async move { control.sandbox_wait(request).await }
            });
            wait.await?
        } else {
            let wait = self.control.call(request, |mut control, request| {
                let request = within(request);
                async move { control.sandbox_wait_v2(request).await }
            });
            wait.await?
        };
        Ok(answer.result)
    }

    fn is_v1(&self) -> bool {
        is_v1(&self.sandbox_id)
    }
}

/// Whether a sandbox was made by the first version of the call: what its id looks like tells it.
fn is_v1(sandbox_id: &str) -> bool {
    let tail = sandbox_id.strip_prefix("sb-").unwrap_or_default();
    tail.len() == 22 && tail.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// What a result says of the end; `None`: there is none yet.
fn over(result: &GenericResult) -> Option<Over> {
    let how = match result.status() {
        GenericStatus::Unspecified => return None,
        GenericStatus::Success => "its own program ended",
        GenericStatus::Failure => "its own program failed",
        GenericStatus::Terminated => "it was terminated",
        GenericStatus::Timeout => "it lived as long as it may",
        GenericStatus::InitFailure => "it could not be started",
        GenericStatus::InternalFailure => "Modal failed",
        GenericStatus::IdleTimeout => "it was idle for too long",
        GenericStatus::MemoryManagerEviction | GenericStatus::MemoryThrashingEviction => "it used too much memory",
        GenericStatus::KernelOomKill => "it ran out of memory",
    };
    let said = if result.exception.is_empty() { String::new() } else { format!(": {}", result.exception) };
    Some(Over(format!("{how}{said}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_tell_the_version() {
        assert!(is_v1("sb-nGEijt9WbBMlGrsPH9FOaC"));
        for id in [
            "sb-01HZX3Q9P3V1R2S4T5W6Y7Z8AB",
            "sb-v2-123",
            "sb-",
            "",
            "nGEijt9WbBMlGrsPH9FOaC",
            "sb-nGEijt9WbBMlGrsPH9FO-C",
        ] {
            assert!(!is_v1(id), "{id}");
        }
    }

    #[test]
    fn every_status_but_one_is_an_end() {
        for number in 0..=10 {
            let result = GenericResult { status: number, ..GenericResult::default() };
            assert_eq!(over(&result).is_none(), number == 0, "{number}");
        }
        let status = GenericStatus::Failure.into();
        let result = GenericResult { status, exception: "why".to_owned(), ..GenericResult::default() };
        assert_eq!(over(&result), Some(Over("its own program failed: why".to_owned())));
    }
}
