//! What things of ours are called at Modal.

use sha2::{Digest as _, Sha256};
use uuid::{Builder, Uuid};

use crate::domain::{ExecId, SandboxId};

/// Longest name of a sandbox there.
const LONGEST: usize = 64;

/// The router's id of a program: a UUID that follows from ours, so that a start whose answer was lost is the same start when it
/// is made again. A start that failed leaves its id used; the next one of the same program is another attempt.
pub(super) fn exec(exec: &ExecId, attempt: u32) -> String {
    uuid(&[b"exec", exec.as_str().as_bytes(), &attempt.to_be_bytes()]).to_string()
}

/// The name of a sandbox: our id, as far as Modal takes it. One running sandbox of an app has it.
pub(super) fn sandbox(id: &SandboxId) -> String {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if (1..=LONGEST).contains(&id.as_str().len()) && id.as_str().bytes().all(fits) {
        return id.to_string();
    }
    format!("sbx-{}", uuid(&[b"sandbox", id.as_str().as_bytes()]))
}

fn uuid(parts: &[&[u8]]) -> Uuid {
    let mut hash = Sha256::new();
    for part in parts {
        // With its length, so that two lists of parts never read as one.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    Builder::from_random_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_stay_the_same() {
        let id = ExecId::new("exec_1");
        assert_eq!(exec(&id, 0), exec(&id, 0));
        assert_ne!(exec(&id, 0), exec(&id, 1));
        assert_ne!(exec(&id, 0), exec(&ExecId::new("exec_2"), 0));
        assert_eq!(Uuid::parse_str(&exec(&id, 0)).unwrap().get_version_num(), 4);
        assert_eq!(sandbox(&SandboxId::new("sbx_01J.x-y")), "sbx_01J.x-y");
        for odd in [String::new(), "a b".to_owned(), "ä".to_owned(), "x".repeat(65)] {
            let name = sandbox(&SandboxId::new(odd));
            assert!(name.len() <= LONGEST && name.starts_with("sbx-"), "{name}");
        }
    }
}
