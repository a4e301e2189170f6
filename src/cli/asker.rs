//! Asks the person at the terminal what an agent asks, one request at a time, while events go on.

use std::{
    collections::VecDeque,
    io::{self, IsTerminal as _, Write as _},
};

use tokio::task::JoinHandle;

use super::{error::Error, output::printable, permissions::Answer, render::style};
use crate::{
    client::Client,
    proto::{PermissionRequest, ResolvePermissionRequest, SessionEvent, session_event::Kind},
};

/// Characters of an input that are shown.
const SHOWN: usize = 2000;

/// See the module.
pub(super) struct Asker {
    client: Client,
    session_id: String,
    /// Somebody is there to be asked.
    terminal: bool,
    /// Else somebody may want to know how to answer.
    hint: bool,
    /// Requests that wait, the one that is asked about first.
    open: VecDeque<PermissionRequest>,
    line: Option<JoinHandle<io::Result<String>>>,
}

impl Asker {
    /// Without a terminal, and where only JSON is wanted, nobody is asked.
    pub(super) fn new(client: Client, session_id: String, json: bool) -> Self {
        let terminal = !json && io::stdin().is_terminal() && io::stderr().is_terminal();
        Self { client, session_id, terminal, hint: !json, open: VecDeque::new(), line: None }
    }

    /// Somebody is asked when an agent asks.
    pub(super) fn is_there(&self) -> bool {
        self.terminal
    }

    /// Notes what an event says of requests.
    pub(super) fn event(&mut self, event: &SessionEvent) {
        match &event.kind {
            Some(Kind::PermissionRequested(requested)) => self.open.extend(requested.permission.clone()),
            Some(Kind::PermissionResolved(resolved)) => {
                self.open.retain(|open| open.permission_id != resolved.permission_id);
            }
            _ => return,
        }
        self.ask();
    }

    /// Waits for what the person says and tells the server. Dropping the future loses nothing.
    pub(super) async fn answered(&mut self) -> Result<(), Error> {
        let line = match &mut self.line {
            Some(line) => line.await.map_err(|error| Error::Other(error.to_string()))??,
            None => std::future::pending().await,
        };
        self.line = None;
        let answer = match line.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => Some(Answer::Allow),
            "n" | "no" => Some(Answer::Reject),
            _ => None,
        };
        // Nobody is there any more who could say more.
        self.terminal &= !line.is_empty();
        // The request may have been answered elsewhere meanwhile: then the line was for nothing.
        if let (Some(answer), Some(open)) = (answer, self.open.front().cloned()) {
            self.open.pop_front();
            self.tell(answer, &open).await?;
        }
        self.ask();
        Ok(())
    }

    async fn tell(&self, answer: Answer, open: &PermissionRequest) -> Result<(), Error> {
        let request = ResolvePermissionRequest {
            session_id: self.session_id.clone(),
            permission_id: open.permission_id.clone(),
            option_id: answer.option(open)?,
            ..ResolvePermissionRequest::default()
        };
        match self.client.resolve_permission(request).await {
            Err(error) if error.reason == "ALREADY_RESOLVED" => Ok(()),
            answered => Ok(answered.map(drop)?),
        }
    }

    /// Asks about the first request, if nobody was asked yet.
    fn ask(&mut self) {
        let Some(open) = self.open.front() else { return };
        if !self.terminal {
            if self.hint {
                let (dim, session, permission) = (style::DIM, &self.session_id, &open.permission_id);
                anstream::eprintln!(
                    "{dim}  answer with: agent-runtime permissions answer {session} {permission} allow|reject{dim:#}"
                );
            }
            return self.open.clear();
        }
        if self.line.is_some() {
            return;
        }
        let input: String = printable(&open.input_json).chars().take(SHOWN).collect();
        anstream::eprint!("  {input}\n  allow {}? [y/n] ", printable(&open.tool_name));
        // A prompt that cannot be shown is not worth more than the answer that will not come.
        let _ = io::stderr().flush();
        self.line = Some(tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            io::stdin().read_line(&mut line)?;
            Ok(line)
        }));
    }
}
