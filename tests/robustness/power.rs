//! Loss of power: the server runs with a library in front of the system's that keeps, beside its folder, an image of what
//! was flushed to the disk. When the power goes, the image is all there is.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::processes_of;

/// What the shim is told.
#[derive(Clone, Debug, Default)]
pub struct Power {
    /// Flushes of files whose names end so are forgotten: a disk that lies.
    pub forget: &'static str,
}

static SHIM: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let library = folder.join(format!("power_loss_{}.so", std::process::id()));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/robustness/power_loss.c");
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
        .arg(&library)
        .arg(source)
        .args(["-ldl", "-lpthread"]);
    assert!(cc.status().expect("a C compiler").success(), "the shim does not compile");
    library
});

impl Power {
    /// The environment of a server whose data lies in `folder/data`.
    pub fn env(&self, folder: &Path) -> Vec<(String, String)> {
        let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
        fs::create_dir_all(folder.join("image")).expect("a folder for the image");
        vec![
            ("LD_PRELOAD".into(), SHIM.to_string_lossy().into_owned()),
            ("POWER_FOLDER".into(), path("data")),
            ("POWER_IMAGE".into(), path("image")),
            ("POWER_FORGET".into(), self.forget.into()),
        ]
    }

    /// The power goes: nothing runs any more, and of the files is left what was flushed.
    pub fn lose(folder: &Path) {
        let (data, image) = (folder.join("data"), folder.join("image"));
        for process in processes_of(&data) {
            let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw).expect("a pid");
            // It may have ended by itself.
            let _ = kill_process(pid, Signal::KILL);
        }
        while !processes_of(&data).is_empty() {
            std::thread::yield_now();
        }
        fs::remove_dir_all(&data).expect("the folder goes");
        copy(&image, &data);
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("the image").filter_map(Result::ok) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a copy");
        }
    }
}
