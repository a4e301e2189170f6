//! Every reason is tried, or says why it cannot be yet. A new one does not compile without a word here.

use std::path::Path;

use agent_runtime::domain::Reason;

enum Tried {
    /// "tests/FILE.rs::TEST".
    By(&'static str),
    /// Nothing can bring it up, because of what is not built.
    NotYet(&'static str),
}

use Tried::{By, NotYet};

#[expect(clippy::match_same_arms, reason = "one line each, in the contract's order")]
fn tried(reason: Reason) -> Tried {
    match reason {
        Reason::InvalidField => By("tests/service/refusals.rs::a_creation_that_is_refused_stores_nothing"),
        Reason::NotImplemented => By("tests/service/wire.rs::every_method_that_is_not_built_says_so"),
        Reason::MessageTooLarge => By("tests/service/wire.rs::texts_and_requests_over_their_limits_are_refused"),
        Reason::WorkspacePath => By("tests/service/files.rs::what_is_no_file_of_the_workspace_is_refused"),
        Reason::RequestIdReused => By("tests/commands/again.rs::an_id_is_not_taken_for_another_request_or_method"),
        Reason::ExternalIdInUse => {
            By("tests/service/sessions.rs::an_external_id_names_one_session_until_that_is_deleted")
        }
        Reason::EtagMismatch => By("tests/service/stops.rs::a_deletion_checks_its_etag_and_leaves_nothing"),
        Reason::AuthMissing | Reason::AuthInvalid => {
            By("tests/service/refusals.rs::who_says_nothing_or_something_wrong_learns_nothing")
        }
        Reason::AccessDenied => NotYet("the one key has every scope, until there is CreateApiKey"),
        Reason::QuotaExceeded => NotYet("quotas"),
        Reason::RateLimited => NotYet("rate limits"),
        Reason::SessionNotFound => By("tests/service/stops.rs::a_deletion_checks_its_etag_and_leaves_nothing"),
        Reason::TurnNotFound => NotYet("GetTurn, InterruptTurn, CancelTurn"),
        Reason::PermissionNotFound => {
            By("tests/permissions/answers.rs::what_is_no_answer_is_refused_and_the_request_stays_open")
        }
        Reason::AlreadyResolved => {
            By("tests/permissions/answers.rs::of_several_who_answer_at_once_the_first_wins_and_the_others_are_told_who")
        }
        Reason::PermissionRuleNotFound => By("tests/permissions/rules.rs::a_rule_that_is_deleted_answers_nothing"),
        Reason::QuestionNotFound => {
            By("tests/permissions/questions.rs::what_is_no_answer_is_refused_and_the_question_stays_open")
        }
        Reason::BlockNotFound => By("tests/service/kept.rs::text_past_what_a_block_shows_can_be_read_whole"),
        Reason::BlobNotFound => By("tests/service/kept.rs::a_picture_that_a_tool_gives_can_be_read_by_its_hash"),
        Reason::FileNotFound => By("tests/service/files.rs::what_is_no_file_of_the_workspace_is_refused"),
        Reason::ProfileNotFound => {
            By("tests/service/profiles.rs::a_profile_or_revision_that_is_not_there_is_not_found")
        }
        Reason::ApiKeyNotFound => NotYet("RevokeApiKey"),
        Reason::SessionBusy => {
            By("tests/service/messages.rs::a_message_during_a_turn_is_refused_with_the_turn_it_meets")
        }
        Reason::QueueFull => NotYet("BUSY_POLICY_QUEUE"),
        Reason::TurnStarted | Reason::TurnFinished | Reason::TurnCancelled => NotYet("CancelTurn"),
        Reason::BudgetExhausted => NotYet("budgets"),
        Reason::TurnLost => {
            By("tests/takeover/lost.rs::a_sandbox_that_was_destroyed_while_no_server_ran_loses_the_turn")
        }
        Reason::SequenceTruncated => By("tests/service/kept.rs::events_that_retention_removed_are_refused_by_name"),
        Reason::SequenceAhead | Reason::SessionReplaced => {
            By("tests/service/refusals.rs::cursors_of_another_log_are_refused")
        }
        Reason::TooManyWatchers => NotYet("a limit of watches"),
        Reason::AgentUnavailable => {
            By("tests/service/messages.rs::a_missing_agent_fails_the_turn_and_says_how_to_get_it")
        }
        Reason::AgentFailed => {
            By("tests/turns/ends.rs::an_agent_that_exits_fails_its_turn_and_the_next_one_has_a_new_agent")
        }
        Reason::ModelProviderLimit => By("tests/turns/claude.rs::what_the_model_refuses_fails_the_turn_with_its_cause"),
        Reason::SandboxUnsuitable => By("tests/service/refusals.rs::a_creation_that_is_refused_stores_nothing"),
        Reason::SandboxFailed => By("tests/turns/starts.rs::a_sandbox_that_cannot_be_made_fails_the_turn"),
        Reason::SandboxOutOfReach => {
            By("tests/elsewhere/origin.rs::a_sandbox_of_another_account_is_neither_written_off_nor_forgotten")
        }
        Reason::BlockTooLarge => NotYet("whatever an agent prints is cut to fit"),
        Reason::StorageUnavailable => By("tests/faults/held.rs::a_database_that_another_program_holds_is_waited_for"),
        Reason::StorageFull => By("tests/faults/full.rs::a_full_disk_refuses_what_is_new_and_loses_nothing"),
        Reason::ShuttingDown => By("tests/service/start.rs::a_stop_ends_turns_and_streams_in_order"),
        Reason::SecondServer => {
            By("tests/service/start.rs::the_second_server_of_a_folder_is_told_where_the_first_one_is")
        }
    }
}

#[test]
fn every_reason_is_tried_or_says_why_not() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for reason in Reason::ALL {
        match tried(*reason) {
            By(place) => {
                let (file, name) = place.split_once("::").expect("FILE::TEST");
                let text = std::fs::read_to_string(root.join(file)).unwrap_or_else(|cause| panic!("{file}: {cause}"));
                assert!(text.contains(&format!("fn {name}(")), "{reason:?}: there is no {place}");
                let named = text.contains(reason.as_str()) || text.contains(&format!("ErrorReason::{reason:?}"));
                // A server that does not start has no call to refuse: it prints its error.
                assert!(named || *reason == Reason::SecondServer, "{reason:?} is not named in {file}");
            }
            NotYet(why) => assert!(!why.is_empty(), "{reason:?}"),
        }
    }
}
