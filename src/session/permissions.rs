//! Answers to what agents ask: what was answered before is told from the store, what is open goes to the session's actor,
//! and of several who answer at once the first wins. And the standing answers.

use super::{Command, Decision, Manager, Reaction, Resolved};
use crate::{
    domain::{
        Caller, Failure, InputResolution, PermissionRule, Question, Reason, Request, Session, SessionId, SessionKey,
    },
    log::failure,
    store,
};

/// How often a request that was answered in between is looked at again: the answer is stored by then.
const LOOKS: usize = 3;

impl Manager {
    /// Answers a permission request, and returns it as it is then.
    ///
    /// # Errors
    /// [`Reason::SessionNotFound`], [`Reason::PermissionNotFound`], [`Reason::AlreadyResolved`],
    /// [`Reason::InvalidField`], [`Reason::RequestIdReused`], [`Reason::StorageUnavailable`], [`Reason::StorageFull`],
    /// [`Reason::ShuttingDown`].
    pub async fn resolve_permission(
        &self,
        caller: &Caller,
        id: &SessionId,
        permission_id: String,
        decision: Decision,
        request: Option<Request>,
    ) -> Result<Resolved, Failure> {
        let (manager, by, id, same) = (self.clone(), caller.clone(), id.clone(), request.clone());
        let resolve = async move { manager.resolve_now(&by, &id, &permission_id, &decision, same).await };
        self.once(&caller.tenant, request, resolve).await
    }

    async fn resolve_now(
        &self,
        caller: &Caller,
        id: &SessionId,
        permission_id: &str,
        decision: &Decision,
        request: Option<Request>,
    ) -> Result<Resolved, Failure> {
        self.open()?;
        let key = SessionKey { tenant: caller.tenant.clone(), session: id.clone() };
        for _ in 0..LOOKS {
            let found = self.log().store().permission(&key, permission_id).await;
            let found = found.map(|found| found.map(|permission| Found(permission.resolution)));
            self.is_open(&key, &Asked::Permission(permission_id), found).await?;
            let command = |by, reply| Command::Resolve {
                permission_id: permission_id.to_owned(),
                decision: decision.clone(),
                by,
                request: request.clone(),
                reply,
            };
            if let Some(resolved) = self.call(caller, id, command).await? {
                return Ok(resolved);
            }
        }
        Err(not_reached())
    }

    /// Answers a question, and returns it as it is then.
    ///
    /// # Errors
    /// [`Reason::SessionNotFound`], [`Reason::QuestionNotFound`], [`Reason::AlreadyResolved`],
    /// [`Reason::InvalidField`], [`Reason::RequestIdReused`], [`Reason::StorageUnavailable`], [`Reason::StorageFull`],
    /// [`Reason::ShuttingDown`].
    pub async fn answer_question(
        &self,
        caller: &Caller,
        id: &SessionId,
        question_id: String,
        reaction: Reaction,
        request: Option<Request>,
    ) -> Result<Question, Failure> {
        let (manager, by, id, same) = (self.clone(), caller.clone(), id.clone(), request.clone());
        let answer = async move { manager.answer_now(&by, &id, &question_id, &reaction, same).await };
        self.once(&caller.tenant, request, answer).await
    }

    async fn answer_now(
        &self,
        caller: &Caller,
        id: &SessionId,
        question_id: &str,
        reaction: &Reaction,
        request: Option<Request>,
    ) -> Result<Question, Failure> {
        self.open()?;
        let key = SessionKey { tenant: caller.tenant.clone(), session: id.clone() };
        for _ in 0..LOOKS {
            let found = self.log().store().question(&key, question_id).await;
            let found = found.map(|found| found.map(|question| Found(question.resolution)));
            self.is_open(&key, &Asked::Question(question_id), found).await?;
            let command = |by, reply| Command::Answer {
                question_id: question_id.to_owned(),
                reaction: reaction.clone(),
                by,
                request: request.clone(),
                reply,
            };
            if let Some(question) = self.call(caller, id, command).await? {
                return Ok(question);
            }
        }
        Err(not_reached())
    }

    /// Refuses what is not there, or over.
    async fn is_open(
        &self,
        key: &SessionKey,
        asked: &Asked<'_>,
        found: Result<Option<Found>, store::Error>,
    ) -> Result<(), Failure> {
        match found.map_err(|error| failure(error, key))? {
            None => {
                self.view(key).await?;
                Err(asked.not_found())
            }
            Some(Found(Some(winner))) => Err(asked.already_resolved(&winner)),
            Some(Found(None)) => Ok(()),
        }
    }

    /// The rules that "always" answers left in a session, oldest first.
    ///
    /// # Errors
    /// [`Reason::SessionNotFound`], [`Reason::StorageUnavailable`].
    pub async fn permission_rules(&self, key: &SessionKey) -> Result<Vec<PermissionRule>, Failure> {
        let rules = self.log().store().permission_rules(key).await.map_err(|error| failure(error, key))?;
        rules.ok_or_else(|| Failure::session_not_found(&key.session))
    }

    /// Removes one of them.
    ///
    /// # Errors
    /// [`Reason::SessionNotFound`], [`Reason::PermissionRuleNotFound`], [`Reason::RequestIdReused`],
    /// [`Reason::StorageUnavailable`], [`Reason::StorageFull`], [`Reason::ShuttingDown`].
    pub async fn delete_permission_rule(
        &self,
        caller: &Caller,
        id: &SessionId,
        rule_id: String,
        request: Option<Request>,
    ) -> Result<(), Failure> {
        let command = move |by, request, reply| Command::DeleteRule { rule_id: rule_id.clone(), by, request, reply };
        self.call_once(caller, id, request, command).await
    }
}

/// How it ended, where it did.
struct Found(Option<InputResolution>);

/// Something an agent asks, by its id.
enum Asked<'a> {
    Permission(&'a str),
    Question(&'a str),
}

impl Asked<'_> {
    fn not_found(&self) -> Failure {
        let (reason, what, field, id) = match self {
            Self::Permission(id) => (Reason::PermissionNotFound, "permission request", "permission_id", id),
            Self::Question(id) => (Reason::QuestionNotFound, "question", "question_id", id),
        };
        Failure::new(reason, format!("there is no {what} {id} in this session")).with(field, id)
    }

    fn already_resolved(&self, winner: &InputResolution) -> Failure {
        let InputResolution { outcome, option_id, resolved_by, .. } = winner;
        let by = resolved_by.as_ref().map(|by| by.subject.clone()).unwrap_or_default();
        let (what, field, id) = match self {
            Self::Permission(id) => ("request", "permission_id", id),
            Self::Question(id) => ("question", "question_id", id),
        };
        let message = format!("this {what} is over since before: {}, by {by}", outcome.as_str());
        Failure::new(Reason::AlreadyResolved, message)
            .with(field, id)
            .with("outcome", outcome.as_str())
            .with("option_id", option_id)
            .with("resolved_by", by)
    }
}

fn not_reached() -> Failure {
    Failure::new(Reason::StorageUnavailable, "the request could not be reached; try again")
}

/// Refuses a mode that the session's agent does not know.
pub(super) fn mode_is_known(session: &Session, field: &str) -> Result<(), Failure> {
    let (mode, known) = (session.options.permission_mode.as_str(), session.agent.permission_modes());
    if mode.is_empty() || known.contains(&mode) {
        return Ok(());
    }
    let rule = format!("for {} one of {}", session.agent, known.join(", "));
    Err(Failure::invalid(field, rule))
}
