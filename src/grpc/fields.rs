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
    "SessionService/ExportTranscript",
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
            ("image", Refused),
            ("attachment", Refused),
            ("image_uri", Refused),
            ("file_path", Refused),
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
            ("profile_id", Effective("tests/validate/profile.rs::an_update_says_which_and_what")),
            ("revision", Refused),
            ("name", Effective("tests/validate.rs::a_profile_is_taken")),
            ("description", Effective("tests/validate.rs::a_profile_is_taken")),
            ("agent", Effective("tests/validate.rs::an_alias_names_its_agent")),
            ("acp_command", Refused),
            (
                "system_prompt",
                Effective(
                    "tests/profiles/said.rs::the_system_prompt_and_the_memory_reach_the_model_and_stand_in_no_argument",
                ),
            ),
            (
                "memory_file",
                Effective(
                    "tests/profiles/said.rs::the_system_prompt_and_the_memory_reach_the_model_and_stand_in_no_argument",
                ),
            ),
            ("tools", Effective("tests/profiles/said.rs::only_the_tools_that_are_named_are_offered")),
            ("skills", Effective("tests/profiles/skills.rs::a_skill_is_offered_its_body_loaded_and_its_file_readable")),
            (
                "subagents",
                Effective("tests/profiles/subagents.rs::a_subagent_is_offered_and_has_its_own_prompt_model_and_tools"),
            ),
            ("commands", Effective("tests/profiles/said.rs::a_command_stands_for_its_prompt")),
            (
                "mcp_servers",
                Effective(
                    "tests/profiles/servers.rs::a_program_offers_its_tools_and_its_secret_stands_in_no_file_and_no_argument",
                ),
            ),
            (
                "default_options",
                Effective("tests/profiles/said.rs::the_default_model_is_asked_unless_the_session_names_one"),
            ),
            (
                "permission_policy",
                Effective("tests/permissions/policy.rs::what_no_rule_matches_is_as_the_profile_says"),
            ),
            ("sandbox", Effective("tests/profiles/environment.rs::the_scripted_agent_has_files_and_sandbox_too")),
            (
                "environment",
                Effective(
                    "tests/profiles/environment.rs::variables_and_named_secrets_are_in_the_agents_environment_and_in_no_argument",
                ),
            ),
            (
                "npm_dependencies",
                Effective("tests/profiles/packages.rs::packages_of_both_sorts_are_found_by_the_agents_programs"),
            ),
            (
                "pip_dependencies",
                Effective("tests/profiles/packages.rs::packages_of_both_sorts_are_found_by_the_agents_programs"),
            ),
            (
                "default_workspace_files",
                Effective("tests/profiles/environment.rs::default_files_are_there_under_the_sessions_own"),
            ),
            ("created_by", Refused),
            ("create_time", Refused),
            ("update_time", Refused),
            ("etag", Effective("tests/validate/profile.rs::an_update_says_which_and_what")),
        ],
    ),
    (
        "Secret",
        &[
            (
                "value",
                Effective(
                    "tests/profiles/environment.rs::variables_and_named_secrets_are_in_the_agents_environment_and_in_no_argument",
                ),
            ),
            (
                "ref",
                Effective(
                    "tests/profiles/environment.rs::variables_and_named_secrets_are_in_the_agents_environment_and_in_no_argument",
                ),
            ),
        ],
    ),
    (
        "Skill",
        &[
            ("name", Effective("tests/profiles/skills.rs::a_skill_is_offered_its_body_loaded_and_its_file_readable")),
            (
                "description",
                Effective("tests/profiles/skills.rs::a_skill_is_offered_its_body_loaded_and_its_file_readable"),
            ),
            ("body", Effective("tests/profiles/skills.rs::a_skill_is_offered_its_body_loaded_and_its_file_readable")),
            (
                "supporting_files",
                Effective("tests/profiles/skills.rs::a_skill_is_offered_its_body_loaded_and_its_file_readable"),
            ),
            (
                "npm_dependencies",
                Effective("tests/profiles/packages.rs::packages_of_both_sorts_are_found_by_the_agents_programs"),
            ),
            (
                "pip_dependencies",
                Effective("tests/profiles/packages.rs::packages_of_both_sorts_are_found_by_the_agents_programs"),
            ),
        ],
    ),
    (
        "SubagentDefinition",
        &[
            (
                "name",
                Effective("tests/profiles/subagents.rs::a_subagent_is_offered_and_has_its_own_prompt_model_and_tools"),
            ),
            (
                "description",
                Effective("tests/profiles/subagents.rs::a_subagent_is_offered_and_has_its_own_prompt_model_and_tools"),
            ),
            (
                "prompt",
                Effective("tests/profiles/subagents.rs::a_subagent_is_offered_and_has_its_own_prompt_model_and_tools"),
            ),
            (
                "model",
                Effective("tests/profiles/subagents.rs::a_subagent_is_offered_and_has_its_own_prompt_model_and_tools"),
            ),
            (
                "tools",
                Effective("tests/profiles/subagents.rs::a_subagent_is_offered_and_has_its_own_prompt_model_and_tools"),
            ),
        ],
    ),
    (
        "Command",
        &[
            ("name", Effective("tests/profiles/said.rs::a_command_stands_for_its_prompt")),
            ("prompt", Effective("tests/profiles/said.rs::a_command_stands_for_its_prompt")),
        ],
    ),
    (
        "McpServer",
        &[
            (
                "name",
                Effective(
                    "tests/profiles/servers.rs::a_program_offers_its_tools_and_its_secret_stands_in_no_file_and_no_argument",
                ),
            ),
            ("description", Effective("tests/validate/profile.rs::a_tool_server_is_reached_in_one_way")),
            (
                "stdio",
                Effective(
                    "tests/profiles/servers.rs::a_program_offers_its_tools_and_its_secret_stands_in_no_file_and_no_argument",
                ),
            ),
            ("http", Effective("tests/profiles/http.rs::a_server_over_http_is_called_with_its_secret_header")),
            (
                "bundle",
                Effective("tests/profiles/servers.rs::a_project_is_copied_installed_in_the_sandbox_and_started"),
            ),
        ],
    ),
    (
        "McpStdio",
        &[
            (
                "command",
                Effective(
                    "tests/profiles/servers.rs::a_program_offers_its_tools_and_its_secret_stands_in_no_file_and_no_argument",
                ),
            ),
            (
                "args",
                Effective(
                    "tests/profiles/servers.rs::a_program_offers_its_tools_and_its_secret_stands_in_no_file_and_no_argument",
                ),
            ),
            (
                "environment",
                Effective(
                    "tests/profiles/servers.rs::a_program_offers_its_tools_and_its_secret_stands_in_no_file_and_no_argument",
                ),
            ),
        ],
    ),
    (
        "McpHttp",
        &[
            ("url", Effective("tests/profiles/http.rs::a_server_over_http_is_called_with_its_secret_header")),
            ("headers", Effective("tests/profiles/http.rs::a_server_over_http_is_called_with_its_secret_header")),
            ("sse", Effective("tests/profiles/http.rs::the_older_transport_is_spoken_where_the_profile_says_so")),
        ],
    ),
    (
        "McpBundle",
        &[
            (
                "project_path",
                Effective("tests/profiles/servers.rs::a_project_is_copied_installed_in_the_sandbox_and_started"),
            ),
            (
                "install_command",
                Effective("tests/profiles/servers.rs::a_project_is_copied_installed_in_the_sandbox_and_started"),
            ),
            (
                "start_command",
                Effective("tests/profiles/servers.rs::a_project_is_copied_installed_in_the_sandbox_and_started"),
            ),
        ],
    ),
    (
        "UpdateProfileRequest",
        &[
            ("profile", Effective("tests/validate/profile.rs::an_update_says_which_and_what")),
            ("update_mask", Effective("tests/validate/profile.rs::a_mask_names_whole_fields")),
            ("request_id", Effective("tests/validate.rs::a_request_id_names_what_is_asked_for")),
        ],
    ),
    (
        "DeleteProfileRequest",
        &[
            ("profile_id", Effective("tests/validate/profile.rs::a_deletion_says_which")),
            ("etag", Effective("tests/validate/profile.rs::a_deletion_says_which")),
            ("request_id", Effective("tests/validate.rs::a_request_id_names_what_is_asked_for")),
        ],
    ),
    (
        "PermissionPolicy",
        &[
            ("default_effect", Effective("tests/permissions/policy.rs::what_no_rule_matches_is_as_the_profile_says")),
            ("rules", Effective("tests/permissions/policy.rs::rules_of_the_profile_come_after_those_of_the_session")),
            ("ask_timeout", Effective("tests/permissions/policy.rs::silence_means_what_the_profile_says")),
            ("timeout_effect", Effective("tests/permissions/policy.rs::silence_means_what_the_profile_says")),
        ],
    ),
    (
        "PermissionRule",
        &[
            ("rule_id", Effective("tests/permissions/policy.rs::rules_of_the_profile_come_after_those_of_the_session")),
            (
                "tool_name",
                Effective("tests/permissions/policy.rs::rules_of_the_profile_come_after_those_of_the_session"),
            ),
            ("pattern", Effective("tests/permissions/policy.rs::rules_of_the_profile_come_after_those_of_the_session")),
            ("effect", Effective("tests/permissions/policy.rs::rules_of_the_profile_come_after_those_of_the_session")),
            ("created_by", Refused),
            ("create_time", Refused),
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
