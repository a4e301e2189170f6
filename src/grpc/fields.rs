//! What becomes of every field that a request of a built RPC can carry, and which RPCs are not built.
//!
//! A table to be read and to be tested: `tests/contract` walks the descriptors and fails for a field that is not here,
//! for one that is said to have an effect but names no test of it, and for one that is said to be refused but is not.
//! What lies below a refused field is refused with it.

/// What becomes of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// It takes effect, as the named test shows ("tests/FILE.rs::TEST").
    Effective(&'static str),
    /// It is refused by name when set.
    Refused,
}

use Use::{Effective, Refused};

/// What becomes of each field of a message.
pub type Fields = &'static [(&'static str, Use)];

/// RPCs that answer `NOT_IMPLEMENTED` whatever they are asked.
pub const UNBUILT: &[&str] = &[
    "SessionService/UpdateSession",
    "SessionService/SyncSession",
    "SessionService/GetTurn",
    "SessionService/ListTurns",
    "SessionService/InterruptTurn",
    "SessionService/CancelTurn",
    "SessionService/AnswerQuestion",
    "SessionService/ListPermissionRules",
    "SessionService/DeletePermissionRule",
    "SessionService/ExportTranscript",
    "ProfileService/UpdateProfile",
    "ProfileService/DeleteProfile",
    "RuntimeService/CreateApiKey",
    "RuntimeService/ListApiKeys",
    "RuntimeService/RevokeApiKey",
];

/// Every field of every message that a request of a built RPC consists of, by message.
pub const FIELDS: &[(&str, Fields)] = &[
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
            ("budget", Refused),
            ("idle_timeout", Refused),
        ],
    ),
    (
        "SandboxSpec",
        &[
            ("provider", Effective("tests/validate.rs::a_full_creation_is_taken")),
            ("min_isolation", Effective("tests/validate.rs::a_full_creation_is_taken")),
            ("strict", Refused),
            ("modal", Refused),
        ],
    ),
    (
        "WorkspaceSource",
        &[
            ("git", Effective("tests/validate/workspace.rs::a_workspace_starts_from_one_source")),
            ("directory", Effective("tests/validate/workspace.rs::a_workspace_starts_from_one_source")),
            ("archive", Effective("tests/validate/workspace.rs::a_workspace_starts_from_one_source")),
        ],
    ),
    (
        "GitSource",
        &[
            ("url", Effective("tests/validate/workspace.rs::a_workspace_starts_from_one_source")),
            ("ref", Effective("tests/validate/workspace.rs::a_workspace_starts_from_one_source")),
            ("depth", Effective("tests/validate/workspace.rs::a_workspace_starts_from_one_source")),
        ],
    ),
    (
        "ArchiveSource",
        &[
            ("format", Effective("tests/validate/workspace.rs::a_workspace_starts_from_one_source")),
            ("data", Effective("tests/validate/workspace.rs::a_workspace_starts_from_one_source")),
        ],
    ),
    (
        "FileContent",
        &[
            ("path", Effective("tests/validate/workspace.rs::a_session_is_created_with_files")),
            ("content", Effective("tests/validate/workspace.rs::a_session_is_created_with_files")),
            ("mode", Effective("tests/validate/workspace.rs::a_session_is_created_with_files")),
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
            ("busy_policy", Effective("tests/validate.rs::the_only_busy_policy_is_to_reject")),
            ("request_id", Effective("tests/validate.rs::a_request_id_names_what_is_asked_for")),
        ],
    ),
    (
        "RunTurnRequest",
        &[
            ("session_id", Effective("tests/validate.rs::text_is_a_message_of_one_part")),
            ("text", Effective("tests/validate.rs::text_is_a_message_of_one_part")),
            ("parts", Effective("tests/validate.rs::text_is_a_message_of_one_part")),
            ("busy_policy", Effective("tests/validate.rs::the_only_busy_policy_is_to_reject")),
            ("request_id", Effective("tests/validate.rs::a_request_id_names_what_is_asked_for")),
            ("after_sequence", Effective("tests/validate.rs::only_a_known_turn_is_gone_on_with")),
            ("omit_deltas", Effective("tests/filters.rs::a_turn_can_be_run_without_its_text_as_it_streams")),
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
    (
        "ListFilesRequest",
        &[
            ("session_id", Effective("tests/validate/workspace.rs::pages_of_files_follow_each_other")),
            ("prefix", Effective("tests/validate/workspace.rs::pages_of_files_follow_each_other")),
            ("page_size", Effective("tests/validate/workspace.rs::pages_of_files_follow_each_other")),
            ("page_token", Effective("tests/validate/workspace.rs::pages_of_files_follow_each_other")),
        ],
    ),
    (
        "ReadFileRequest",
        &[
            ("session_id", Effective("tests/validate/workspace.rs::a_read_says_which_file_and_how_much")),
            ("path", Effective("tests/validate/workspace.rs::a_read_says_which_file_and_how_much")),
            ("offset", Effective("tests/validate/workspace.rs::a_read_says_which_file_and_how_much")),
            ("limit", Effective("tests/validate/workspace.rs::a_read_says_which_file_and_how_much")),
        ],
    ),
    (
        "CreateProfileRequest",
        &[
            ("profile", Effective("tests/validate.rs::a_profile_is_taken")),
            ("request_id", Effective("tests/validate.rs::a_request_id_names_what_is_asked_for")),
        ],
    ),
    (
        "AgentProfile",
        &[
            ("profile_id", Refused),
            ("revision", Refused),
            ("name", Effective("tests/validate.rs::a_profile_is_taken")),
            ("description", Effective("tests/validate.rs::a_profile_is_taken")),
            ("agent", Effective("tests/validate.rs::an_alias_names_its_agent")),
            ("acp_command", Refused),
            ("system_prompt", Refused),
            ("memory_file", Refused),
            ("tools", Refused),
            ("skills", Refused),
            ("subagents", Refused),
            ("commands", Refused),
            ("mcp_servers", Refused),
            ("default_options", Refused),
            ("permission_policy", Refused),
            ("sandbox", Refused),
            ("environment", Refused),
            ("npm_dependencies", Refused),
            ("pip_dependencies", Refused),
            ("default_workspace_files", Refused),
            ("created_by", Refused),
            ("create_time", Refused),
            ("update_time", Refused),
            ("etag", Refused),
        ],
    ),
    (
        "GetProfileRequest",
        &[
            ("profile_id", Effective("tests/validate.rs::ids_are_taken_as_they_are")),
            ("revision", Effective("tests/validate.rs::ids_are_taken_as_they_are")),
        ],
    ),
    (
        "ListProfilesRequest",
        &[
            ("page_size", Effective("tests/validate.rs::pages_of_profiles_follow_each_other")),
            ("page_token", Effective("tests/validate.rs::pages_of_profiles_follow_each_other")),
        ],
    ),
    (
        "WriteFileRequest",
        &[
            ("session_id", Effective("tests/workspace/calls.rs::files_are_written_read_listed_and_deleted")),
            ("file", Effective("tests/workspace/calls.rs::files_are_written_read_listed_and_deleted")),
            ("if_sha256", Effective("tests/workspace/calls.rs::a_file_is_only_changed_if_it_is_as_expected")),
            ("request_id", Effective("tests/workspace/calls.rs::a_repeated_call_changes_nothing_twice")),
        ],
    ),
    (
        "UploadFileRequest",
        &[
            ("header", Effective("tests/workspace/calls.rs::large_files_and_archives_are_uploaded")),
            ("data", Effective("tests/workspace/calls.rs::large_files_and_archives_are_uploaded")),
        ],
    ),
    (
        "UploadFileHeader",
        &[
            ("session_id", Effective("tests/workspace/calls.rs::large_files_and_archives_are_uploaded")),
            ("path", Effective("tests/workspace/calls.rs::large_files_and_archives_are_uploaded")),
            ("mode", Effective("tests/workspace/calls.rs::large_files_and_archives_are_uploaded")),
            ("if_sha256", Effective("tests/workspace/calls.rs::a_file_is_only_changed_if_it_is_as_expected")),
            ("unpack", Effective("tests/workspace/calls.rs::large_files_and_archives_are_uploaded")),
            ("request_id", Effective("tests/workspace/calls.rs::a_repeated_call_changes_nothing_twice")),
        ],
    ),
    (
        "DeleteFileRequest",
        &[
            ("session_id", Effective("tests/workspace/calls.rs::files_are_written_read_listed_and_deleted")),
            ("path", Effective("tests/workspace/calls.rs::files_are_written_read_listed_and_deleted")),
            ("if_sha256", Effective("tests/workspace/calls.rs::a_file_is_only_changed_if_it_is_as_expected")),
            ("request_id", Effective("tests/workspace/calls.rs::a_repeated_call_changes_nothing_twice")),
        ],
    ),
    ("GetRuntimeInfoRequest", &[]),
];
