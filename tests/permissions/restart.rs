//! Requests whose server goes while they are open, or the moment they are answered: the agent gets every answer, once.

use std::{fs, path::Path, time::Duration};

use agent_runtime::proto::{self, InputOutcome, SessionStatus, TurnStatus};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    asked::{Asked, ask, resolve, turn_status},
    parked::{asks_again, kill_agents, the_same},
    support::{PATIENCE, Server, Sessions, get, play, snapshot},
};

const ROUNDS: u64 = 20;

fn open(data: &Path) -> Server {
    Server::start_on(data, &["--on-shutdown", "detach"])
}

/// Ends agents and all, so that nothing is left.
fn close(mut server: Server) {
    assert!(server.end(Signal::INT).status.success());
}

/// How often the agents were given the answer to this request.
fn answers_given(data: &Path) -> usize {
    let sandboxes = fs::read_dir(data.join("sandboxes")).expect("sandboxes");
    let execs = sandboxes.flatten().flat_map(|sandbox| fs::read_dir(sandbox.path().join("exec")).into_iter().flatten());
    let inputs = execs.flatten().filter_map(|exec| fs::read_to_string(exec.path().join("stdin")).ok());
    let lines: Vec<Value> =
        inputs.flat_map(|input| input.lines().map(str::to_owned).collect::<Vec<_>>()).map(parse).collect();
    lines.iter().filter(|line| line["type"] == "answer").count()
}

fn parse(line: String) -> Value {
    serde_json::from_str(&line).expect("whole lines")
}

async fn completed(sessions: &mut Sessions, id: &str) -> proto::SessionState {
    let ended = async {
        loop {
            let (state, _) = snapshot(sessions, id).await;
            if state.turns[0].status() as i32 >= TurnStatus::Completed as i32 {
                return state;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let state = tokio::time::timeout(PATIENCE, ended).await.expect("the turn ends");
    assert_eq!(state.turns[0].status(), TurnStatus::Completed, "{:?}", state.turns[0].error);
    state
}

#[tokio::test]
async fn a_request_is_answered_after_its_server_was_killed_or_upgraded() {
    for end in [None, Some(Signal::TERM)] {
        let data = TempDir::new().expect("a folder");
        let mut server = open(data.path());
        let mut asked = Asked::by(&mut server.sessions().await, &json!([ask(), { "say": "Done." }])).await;
        match end {
            None => drop(server.kill()),
            Some(signal) => assert!(server.end(signal).status.success()),
        }
        let server = open(data.path());
        let mut sessions = server.sessions().await;
        let session = get(&mut sessions, &asked.id).await;
        assert_eq!(session.status(), SessionStatus::AwaitingInput);
        assert_eq!(session.active_turn.expect("active").status(), TurnStatus::AwaitingInput, "its agent lives");
        asked.watch_again(&mut sessions).await;
        resolve(&mut sessions, asked.allow()).await.expect("answered");
        assert_eq!(asked.end().await.status(), TurnStatus::Completed);
        assert_eq!(asked.said(), ["It ran.", "Done."]);
        assert_eq!(answers_given(data.path()), 1);
        close(server);
    }
}

#[tokio::test]
async fn an_answer_that_was_acknowledged_reaches_the_agent_once_whenever_the_server_dies() {
    let mut rng = StdRng::seed_from_u64(3);
    let mut acknowledged = 0;
    for round in 0..ROUNDS {
        let data = TempDir::new().expect("a folder");
        let server = Server::start_on(data.path(), &["--on-shutdown", "detach", "--sandbox", "process"]);
        let mut sessions = server.sessions().await;
        let asked = Asked::by(&mut sessions, &json!([ask(), { "say": "Done." }])).await;
        let request = proto::ResolvePermissionRequest { request_id: format!("r{round}"), ..asked.allow() };
        let answering = resolve(&mut sessions, request.clone());
        // Some die before it is stored, most the moment it is.
        let dies = Duration::from_micros(rng.random_range(0..20_000));
        let answered = tokio::time::timeout(dies, answering).await;
        server.kill();
        let was_told = matches!(answered, Ok(Ok(_)));
        acknowledged += u32::from(was_told);
        let server = open(data.path());
        let mut sessions = server.sessions().await;
        // Whoever was not told asks again, by the same id.
        let again = resolve(&mut sessions, request).await.expect("answered, once or twice");
        assert_eq!(again.resolution.expect("how").outcome(), InputOutcome::Allowed);
        let state = completed(&mut sessions, &asked.id).await;
        assert_eq!(answers_given(data.path()), 1, "round {round}, acknowledged: {was_told}");
        assert_eq!(state.permissions.len(), 1);
        close(server);
    }
    assert!(acknowledged > 3, "only {acknowledged} were acknowledged: the rounds are too short");
}

#[tokio::test]
async fn a_deadline_that_passes_without_a_server_counts_all_the_same() {
    let data = TempDir::new().expect("a folder");
    let server = Server::start_on(data.path(), &["--on-shutdown", "detach", "--ask-timeout", "1s"]);
    let asked = Asked::by(&mut server.sessions().await, &json!([ask()])).await;
    server.kill();
    let deadline = asked.permission.expire_time.expect("a deadline");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock");
    let left = Duration::new(deadline.seconds.cast_unsigned(), deadline.nanos.cast_unsigned()).saturating_sub(now);
    tokio::time::sleep(left).await;
    let server = open(data.path());
    let mut sessions = server.sessions().await;
    let state = completed(&mut sessions, &asked.id).await;
    assert_eq!(state.permissions[0].resolution.as_ref().expect("over").outcome(), InputOutcome::Expired);
    close(server);
}

/// How the agent and its server go, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gone {
    /// The agent, then the server.
    AgentThenServer,
    /// The server, then the agent.
    ServerThenAgent,
    /// The server stops its agents.
    Stopped,
    /// The agent, then the server, right after the answer.
    Answered,
}

#[tokio::test]
async fn a_parked_turn_goes_on_after_a_restart() {
    for gone in [Gone::AgentThenServer, Gone::ServerThenAgent, Gone::Stopped, Gone::Answered] {
        let data = TempDir::new().expect("a folder");
        let mut server = open(data.path());
        let mut sessions = server.sessions().await;
        let mut asked = Asked::by(&mut sessions, &json!([asks_again(&json!([the_same()]))])).await;
        match gone {
            Gone::AgentThenServer | Gone::Answered => {
                kill_agents(data.path());
                asked.until(|event| turn_status(event) == Some(TurnStatus::Parked)).await;
                if gone == Gone::Answered {
                    resolve(&mut sessions, asked.allow()).await.expect("answered");
                }
                server.kill();
            }
            Gone::ServerThenAgent => {
                server.kill();
                kill_agents(data.path());
            }
            Gone::Stopped => assert!(server.end(Signal::INT).status.success()),
        }
        let server = open(data.path());
        let mut sessions = server.sessions().await;
        asked.watch_again(&mut sessions).await;
        if gone != Gone::Answered {
            let seen = |event: &proto::SessionEvent| turn_status(event) == Some(TurnStatus::Parked);
            if !asked.events.iter().any(seen) {
                asked.until(seen).await;
            }
            assert_eq!(get(&mut sessions, &asked.id).await.status(), SessionStatus::AwaitingInput, "{gone:?}");
            resolve(&mut sessions, asked.allow()).await.expect("answered");
        }
        assert_eq!(asked.end().await.status(), TurnStatus::Completed, "{gone:?}");
        assert_eq!(asked.said(), ["It ran after all."], "{gone:?}");
        assert_eq!(play(&mut sessions, &asked.id, "hello").await.turn.status(), TurnStatus::Completed);
        close(server);
    }
}
