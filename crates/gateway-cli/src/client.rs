//! Questions to a running gateway: one connection each, HTTP/1.1, TLS where the URL says so.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gateway_auth::Secret;
use gateway_metadata::is_dot_segment;
use gateway_route::{BaseUrl, Host, UrlError};
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::args::{DEFAULT_URL, Gateway};
use crate::document::Document;
use crate::error::Error;
use crate::text;

/// How long a connection may take to come about.
const CONNECTING: Duration = Duration::from_secs(10);

/// How long the gateway may be silent: it lists a long session before it sends the first byte.
const SILENCE: Duration = Duration::from_secs(60);

/// All that means something in a path or a query.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// A text as it stands in one segment of a path, or as a value of a query. An id of dots alone
/// would be taken for a way up, so that its dots are encoded too.
pub(crate) fn encoded(text: &str) -> String {
    if is_dot_segment(text) {
        return text.replace('.', "%2E");
    }
    utf8_percent_encode(text, RESERVED).to_string()
}

/// A question: a path below the gateway's URL, and its parameters.
#[derive(Clone, Debug)]
pub(crate) struct Question(String);

impl Question {
    pub(crate) fn new(path: impl Into<String>) -> Self {
        Self(path.into())
    }

    /// Adds a parameter, if it has a value.
    pub(crate) fn with(mut self, name: &str, value: Option<impl ToString>) -> Self {
        if let Some(value) = value {
            self.0.push(if self.0.contains('?') { '&' } else { '?' });
            self.0.push_str(name);
            self.0.push('=');
            self.0.push_str(&encoded(&value.to_string()));
        }
        self
    }
}

/// The URL of a gateway; an empty one, as of a variable that was emptied, is the default.
///
/// # Errors
/// [`Error::Usage`], which does not repeat the URL: there may be a password in it.
pub(crate) fn gateway_url(url: &str) -> Result<BaseUrl, Error> {
    let url = if url.is_empty() { DEFAULT_URL } else { url };
    let parsed = BaseUrl::parse(url).map_err(|error| match error {
        UrlError::Userinfo => Error::Usage(
            "--url must not hold a user name or password; use --token or RLLM_GATEWAY_TOKEN"
                .to_owned(),
        ),
        error => Error::Usage(format!("--url {error}")),
    })?;
    if parsed.path().ends_with("/v1") {
        let message = "--url is the gateway's own address, without /v1";
        return Err(Error::Usage(message.to_owned()));
    }
    Ok(parsed)
}

/// Asks one gateway.
pub(crate) struct Client {
    url: BaseUrl,
    authorization: Option<HeaderValue>,
}

impl Client {
    /// # Errors
    /// [`Error::Usage`] for a URL or a token that cannot be used.
    pub(crate) fn new(gateway: &Gateway) -> Result<Self, Error> {
        let token = gateway.token.as_ref().map(Secret::expose);
        let authorization = match token.filter(|token| !token.is_empty()) {
            None => None,
            Some(token) => {
                let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
                    .map_err(|_| Error::Usage("--token holds a control character".to_owned()))?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        Ok(Self {
            url: gateway_url(&gateway.url)?,
            authorization,
        })
    }

    /// Asks, and reads the whole answer. Cancel-safe: dropping it closes the connection.
    ///
    /// # Errors
    /// No connection, a refusal, or an answer that is no JSON.
    pub(crate) async fn ask(&self, question: &Question) -> Result<Document, Error> {
        let (status, body) = self.exchange(question).await?;
        let document = Document::read(body);
        let no_json = format_args!("{status} without JSON of a gateway");
        if status.is_success() {
            return document.ok_or_else(|| self.foreign(question, no_json));
        }
        match document.as_ref().and_then(Document::error_message) {
            Some(message) => Err(Error::Refused {
                url: self.url.to_string(),
                status: status.as_u16(),
                message: format!("{}{}", text::one_line(&message), hint(status)),
            }),
            // A proxy before a gateway that is away.
            None if status.is_server_error() => Err(Error::Refused {
                url: self.url.to_string(),
                status: status.as_u16(),
                message: "no word of the gateway's".to_owned(),
            }),
            None => Err(self.foreign(question, no_json)),
        }
    }

    async fn exchange(&self, question: &Question) -> Result<(StatusCode, Vec<u8>), Error> {
        let mut request = Request::get(format!("{}{}", self.url.path(), question.0))
            .header(header::HOST, self.url.authority())
            .header(header::USER_AGENT, "rllm-model-gateway")
            .header(header::ACCEPT, "application/json")
            .header(header::CONNECTION, "close");
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let request = request
            .body(Empty::<Bytes>::new())
            .map_err(|error| Error::Usage(error.to_string()))?;

        let connecting = timeout(CONNECTING, self.connect()).await;
        let stream = connecting
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|error| Error::Unreachable {
                url: self.url.to_string(),
                reason: error.to_string(),
            })?;
        let broken = |reason: String| Error::Broken {
            url: self.url.to_string(),
            reason,
        };
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| broken(error.to_string()))?;
        let answer = async {
            let answer = timeout(SILENCE, sender.send_request(request)).await;
            let answer = answer.map_err(|_| broken("it is silent".to_owned()))?;
            let answer = answer.map_err(|error| broken(reason(&error)))?;
            let (head, body) = answer.into_parts();
            let body = whole(body).await.map_err(broken)?;
            Ok((head.status, body))
        };
        // The connection does the work; its own end, good or bad, reaches the answer first.
        let work = async {
            let _ = connection.await;
            std::future::pending().await
        };
        tokio::select! {
            biased;
            answer = answer => answer,
            never = work => never,
        }
    }

    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let tcp = match self.url.host() {
            Host::Ip(address) => {
                TcpStream::connect(SocketAddr::new(*address, self.url.port())).await?
            }
            Host::Name(name) => TcpStream::connect((name.as_str(), self.url.port())).await?,
        };
        if !self.url.tls() {
            return Ok(Box::new(tcp));
        }
        let name = match self.url.host() {
            Host::Ip(address) => ServerName::from(*address),
            Host::Name(name) => ServerName::try_from(name.clone()).map_err(io::Error::other)?,
        };
        let stream = tls()?.connect(name, tcp).await?;
        Ok(Box::new(stream))
    }

    pub(crate) fn foreign(&self, question: &Question, what: impl std::fmt::Display) -> Error {
        let path = question.0.split('?').next().unwrap_or_default();
        Error::Foreign {
            url: self.url.to_string(),
            what: format!("{what} for {path}"),
        }
    }
}

/// The bytes' way to the gateway.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Reads a body to its end.
async fn whole(mut body: Incoming) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    loop {
        match timeout(SILENCE, body.frame()).await {
            Err(_elapsed) => return Err("it stopped".to_owned()),
            Ok(None) => return Ok(bytes),
            Ok(Some(Err(error))) => return Err(reason(&error)),
            Ok(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    bytes.extend_from_slice(&data);
                }
            }
        }
    }
}

/// An error of hyper's with what is behind it.
fn reason(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// What may help against a refusal.
fn hint(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "; give --token or RLLM_GATEWAY_TOKEN",
        StatusCode::FORBIDDEN => "; with an admin token configured, this takes the admin token",
        _ => "",
    }
}

fn tls() -> io::Result<TlsConnector> {
    let mut roots = rustls::RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    for certificate in own_authorities()? {
        roots.add(certificate).map_err(io::Error::other)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Certificates that the user trusts besides the public ones: those of `SSL_CERT_FILE`, which
/// other clients read as well.
fn own_authorities() -> io::Result<Vec<CertificateDer<'static>>> {
    let Some(file) = std::env::var_os("SSL_CERT_FILE").filter(|file| !file.is_empty()) else {
        return Ok(Vec::new());
    };
    let certificates = CertificateDer::pem_file_iter(&file).and_then(Iterator::collect);
    certificates.map_err(|error| io::Error::other(format!("SSL_CERT_FILE: {error}")))
}
