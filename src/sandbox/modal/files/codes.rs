//! How helpers say that something was refused: by the code that they end with. The scripts in `sh` hold the same numbers.

use std::io::ErrorKind;

use crate::{sandbox::Error, workspace};

/// A file has more bytes than were asked for.
pub(super) const TOO_LARGE: i32 = 81;

/// Most of what a helper said that is passed on.
const SAID_MAX: usize = 500;

/// What the end of a helper means that was to do something with `path`; `None`: it did.
pub(super) fn failure(code: i32, path: &str, stderr: &str) -> Option<Error> {
    let path = path.to_owned();
    let rule = |rule: &str| workspace::Error::Path { path: path.clone(), rule: rule.to_owned() };
    let sort = |is| workspace::Error::Sort { path: path.clone(), is, wanted: "a file" };
    let error = match code {
        0 => return None,
        61 => return Some(Error::Gone("its folders are not there any more".to_owned())),
        62 => workspace::Error::NotFound { path },
        63 => rule("leads out through a link"),
        64 => rule("goes through a link"),
        66 => rule("goes through a file: delete that first"),
        67 => rule("goes through a link that leads nowhere"),
        68 => refused(&path, "the sandbox's image lacks GNU find: add the package findutils to it"),
        71 => sort("a directory"),
        72 => sort("a link"),
        73 => sort("a pipe"),
        74 => sort("a socket"),
        75 => sort("a device"),
        80 => workspace::Error::NotEmpty { path },
        82 => return Some(Error::Unavailable("what was sent to the sandbox did not arrive whole".to_owned())),
        84 => workspace::Error::Source("the workspace is not empty".to_owned()),
        126 | 127 => refused(&path, &format!("the sandbox's image lacks a program: {}", said(stderr))),
        // Ended from outside, by the sandbox's end or for want of memory.
        129.. => {
            return Some(Error::Unavailable(format!("a helper in the sandbox was ended by signal {}", code - 128)));
        }
        _ => refused(&path, &said(stderr)),
    };
    Some(Error::Files(error))
}

fn refused(path: &str, cause: &str) -> workspace::Error {
    workspace::Error::Io { doing: format!("{path:?}"), kind: ErrorKind::Other, cause: cause.to_owned() }
}

/// In one line, and not all of it.
fn said(stderr: &str) -> String {
    let words: Vec<&str> = stderr.split_whitespace().collect();
    let said: String = words.join(" ").chars().filter(|character| !character.is_control()).take(SAID_MAX).collect();
    if said.is_empty() { "a helper in the sandbox failed and did not say why".to_owned() } else { said }
}
