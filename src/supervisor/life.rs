//! How long a supervisor lives: while a server is connected or a program runs, and with programs alone no longer than its
//! limit. It ends them and itself when it is told to, and when its sandbox is taken away.

use std::{future::pending, io, rc::Rc, time::Duration};

use tokio::{
    net::{UnixListener, UnixStream},
    signal::unix::{Signal, SignalKind, signal},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout},
};
use tokio_util::task::TaskTracker;

use super::{GRACE, children::Children, frame::Frames, holder::Holder, serve, socket::Listening};

/// How often to look whether the sandbox is still there, while programs run in it.
const LOOK: Duration = Duration::from_secs(1);

/// Whoever started the supervisor connects at once.
const FIRST: Duration = Duration::from_secs(10);

/// How long the last answers may take to be fetched.
const LAST: Duration = Duration::from_secs(1);

/// Serves until there is nothing more to serve.
pub(super) async fn live(holder: Rc<Holder>, listening: Listening) -> io::Result<()> {
    let connections = TaskTracker::new();
    let mut beside = JoinSet::new();
    let (ends, around) = (Children::listen()?, Rc::clone(&holder.around));
    beside.spawn_local(async move { around.children.watch(ends).await });
    let mut life = Life { holder: Rc::clone(&holder), alone_since: Some(Instant::now()), met: false, limited: false };
    life.serve(&listening.listener, &connections).await?;
    // Whoever connects from now on finds nobody, and starts the next supervisor, which waits for the lock.
    listening.forget()?;
    holder.around.tasks.close();
    holder.around.tasks.wait().await;
    connections.close();
    if timeout(LAST, connections.wait()).await.is_err() {
        tracing::info!("some answers were not fetched");
    }
    Ok(())
}

struct Life {
    holder: Rc<Holder>,
    /// Since when no server is connected.
    alone_since: Option<Instant>,
    /// A server was connected once.
    met: bool,
    /// The limit has passed.
    limited: bool,
}

impl Life {
    /// Until there is nothing to be done but leave.
    async fn serve(&mut self, listener: &UnixListener, connections: &TaskTracker) -> io::Result<()> {
        let holder = Rc::clone(&self.holder);
        let mut terminate = signal(SignalKind::terminate())?;
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let running = !holder.running().is_empty();
            if holder.leaving.is_cancelled() {
                return Ok(());
            }
            if self.alone_since.is_some() && !running && (self.met || self.expired(FIRST)) {
                return Ok(());
            }
            tokio::select! {
                accepted = listener.accept() => self.accept(accepted, connections).await,
                () = holder.around.changed.notified() => self.note(),
                () = holder.leaving.cancelled() => {}
                () = Self::told(&mut terminate) => {
                    tracing::info!("told to end");
                    holder.leaving.cancel();
                    self.end();
                }
                _ = look.tick(), if running => {
                    if !holder.in_place() {
                        tracing::info!("the sandbox is not there any more");
                        holder.leaving.cancel();
                        holder.kill().await;
                    }
                }
                () = self.too_long(running) => {
                    tracing::info!(limit = ?holder.limit(), "no server came back in time");
                    self.limited = true;
                    self.end();
                }
            }
        }
    }

    async fn accept(
        &mut self,
        accepted: io::Result<(UnixStream, tokio::net::unix::SocketAddr)>,
        connections: &TaskTracker,
    ) {
        match accepted {
            Ok((stream, _)) => {
                (self.met, self.alone_since) = (true, None);
                let (holder, guard) = (Rc::clone(&self.holder), self.holder.connection());
                connections.spawn_local(async move {
                    let _guard = guard;
                    // A server that dies hangs up in the middle of anything.
                    if let Err(error) = serve::connection(holder, Frames::new(stream)).await {
                        tracing::debug!(%error, "a connection broke");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a server could not be let in");
                // Too many open files, most likely: not again at once.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }

    /// Notes whether a server is here.
    fn note(&mut self) {
        if self.holder.connected() > 0 {
            (self.alone_since, self.limited) = (None, false);
        } else if self.alone_since.is_none() {
            self.alone_since = Some(Instant::now());
        }
    }

    /// Ends all programs, beside everything else.
    fn end(&self) {
        let holder = Rc::clone(&self.holder);
        self.holder.around.tasks.spawn_local(async move {
            if let Err(refusal) = holder.end(GRACE).await {
                tracing::warn!(?refusal, "programs do not end");
            }
        });
    }

    fn expired(&self, after: Duration) -> bool {
        self.alone_since.is_some_and(|since| since.elapsed() >= after)
    }

    /// Waits until programs, or nobody at all, were alone for too long.
    async fn too_long(&self, running: bool) {
        match self.alone_since {
            Some(since) if running && !self.limited => match since.checked_add(self.holder.limit()) {
                Some(end) => sleep_until(end).await,
                // Longer than the clock reaches.
                None => pending().await,
            },
            Some(since) if !running && !self.met => sleep_until(since + FIRST).await,
            Some(_) | None => pending().await,
        }
    }

    /// Waits for a signal.
    async fn told(signal: &mut Signal) {
        if signal.recv().await.is_none() {
            pending::<()>().await;
        }
    }
}
