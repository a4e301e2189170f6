//! What is worth a line beside the blocks.

use std::io::{self, Write};

use super::{Renderer, style};
use crate::{
    cli::output::{one_line, word},
    proto::{
        FileChange, FileChangeKind, FileChangeOrigin, InputOutcome, LogLevel, PermissionRequest, SandboxStatus,
        SessionStatus, session_event::Kind,
    },
};

/// Files named of one change of the workspace.
const FILES: usize = 8;

impl<W: Write> Renderer<W> {
    /// Prints a line about an event that is no block's, where it deserves one.
    pub(super) fn notice(&mut self, kind: &Kind) -> io::Result<()> {
        match kind {
            Kind::PermissionRequested(requested) => requested.permission.as_ref().map_or(Ok(()), |it| self.asks(it)),
            Kind::QuestionRequested(requested) => {
                let Some(question) = &requested.question else { return Ok(()) };
                for item in &question.items {
                    let line = format!("? {} ({})", one_line(&item.text, 160), question.question_id);
                    self.aside(style::WARN, &line)?;
                }
                Ok(())
            }
            Kind::QuestionResolved(resolved) => {
                let Some(resolution) = &resolved.resolution else { return Ok(()) };
                self.aside(style::DIM, &format!("  {}", word(resolution.outcome().as_str_name(), "INPUT_OUTCOME_")))
            }
            Kind::PermissionResolved(resolved) => {
                let Some(resolution) = &resolved.resolution else { return Ok(()) };
                // What was allowed without anybody is told by the call itself.
                if resolution.outcome() == InputOutcome::Allowed && resolution.option_id.is_empty() {
                    return Ok(());
                }
                self.aside(style::DIM, &format!("  {}", word(resolution.outcome().as_str_name(), "INPUT_OUTCOME_")))
            }
            Kind::FilesChanged(changed) => self.files(&changed.changes),
            Kind::TurnQueued(_) => self.aside(style::DIM, "· queued"),
            Kind::Error(occurred) => match &occurred.error {
                Some(error) => {
                    self.last_error.clone_from(&error.message);
                    self.aside(style::ERROR_TEXT, &format!("✗ {}", error.message))
                }
                None => Ok(()),
            },
            Kind::StatusChanged(changed) => match (changed.status(), &changed.error) {
                (SessionStatus::Failed, Some(error)) => {
                    self.aside(style::ERROR_TEXT, &format!("✗ the session failed: {}", error.message))
                }
                (SessionStatus::Deleted, _) => self.aside(style::DIM, "· the session was deleted"),
                (SessionStatus::Stopped, _) => self.aside(style::DIM, "· the session was stopped"),
                _ => Ok(()),
            },
            Kind::SandboxChanged(changed) => match &changed.sandbox {
                Some(sandbox) if sandbox.generation > 1 && sandbox.status() == SandboxStatus::Ready => {
                    self.aside(style::DIM, &format!("· sandbox {} is ready", sandbox.generation))
                }
                _ => Ok(()),
            },
            Kind::Log(entry) if matches!(entry.level(), LogLevel::Warn | LogLevel::Error) => {
                self.aside(style::DIM, &format!("· {}", one_line(&entry.message, 200)))
            }
            Kind::UnparsedOutput(output) => {
                let text = one_line(&String::from_utf8_lossy(&output.raw), 120);
                self.aside(style::DIM, &format!("· the agent printed what is not its protocol: {text}"))
            }
            _ => Ok(()),
        }
    }

    fn asks(&mut self, permission: &PermissionRequest) -> io::Result<()> {
        // What a rule allows is told by the call itself.
        if permission.resolution.is_some() {
            return Ok(());
        }
        let title = if permission.title.is_empty() { &permission.tool_name } else { &permission.title };
        let line = format!("? {} ({})", one_line(title, 160), permission.permission_id);
        self.aside(style::WARN, &line)
    }

    fn files(&mut self, changes: &[FileChange]) -> io::Result<()> {
        let named: Vec<String> = changes
            .iter()
            .filter(|change| change.origin() != FileChangeOrigin::Restore)
            .filter_map(|change| {
                let mark = match change.kind() {
                    FileChangeKind::Created => "+",
                    FileChangeKind::Deleted => "-",
                    FileChangeKind::Modified | FileChangeKind::Renamed | FileChangeKind::Unspecified => "~",
                };
                Some(format!("{mark} {}", one_line(&change.file.as_ref()?.path, 60)))
            })
            .collect();
        if named.is_empty() {
            return Ok(());
        }
        let more = named.len().saturating_sub(FILES);
        let line = named.into_iter().take(FILES).collect::<Vec<_>>().join("  ");
        let more = if more > 0 { format!("  and {more} more") } else { String::new() };
        self.aside(style::DIM, &(line + &more))
    }

    /// A line between the blocks. In the middle of a growing text it waits for nobody and begins a line of its own.
    fn aside(&mut self, style: anstyle::Style, line: &str) -> io::Result<()> {
        self.begin("")?;
        self.out.line(&[(style, line)])
    }
}
