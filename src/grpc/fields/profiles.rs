//! What becomes of the fields of calls about profiles.

use super::{
    Fields,
    Use::{Effective, Refused},
};

pub(super) const FIELDS: &[(&str, Fields)] = &[
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
];
