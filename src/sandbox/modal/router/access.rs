//! The right to speak to a sandbox's router: where it is, and a token that ends. It is exchanged once for all callers.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use futures::{FutureExt as _, future::BoxFuture};
use tonic::{
    Status,
    metadata::{Ascii, MetadataMap, MetadataValue},
    transport::Channel,
};

use super::{
    Router,
    channels::{Channels, Connection},
};
use crate::{
    modal_wire::client::CommandRouterAccess,
    sandbox::modal::{attempts::Attempts, jwt, remote::Remote, shared::Once},
};

/// A token that ends sooner is exchanged before it is used.
const SHORT: Duration = Duration::from_secs(30);

/// What is held for one sandbox.
#[derive(Debug)]
pub(super) struct Cell {
    channels: Channels,
    held: Arc<Mutex<Option<Access>>>,
    exchange: Once<Result<Access, Status>>,
}

/// One right.
#[derive(Clone)]
pub(super) struct Access {
    connection: Arc<Connection>,
    bearer: MetadataValue<Ascii>,
    expires: SystemTime,
}

impl Cell {
    pub(super) fn new(channels: Channels, known: Option<CommandRouterAccess>, remote: &Remote) -> Result<Self, Status> {
        let held = known.map(|access| Access::new(&channels, remote, access)).transpose()?;
        Ok(Self { channels, held: Arc::new(Mutex::new(held)), exchange: Once::default() })
    }

    /// A right that is good for a while.
    pub(super) async fn current(&self, router: &Router) -> Result<Access, Status> {
        match self.good() {
            Some(access) => Ok(access),
            None => self.exchange.get(|| self.fetch(router)).await,
        }
    }

    /// Another right in the place of one that was refused, unless somebody has one already.
    pub(super) async fn renew(&self, router: &Router, refused: &Access) -> Result<(), Status> {
        if self.good().is_some_and(|access| access.bearer != refused.bearer) {
            return Ok(());
        }
        self.exchange.get(|| self.fetch(router)).await.map(drop)
    }

    fn good(&self) -> Option<Access> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.clone().filter(|access| SystemTime::now() + SHORT < access.expires)
    }

    fn fetch(&self, router: &Router) -> BoxFuture<'static, Result<Access, Status>> {
        let (held, channels) = (Arc::clone(&self.held), self.channels.clone());
        let (remote, task_id) = (router.remote.clone(), router.task_id.clone());
        async move {
            let fresh = remote.access(&task_id).await?;
            let mut access = Access::new(&channels, &remote, fresh)?;
            let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
            // A sandbox stays on its machine: another name for that is noted, not followed, as the official clients do.
            if let Some(old) = &*held
                && !Arc::ptr_eq(&old.connection, &access.connection)
            {
                tracing::debug!(sandbox = remote.sandbox_id(), "its router has another address now");
                access.connection = Arc::clone(&old.connection);
            }
            *held = Some(access.clone());
            Ok(access)
        }
        .boxed()
    }
}

impl Access {
    fn new(channels: &Channels, remote: &Remote, access: CommandRouterAccess) -> Result<Self, Status> {
        let CommandRouterAccess { jwt, url } = access;
        let address = remote.control().address().router(&url).map_err(Status::internal)?;
        let mut bearer: MetadataValue<Ascii> =
            format!("Bearer {jwt}").parse().map_err(|_| Status::internal("a router's token cannot be sent back"))?;
        bearer.set_sensitive(true);
        Ok(Self { connection: channels.to(address), bearer, expires: jwt::expires(&jwt, SystemTime::now()) })
    }

    /// Says it with a call.
    pub(super) fn say(&self, metadata: &mut MetadataMap, attempts: &Attempts) -> Result<(), Status> {
        let (_, throttled) = attempts.so_far();
        let attempt = throttled.to_string().parse().map_err(|_| Status::internal("a number is no text"))?;
        metadata.insert("authorization", self.bearer.clone());
        metadata.insert("x-throttle-retry-attempt", attempt);
        Ok(())
    }

    pub(super) async fn channel<F: Future<Output = Result<(), Status>>>(
        &self,
        wanted: impl Fn() -> F,
    ) -> Result<Channel, Status> {
        self.connection.channel(wanted).await
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut access = f.debug_struct("Access");
        access.field("connection", &self.connection).field("expires", &self.expires).finish_non_exhaustive()
    }
}
