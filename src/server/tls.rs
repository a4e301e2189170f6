//! The server's certificate.

use std::{fs, path::Path};

use tonic::transport::{Identity, ServerTlsConfig};

use super::StartError;

/// Reads the certificate chain and its private key.
pub(super) fn identity(certificate: &Path, private_key: &Path) -> Result<ServerTlsConfig, StartError> {
    let read = |path: &Path| fs::read(path).map_err(|error| StartError::io(path, error));
    Ok(ServerTlsConfig::new().identity(Identity::from_pem(read(certificate)?, read(private_key)?)))
}
