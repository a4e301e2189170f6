//! Whom a connection believes that it has reached Modal: the roots of certificates that count.
//!
//! It must not know where anything is.

use std::{fmt, fs, path::Path, sync::Arc};

use tonic::transport::{Certificate, ClientTlsConfig};

/// What a PEM file of certificates has in it at least.
const BEGIN: &str = "-----BEGIN CERTIFICATE-----";

/// The roots that count. A clone is the same.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum Trust {
    /// Those that the web goes by; they are built in.
    Web,
    /// These and no others, in PEM: a network that looks into what passes has its own, and so has a stand-in.
    Only(Arc<str>),
}

impl Trust {
    /// The roots in a file; without one, the web's.
    pub(super) fn read(file: Option<&Path>) -> Result<Self, String> {
        let Some(file) = file else { return Ok(Self::Web) };
        let shown = file.display();
        let pem = fs::read_to_string(file).map_err(|error| format!("the roots in {shown} cannot be read: {error}"))?;
        if !pem.contains(BEGIN) {
            return Err(format!("{shown} holds no certificate in PEM, so nobody could be believed"));
        }
        Ok(Self::Only(pem.into()))
    }

    pub(super) fn tls(&self) -> ClientTlsConfig {
        match self {
            Self::Web => ClientTlsConfig::new().with_webpki_roots(),
            Self::Only(pem) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&**pem)),
        }
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Web => "Web",
            Self::Only(_) => "Only(..)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("roots.pem");
        assert_eq!(Trust::read(None), Ok(Trust::Web));
        assert!(Trust::read(Some(&file)).unwrap_err().contains("roots.pem"));
        fs::write(&file, "-----BEGIN PRIVATE KEY-----\n").unwrap();
        assert!(Trust::read(Some(&file)).unwrap_err().contains("no certificate"));
        fs::write(&file, format!("{BEGIN}\n")).unwrap();
        assert!(matches!(Trust::read(Some(&file)), Ok(Trust::Only(_))));
    }
}
