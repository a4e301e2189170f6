//! Connections to routers, one for each address: many sandboxes share a machine. One that nobody uses any more is dropped.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::OnceCell;
use tonic::{Status, transport::Channel};

use super::super::address::{Address, ROUTER};

/// All connections of one provider. A clone is the same.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Channels(Arc<Mutex<HashMap<Address, Weak<Connection>>>>);

/// To one router; made when it is first needed.
#[derive(Debug)]
pub(super) struct Connection {
    address: Address,
    channel: OnceCell<Channel>,
}

impl Channels {
    pub(super) fn to(&self, address: Address) -> Arc<Connection> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connection) = all.get(&address).and_then(Weak::upgrade) {
            return connection;
        }
        all.retain(|_, connection| connection.strong_count() > 0);
        let connection = Arc::new(Connection { address: address.clone(), channel: OnceCell::new() });
        all.insert(address, Arc::downgrade(&connection));
        connection
    }
}

impl Connection {
    /// Connects, as long as `wanted` finds a reason to.
    pub(super) async fn channel<F: Future<Output = Result<(), Status>>>(
        &self,
        wanted: impl Fn() -> F,
    ) -> Result<Channel, Status> {
        self.channel.get_or_try_init(|| self.address.connect(ROUTER, wanted)).await.cloned()
    }
}
