//! New connections: name resolution, TCP, TLS.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use gateway_route::{BaseUrl, Host};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::conn::{Conn, Failure, FailureKind, Socket};

/// Whether an address may be connected to. Names are checked once they are resolved.
pub(crate) type AddressRule = dyn Fn(IpAddr) -> bool + Send + Sync;

/// Makes connections to upstreams.
pub(crate) struct Connector {
    tls: TlsConnector,
    may_connect: Box<AddressRule>,
}

impl Connector {
    pub(crate) fn new(may_connect: Box<AddressRule>) -> Self {
        let roots = rustls::RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring supports the default TLS versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            tls: TlsConnector::from(Arc::new(config)),
            may_connect,
        }
    }

    /// Connects to the host of `base`.
    ///
    /// # Errors
    /// [`FailureKind::Unreachable`], or [`FailureKind::Timeout`] after `timeout` for all of it.
    pub(crate) async fn connect(&self, base: &BaseUrl, timeout: Duration) -> Result<Conn, Failure> {
        match tokio::time::timeout(timeout, self.establish(base)).await {
            Ok(established) => established,
            Err(_elapsed) => Err(Failure::new(
                FailureKind::Timeout,
                format!("no connection within {} s", timeout.as_secs_f64()),
            )),
        }
    }

    async fn establish(&self, base: &BaseUrl) -> Result<Conn, Failure> {
        let unreachable = |message: String| Failure::new(FailureKind::Unreachable, message);
        let stream = self.tcp(base).await?;
        // Small writes must not wait for acknowledgements of earlier ones.
        stream
            .set_nodelay(true)
            .map_err(|error| unreachable(error.to_string()))?;
        let socket = if base.tls() {
            let name = match base.host() {
                Host::Ip(address) => ServerName::from(*address),
                Host::Name(name) => ServerName::try_from(name.clone())
                    .map_err(|error| unreachable(error.to_string()))?,
            };
            let stream = self
                .tls
                .connect(name, stream)
                .await
                .map_err(|error| unreachable(format!("TLS: {error}")))?;
            Socket::Tls(Box::new(stream))
        } else {
            Socket::Plain(stream)
        };
        Conn::handshake(socket).await
    }

    async fn tcp(&self, base: &BaseUrl) -> Result<TcpStream, Failure> {
        let addresses: Vec<SocketAddr> = match base.host() {
            Host::Ip(address) => vec![SocketAddr::new(*address, base.port())],
            Host::Name(name) => tokio::net::lookup_host((name.as_str(), base.port()))
                .await
                .map_err(|error| {
                    Failure::new(
                        FailureKind::Unreachable,
                        format!("the upstream's name does not resolve: {error}"),
                    )
                })?
                .collect(),
        };
        let mut last = Failure::new(
            FailureKind::Unreachable,
            "the upstream's name has no address",
        );
        for address in addresses {
            if !(self.may_connect)(address.ip()) {
                last = Failure::new(
                    FailureKind::Unreachable,
                    "the upstream's name leads to an address that is not allowed",
                );
                continue;
            }
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = Failure::new(FailureKind::Unreachable, error.to_string()),
            }
        }
        Err(last)
    }
}
