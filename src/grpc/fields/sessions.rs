//! What becomes of the fields of calls about sessions, their turns and what they ask, and about the server.

use super::{
    Fields,
    Use::{Effective, Refused},
};

pub(super) const FIELDS: &[(&str, Fields)] = &[
    (
        "CreateSessionRequest",
        &[
            ("profile_id", Effective("tests/validate.rs::a_full_creation_is_taken")),
            ("agent", Effective("tests/validate.rs::an_alias_names_its_agent")),
            ("external_id", Effective("tests/validate.rs::a_full_creation_is_taken")),
            ("name", Effective("tests/validate.rs::a_full_creation_is_taken")),
            ("options", Effective("tests/validate.rs::a_full_creation_is_taken")),
            ("labels", Effective("tests/validate.rs::a_full_creation_is_taken")),
            ("metadata", Effective("tests/validate.rs::metadata_keeps_its_values")),
            ("sandbox", Effective("tests/validate.rs::a_full_creation_is_taken")),
            ("workspace_source", Effective("tests/validate/workspace.rs::a_workspace_starts_from_one_source")),
            ("workspace_files", Effective("tests/validate/workspace.rs::a_session_is_created_with_files")),
            ("start_sandbox", Effective("tests/validate/workspace.rs::a_session_is_created_with_files")),
            ("initial_message", Effective("tests/validate.rs::a_full_creation_is_taken")),
            ("request_id", Effective("tests/validate.rs::a_request_id_names_what_is_asked_for")),
        ],
    ),
    (
        "SessionOptions",
        &[
            ("model", Effective("tests/validate.rs::a_full_creation_is_taken")),
            ("permission_mode", Effective("tests/permissions/modes.rs::a_mode_is_one_of_the_agents")),
            ("budget", Effective("tests/options/budget.rs::a_turn_ends_when_it_made_as_many_calls_as_it_may")),
            ("idle_timeout", Effective("tests/options/idle.rs::each_session_has_its_own_patience_with_silence")),
        ],
    ),
    (
        "Budget",
        &[
            (
                "session_cost_micro_usd",
                Effective(
                    "tests/options/budget.rs::a_session_that_cost_what_it_may_takes_no_message_until_that_is_raised",
                ),
            ),
            ("turn_cost_micro_usd", Effective("tests/options/budget.rs::a_turn_ends_when_it_cost_what_it_may")),
            ("turn_steps", Effective("tests/options/budget.rs::a_turn_ends_when_it_made_as_many_calls_as_it_may")),
            ("turn_duration", Effective("tests/options/budget.rs::a_turn_ends_when_it_worked_as_long_as_it_may")),
        ],
    ),
    (
        "UpdateSessionRequest",
        &[
            ("session", Effective("tests/options/update.rs::a_record_is_changed_by_one_event")),
            ("update_mask", Effective("tests/options/update.rs::only_what_the_mask_names_is_changed")),
            ("request_id", Effective("tests/options/update.rs::a_repeated_update_is_made_once")),
        ],
    ),
    (
        "Session",
        &[
            ("session_id", Effective("tests/options/update.rs::a_record_is_changed_by_one_event")),
            ("uid", Refused),
            ("external_id", Refused),
            ("agent", Refused),
            ("name", Effective("tests/options/update.rs::a_record_is_changed_by_one_event")),
            ("status", Refused),
            ("profile_id", Refused),
            ("profile_revision", Refused),
            ("sequence", Refused),
            ("oldest_sequence", Refused),
            ("active_turn", Refused),
            ("queued_turns", Refused),
            ("sandbox", Refused),
            ("options", Effective("tests/options/update.rs::a_record_is_changed_by_one_event")),
            ("usage", Refused),
            ("labels", Effective("tests/options/update.rs::a_record_is_changed_by_one_event")),
            ("metadata", Effective("tests/options/update.rs::a_record_is_changed_by_one_event")),
            ("created_by", Refused),
            ("create_time", Refused),
            ("last_activity_time", Refused),
            ("etag", Effective("tests/options/update.rs::an_update_of_what_changed_meanwhile_is_refused")),
            ("error", Refused),
        ],
    ),
    (
        "SyncSessionRequest",
        &[
            ("session_id", Effective("tests/options/sync.rs::what_there_is_is_saved_when_the_call_returns")),
            ("request_id", Effective("tests/options/sync.rs::what_there_is_is_saved_when_the_call_returns")),
        ],
    ),
    (
        "SandboxSpec",
        &[
            ("provider", Effective("tests/validate.rs::a_full_creation_is_taken")),
            ("min_isolation", Effective("tests/validate.rs::a_full_creation_is_taken")),
            ("strict", Effective("tests/service/sandboxes.rs::a_strict_session_has_no_setting_that_does_not_apply")),
            ("modal", Effective("tests/validate/sandbox.rs::what_is_asked_of_modal_is_taken")),
        ],
    ),
    (
        "ListSandboxesRequest",
        &[
            ("include_ended", Effective("tests/service/sandboxes.rs::what_runs_elsewhere_is_listed_with_its_cost")),
            ("page_size", Effective("tests/service/sandboxes.rs::what_runs_elsewhere_is_listed_with_its_cost")),
            ("page_token", Effective("tests/service/sandboxes.rs::what_runs_elsewhere_is_listed_with_its_cost")),
        ],
    ),
    (
        "ModalSettings",
        &[
            ("image", Effective("tests/sandbox/asked.rs::a_base_is_what_the_image_stands_on")),
            ("cpu", Effective("tests/sandbox/asked.rs::what_is_asked_arrives")),
            ("memory_mib", Effective("tests/sandbox/asked.rs::what_is_asked_arrives")),
            ("timeout", Effective("tests/sandbox/asked.rs::what_is_asked_arrives")),
            ("gpu", Effective("tests/sandbox/asked.rs::a_gpu_is_asked_of_the_first_version")),
            ("network", Effective("tests/sandbox/asked.rs::what_is_asked_arrives")),
            ("cpu_max", Effective("tests/sandbox/asked.rs::what_is_asked_arrives")),
            ("memory_mib_max", Effective("tests/sandbox/asked.rs::what_is_asked_arrives")),
            ("regions", Effective("tests/sandbox/asked.rs::what_is_asked_arrives")),
            ("cloud", Effective("tests/sandbox/asked.rs::what_is_asked_arrives")),
        ],
    ),
    (
        "ModalNetwork",
        &[
            ("blocked", Effective("tests/sandbox/asked.rs::whom_programs_may_reach_arrives")),
            ("allowed_domains", Effective("tests/sandbox/asked.rs::whom_programs_may_reach_arrives")),
            ("allowed_cidrs", Effective("tests/sandbox/asked.rs::whom_programs_may_reach_arrives")),
        ],
    ),
    ("UserMessage", &[("parts", Effective("tests/validate.rs::a_full_creation_is_taken")), ("created_by", Refused)]),
    (
        "ContentPart",
        &[
            ("text", Effective("tests/validate.rs::text_is_a_message_of_one_part")),
            ("image", Effective("tests/validate/bytes.rs::bytes_come_with_a_message")),
            ("attachment", Effective("tests/validate/bytes.rs::bytes_come_with_a_message")),
            ("image_uri", Refused),
            ("file_path", Refused),
        ],
    ),
    (
        "Blob",
        &[
            ("sha256", Refused),
            ("size_bytes", Refused),
            ("media_type", Effective("tests/validate/bytes.rs::bytes_come_with_a_message")),
            ("name", Effective("tests/validate/bytes.rs::bytes_come_with_a_message")),
            ("data", Effective("tests/validate/bytes.rs::bytes_come_with_a_message")),
        ],
    ),
    ("GetSessionRequest", &[("session_id", Effective("tests/validate.rs::ids_are_taken_as_they_are"))]),
    (
        "ListSessionsRequest",
        &[
            ("page_size", Effective("tests/validate.rs::a_list_of_sessions_is_filtered")),
            ("page_token", Effective("tests/validate.rs::pages_of_sessions_follow_each_other")),
            ("status", Effective("tests/validate.rs::a_list_of_sessions_is_filtered")),
            ("profile_id", Effective("tests/validate.rs::a_list_of_sessions_is_filtered")),
            ("external_id", Effective("tests/validate.rs::a_list_of_sessions_is_filtered")),
            ("labels", Effective("tests/validate.rs::a_list_of_sessions_is_filtered")),
        ],
    ),
    (
        "StopSessionRequest",
        &[
            ("session_id", Effective("tests/validate.rs::ids_are_taken_as_they_are")),
            ("request_id", Effective("tests/validate.rs::a_request_id_names_what_is_asked_for")),
        ],
    ),
    (
        "DeleteSessionRequest",
        &[
            ("session_id", Effective("tests/validate.rs::ids_are_taken_as_they_are")),
            ("etag", Effective("tests/validate.rs::ids_are_taken_as_they_are")),
            ("request_id", Effective("tests/validate.rs::a_request_id_names_what_is_asked_for")),
        ],
    ),
    (
        "SendMessageRequest",
        &[
            ("session_id", Effective("tests/validate.rs::text_is_a_message_of_one_part")),
            ("text", Effective("tests/validate.rs::text_is_a_message_of_one_part")),
            ("parts", Effective("tests/validate.rs::text_is_a_message_of_one_part")),
            ("busy_policy", Effective("tests/turns/queue.rs::queued_messages_are_given_one_after_the_other")),
            ("request_id", Effective("tests/validate.rs::a_request_id_names_what_is_asked_for")),
        ],
    ),
    (
        "RunTurnRequest",
        &[
            ("session_id", Effective("tests/validate.rs::text_is_a_message_of_one_part")),
            ("text", Effective("tests/validate.rs::text_is_a_message_of_one_part")),
            ("parts", Effective("tests/validate.rs::text_is_a_message_of_one_part")),
            ("busy_policy", Effective("tests/turns/queue.rs::a_turn_that_waits_is_followed_to_its_end")),
            ("request_id", Effective("tests/validate.rs::a_request_id_names_what_is_asked_for")),
            ("after_sequence", Effective("tests/validate.rs::only_a_known_turn_is_gone_on_with")),
            ("omit_deltas", Effective("tests/filters.rs::a_turn_can_be_run_without_its_text_as_it_streams")),
        ],
    ),
    (
        "GetTurnRequest",
        &[
            ("session_id", Effective("tests/turns/listed.rs::a_turn_is_told_by_its_id_also_when_it_is_over")),
            ("turn_id", Effective("tests/turns/listed.rs::a_turn_is_told_by_its_id_also_when_it_is_over")),
        ],
    ),
    (
        "ListTurnsRequest",
        &[
            ("session_id", Effective("tests/turns/listed.rs::turns_are_listed_in_pages")),
            ("status", Effective("tests/turns/listed.rs::turns_are_listed_in_pages")),
            ("order", Effective("tests/turns/listed.rs::turns_are_listed_in_pages")),
            ("page_size", Effective("tests/turns/listed.rs::turns_are_listed_in_pages")),
            ("page_token", Effective("tests/turns/listed.rs::turns_are_listed_in_pages")),
        ],
    ),
    (
        "InterruptTurnRequest",
        &[
            ("session_id", Effective("tests/turns/interrupt.rs::a_turn_at_work_is_interrupted_and_its_agent_goes_on")),
            ("turn_id", Effective("tests/turns/interrupt.rs::what_is_named_and_not_at_work_is_told_as_it_is")),
            ("request_id", Effective("tests/turns/interrupt.rs::a_repeated_interrupt_means_the_same_turn")),
        ],
    ),
    (
        "CancelTurnRequest",
        &[
            ("session_id", Effective("tests/turns/queue.rs::a_cancelled_message_never_reaches_the_agent")),
            ("turn_id", Effective("tests/turns/queue.rs::a_cancelled_message_never_reaches_the_agent")),
            ("request_id", Effective("tests/turns/queue.rs::a_repeated_cancellation_gets_its_first_answer")),
        ],
    ),
    (
        "ResolvePermissionRequest",
        &[
            ("session_id", Effective("tests/validate/answers.rs::an_answer_names_its_request")),
            ("permission_id", Effective("tests/validate/answers.rs::an_answer_names_its_request")),
            ("option_id", Effective("tests/validate/answers.rs::an_answer_names_its_request")),
            ("message", Effective("tests/permissions/answers.rs::a_rejection_tells_the_agent_why")),
            ("updated_input_json", Effective("tests/permissions/answers.rs::an_edited_input_is_what_the_tool_gets")),
            ("request_id", Effective("tests/validate.rs::a_request_id_names_what_is_asked_for")),
        ],
    ),
    (
        "AnswerQuestionRequest",
        &[
            ("session_id", Effective("tests/validate/answers.rs::a_question_is_answered_item_by_item")),
            ("question_id", Effective("tests/validate/answers.rs::a_question_is_answered_item_by_item")),
            ("answers", Effective("tests/permissions/questions.rs::a_question_is_answered_and_the_agent_is_told")),
            ("message", Effective("tests/permissions/questions.rs::a_declined_question_tells_the_agent_why")),
            ("request_id", Effective("tests/validate.rs::a_request_id_names_what_is_asked_for")),
        ],
    ),
    (
        "QuestionAnswer",
        &[
            ("choices", Effective("tests/permissions/questions.rs::a_question_is_answered_and_the_agent_is_told")),
            ("text", Effective("tests/permissions/questions.rs::a_question_is_answered_and_the_agent_is_told")),
        ],
    ),
    (
        "ListPermissionRulesRequest",
        &[(
            "session_id",
            Effective("tests/permissions/rules.rs::an_always_answer_leaves_a_rule_that_answers_the_next_call"),
        )],
    ),
    (
        "DeletePermissionRuleRequest",
        &[
            ("session_id", Effective("tests/permissions/rules.rs::a_rule_that_is_deleted_answers_nothing")),
            ("rule_id", Effective("tests/permissions/rules.rs::a_rule_that_is_deleted_answers_nothing")),
            ("request_id", Effective("tests/validate.rs::a_request_id_names_what_is_asked_for")),
        ],
    ),
    (
        "WatchSessionRequest",
        &[
            ("session_id", Effective("tests/validate.rs::a_watch_says_where_it_begins")),
            ("after_sequence", Effective("tests/validate.rs::a_watch_says_where_it_begins")),
            ("expected_uid", Effective("tests/validate.rs::a_watch_says_where_it_begins")),
            ("snapshot_if_truncated", Effective("tests/validate.rs::a_watch_says_where_it_begins")),
            ("conversation_ids", Effective("tests/filters.rs::other_conversations_can_be_left_out")),
            ("omit_deltas", Effective("tests/filters.rs::text_can_be_left_out_as_it_streams")),
            ("bookmark_interval", Effective("tests/validate.rs::a_watch_is_silent_for_15_seconds_at_most")),
            ("max_batch_delay", Effective("tests/filters.rs::events_come_together_after_a_delay")),
        ],
    ),
    (
        "WatchSessionsRequest",
        &[
            ("after_revision", Effective("tests/validate.rs::a_watch_of_the_list_is_filtered")),
            ("status", Effective("tests/validate.rs::a_watch_of_the_list_is_filtered")),
            ("profile_id", Effective("tests/validate.rs::a_watch_of_the_list_is_filtered")),
            ("labels", Effective("tests/validate.rs::a_watch_of_the_list_is_filtered")),
        ],
    ),
    (
        "ListBlocksRequest",
        &[
            ("session_id", Effective("tests/validate.rs::pages_of_blocks_follow_each_other")),
            ("conversation_id", Effective("tests/validate.rs::pages_of_blocks_follow_each_other")),
            ("order", Effective("tests/validate.rs::pages_of_blocks_follow_each_other")),
            ("page_size", Effective("tests/validate.rs::pages_of_blocks_follow_each_other")),
            ("page_token", Effective("tests/validate.rs::pages_of_blocks_follow_each_other")),
        ],
    ),
    (
        "ReadBlockContentRequest",
        &[
            ("session_id", Effective("tests/validate.rs::a_read_says_of_what_and_from_where")),
            ("block_id", Effective("tests/validate.rs::a_read_says_of_what_and_from_where")),
            ("offset", Effective("tests/validate.rs::a_read_says_of_what_and_from_where")),
        ],
    ),
    (
        "ReadBlobRequest",
        &[
            ("session_id", Effective("tests/validate.rs::a_read_says_of_what_and_from_where")),
            ("sha256", Effective("tests/validate.rs::a_read_says_of_what_and_from_where")),
            ("offset", Effective("tests/validate.rs::a_read_says_of_what_and_from_where")),
        ],
    ),
    ("GetRuntimeInfoRequest", &[]),
];
