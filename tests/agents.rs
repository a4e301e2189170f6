//! Claude Code's parser against what real CLIs printed and stored, and against garbage.

#[path = "agents/captures.rs"]
mod captures;
#[path = "agents/mutate.rs"]
mod mutate;
#[path = "agents/render.rs"]
mod render;

use std::{fs, path::Path};

use agent_runtime::{
    agent::{self, Action, Draft, Outcome, Parser, Setup},
    domain::{
        Agent, BlockId, Content, ContentPart, ExecutionStatus, PermissionAnswer, PermissionEffect, PermissionPolicy,
        PermissionRule, ProfileSetup, Reason, Usage,
    },
};
use captures::Capture;
use proptest::prelude::*;
use render::Transcript;
use serde_json::json;

fn setup() -> Setup {
    Setup { program: "claude".to_owned(), fresh_session: "f".to_owned(), ..Setup::default() }
}

fn parser() -> Parser {
    agent::plan(Agent::ClaudeCode, &setup()).unwrap().parser
}

fn feed(parser: &mut Parser, bytes: &[u8]) -> Vec<Action> {
    let mut actions = Vec::new();
    parser.feed(bytes, &mut actions);
    actions
}

fn finish(parser: &mut Parser) -> Vec<Action> {
    let mut actions = Vec::new();
    parser.finish(&mut actions);
    actions
}

/// All actions of an output that was read at once.
fn actions(stdout: &[u8]) -> Vec<Action> {
    let mut parser = parser();
    let mut actions = feed(&mut parser, stdout);
    actions.extend(finish(&mut parser));
    actions
}

/// As [`actions`], with a message given before the output and after each end of a turn.
fn answered(stdout: &[u8], prompts: &[&str]) -> Vec<Action> {
    let (mut parser, mut actions, mut prompts) = (parser(), Vec::new(), prompts.iter());
    let mut next = true;
    for line in stdout.split_inclusive(|byte| *byte == b'\n') {
        if std::mem::take(&mut next)
            && let Some(prompt) = prompts.next()
        {
            parser.prompted(&BlockId::new(*prompt));
        }
        let fresh = feed(&mut parser, line);
        next = fresh.iter().any(|action| matches!(action, Action::TurnEnded(_)));
        actions.extend(fresh);
    }
    actions
}

/// All actions of a capture, with the messages that were given where the output alone does not tell.
fn read(capture: &Capture) -> Vec<Action> {
    if !capture.name.starts_with("claude-code-2.1.197/") {
        return actions(&capture.stdout);
    }
    let lines = capture.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let lines = lines.map(|line| serde_json::from_slice::<serde_json::Value>(line).unwrap());
    let mut prompts: Vec<_> =
        lines.filter(|line| line["isReplay"] == true).map(|line| line["uuid"].as_str().unwrap().to_owned()).collect();
    if capture.name.ends_with("/replay") {
        // What a command of the CLI's own is echoed as is another message.
        prompts = ["5", "6", "7"].map(|last| format!("11111111-2222-4333-8444-55555555555{last}")).into();
    }
    answered(&capture.stdout, &prompts.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn captures_become_the_blocks_and_turns_that_a_reader_finds_in_them() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/agents");
    let mut wrong = Vec::new();
    for capture in captures::all() {
        let name = &capture.name;
        let found = read(capture);
        let path = folder.join(format!("{}.txt", name.replace('/', "-")));
        let expected = fs::read_to_string(&path).unwrap_or_default();
        let found = Transcript::of(&found).render();
        if found != expected {
            wrong.push(format!("== {} ==\n-- expected --\n{expected}-- found --\n{found}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_line_of_every_capture_is_known() {
    for capture in captures::all() {
        let name = &capture.name;
        let transcript = Transcript::of(&read(capture));
        assert_eq!((transcript.unparsed, transcript.logs), (0, Vec::new()), "{name}");
    }
}

/// Where to cut: anywhere in a short output, else at and around every line end and at 500 other places.
fn cuts(stdout: &[u8]) -> Vec<usize> {
    if stdout.len() < 10_000 {
        return (0..=stdout.len()).collect();
    }
    let ends = stdout.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at);
    let mut cuts: Vec<usize> = ends.flat_map(|at| [at, at + 1, (at + 2).min(stdout.len())]).collect();
    let mut seed = 7_u64;
    cuts.extend((0..500).map(|_| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % stdout.len()
    }));
    cuts.extend([0, stdout.len()]);
    cuts.sort_unstable();
    cuts.dedup();
    cuts
}

/// What was said up to a cut, and what a parser restored there says of the rest, is what one says of all.
#[test]
fn a_parser_restored_anywhere_goes_on_as_if_it_had_never_stopped() {
    for Capture { name, stdout, .. } in captures::all() {
        let whole = actions(stdout);
        let (mut parser, mut before, mut last, mut fed) = (parser(), Vec::new(), None, 0);
        for cut in cuts(stdout) {
            before.extend(feed(&mut parser, &stdout[fed..cut]));
            fed = cut;
            let checkpoint = parser.checkpoint();
            if last.as_ref() == Some(&checkpoint) {
                continue;
            }
            let mut restored = Parser::restore(Agent::ClaudeCode, &checkpoint).unwrap();
            assert_eq!(restored.checkpoint(), checkpoint, "{name} cut at {cut}");
            let offset = usize::try_from(checkpoint.offset).unwrap();
            assert!(offset <= cut);
            let mut rest = feed(&mut restored, &stdout[offset..]);
            rest.extend(finish(&mut restored));
            assert_eq!(before.len() + rest.len(), whole.len(), "{name} cut at {cut}");
            assert!(before[..] == whole[..before.len()] && rest == whole[before.len()..], "{name} cut at {cut}");
            last = Some(checkpoint);
        }
        assert_eq!(last.unwrap().offset, stdout.len() as u64);
    }
}

#[test]
fn a_checkpoint_holds_no_text_of_blocks() {
    for Capture { name, stdout, .. } in captures::all() {
        let mut parser = parser();
        for line in stdout.split_inclusive(|byte| *byte == b'\n') {
            feed(&mut parser, line);
            let state = parser.checkpoint().state;
            for word in ["stub-bash-output", "Hello from", "word1", "file_path", "Forty", "SCENARIO"] {
                assert!(!state.contains(word), "{name}: {state}");
            }
        }
    }
}

/// What stood before a stream broke off: it is told, and the CLI asks anew.
fn is_broken(content: &Content) -> bool {
    match content {
        Content::AssistantText { text, .. } => text == "Some words t",
        Content::ToolUse(tool) => tool.status == ExecutionStatus::Pending,
        _ => false,
    }
}

#[test]
fn live_ids_are_the_ids_that_the_cli_stored() {
    let mut wrong = Vec::new();
    for capture in captures::all().iter().filter(|capture| capture.name != "made") {
        let (name, stored) = (&capture.name, captures::stored(&capture.folder));
        let transcript = Transcript::of(&read(capture));
        let mut live = Vec::new();
        for shown in &transcript.shown {
            // Notices are not stored, nor is what a local command printed, nor a block that a signal or a cut connection ended.
            let is_cut = shown.state == "open" || (name.ends_with("/breaks") && is_broken(&shown.content));
            let is_local = matches!(&shown.content, Content::AssistantText { model, .. } if model.is_empty());
            // Nor is a subagent of a definition that there is not.
            let is_none = matches!(&shown.content, Content::Subagent(call) if call.name == "nosuch");
            // What it stores of agents of a workflow lies elsewhere.
            let of_workflow =
                matches!(&shown.content, Content::Subagent(call) if call.tool_use_id != call.subagent_id.as_str());
            if is_cut || is_local || is_none || of_workflow || matches!(shown.content, Content::System { .. }) {
                continue;
            }
            if stored.get(&shown.id) != Some(&shown.conversation) {
                wrong.push(format!("{name}: {} in {} is not stored", shown.id, shown.conversation));
            }
            live.push(shown.id.as_str());
        }
        for prompt in transcript.turns.iter().filter_map(|(prompt, ..)| prompt.as_ref()) {
            // What a command of the CLI's own is stored under, this version says nowhere.
            let is_local = name == "claude-code-2.1.197/replay" && prompt.ends_with('7');
            // What a hook keeps back is not stored.
            let is_blocked = name.ends_with("/blocked") && prompt.starts_with("87d03cdc");
            if !is_local && !is_blocked && !stored.contains_key(prompt) {
                wrong.push(format!("{name}: the message {prompt} is not stored"));
            }
        }
        // The other way round: but for what other processes stored in the same file, and the text of subagents.
        let is_shared = name.contains("bash") || name.contains("/resumed") || name.ends_with("/fork");
        for (id, conversation) in &stored {
            let is_block = id.contains("msg_") || id.starts_with("toolu_") || id.starts_with("result:");
            // Only where it is asked for are the words of subagents told, and one version never tells those of subagents
            // of subagents.
            let is_forwarded = ["/subtext", "/nested", "/taskbg", "/subs", "/sendmsg", "/intsub"]
                .iter()
                .any(|asked| name.ends_with(asked));
            let is_deep = name == "claude-code-2.1.197/nested"
                && stored.get(&format!("sub:{conversation}")).is_some_and(|parent| parent != "main");
            // Nor does it tell how a tool of a subagent ended that was interrupted.
            let is_deep = is_deep || (name.ends_with("/intsub") && id.starts_with("result:"));
            let is_hidden = conversation != "main" && ((id.contains("msg_") && !is_forwarded) || is_deep);
            if !is_shared && is_block && !is_hidden && !live.contains(&id.as_str()) {
                wrong.push(format!("{name}: {id} is not shown"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn conversations_and_turns_add_up_to_what_the_cli_counted() {
    let sum = |usages: Vec<Usage>| {
        usages.into_iter().fold(Usage::default(), |mut sum, usage| {
            sum += usage;
            sum
        })
    };
    for capture in captures::all().iter().filter(|capture| capture.name != "made") {
        let transcript = Transcript::of(&read(capture));
        let turns = sum(transcript.turns.iter().map(|turn| turn.2).collect());
        assert_eq!(sum(transcript.used.into_values().collect()), turns, "{}", capture.name);
    }
    for (name, cost) in [("ctl", 15_353), ("task2", 9_600), ("inttool", 2_940), ("sigint", 1_690)] {
        let stdout = &captures::named(&format!("claude-code-2.1.329/{name}")).stdout;
        let transcript = Transcript::of(&actions(stdout));
        let turns = sum(transcript.turns.iter().map(|turn| turn.2).collect());
        assert_eq!(turns.cost_micro_usd, cost, "{name}");
        assert_eq!(sum(transcript.used.into_values().collect()), turns, "{name}");

        // Versions that do not tell what a turn used: the totals tell the same.
        let text = String::from_utf8_lossy(stdout).replace("model_usage_since_last_result", "elided");
        let without = Transcript::of(&actions(text.as_bytes()));
        assert_eq!(
            without.turns.iter().map(|turn| turn.2).collect::<Vec<_>>(),
            transcript.turns.iter().map(|turn| turn.2).collect::<Vec<_>>(),
            "{name}"
        );
    }
}

#[test]
fn an_answer_that_comes_before_the_echo_belongs_to_the_message_that_was_given() {
    let turns = |actions: &[Action]| Transcript::of(actions).turns.into_iter().map(|turn| turn.0).collect::<Vec<_>>();
    // It is no message of its own when its echo comes, and the one that has no echo is told, too.
    let given = turns(&read(captures::named("claude-code-2.1.197/replay")));
    assert_eq!(given, ["5", "6", "7"].map(|last| Some(format!("11111111-2222-4333-8444-55555555555{last}"))));
}

#[test]
fn a_message_that_was_given_is_remembered_over_a_cut() {
    let mut parser = parser();
    parser.prompted(&BlockId::new("p"));
    let mut restored = Parser::restore(Agent::ClaudeCode, &parser.checkpoint()).unwrap();
    let actions = feed(&mut restored, &[GOOD, b"\n"].concat());
    assert_eq!(actions[0], Action::TurnStarted { block_id: Some(BlockId::new("p")) });
}

#[test]
fn what_is_not_shown_counts_as_a_block_and_an_end_is_told_once() {
    let said = r#"{"type":"assistant","parent_tool_use_id":"s","message":{"id":"m","model":"x","content":[{"type":"text","text":"one"},{"type":"compaction"},{"type":"text","text":"two"}]}}"#;
    let over = r#"{"type":"system","subtype":"task_notification","task_id":"t","tool_use_id":"s","status":"completed","summary":"done"}"#;
    let found = actions([said, over, over, ""].join("\n").as_bytes());
    // Two ends would be two completions of one block, which this refuses.
    let transcript = Transcript::of(&found);
    let ids: Vec<_> = transcript.shown.iter().map(|shown| shown.id.as_str()).collect();
    assert_eq!(ids, ["sub:s", "m/0", "m/2"]);
    let ends = found.iter().filter(|action| {
        matches!(action, Action::Emit(Draft::Conversation { status: ExecutionStatus::Succeeded, .. }))
    });
    assert_eq!(ends.count(), 1);
}

#[test]
fn a_state_of_the_build_before_is_gone_on_with() {
    // Of the build before subagents were told, with one at work in the background.
    let state = include_str!("agents/previous.json").trim_end().to_owned();
    let mut parser =
        Parser::restore(Agent::ClaudeCode, &agent::Checkpoint { version: 1, offset: 77, state: state.clone() })
            .unwrap();
    let lines = r#"{"type":"assistant","parent_tool_use_id":"toolu_01M8AJ83GS9K9CJ6HBXWZNEBS0","subagent_type":"general-purpose","message":{"id":"msg_9","model":"m","content":[{"type":"text","text":"more"}]}}
{"type":"system","subtype":"task_notification","task_id":"a4079c195dea7d922","tool_use_id":"toolu_01M8AJ83GS9K9CJ6HBXWZNEBS0","status":"completed","summary":"done"}
"#;
    let transcript = Transcript::of(&feed(&mut parser, lines.as_bytes())).render();
    assert_eq!(
        transcript,
        r#"conversation toolu_01M8AJ83GS9K9CJ6HBXWZNEBS0 of main "general-purpose" pending
subagent sub:toolu_01M8AJ83GS9K9CJ6HBXWZNEBS0 main complete toolu_01M8AJ83GS9K9CJ6HBXWZNEBS0 "general-purpose" succeeded "" -> "done"
conversation toolu_01M8AJ83GS9K9CJ6HBXWZNEBS0 of main running
used toolu_01M8AJ83GS9K9CJ6HBXWZNEBS0 model=m
text msg_9/0 toolu_01M8AJ83GS9K9CJ6HBXWZNEBS0 complete m "more"
conversation toolu_01M8AJ83GS9K9CJ6HBXWZNEBS0 of main succeeded
"#
    );
    let setup = Setup { memory: Some(state), ..setup() };
    let plan = agent::plan(Agent::ClaudeCode, &setup).unwrap();
    assert!(plan.argv.windows(2).any(|pair| pair == ["--resume", "f80d6c67-4e7d-415f-ab89-7d8d1cc26b52"]));
    // It is greeted before it is given a message.
    let greeting: serde_json::Value = serde_json::from_slice(plan.greeting.strip_suffix(b"\n").unwrap()).unwrap();
    assert_eq!((&greeting["type"], &greeting["request"]["subtype"]), (&json!("control_request"), &json!("initialize")));
}

#[test]
fn the_next_process_resumes_what_the_last_one_stored() {
    let plan = agent::plan(Agent::ClaudeCode, &setup()).unwrap();
    let after = |arg: &str, argv: &[String]| argv.iter().position(|a| a == arg).map(|at| argv[at + 1].clone());
    assert_eq!(after("--session-id", &plan.argv).as_deref(), Some("f"));
    assert!(!plan.argv.contains(&"--model".to_owned()));

    // Nothing was stored: its id may be taken, so the next one is new.
    let memory = Some(plan.parser.checkpoint().state);
    let again = Setup { memory, fresh_session: "g".to_owned(), model: "opus".to_owned(), ..setup() };
    let plan = agent::plan(Agent::ClaudeCode, &again).unwrap();
    assert_eq!(after("--session-id", &plan.argv).as_deref(), Some("g"));
    assert_eq!(after("--model", &plan.argv).as_deref(), Some("opus"));

    let mut parser = plan.parser;
    feed(&mut parser, &captures::named("claude-code-2.1.329/bash").stdout);
    let setup = Setup { memory: Some(parser.checkpoint().state), ..setup() };
    let mut plan = agent::plan(Agent::ClaudeCode, &setup).unwrap();
    assert_eq!(after("--resume", &plan.argv).as_deref(), Some("13bd1cc8-c73c-4e01-b23b-95ec0ce208cf"));
    assert!(!plan.argv.contains(&"--session-id".to_owned()));
    // It counts on from 0.0029: 0.00407 in all is 0.00117 more, told or not.
    let text = String::from_utf8_lossy(&captures::named("claude-code-2.1.329/bash-resume").stdout);
    for text in [text.replace("model_usage_since_last_result", "elided"), text.into_owned()] {
        let actions = feed(&mut plan.parser.clone(), text.as_bytes());
        let turns = Transcript::of(&actions).turns;
        assert_eq!((turns[0].2.cost_micro_usd, turns[0].2.input_tokens), (1170, 120));
    }
    // The CLI lost it: another one is given the message, and starts anew.
    let lost = br#"{"type":"result","subtype":"error_during_execution","is_error":true,"errors":["No conversation found with session ID: x"],"session_id":"x","total_cost_usd":0,"uuid":"n"}"#;
    let lost = [&lost[..], b"\n"].concat();
    plan.parser.prompted(&BlockId::new("p"));
    let actions = feed(&mut plan.parser, &lost);
    let [Action::Emit(Draft::Complete { block_id, content: Some(Content::System { .. }), .. }), Action::Forgotten] =
        &actions[..]
    else {
        panic!("{actions:?}")
    };
    assert_eq!(block_id.as_str(), "n");
    // One that was not to go on from anything would say the same again: then its turn failed.
    plan.parser.prompted(&BlockId::new("p"));
    let actions = feed(&mut plan.parser, &lost);
    assert_eq!(actions[0], Action::TurnStarted { block_id: Some(BlockId::new("p")) });
    assert!(matches!(&actions[1], Action::TurnEnded(end) if matches!(end.outcome, Outcome::Failed(_))));
    let setup = Setup { memory: Some(plan.parser.checkpoint().state), ..setup };
    assert!(after("--session-id", &agent::plan(Agent::ClaudeCode, &setup).unwrap().argv).is_some());

    let broken = Setup { memory: Some("{}".to_owned()), ..setup };
    assert_eq!(agent::plan(Agent::ClaudeCode, &broken).unwrap_err().agent, Agent::ClaudeCode);
    let mut checkpoint = plan.parser.checkpoint();
    checkpoint.version += 1;
    assert!(Parser::restore(Agent::ClaudeCode, &checkpoint).is_err());
}

#[test]
fn a_prompt_is_one_line_with_the_id_of_its_block() {
    let id = BlockId::new("11111111-2222-4333-8444-555555555555");
    let bytes =
        agent::prompt(Agent::ClaudeCode, &id, &[ContentPart::Text("two\nlines \"and\" \u{2028} \0 more".to_owned())]);
    assert_eq!(bytes.iter().position(|byte| *byte == b'\n'), Some(bytes.len() - 1));
    let line: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(line["uuid"], id.as_str());
    assert_eq!(line["message"]["content"][0]["text"], "two\nlines \"and\" \u{2028} \0 more");
}

#[test]
fn what_the_cli_asks_is_told_and_its_answer_is_one_line() {
    let text = br#"{"type":"system","subtype":"task_started","task_id":"task","tool_use_id":"toolu_sub"}
{"type":"control_request","request_id":"r1","request":{"subtype":"can_use_tool","tool_name":"Bash","display_name":"Shell","input":{"command":"ls"},"description":"Look","tool_use_id":"toolu_1"}}
{"type":"control_request","request_id":"r2","request":{"subtype":"can_use_tool","tool_name":"Read","input":{},"agent_id":"task"}}
{"type":"control_cancel_request","request_id":"r2"}
{"type":"control_request","request_id":"r3","request":{"subtype":"new_thing"}}
"#;
    let mut parser = parser();
    let found = feed(&mut parser, text);
    let ask = |action: &Action| match action {
        Action::Ask(ask) => (**ask).clone(),
        other => panic!("{other:?}"),
    };
    let first = ask(&found[0]);
    assert_eq!((first.agent_request_id.as_str(), first.tool_use_id.as_str()), ("r1", "toolu_1"));
    assert_eq!((first.tool_name.as_str(), first.title.as_str()), ("Bash", "Shell: Look"));
    assert_eq!((first.input_json.as_str(), first.conversation_id.as_str()), (r#"{"command":"ls"}"#, "main"));
    let second = ask(&found[1]);
    assert_eq!((second.conversation_id.as_str(), second.title.as_str()), ("toolu_sub", "Read"), "a subagent asks");
    assert_eq!(found[2], Action::AskWithdrawn { agent_request_id: "r2".into() });
    // It waits for an answer to what we do not know, too.
    let Action::Write(refusal) = &found[4] else { panic!("{found:?}") };
    let refusal: serde_json::Value = serde_json::from_slice(refusal).unwrap();
    assert_eq!((&refusal["type"], &refusal["response"]["subtype"]), (&"control_response".into(), &"error".into()));
    assert_eq!(refusal["response"]["request_id"], "r3");
    // Which task is whose is known in the next process of ours, too.
    let mut restored = Parser::restore(Agent::ClaudeCode, &parser.checkpoint()).unwrap();
    let line = br#"{"type":"control_request","request_id":"r4","request":{"subtype":"can_use_tool","tool_name":"Read","agent_id":"task"}}"#;
    let again = feed(&mut restored, &[&line[..], b"\n"].concat());
    assert_eq!(ask(&again[0]).conversation_id.as_str(), "toolu_sub");

    let mut answer = |answer: PermissionAnswer| {
        let bytes = parser.answer("r1", "toolu_1", &answer);
        assert_eq!(bytes.iter().position(|byte| *byte == b'\n'), Some(bytes.len() - 1));
        let line: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!((&line["type"], &line["response"]["subtype"]), (&"control_response".into(), &"success".into()));
        assert_eq!(line["response"]["request_id"], "r1");
        line["response"]["response"].clone()
    };
    let allow = |input: &str| PermissionAnswer::Allow { updated_input_json: input.into() };
    assert_eq!(answer(allow("")), json!({ "behavior": "allow", "toolUseID": "toolu_1" }));
    let edited = json!({ "behavior": "allow", "updatedInput": { "a": [1] }, "toolUseID": "toolu_1" });
    assert_eq!(answer(allow("{\"a\": [1]}")), edited);
    let reject = |message: &str| PermissionAnswer::Reject { message: message.into() };
    let denied = json!({ "behavior": "deny", "message": "no\n\"x\"", "toolUseID": "toolu_1" });
    assert_eq!(answer(reject("no\n\"x\"")), denied);
    assert_eq!(answer(reject(""))["message"], "The user rejected this.");
}

#[test]
fn the_cli_asks_in_the_mode_that_is_wanted_and_can_change_to_every_other_one() {
    let argv = |mode: &str| {
        let setup = Setup { permission_mode: mode.to_owned(), ..setup() };
        agent::plan(Agent::ClaudeCode, &setup).unwrap().argv.join(" ")
    };
    for mode in ["default", "acceptEdits", "plan", "bypassPermissions"] {
        // Questions are asked in all of them.
        assert!(argv(mode).contains(&format!("--permission-mode {mode} --permission-prompt-tool stdio")));
        assert!(argv(mode).contains("--allow-dangerously-skip-permissions"));
        assert!(!argv(mode).contains("--settings"));
    }
    assert!(argv("").contains("--permission-mode bypassPermissions"));
    let policy = PermissionPolicy {
        rules: vec![PermissionRule::of("Bash", "ls:*", PermissionEffect::Reject)],
        ..PermissionPolicy::default()
    };
    let argv = |mode: &str| {
        let profile = ProfileSetup { permission_policy: policy.clone(), ..ProfileSetup::default() };
        let setup = Setup { permission_mode: mode.to_owned(), profile, ..setup() };
        agent::plan(Agent::ClaudeCode, &setup).unwrap().argv.join(" ")
    };
    assert!(argv("").contains("--permission-mode default"), "with a policy it asks");
    for mode in ["", "bypassPermissions"] {
        assert!(argv(mode).contains(r#"--settings {"permissions":{"ask":["Bash(ls:*)"]}}"#), "{mode}");
    }
}

#[test]
fn failures_are_told_by_the_status_of_the_models_api() {
    for (status, code, reason, retryable) in [
        ("429", "rate_limit", Reason::ModelProviderLimit, true),
        ("529", "server_error", Reason::ModelProviderLimit, true),
        ("401", "authentication_failed", Reason::AgentUnavailable, false),
        ("403", "unknown", Reason::AgentUnavailable, false),
        ("400", "invalid_request", Reason::AgentFailed, false),
        ("500", "server_error", Reason::AgentFailed, true),
        ("null", "authentication_failed", Reason::AgentUnavailable, false),
        ("null", "rate_limit", Reason::ModelProviderLimit, true),
        ("null", "unknown", Reason::AgentFailed, true),
    ] {
        let text = format!(
            "{}\n{}\n",
            format_args!(
                r#"{{"type":"assistant","uuid":"u","error":"{code}","message":{{"id":"m","model":"<synthetic>","content":[{{"type":"text","text":"no"}}]}}}}"#
            ),
            format_args!(
                r#"{{"type":"result","subtype":"success","is_error":true,"api_error_status":{status},"result":"no"}}"#
            ),
        );
        let turns = Transcript::of(&actions(text.as_bytes())).turns;
        let Some(Outcome::Failed(error)) = &turns[0].1 else { panic!("{turns:?}") };
        assert_eq!((error.reason, error.retryable), (reason, retryable), "{status} {code}");
        assert_eq!(error.metadata.get("http_status").map_or("null", String::as_str), status);
    }
}

/// A line that must still be read after whatever came before.
const GOOD: &[u8] = br#"{"type":"assistant","uuid":"u","parent_tool_use_id":null,"message":{"id":"good","model":"m","content":[{"type":"text","text":"hi"}]}}"#;

fn reads_the_good_line(before: &[u8]) -> Vec<Action> {
    let found = actions(&[before, b"\n", GOOD, b"\n"].concat());
    let is_good = |action: &Action| matches!(action, Action::Emit(Draft::Complete { block_id, .. }) if block_id.as_str() == "good/0");
    assert!(found.iter().any(is_good), "{found:?}");
    found
}

#[test]
fn garbage_becomes_events_and_the_next_line_is_read() {
    let unparsed = |actions: &[Action]| {
        let kept = |action: &Action| match action {
            Action::Emit(Draft::Unparsed { raw, truncated_bytes }) => Some((raw.len(), *truncated_bytes)),
            _ => None,
        };
        actions.iter().filter_map(kept).collect::<Vec<_>>()
    };
    for (garbage, size) in [
        (&b"npm WARN something"[..], 18),
        (b"123", 3),
        (b"{\"type\":\"assistant\"}", 20),
        (b"{\"type\":\"assistant\",\"x\":\"\xff\xfe\"}", 29),
        (b"\xff\xfe\xfd", 3),
        (b"{\"type\":\"stream_event\",\"event\":7}", 33),
    ] {
        assert_eq!(unparsed(&reads_the_good_line(garbage)), [(size, 0)], "{garbage:?}");
    }
    assert_eq!(unparsed(&reads_the_good_line(b"  \r")), []);
    let long = vec![b'x'; 10 << 20];
    assert_eq!(unparsed(&reads_the_good_line(&long)), [(64 << 10, (10 << 20) - (64 << 10))]);
    let longer = vec![b'x'; 17 << 20];
    assert_eq!(unparsed(&reads_the_good_line(&longer)), [(64 << 10, (17 << 20) - (64 << 10))]);
    let deep = "[".repeat(100_000);
    assert_eq!(unparsed(&reads_the_good_line(deep.as_bytes())), [(64 << 10, 100_000 - (64 << 10))]);

    // Half a line at exit: read if it is whole but for its end, else kept.
    assert_eq!(actions(GOOD).len(), 2);
    assert_eq!(unparsed(&actions(&GOOD[..GOOD.len() - 1])), [(GOOD.len() - 1, 0)]);
}

#[test]
fn an_unknown_kind_of_line_is_told_of_once() {
    let text = br#"{"type":"new_thing","event":"x"}
{"type":"new_thing"}
{"type":"system","subtype":"new_thing"}
{"type":"stream_event","event":{"type":"new_event"}}
"#;
    let logs = Transcript::of(&reads_the_good_line(&[text, &text[..]].concat())).logs;
    assert_eq!(logs.len(), 3, "{logs:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        reads_the_good_line(&bytes);
    }

    /// Real lines with a few bytes changed, in any chunks.
    #[test]
    fn broken_lines_never_panic_and_any_chunks_say_the_same(which in 0_usize..30, size in 1_usize..5000,
                                                            hits in prop::collection::vec((any::<u32>(), any::<u8>()), 0..40)) {
        let mut stdout = captures::all()[which].stdout.clone();
        for (at, byte) in hits {
            let at = at as usize % stdout.len();
            stdout[at] = byte;
        }
        let mut parser = parser();
        let mut chunked: Vec<Action> = stdout.chunks(size).flat_map(|chunk| feed(&mut parser, chunk)).collect();
        chunked.extend(finish(&mut parser));
        prop_assert!(chunked == actions(&stdout));
    }
}
