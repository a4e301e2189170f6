//! Secrets by name: a folder of the server's owner, in which each file holds the secret of its name, as container platforms
//! mount them. A file is read when a session is created and whenever its agent is started, so a secret that was changed
//! needs no restart of the server.

use std::{fs, path::PathBuf};

use crate::domain::{Failure, McpTransport, ProfileSetup, Reason, Secret, Violation};

/// Most bytes of a secret, as of one that a profile holds itself.
const MAX: u64 = 32 * 1024;

/// Where named secrets are.
#[derive(Clone, Debug, Default)]
pub struct Secrets(Option<PathBuf>);

impl Secrets {
    /// In this folder; `None`: there are none.
    #[must_use]
    pub fn new(folder: Option<PathBuf>) -> Self {
        Self(folder)
    }

    /// The references of a profile for which there is no secret.
    pub(super) fn missing(&self, profile: &ProfileSetup) -> Vec<Violation> {
        let mut missing = Vec::new();
        each(&mut profile.clone(), &mut |field, secret| {
            if let Secret::Ref(name) = secret
                && let Err(rule) = self.get(name)
            {
                missing.push(Violation { field: format!("profile.{field}"), rule });
            }
        });
        missing
    }

    /// The same profile, with values instead of references.
    pub(super) fn resolve(&self, mut profile: ProfileSetup) -> Result<ProfileSetup, Failure> {
        let mut failed = None;
        each(&mut profile, &mut |field, secret| {
            if let Secret::Ref(name) = secret {
                match self.get(name) {
                    Ok(value) => *secret = Secret::Value(value),
                    Err(rule) => failed = Some(format!("profile.{field}: {rule}")),
                }
            }
        });
        match failed {
            None => Ok(profile),
            Some(message) => Err(Failure::new(Reason::SandboxFailed, message).with("cause", "secrets")),
        }
    }

    /// The secret of this name; the error names it and never what it holds.
    pub(in crate::session) fn get(&self, name: &str) -> Result<String, String> {
        let none = || format!("this server has no secret {name}; put it into a file of that name below its --secrets");
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        if name.starts_with('.') || !name.bytes().all(plain) {
            return Err(none());
        }
        let file = self.0.as_ref().ok_or_else(none)?.join(name);
        let found = fs::metadata(&file).ok().filter(fs::Metadata::is_file).ok_or_else(none)?;
        if found.len() > MAX {
            return Err(format!("the secret {name} has more than {MAX} bytes"));
        }
        let text = fs::read_to_string(file).map_err(|error| format!("the secret {name} cannot be read: {error}"))?;
        // As editors and shells leave it behind.
        let value = text.strip_suffix('\n').unwrap_or(&text);
        if value.contains('\0') { Err(format!("the secret {name} is no text")) } else { Ok(value.to_owned()) }
    }
}

/// All secrets of a profile, each with its field.
fn each(profile: &mut ProfileSetup, visit: &mut dyn FnMut(String, &mut Secret)) {
    for (name, secret) in &mut profile.environment {
        visit(format!("environment.{name}"), secret);
    }
    for (at, server) in profile.mcp_servers.iter_mut().enumerate() {
        let (of, secrets) = match &mut server.transport {
            McpTransport::Stdio { environment, .. } => ("stdio.environment", environment),
            McpTransport::Http { headers, .. } => ("http.headers", headers),
            McpTransport::Bundle { .. } => continue,
        };
        for (name, secret) in secrets {
            visit(format!("mcp_servers[{at}].{of}.{name}"), secret);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::McpServer;

    fn of(reference: &str) -> ProfileSetup {
        let secrets = || [("TOKEN".to_owned(), Secret::Ref(reference.to_owned()))].into();
        let http = McpTransport::Http { url: "http://x".to_owned(), headers: secrets(), sse: false };
        let server = McpServer { name: "x".to_owned(), description: String::new(), transport: http };
        ProfileSetup { environment: secrets(), mcp_servers: vec![server], ..ProfileSetup::default() }
    }

    #[test]
    fn a_reference_becomes_what_its_file_holds() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("token"), "s3cret\n").unwrap();
        let secrets = Secrets::new(Some(folder.path().to_owned()));
        assert_eq!(secrets.missing(&of("token")), []);
        let resolved = secrets.resolve(of("token")).unwrap();
        assert_eq!(resolved.environment["TOKEN"].value(), "s3cret");
        let McpTransport::Http { headers, .. } = &resolved.mcp_servers[0].transport else { panic!() };
        assert_eq!(headers["TOKEN"].value(), "s3cret");
    }

    #[test]
    fn a_reference_to_nothing_is_named_where_it_stands() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("key"), "outside").unwrap();
        let below = folder.path().join("below");
        fs::create_dir(&below).unwrap();
        for secrets in [Secrets::new(Some(below)), Secrets::default()] {
            for name in ["token", "../key", ".", "..", "", "a/b"] {
                let missing = secrets.missing(&of(name));
                let fields: Vec<&str> = missing.iter().map(|missing| missing.field.as_str()).collect();
                assert_eq!(
                    fields,
                    ["profile.environment.TOKEN", "profile.mcp_servers[0].http.headers.TOKEN"],
                    "{name}"
                );
                assert!(secrets.resolve(of(name)).is_err(), "{name}");
            }
        }
    }
}
