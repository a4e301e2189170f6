//! `buf lint`, by the real program.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

#[test]
fn the_contract_passes_buf_lint() {
    let Some(buf) = buf() else { return };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let lint = Command::new(buf).arg("lint").current_dir(root).output().unwrap();
    assert!(
        lint.status.success(),
        "buf lint:\n{}{}",
        String::from_utf8_lossy(&lint.stdout),
        String::from_utf8_lossy(&lint.stderr)
    );
}

/// The program, installed when it is not there yet; `None`, but never in CI, when it cannot be had.
fn buf() -> Option<PathBuf> {
    let tools = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("test-tools");
    let program = tools.join("node_modules/.bin/buf");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/tools.sh");
    if !program.exists() {
        let problem = match Command::new("sh").arg(script).arg(&tools).output() {
            Ok(install) if install.status.success() => String::new(),
            Ok(install) => String::from_utf8_lossy(&install.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        if !problem.is_empty() {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "buf cannot be installed: {problem}");
            println!("SKIPPED: buf cannot be installed: {problem}");
            return None;
        }
    }
    Some(program)
}
