//! The key file of a data folder: made once, readable by its owner alone, read by the CLI and by local clients.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::StartError;

/// Bytes of chance in a key.
const ENTROPY: usize = 32;

/// The folder's key; a new one where there is none yet.
pub(super) fn read_or_create(data: &Path) -> Result<String, StartError> {
    let path = data.join("key");
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
        Ok(mut file) => {
            let key = format!("ark_{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; ENTROPY]>()));
            file.write_all(key.as_bytes())
                .and_then(|()| file.sync_all())
                .map_err(|error| StartError::io(&path, error))?;
            Ok(key)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => read(data).ok_or(StartError::Key(path)),
        Err(error) => Err(StartError::io(&path, error)),
    }
}

/// The folder's key, where it has one that the caller may read.
fn read(data: &Path) -> Option<String> {
    let key = fs::read_to_string(data.join("key")).ok()?;
    let key = key.trim();
    (!key.is_empty()).then(|| key.to_owned())
}
