//! The address of an upstream: what is taken, and how it is split.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use percent_encoding::percent_decode_str;

use crate::{AddressRefused, Cidr, check_address};

/// Why a text is no address of an upstream: always the error of whoever gave it. `Display` can be
/// shown to that one; it repeats nothing that may be a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// Neither `http://` nor `https://`.
    #[error("must begin with http:// or https://")]
    Scheme,
    /// `user:password@`, which belongs into `auth_header`.
    #[error("must not hold a user name or password; use `auth_header`")]
    Userinfo,
    /// A query or fragment.
    #[error("must not hold a query or fragment")]
    Query,
    /// Blanks, controls, `\` or anything beyond ASCII.
    #[error("holds a character that no URL may hold")]
    Character,
    /// No host, or one that is neither a name nor an address.
    #[error("has no usable host")]
    Host,
    /// A port that is no number from 1 to 65535.
    #[error("has no usable port")]
    Port,
    /// A path with `.` or `..` segments.
    #[error("must not hold . or .. segments")]
    DotSegment,
    /// A name that stands for a metadata service.
    #[error("names a metadata service; `worker_allow` can open its range")]
    MetadataName,
    /// An address that must not be a worker.
    #[error(transparent)]
    Address(#[from] AddressRefused),
}

/// The host of an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A DNS name, in lower case.
    Name(String),
    /// An address, in whatever spelling it was given.
    Ip(IpAddr),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Ip(IpAddr::V4(address)) => address.fmt(f),
            Self::Ip(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// Where an upstream is: scheme, host, port, and the path that all its paths begin with.
///
/// `Display` gives it back in one spelling: no default port, no slash at the end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BaseUrl {
    tls: bool,
    host: Host,
    port: u16,
    path: String,
}

impl BaseUrl {
    /// Reads `http(s)://host[:port][/path]`. Slashes at the end of the path do not count.
    ///
    /// # Errors
    ///
    /// [`UrlError`], see there; [`UrlError::MetadataName`] and [`UrlError::Address`] are not asked
    /// about here.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::Scheme)?;
        let tls = match scheme {
            _ if scheme.eq_ignore_ascii_case("http") => false,
            _ if scheme.eq_ignore_ascii_case("https") => true,
            _ => return Err(UrlError::Scheme),
        };
        let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return Err(UrlError::Userinfo);
        }
        if !authority.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(UrlError::Character);
        }
        let (host, port) = split_port(authority)?;
        let port = match port {
            None | Some("") if tls => 443,
            None | Some("") => 80,
            Some(port) => parse_port(port).ok_or(UrlError::Port)?,
        };
        let host = parse_host(host).ok_or(UrlError::Host)?;
        Ok(Self {
            tls,
            host,
            port,
            path: parse_path(path)?,
        })
    }

    /// Whether it is `https`.
    #[must_use]
    pub fn tls(&self) -> bool {
        self.tls
    }

    /// The host to resolve, to connect to and to verify the certificate of.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The port to connect to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Empty, or a path that begins with a slash and ends without one.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The value of the `Host` header: host and port, without the scheme's default port.
    #[must_use]
    pub fn authority(&self) -> String {
        let default = if self.tls { 443 } else { 80 };
        if self.port == default {
            self.host.to_string()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

/// Where a worker is: its `url`, below which its health path lies, and the `api_path` below that,
/// where calls go.
///
/// ```
/// use gateway_route::WorkerUrl;
///
/// let worker = WorkerUrl::parse("http://10.0.0.7:8000/v1", None, &[])?;
/// assert_eq!((worker.url().to_string().as_str(), worker.api_path()), ("http://10.0.0.7:8000", "/v1"));
/// assert_eq!(worker, WorkerUrl::parse("http://10.0.0.7:8000/v1", Some("/v1"), &[])?);
///
/// let metadata_service = WorkerUrl::parse("http://2852039166/latest", None, &[]);
/// assert!(metadata_service.is_err());
/// # Ok::<(), gateway_route::UrlError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WorkerUrl {
    url: BaseUrl,
    api_path: String,
}

impl WorkerUrl {
    /// What `api_path` is where neither it nor a path in the URL says otherwise.
    pub const DEFAULT_API_PATH: &str = "/v1";

    /// Reads a worker's address. Without an `api_path` the path of the URL is it, or
    /// [`Self::DEFAULT_API_PATH`] if there is none. With one, the URL's own path comes before it,
    /// unless it ends in it already. A name is not resolved; see [`check_address`].
    ///
    /// # Errors
    ///
    /// [`UrlError`], see there. `allow` are the ranges of `worker_allow`.
    pub fn parse(url: &str, api_path: Option<&str>, allow: &[Cidr]) -> Result<Self, UrlError> {
        let mut url = BaseUrl::parse(url)?;
        check_host(&url.host, allow)?;
        let api_path = match api_path {
            None if url.path.is_empty() => Self::DEFAULT_API_PATH.to_owned(),
            None => std::mem::take(&mut url.path),
            Some(given) => {
                let api_path = parse_path(&format!("/{}", given.trim_start_matches('/')))?;
                if let Some(shorter) = url.path.strip_suffix(&api_path) {
                    url.path.truncate(shorter.len());
                }
                api_path
            }
        };
        Ok(Self { url, api_path })
    }

    /// The address without the `api_path`.
    #[must_use]
    pub fn url(&self) -> &BaseUrl {
        &self.url
    }

    /// Empty, or a path that begins with a slash and ends without one.
    #[must_use]
    pub fn api_path(&self) -> &str {
        &self.api_path
    }

    /// The address with the `api_path`: what the rest of a call's path is appended to.
    #[must_use]
    pub fn api_url(&self) -> BaseUrl {
        let path = format!("{}{}", self.url.path, self.api_path);
        BaseUrl {
            path,
            ..self.url.clone()
        }
    }
}

/// Names of metadata services; most of them resolve to 169.254.169.254.
const METADATA_NAMES: [&str; 9] = [
    "metadata",
    "metadata.google.internal",
    "metadata.goog",
    "metadata.azure.com",
    "metadata.azure.internal",
    "metadata.tencentyun.com",
    "metadata.platformequinix.com",
    "instance-data",
    "instance-data.ec2.internal",
];

fn check_host(host: &Host, allow: &[Cidr]) -> Result<(), UrlError> {
    match host {
        Host::Ip(address) => Ok(check_address(*address, allow)?),
        Host::Name(name) => {
            let service = IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254));
            let name = name.trim_end_matches('.');
            let refused = METADATA_NAMES.contains(&name) && check_address(service, allow).is_err();
            if refused {
                Err(UrlError::MetadataName)
            } else {
                Ok(())
            }
        }
    }
}

/// Splits an authority without userinfo into host (brackets kept) and port.
fn split_port(authority: &str) -> Result<(&str, Option<&str>), UrlError> {
    if authority.starts_with('[') {
        let end = authority.find(']').ok_or(UrlError::Host)? + 1;
        let (host, rest) = authority.split_at(end);
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(UrlError::Host),
        };
    }
    Ok(match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    })
}

fn parse_port(text: &str) -> Option<u16> {
    // `parse` alone would also take a sign.
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port != 0)
}

fn parse_host(text: &str) -> Option<Host> {
    if let Some(inner) = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        return inner
            .parse::<Ipv6Addr>()
            .ok()
            .map(|address| Host::Ip(address.into()));
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    let last = name.rsplit('.').next().unwrap_or(name);
    if parse_ipv4_part(last).is_some() || last.bytes().all(|byte| byte.is_ascii_digit()) {
        // Every resolver reads a name that ends in a number as an address, in one of the spellings
        // of the C library. Whatever is none cannot be a name either.
        return parse_ipv4(name).map(|address| Host::Ip(address.into()));
    }
    let label = |label: &str| {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=63).contains(&label.len()) && label.bytes().all(legal)
    };
    let usable = name.len() <= 253 && name.split('.').all(label);
    usable.then(|| Host::Name(text.to_ascii_lowercase()))
}

/// An IPv4 address in any spelling that the C library takes: one to four parts, each decimal,
/// octal (`0…`) or hexadecimal (`0x…`), the last one filling what the others leave.
fn parse_ipv4(text: &str) -> Option<Ipv4Addr> {
    let parts: Vec<u64> = text
        .split('.')
        .map(parse_ipv4_part)
        .collect::<Option<_>>()?;
    let (&last, leading) = parts.split_last()?;
    if leading.len() > 3 || leading.iter().any(|&part| part > 255) {
        return None;
    }
    let free_bits = 32 - 8 * leading.len() as u32;
    if last >= 1 << free_bits {
        return None;
    }
    let high = leading.iter().fold(0, |high, part| high << 8 | part);
    u32::try_from(high << free_bits | last)
        .ok()
        .map(Ipv4Addr::from_bits)
}

fn parse_ipv4_part(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let (digits, radix) = match lower.strip_prefix("0x") {
        Some(digits) => (digits, 16),
        None if lower.len() > 1 && lower.starts_with('0') => (&lower[1..], 8),
        None => (lower.as_str(), 10),
    };
    if digits.is_empty() && radix == 16 {
        // Some resolvers read `0x` as 0.
        return Some(0);
    }
    let legal = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(digits, radix).ok().filter(|_| legal)
}

/// Checks the path of a URL (empty, or beginning with a slash), and drops slashes at its end.
fn parse_path(path: &str) -> Result<String, UrlError> {
    if path.contains(['?', '#']) {
        return Err(UrlError::Query);
    }
    if !path
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'\\')
    {
        return Err(UrlError::Character);
    }
    let decoded = percent_decode_str(path).collect::<Vec<u8>>();
    if decoded
        .split(|&byte| byte == b'/')
        .any(|part| matches!(part, b"." | b".."))
    {
        return Err(UrlError::DotSegment);
    }
    Ok(path.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests;
