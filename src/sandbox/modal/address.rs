//! Where Modal is, and connections to it: TLS everywhere but to this machine, kept alive, and given time to come up.
//!
//! It must not know what is said over them.

use std::{error::Error as _, fmt, io, net::IpAddr, sync::Arc, time::Duration};

use http::Uri;
use tokio::time::{sleep, timeout};
use tonic::{
    Status,
    transport::{self, Channel, Endpoint},
};

use super::trust::Trust;

/// How long one attempt to connect may take.
const ATTEMPT: Duration = Duration::from_secs(10);
/// A connection is asked for a sign of life after so much silence.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// And given up when none comes.
const NO_ANSWER: Duration = Duration::from_secs(10);
/// What one stream may send before somebody reads it: what an output that nobody reads may hold of our memory.
const STREAM_WINDOW: u32 = 8 << 20;
/// What all streams of one connection may send.
const CONNECTION_WINDOW: u32 = 64 << 20;

/// A server of Modal's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Address {
    uri: Uri,
    plaintext: bool,
    trust: Trust,
}

/// How long, and how often, a server is tried that does not answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    attempts: u32,
    first: Duration,
    longest: Duration,
    total: Duration,
}

/// The control plane: it is there, or something is wrong.
pub(super) const CONTROL: Budget = Budget {
    attempts: 18,
    first: Duration::from_millis(100),
    longest: Duration::from_secs(5),
    total: Duration::from_secs(63),
};

/// A router: a sandbox may take minutes until it is started on its machine.
pub(super) const ROUTER: Budget = Budget {
    attempts: 34,
    first: Duration::from_secs(1),
    longest: Duration::from_secs(10),
    total: Duration::from_secs(310),
};

impl Address {
    /// The control plane at this URL, vouched for by these roots; `http` is for this machine only.
    pub(super) fn control(url: &str, trust: Trust) -> Result<Self, String> {
        if url.contains(',') {
            return Err(format!("{url} names several servers; name one"));
        }
        let uri = parse(url)?;
        let plaintext = uri.scheme_str() == Some("http");
        if plaintext && !loopback(&uri) {
            return Err(format!("{url}: Modal is spoken to in clear text only on this machine; use https"));
        }
        Ok(Self { uri, plaintext, trust })
    }

    /// The router that the control plane at `self` names. Beside a control plane in clear text it is in clear text too, and
    /// on this machine, whatever it calls itself: the official clients insist on different names for that.
    pub(super) fn router(&self, url: &str) -> Result<Self, String> {
        let uri = parse(url)?;
        let plaintext = self.plaintext && loopback(&uri);
        if !plaintext && uri.scheme_str() != Some("https") {
            return Err(format!("{url}: a router is reached by https, or in clear text on this machine"));
        }
        Ok(Self { uri, plaintext, trust: self.trust.clone() })
    }

    /// As whoever runs a server names it, the same for all ways to write it.
    pub(super) fn named(&self) -> String {
        let (scheme, port) = if self.plaintext { ("http", 80) } else { ("https", 443) };
        let port = self.uri.port_u16().unwrap_or(port);
        format!("{scheme}://{}:{port}", self.host().to_ascii_lowercase())
    }

    /// Its host, without a port.
    pub(super) fn host(&self) -> &str {
        self.uri.host().unwrap_or_default()
    }

    /// Connects. Where nothing answers it is tried again, as long as the budget lasts and `wanted` says so. Who answers and
    /// cannot be believed is not tried again: `PERMISSION_DENIED`, with a cause, which no server's has.
    pub(super) async fn connect<F: Future<Output = Result<(), Status>>>(
        &self,
        budget: Budget,
        wanted: impl Fn() -> F,
    ) -> Result<Channel, Status> {
        let endpoint = self.endpoint()?;
        let Budget { attempts, first, longest, total } = budget;
        let mut delay = first;
        let mut last = String::new();
        let connected = timeout(total, async {
            for _ in 0..attempts {
                match endpoint.connect().await {
                    Ok(channel) => return Ok(channel),
                    Err(error) => match disbelieved(&error) {
                        Some(why) => return Err(self.untrusted(why)),
                        None => last = root_cause(&error),
                    },
                }
                wanted().await?;
                sleep(delay).await;
                delay = (delay * 2).min(longest);
            }
            Err(Status::unavailable(String::new()))
        });
        match connected.await {
            Ok(Ok(channel)) => Ok(channel),
            Ok(Err(status)) if !status.message().is_empty() => Err(status),
            Ok(Err(_)) | Err(_) => Err(Status::unavailable(format!("nothing answers at {self}: {last}"))),
        }
    }

    fn untrusted(&self, why: String) -> Status {
        let roots = match &self.trust {
            Trust::Web => "a private authority's certificate is named by SSL_CERT_FILE (--modal-roots)",
            Trust::Only(_) => "only the certificates in SSL_CERT_FILE (--modal-roots) are believed",
        };
        let mut status = Status::permission_denied(format!("{self} cannot be trusted: {why}; {roots}"));
        status.set_source(Arc::new(io::Error::new(io::ErrorKind::InvalidData, why)));
        status
    }

    fn endpoint(&self) -> Result<Endpoint, Status> {
        let failed = |error: transport::Error| Status::internal(format!("{self}: {}", root_cause(&error)));
        // The scheme is what it is spoken in, not what it was named by; of a path nothing is made use: calls have their own.
        let scheme = if self.plaintext { "http" } else { "https" };
        let authority = self.uri.authority().map(ToString::to_string).unwrap_or_default();
        let endpoint = Endpoint::from_shared(format!("{scheme}://{authority}")).map_err(failed)?;
        let endpoint = if self.plaintext { endpoint } else { endpoint.tls_config(self.trust.tls()).map_err(failed)? };
        Ok(endpoint
            .connect_timeout(ATTEMPT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(NO_ANSWER)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.uri.fmt(f)
    }
}

fn parse(url: &str) -> Result<Uri, String> {
    let uri: Uri = url.trim_end_matches('/').parse().map_err(|_| format!("{url:?} is not a URL"))?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http" | "https"), Some(_)) => Ok(uri),
        _ => Err(format!("{url:?} must begin with https:// (or http:// on this machine) and name a host")),
    }
}

fn loopback(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Why whoever answers is not believed: a certificate that nobody vouches for, or that is another's, or no TLS at all. `None`:
/// another attempt may find another.
fn disbelieved(error: &transport::Error) -> Option<String> {
    let mut cause = error.source();
    while let Some(deeper) = cause {
        if let Some(said) = deeper.downcast_ref::<io::Error>()
            && said.kind() == io::ErrorKind::InvalidData
        {
            return Some(said.to_string());
        }
        cause = deeper.source();
    }
    None
}

fn root_cause(error: &transport::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    // The outermost one of a transport says nothing.
    if error.source().is_none() { error.to_string() } else { cause.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(url: &str) -> Result<Address, String> {
        Address::control(url, Trust::Web)
    }

    #[test]
    fn clear_text_stays_on_this_machine() {
        for url in ["http://127.0.0.1:1", "http://localhost:80/", "http://[::1]:9", "https://api.modal.com:443"] {
            assert!(control(url).is_ok(), "{url}");
        }
        for url in [
            "http://api.modal.com",
            "http://10.0.0.1:80",
            "http://127.0.0.1.example.com",
            "ftp://x",
            "x",
            "",
            "https://a,https://b",
        ] {
            assert!(control(url).is_err(), "{url}");
        }
        let near = control("http://127.0.0.1:1").unwrap();
        let far = control("https://api.modal.com").unwrap();
        for url in ["http://127.0.0.1:2", "https://127.0.0.1:2"] {
            assert!(near.router(url).unwrap().plaintext, "{url}");
        }
        assert!(!near.router("https://worker.example.com").unwrap().plaintext);
        assert!(near.router("http://worker.example.com").is_err());
        assert!(far.router("http://127.0.0.1:2").is_err());
        assert!(!far.router("https://127.0.0.1:2").unwrap().plaintext);
        assert_eq!(far.host(), "api.modal.com");
        assert_eq!(near.named(), "http://127.0.0.1:1");
        for url in ["https://api.modal.com", "https://API.modal.com/", "https://api.modal.com:443"] {
            assert_eq!(control(url).unwrap().named(), "https://api.modal.com:443");
        }
    }

    #[test]
    fn a_router_may_be_named_without_a_port_and_with_a_path() {
        let far = control("https://api.modal.com").unwrap();
        for url in ["https://worker.example.com", "https://worker.example.com/", "https://worker.example.com/a/b?c=d"] {
            let router = far.router(url).unwrap();
            assert_eq!(router.endpoint().unwrap().uri(), "https://worker.example.com/", "{url}");
        }
        let near = control("http://127.0.0.1:1").unwrap();
        let router = near.router("https://127.0.0.1:2/a/b").unwrap();
        assert_eq!(router.endpoint().unwrap().uri(), "http://127.0.0.1:2/");
    }
}
