//! The command router, call by call: whose token it is, which sandbox it is about, and that it still runs.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming, metadata::MetadataMap};

use super::{bearer, streams};
use crate::{
    dev::modal::{
        cell::End,
        error::Error,
        program::{Program, Sink, State},
        sandbox::{ExecPlan, Sandbox},
        world::World,
    },
    modal_wire::{
        Router,
        task_command_router::{
            SandboxStdinWriteV2Request, SandboxStdinWriteV2Response, SandboxStdioFileDescriptor,
            SandboxStdioReadV2Request, SandboxStdioReadV2Response, SandboxWaitUntilReadyTcrRequest,
            SandboxWaitUntilReadyTcrResponse, TaskExecPollRequest, TaskExecPollResponse, TaskExecStartRequest,
            TaskExecStartResponse, TaskExecStderrConfig, TaskExecStdinStatusRequest, TaskExecStdinStatusResponse,
            TaskExecStdinWriteRequest, TaskExecStdinWriteResponse, TaskExecStdinWriteStreamRequest,
            TaskExecStdinWriteStreamResponse, TaskExecStdioFileDescriptor, TaskExecStdioReadRequest,
            TaskExecStdioReadResponse, TaskExecStdoutConfig, TaskExecWaitRequest, TaskExecWaitResponse,
            TaskMountDirectoryRequest, TaskSetNetworkAccessRequest, TaskSetNetworkAccessResponse,
            TaskSnapshotDirectoryRequest, TaskSnapshotDirectoryResponse, TaskSnapshotFilesystemRequest,
            TaskSnapshotFilesystemResponse, TaskUnmountDirectoryRequest, task_exec_poll_response,
            task_exec_wait_response,
        },
    },
};

/// Bytes that arguments may have together.
const ARGUMENTS: usize = 65_536;

/// Answers for the router.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) world: Arc<World>,
}

type Answer<T> = Result<Response<T>, Status>;
type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Service {
    /// The sandbox of a task that runs, for the bearer of its token.
    fn sandbox(&self, metadata: &MetadataMap, task: &str) -> Result<Arc<Sandbox>, Error> {
        bearer(&self.world, metadata, task)?;
        let sandbox = self.world.task(task)?;
        if sandbox.result().is_some() { Err(sandbox.gone()) } else { Ok(sandbox) }
    }

    fn program(&self, metadata: &MetadataMap, task: &str, exec: &str) -> Result<Arc<Program>, Error> {
        self.sandbox(metadata, task)?.program(exec)
    }
}

#[tonic::async_trait]
impl Router for Service {
    async fn task_exec_start(&self, request: Request<TaskExecStartRequest>) -> Answer<TaskExecStartResponse> {
        let sandbox = self.sandbox(request.metadata(), &request.get_ref().task_id)?;
        let request = request.into_inner();
        let plan = plan(&self.world, &request)?;
        sandbox.exec(&request.exec_id, prost::Message::encode_to_vec(&request), plan).await?;
        Ok(Response::new(TaskExecStartResponse {}))
    }

    type TaskExecStdioReadStream = Messages<TaskExecStdioReadResponse>;

    async fn task_exec_stdio_read(
        &self,
        request: Request<TaskExecStdioReadRequest>,
    ) -> Answer<Self::TaskExecStdioReadStream> {
        let asked = request.get_ref();
        let sandbox = self.sandbox(request.metadata(), &asked.task_id)?;
        let program = sandbox.program(&asked.exec_id)?;
        let spool = match asked.file_descriptor() {
            TaskExecStdioFileDescriptor::Stdout => &program.stdout,
            TaskExecStdioFileDescriptor::Stderr => &program.stderr,
        };
        let pieces = Arc::clone(spool).read(asked.offset, self.world.options.chunk);
        let messages = pieces.map(move |piece| match piece {
            Ok(data) => Ok(TaskExecStdioReadResponse { data }),
            Err(_) => Err(sandbox.gone().into()),
        });
        Ok(Response::new(Box::pin(messages)))
    }

    async fn task_exec_stdin_write(
        &self,
        request: Request<TaskExecStdinWriteRequest>,
    ) -> Answer<TaskExecStdinWriteResponse> {
        let asked = request.get_ref();
        let program = self.program(request.metadata(), &asked.task_id, &asked.exec_id)?;
        streams::write(&program, asked.offset, &asked.data, asked.eof).await?;
        Ok(Response::new(TaskExecStdinWriteResponse {}))
    }

    async fn task_exec_stdin_write_stream(
        &self,
        request: Request<Streaming<TaskExecStdinWriteStreamRequest>>,
    ) -> Answer<TaskExecStdinWriteStreamResponse> {
        let (metadata, _, mut messages) = request.into_parts();
        let start = streams::start(&mut messages).await?;
        let program = self.program(&metadata, &start.task_id, &start.exec_id)?;
        streams::write_all(&program, start.offset, messages).await?;
        Ok(Response::new(TaskExecStdinWriteStreamResponse {}))
    }

    async fn task_exec_stdin_status(
        &self,
        request: Request<TaskExecStdinStatusRequest>,
    ) -> Answer<TaskExecStdinStatusResponse> {
        let asked = request.get_ref();
        let program = self.program(request.metadata(), &asked.task_id, &asked.exec_id)?;
        let status = program.input.status().await;
        Ok(Response::new(TaskExecStdinStatusResponse { num_bytes_written: status.written, closed: status.closed }))
    }

    async fn task_exec_poll(&self, request: Request<TaskExecPollRequest>) -> Answer<TaskExecPollResponse> {
        use task_exec_poll_response::ExitStatus;

        let asked = request.get_ref();
        let sandbox = self.sandbox(request.metadata(), &asked.task_id)?;
        let exit_status = match sandbox.program(&asked.exec_id)?.state() {
            State::Running => None,
            State::Ended(End::Code(code)) => Some(ExitStatus::Code(code)),
            State::Ended(End::Signal(signal)) => Some(ExitStatus::Signal(signal)),
            State::Gone => return Err(sandbox.gone().into()),
        };
        Ok(Response::new(TaskExecPollResponse { exit_status }))
    }

    async fn task_exec_wait(&self, request: Request<TaskExecWaitRequest>) -> Answer<TaskExecWaitResponse> {
        use task_exec_wait_response::ExitStatus;

        let asked = request.get_ref();
        let sandbox = self.sandbox(request.metadata(), &asked.task_id)?;
        let program = sandbox.program(&asked.exec_id)?;
        let holds = self.world.options.holds;
        let exit_status = match if holds { program.ended().await } else { program.state() } {
            State::Ended(End::Code(code)) => Some(ExitStatus::Code(code)),
            State::Ended(End::Signal(signal)) => Some(ExitStatus::Signal(signal)),
            State::Running if !holds => None,
            State::Running | State::Gone => return Err(sandbox.gone().into()),
        };
        Ok(Response::new(TaskExecWaitResponse { exit_status }))
    }

    async fn task_snapshot_filesystem(
        &self,
        request: Request<TaskSnapshotFilesystemRequest>,
    ) -> Answer<TaskSnapshotFilesystemResponse> {
        let sandbox = self.sandbox(request.metadata(), &request.get_ref().task_id)?;
        let TaskSnapshotFilesystemRequest { task_id: _, snapshot_id, ttl_seconds, container_id } = request.into_inner();
        main_container(&container_id)?;
        let ttl = match ttl_seconds {
            Some(-1) => None,
            Some(seconds) if seconds > 0 => Some(Duration::from_secs(seconds.unsigned_abs())),
            Some(_) | None => return Err(Error::Invalid("ttl_seconds must be set: -1 or above 0".to_owned()).into()),
        };
        if snapshot_id.is_empty() {
            return Err(Error::Invalid("snapshot_id is missing".to_owned()).into());
        }
        let image_id = sandbox.snapshot(&snapshot_id, ttl, &self.world.images).await?;
        Ok(Response::new(TaskSnapshotFilesystemResponse { image_id }))
    }

    async fn task_snapshot_directory(
        &self,
        _request: Request<TaskSnapshotDirectoryRequest>,
    ) -> Answer<TaskSnapshotDirectoryResponse> {
        Err(Error::NotEmulated("snapshots of directories").into())
    }

    async fn task_mount_directory(&self, _request: Request<TaskMountDirectoryRequest>) -> Answer<()> {
        Err(Error::NotEmulated("mounts of directories").into())
    }

    async fn task_unmount_directory(&self, _request: Request<TaskUnmountDirectoryRequest>) -> Answer<()> {
        Err(Error::NotEmulated("mounts of directories").into())
    }

    async fn task_set_network_access(
        &self,
        _request: Request<TaskSetNetworkAccessRequest>,
    ) -> Answer<TaskSetNetworkAccessResponse> {
        Err(Error::NotEmulated("changes of a running sandbox's network").into())
    }

    async fn sandbox_stdin_write_v2(
        &self,
        request: Request<SandboxStdinWriteV2Request>,
    ) -> Answer<SandboxStdinWriteV2Response> {
        let asked = request.get_ref();
        let sandbox = self.sandbox(request.metadata(), &asked.task_id)?;
        sandbox.touch();
        streams::write(&*sandbox.entry()?, asked.offset, &asked.data, asked.eof).await?;
        Ok(Response::new(SandboxStdinWriteV2Response {}))
    }

    type SandboxStdioReadV2Stream = Messages<SandboxStdioReadV2Response>;

    async fn sandbox_stdio_read_v2(
        &self,
        request: Request<SandboxStdioReadV2Request>,
    ) -> Answer<Self::SandboxStdioReadV2Stream> {
        let asked = request.get_ref();
        let sandbox = self.sandbox(request.metadata(), &asked.task_id)?;
        let entry = sandbox.entry()?;
        let spool = match asked.file_descriptor() {
            SandboxStdioFileDescriptor::Stdout => &entry.stdout,
            SandboxStdioFileDescriptor::Stderr => &entry.stderr,
        };
        let mut starting_offset = asked.offset;
        let messages = Arc::clone(spool).read(asked.offset, self.world.options.chunk).map(move |piece| match piece {
            Ok(data) => {
                let size = data.len() as u64;
                let message = SandboxStdioReadV2Response { data, starting_offset };
                starting_offset += size;
                Ok(message)
            }
            Err(_) => Err(sandbox.gone().into()),
        });
        Ok(Response::new(Box::pin(messages)))
    }

    async fn sandbox_wait_until_ready(
        &self,
        request: Request<SandboxWaitUntilReadyTcrRequest>,
    ) -> Answer<SandboxWaitUntilReadyTcrResponse> {
        let sandbox = self.sandbox(request.metadata(), &request.get_ref().task_id)?;
        Ok(Response::new(SandboxWaitUntilReadyTcrResponse { ready_at: sandbox.facts.created }))
    }
}

/// What a start asks for. Later variables win: those of kept secrets, then of the map, then of the sources.
fn plan(world: &World, request: &TaskExecStartRequest) -> Result<ExecPlan, Error> {
    let TaskExecStartRequest {
        task_id: _,
        exec_id,
        command_args,
        timeout_secs,
        workdir,
        secret_ids,
        pty_info,
        runtime_debug: _,
        container_id,
        env: map,
        secret_sources,
        stdout_config: _,
        stderr_config: _,
    } = request;
    main_container(container_id)?;
    if pty_info.as_ref().is_some_and(|pty| pty.enabled) {
        return Err(Error::NotEmulated("terminals (pty_info)"));
    }
    // It names a folder here.
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if exec_id.is_empty() || exec_id.len() > 128 || !exec_id.bytes().all(fits) || exec_id == "entrypoint" {
        return Err(Error::Invalid("exec_id must be a UUID".to_owned()));
    }
    if command_args.is_empty() {
        return Err(Error::Invalid("command_args is empty".to_owned()));
    }
    if command_args.iter().map(String::len).sum::<usize>() >= ARGUMENTS {
        return Err(Error::Invalid(format!("command_args must have less than {ARGUMENTS} bytes")));
    }
    if workdir.as_ref().is_some_and(|dir| !dir.starts_with('/')) {
        return Err(Error::Invalid("workdir must be an absolute path".to_owned()));
    }
    let mut env = world.kept(secret_ids)?;
    env.extend(map.iter().map(|(name, value)| (name.clone(), value.clone())));
    env.extend(world.sources(secret_sources)?);
    let stdout = match request.stdout_config() {
        TaskExecStdoutConfig::Devnull => Sink::Null,
        TaskExecStdoutConfig::Pipe => Sink::Pipe,
    };
    let stderr = match request.stderr_config() {
        TaskExecStderrConfig::Devnull => Sink::Null,
        TaskExecStderrConfig::Pipe => Sink::Pipe,
        TaskExecStderrConfig::Stdout => Sink::Stdout,
    };
    let timeout = timeout_secs.filter(|seconds| *seconds > 0).map(|seconds| Duration::from_secs(u64::from(seconds)));
    Ok(ExecPlan { argv: command_args.clone(), env, workdir: workdir.clone(), stdout, stderr, timeout })
}

fn main_container(id: &str) -> Result<(), Error> {
    if id.is_empty() { Ok(()) } else { Err(Error::NotEmulated("containers beside the main one (container_id)")) }
}
