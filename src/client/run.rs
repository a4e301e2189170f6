//! A turn as its caller looks at it: blocks as they change, or only the answer.

use std::mem;

use futures::{StreamExt as _, TryStreamExt as _, stream, stream::BoxStream};

use super::{Client, Error, Events, State, events::whose, words_of};
use crate::proto::{
    Block, CreateSessionRequest, ReadBlockContentRequest, RunTurnRequest, Session, Turn, TurnStatus, block::Content,
    session_event::Kind,
};

/// Blocks of a turn, each again whenever it changed.
pub type Blocks = BoxStream<'static, Result<Block, Error>>;

/// The conversation that the user takes part in.
const MAIN: &str = "main";

impl Client {
    /// A new session of that agent, with nothing else said of it; [`Client::create_session`] takes all there is to say.
    ///
    /// # Errors
    /// What the server refuses, or the connection's failure.
    pub async fn create(&self, agent: &str) -> Result<Session, Error> {
        let request = CreateSessionRequest { agent: agent.to_owned(), ..CreateSessionRequest::default() };
        self.create_session(request).await?.session.ok_or_else(|| Error::odd("no session"))
    }

    /// Gives the agent a message and streams each block of its turn whenever it changed. Survives what
    /// [`Client::run_turn`] survives; ends with an error if the turn does not complete.
    ///
    /// ```no_run
    /// # async fn example(client: agent_runtime::client::Client) -> Result<(), agent_runtime::client::Error> {
    /// use agent_runtime::client::{kind_of, words_of};
    /// use futures::TryStreamExt as _;
    ///
    /// let mut blocks = client.run("ses_1", "Which files are there?");
    /// while let Some(block) = blocks.try_next().await? {
    ///     println!("{}: {}", kind_of(&block), words_of(&block));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn run(&self, session_id: &str, text: &str) -> Blocks {
        let (session_id, text) = (session_id.to_owned(), text.to_owned());
        blocks(self.run_turn(RunTurnRequest { session_id, text, ..RunTurnRequest::default() }))
    }

    /// Gives the agent a message and returns what it writes to the user, with a blank line between two blocks.
    ///
    /// # Errors
    /// What the server refuses, and a turn that does not complete.
    pub async fn ask(&self, session_id: &str, text: &str) -> Result<String, Error> {
        let request = RunTurnRequest {
            session_id: session_id.to_owned(),
            text: text.to_owned(),
            omit_deltas: true,
            ..RunTurnRequest::default()
        };
        let mut blocks = blocks(self.run_turn(request));
        let mut answers: Vec<Block> = Vec::new();
        while let Some(block) = blocks.try_next().await? {
            if block.conversation_id == MAIN && matches!(block.content, Some(Content::AssistantText(_))) {
                match answers.iter_mut().find(|held| held.block_id == block.block_id) {
                    Some(held) => *held = block,
                    None => answers.push(block),
                }
            }
        }
        let mut texts = Vec::with_capacity(answers.len());
        for block in &answers {
            texts.push(self.text(session_id, block).await?);
        }
        Ok(texts.join("\n\n"))
    }

    /// The whole text of a block, also what was too long to be inline; of a tool call, what the tool is given.
    ///
    /// # Errors
    /// What the server refuses, the connection's failure, and a text that is no UTF-8.
    pub async fn text(&self, session_id: &str, block: &Block) -> Result<String, Error> {
        if block.truncated_bytes == 0 {
            if let Some(Content::ToolUse(call)) = &block.content {
                return Ok(call.input_json.clone());
            }
            return Ok(words_of(block).into_owned());
        }
        let (session_id, block_id) = (session_id.to_owned(), block.block_id.clone());
        let request = ReadBlockContentRequest { session_id, block_id, offset: 0 };
        let mut pieces = self.read_block_content(request).await?;
        let mut whole = Vec::new();
        while let Some(piece) = pieces.try_next().await? {
            whole.extend_from_slice(&piece);
        }
        String::from_utf8(whole).map_err(|_| Error::odd("a text that is no UTF-8"))
    }
}

/// The blocks that these events of one turn change, and its failure.
fn blocks(events: Events) -> Blocks {
    let run = Run { events, state: State::default(), turn: None, done: false };
    stream::unfold(run, |mut run| async move { run.next().await.map(|item| (item, run)) }).boxed()
}

struct Run {
    events: Events,
    state: State,
    /// The last turn that was heard of; when the events end, theirs.
    turn: Option<Turn>,
    done: bool,
}

impl Run {
    async fn next(&mut self) -> Option<Result<Block, Error>> {
        while !self.done {
            let event = match self.events.next().await {
                Some(Ok(event)) => event,
                Some(Err(error)) => {
                    self.done = true;
                    return Some(Err(error));
                }
                None => break,
            };
            self.state.apply(&event);
            if let Some(Kind::TurnUpdated(updated)) = &event.kind {
                self.turn.clone_from(&updated.turn);
            }
            let block_id = event.kind.as_ref().map(|kind| whose(kind).1).filter(|id| !id.is_empty());
            if let Some(block) = block_id.and_then(|id| self.state.block(id)) {
                return Some(Ok(block.clone()));
            }
        }
        if mem::replace(&mut self.done, true) {
            return None;
        }
        let turn = self.turn.take().filter(|turn| turn.status() != TurnStatus::Completed)?;
        Some(Err(Error::of_turn(&turn)))
    }
}
