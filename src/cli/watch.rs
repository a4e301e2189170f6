//! `watch`: a session as it goes on, shown or folded into a file.

use std::{
    fs,
    path::{Path, PathBuf},
};

use futures::StreamExt as _;

use super::{
    connect::{Common, Connection},
    error::{Error, context},
    output,
    signals::Signals,
    view::View,
};
use crate::{
    client::{Events, State},
    proto::{GetSessionRequest, SessionEvent, WatchSessionRequest, session_event::Kind},
};

/// Flags of `watch`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Which session.
    session: String,
    /// Everything after this event; 0: from the first. Else all blocks there are, then what happens.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..))]
    after: Option<i64>,
    /// End when no turn runs or waits.
    #[arg(long)]
    until_idle: bool,
    /// Keep the session's state in this file, as JSON: written whenever no turn runs, and at the end.
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Hang up after this event and go on from there over a new connection, to see that nothing is lost.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..), conflicts_with = "after")]
    cut_at: Option<i64>,
}

pub(super) async fn run(common: &Common, args: Args) -> Result<(), Error> {
    if args.state.is_some() && args.after.is_some_and(|after| after > 0) {
        return Err(Error::Other("--state needs the whole session: leave --after out, or use --after 0".to_owned()));
    }
    let mut signals = Signals::listen()?;
    let connection = common.connect().await?;
    let after = args.cut_at.map_or(args.after, |_| Some(0));
    let mut watcher = Watcher::new(common, &args, &connection, after).await?;
    let mut events = connection.client.watch(&args.session, after);
    if let Some(cut) = args.cut_at {
        while watcher.cursor < cut {
            if !watcher.step(&mut events, &mut signals).await? {
                return watcher.end(&args);
            }
        }
        events = resume(events, connection, &args.session, watcher.uid(), cut).await?;
        watcher.cursor = cut;
    }
    while watcher.step(&mut events, &mut signals).await? {
        if watcher.is_idle() {
            watcher.save(&args)?;
            if args.until_idle {
                break;
            }
        }
    }
    watcher.end(&args)
}

/// Cuts the connection and goes on after `cut` over another one.
async fn resume(events: Events, connection: Connection, session: &str, uid: String, cut: i64) -> Result<Events, Error> {
    let fresh = connection.another().await?;
    drop(events);
    connection.close().await;
    Ok(fresh.watch_session(WatchSessionRequest {
        session_id: session.to_owned(),
        after_sequence: Some(cut),
        expected_uid: uid,
        ..WatchSessionRequest::default()
    }))
}

struct Watcher {
    view: View,
    state: State,
    cursor: i64,
    /// Newest event known of: at the latest when the cursor is there, the state is what the server has.
    head: Option<i64>,
    saved: Option<i64>,
}

impl Watcher {
    async fn new(common: &Common, args: &Args, connection: &Connection, after: Option<i64>) -> Result<Self, Error> {
        let (mut state, mut head) = (State::default(), None);
        if after.is_some_and(|after| after > 0) {
            // The turn that runs may have begun before.
            let request = GetSessionRequest { session_id: args.session.clone() };
            let session = connection.client.get_session(request).await?.session.unwrap_or_default();
            head = Some(session.sequence);
            state = State::of_record(session);
        }
        Ok(Self { view: View::new(common.json), state, cursor: after.unwrap_or(0), head, saved: None })
    }

    /// Takes the next event; false when there is none any more.
    async fn step(&mut self, events: &mut Events, signals: &mut Signals) -> Result<bool, Error> {
        let event = tokio::select! {
            event = events.next() => event.transpose()?,
            _ = signals.next() => None,
        };
        let Some(event) = event else { return Ok(false) };
        self.state.apply(&event);
        self.locate(&event);
        self.view.event(&event, &self.state)?;
        Ok(true)
    }

    fn locate(&mut self, event: &SessionEvent) {
        match &event.kind {
            Some(Kind::SnapshotStart(_)) => self.head = None,
            Some(Kind::SnapshotChunk(_)) => {}
            Some(Kind::SnapshotComplete(_)) => (self.cursor, self.head) = (event.sequence, Some(event.sequence)),
            Some(Kind::Bookmark(bookmark)) => {
                self.cursor = event.sequence;
                self.head = self.head.max(Some(bookmark.head_sequence));
            }
            _ => self.cursor = event.sequence,
        }
    }

    /// Whether everything there is was seen, and no turn runs or waits.
    fn is_idle(&self) -> bool {
        self.head.is_some_and(|head| self.cursor >= head) && self.state.is_idle()
    }

    fn uid(&self) -> String {
        self.state.as_proto().session.as_ref().map(|session| session.uid.clone()).unwrap_or_default()
    }

    /// Writes the state, whole or not at all: a reader never sees half of it.
    fn save(&mut self, args: &Args) -> Result<(), Error> {
        let Some(path) = args.state.as_deref().filter(|_| self.saved != Some(self.cursor)) else { return Ok(()) };
        let text = output::json("SessionState", self.state.as_proto()) + "\n";
        let part = path.with_extension("part");
        fs::write(&part, text).map_err(cannot_write(&part))?;
        fs::rename(&part, path).map_err(cannot_write(path))?;
        self.saved = Some(self.cursor);
        Ok(())
    }

    fn end(&mut self, args: &Args) -> Result<(), Error> {
        self.view.end()?;
        self.save(args)
    }
}

fn cannot_write(path: &Path) -> impl FnOnce(std::io::Error) -> Error + use<> {
    context(format!("cannot write {}", path.display()))
}
