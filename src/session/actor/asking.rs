//! What the agent asks, and how it gets the answer: stored first, with the input that tells it; and by a new process,
//! where the one that asked is gone.

use tokio::time::Instant;

use super::Actor;
use crate::{
    agent::Ask,
    domain::{Failure, FirstAnswer, InputOutcome, InputResolution, PermissionRequest, Principal, Request, Timestamp},
    session::{Decision, Reply, after::After, side::Side},
};

impl Actor {
    /// A caller answers a request. One that is not open any more was answered by what is stored once this is.
    pub(super) fn resolve(
        &mut self,
        permission_id: &str,
        decision: &Decision,
        by: &Principal,
        request: Option<Request>,
        reply: Reply<Option<PermissionRequest>>,
    ) {
        let open = self.pending.open_permission(permission_id);
        let decided = open.map(|open| self.pending.decided(open, decision, by)).transpose();
        let resolution = match decided {
            Ok(resolution) => resolution,
            // Whoever hung up does not want to know.
            Err(failure) => return drop(reply.send(Err(failure))),
        };
        let resolved = resolution.and_then(|resolution| self.resolve_as(permission_id, resolution, Some(by)));
        if let Some(resolved) = &resolved {
            self.remember(request, || FirstAnswer::Resolved { permission: Box::new(resolved.clone()) });
        }
        let answer = move |stored: Result<(), Failure>| drop(reply.send(stored.map(|()| resolved)));
        self.after.push(After::Reply(Box::new(answer)));
    }

    /// Nobody answered in time.
    pub(super) fn expire(&mut self) {
        for permission_id in self.pending.expired(Timestamp::now()) {
            let resolution = InputResolution::by_itself(InputOutcome::Expired, self.pending.time());
            self.resolve_as(&permission_id, resolution, None);
        }
    }

    fn resolve_as(
        &mut self,
        permission_id: &str,
        resolution: InputResolution,
        by: Option<&Principal>,
    ) -> Option<PermissionRequest> {
        let answer = resolution.answer();
        let resolved = self.pending.resolve(permission_id, resolution, by)?;
        if let (Side::On(running), Some(answer), Some(asked)) = (&mut self.side, answer, &resolved.asked)
            && running.exec_id == asked.exec_id
        {
            let data = running.parser.answer(&asked.agent_request_id, &resolved.tool_use_id, &answer);
            self.tell(data);
        }
        let memory = self.mark.as_ref().and_then(|mark| mark.parser_state.as_deref());
        if let Some(prompt) = self.pending.answered(memory, by) {
            self.give(prompt);
        }
        Some(resolved)
    }

    /// Answers a request that was answered before, when it came from a process that is gone. False: it was not.
    pub(super) fn answer_again(&mut self, ask: &Ask) -> bool {
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
}
