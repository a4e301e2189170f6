//! What a session begins with where its creation says nothing else.

use sha2::{Digest as _, Sha256};

use crate::{
    domain::{ProfileFile, ProfileSetup, SeedFile, SessionOptions},
    session::NewSession,
    store::BlobBytes,
};

/// Fills in what the profile says and the creation does not.
pub(in crate::session) fn merge(new: &mut NewSession, profile: &ProfileSetup) {
    let own = std::mem::take(&mut new.options);
    let SessionOptions { model, permission_mode, budget, idle_timeout } = profile.default_options.clone();
    new.options = SessionOptions {
        model: or(own.model, model),
        permission_mode: or(own.permission_mode, permission_mode),
        budget: own.budget.or(budget),
        idle_timeout: own.idle_timeout.or(idle_timeout),
    };
    // What the creation says stands in its place as a whole, also where it says nothing of it.
    new.sandbox = new.sandbox.take().or_else(|| profile.sandbox.clone());
    let mut files = Vec::new();
    for ProfileFile { path, content, mode } in &profile.default_files {
        // No folder has a file and something below it: the caller's own say which of the two it is.
        let excludes = |own: &SeedFile| is_within(&own.path, path) || is_within(path, &own.path);
        if new.seed_files.iter().any(excludes) {
            continue;
        }
        let sha256 = format!("{:x}", Sha256::digest(content));
        if new.seeds.iter().all(|kept| kept.sha256 != sha256) {
            new.seeds.push(BlobBytes { sha256: sha256.clone(), data: content.clone() });
        }
        let size = i64::try_from(content.len()).unwrap_or(i64::MAX);
        files.push(SeedFile { path: path.clone(), sha256, size, mode: *mode });
    }
    // The caller's come last.
    files.append(&mut new.seed_files);
    new.seed_files = files;
}

/// Whether a path is this one or lies below it.
fn is_within(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn or(own: String, other: String) -> String {
    if own.is_empty() { other } else { own }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Isolation, SandboxSpec};

    fn file(path: &str, content: &str) -> ProfileFile {
        ProfileFile { path: path.to_owned(), content: content.into(), mode: 0o644 }
    }

    #[test]
    fn what_a_creation_says_wins_field_by_field() {
        let profile = ProfileSetup {
            default_options: SessionOptions {
                model: "profile".to_owned(),
                permission_mode: "plan".to_owned(),
                ..SessionOptions::default()
            },
            sandbox: Some(SandboxSpec {
                provider: "local".to_owned(),
                min_isolation: Some(Isolation::Process),
                ..SandboxSpec::default()
            }),
            default_files: vec![file("a", "profile's"), file("b", "same"), file("c", "same")],
            ..ProfileSetup::default()
        };
        let own = SeedFile { path: "a".to_owned(), sha256: "own".to_owned(), size: 3, mode: 0o600 };
        let options = SessionOptions { model: "own".to_owned(), ..SessionOptions::default() };
        let mut new = NewSession { options, seed_files: vec![own.clone()], ..NewSession::default() };
        merge(&mut new, &profile);
        assert_eq!((new.options.model.as_str(), new.options.permission_mode.as_str()), ("own", "plan"));
        assert_eq!(new.sandbox, profile.sandbox);
        let paths: Vec<&str> = new.seed_files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["b", "c", "a"]);
        assert_eq!(new.seed_files[2], own);
        assert_eq!(new.seeds.len(), 1, "bytes are kept once");

        let sandbox = SandboxSpec { min_isolation: Some(Isolation::Namespace), ..SandboxSpec::default() };
        for sandbox in [sandbox, SandboxSpec::default()] {
            let mut new = NewSession { sandbox: Some(sandbox.clone()), ..NewSession::default() };
            merge(&mut new, &profile);
            assert_eq!((new.sandbox, new.options.model.as_str()), (Some(sandbox), "profile"));
        }
    }

    #[test]
    fn a_file_of_the_profile_gives_way_to_what_excludes_it() {
        let own = |path: &str| SeedFile { path: path.to_owned(), sha256: "own".to_owned(), size: 3, mode: 0o600 };
        let profile = ProfileSetup {
            default_files: ["a", "b/c", "b/d", "e", "bc"].map(|path| file(path, path)).into(),
            ..ProfileSetup::default()
        };
        let seed_files = vec![own("a/b"), own("b"), own("e/f/g")];
        let mut new = NewSession { seed_files, ..NewSession::default() };
        merge(&mut new, &profile);
        let paths: Vec<&str> = new.seed_files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["bc", "a/b", "b", "e/f/g"]);
        assert_eq!(new.seeds.len(), 1, "bytes of what gave way are kept");
    }
}
