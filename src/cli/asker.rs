//! Asks the person at the terminal what an agent asks, one request at a time, while events go on.

use std::{
    collections::VecDeque,
    io::{self, IsTerminal as _, Write as _},
};

use tokio::task::JoinHandle;

use super::{error::Error, output::printable, permissions::Answer, questions, render::style};
use crate::{
    client::Client,
    proto::{
        AnswerQuestionRequest, PermissionRequest, Question, QuestionAnswer, ResolvePermissionRequest, SessionEvent,
        session_event::Kind,
    },
};

/// Characters of an input that are shown.
const SHOWN: usize = 2000;

/// See the module.
pub(super) struct Asker {
    client: Client,
    session_id: String,
    /// Somebody is there to be asked.
    terminal: bool,
    /// Else somebody may want to know how to answer.
    hint: bool,
    /// Requests that wait, the one that is asked about first.
    open: VecDeque<Open>,
    line: Option<JoinHandle<io::Result<String>>>,
}

/// A request that waits.
enum Open {
    Permission(PermissionRequest),
    /// With the answers to its first items.
    Question(Question, Vec<QuestionAnswer>),
}

impl Open {
    fn id(&self) -> &str {
        match self {
            Self::Permission(open) => &open.permission_id,
            Self::Question(open, _) => &open.question_id,
        }
    }

    /// What is told where nobody can be asked.
    fn hint(&self, session: &str) -> String {
        match self {
            Self::Permission(open) => {
                format!("agent-runtime permissions answer {session} {} allow|reject", open.permission_id)
            }
            Self::Question(open, _) => {
                format!("agent-runtime questions answer {session} {} ANSWER...|--decline", open.question_id)
            }
        }
    }

    fn prompt(&self) -> String {
        match self {
            Self::Permission(open) => {
                let input: String = printable(&open.input_json).chars().take(SHOWN).collect();
                format!("  {input}\n  allow {}? [y/n, a: always] ", printable(&open.tool_name))
            }
            Self::Question(open, answers) => {
                let Some(item) = open.items.get(answers.len()) else { return String::new() };
                let choices = item.choices.iter().enumerate().map(|(at, choice)| {
                    let (label, about) = (printable(&choice.label), printable(&choice.description));
                    format!("  {}. {label}  {about}\n", at + 1)
                });
                let text = format!("  {}\n", printable(&item.text));
                let how =
                    if item.multiple { "  numbers, labels or a text: " } else { "  a number, a label or a text: " };
                [text].into_iter().chain(choices).chain([how.to_owned()]).collect()
            }
        }
    }
}

impl Asker {
    /// Without a terminal, and where only JSON is wanted, nobody is asked.
    pub(super) fn new(client: Client, session_id: String, json: bool) -> Self {
        let terminal = !json && io::stdin().is_terminal() && io::stderr().is_terminal();
        Self { client, session_id, terminal, hint: !json, open: VecDeque::new(), line: None }
    }

    /// Somebody is asked when an agent asks.
    pub(super) fn is_there(&self) -> bool {
        self.terminal
    }

    /// Notes what an event says of requests.
    pub(super) fn event(&mut self, event: &SessionEvent) {
        match &event.kind {
            // What a rule answered nobody is asked about.
            Some(Kind::PermissionRequested(requested)) => {
                let waits = requested.permission.clone().filter(|open| open.resolution.is_none());
                self.open.extend(waits.map(Open::Permission));
            }
            Some(Kind::QuestionRequested(requested)) => {
                self.open.extend(requested.question.clone().map(|open| Open::Question(open, Vec::new())));
            }
            Some(Kind::PermissionResolved(resolved)) => self.open.retain(|open| open.id() != resolved.permission_id),
            Some(Kind::QuestionResolved(resolved)) => self.open.retain(|open| open.id() != resolved.question_id),
            _ => return,
        }
        self.ask();
    }

    /// Waits for what the person says and tells the server. Dropping the future loses nothing.
    pub(super) async fn answered(&mut self) -> Result<(), Error> {
        let line = match &mut self.line {
            Some(line) => line.await.map_err(|error| Error::Other(error.to_string()))??,
            None => std::future::pending().await,
        };
        self.line = None;
        // Nobody is there any more who could say more.
        self.terminal &= !line.is_empty();
        // The request may have been answered elsewhere meanwhile: then the line was for nothing.
        match self.open.pop_front() {
            Some(Open::Permission(open)) => self.permission(open, &line).await?,
            Some(Open::Question(open, answers)) => self.question(open, answers, &line).await?,
            None => {}
        }
        self.ask();
        Ok(())
    }

    async fn permission(&mut self, open: PermissionRequest, line: &str) -> Result<(), Error> {
        let answer = match line.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => Answer::Allow,
            "n" | "no" => Answer::Reject,
            "a" | "always" if Answer::AllowAlways.option(&open).is_ok() => Answer::AllowAlways,
            _ => {
                self.open.push_front(Open::Permission(open));
                return Ok(());
            }
        };
        let request = ResolvePermissionRequest {
            session_id: self.session_id.clone(),
            permission_id: open.permission_id.clone(),
            option_id: answer.option(&open)?,
            ..ResolvePermissionRequest::default()
        };
        match self.client.resolve_permission(request).await {
            Err(error) if error.reason == "ALREADY_RESOLVED" => Ok(()),
            answered => Ok(answered.map(drop)?),
        }
    }

    async fn question(&mut self, open: Question, mut answers: Vec<QuestionAnswer>, line: &str) -> Result<(), Error> {
        if !line.trim().is_empty() {
            answers.push(questions::answer(open.items.get(answers.len()), line));
        }
        if answers.len() < open.items.len() {
            self.open.push_front(Open::Question(open, answers));
            return Ok(());
        }
        let (session_id, question_id) = (self.session_id.clone(), open.question_id);
        let request = AnswerQuestionRequest { session_id, question_id, answers, ..AnswerQuestionRequest::default() };
        match self.client.answer_question(request).await {
            Err(error) if error.reason == "ALREADY_RESOLVED" => Ok(()),
            answered => Ok(answered.map(drop)?),
        }
    }

    /// Asks about the first request, if nobody was asked yet.
    fn ask(&mut self) {
        let Some(open) = self.open.front() else { return };
        if !self.terminal {
            if self.hint {
                let dim = style::DIM;
                anstream::eprintln!("{dim}  answer with: {}{dim:#}", open.hint(&self.session_id));
            }
            return self.open.clear();
        }
        if self.line.is_some() {
            return;
        }
        anstream::eprint!("{}", open.prompt());
        // A prompt that cannot be shown is not worth more than the answer that will not come.
        let _ = io::stderr().flush();
        self.line = Some(tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            io::stdin().read_line(&mut line)?;
            Ok(line)
        }));
    }
}
