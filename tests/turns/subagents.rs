//! Subagents of the real Claude Code CLI: each a conversation of its own, with all that it says.

use agent_runtime::proto::{
    self, BlockState, Conversation, ExecutionStatus, SessionStatus, SubagentCall, TurnOrigin, TurnStatus, Usage,
    block::Content, session_event::Kind,
};
use serde_json::json;

use crate::{
    claude::{kill_programs, script, session, start},
    support::{self, Played, get, last_turn, play, send, snapshot, until, watch},
};

/// The conversation that was spawned with this task, and the block that tells of it.
fn spawned<'a>(state: &'a proto::SessionState, task: &str) -> (&'a Conversation, &'a proto::Block, &'a SubagentCall) {
    let call = |block: &'a proto::Block| match &block.content {
        Some(Content::Subagent(call)) if call.input == task => Some((block, call)),
        _ => None,
    };
    let (block, call) = state.blocks.iter().find_map(call).unwrap_or_else(|| panic!("no subagent was told: {task}"));
    let of = |conversation: &&Conversation| conversation.conversation_id == call.subagent_id;
    let conversation = state.conversations.iter().find(of).expect("a conversation");
    (conversation, block, call)
}

/// What blocks of this conversation say, each with its kind.
fn said(state: &proto::SessionState, conversation: &str) -> Vec<String> {
    let mine = state.blocks.iter().filter(|block| block.conversation_id == conversation);
    let say = |block: &proto::Block| match block.content.as_ref().expect("content") {
        Content::AssistantText(text) => Some(format!("text {}", text.text)),
        Content::Thinking(thought) => Some(format!("thinking {}", thought.text)),
        Content::ToolUse(tool) => Some(format!("tool_use {}", tool.tool_name)),
        Content::ToolResult(result) => match &result.output {
            Some(proto::tool_result::Output::Text(text)) => Some(format!("tool_result {text}")),
            _ => Some("tool_result".to_owned()),
        },
        Content::Subagent(call) => Some(format!("subagent {}", call.input)),
        Content::UserMessage(_) | Content::Error(_) => Some("other".to_owned()),
        Content::System(_) => None,
    };
    mine.filter_map(say).collect()
}

/// Conversations, turns and the session have used the same.
fn adds_up(state: &proto::SessionState) {
    let add = |sum: Usage, usage: Option<Usage>| {
        let more = usage.unwrap_or_default();
        Usage {
            input_tokens: sum.input_tokens + more.input_tokens,
            output_tokens: sum.output_tokens + more.output_tokens,
            cache_read_tokens: sum.cache_read_tokens + more.cache_read_tokens,
            cache_write_tokens: sum.cache_write_tokens + more.cache_write_tokens,
            thinking_tokens: sum.thinking_tokens + more.thinking_tokens,
            total_tokens: sum.total_tokens + more.total_tokens,
            cost_micro_usd: sum.cost_micro_usd + more.cost_micro_usd,
        }
    };
    let all = state.session.as_ref().and_then(|session| session.usage).expect("usage");
    assert_eq!(state.turns.iter().fold(Usage::default(), |sum, turn| add(sum, turn.usage)), all);
    assert_eq!(state.conversations.iter().fold(Usage::default(), |sum, held| add(sum, held.usage)), all);
}

/// All that was read is known, and nobody was shown the words that only a model is told.
fn is_clean(played: &Played) {
    assert!(played.unparsed().is_empty(), "{:?}", played.unparsed());
    assert!(played.logged().is_empty(), "{:?}", played.logged());
    let told = format!("{:?}", played.events);
    assert!(!told.contains("hand-back"), "the frame around a report is shown");
}

fn used(conversation: &Conversation) -> (i64, i64) {
    let usage = conversation.usage.unwrap_or_default();
    (usage.input_tokens, usage.output_tokens)
}

#[tokio::test]
async fn two_subagents_at_once_are_two_conversations() {
    let call = |name: &str, task: &str| {
        json!({ "tool": "Agent", "input": {
        "description": task, "prompt": task, "subagent_type": name, "run_in_background": false,
    } })
    };
    let used_by = |input: i64, output: i64| json!({ "input_tokens": input, "output_tokens": output });
    let script = script(json!([
        { "answer": [{ "text": "I ask two." }, call("general-purpose", "count alpha"), call("Explore", "look beta")],
          "usage": used_by(1000, 100) },
        { "answer": [{ "text": "Both are done." }], "usage": used_by(2000, 200) },
        { "when": "count alpha", "answer": [
            { "thinking": "How many?" }, { "text": "I count." },
            { "tool": "Bash", "input": { "command": "echo 17", "description": "Count" } },
        ], "usage": used_by(300, 30) },
        { "answer": [{ "text": "Alpha has {{result}}." }], "usage": used_by(310, 31) },
        { "when": "look beta", "answer": [{ "text": "Beta is\n\nempty." }], "usage": used_by(400, 40) },
    ]));
    let Some((server, model)) = start(script).await else { return };
    let mut sessions = server.sessions().await;
    let id = session(&mut sessions).await;
    let played = play(&mut sessions, &id, "Ask somebody.").await;
    assert_eq!((played.turn.status(), &played.turn.error), (TurnStatus::Completed, &None));
    is_clean(&played);
    let state = &played.state;
    assert!(state.blocks.iter().all(|block| block.state() == BlockState::Complete), "{:#?}", state.blocks);

    let (alpha, block, call) = spawned(state, "count alpha");
    assert_eq!((alpha.parent_conversation_id.as_str(), alpha.name.as_str()), ("main", "general-purpose"));
    assert_eq!((alpha.status(), call.status()), (ExecutionStatus::Succeeded, ExecutionStatus::Succeeded));
    assert_eq!(alpha.tool_use_id, call.tool_use_id);
    assert_eq!(block.block_id, format!("sub:{}", call.tool_use_id));
    assert_eq!((block.conversation_id.as_str(), block.turn_id.as_str()), ("main", played.turn.turn_id.as_str()));
    assert_eq!(call.output, "Alpha has 17.");
    assert!(call.duration.is_some_and(|took| took.seconds > 0 || took.nanos > 0), "{call:?}");
    assert!(!alpha.model.is_empty());
    assert_eq!(
        said(state, &alpha.conversation_id),
        ["thinking How many?", "text I count.", "tool_use Bash", "tool_result 17", "text Alpha has 17."]
    );
    let (beta, _, call) = spawned(state, "look beta");
    assert_eq!((beta.name.as_str(), call.name.as_str()), ("Explore", "Explore"));
    assert_eq!((call.output.as_str(), call.status()), ("Beta is\n\nempty.", ExecutionStatus::Succeeded));
    assert_eq!(said(state, &beta.conversation_id), ["text Beta is\n\nempty."]);
    let main = said(state, "main");
    assert!(main.contains(&"tool_result Alpha has 17.".to_owned()), "{main:?}");
    assert!(main.contains(&"tool_result Beta is\n\nempty.".to_owned()), "{main:?}");
    assert_eq!(main.last().map(String::as_str), Some("text Both are done."));

    // What each used is what the model said it did.
    assert_eq!((used(alpha), used(beta)), ((610, 61), (400, 40)));
    let main = state.conversations.iter().find(|held| held.conversation_id == "main").expect("main");
    assert_eq!(used(main), (3000, 300));
    adds_up(state);
    model.shutdown().await;
}

#[tokio::test]
async fn a_subagent_of_a_subagent_stands_below_it() {
    let call = |task: &str| {
        json!({ "tool": "Agent", "input": {
        "description": task, "prompt": task, "subagent_type": "general-purpose", "run_in_background": false,
    } })
    };
    let script = script(json!([
        { "answer": [call("outer task")] },
        { "answer": [{ "text": "Done." }] },
        { "when": "outer task", "answer": [{ "text": "I delegate." }, call("inner task")] },
        { "answer": [{ "text": "Outer report." }] },
        { "when": "inner task", "answer": [{ "text": "Inner report." }] },
    ]));
    let Some((server, model)) = start(script).await else { return };
    let mut sessions = server.sessions().await;
    let id = session(&mut sessions).await;
    let played = play(&mut sessions, &id, "Go deep.").await;
    assert_eq!((played.turn.status(), &played.turn.error), (TurnStatus::Completed, &None));
    is_clean(&played);
    let (outer, _, first) = spawned(&played.state, "outer task");
    let (inner, block, second) = spawned(&played.state, "inner task");
    assert_eq!(outer.parent_conversation_id, "main");
    assert_eq!(inner.parent_conversation_id, outer.conversation_id);
    assert_eq!(block.conversation_id, outer.conversation_id);
    assert_eq!((first.output.as_str(), second.output.as_str()), ("Outer report.", "Inner report."));
    assert!(second.duration.is_some());
    assert_eq!(
        said(&played.state, &outer.conversation_id),
        [
            "text I delegate.",
            "tool_use Agent",
            "subagent inner task",
            "tool_result Inner report.",
            "text Outer report."
        ]
    );
    assert_eq!(said(&played.state, &inner.conversation_id), ["text Inner report."]);
    adds_up(&played.state);
    model.shutdown().await;
}

/// A script whose subagent works in the background until a file is there.
fn in_background() -> agent_runtime::dev::model::Script {
    script(json!([
        { "answer": [{ "tool": "Agent", "input": {
            "description": "Wait", "prompt": "wait for it", "subagent_type": "general-purpose",
            "run_in_background": true,
        } }] },
        { "answer": [{ "text": "It is on its way." }] },
        { "when": "wait for it", "answer": [
            { "text": "I wait." },
            { "tool": "Bash", "input": { "command": "while [ ! -e go ]; do sleep 0.1; done; echo gone" } },
        ] },
        { "answer": [{ "text": "It is {{result}}." }] },
    ]))
}

#[tokio::test]
async fn a_subagent_in_the_background_outlives_its_turn_and_starts_another() {
    let Some((server, model)) = start(in_background()).await else { return };
    let mut sessions = server.sessions().await;
    let id = session(&mut sessions).await;
    let played = play(&mut sessions, &id, "Begin.").await;
    assert_eq!((played.turn.status(), &played.turn.error), (TurnStatus::Completed, &None));
    is_clean(&played);
    let mut stream = watch(&mut sessions, &id, Some(0)).await.expect("a watch");
    let mut events = until(&mut stream, |event| {
        matches!(&event.kind, Some(Kind::BlockUpdate(_) | Kind::BlockStart(_)))
            && event.conversation_id.starts_with("toolu_")
    })
    .await;

    // The turn is over, the subagent is not.
    let (state, _) = snapshot(&mut sessions, &id).await;
    let (conversation, block, call) = spawned(&state, "wait for it");
    assert_eq!((conversation.status(), call.status()), (ExecutionStatus::Running, ExecutionStatus::Running));
    assert_eq!(block.state(), BlockState::Streaming);
    assert_eq!(state.session.as_ref().expect("a session").status(), SessionStatus::Idle);

    let go = server.data().join("sandboxes").join(get(&mut sessions, &id).await.sandbox.expect("one").sandbox_id);
    std::fs::write(go.join("workspace/go"), "").expect("written");
    let of_agent = |event: &proto::SessionEvent| match &event.kind {
        Some(Kind::TurnUpdated(update)) => {
            let turn = update.turn.as_ref().expect("a turn");
            turn.origin() == TurnOrigin::Agent && turn.end_time.is_some()
        }
        _ => false,
    };
    events.extend(until(&mut stream, of_agent).await);
    let turn = last_turn(&events);
    assert_eq!((turn.status(), turn.block_id.as_str()), (TurnStatus::Completed, ""));

    let (state, _) = snapshot(&mut sessions, &id).await;
    let (conversation, block, call) = spawned(&state, "wait for it");
    assert_eq!((conversation.status(), call.status()), (ExecutionStatus::Succeeded, ExecutionStatus::Succeeded));
    assert_eq!((block.state(), call.output.as_str()), (BlockState::Complete, "It is gone."));
    assert!(call.duration.is_some());
    assert_eq!(
        said(&state, &conversation.conversation_id),
        ["text I wait.", "tool_use Bash", "tool_result gone", "text It is gone."]
    );
    let mine = state.blocks.iter().filter(|block| block.conversation_id == conversation.conversation_id);
    assert!(mine.clone().all(|block| block.state() == BlockState::Complete), "{:#?}", mine.collect::<Vec<_>>());
    adds_up(&state);
    model.shutdown().await;
}

#[tokio::test]
async fn a_subagent_ends_with_its_process() {
    let Some((server, model)) = start(in_background()).await else { return };
    let mut sessions = server.sessions().await;
    let id = session(&mut sessions).await;
    let played = play(&mut sessions, &id, "Begin.").await;
    assert_eq!(played.turn.status(), TurnStatus::Completed);
    let mut stream = watch(&mut sessions, &id, Some(0)).await.expect("a watch");
    let speaks = |event: &proto::SessionEvent| {
        matches!(&event.kind, Some(Kind::BlockStart(_))) && event.conversation_id.starts_with("toolu_")
    };
    until(&mut stream, speaks).await;
    kill_programs(&server);
    let failed = |event: &proto::SessionEvent| match &event.kind {
        Some(Kind::BlockComplete(complete)) => {
            complete.block.as_ref().is_some_and(|block| block.block_id.starts_with("sub:"))
        }
        _ => false,
    };
    until(&mut stream, failed).await;
    let (state, _) = snapshot(&mut sessions, &id).await;
    let (conversation, block, call) = spawned(&state, "wait for it");
    assert_eq!((conversation.status(), call.status()), (ExecutionStatus::Failed, ExecutionStatus::Failed));
    assert_eq!(block.state(), BlockState::Interrupted);
    assert!(state.blocks.iter().all(|block| block.state() != BlockState::Streaming));
    // The next message works.
    let (turn, after) = send(&mut sessions, &id, "And now?").await.expect("accepted");
    let mut stream = watch(&mut sessions, &id, Some(after)).await.expect("a watch");
    let events = support::until_end_of(&mut stream, &turn.turn_id).await;
    assert_eq!(last_turn(&events).status(), TurnStatus::Completed);
    model.shutdown().await;
}
