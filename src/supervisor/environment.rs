//! What a program was started with. The kernel keeps it for as long as the program runs, so that nobody has to write down what
//! may be secret.

use std::path::Path;

use super::{proc, record::Record};

/// The variables of the program that is kept here, as they were at its start; none when it is over. Blocks.
#[must_use]
pub fn of(dir: &Path) -> Vec<(String, String)> {
    let alive = |boot_id: String| Record::load(dir)?.alive(&boot_id);
    let environment = proc::boot_id().ok().and_then(alive).and_then(proc::environment).unwrap_or_default();
    let variables = environment.split(|byte| *byte == 0).filter_map(|variable| std::str::from_utf8(variable).ok());
    let pairs = variables.filter_map(|variable| variable.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}
