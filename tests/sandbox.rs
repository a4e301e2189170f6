//! The conformance suite for sandboxes, on every kind there is, and what is true of local ones only.
//!
//! `sandbox/{input,life,output}.rs` hold the suite: functions over `&dyn Provider` that any provider must pass.

#[path = "sandbox/asked.rs"]
mod asked;
#[path = "support/authority.rs"]
mod authority;
#[path = "sandbox/elsewhere.rs"]
mod elsewhere;
#[path = "support/emulator.rs"]
mod emulator;
#[path = "sandbox/far.rs"]
mod far;
#[path = "sandbox/golden.rs"]
mod golden;
#[path = "sandbox/handshake.rs"]
mod handshake;
#[path = "sandbox/input.rs"]
mod input;
#[path = "sandbox/large.rs"]
mod large;
#[path = "sandbox/lease.rs"]
mod lease;
#[path = "sandbox/leaves.rs"]
mod leaves;
#[path = "sandbox/life.rs"]
mod life;
#[path = "sandbox/local.rs"]
mod local;
#[path = "sandbox/missing.rs"]
mod missing;
#[path = "support/previous.rs"]
mod older;
#[path = "sandbox/outlive.rs"]
mod outlive;
#[path = "sandbox/output.rs"]
mod output;
#[path = "sandbox/previous.rs"]
mod previous;
#[path = "sandbox/rig.rs"]
mod rig;
#[path = "sandbox/slow.rs"]
mod slow;
#[path = "sandbox/standins.rs"]
mod standins;
#[path = "sandbox/stubborn.rs"]
mod stubborn;
#[path = "sandbox/supervised.rs"]
mod supervised;
#[path = "sandbox/tls.rs"]
mod tls;
#[path = "sandbox/wall.rs"]
mod wall;

/// Each case on each tier.
macro_rules! conformance {
    ($($module:ident: $($case:ident)+;)+) => {
        mod process_tier {
            $($(
                #[tokio::test(flavor = "multi_thread")]
                async fn $case() {
                    let rig = crate::rig::Rig::process();
                    crate::rig::soon(crate::$module::$case(&rig.local)).await;
                    rig.close().await;
                }
            )+)+
        }

        mod namespace_tier {
            $($(
                #[tokio::test(flavor = "multi_thread")]
                async fn $case() {
                    let Some(rig) = crate::rig::Rig::namespace() else { return };
                    crate::rig::soon(crate::$module::$case(&rig.local)).await;
                    rig.close().await;
                }
            )+)+
        }

        mod modal_tier {
            $($(
                #[tokio::test(flavor = "multi_thread")]
                async fn $case() {
                    let Some(elsewhere) = crate::elsewhere::Elsewhere::stand_in().await else { return };
                    crate::rig::soon(crate::$module::$case(&elsewhere.modal)).await;
                    elsewhere.close().await;
                }
            )+)+
        }
    };
}

conformance! {
    output:
        any_offset_reads_the_same
        several_readers_at_once
        reads_again_after_the_exit
        reads_while_it_is_written
        beyond_the_end_is_refused
        released_output_is_refused
        binary_output_is_exact
        the_two_outputs_are_apart
        fifty_megabytes;
    input:
        duplicates_count_once
        overlaps_count_once
        other_bytes_are_a_conflict
        a_hole_is_refused
        the_end_of_input_is_told
        nothing_follows_the_end
        eight_megabytes_come_through
        a_program_that_never_reads
        a_program_that_closes_its_input
        input_after_the_exit;
    life:
        starts_once
        starts_once_concurrently
        waits_before_and_after_the_exit
        exits_as_the_program_says
        an_interrupt_reaches_the_program
        a_signal_reaches_the_group
        killing_leaves_nobody
        an_exit_leaves_nobody
        signalling_the_dead_is_no_error
        stale_epochs_are_refused
        unknown_execs_are_refused
        a_failed_start_leaves_nothing
        the_environment_is_an_allow_list
        what_a_program_was_started_with_is_told_while_it_runs
        programs_share_their_directories
        terminates_twice_and_keeps_the_files
        terminates_what_ignores_it
        nothing_runs_in_what_is_resumed
        destroys;
}
