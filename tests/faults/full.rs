//! The disk is full.

use std::{fs::File, io::Write as _, path::Path, process::Command};

use tempfile::TempDir;
use tonic::Code;

use crate::{scenario, support::Server};

/// A small file system of its own.
struct Disk(TempDir);

impl Disk {
    /// `None`, and why: it cannot be had here.
    fn mount() -> Result<Self, String> {
        let dir = TempDir::new().expect("a temporary folder");
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m,mode=700", "tmpfs"]).arg(dir.path()).output();
        let output = mount.map_err(|error| format!("mount: {error}"))?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
        Ok(Self(dir))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn fill(&self) {
        let mut file = File::create(self.path().join("filler")).expect("a file");
        for size in [1 << 20, 4096, 1] {
            while file.write_all(&vec![1; size]).is_ok() {}
        }
    }

    fn free(&self) {
        std::fs::remove_file(self.path().join("filler")).expect("removed");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: what still uses it keeps it until its end.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

#[tokio::test]
async fn a_full_disk_refuses_what_is_new_and_loses_nothing() {
    let disk = match Disk::mount() {
        Ok(disk) => disk,
        Err(why) => return println!("SKIPPED: a small file system cannot be mounted: {why}"),
    };
    let data = disk.path().join("data");
    std::fs::create_dir(&data).expect("a folder");
    let server = Server::start_on(&data, &[]);
    let expected = (Code::ResourceExhausted, "STORAGE_FULL");
    scenario::run(&server, expected, async { disk.fill() }, async { disk.free() }).await;
    drop(server);
}
