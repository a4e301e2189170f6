//! Asks the person at the terminal what an agent asks, one request at a time, while events go on.

use std::{
    collections::VecDeque,
    io::{self, IsTerminal as _, Write as _},
    mem,
};

use futures::{FutureExt as _, future::BoxFuture};

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

/// Tells the server an answer.
type Tell = Box<dyn Fn(Said) -> BoxFuture<'static, Result<(), Error>>>;
/// Reads a line that the person types; an empty one at the end of all that comes.
type Read = Box<dyn Fn() -> BoxFuture<'static, Result<String, Error>>>;

/// See the module.
pub(super) struct Asker {
    session_id: String,
    tell: Tell,
    read: Read,
    /// Somebody is there to be asked.
    terminal: bool,
    /// Else somebody may want to know how to answer.
    hint: bool,
    /// Requests that wait, the one that is asked about first.
    open: VecDeque<Open>,
    waits: Waits,
}

/// Whom the asker waits for. What is under way is kept here and not in the future that waits for it, because that one is
/// dropped whenever an event comes first.
enum Waits {
    Nobody,
    /// The person, who was asked about the request of this id. Stale: it was told that another one waits by now.
    Person {
        about: String,
        line: BoxFuture<'static, Result<String, Error>>,
        stale: bool,
    },
    /// The server, which is told what was said about it.
    Server {
        about: String,
        told: BoxFuture<'static, Result<(), Error>>,
    },
}

/// What the server is told.
enum Said {
    Permission(ResolvePermissionRequest),
    Question(AnswerQuestionRequest),
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

    /// Takes a line about it. `None`: more has to be said.
    fn said(&mut self, session: &str, line: &str) -> Result<Option<Said>, Error> {
        let session_id = session.to_owned();
        match self {
            Self::Permission(open) => {
                let answer = match line.trim().to_ascii_lowercase().as_str() {
                    "y" | "yes" => Answer::Allow,
                    "n" | "no" => Answer::Reject,
                    "a" | "always" if Answer::AllowAlways.option(open).is_ok() => Answer::AllowAlways,
                    _ => return Ok(None),
                };
                let (permission_id, option_id) = (open.permission_id.clone(), answer.option(open)?);
                let request = ResolvePermissionRequest {
                    session_id,
                    permission_id,
                    option_id,
                    ..ResolvePermissionRequest::default()
                };
                Ok(Some(Said::Permission(request)))
            }
            Self::Question(open, answers) => {
                if !line.trim().is_empty() {
                    answers.push(questions::answer(open.items.get(answers.len()), line));
                }
                if answers.len() < open.items.len() {
                    return Ok(None);
                }
                let (question_id, answers) = (open.question_id.clone(), answers.clone());
                let request =
                    AnswerQuestionRequest { session_id, question_id, answers, ..AnswerQuestionRequest::default() };
                Ok(Some(Said::Question(request)))
            }
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
        let tell: Tell = Box::new(move |said| tell(client.clone(), said).boxed());
        let (open, waits) = (VecDeque::new(), Waits::Nobody);
        Self { session_id, tell, read: Box::new(read), terminal, hint: !json, open, waits }
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

    /// Waits for what the person says, and until the server is told. Dropping the future loses nothing.
    pub(super) async fn answered(&mut self) -> Result<(), Error> {
        match &mut self.waits {
            Waits::Nobody => std::future::pending().await,
            Waits::Person { about, line, .. } => {
                let line = line.await;
                let about = mem::take(about);
                self.waits = Waits::Nobody;
                self.said(about, &line?)?;
            }
            Waits::Server { about, told } => {
                let told = told.await;
                let about = mem::take(about);
                self.waits = Waits::Nobody;
                told?;
                // Its event may come later: it is not asked about again until then.
                self.open.retain(|open| open.id() != about);
            }
        }
        self.ask();
        Ok(())
    }

    /// Takes a line that was typed when the person was asked about the request of this id.
    fn said(&mut self, about: String, line: &str) -> Result<(), Error> {
        // Nobody is there any more who could say more.
        self.terminal &= !line.is_empty();
        // The request may have been answered elsewhere meanwhile: then the line was for nothing, and says nothing about the
        // next one, which nobody was shown.
        let Some(open) = self.open.front_mut().filter(|open| open.id() == about) else { return Ok(()) };
        if let Some(said) = open.said(&self.session_id, line)? {
            self.waits = Waits::Server { about, told: (self.tell)(said) };
        }
        Ok(())
    }

    /// Asks about the first request, if nobody was asked yet.
    fn ask(&mut self) {
        let Some(open) = self.open.front() else { return };
        if !self.terminal {
            for open in self.open.drain(..).filter(|_| self.hint) {
                let dim = style::DIM;
                anstream::eprintln!("{dim}  answer with: {}{dim:#}", open.hint(&self.session_id));
            }
            return;
        }
        match &mut self.waits {
            Waits::Nobody => {}
            Waits::Person { about, stale, .. } => {
                // What is typed already cannot be told from what would be typed now, so that line has to end first.
                if about != open.id() && !mem::replace(stale, true) {
                    anstream::eprintln!("\n  answered elsewhere; press Enter to see what is asked now");
                }
                return;
            }
            Waits::Server { .. } => return,
        }
        anstream::eprint!("{}", open.prompt());
        // A prompt that cannot be shown is not worth more than the answer that will not come.
        let _ = io::stderr().flush();
        self.waits = Waits::Person { about: open.id().to_owned(), line: (self.read)(), stale: false };
    }
}

async fn tell(client: Client, said: Said) -> Result<(), Error> {
    let told = match said {
        Said::Permission(request) => client.resolve_permission(request).await.map(drop),
        Said::Question(request) => client.answer_question(request).await.map(drop),
    };
    match told {
        // Somebody else was faster.
        Err(error) if error.reason == "ALREADY_RESOLVED" => Ok(()),
        told => Ok(told?),
    }
}

fn read() -> BoxFuture<'static, Result<String, Error>> {
    let line = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        io::stdin().read_line(&mut line).map(|_| line)
    });
    async move { Ok(line.await.map_err(|error| Error::Other(error.to_string()))??) }.boxed()
}

#[cfg(test)]
mod tests {
    use std::{
        cell::RefCell,
        rc::Rc,
        sync::{Arc, Mutex},
    };

    use tokio::{sync::mpsc, task::yield_now};

    use super::*;
    use crate::proto::{
        PermissionOption, PermissionOptionKind, PermissionRequested, PermissionResolved, QuestionItem,
        QuestionRequested,
    };

    /// An asker whose person types what is sent, and what the server was told in the end.
    struct Played {
        asker: Asker,
        types: mpsc::UnboundedSender<&'static str>,
        told: Arc<Mutex<Vec<String>>>,
        /// How often a prompt was shown.
        prompts: Rc<RefCell<usize>>,
    }

    impl Played {
        fn new() -> Self {
            let (types, lines) = mpsc::unbounded_channel::<&str>();
            let lines = Arc::new(tokio::sync::Mutex::new(lines));
            let (told, prompts) = (Arc::<Mutex<Vec<String>>>::default(), Rc::<RefCell<usize>>::default());
            let (log, count) = (told.clone(), prompts.clone());
            let tell: Tell = Box::new(move |said| {
                let log = log.clone();
                let said = match said {
                    Said::Permission(request) => format!("{} {}", request.permission_id, request.option_id),
                    Said::Question(request) => {
                        let texts = request.answers.into_iter().map(|answer| answer.text).collect::<Vec<_>>();
                        format!("{} {}", request.question_id, texts.join(","))
                    }
                };
                // As a call does, it needs to be looked after several times.
                async move {
                    for _ in 0..3 {
                        yield_now().await;
                    }
                    log.lock().unwrap().push(said);
                    Ok(())
                }
                .boxed()
            });
            let read: Read = Box::new(move || {
                *count.borrow_mut() += 1;
                let lines = lines.clone();
                async move { Ok(lines.lock().await.recv().await.unwrap_or_default().to_owned()) }.boxed()
            });
            let (open, waits) = (VecDeque::new(), Waits::Nobody);
            let asker = Asker { session_id: "s".into(), tell, read, terminal: true, hint: true, open, waits };
            Self { asker, types, told, prompts }
        }

        fn event(&mut self, kind: Kind) {
            self.asker.event(&SessionEvent { kind: Some(kind), ..SessionEvent::default() });
        }

        fn asks(&mut self, id: &str) {
            let option = |id: &str, kind: PermissionOptionKind| PermissionOption {
                option_id: id.into(),
                kind: kind.into(),
                ..PermissionOption::default()
            };
            let permission = PermissionRequest {
                permission_id: id.into(),
                options: vec![
                    option("yes", PermissionOptionKind::AllowOnce),
                    option("no", PermissionOptionKind::RejectOnce),
                ],
                ..PermissionRequest::default()
            };
            self.event(Kind::PermissionRequested(Box::new(PermissionRequested { permission: Some(permission) })));
        }

        /// What is said is taken as far as it goes, while an event comes first again and again.
        async fn types(&mut self, line: &'static str) {
            self.types.send(line).unwrap();
            for _ in 0..10 {
                if let Some(answered) = self.asker.answered().now_or_never() {
                    answered.unwrap();
                }
                yield_now().await;
            }
        }

        fn told(&self) -> Vec<String> {
            self.told.lock().unwrap().clone()
        }
    }

    #[tokio::test]
    async fn an_answer_is_told_whatever_comes_meanwhile() {
        let mut played = Played::new();
        played.asks("a");
        played.asks("b");
        played.types("perhaps\n").await;
        assert_eq!((played.told(), *played.prompts.borrow()), (Vec::new(), 2), "asked again");
        played.types("y\n").await;
        played.types("n\n").await;
        assert_eq!(played.told(), ["a yes", "b no"]);
        let items = vec![QuestionItem::default(), QuestionItem::default()];
        let question = Question { question_id: "q".into(), items, ..Question::default() };
        played.event(Kind::QuestionRequested(Box::new(QuestionRequested { question: Some(question) })));
        played.types("one\n").await;
        played.types("two\n").await;
        assert_eq!(played.told(), ["a yes", "b no", "q one,two"]);
        assert!(played.asker.open.is_empty());
    }

    #[tokio::test]
    async fn a_line_about_one_request_is_not_taken_for_another() {
        let mut played = Played::new();
        played.asks("a");
        played.asks("b");
        let resolved = PermissionResolved { permission_id: "a".into(), ..PermissionResolved::default() };
        played.event(Kind::PermissionResolved(Box::new(resolved)));
        assert_eq!(*played.prompts.borrow(), 1, "the person still types what began as an answer to the first");
        played.types("y\n").await;
        assert_eq!((played.told(), *played.prompts.borrow()), (Vec::new(), 2), "asked about the other");
        played.types("n\n").await;
        assert_eq!(played.told(), ["b no"]);
    }
}
