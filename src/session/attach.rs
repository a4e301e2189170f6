//! What an earlier owner of a session left: its program is looked for in its sandbox, the parser goes on where it stood, and
//! the input that the program was not given yet is found. What cannot be gone on with is told with its cause: nothing is
//! guessed, and nothing is waited for without end.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use super::{
    images, launch,
    redact::{self, Values},
    running::{Offsets, Running},
    shared::Shared,
    turn::{self, Prompt},
};
use crate::{
    agent::{Checkpoint, Parser, Stderr},
    domain::{
        Agent, Block, BlockId, Content, ConversationId, Failure, Moving, NoticeKind, ProfileId, SessionKey, Turn,
        TurnId,
    },
    sandbox::{self, Epoch, Output, Provider, Sandbox},
    store::{self, BlockQuery, ExecMark, StdinRow},
};

/// How long a provider or a store that says it cannot answer is asked again.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a provider that says nothing is waited for; it may have to start what answers.
const ANSWERS: Duration = Duration::from_secs(30);
/// Both, of a provider elsewhere: the way there may be open only long after the server is. What runs there runs on
/// meanwhile, and what it prints is kept.
const ELSEWHERE: Duration = Duration::from_mins(10);
/// Time between two questions.
const PAUSE: Duration = Duration::from_millis(200);
/// The same, about a sandbox that only another server can reach, or that is over when its time is.
const OUT_OF_REACH: Duration = Duration::from_secs(15);
/// Blocks looked through at once for the message of a turn; it is the newest but for what came at the same moment.
const PAGE: usize = 8;

/// What is stored of the program and the turn that are looked for.
pub(super) struct Left {
    pub(super) key: SessionKey,
    pub(super) epoch: Epoch,
    pub(super) agent: Agent,
    /// What its profile is, and which revision of it.
    pub(super) profile: (ProfileId, i64),
    /// That the session keeps to.
    pub(super) provider: Arc<dyn Provider>,
    pub(super) mark: Option<ExecMark>,
    pub(super) stdin: Vec<StdinRow>,
    pub(super) turn: Option<Turn>,
    /// What the owner before decided is in part not stored, though it may have done it: a program that is over as far as
    /// is stored may run all the same.
    pub(super) in_doubt: bool,
    /// Where it is told that the sandbox is out of reach, while it is.
    pub(super) barred: watch::Sender<Option<Failure>>,
}

/// What there is to go on with.
pub(super) enum Found {
    /// The program, and the input that it is to be given still.
    Program {
        /// It runs, or has printed what nobody read.
        running: Box<Running>,
        /// Stored, and not given.
        rest: Vec<StdinRow>,
        /// The message that it has not taken up.
        given: Option<Prompt>,
        /// The secrets that it was started with, as far as that can be told.
        values: Values,
    },
    /// A message that no program was given.
    Message(Prompt),
    /// Nothing.
    Nothing(Lost),
    /// It is not known yet, and the server stops.
    Unknown,
    /// Only another server can know it, and this one stops.
    OutOfReach,
}

/// Why nobody can go on.
#[derive(Debug)]
pub(super) struct Lost {
    /// A word for programs.
    pub(super) cause: &'static str,
    /// The same for people.
    pub(super) message: String,
    /// What is to be ended, where it can be reached.
    pub(super) sandbox: Option<Arc<dyn Sandbox>>,
}

impl Lost {
    pub(super) fn new(cause: &'static str, message: impl Into<String>, sandbox: Option<Arc<dyn Sandbox>>) -> Self {
        Self { cause, message: message.into(), sandbox }
    }

    /// A program that can no longer be driven, because of this.
    pub(super) fn of(error: &sandbox::Error, sandbox: Option<Arc<dyn Sandbox>>) -> Self {
        let cause = match error {
            sandbox::Error::Gone(_)
            | sandbox::Error::Unavailable(_)
            | sandbox::Error::OutOfReach(_)
            | sandbox::Error::UnknownExec(_)
            | sandbox::Error::Files(_)
            | sandbox::Error::Install { .. }
            | sandbox::Error::Start { .. } => "sandbox_lost",
            sandbox::Error::Offset { .. } => "output_lost",
            sandbox::Error::StdinConflict { .. } => "input_conflict",
            sandbox::Error::Stale { .. } => "sandbox_taken",
        };
        Self::new(cause, format!("the agent cannot be gone on with: {error}"), sandbox)
    }
}

/// Looks for what was left.
pub(super) async fn find(shared: Arc<Shared>, left: Left) -> Found {
    let waiting = left.turn.as_ref().and_then(Waiting::of);
    let prompt = match waiting {
        Some(waiting) => match message(&shared, &left, waiting).await {
            Ok(prompt) => Some(prompt),
            Err(why) => return Found::Nothing(Lost::new("message_unreadable", why, reach(&left).await)),
        },
        None => None,
    };
    let Some(mark) = left.mark.as_ref().filter(|mark| !mark.ended) else {
        if left.in_doubt
            && let Some(sandbox) = reach(&left).await
            && let Err(error) = sandbox.terminate(left.epoch).await
        {
            tracing::warn!(sandbox = %sandbox.id(), %error, "what may run in a sandbox could not be ended");
        }
        let over = || Lost::new("sandbox_lost", "no program of this turn is on record", None);
        return prompt.map_or_else(|| Found::Nothing(over()), Found::Message);
    };
    match attach_with_patience(&shared, &left, mark).await {
        Ok((running, rest, values)) => Found::Program { running: Box::new(running), rest, given: prompt, values },
        Err(Unattached::NeverStarted(lost)) => match prompt {
            // Its start follows what is stored, so nobody has read the message.
            Some(prompt) if mark.stdout_offset == 0 => Found::Message(prompt),
            Some(_) | None => Found::Nothing(lost),
        },
        Err(Unattached::Lost(lost)) => Found::Nothing(lost),
        Err(Unattached::Unknown) => Found::Unknown,
        Err(Unattached::OutOfReach) => Found::OutOfReach,
    }
}

/// Finds the sandbox, so that what runs in it can be ended.
pub(super) async fn reach(left: &Left) -> Option<Arc<dyn Sandbox>> {
    let mark = left.mark.as_ref()?;
    left.provider.attach(&mark.sandbox_id, left.epoch).await.ok()
}

/// Why a program cannot be gone on with.
enum Unattached {
    /// The sandbox is there, and has never seen it.
    NeverStarted(Lost),
    Lost(Lost),
    /// The server stops before anybody can say.
    Unknown,
    /// It stops, and could not have said.
    OutOfReach,
}

async fn attach_with_patience(
    shared: &Shared,
    left: &Left,
    mark: &ExecMark,
) -> Result<(Running, Vec<StdinRow>, Values), Unattached> {
    let here = left.provider.shares_machine();
    let (patience, answers) = if here { (PATIENCE, ANSWERS) } else { (ELSEWHERE, ELSEWHERE) };
    let mut give_up = Instant::now() + patience;
    // A server that stops waits for no network.
    let stops = async {
        shared.drain.cancelled().await;
        sleep(PATIENCE).await;
    };
    tokio::pin!(stops);
    loop {
        let mut reached = None;
        let attached = tokio::select! {
            attached = timeout(answers, attach(shared, left, mark, &mut reached)) => attached,
            () = &mut stops, if !here => return Err(Unattached::Unknown),
        };
        let Ok(attached) = attached else {
            let error = sandbox::Error::Unavailable(format!("not within {} s", answers.as_secs()));
            return Err(Unattached::Lost(Lost::of(&error, reached)));
        };
        match attached {
            Err(AttachError::Sandbox(sandbox::Error::Unavailable(why))) if Instant::now() + PAUSE < give_up => {
                tracing::info!(key = %left.key, why, "the sandbox of an earlier owner does not answer yet");
                sleep(PAUSE).await;
            }
            Err(AttachError::Sandbox(error @ sandbox::Error::OutOfReach(_))) => {
                if left.barred.borrow().is_none() {
                    tracing::warn!(key = %left.key, %error, "what may run there is left to a server that can reach it");
                    let failure = launch::failure(left.provider.name(), &mark.sandbox_id, &error);
                    left.barred.send_replace(Some(failure));
                }
                // Nothing is lost by waiting.
                give_up = Instant::now() + patience;
                if shared.drain.run_until_cancelled(sleep(OUT_OF_REACH)).await.is_none() {
                    return Err(Unattached::OutOfReach);
                }
            }
            Err(AttachError::Sandbox(error @ sandbox::Error::UnknownExec(_))) => {
                return Err(Unattached::NeverStarted(Lost::of(&error, reached)));
            }
            Err(AttachError::Sandbox(error)) => return Err(Unattached::Lost(Lost::of(&error, reached))),
            Err(AttachError::Other(cause, message)) => {
                return Err(Unattached::Lost(Lost::new(cause, message, reached)));
            }
            Ok(attached) => return Ok(attached),
        }
    }
}

/// What stands in the way of one attempt.
enum AttachError {
    Sandbox(sandbox::Error),
    Other(&'static str, String),
}

impl From<sandbox::Error> for AttachError {
    fn from(error: sandbox::Error) -> Self {
        Self::Sandbox(error)
    }
}

/// One attempt. `reached` is the sandbox as soon as it is there, whatever comes of the rest.
async fn attach(
    shared: &Shared,
    left: &Left,
    mark: &ExecMark,
    reached: &mut Option<Arc<dyn Sandbox>>,
) -> Result<(Running, Vec<StdinRow>, Values), AttachError> {
    let sandbox = left.provider.attach(&mark.sandbox_id, left.epoch).await?;
    *reached = Some(Arc::clone(&sandbox));
    let accepted = sandbox.stdin_status(&mark.exec_id).await?.accepted;
    let state = mark.parser_state.clone().unwrap_or_default();
    let checkpoint = Checkpoint { version: mark.parser_version, offset: mark.stdout_offset, state };
    let parser = Parser::restore(left.agent, &checkpoint)
        .map_err(|unknown| AttachError::Other("unknown_checkpoint", unknown.to_string()))?;
    let end = |row: &StdinRow| row.offset + row.data.len() as u64;
    let given = left.stdin.last().map_or(0, end);
    if accepted > given {
        // Bytes go out only when they are stored, so these are of a log that is not this one.
        return Err(AttachError::Other("input_conflict", "the agent was given input that is not stored".to_owned()));
    }
    // Before anything of what it prints is read.
    let values = values(shared, left, sandbox.variables(&mark.exec_id).await?).await?;
    let stdout = sandbox.read(&mark.exec_id, Output::Stdout, mark.stdout_offset).await?;
    let stderr = sandbox.read(&mark.exec_id, Output::Stderr, mark.stderr_offset).await?;
    let errors = Stderr::at(mark.stderr_offset);
    let running = Running::new(sandbox, left.epoch, mark.exec_id.clone(), parser, errors, stdout, stderr);
    let rest = left.stdin.iter().filter(|row| end(row) > accepted).cloned().collect();
    Ok((running.going_on(given, Offsets::of(mark)), rest, values))
}

/// The secrets among the variables of a program.
async fn values(shared: &Shared, left: &Left, variables: Vec<(String, String)>) -> Result<Values, AttachError> {
    let (id, revision) = &left.profile;
    let unavailable = |error: store::Error| AttachError::Sandbox(sandbox::Error::Unavailable(error.to_string()));
    let profile = shared.log.store().profile(&left.key.tenant, id, *revision).await.map_err(unavailable)?;
    let setup = profile.map(|profile| profile.setup).unwrap_or_default();
    Ok(redact::of_program(left.agent, &setup, variables))
}

/// What a turn waits for to be taken up.
#[derive(Clone, Copy)]
enum Waiting<'a> {
    /// The message of this block.
    Message(&'a BlockId),
    /// What a new process is told, to go on with this turn after it was parked or left its sandbox.
    Continuation(&'a TurnId),
}

impl<'a> Waiting<'a> {
    fn of(turn: &'a Turn) -> Option<Self> {
        match (&turn.start_time, &turn.block_id) {
            (None, Some(id)) => Some(Self::Message(id)),
            (None, None) => None,
            // Answers wait until the agent asks again.
            (Some(_), _) => {
                let waits = !turn.carried.is_empty() || turn.moving == Some(Moving::Arriving);
                waits.then_some(Self::Continuation(&turn.turn_id))
            }
        }
    }

    /// What the agent is given, if this is the block.
    fn read(self, agent: Agent, block: &Block) -> Option<Prompt> {
        match (self, &block.content) {
            (Self::Message(id), Content::UserMessage(said)) => {
                (block.block_id == *id).then(|| turn::prompt(agent, id, &said.parts))
            }
            (Self::Continuation(id), Content::System { kind: NoticeKind::Continuation, message, .. }) => {
                (block.turn_id.as_ref() == Some(id)).then(|| turn::continuation(agent, &block.block_id, message))
            }
            (Self::Message(_) | Self::Continuation(_), _) => None,
        }
    }
}

/// A message, as a program is given it.
async fn message(shared: &Shared, left: &Left, waiting: Waiting<'_>) -> Result<Prompt, String> {
    let mut query = BlockQuery {
        conversation_id: ConversationId::main(),
        newest_first: true,
        after: None,
        limit: PAGE,
        max_bytes: usize::MAX,
    };
    let give_up = Instant::now() + PATIENCE;
    loop {
        let page = match shared.log.store().blocks(&left.key, &query).await {
            Ok(page) => page.ok_or("the session is not there any more")?,
            Err(error) if error.is_of_storage() && Instant::now() < give_up => {
                sleep(PAUSE).await;
                continue;
            }
            Err(error) => return Err(format!("the message cannot be read: {error}")),
        };
        if let Some(mut block) = page.blocks.into_iter().find(|block| waiting.read(left.agent, block).is_some()) {
            if let Content::UserMessage(said) = &mut block.content {
                images::load(shared.log.store(), &left.key, &mut said.parts).await?;
            }
            return waiting.read(left.agent, &block).ok_or_else(|| "the message is another one now".to_owned());
        }
        query.after = Some(page.next.ok_or("there is no message of this turn")?);
    }
}
