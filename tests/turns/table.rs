//! The contract's table, state x command, against the real actor: every state that a turn can be brought into, and every
//! command on it, through the service.

use agent_runtime::{
    domain::{Busy, Command, Effect},
    proto::{
        AnswerQuestionRequest, Budget, BusyPolicy, CreateSessionRequest, QuestionAnswer, SessionOptions, SessionStatus,
        Turn, TurnStatus,
    },
};
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};
use tonic::Status;

use crate::{
    at_work::{Seen, agents, allow, cancel, get_turn, interrupt, queue, send_with, status},
    support::{Server, Sessions, destroy, get, pid_of, reason, stop},
};

/// The states of a turn.
const ALL: [TurnStatus; 10] = [
    TurnStatus::Queued,
    TurnStatus::Running,
    TurnStatus::AwaitingInput,
    TurnStatus::Parked,
    TurnStatus::Completed,
    TurnStatus::Interrupted,
    TurnStatus::Cancelled,
    TurnStatus::Failed,
    TurnStatus::BudgetExhausted,
    TurnStatus::Lost,
];

/// A session with a turn in some state, and what the agent asked in the turn or in the one before it.
struct There {
    seen: Seen,
    turn: Turn,
    asked: Asks,
}

/// What an agent asks.
#[derive(Clone, Debug)]
enum Asks {
    Permission(String),
    Question(String),
}

/// Asks, and then does this.
fn script(question: bool, then: &[Value]) -> String {
    let mut ask = if question {
        json!({ "question": [{ "question": "Which name?" }] })
    } else {
        json!({ "ask": { "tool": "Bash", "input": { "command": "ls" } } })
    };
    ask["again"] = json!([{ "say": "Never mind." }]);
    let mut steps = vec![ask];
    steps.extend(then.iter().cloned());
    Value::from(steps).to_string()
}

/// Answers with yes, or with a name.
async fn reply(sessions: &mut Sessions, id: &str, asked: &Asks) -> Result<(), Status> {
    match asked {
        Asks::Permission(permission_id) => allow(sessions, id, permission_id).await,
        Asks::Question(question_id) => {
            let answers = vec![QuestionAnswer { text: "Emil".into(), ..QuestionAnswer::default() }];
            let (session_id, question_id) = (id.to_owned(), question_id.clone());
            let request = AnswerQuestionRequest { session_id, question_id, answers, ..Default::default() };
            sessions.answer_question(request).await.map(drop)
        }
    }
}

/// A session whose turn may make one call of its model.
async fn limited(sessions: &mut Sessions) -> String {
    let budget = Some(Budget { turn_steps: 1, ..Budget::default() });
    let options = Some(SessionOptions { budget, ..SessionOptions::default() });
    let request = CreateSessionRequest { agent: "scripted".into(), options, ..Default::default() };
    sessions.create_session(request).await.expect("created").into_inner().session.expect("a session").session_id
}

async fn bring(server: &Server, sessions: &mut Sessions, wanted: TurnStatus, question: bool) -> There {
    let works = json!({ "pause_ms": 600_000 });
    let then = match wanted {
        TurnStatus::Running | TurnStatus::Queued => vec![works],
        // An agent is told what it asked, and goes on: only its sandbox's end loses its turn then.
        TurnStatus::Lost if question => vec![works],
        TurnStatus::Failed => vec![json!({ "error": "no idea" })],
        TurnStatus::BudgetExhausted => {
            let call = json!({ "usage": { "cost_micro_usd": 1 } });
            vec![call.clone(), call, works]
        }
        _ => Vec::new(),
    };
    let mut seen = match wanted {
        TurnStatus::BudgetExhausted => {
            let id = limited(sessions).await;
            Seen::of(sessions, id).await
        }
        _ => Seen::new(sessions).await,
    };
    let mut turn = seen.begin(sessions, &script(question, &then)).await;
    let id = seen.id.clone();
    let asked = if question {
        Asks::Question(seen.questioned().await.question_id)
    } else {
        Asks::Permission(seen.asked().await.permission_id)
    };
    match wanted {
        TurnStatus::AwaitingInput => {}
        TurnStatus::Running => reply(sessions, &id, &asked).await.expect("answered"),
        TurnStatus::Completed | TurnStatus::Failed | TurnStatus::BudgetExhausted => {
            reply(sessions, &id, &asked).await.expect("answered");
            seen.end_of(&turn).await;
        }
        TurnStatus::Lost if question => {
            reply(sessions, &id, &asked).await.expect("answered");
            seen.until(|event| status(event) == Some(TurnStatus::Running)).await;
            destroy(&server.data().join("sandboxes").join(get(sessions, &id).await.sandbox.expect("one").sandbox_id));
            seen.end_of(&turn).await;
        }
        TurnStatus::Parked | TurnStatus::Lost => {
            for pid in agents(server) {
                // Those of other sessions are idle, and started again when they are needed.
                kill_process(pid_of(pid), Signal::KILL).expect("killed");
            }
            seen.until(|event| status(event) == Some(TurnStatus::Parked)).await;
            if wanted == TurnStatus::Lost {
                reply(sessions, &id, &asked).await.expect("answered");
                seen.end_of(&turn).await;
            }
        }
        TurnStatus::Interrupted => {
            interrupt(sessions, &id, "").await.expect("told");
            seen.end_of(&turn).await;
        }
        // Behind a turn that is at work: what its agent asked is answered.
        TurnStatus::Queued => {
            reply(sessions, &id, &asked).await.expect("answered");
            turn = queue(sessions, &id, "waits").await;
        }
        TurnStatus::Cancelled => {
            let first = std::mem::replace(&mut turn, queue(sessions, &id, "waits").await);
            cancel(sessions, &id, &turn.turn_id).await.expect("cancelled");
            interrupt(sessions, &id, "").await.expect("told");
            seen.end_of(&first).await;
        }
        TurnStatus::Unspecified => panic!("not brought about here"),
    }
    let turn = get_turn(sessions, &id, &turn.turn_id).await.expect("there");
    assert_eq!(turn.status(), wanted);
    There { seen, turn, asked }
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
        Command::Resolve | Command::Answer => reply(sessions, &id, &there.asked).await.map(|()| None),
    }
}

/// Checks that the command has the effect that the table says.
async fn check(server: &Server, sessions: &mut Sessions, from: TurnStatus, command: Command) {
    let mut there = bring(server, sessions, from, command == Command::Answer).await;
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
    for command in Command::ALL {
        for from in ALL {
            check(&server, &mut sessions, from, command).await;
        }
    }
    // And without a turn.
    for command in [Command::Send(Busy::Reject), Command::Send(Busy::Queue), Command::Send(Busy::Interrupt)] {
        let seen = Seen::new(&mut sessions).await;
        let there = There { seen, turn: Turn::default(), asked: Asks::Permission(String::new()) };
        let turn = call(&mut sessions, &there, command).await.expect("accepted").expect("a turn");
        assert_eq!(turn.status(), TurnStatus::Running, "{command:?}");
    }
    let seen = Seen::new(&mut sessions).await;
    assert_eq!(interrupt(&mut sessions, &seen.id, "").await.expect("idle"), None);
    assert_eq!(stop(&mut sessions, &seen.id).await.status(), SessionStatus::Stopped);
}
