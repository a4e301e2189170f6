//! The contract's table, state x command, against the real actor: every state that a turn can be brought into, and every
//! command on it, through the service.

use agent_runtime::{
    domain::{Busy, Command, Effect},
    proto::{BusyPolicy, SessionStatus, Turn, TurnStatus},
};
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};
use tonic::Status;

use crate::{
    at_work::{Seen, agents, allow, cancel, get_turn, interrupt, queue, send_with, status},
    support::{Server, Sessions, pid_of, reason, stop},
};

/// The states of a turn that can be reached without a budget.
const REACHED: [TurnStatus; 9] = [
    TurnStatus::Queued,
    TurnStatus::Running,
    TurnStatus::AwaitingInput,
    TurnStatus::Parked,
    TurnStatus::Completed,
    TurnStatus::Interrupted,
    TurnStatus::Cancelled,
    TurnStatus::Failed,
    TurnStatus::Lost,
];

/// A session with a turn in some state, and a permission request of the turn or of the one before it.
struct There {
    seen: Seen,
    turn: Turn,
    permission_id: String,
}

fn script(then: &[Value]) -> String {
    let ask = json!({ "ask": { "tool": "Bash", "input": { "command": "ls" } }, "again": [{ "say": "Never mind." }] });
    let mut steps = vec![ask];
    steps.extend(then.iter().cloned());
    Value::from(steps).to_string()
}

async fn bring(server: &Server, sessions: &mut Sessions, wanted: TurnStatus) -> There {
    let then = match wanted {
        TurnStatus::Running => vec![json!({ "pause_ms": 600_000 })],
        TurnStatus::Failed => vec![json!({ "error": "no idea" })],
        _ => Vec::new(),
    };
    let (mut seen, mut turn) = Seen::at_work(sessions, &script(&then)).await;
    let id = seen.id.clone();
    let permission_id = seen.asked().await.permission_id;
    match wanted {
        TurnStatus::AwaitingInput => {}
        TurnStatus::Running => allow(sessions, &id, &permission_id).await.expect("answered"),
        TurnStatus::Completed | TurnStatus::Failed => {
            allow(sessions, &id, &permission_id).await.expect("answered");
            seen.end_of(&turn).await;
        }
        TurnStatus::Parked | TurnStatus::Lost => {
            for pid in agents(server) {
                // Those of other sessions are idle, and started again when they are needed.
                kill_process(pid_of(pid), Signal::KILL).expect("killed");
            }
            seen.until(|event| status(event) == Some(TurnStatus::Parked)).await;
            if wanted == TurnStatus::Lost {
                allow(sessions, &id, &permission_id).await.expect("answered");
                seen.end_of(&turn).await;
            }
        }
        TurnStatus::Interrupted => {
            interrupt(sessions, &id, "").await.expect("told");
            seen.end_of(&turn).await;
        }
        TurnStatus::Queued | TurnStatus::Cancelled => {
            let first = std::mem::replace(&mut turn, queue(sessions, &id, "waits").await);
            if wanted == TurnStatus::Cancelled {
                cancel(sessions, &id, &turn.turn_id).await.expect("cancelled");
                interrupt(sessions, &id, "").await.expect("told");
                seen.end_of(&first).await;
            }
        }
        TurnStatus::Unspecified | TurnStatus::BudgetExhausted => panic!("not brought about here"),
    }
    let turn = get_turn(sessions, &id, &turn.turn_id).await.expect("there");
    assert_eq!(turn.status(), wanted);
    There { seen, turn, permission_id }
}

fn in_domain(status: TurnStatus) -> agent_runtime::domain::TurnStatus {
    let all = agent_runtime::domain::TurnStatus::ALL.into_iter();
    all.into_iter().find(|domain| TurnStatus::from(*domain) == status).expect("each has its like")
}

/// Calls, and gives the turn that the call was about or made.
async fn call(sessions: &mut Sessions, there: &There, command: Command) -> Result<Option<Turn>, Status> {
    let (id, turn_id) = (there.seen.id.clone(), there.turn.turn_id.clone());
    let send = |busy| match busy {
        Busy::Reject => BusyPolicy::Reject,
        Busy::Queue => BusyPolicy::Queue,
        Busy::Interrupt => BusyPolicy::Interrupt,
    };
    match command {
        Command::Send(busy) => send_with(sessions, &id, r#"[{"say":"Next."}]"#, send(busy)).await.map(Some),
        Command::Interrupt => interrupt(sessions, &id, &turn_id).await,
        Command::Cancel => cancel(sessions, &id, &turn_id).await.map(Some),
        Command::Stop => {
            assert_eq!(stop(sessions, &id).await.status(), SessionStatus::Stopped);
            Ok(None)
        }
        Command::Resolve => allow(sessions, &id, &there.permission_id).await.map(|()| None),
        Command::Answer => panic!("questions have tests of their own"),
    }
}

/// Checks that the command has the effect that the table says.
async fn check(server: &Server, sessions: &mut Sessions, from: TurnStatus, command: Command) {
    let mut there = bring(server, sessions, from).await;
    let (id, turn_id) = (there.seen.id.clone(), there.turn.turn_id.clone());
    let answer = call(sessions, &there, command).await;
    let what = format!("{command:?} on {from:?}");
    let after = |turn: Result<Turn, Status>| turn.expect("there").status();
    match command.effect(in_domain(from)) {
        Effect::Refuse(expected) => {
            assert_eq!(reason(&answer.expect_err(&what)), expected.as_str(), "{what}");
            assert_eq!(after(get_turn(sessions, &id, &turn_id).await), from, "{what}");
        }
        Effect::Proceed => {
            let answer = answer.expect(&what);
            assert_eq!(after(get_turn(sessions, &id, &turn_id).await), from, "{what}");
            if let (Command::Send(_), Some(next)) = (command, answer) {
                assert_eq!(next.status(), TurnStatus::Running, "{what}");
                assert_eq!(there.seen.end_of(&next).await.status(), TurnStatus::Completed, "{what}");
            }
        }
        Effect::End(end) => {
            let answer = answer.expect(&what);
            let end = TurnStatus::from(end);
            assert_eq!(there.seen.end_of(&there.turn.clone()).await.status(), end, "{what}");
            if let (Command::Send(_), Some(next)) = (command, answer) {
                assert_eq!(there.seen.end_of(&next).await.status(), TurnStatus::Completed, "{what}");
            }
        }
        Effect::GoOn => {
            answer.expect(&what);
            let running = |event: &agent_runtime::proto::SessionEvent| status(event) == Some(TurnStatus::Running);
            there.seen.until(running).await;
            // Whatever comes of it, it comes to an end.
            there.seen.end_of(&there.turn.clone()).await;
        }
        Effect::Wait => {
            let next = answer.expect(&what).expect("a turn");
            assert_eq!((next.status(), next.goes_first), (TurnStatus::Queued, false), "{what}");
            assert_eq!(after(get_turn(sessions, &id, &turn_id).await), from, "{what}");
        }
        Effect::Overtake => {
            let next = answer.expect(&what).expect("a turn");
            assert_eq!(there.seen.end_of(&next).await.status(), TurnStatus::Completed, "{what}");
            let waited = there.seen.events.iter().position(|event| crate::support::ended(event, &turn_id));
            assert_eq!(waited, None, "{what}: it went before");
        }
    }
    // Nothing of it is left for the next case.
    stop(sessions, &id).await;
}

#[tokio::test]
async fn every_command_has_its_effect_on_a_turn_in_every_state() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let commands = Command::ALL.into_iter().filter(|command| *command != Command::Answer);
    for command in commands {
        for from in REACHED {
            // A turn that waits is behind another one, which is what a message or an answer is about then.
            if from == TurnStatus::Queued && command == Command::Resolve {
                continue;
            }
            check(&server, &mut sessions, from, command).await;
        }
    }
    // And without a turn.
    for command in [Command::Send(Busy::Reject), Command::Send(Busy::Queue), Command::Send(Busy::Interrupt)] {
        let seen = Seen::new(&mut sessions).await;
        let there = There { seen, turn: Turn::default(), permission_id: String::new() };
        let turn = call(&mut sessions, &there, command).await.expect("accepted").expect("a turn");
        assert_eq!(turn.status(), TurnStatus::Running, "{command:?}");
    }
    let seen = Seen::new(&mut sessions).await;
    assert_eq!(interrupt(&mut sessions, &seen.id, "").await.expect("idle"), None);
    assert_eq!(stop(&mut sessions, &seen.id).await.status(), SessionStatus::Stopped);
}
