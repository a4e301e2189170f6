//! Authorities of our own, and certificates that they vouch for, made by openssl.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// An authority, and the certificate of a server on this machine that it vouches for: PEM files.
pub struct Authority {
    /// Its own certificate, which is the root.
    pub root: PathBuf,
    /// The server's.
    pub certificate: PathBuf,
    /// The server's private key.
    pub key: PathBuf,
}

impl Authority {
    /// One in a folder, by this name. `None`: this machine has no openssl, which is told, and is no excuse in CI.
    pub fn new(folder: &Path, name: &str) -> Option<Self> {
        let path = |what: &str| folder.join(format!("{name}-{what}.pem"));
        let [root, root_key, certificate, key] = ["root", "root-key", "certificate", "key"].map(path);
        if let Err(error) = Command::new("openssl").arg("version").output() {
            println!("SKIPPED: there is no openssl to make certificates with: {error}");
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI must have openssl");
            return None;
        }
        let new = |subject: &str, key: &Path| {
            let mut command = Command::new("openssl");
            command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
            command.args(["-days", "2", "-subj", subject, "-keyout"]).arg(key);
            command
        };
        let mut own = new(&format!("/CN={name}"), &root_key);
        run(own.args(["-addext", "keyUsage=critical,keyCertSign", "-out"]).arg(&root));
        let mut servers = new("/CN=localhost", &key);
        servers.arg("-CA").arg(&root).arg("-CAkey").arg(&root_key);
        servers.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
        run(servers.args(["-addext", "subjectAltName=DNS:localhost", "-out"]).arg(&certificate));
        Some(Self { root, certificate, key })
    }

    /// What an emulator is told that shows this certificate.
    pub fn arguments(&self) -> [&str; 4] {
        let [chain, key] = [&self.certificate, &self.key].map(|path| path.to_str().expect("a plain path"));
        ["--tls-cert", chain, "--tls-key", key]
    }

    /// A file with the roots of both.
    pub fn with(&self, other: &Self, folder: &Path) -> PathBuf {
        let both = [&self.root, &other.root].map(|root| fs::read_to_string(root).expect("a root")).concat();
        let file = folder.join("both.pem");
        fs::write(&file, both).expect("written");
        file
    }
}

fn run(command: &mut Command) {
    let done = command.output().expect("openssl");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}
