//! What the agent asks, and how it gets the answer: stored first, with the input that tells it; and by a new process,
//! where the one that asked is gone.

use std::time::Duration;

use tokio::time::Instant;

use super::Actor;
use crate::{
    agent::Ask,
    domain::{
        ExecId, Failure, FirstAnswer, InputOutcome, InputResolution, PermissionAnswer, Principal, Question, Request,
        Timestamp,
    },
    session::{Decision, Reaction, Reply, Resolved, after::After, rules::Call, side::Side},
};

/// Programs never get less time without a server because something is asked.
const LEAST_LIMIT: Duration = Duration::from_mins(30);

impl Actor {
    /// A caller answers a request. One that is not open any more was answered by what is stored once this is.
    pub(super) fn resolve(
        &mut self,
        permission_id: &str,
        decision: &Decision,
        by: &Principal,
        request: Option<Request>,
        reply: Reply<Option<Resolved>>,
    ) {
        let open = self.pending.open_permission(permission_id);
        let decided = match open.map(|open| self.pending.decided(open, decision, by)).transpose() {
            Ok(decided) => decided,
            // Whoever hung up does not want to know.
            Err(failure) => return drop(reply.send(Err(failure))),
        };
        let resolved = decided.and_then(|(resolution, rule)| {
            self.resolve_as(permission_id, resolution, Some(by));
            if let Some(rule) = &rule {
                self.pending.keep_rule(rule, by);
                self.tell_rules();
            }
            let permission = self.pending.held_permission(permission_id)?.clone();
            Some(Resolved { permission, rule })
        });
        if let Some(Resolved { permission, rule }) = &resolved {
            self.remember(request, || FirstAnswer::Resolved {
                permission: Box::new(permission.clone()),
                rule: rule.clone().map(Box::new),
            });
        }
        let answer = move |stored: Result<(), Failure>| drop(reply.send(stored.map(|()| resolved)));
        self.after.push(After::Reply(Box::new(answer)));
    }

    /// A caller answers a question.
    pub(super) fn answer_question(
        &mut self,
        question_id: &str,
        reaction: &Reaction,
        by: &Principal,
        request: Option<Request>,
        reply: Reply<Option<Question>>,
    ) {
        let open = self.pending.open_question(question_id);
        let resolution = match open.map(|open| self.pending.reacted(open, reaction, by)).transpose() {
            Ok(resolution) => resolution,
            Err(failure) => return drop(reply.send(Err(failure))),
        };
        let answered = resolution.and_then(|resolution| {
            self.resolve_as(question_id, resolution, Some(by));
            self.pending.held_question(question_id).cloned()
        });
        if let Some(question) = &answered {
            self.remember(request, || FirstAnswer::Answered { question: Box::new(question.clone()) });
        }
        let answer = move |stored: Result<(), Failure>| drop(reply.send(stored.map(|()| answered)));
        self.after.push(After::Reply(Box::new(answer)));
    }

    /// A caller takes back a standing answer.
    pub(super) fn delete_rule(&mut self, rule_id: &str, by: &Principal, request: Option<Request>, reply: Reply<()>) {
        if let Err(failure) = self.pending.delete_rule(rule_id, by) {
            return drop(reply.send(Err(failure)));
        }
        self.tell_rules();
        self.remember(request, || FirstAnswer::Deleted);
        self.after.push(After::Reply(Box::new(move |stored| drop(reply.send(stored)))));
    }

    /// Tells the program that runs what it has to ask about, where that is not what it was told.
    pub(super) fn tell_rules(&mut self) {
        let Side::On(running) = &mut self.side else { return };
        if let Some(data) = running.parser.told_rules(&self.pending.strict(&self.policy)) {
            self.tell(data);
        }
    }

    /// How long somebody is waited for.
    pub(super) fn patience(&self) -> Duration {
        self.policy.ask_timeout.unwrap_or(self.shared.config.ask_timeout)
    }

    /// Nobody answered in time.
    pub(super) fn expire(&mut self) {
        for id in self.pending.expired(Timestamp::now()) {
            let effect = self.pending.open_permission(&id).map(|_| self.policy.silence());
            let itself = InputResolution::by_itself(InputOutcome::Expired, self.pending.time());
            self.resolve_as(&id, InputResolution { effect, ..itself }, None);
        }
    }

    fn resolve_as(&mut self, id: &str, resolution: InputResolution, by: Option<&Principal>) {
        let Some(over) = self.pending.resolve(id, resolution, by) else { return };
        if let (Side::On(running), Some(answer), Some(asked)) = (&mut self.side, over.answer, &over.asked)
            && running.exec_id == asked.exec_id
        {
            let data = running.parser.answer(&asked.agent_request_id, &over.tool_use_id, &answer);
            self.tell(data);
        }
        let memory = self.mark.as_ref().and_then(|mark| mark.parser_state.as_deref());
        if let Some(prompt) = self.pending.answered(memory, by) {
            self.give(prompt);
        }
    }

    /// Answers a request about which nobody has to be asked. `shown` is without what is secret in what the agent gave. False:
    /// somebody is to be asked.
    pub(super) fn answer_now(&mut self, given: &Ask, shown: &Ask, exec_id: &ExecId) -> bool {
        self.answer_again(shown) || self.answer_by_rule(Call { given, shown }, exec_id)
    }

    /// Answers a request for which a rule or the profile's policy stands. False: somebody is to be asked.
    fn answer_by_rule(&mut self, call: Call<'_>, exec_id: &ExecId) -> bool {
        let ask = call.shown;
        // Nobody but the user knows what the user thinks.
        if !ask.questions.is_empty() {
            return false;
        }
        if self.pending.is_unruled(&self.policy, call) {
            let allowed = PermissionAnswer::Allow { updated_input_json: String::new() };
            let Side::On(running) = &mut self.side else { return false };
            let data = running.parser.answer(&ask.agent_request_id, &ask.tool_use_id, &allowed);
            self.tell(data);
            return true;
        }
        let Some(resolution) = self.pending.ruled(&self.policy, call) else { return false };
        let Side::On(running) = &mut self.side else { return false };
        let Some(answer) = resolution.answer() else { return false };
        let data = running.parser.answer(&ask.agent_request_id, &ask.tool_use_id, &answer);
        self.pending.ask_answered(ask.clone(), exec_id.clone(), resolution);
        self.tell(data);
        true
    }

    /// Answers a request that was answered before, when it came from a process that is gone. False: it was not.
    fn answer_again(&mut self, ask: &Ask) -> bool {
        let Side::On(running) = &mut self.side else { return false };
        let Some(answer) = self.pending.carried(ask) else { return false };
        let data = running.parser.answer(&ask.agent_request_id, &ask.tool_use_id, &answer);
        self.tell(data);
        true
    }

    /// When the next request that nobody answers is over.
    pub(super) fn expires_at(&self) -> Option<Instant> {
        let left = self.pending.deadline()?.since(Timestamp::now());
        Instant::now().checked_add(left)
    }

    /// While something is asked, the program that waits for the answer may wait for it without a server too.
    pub(super) fn limit_the_wait(&mut self) {
        let until = self.pending.last_deadline();
        let Side::On(running) = &mut self.side else { return };
        if until != self.waits_until {
            self.waits_until = until;
            running.limit(until.map(|until| until.since(Timestamp::now()).max(LEAST_LIMIT)));
        }
    }
}
