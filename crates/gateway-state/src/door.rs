//! Who may ask at all: the rules of the open door, where no token is configured.

use std::net::{IpAddr, Ipv4Addr};

use gateway_auth::Auth;
use gateway_route::Cidr;

use crate::ApiError;

/// What the door knows of the machine and its network. While a token is configured it stands open:
/// the token decides.
#[derive(Clone, Debug, Default)]
pub struct Door {
    /// The gateway listens on loopback only, so that a foreign `Host` means a browser that was
    /// tricked (DNS rebinding).
    pub loopback: bool,
    /// Public peers and tunnels are let in (`allow_unauthenticated`).
    pub allow_unauthenticated: bool,
    /// The machine's own name, which is ours as a `Host`.
    pub own_name: Option<String>,
    /// The machine's own addresses, which are not public peers.
    pub own_addresses: Vec<IpAddr>,
    /// Further hosts that are ours (`allowed_hosts`).
    pub allowed_hosts: Vec<String>,
    /// Peers that count as private, and may forward for others (`trusted_peers`).
    pub trusted_peers: Vec<Cidr>,
}

/// What the door looks at.
#[derive(Clone, Copy, Debug)]
pub struct Visit<'a> {
    /// The other end of the connection.
    pub peer: IpAddr,
    /// The host that the request names: in the `Host` header, and in an absolute target.
    pub host: HostHeader<'a>,
    /// The `Origin` header.
    pub origin: Option<&'a [u8]>,
    /// Whether a header is there that [`is_forwarding_header`].
    pub forwarded: bool,
    /// Whether the path is the management plane's.
    pub management: bool,
}

impl Door {
    /// Lets a request in, or not. Needs neither body nor path.
    ///
    /// # Errors
    ///
    /// 403 for a public peer or a tunnel, and for a foreign `Origin` on the management plane; 421
    /// for a foreign host.
    pub fn check(&self, auth: &Auth, visit: &Visit<'_>) -> Result<(), ApiError> {
        if auth.protects_calls() {
            return Ok(());
        }
        if !self.allow_unauthenticated {
            let private = peer_is_private(visit.peer, &self.own_addresses, &self.trusted_peers);
            if !private || (visit.forwarded && !is_within(visit.peer, &self.trusted_peers)) {
                return Err(ApiError::forbidden(
                    "this gateway has no token, and so serves its private network alone; set \
                     RLLM_GATEWAY_INBOUND_TOKEN (or inbound_auth_token) to serve others, or \
                     allow_unauthenticated to serve everyone",
                ));
            }
        }
        if self.loopback {
            let own_name = self.own_name.as_deref();
            if !host_is_ours(visit.host.name, own_name, &self.allowed_hosts) {
                return Err(ApiError::misdirected_request(
                    "this gateway does not answer for that host; list it in allowed_hosts",
                ));
            }
            let foreign = |origin| !visit.host.is_origin(origin);
            if visit.management && visit.origin.is_some_and(foreign) {
                return Err(ApiError::forbidden(
                    "the management plane does not answer to pages of another origin",
                ));
            }
        }
        Ok(())
    }
}

/// The value of a `Host` header, or the authority of an absolute target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostHeader<'a> {
    /// The name or address; IPv6 in brackets.
    pub name: &'a str,
    /// The port, if one is given.
    pub port: Option<u16>,
}

impl<'a> HostHeader<'a> {
    /// Reads `host[:port]` (RFC 9110 §7.2), in the characters that names and addresses have; an
    /// empty host, userinfo, a path, a list are none.
    #[must_use]
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let value = std::str::from_utf8(value).ok()?;
        let (name, rest) = if value.starts_with('[') {
            let (name, rest) = value.split_at(value.find(']')? + 1);
            name[1..name.len() - 1].parse::<std::net::Ipv6Addr>().ok()?;
            (name, rest)
        } else {
            let (name, rest) = value.split_at(value.find(':').unwrap_or(value.len()));
            let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
            if name.is_empty() || !name.bytes().all(legal) {
                return None;
            }
            (name, rest)
        };
        let port = match rest.strip_prefix(':') {
            None if rest.is_empty() => None,
            Some("") => None,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(digits.parse().ok()?)
            }
            _ => return None,
        };
        Some(Self { name, port })
    }

    /// Whether an `Origin` is `http(s)://` and this host, with this port.
    fn is_origin(&self, origin: &[u8]) -> bool {
        let of_scheme = |scheme: &[u8], default: u16| {
            let host = origin.strip_prefix(scheme).and_then(HostHeader::parse);
            host.is_some_and(|host| {
                host.name.eq_ignore_ascii_case(self.name)
                    && host.port.unwrap_or(default) == self.port.unwrap_or(default)
            })
        };
        of_scheme(b"http://", 80) || of_scheme(b"https://", 443)
    }
}

/// Whether a host, without its port, is one by which this machine is called: an address,
/// `localhost`, the machine's own name, `*.localhost`, `*.internal`, `*.local`, a bare name
/// without a dot, or one of `allowed_hosts`. No public name is among them, so that no page from
/// elsewhere can pass for ours.
#[must_use]
pub fn host_is_ours(host: &str, own_name: Option<&str>, allowed_hosts: &[String]) -> bool {
    let bare = |host: &str| host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let host = bare(host);
    let address = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let is_address = address.unwrap_or(&host).parse::<IpAddr>().is_ok();
    let private = [".localhost", ".internal", ".local"]
        .iter()
        .any(|end| host.ends_with(end));
    is_address
        || private
        || !host.contains('.')
        || own_name
            .into_iter()
            .chain(allowed_hosts.iter().map(String::as_str))
            .any(|ours| {
                let ours = bare(ours);
                // An entry may have been written with its port, which plays no part.
                HostHeader::parse(ours.as_bytes()).map_or(ours == host, |ours| ours.name == host)
            })
}

/// Whether a peer is of the private network: loopback, one of the machine's own addresses, RFC
/// 1918, 100.64/10, link-local, ULA, or within `trusted`.
#[must_use]
pub fn peer_is_private(peer: IpAddr, own: &[IpAddr], trusted: &[Cidr]) -> bool {
    let peer = peer.to_canonical();
    let private = match peer {
        IpAddr::V4(peer) => {
            peer.is_loopback() || peer.is_private() || peer.is_link_local() || is_shared(peer)
        }
        IpAddr::V6(peer) => {
            peer.is_loopback() || peer.is_unicast_link_local() || peer.is_unique_local()
        }
    };
    private || own.iter().any(|own| own.to_canonical() == peer) || is_within(peer, trusted)
}

/// RFC 6598: what carriers, and overlay networks such as Tailscale's, hand out.
fn is_shared(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    first == 100 && second & 0xc0 == 64
}

fn is_within(address: IpAddr, ranges: &[Cidr]) -> bool {
    ranges.iter().any(|range| range.contains(address))
}

/// Whether a header, in lower case, says that the peer asks for somebody else.
#[must_use]
pub fn is_forwarding_header(name: &str) -> bool {
    matches!(name, "forwarded" | "x-forwarded-for" | "cf-connecting-ip")
}

#[cfg(test)]
mod tests;
