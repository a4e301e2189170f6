//! Which server to talk to, and with which key.

use std::{fs, io, path::PathBuf};

use clap::builder::FalseyValueParser;

use super::{
    error::{Error, context},
    serve,
};
use crate::{
    client::{Client, Target},
    server::{self, Ending, Server},
};

/// Flags of every command.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Everywhere")]
pub(super) struct Common {
    /// Server to talk to, HOST:PORT or an address with http(s)://. Else the one that serves --data.
    #[arg(long, global = true, env = "AGENT_RUNTIME_ADDR", value_name = "ADDR")]
    addr: Option<String>,
    /// Key to show it. Else the file DATA/key, for a server on this machine.
    #[arg(long, global = true, env = "AGENT_RUNTIME_KEY", hide_env_values = true)]
    key: Option<String>,
    /// Certificate (PEM) to trust, for a server with TLS.
    #[arg(long, global = true, env = "AGENT_RUNTIME_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Where the server keeps everything. Else `agent-runtime` in the user's data directory.
    #[arg(long, global = true, env = "AGENT_RUNTIME_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// Print messages as JSON, one a line.
    #[arg(long, global = true, env = "AGENT_RUNTIME_JSON", value_parser = FalseyValueParser::new())]
    pub(super) json: bool,
}

/// A connection, and the server behind it when it is our own.
pub(super) struct Connection {
    pub(super) client: Client,
    /// What makes another connection to the same server.
    target: Target,
    ca: Option<Vec<u8>>,
    own: Option<Server>,
}

impl Common {
    /// The data directory.
    pub(super) fn data(&self) -> Result<PathBuf, Error> {
        self.data.clone().or_else(|| dirs::data_dir().map(|dir| dir.join("agent-runtime"))).ok_or_else(|| {
            Error::Other("there is no data directory for this user; name one with --data DIR".to_owned())
        })
    }

    /// Connects to the server that is there.
    pub(super) async fn connect(&self) -> Result<Connection, Error> {
        let Some(addr) = self.find()? else {
            let data = self.data()?;
            return Err(Error::Other(format!(
                "no server runs on {}; start one with `agent-runtime serve`, or name one with --addr",
                data.display()
            )));
        };
        let key = self.key_for(&addr)?;
        self.open(Target { addr, key }, None).await
    }

    /// Connects to the server that is there, or starts one that lives as long as the connection.
    pub(super) async fn connect_or_start(&self) -> Result<Connection, Error> {
        if self.find()?.is_some() {
            return self.connect().await;
        }
        let own = Server::start(serve::embedded(self.data()?)?).await?;
        let target = Target { addr: own.addr().to_string(), key: own.key() };
        self.open(target, Some(own)).await
    }

    fn find(&self) -> Result<Option<String>, Error> {
        match &self.addr {
            Some(addr) => Ok(Some(addr.clone())),
            None => Ok(server::running(&self.data()?)),
        }
    }

    async fn open(&self, target: Target, own: Option<Server>) -> Result<Connection, Error> {
        let ca = match &self.ca {
            Some(path) => Some(fs::read(path).map_err(context(format_args!("cannot read {}", path.display())))?),
            None => None,
        };
        let client = Client::connect_trusting(target.clone(), ca.as_deref()).await?;
        Ok(Connection { client, target, ca, own })
    }

    fn key_for(&self, addr: &str) -> Result<String, Error> {
        match &self.key {
            Some(key) => Ok(key.clone()),
            // The key of this machine's server is nobody else's business.
            None if !is_loopback(addr) => Ok(String::new()),
            None => {
                let path = self.data()?.join("key");
                match fs::read_to_string(&path) {
                    Ok(key) => Ok(key.trim().to_owned()),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
                    Err(error) => Err(context(format_args!("cannot read the key in {}", path.display()))(error)),
                }
            }
        }
    }
}

impl Connection {
    /// A second, separate connection to the same server.
    pub(super) async fn another(&self) -> Result<Client, Error> {
        Ok(Client::connect_trusting(self.target.clone(), self.ca.as_deref()).await?)
    }

    /// Hangs up, and shuts our own server down in order.
    pub(super) async fn close(self) {
        drop(self.client);
        if let Some(own) = self.own {
            own.shutdown(Ending::Stop).await;
        }
    }
}

fn is_loopback(addr: &str) -> bool {
    let host = addr.split_once("://").map_or(addr, |(_, rest)| rest);
    let host = host.split('/').next().unwrap_or(host);
    let host = host.rsplit_once(':').map_or(host, |(host, _port)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn the_local_key_goes_to_loopback_only() {
        for addr in ["127.0.0.1:50051", "http://localhost:1", "https://[::1]:443/", "127.9.9.9:1"] {
            assert!(is_loopback(addr), "{addr}");
        }
        for addr in ["10.0.0.1:1", "http://localhost.example:1", "example.com:443", "http://[2001:db8::1]:1"] {
            assert!(!is_loopback(addr), "{addr}");
        }
    }
}
