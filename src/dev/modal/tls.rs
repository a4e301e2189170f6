//! The same calls behind TLS, on a port of their own beside the one in clear text: for clients that are to be seen speaking it.

use std::{fs, io, net::SocketAddr, path::PathBuf};

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{
    service::Routes,
    transport::{Identity, Server, ServerTlsConfig, server::TcpIncoming},
};

/// A certificate chain and its private key, PEM files; the certificate is for `localhost`.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The chain.
    pub chain: PathBuf,
    /// The key.
    pub key: PathBuf,
}

/// A port that is listened on, and what is to be shown there.
#[derive(Debug)]
pub(super) struct Secured {
    listener: TcpListener,
    config: ServerTlsConfig,
    /// How it is called by those who call it.
    pub(super) url: String,
}

impl Secured {
    /// Listens on a free port beside another one.
    pub(super) fn listen(beside: SocketAddr, certificate: &Certificate) -> io::Result<Self> {
        let read = |path: &PathBuf| {
            fs::read(path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
        };
        let identity = Identity::from_pem(read(&certificate.chain)?, read(&certificate.key)?);
        let listener = std::net::TcpListener::bind((beside.ip(), 0))?;
        listener.set_nonblocking(true)?;
        let url = format!("https://localhost:{}", listener.local_addr()?.port());
        let listener = TcpListener::from_std(listener)?;
        Ok(Self { listener, config: ServerTlsConfig::new().identity(identity), url })
    }

    /// Serves until it is told to stop.
    pub(super) async fn serve(self, router: Router, stop: CancellationToken) -> io::Result<()> {
        let mut server = Server::builder().tls_config(self.config).map_err(io::Error::other)?;
        let serving = server.add_routes(Routes::from(router));
        let incoming = TcpIncoming::from(self.listener).with_nodelay(Some(true));
        serving.serve_with_incoming_shutdown(incoming, stop.cancelled_owned()).await.map_err(io::Error::other)
    }
}
