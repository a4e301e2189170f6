//! The table: every kind that the CLI prints, an example of it, and what becomes of it. A kind without a row fails the test,
//! and so does a row that is not true.

use super::{
    Parser,
    kinds::{BlockKind, CommandState, ControlKind, DeltaKind, EventKind, LineKind, SystemKind, WorkflowState},
    state::State,
};
use crate::agent::{Action, Draft};

/// What becomes of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    /// It is told: by blocks, notices, turns, usage, or a question.
    Events,
    /// It is remembered, for what lines after it mean.
    State,
    /// Deliberately nothing; the reason stands where the kind is matched.
    Nothing,
}
use Does::{Events, Nothing, State as Kept};

/// What was printed before the example: a turn at work, a message with a text and a tool call that are open, a subagent that
/// is waited for.
const BEFORE: &str = r#"{"type":"command_lifecycle","command_uuid":"p","state":"started"}
{"type":"stream_event","event":{"type":"message_start","message":{"id":"m","model":"x"}}}
{"type":"stream_event","event":{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}}
{"type":"stream_event","event":{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"t","name":"Bash","input":{}}}}
{"type":"stream_event","event":{"type":"content_block_start","index":2,"content_block":{"type":"thinking","thinking":""}}}
{"type":"assistant","message":{"id":"m","content":[{"type":"tool_use","id":"sub","name":"Agent","input":{"prompt":"do"}}]}}
{"type":"system","subtype":"task_started","task_id":"task","tool_use_id":"sub","task_type":"local_agent"}
"#;

type Row = (&'static str, Does, &'static str);

const LINES: &[Row] = &[
    (
        "stream_event",
        Events,
        r#"{"type":"stream_event","event":{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}}"#,
    ),
    ("assistant", Events, r#"{"type":"assistant","message":{"id":"m","content":[{"type":"text","text":"a"}]}}"#),
    (
        "user",
        Events,
        r#"{"type":"user","message":{"content":[{"type":"tool_result","tool_use_id":"t","content":"a"}]}}"#,
    ),
    ("system", Events, r#"{"type":"system","subtype":"informational","uuid":"u","content":"a"}"#),
    ("result", Events, r#"{"type":"result","subtype":"success","is_error":false,"total_cost_usd":0.1}"#),
    ("command_lifecycle", Events, r#"{"type":"command_lifecycle","command_uuid":"p","state":"completed"}"#),
    (
        "control_request",
        Events,
        r#"{"type":"control_request","request_id":"r","request":{"subtype":"can_use_tool","tool_name":"Bash"}}"#,
    ),
    (
        "control_response",
        Nothing,
        r#"{"type":"control_response","response":{"subtype":"success","request_id":"initialize","response":{}}}"#,
    ),
    ("control_cancel_request", Events, r#"{"type":"control_cancel_request","request_id":"r"}"#),
    ("auth_status", Events, r#"{"type":"auth_status","uuid":"u","output":["a"]}"#),
    ("rate_limit_event", Events, r#"{"type":"rate_limit_event","uuid":"u","rate_limit_info":{"status":"rejected"}}"#),
    ("tool_progress", Nothing, r#"{"type":"tool_progress","tool_use_id":"t","elapsed_time_seconds":3}"#),
    ("tool_use_summary", Nothing, r#"{"type":"tool_use_summary","summary":"a"}"#),
    ("prompt_suggestion", Nothing, r#"{"type":"prompt_suggestion","suggestion":"a"}"#),
    ("keep_alive", Nothing, r#"{"type":"keep_alive"}"#),
    ("transcript_mirror", Nothing, r#"{"type":"transcript_mirror","entries":[]}"#),
    ("conversation_reset", Events, r#"{"type":"conversation_reset","uuid":"u","trigger":"clear"}"#),
    ("active_goal", Nothing, r#"{"type":"active_goal","value":null}"#),
    ("autocompact_state", Nothing, r#"{"type":"autocompact_state","value":{}}"#),
];

/// Subtypes of `system`, with the fields of their example.
const SYSTEM: &[Row] = &[
    ("init", Events, r#""session_id":"s","model":"y","claude_code_version":"9""#),
    ("status", Events, r#""status":"compacting""#),
    ("api_retry", Events, r#""attempt":1,"max_retries":2,"retry_delay_ms":5.5,"error_status":529"#),
    ("compact_boundary", Events, r#""compact_metadata":{"trigger":"auto","pre_tokens":9}"#),
    ("hook_started", Nothing, r#""hook_name":"h""#),
    ("hook_progress", Nothing, r#""hook_name":"h","stdout":"a""#),
    ("hook_response", Events, r#""hook_name":"h","hook_event":"Stop","outcome":"success""#),
    ("local_command_output", Events, r#""content":"a""#),
    ("informational", Events, r#""content":"a""#),
    ("notification", Events, r#""text":"a""#),
    ("thinking_tokens", Nothing, r#""estimated_tokens":3"#),
    (
        "task_started",
        Events,
        r#""task_id":"task2","tool_use_id":"sub2","task_type":"local_agent","parent_task_id":"task""#,
    ),
    ("task_progress", Events, r#""task_id":"task","usage":{"total_tokens":1,"duration_ms":2}"#),
    ("task_updated", Kept, r#""task_id":"task","patch":{"is_backgrounded":true}"#),
    (
        "task_notification",
        Events,
        r#""task_id":"task","tool_use_id":"sub","status":"completed","usage":{"duration_ms":2}"#,
    ),
    ("background_tasks_changed", Nothing, r#""tasks":[]"#),
    ("session_state_changed", Nothing, r#""state":"idle""#),
    ("commands_changed", Nothing, r#""commands":[]"#),
    ("files_persisted", Nothing, r#""files":[]"#),
    ("elicitation_complete", Nothing, r#""elicitation_id":"e""#),
    ("model_fallback", Events, r#""content":"a""#),
    ("model_refusal_fallback", Events, r#""content":"a""#),
    ("model_refusal_no_fallback", Events, r#""content":"a""#),
    ("model_consent_fallback", Events, r#""content":"a""#),
    ("permission_denied", Events, r#""tool_name":"Bash""#),
    ("session_writes_lost", Events, r#""message":"a""#),
    ("mirror_error", Events, r#""error":"a""#),
    ("instruction_size_warning", Events, r#""content":"a""#),
    ("file_attachments_missing", Events, r#""files":[]"#),
    ("late_allow_not_run", Events, r#""tool_name":"Bash""#),
    ("worker_shutting_down", Events, r#""reason":"a""#),
    ("api_error", Events, r#""error":"a""#),
    ("agents_killed", Nothing, ""),
    ("task_summary", Nothing, ""),
    ("task_list_statuses", Nothing, ""),
    ("thinking", Nothing, ""),
    ("turn_starting", Nothing, ""),
    ("turn_began_before_init", Nothing, ""),
    ("turn_duration", Nothing, ""),
    ("turn_preempted", Nothing, ""),
    ("turn_handoff_available", Nothing, ""),
    ("post_turn_summary", Nothing, ""),
    ("away_summary", Nothing, ""),
    ("stop_hook_summary", Nothing, ""),
    ("control_request_progress", Nothing, ""),
    ("permission_check_status", Nothing, ""),
    ("permission_retry", Nothing, ""),
    ("inherited_asks_settled", Nothing, ""),
    ("memory_recall", Nothing, ""),
    ("memory_saved", Nothing, ""),
    ("file_snapshot", Nothing, ""),
    ("shell_cwd", Nothing, ""),
    ("session_metadata", Nothing, ""),
    ("session_title_changed", Nothing, ""),
    ("plugin_install", Nothing, ""),
    ("scheduled_task_fire", Nothing, ""),
    ("per_turn_effort_changed", Nothing, ""),
    ("vcs_state_changed", Nothing, ""),
    ("code_change_published", Nothing, ""),
    ("dev_intent", Nothing, ""),
    ("feedback_draft_queued", Nothing, ""),
    ("peer_message_hold", Nothing, ""),
    ("tool_host_result", Nothing, ""),
    ("bridge_state", Nothing, ""),
    ("cloud_session_delta", Nothing, ""),
    ("ui_invalidate", Nothing, ""),
    ("ui_log", Nothing, r#""plugin":"p","text":"a""#),
    ("ui_toast", Nothing, ""),
    ("ui_notify", Nothing, ""),
    ("ui_notify_cancel", Nothing, ""),
    ("ui_status", Nothing, ""),
    ("ui_panes", Nothing, ""),
    ("ui_placed", Nothing, ""),
    ("ui_scroll", Nothing, ""),
    ("ui_focus", Nothing, ""),
];

/// Events of the model's stream, with the fields of their example.
const STREAM: &[Row] = &[
    ("content_block_delta", Events, r#""index":1,"delta":{"type":"input_json_delta","partial_json":"{"}"#),
    ("content_block_start", Events, r#""index":3,"content_block":{"type":"text","text":""}"#),
    ("content_block_stop", Events, r#""index":0"#),
    ("message_start", Kept, r#""message":{"id":"n"}"#),
    ("message_delta", Nothing, r#""usage":{"output_tokens":1}"#),
    ("message_stop", Kept, ""),
    ("ping", Nothing, ""),
    ("error", Nothing, r#""error":{"type":"overloaded_error"}"#),
];

/// Blocks of an `assistant` line, with the fields of their example.
const BLOCKS: &[Row] = &[
    ("text", Events, r#""text":"a""#),
    ("thinking", Events, r#""thinking":"a""#),
    ("tool_use", Events, r#""id":"t2","name":"Read","input":{}"#),
    ("server_tool_use", Events, r#""id":"t2","name":"web_search","input":{}"#),
    ("mcp_tool_use", Events, r#""id":"t2","name":"x","input":{}"#),
    ("tool_result", Events, r#""tool_use_id":"t","content":"a""#),
    ("web_search_tool_result", Events, r#""tool_use_id":"t","content":[]"#),
    ("web_fetch_tool_result", Events, r#""tool_use_id":"t","content":{}"#),
    ("mcp_tool_result", Events, r#""tool_use_id":"t","content":[]"#),
    ("code_execution_tool_result", Events, r#""tool_use_id":"t","content":{}"#),
    ("bash_code_execution_tool_result", Events, r#""tool_use_id":"t","content":{}"#),
    ("text_editor_code_execution_tool_result", Events, r#""tool_use_id":"t","content":{}"#),
    ("tool_search_tool_result", Events, r#""tool_use_id":"t","content":{}"#),
    ("advisor_tool_result", Events, r#""tool_use_id":"t","content":{}"#),
    ("redacted_thinking", Events, r#""data":"x""#),
    ("image", Kept, r#""source":{"type":"url","url":"u"}"#),
    ("document", Kept, ""),
    ("search_result", Kept, ""),
    ("container_upload", Kept, ""),
    ("mcp_tool_listing", Kept, ""),
    ("compaction", Kept, ""),
    ("fallback", Kept, ""),
];

/// Deltas of a block, with its index and the fields of their example.
const DELTAS: &[Row] = &[
    ("text_delta", Events, r#"0,"text":"a""#),
    ("thinking_delta", Events, r#"2,"thinking":"a""#),
    ("input_json_delta", Events, r#"1,"partial_json":"{""#),
    ("signature_delta", Nothing, r#"2,"signature":"x""#),
    ("citations_delta", Nothing, r#"0,"citation":{}"#),
    ("compaction_delta", Nothing, r#"0,"content":"x""#),
];

/// What the CLI asks of us, with the fields of their example.
const CONTROLS: &[Row] = &[
    ("can_use_tool", Events, r#""tool_name":"Bash","input":{}"#),
    ("elicitation", Events, r#""mcp_server_name":"s","message":"a""#),
    ("hook_callback", Events, ""),
    ("mcp_message", Events, ""),
    ("request_user_dialog", Events, ""),
    ("oauth_token_refresh", Events, ""),
    ("host_auth_token_refresh", Events, ""),
    ("remote_tool_call", Events, ""),
    ("remote_tools_probe", Events, ""),
    ("remote_tools_reannounce", Events, ""),
    ("remote_plumbing_call", Events, ""),
    ("remote_control_work_secret", Events, ""),
    ("ui_copy", Events, ""),
    ("ui_prompt_read", Events, ""),
    ("ui_prompt_fill", Events, ""),
    ("ui_prompt_paint", Events, ""),
    ("ui_prompt_suggest", Events, ""),
    ("ui_read_selection", Events, ""),
];

/// How far an agent of a workflow is, with the fields of its example.
const WORKFLOW: &[Row] = &[
    ("start", Events, r#""agentId":"a""#),
    ("progress", Events, r#""agentId":"a","label":"l""#),
    ("done", Events, r#""agentId":"a","resultPreview":"r""#),
    ("error", Events, r#""agentId":"a","error":"e""#),
];

const COMMANDS: &[Row] = &[
    ("queued", Nothing, "q"),
    ("started", Events, "q"),
    ("completed", Events, "p"),
    ("cancelled", Events, "p"),
    ("discarded", Events, "p"),
    ("refused", Events, "p"),
];

fn fields(fields: &str) -> String {
    if fields.is_empty() { String::new() } else { format!(",{fields}") }
}

fn check(sort: &str, kinds: &[&str], rows: &[Row], line: impl Fn(&str, &str) -> String) {
    let told: Vec<_> = rows.iter().map(|(kind, ..)| *kind).collect();
    assert_eq!(told, kinds, "the rows of {sort}");
    for (kind, does, example) in rows {
        let mut parser = Parser::new(State::fresh("s"));
        parser.feed(BEFORE.as_bytes(), &mut Vec::new());
        let (mut actions, before) = (Vec::new(), parser.checkpoint().state);
        parser.feed(format!("{}\n", line(kind, example)).as_bytes(), &mut actions);
        let unread = |action: &Action| matches!(action, Action::Emit(Draft::Unparsed { .. } | Draft::Log(..)));
        assert!(!actions.iter().any(unread), "{sort} {kind}: {actions:?}");
        let found = match (actions.is_empty(), parser.checkpoint().state == before) {
            (false, _) => Events,
            (true, false) => Kept,
            (true, true) => Nothing,
        };
        assert_eq!(found, *does, "{sort} {kind}: {actions:?}");
    }
}

#[test]
fn every_kind_has_its_row_and_does_what_stands_there() {
    check("lines", LineKind::NAMES, LINES, |_, line| line.to_owned());
    check("system", SystemKind::NAMES, SYSTEM, |kind, more| {
        format!(r#"{{"type":"system","subtype":"{kind}","uuid":"u"{}}}"#, fields(more))
    });
    check("stream_event", EventKind::NAMES, STREAM, |kind, more| {
        format!(r#"{{"type":"stream_event","event":{{"type":"{kind}"{}}}}}"#, fields(more))
    });
    check("blocks", BlockKind::NAMES, BLOCKS, |kind, more| {
        format!(r#"{{"type":"assistant","message":{{"id":"m","content":[{{"type":"{kind}"{}}}]}}}}"#, fields(more))
    });
    check("deltas", DeltaKind::NAMES, DELTAS, |kind, more| {
        let (index, more) = more.split_once(',').unwrap();
        let delta = format!(r#"{{"type":"{kind}",{more}}}"#);
        format!(r#"{{"type":"stream_event","event":{{"type":"content_block_delta","index":{index},"delta":{delta}}}}}"#)
    });
    check("control_request", ControlKind::NAMES, CONTROLS, |kind, more| {
        format!(r#"{{"type":"control_request","request_id":"r","request":{{"subtype":"{kind}"{}}}}}"#, fields(more))
    });
    check("workflow", WorkflowState::NAMES, WORKFLOW, |state, more| {
        let agent = format!(r#"{{"type":"workflow_agent","state":"{state}",{more}}}"#);
        let progress = format!(r#""task_id":"w","tool_use_id":"call","workflow_progress":[{agent}]"#);
        format!(r#"{{"type":"system","subtype":"task_progress",{progress}}}"#)
    });
    check("command_lifecycle", CommandState::NAMES, COMMANDS, |state, uuid| {
        format!(r#"{{"type":"command_lifecycle","command_uuid":"{uuid}","state":"{state}"}}"#)
    });
}
