//! The real Claude Code CLI, and the model that tells it what to say: numbers that run on through three answers, with a tool
//! between them.

use agent_runtime::dev::model::{self, Handle, Kind, Script};
use serde_json::json;
use tokio::net::TcpListener;

use super::Plan;
use crate::{cli, history::What, recorder::Recorder};

/// Numbers that it says in answer to one message.
pub const NUMBERS: u64 = 120;

/// Numbers of one answer, and the time between two of them: a message takes some five seconds.
const OF_ONE: u64 = 40;
const PACE_MS: u64 = 35;

/// The model, and the plan with what its servers need to know of it. `None`: there is no CLI here.
pub async fn prepare(mut plan: Plan) -> Option<(Plan, Handle)> {
    let program = cli::installed().await?;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let model = model::serve(listener, script()).expect("loopback");
    plan.setup.args.extend(["--claude-code".to_owned(), program.to_string_lossy().into_owned()]);
    plan.setup.env.extend(model.env().map(|(name, value)| (name.to_owned(), value)));
    Some((plan, model))
}

fn script() -> Script {
    let steps = (0..NUMBERS / OF_ONE).map(|answer| {
        let numbers = answer * OF_ONE + 1..=(answer + 1) * OF_ONE;
        let text = numbers.map(|number| format!("{number:019} ")).collect::<Vec<_>>().concat();
        let text = json!({"text": text, "chunk": 20, "pace_ms": PACE_MS});
        let tool = json!({"tool": "Bash", "input": {"command": format!("echo {answer} >> answers; sleep 0.3")}});
        let is_last = (answer + 1) * OF_ONE == NUMBERS;
        json!({"answer": if is_last { vec![text] } else { vec![text, tool] }})
    });
    Script::parse(&json!({"steps": steps.collect::<Vec<_>>()}).to_string()).expect("a script")
}

/// Takes down what the model was asked for.
pub fn asked(recorder: &Recorder, model: &Handle) {
    for seen in model.requests().into_iter().filter(|seen| seen.kind == Kind::Call) {
        recorder.add(0, What::Asked { session: seen.session, answers: seen.answers, prompt: seen.prompt });
    }
}
