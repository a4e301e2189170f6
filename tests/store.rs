//! The conformance suite of stores, run against every implementation there is, and what is special about a file.

#[path = "store/ahead.rs"]
mod ahead;
#[path = "store/beside.rs"]
mod beside;
#[path = "store/file.rs"]
mod file;
#[path = "store/files.rs"]
mod files;
#[path = "store/groups.rs"]
mod groups;
#[path = "store/history.rs"]
mod history;
#[path = "store/kept.rs"]
mod kept;
#[path = "store/ledger.rs"]
mod ledger;
#[path = "store/load.rs"]
mod load;
#[path = "store/make.rs"]
mod make;
#[path = "store/profiles.rs"]
mod profiles;
#[path = "store/reads.rs"]
mod reads;
#[path = "store/requests.rs"]
mod requests;
#[path = "store/turns.rs"]
mod turns;
#[path = "store/writes.rs"]
mod writes;

use agent_runtime::store::{SqliteStore, Store as _};
use proptest::{
    collection::vec,
    prelude::any,
    test_runner::{Config, TestRunner},
};

macro_rules! conformance {
    ($($suite:ident::$name:ident,)*) => {
        mod in_a_file {
            use super::*;
            $(#[tokio::test]
            async fn $name() {
                let dir = tempfile::tempdir().unwrap();
                let store = SqliteStore::open(&dir.path().join("store.db")).await.unwrap();
                $suite::$name(&store).await;
                store.close().await;
            })*
        }

        mod in_memory {
            use super::*;
            $(#[tokio::test]
            async fn $name() {
                let store = SqliteStore::in_memory().await.unwrap();
                $suite::$name(&store).await;
                store.close().await;
            })*
        }
    };
}

conformance! {
    turns::turns_are_listed_in_order,
    turns::a_page_of_turns_has_a_size,
    writes::a_session_is_created_once,
    writes::only_the_newest_owner_appends,
    writes::a_batch_goes_on_from_the_head,
    writes::a_hole_is_never_stored,
    writes::batches_of_one_append_fail_alone,
    groups::text_of_many_sessions_is_stored_at_once,
    groups::one_that_does_not_fit_hinders_no_other,
    writes::a_new_owner_gets_what_is_open,
    writes::a_new_owner_gets_where_the_program_stands,
    writes::a_deleted_session_leaves_its_log,
    writes::purging_leaves_only_the_tombstone,
    writes::an_external_id_is_one_session_of_a_tenant,
    reads::another_tenant_finds_nothing,
    reads::events_come_in_pages,
    reads::text_may_hold_any_character,
    reads::blocks_come_in_pages_of_bytes,
    reads::sessions_are_listed_newest_first,
    reads::what_runs_is_found,
    reads::profiles_have_revisions,
    profiles::a_deleted_profile_is_for_those_who_have_it,
    profiles::a_profile_that_nobody_needs_goes_at_once,
    profiles::a_list_of_profiles_leaves_out_what_they_set_up,
    reads::readers_see_one_moment,
    beside::the_text_of_a_block_is_what_is_inline_and_the_rest,
    beside::bytes_are_there_for_those_who_name_them,
    ahead::bytes_put_ahead_count_once_they_are_whole,
    ahead::bytes_on_their_way_are_one_hands,
    ahead::a_batch_that_names_missing_bytes_fails_alone,
    ahead::bytes_that_nobody_needs_are_collected,
    ahead::the_newest_checkpoint_keeps_its_bytes,
    files::files_are_listed_by_the_bytes_of_their_paths,
    kept::every_cut_of_a_compacted_log_folds_to_the_same_state,
    kept::text_that_is_open_or_young_keeps_its_deltas,
    kept::events_that_are_old_go_but_never_the_newest,
    writes::a_caller_may_give_up_at_any_point,
    writes::a_closed_store_says_so,
    ledger::a_sandbox_elsewhere_has_one_row,
    ledger::a_row_outlives_its_session,
    ledger::whose_sandboxes_are_is_known_and_stays,
    requests::a_call_is_stored_with_its_effect_or_not_at_all,
    requests::an_id_stands_for_one_call_of_its_tenant,
    requests::a_call_is_remembered_also_when_there_was_nothing_to_do,
    requests::a_call_outlives_its_session,
    requests::a_call_is_forgotten_when_its_time_is_over,
    requests::the_end_of_a_turn_is_found,
}

/// `snapshot == fold(events)`, whatever happens, however it is cut into batches, and whoever owns the session.
#[test]
fn what_is_read_is_the_fold_of_the_log() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let store = runtime.block_on(SqliteStore::in_memory()).unwrap();
    let mut runner = TestRunner::new(Config { cases: 96, failure_persistence: None, ..Config::default() });
    let steps = vec((any::<u8>(), any::<u8>(), any::<u8>()), 0..100);
    runner
        .run(&steps, |steps| {
            runtime.block_on(history::check(&store, &steps));
            Ok(())
        })
        .unwrap();
    runtime.block_on(store.close());
}
