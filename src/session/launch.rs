//! Starting an agent: its program is found, its sandbox made, its plan laid; then, once the log has it, it is started.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::time::timeout;
use uuid::Uuid;

use super::{
    Config, Programs,
    look::{Eyes, Look, Seen},
    provide::{self, Filled, NotProvided, Provided},
    redact::{self, Values},
    running::Running,
    setup::{self, Ready},
    shared::Shared,
};
use crate::{
    agent::{self, Checkpoint, HomeFile, Parser, Setup, Stderr},
    domain::{
        ExecId, Failure, FileChangeOrigin, PermissionRule, Reason, Sandbox, SandboxId, SandboxStatus, Session,
        SessionKey,
    },
    sandbox::{self, Epoch, ExecSpec, Output, Progress},
    store::ExecMark,
};

/// How long the start of a program may take.
const STARTS: Duration = Duration::from_mins(1);

/// A sandbox that is ready, and what it takes to start an agent in it, put together before anything is promised.
pub(super) struct Prepared {
    pub(super) sandbox: Arc<dyn sandbox::Sandbox>,
    /// As [`Provided`] has it.
    pub(super) replaces: Option<i64>,
    /// What was put into it just now, and what is there since.
    pub(super) filled: Option<(Filled, Seen)>,
    /// `None`: none was asked for.
    pub(super) program: Option<Program>,
}

/// An agent's program that is about to be started.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) parser: Parser,
    /// The secrets that it is given, as they are now.
    pub(super) values: Arc<Values>,
    greeting: Vec<u8>,
    spec: ExecSpec,
}

/// The agent that is to be started.
#[derive(Debug)]
pub(super) struct Wanted {
    /// What it has to ask about.
    pub(super) strict: Vec<PermissionRule>,
    /// What the session's last agent process left behind.
    pub(super) memory: Option<String>,
}

/// Makes the sandbox ready and, for an agent, lays the plan.
pub(super) async fn prepare(
    shared: Arc<Shared>,
    key: SessionKey,
    epoch: Epoch,
    session: Session,
    wanted: Option<Wanted>,
    progress: Progress,
) -> Result<Prepared, NotProvided> {
    let shares_machine = shared.config.providers.of(&session).shares_machine();
    let located = match (wanted, shares_machine) {
        (None, _) => None,
        (Some(wanted), true) => Some((shared.config.programs.locate(session.agent)?, wanted)),
        (Some(wanted), false) => Some((Programs::in_image(session.agent), wanted)),
    };
    let Provided { sandbox, replaces, filled } = provide::provide(&shared, &key, epoch, &session, &progress).await?;
    let located = located.map(|(program, Wanted { strict, memory })| {
        let memory = match &filled {
            // The agent remembers what its files know.
            Some(Filled::Restored(checkpoint)) => checkpoint.parser.as_ref().map(|parser| parser.state.clone()),
            Some(Filled::Seeded) => None,
            None => memory,
        };
        (program, Wanted { strict, memory })
    });
    let filled = match filled {
        Some(filled) => {
            let look = match filled {
                Filled::Seeded => Look { origin: FileChangeOrigin::Client, checkpoint: true },
                Filled::Restored(_) => Look { origin: FileChangeOrigin::Restore, checkpoint: false },
            };
            let seen = Eyes::new(&shared, &key, session.agent, &sandbox).look(None, look).await?;
            Some((filled, seen))
        }
        None => None,
    };
    let program = match located {
        Some((program, wanted)) => {
            let shown = if shares_machine { readable(&program) } else { Vec::new() };
            let ready = setup::ready(&shared, &key, epoch, &session, &sandbox, shown, &progress).await?;
            let home = sandbox.paths().home.clone();
            let values = shared.known.with(redact::of_profile(&ready.profile, |_| None));
            let (program, files) = plan(&shared.config, values, &session, program, wanted, home, ready)?;
            setup::put(&sandbox, files).await?;
            Some(program)
        }
        None => None,
    };
    Ok(Prepared { sandbox, replaces, filled, program })
}

/// The program as it will be started, and the files that must be in the home by then.
fn plan(
    config: &Config,
    values: Arc<Values>,
    session: &Session,
    program: PathBuf,
    Wanted { strict, memory }: Wanted,
    home: String,
    ready: Ready,
) -> Result<(Program, Vec<HomeFile>), Failure> {
    let Ready { profile, bundles, env, readable, modules } = ready;
    let setup = Setup {
        program: program.display().to_string(),
        model: session.options.model.clone(),
        permission_mode: session.options.permission_mode.clone(),
        fresh_session: Uuid::new_v4().to_string(),
        memory,
        profile,
        strict,
        home,
        bundles,
    };
    let plan = agent::plan(session.agent, &setup)
        .map_err(|unknown| Failure::new(Reason::AgentFailed, unknown.to_string()).with("agent", session.agent))?;
    let passed = plan
        .pass_env
        .iter()
        .filter_map(|name| config.environment.get(*name).map(|value| ((*name).to_owned(), value.clone())));
    let spec = ExecSpec {
        exec_id: ExecId::mint(),
        argv: plan.argv,
        env: last_wins(plan.env.into_iter().chain(passed).chain(env)),
        readable,
        modules,
    };
    Ok((Program { parser: plan.parser, values, greeting: plan.greeting, spec }, plan.files))
}

/// Each variable once, as it was said last.
fn last_wins(env: impl IntoIterator<Item = (String, String)>) -> Vec<(String, String)> {
    env.into_iter().collect::<BTreeMap<_, _>>().into_iter().collect()
}

/// Where the program lies, by its own name and by the one behind links.
fn readable(program: &Path) -> Vec<PathBuf> {
    let real = program.canonicalize().unwrap_or_else(|_| program.to_owned());
    let mut folders: Vec<_> = [program, &real].iter().filter_map(|path| path.parent()).map(Path::to_owned).collect();
    folders.dedup();
    folders
}

impl Program {
    /// Where reading of the program that is about to start stands.
    pub(super) fn mark(&self, sandbox: &SandboxId, generation: i32) -> ExecMark {
        let Checkpoint { version, offset: _, state } = self.parser.checkpoint();
        ExecMark {
            exec_id: self.spec.exec_id.clone(),
            sandbox_id: sandbox.clone(),
            generation,
            stdout_offset: 0,
            stderr_offset: 0,
            parser_version: version,
            parser_state: Some(state),
            held: Vec::new(),
            ended: false,
        }
    }

    /// What the program is given before its first message.
    pub(super) fn greeting(&self) -> &[u8] {
        &self.greeting
    }

    /// Starts the program.
    pub(super) async fn start(self, sandbox: Arc<dyn sandbox::Sandbox>, epoch: Epoch) -> Result<Running, Failure> {
        let Self { parser, values: _, greeting: _, spec } = self;
        let started = async {
            sandbox.start(epoch, &spec).await?;
            let stdout = sandbox.read(&spec.exec_id, Output::Stdout, 0).await?;
            let stderr = sandbox.read(&spec.exec_id, Output::Stderr, 0).await?;
            Ok::<_, sandbox::Error>((stdout, stderr))
        };
        let started = timeout(STARTS, started).await.unwrap_or_else(|_| {
            Err(sandbox::Error::Unavailable(format!("the program was not started within {} s", STARTS.as_secs())))
        });
        match started {
            Ok((stdout, stderr)) => {
                Ok(Running::new(Arc::clone(&sandbox), epoch, spec.exec_id, parser, Stderr::default(), stdout, stderr))
            }
            Err(error) => Err(failure(sandbox.provider(), sandbox.id(), &error)),
        }
    }
}

/// The sandbox that a session's next agent process gets: the one it had, with its files, or its first.
pub(super) fn announce(config: &Config, session: &Session) -> Sandbox {
    let had = session.sandbox.as_ref();
    let provider = config.providers.of(session);
    Sandbox {
        sandbox_id: Some(had.and_then(|sandbox| sandbox.sandbox_id.clone()).unwrap_or_else(SandboxId::mint)),
        provider: provider.name().to_owned(),
        status: SandboxStatus::Starting,
        status_message: "starting".to_owned(),
        generation: had.map_or(1, |sandbox| sandbox.generation),
        isolation: provider.isolation(),
        restored_to_sequence: 0,
        not_applied: provider.not_applied(&session.sandbox_spec),
        expire_time: None,
        last_health_check_time: None,
    }
}

/// What went wrong with a sandbox of this provider.
pub(super) fn failure(provider: &str, id: &SandboxId, error: &sandbox::Error) -> Failure {
    let reason = match error {
        sandbox::Error::OutOfReach(_) => Reason::SandboxOutOfReach,
        sandbox::Error::Stale { .. }
        | sandbox::Error::UnknownExec(_)
        | sandbox::Error::Offset { .. }
        | sandbox::Error::StdinConflict { .. }
        | sandbox::Error::Start { .. }
        | sandbox::Error::Gone(_)
        | sandbox::Error::Files(_)
        | sandbox::Error::Install { .. }
        | sandbox::Error::Unavailable(_) => Reason::SandboxFailed,
    };
    Failure::new(reason, error.to_string())
        .with("provider", provider)
        .with("sandbox_id", id)
        .with("cause", cause(error))
}

fn cause(error: &sandbox::Error) -> &'static str {
    match error {
        sandbox::Error::OutOfReach(_) => "out_of_reach",
        sandbox::Error::Stale { .. } => "stale_epoch",
        sandbox::Error::UnknownExec(_) => "unknown_exec",
        sandbox::Error::Offset { .. } => "offset",
        sandbox::Error::StdinConflict { .. } => "stdin_conflict",
        sandbox::Error::Start { .. } => "start",
        sandbox::Error::Gone(_) => "gone",
        sandbox::Error::Files(_) => "files",
        sandbox::Error::Install { .. } => "tool_server",
        sandbox::Error::Unavailable(_) => "unavailable",
    }
}
