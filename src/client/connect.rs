//! The way to a server: its address, what a connection is made with, and the credential on every call.

use std::time::Duration;

use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

use super::{Code, Error};
use crate::proto::session_service_client::SessionServiceClient;

/// No response is larger than 4 MiB; the rest is for what wraps it.
pub(super) const MAX_RESPONSE: usize = 5 << 20;

/// What calls go through.
pub(super) type Stub = InterceptedService<Channel, Bearer>;

/// Where a server is, and who calls.
#[derive(Clone, Debug, Default)]
pub struct Target {
    /// `HOST:PORT`, which is over TLS where there are certificates to trust, or a whole `http://` or `https://` address.
    pub addr: String,
    /// What goes after "Bearer "; empty for a server without authentication.
    pub key: String,
}

/// How connections to one server are made.
#[derive(Clone, Debug)]
pub(super) struct Route {
    endpoint: Endpoint,
    bearer: Bearer,
}

impl Route {
    /// The way to a server; see [`super::Client::connect_trusting`].
    pub(super) fn to(target: Target, ca: Option<&[u8]>) -> Result<Self, Error> {
        let invalid = |what: &str| Error::local(Code::InvalidArgument, format!("{what} is not valid"));
        let address = match (target.addr.contains("://"), ca) {
            (true, _) => target.addr,
            (false, None) => format!("http://{}", target.addr),
            (false, Some(_)) => format!("https://{}", target.addr),
        };
        let mut endpoint = Endpoint::from_shared(address.clone())
            .map_err(|_| invalid("the server address"))?
            .connect_timeout(Duration::from_secs(10))
            .http2_keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(10))
            .keep_alive_while_idle(true)
            .tcp_nodelay(true);
        let tls = ClientTlsConfig::new();
        let tls = match (address.starts_with("https://"), ca) {
            (true, Some(ca)) => Some(tls.ca_certificate(Certificate::from_pem(ca))),
            (true, None) => Some(tls.with_enabled_roots()),
            // The key would go out in the clear, to whoever answers.
            (false, Some(_)) => {
                let message =
                    format!("{address} is not over TLS, so there is nothing to trust a certificate for: say https");
                return Err(Error::local(Code::InvalidArgument, message));
            }
            (false, None) => None,
        };
        if let Some(tls) = tls {
            endpoint = endpoint.tls_config(tls).map_err(|_| invalid("the certificate"))?;
        }
        let key = target.key.trim();
        // Not all that is no ASCII is refused below.
        if !key.chars().all(|char| matches!(char, ' '..='~')) {
            let message = "the key has a line break or is not ASCII, so no header can carry it";
            return Err(Error::local(Code::InvalidArgument, message));
        }
        let bearer = if key.is_empty() {
            Bearer(None)
        } else {
            let mut value: MetadataValue<Ascii> = format!("Bearer {key}").parse().map_err(|_| invalid("the key"))?;
            value.set_sensitive(true);
            Bearer(Some(value))
        };
        Ok(Self { endpoint, bearer })
    }

    /// Connects now.
    pub(super) async fn connect(&self) -> Result<Stub, Error> {
        let channel = self.endpoint.connect().await.map_err(|cause| {
            let (address, cause) = (self.endpoint.uri(), root_cause(&cause));
            Error::local(Code::Unavailable, format!("no server answers at {address}: {cause}"))
        })?;
        Ok(InterceptedService::new(channel, self.bearer.clone()))
    }

    /// A connection of its own, made when it is first needed.
    pub(super) fn apart(&self) -> Stub {
        InterceptedService::new(self.endpoint.connect_lazy(), self.bearer.clone())
    }
}

/// Calls of sessions over a connection.
pub(super) fn sessions(stub: Stub) -> SessionServiceClient<Stub> {
    SessionServiceClient::new(stub).max_decoding_message_size(MAX_RESPONSE)
}

/// Puts the credential on every call.
#[derive(Clone, Debug)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

/// The transport's own words are only "transport error"; what happened stands at the end of its chain.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
