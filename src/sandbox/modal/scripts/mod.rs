//! The shell scripts that stand between us and the programs in a sandbox: Modal starts and waits, and has neither signals nor
//! groups, nor does it end what a program leaves behind. They need a POSIX shell, its usual tools and `/proc`.

use crate::sandbox::Signal;

/// How many bytes [`run`] prints on standard output before those of the program.
pub(super) const HEADER: u64 = 64;

/// Where a program runs, and what it may find around it.
#[derive(Debug)]
pub(super) struct Around<'a> {
    /// Names the program to [`signal`]; anything without special characters.
    pub(super) mark: &'a str,
    /// Where it begins, made if need be.
    pub(super) workspace: &'a str,
    /// The names of its variables; all others are taken away.
    pub(super) names: &'a [&'a str],
}

/// What [`run`] prints first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// The program follows.
    Started,
    /// There will be none, and why.
    Refused(String),
}

impl Header {
    /// `None`: it was not that script that printed it.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let text = str::from_utf8(bytes).ok()?.trim_end();
        if text == "started" {
            return Some(Self::Started);
        }
        Some(Self::Refused(text.strip_prefix("refused ")?.to_owned()))
    }
}

/// Runs a program in a session of its own: prints a [`Header`], then what the program prints; ends as it ends, when nothing of
/// it is left.
pub(super) fn run(around: &Around<'_>, program: &[String]) -> Vec<String> {
    let Around { mark, workspace, names } = around;
    let given = [(*mark).to_owned(), (*workspace).to_owned(), names.join(" ")];
    script(include_str!("run.sh")).into_iter().chain(given).chain(program.iter().cloned()).collect()
}

/// Sends a signal to a program that runs, and to all it started.
pub(super) fn signal(mark: &str, signal: Signal) -> Vec<String> {
    let name = match signal {
        Signal::Interrupt => "INT",
        Signal::Terminate => "TERM",
        Signal::Kill => "KILL",
    };
    script(include_str!("signal.sh")).into_iter().chain([mark.to_owned(), name.to_owned()]).collect()
}

/// Prints the variables of a program that runs, each ended by a NUL.
pub(super) fn environment(mark: &str) -> Vec<String> {
    script(include_str!("environment.sh")).into_iter().chain([mark.to_owned()]).collect()
}

/// Asks all programs to end, and kills those that have not after so many seconds.
pub(super) fn end(seconds: u64) -> Vec<String> {
    script(include_str!("end.sh")).into_iter().chain([seconds.to_string()]).collect()
}

/// Kills whatever carries this mark, started by [`run`] or not.
pub(super) fn kill(mark: &str) -> Vec<String> {
    script(include_str!("kill.sh")).into_iter().chain([mark.to_owned()]).collect()
}

/// A shell that runs it, without what is only for its readers; all programs know their common part.
fn script(text: &str) -> Vec<String> {
    let lines = include_str!("common.sh").lines().chain(text.lines());
    let said = lines.map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let text = said.collect::<Vec<_>>().join("\n");
    ["/bin/sh".to_owned(), "-c".to_owned(), text, "agent-runtime".to_owned()].into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read() {
        let padded = |text: &str| format!("{text:<63}\n").into_bytes();
        assert_eq!(padded("").len() as u64, HEADER);
        assert_eq!(Header::read(&padded("started")), Some(Header::Started));
        let refused = Header::Refused("No such file or directory".to_owned());
        assert_eq!(Header::read(&padded("refused No such file or directory")), Some(refused));
        assert_eq!(Header::read(&padded("anything")), None);
        assert_eq!(Header::read(&[0xFF; 64]), None);
    }
}
