//! `buf lint` and `buf breaking`, by the real program.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
};

use sha2::{Digest as _, Sha256};

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

#[test]
fn nothing_that_the_baseline_promises_is_broken() {
    let Some(buf) = buf() else { return };
    let breaking = breaking(&buf, Path::new(env!("CARGO_MANIFEST_DIR")));
    let said = String::from_utf8_lossy(&breaking.stdout);
    assert!(breaking.status.success(), "buf breaking:\n{said}{}", String::from_utf8_lossy(&breaking.stderr));
}

/// The changelog names the baseline by its hash, so that one cannot change without the other.
#[test]
fn the_baseline_changes_only_with_a_line_in_the_changelog() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let hash = Sha256::digest(fs::read(root.join("proto/baseline.binpb")).unwrap());
    let hash: String = hash.iter().take(6).fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    let changelog = fs::read_to_string(root.join("CHANGELOG.md")).unwrap();
    assert!(
        changelog.contains(&format!("`proto/baseline.binpb` ({hash})")),
        "proto/baseline.binpb changed: say in CHANGELOG.md what that breaks, and name it there: ({hash})"
    );
}

#[test]
fn an_edit_that_breaks_callers_is_seen() {
    let Some(buf) = buf() else { return };
    let copy = tempfile::tempdir().unwrap();
    let (root, package) = (Path::new(env!("CARGO_MANIFEST_DIR")), "proto/agentruntime/v1");
    fs::create_dir_all(copy.path().join(package)).unwrap();
    fs::copy(root.join("buf.yaml"), copy.path().join("buf.yaml")).unwrap();
    for file in fs::read_dir(root.join(package)).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), copy.path().join(package).join(file.file_name())).unwrap();
    }
    assert!(breaking(&buf, copy.path()).status.success(), "the copy itself breaks nothing");
    let edited = copy.path().join(package).join("session.proto");
    let text = fs::read_to_string(&edited).unwrap();
    let (good, bad) = ("bool goes_first = 12;", "string goes_first = 12;");
    assert!(text.contains(good));
    fs::write(&edited, text.replace(good, bad)).unwrap();
    let seen = breaking(&buf, copy.path());
    let said = String::from_utf8_lossy(&seen.stdout);
    assert!(!seen.status.success() && said.contains("goes_first"), "buf breaking said only: {said}");
}

/// Compares the contract below a folder with the baseline.
fn breaking(buf: &Path, root: &Path) -> Output {
    let baseline = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto/baseline.binpb");
    Command::new(buf).args(["breaking", "proto", "--against"]).arg(baseline).current_dir(root).output().unwrap()
}

/// The program; `None`, but never in CI, when it cannot be had.
fn buf() -> Option<PathBuf> {
    // Tests run at once, and an installation is for one of them.
    static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
    PROGRAM.get_or_init(installed).clone()
}

/// The program, installed when it is not there yet.
fn installed() -> Option<PathBuf> {
    let tools = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("test-tools");
    let program = tools.join("node_modules/.bin/buf");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/tools.sh");
    if !program.exists() {
        let problem = match Command::new("bash").arg(script).arg(&tools).output() {
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
