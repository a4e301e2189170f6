//! Ids that look like Modal's. What clients read out of them is true: of sandboxes, only the first version's have 22
//! characters behind `sb-`, and a task of the second version ends in `V`.

use rand::{Rng as _, distr::Alphanumeric};
use ulid::Ulid;

/// Characters of most ids, behind what they begin with.
const SHORT: usize = 22;

/// Of an app, an environment, an image, a secret, or a sandbox or task of the first version.
pub(super) fn short(prefix: &str) -> String {
    let random: String = rand::rng().sample_iter(Alphanumeric).take(SHORT).map(char::from).collect();
    format!("{prefix}-{random}")
}

/// Of a sandbox of the second version.
pub(super) fn sandbox_v2() -> String {
    format!("sb-{}", Ulid::new())
}

/// Of a task of the second version.
pub(super) fn task_v2() -> String {
    format!("ta-{}V", Ulid::new())
}

/// Whether an id is that of a sandbox of the first version, as clients decide it.
pub(super) fn is_v1(sandbox: &str) -> bool {
    sandbox
        .strip_prefix("sb-")
        .is_some_and(|rest| rest.len() == SHORT && rest.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_told_apart_by_the_id() {
        assert!(is_v1(&short("sb")));
        assert!(!is_v1(&sandbox_v2()));
        assert_ne!(short("im"), short("im"));
        assert!(task_v2().ends_with('V'));
    }
}
