//! Programs of older releases, which `tests/previous` holds.

#![allow(unreachable_pub, reason = "each test binary uses its own part")]

use std::{path::PathBuf, process::Command};

/// The program of an older supervisor; built by the tests of the whole house, or else now.
pub fn previous(name: &str) -> PathBuf {
    let tests = std::env::current_exe().expect("this test");
    let program = tests.ancestors().nth(2).expect("below the target").join("examples").join(name);
    if !program.exists() {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--locked", "--example", name]);
        if program.ancestors().nth(2).is_some_and(|profile| profile.ends_with("release")) {
            build.arg("--release");
        }
        // What cargo tells tests is not for another cargo: it would build everything anew.
        let told = |name: &str| name.starts_with("CARGO") && name != "CARGO_HOME" && name != "CARGO_TARGET_DIR";
        for (name, _) in std::env::vars().filter(|(name, _)| told(name)) {
            build.env_remove(name);
        }
        assert!(build.status().expect("cargo").success() && program.exists(), "{} is not built", program.display());
    }
    program
}
