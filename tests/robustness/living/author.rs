//! An author: one session, one message after the other, each followed to its end whatever becomes of the server; and whoever
//! is asked for permission.

use std::{collections::BTreeSet, time::Duration};

use agent_runtime::proto::{PermissionOptionKind, PermissionRequest, session_event::Kind};
use futures::future::join;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tokio::time::{Instant, sleep, timeout};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::{
    Agent,
    beats::{Beat, Beats},
};
use crate::{
    history::{Open, What},
    link::Link,
    script,
    stage::Stage,
    support::ended,
};

/// How long one thing may take, with all the kills that there are meanwhile.
const PATIENCE: Duration = Duration::from_mins(1);

/// With a bookmark every second, silence is a connection that died.
const SILENCE: Duration = Duration::from_secs(5);

/// See the module.
pub struct Author {
    pub link: Link,
    /// Who sometimes answers a permission at the same time.
    pub rival: Link,
    pub stage: Stage,
    pub beats: Beats,
    pub agent: Agent,
}

impl Author {
    /// Talks until the run closes, and follows what was begun to its end.
    pub async fn write(self, seed: u64) {
        let mut rng = StdRng::seed_from_u64(seed);
        let id = id(&mut rng);
        let (agent, mode) = match self.agent {
            // Its messages say when it asks.
            Agent::Scripted => ("scripted", ""),
            Agent::ClaudeCode if self.stage.abilities().permissions => ("claude-code", "default"),
            Agent::ClaudeCode => ("claude-code", ""),
        };
        let create = || self.link.create_of(agent, mode, &id);
        let session = until(create, is_uncertain).await.expect("a session").session_id;
        self.stage.add(session.clone());
        while !self.stage.is_closing() {
            let text = match self.agent {
                Agent::Scripted => script::long(&mut rng, self.stage.abilities().permissions),
                Agent::ClaudeCode => format!("p{:016x} numbers={}", rng.random::<u64>(), super::claude::NUMBERS),
            };
            let (turn, sequence) = self.send(&session, &text, &mut rng).await;
            self.follow(&session, &turn, sequence, &mut rng).await;
            self.stage.sent(true);
        }
    }

    async fn send(&self, session: &str, text: &str, rng: &mut StdRng) -> (String, i64) {
        let id = id(rng);
        let send = || {
            self.beats.tell(Beat::Sending);
            self.link.send(session, text, &id)
        };
        let accepted =
            until(send, is_uncertain).await.unwrap_or_else(|status| panic!("{session} is refused: {status}"));
        self.beats.tell(Beat::Sent);
        if rng.random_bool(0.2) {
            // Whoever is not sure asks again; judges compare the answers.
            let _ = self.link.send(session, text, &id).await;
        }
        accepted
    }

    /// Watches to the end of the turn, and answers what is asked meanwhile.
    async fn follow(&self, session: &str, turn: &str, sequence: i64, rng: &mut StdRng) {
        let mut cursor = sequence;
        let mut answered = BTreeSet::new();
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let open = Open { session: session.to_owned(), after: Some(cursor), ..Open::default() };
            let Ok(mut watching) = self.link.watch(open).await else {
                sleep(Duration::from_millis(10)).await;
                continue;
            };
            while let Ok(Ok(events)) = timeout(SILENCE, watching.next()).await {
                if Instant::now() > end {
                    break;
                }
                for event in events {
                    cursor = event.sequence;
                    match &event.kind {
                        Some(Kind::PermissionRequested(asked)) => {
                            let permission = asked.permission.clone().expect("a permission");
                            if answered.insert(permission.permission_id.clone()) {
                                self.answer(session, &permission, rng).await;
                            }
                        }
                        _ if ended(&event, turn) => return,
                        _ => {}
                    }
                }
            }
        }
        let (session, turn) = (session.to_owned(), turn.to_owned());
        self.link.recorder.add(self.link.client, What::Stuck { session, turn });
    }

    /// Chooses, now and then at the same time as somebody who chooses otherwise.
    async fn answer(&self, session: &str, permission: &PermissionRequest, rng: &mut StdRng) {
        self.beats.tell(Beat::Asked);
        if rng.random_bool(0.7) {
            sleep(Duration::from_millis(rng.random_range(1..300))).await;
        }
        let option = |kind: PermissionOptionKind| {
            let options = permission.options.iter();
            options.filter(|option| option.kind() == kind).map(|option| option.option_id.clone()).next()
        };
        let allow = option(PermissionOptionKind::AllowOnce).expect("it can be allowed");
        let reject = option(PermissionOptionKind::RejectOnce).expect("it can be rejected");
        let (first, second) = if rng.random_bool(0.7) { (allow, reject) } else { (reject, allow) };
        let (id, other) = (id(rng), id(rng));
        let mine = self.choose(&self.link, session, &permission.permission_id, &first, &id);
        if rng.random_bool(0.3) {
            let theirs = self.choose(&self.rival, session, &permission.permission_id, &second, &other);
            join(mine, theirs).await;
        } else {
            mine.await;
        }
    }

    async fn choose(&self, link: &Link, session: &str, permission: &str, option: &str, id: &str) {
        let choose = || {
            self.beats.tell(Beat::Answering);
            link.resolve(session, permission, option, id)
        };
        match until(choose, is_uncertain).await {
            Ok(_) => self.beats.tell(Beat::Answered),
            Err(status) => {
                let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
                assert_eq!(reason, "ALREADY_RESOLVED", "{session}: {permission} cannot be answered: {status}");
            }
        }
    }
}

fn id(rng: &mut StdRng) -> String {
    format!("r-{:016x}", rng.random::<u64>())
}

/// Asks again, with the same id, while nobody knows what became of it.
async fn until<T, F: Future<Output = Result<T, Status>>>(
    call: impl Fn() -> F,
    again: impl Fn(&Status) -> bool,
) -> Result<T, Status> {
    let end = Instant::now() + PATIENCE;
    loop {
        match call().await {
            Err(status) if again(&status) && Instant::now() < end => sleep(Duration::from_millis(15)).await,
            outcome => return outcome,
        }
    }
}

fn is_uncertain(status: &Status) -> bool {
    // A connection that the server's end cut says Internal, and has none of the server's own reasons.
    let cut = status.code() == Code::Internal && status.get_details_error_info().is_none();
    cut || matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded | Code::Unknown | Code::Cancelled)
}
