//! What becomes of the fields of calls about files, and of what says where a workspace begins.

use super::{Fields, Use::Effective};

pub(super) const FIELDS: &[(&str, Fields)] = &[
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
];
