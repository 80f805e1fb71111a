//! Health checks: each worker's health path is asked at intervals, and what comes of it is
//! reported to the pool, which decides.

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gateway_route::{BaseUrl, Change, Cidr, Event, Host, check_address, check_passed};
use gateway_state::{HealthSettings, NAME, Probe, State};
use http::{Request, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_rustls::TlsConnector;

/// Checks the workers of `state` for ever. A round is over when every check of it is, so that
/// checks of one worker never overlap.
pub(crate) async fn check_workers(state: Arc<State>) {
    let checker = Arc::new(Checker::new());
    let mut interval = state.live().health.interval;
    let mut rounds = ticks(interval);
    loop {
        rounds.tick().await;
        let live = state.live();
        let mut round = JoinSet::new();
        for probe in state.workers().probes() {
            let checker = Arc::clone(&checker);
            let state = Arc::clone(&state);
            let (settings, allow) = (live.health.clone(), live.worker_allow.clone());
            round.spawn(async move { checker.check(&state, &probe, &settings, &allow).await });
        }
        round.join_all().await;
        if interval != live.health.interval {
            interval = live.health.interval;
            rounds = ticks(interval);
        }
    }
}

fn ticks(interval: Duration) -> tokio::time::Interval {
    let mut rounds = tokio::time::interval(interval);
    // After a pause of the whole machine one round is enough.
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    rounds
}

struct Checker {
    tls: TlsConnector,
}

impl Checker {
    fn new() -> Checker {
        let roots = rustls::RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring supports the default TLS versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Checker {
            tls: TlsConnector::from(Arc::new(config)),
        }
    }

    /// Checks one worker and reports what was seen.
    async fn check(&self, state: &State, probe: &Probe, settings: &HealthSettings, allow: &[Cidr]) {
        let start = Instant::now();
        let ask = self.ask(&probe.url, &settings.path, allow);
        let problem = match tokio::time::timeout(settings.rules.timeout, ask).await {
            Ok(Ok(status)) if check_passed(status) => None,
            Ok(Ok(status)) => Some(format!("its health path answered {status}")),
            Ok(Err(problem)) => Some(problem),
            Err(_elapsed) => Some("its health path did not answer in time".to_owned()),
        };
        let event = match &problem {
            None => Event::Passed,
            Some(error) => Event::Failed {
                error,
                took: start.elapsed(),
            },
        };
        let worker = &probe.worker_id;
        match state.workers().report(worker, event, &settings.rules) {
            Some(Change::BecameUnhealthy) => {
                let problem = problem.unwrap_or_default();
                tracing::warn!(worker, url = %probe.url, "worker is unhealthy: {problem}");
            }
            Some(Change::Recovered) => {
                tracing::info!(worker, url = %probe.url, "worker is healthy again");
            }
            None => {}
        }
    }

    /// The status of the worker's health path, or why there is none. Redirects are not followed.
    async fn ask(&self, url: &BaseUrl, path: &str, allow: &[Cidr]) -> Result<u16, String> {
        let request = Request::get(format!("{}{path}", url.path()))
            .header(header::HOST, url.authority())
            .header(header::USER_AGENT, NAME)
            .header(header::CONNECTION, "close")
            .body(Empty::<Bytes>::new())
            .map_err(|error| error.to_string())?;
        let stream = connect(url, allow).await?;
        if !url.tls() {
            return exchange(stream, request).await;
        }
        let name = match url.host() {
            Host::Name(name) => {
                ServerName::try_from(name.clone()).map_err(|error| error.to_string())?
            }
            Host::Ip(address) => ServerName::from(*address),
        };
        let stream = self.tls.connect(name, stream).await;
        exchange(stream.map_err(|error| format!("TLS: {error}"))?, request).await
    }
}

/// Connects to the first address that takes the connection. A name may lead where a worker must
/// not be, so that each address is checked here.
async fn connect(url: &BaseUrl, allow: &[Cidr]) -> Result<TcpStream, String> {
    let addresses: Vec<SocketAddr> = match url.host() {
        Host::Ip(address) => vec![SocketAddr::new(*address, url.port())],
        Host::Name(name) => tokio::net::lookup_host((name.as_str(), url.port()))
            .await
            .map_err(|error| format!("its name does not resolve: {error}"))?
            .collect(),
    };
    let mut problem = "its name has no address".to_owned();
    for address in addresses {
        match connect_to(address, allow).await {
            Ok(stream) => return Ok(stream),
            Err(error) => problem = error,
        }
    }
    Err(problem)
}

async fn connect_to(address: SocketAddr, allow: &[Cidr]) -> Result<TcpStream, String> {
    let ip: IpAddr = address.ip();
    check_address(ip, allow).map_err(|error| error.to_string())?;
    TcpStream::connect(address)
        .await
        .map_err(|error| error.to_string())
}

/// Sends one request and reads the head of its reply.
async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Empty<Bytes>>,
) -> Result<u16, String> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    let mut response = pin!(sender.send_request(request));
    let response = tokio::select! {
        biased;
        response = &mut response => response,
        // What the connection came to has reached the response.
        _ended = connection => response.await,
    };
    match response {
        Ok(response) => Ok(response.status().as_u16()),
        Err(error) => Err(crate::chain(&error)),
    }
}

#[cfg(test)]
mod tests;
