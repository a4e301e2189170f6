//! Local stand-in for the server room; not to be merged.
#![allow(missing_docs, clippy::all, clippy::pedantic)]

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

#[derive(Clone, Debug)]
pub struct Config {
    pub listen: SocketAddr,
    pub data: PathBuf,
    pub auth: bool,
    pub insecure: bool,
    pub tls: Option<(PathBuf, PathBuf)>,
    pub cors_origins: Vec<String>,
    pub claude_code: Option<PathBuf>,
    pub sandbox: String,
    pub delta_window: Duration,
}

#[derive(Debug, thiserror::Error)]
#[error("the server room is not here yet")]
pub struct StartError;

#[derive(Debug)]
pub struct Server(SocketAddr);

impl Server {
    pub async fn start(config: Config) -> Result<Self, StartError> {
        std::env::var_os("STUB_SERVES").map(|_| Self(config.listen)).ok_or(StartError)
    }
    pub fn addr(&self) -> SocketAddr {
        self.0
    }
    pub fn key(&self) -> String {
        String::new()
    }
    pub async fn shutdown(self) {}
}

pub fn running(_data: &Path) -> Option<String> {
    None
}

pub fn replay(_agent: &str, _input: &[u8]) -> Result<Vec<crate::proto::SessionEvent>, String> {
    Err("the server room is not here yet".to_owned())
}
