//! Trees of files: looks, changes, manifests, restores, confined operations, archives, sources and hints, on a real file
//! system; and the files of sandboxes.
//!
//! `files/suite*.rs` hold what is true of the files of every sandbox: functions over `&dyn Machine` that each must pass.

#[path = "files/alike.rs"]
mod alike;
#[path = "files/archives.rs"]
mod archives;
#[path = "files/change.rs"]
mod change;
#[path = "files/confined.rs"]
mod confined;
#[allow(dead_code, reason = "the suite of programs has its own part")]
#[path = "sandbox/elsewhere.rs"]
mod elsewhere;
#[path = "support/emulator.rs"]
mod emulator;
#[path = "files/ground.rs"]
mod ground;
#[path = "files/half.rs"]
mod half;
#[path = "files/here.rs"]
mod here;
#[path = "files/hint.rs"]
mod hint;
#[path = "files/kinds.rs"]
mod kinds;
#[path = "files/look.rs"]
mod look;
#[path = "files/operate.rs"]
mod operate;
#[path = "files/put_back.rs"]
mod put_back;
#[allow(dead_code, reason = "the suite of programs has its own part")]
#[path = "sandbox/rig.rs"]
mod rig;
#[path = "files/sandboxed.rs"]
mod sandboxed;
#[path = "files/sources.rs"]
mod sources;
#[path = "files/suite.rs"]
mod suite;
#[path = "files/suite_large.rs"]
mod suite_large;
#[path = "files/suite_whole.rs"]
mod suite_whole;
#[path = "files/trees.rs"]
mod trees;
#[path = "files/watched.rs"]
mod watched;

/// Each case on each kind of machine.
macro_rules! suite {
    ($($module:ident: $($case:ident)+;)+) => {
        mod local_sandbox {
            $($(
                #[tokio::test(flavor = "multi_thread")]
                async fn $case() {
                    let rig = crate::sandboxed::Rig::new();
                    crate::kinds::soon(crate::$module::$case(&rig)).await;
                    rig.close().await;
                }
            )+)+
        }

        mod at_modal {
            $($(
                #[tokio::test(flavor = "multi_thread")]
                async fn $case() {
                    let Some(elsewhere) = crate::elsewhere::Elsewhere::start().await else { return };
                    crate::kinds::soon(crate::$module::$case(&elsewhere)).await;
                    elsewhere.close().await;
                }
            )+)+
        }
    };
}

suite! {
    suite:
        a_file_is_read_at_any_offset
        hostile_names_come_through
        nothing_leads_out
        what_is_in_the_way_is_named
        several_are_read_at_once
        changes_are_seen
        hints_come_while_they_are_asked_for
        what_is_left_out_is_counted;
    suite_whole:
        an_archive_comes_whole_or_not_at_all
        a_repository_outlives_its_sandbox
        a_workspace_that_holds_something_is_not_seeded
        trees_are_put_back;
    suite_large:
        sixty_four_mebibytes
        five_thousand_files;
}
