//! Trying whether the database takes transactions: asked while it did not, so it must not say so by luck.

use std::{
    ffi::OsString,
    fs::OpenOptions,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use super::{error::from_io, open::Connections};
use crate::{domain::Timestamp, store::Error};

/// Space there must be. A transaction alone may need none, because the write-ahead log is a file that is used again.
const ROOM: usize = 1 << 20;

/// Writes a file beside the database and takes it away again, opens the database anew where the disk had failed, and
/// commits.
pub(super) async fn probe(connections: &Connections, db: Option<&Path>) -> Result<(), Error> {
    if let Some(db) = db {
        let path = beside(db);
        let told = path.clone();
        let tried = tokio::task::spawn_blocking(move || try_disk(&path)).await;
        let tried = tried.map_err(|error| Error::Unavailable(error.to_string()))?;
        tried.map_err(|error| from_io("the disk does not keep", &told, &error))?;
    }
    connections.renew().await?;
    let mut tx = connections.write().await?;
    let sql = "INSERT INTO probe (id, time) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET time = excluded.time";
    sqlx::query(sql).bind(Timestamp::now().0).execute(&mut *tx).await?;
    tx.commit().await
}

fn try_disk(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    // Not zeros: some file systems keep those for nothing.
    let written = file.write_all(&vec![0xa5; ROOM]).and_then(|()| file.sync_all());
    // Also when it could not be written: it takes space that others need.
    let removed = std::fs::remove_file(path);
    written.and(removed)
}

fn beside(db: &Path) -> PathBuf {
    let mut name = OsString::from(db);
    name.push(".probe");
    name.into()
}
