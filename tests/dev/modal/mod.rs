//! The emulator of Modal, called as its clients call it.

use std::{collections::BTreeMap, time::Duration};

use agent_runtime::modal_wire::{
    ControlClient, RouterClient,
    client::{
        AppGetOrCreateRequest, AuthTokenGetRequest, BaseImage, CommandRouterAccess, Image, ImageGetOrCreateRequest,
        ImageJoinStreamingRequest, ObjectCreationType, Sandbox, SandboxCreateV2Request, SandboxTag, SecretSource,
        StringMap, secret_source::Source,
    },
    task_command_router::{
        TaskExecStartRequest, TaskExecStderrConfig, TaskExecStdinWriteRequest, TaskExecStdioReadRequest,
        TaskExecStdoutConfig, TaskExecWaitRequest, task_exec_wait_response::ExitStatus,
    },
};
use tokio::time::timeout;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};
use uuid::Uuid;

use crate::emulator::Emulator;

mod input;
mod keeping;
mod lives;
mod running;
mod trust;

/// How long anything in a test may take before it counts as a hang.
const PATIENCE: Duration = Duration::from_mins(1);

/// Adds what calls must bring.
#[derive(Clone)]
struct Sends(Vec<(&'static str, MetadataValue<Ascii>)>);

impl Interceptor for Sends {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        for (name, value) in &self.0 {
            request.metadata_mut().insert(*name, value.clone());
        }
        Ok(request)
    }
}

type Control = ControlClient<InterceptedService<Channel, Sends>>;
type Router = RouterClient<InterceptedService<Channel, Sends>>;

/// A client of an emulator, and the emulator.
struct Rig {
    emulator: Emulator,
    channel: Channel,
    control: Control,
    app: String,
}

/// A sandbox, and its router.
#[derive(Clone)]
struct Guest {
    id: String,
    task: String,
    router: Router,
}

fn sends(pairs: &[(&'static str, &str)]) -> Sends {
    Sends(pairs.iter().map(|(name, value)| (*name, value.parse().expect("ASCII"))).collect())
}

impl Rig {
    /// `None`: there are no emulated sandboxes on this machine, which is told.
    async fn new(args: &[&str]) -> Option<Self> {
        let emulator = Emulator::try_start(args)?;
        let (channel, mut control) = Self::connect(&emulator).await;
        let app = AppGetOrCreateRequest {
            app_name: "test".into(),
            object_creation_type: ObjectCreationType::CreateIfMissing.into(),
            ..Default::default()
        };
        let app = control.app_get_or_create(app).await.expect("an app").into_inner().app_id;
        Some(Self { emulator, channel, control, app })
    }

    /// A caller with tokens of its own.
    async fn connect(emulator: &Emulator) -> (Channel, Control) {
        let endpoint = Endpoint::from_shared(emulator.env[0].1.clone()).expect("a URL");
        let channel = endpoint.connect().await.expect("a channel");
        let base = [
            ("x-modal-client-type", "9"),
            ("x-modal-client-version", "1.0.0"),
            ("x-modal-libmodal-version", "agent-runtime/test"),
            ("x-modal-token-id", emulator.env[1].1.as_str()),
            ("x-modal-token-secret", emulator.env[2].1.as_str()),
        ];
        let mut first = ControlClient::with_interceptor(channel.clone(), sends(&base));
        let token = first.auth_token_get(AuthTokenGetRequest {}).await.expect("a token").into_inner().token;
        let all = [&base[..], &[("x-modal-auth-token", token.as_str())]].concat();
        let control = ControlClient::with_interceptor(channel.clone(), sends(&all));
        (channel, control)
    }

    /// The image of these commands over a base, once it is built, with what its build said.
    async fn layer(&mut self, base: Option<&str>, commands: &[&str]) -> (String, String) {
        let base_images =
            base.iter().map(|id| BaseImage { image_id: (*id).into(), docker_tag: "base".into() }).collect();
        let dockerfile_commands = commands.iter().map(|command| (*command).to_owned()).collect();
        let image = Image { base_images, dockerfile_commands, ..Default::default() };
        let request = ImageGetOrCreateRequest { image: Some(image), app_id: self.app.clone(), ..Default::default() };
        let image_id = self.control.image_get_or_create(request).await.expect("an image").into_inner().image_id;
        let join = ImageJoinStreamingRequest {
            image_id: image_id.clone(),
            timeout: 55.0,
            include_logs_for_finished: true,
            ..Default::default()
        };
        let mut stream = self.control.image_join_streaming(join).await.expect("a log").into_inner();
        let (mut log, mut result) = (String::new(), None);
        while let Some(message) = stream.message().await.expect("the log goes on") {
            log.extend(message.task_logs.into_iter().map(|line| line.data));
            result = message.result.or(result);
        }
        let result = result.expect("a result");
        assert_eq!(result.status().as_str_name(), "GENERIC_STATUS_SUCCESS", "{}: {log}", result.exception);
        (image_id, log)
    }

    async fn image(&mut self) -> String {
        self.layer(None, &["FROM debian:12"]).await.0
    }

    /// A sandbox by this definition, to which an image is added where it names none.
    async fn sandbox(&mut self, mut definition: Sandbox, tags: &[(&str, &str)]) -> Result<Guest, Status> {
        if definition.image_id.is_empty() {
            definition.image_id = self.image().await;
        }
        let tag = |(name, value): &(&str, &str)| SandboxTag { tag_name: (*name).into(), tag_value: (*value).into() };
        let request = SandboxCreateV2Request {
            app_id: self.app.clone(),
            definition: Some(definition),
            tags: tags.iter().map(tag).collect(),
            ..Default::default()
        };
        let made = self.control.sandbox_create_v2(request).await?.into_inner();
        let CommandRouterAccess { jwt, url } = made.command_router_access.expect("access");
        // Callers of this type are given another scheme, and speak in the clear to this machine all the same.
        let named = self.emulator.env[0].1.replacen("http://", "https://", 1);
        assert_eq!(url, named, "the router is on the same port");
        Ok(Guest { id: made.sandbox_id, task: made.task_id, router: self.router(&jwt) })
    }

    async fn plain(&mut self) -> Guest {
        self.sandbox(Sandbox::default(), &[]).await.expect("a sandbox")
    }

    fn router(&self, jwt: &str) -> Router {
        RouterClient::with_interceptor(self.channel.clone(), sends(&[("authorization", &format!("Bearer {jwt}"))]))
    }
}

impl Guest {
    fn request(&self, argv: &[&str]) -> TaskExecStartRequest {
        TaskExecStartRequest {
            task_id: self.task.clone(),
            exec_id: Uuid::new_v4().to_string(),
            command_args: argv.iter().map(|argument| (*argument).to_owned()).collect(),
            stdout_config: TaskExecStdoutConfig::Pipe.into(),
            stderr_config: TaskExecStderrConfig::Pipe.into(),
            ..Default::default()
        }
    }

    /// Starts a program with its input open, and returns its id.
    async fn start(&mut self, argv: &[&str]) -> String {
        let request = self.request(argv);
        let exec = request.exec_id.clone();
        self.router.task_exec_start(request).await.expect("started");
        exec
    }

    async fn write(&mut self, exec: &str, offset: u64, data: &[u8], eof: bool) -> Result<(), Status> {
        let (task_id, exec_id, data) = (self.task.clone(), exec.to_owned(), data.to_vec().into());
        let request = TaskExecStdinWriteRequest { task_id, exec_id, offset, data, eof };
        self.router.task_exec_stdin_write(request).await.map(drop)
    }

    /// What it wrote to its standard output from an offset on, to its end.
    async fn read(&mut self, exec: &str, offset: u64) -> Result<Vec<u8>, Status> {
        let (task_id, exec_id) = (self.task.clone(), exec.to_owned());
        let request = TaskExecStdioReadRequest { task_id, exec_id, offset, ..Default::default() };
        let mut stream = self.router.task_exec_stdio_read(request).await?.into_inner();
        let mut all = Vec::new();
        while let Some(message) = timeout(PATIENCE, stream.message()).await.expect("the output ends")? {
            all.extend_from_slice(&message.data);
        }
        Ok(all)
    }

    async fn wait(&mut self, exec: &str) -> Result<ExitStatus, Status> {
        let request = TaskExecWaitRequest { task_id: self.task.clone(), exec_id: exec.to_owned() };
        let ended = timeout(PATIENCE, self.router.task_exec_wait(request)).await.expect("the program ends");
        Ok(ended?.into_inner().exit_status.expect("an end"))
    }

    /// Runs a script of the shell with this input, and returns how it ended and what it said.
    async fn run(&mut self, script: &str, input: &str) -> (ExitStatus, String) {
        self.run_argv(&["sh", "-c", script], input).await
    }

    async fn run_argv(&mut self, argv: &[&str], input: &str) -> (ExitStatus, String) {
        let exec = self.start(argv).await;
        // One that does not read its input may be gone already.
        let _ = self.write(&exec, 0, input.as_bytes(), true).await;
        let out = self.read(&exec, 0).await.expect("output");
        (self.wait(&exec).await.expect("an end"), String::from_utf8(out).expect("text"))
    }
}

/// Variables as they are said with a request.
fn source(pairs: &[(&str, &str)]) -> SecretSource {
    let contents: BTreeMap<_, _> = pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    SecretSource { source: Some(Source::Env(StringMap { contents })) }
}
