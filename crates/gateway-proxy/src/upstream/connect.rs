//! New connections: name resolution, TCP, TLS.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use gateway_route::{AddressRefused, BaseUrl, Host, check_address};
use gateway_state::{NAME, State, UpstreamKind};
use http::{Request, header};
use http_body_util::Full;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::conn::{Conn, Failure, FailureKind, Socket};

/// Makes connections to upstreams: name resolution, the rule for addresses, TCP, TLS.
pub struct Connector {
    tls: TlsConnector,
    state: Arc<State>,
}

impl Connector {
    /// A connector that goes by the settings in force in `state`.
    ///
    /// # Panics
    /// Never: the cryptography that is built in has the TLS versions that it is asked for.
    #[must_use]
    pub fn new(state: Arc<State>) -> Self {
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
            state,
        }
    }

    /// Asks a worker at `url` for `path` below it, on a connection of its own, and gives the status
    /// of the answer. Redirects are not followed. Cancel-safe: dropping it closes the connection.
    ///
    /// # Errors
    /// Why there is no answer, for people.
    pub async fn status(&self, url: &BaseUrl, path: &str) -> Result<u16, String> {
        let request = Request::get(format!("{}{path}", url.path()))
            .header(header::HOST, url.authority())
            .header(header::USER_AGENT, NAME)
            .header(header::CONNECTION, "close")
            .body(Full::default())
            .map_err(|error| error.to_string())?;
        let answer = async {
            let conn = self.establish(url, UpstreamKind::Worker).await?;
            conn.exchange(request).await
        };
        match answer.await {
            Ok((head, ..)) => Ok(head.status.as_u16()),
            Err(failure) => Err(failure.message),
        }
    }

    /// Connects to the host of `base`.
    ///
    /// # Errors
    /// [`FailureKind::Unreachable`], or [`FailureKind::ConnectTimeout`] after `timeout` for all of
    /// it.
    pub(crate) async fn connect(
        &self,
        base: &BaseUrl,
        kind: UpstreamKind,
        timeout: Duration,
    ) -> Result<Conn, Failure> {
        match tokio::time::timeout(timeout, self.establish(base, kind)).await {
            Ok(established) => established,
            Err(_elapsed) => Err(Failure::new(
                FailureKind::ConnectTimeout,
                format!("no connection within {} s", timeout.as_secs_f64()),
            )),
        }
    }

    async fn establish(&self, base: &BaseUrl, kind: UpstreamKind) -> Result<Conn, Failure> {
        let unreachable = |message: String| Failure::new(FailureKind::Unreachable, message);
        let stream = self.tcp(base, kind).await?;
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

    async fn tcp(&self, base: &BaseUrl, kind: UpstreamKind) -> Result<TcpStream, Failure> {
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
            if let Err(refused) = self.check(address.ip(), kind) {
                last = Failure::new(FailureKind::Unreachable, refused.to_string());
                continue;
            }
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = Failure::new(FailureKind::Unreachable, error.to_string()),
            }
        }
        Err(last)
    }

    /// A worker may have been registered by name, and a name may lead anywhere; routes are the
    /// operator's own.
    fn check(&self, address: IpAddr, kind: UpstreamKind) -> Result<(), AddressRefused> {
        match kind {
            UpstreamKind::Worker => check_address(address, &self.state.live().worker_allow),
            UpstreamKind::Route => Ok(()),
        }
    }
}
