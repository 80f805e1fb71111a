//! The door: what the head of a request must be, on either plane, before anything is read.

use std::net::SocketAddr;

use gateway_auth::{Access, Principal};
use gateway_metadata::split_path;
use gateway_state::{ApiError, HostHeader, Live, Visit, is_forwarding_header};
use http::{HeaderMap, HeaderValue, Method, Version, header, request};

use crate::headers::lines;

/// Checks framing, host, peer and credential.
pub(crate) fn check(
    parts: &request::Parts,
    peer: SocketAddr,
    live: &Live,
) -> Result<Principal, ApiError> {
    framing(parts)?;
    let host = host(parts)?;
    let data_plane = split_path(parts.uri.path()).is_some();
    let path = parts.uri.path();
    let access = if live.open_paths.iter().any(|open| open == path) {
        Access::Open
    } else if data_plane || matches!(path, "/" | "/health" | "/ready") {
        Access::Calls
    } else {
        Access::Management
    };
    live.door.check(
        &live.auth,
        &Visit {
            peer: peer.ip(),
            host,
            origin: parts.headers.get(header::ORIGIN).map(HeaderValue::as_bytes),
            forwarded: parts
                .headers
                .keys()
                .any(|name| is_forwarding_header(name.as_str())),
            management: !data_plane,
        },
    )?;
    let principal = live.auth.check(access, lines(&parts.headers))?;
    if data_plane {
        upgrade(&parts.headers)?;
        // Neither can be passed on as it is: one opens a tunnel, the other echoes credentials.
        if matches!(parts.method, Method::CONNECT | Method::TRACE) {
            return Err(ApiError::not_implemented(format!(
                "{} is not forwarded",
                parts.method
            )));
        }
    }
    Ok(principal)
}

/// Whatever leaves doubt about where this request ends closes the connection, because the next
/// one on it might be somebody else's.
fn framing(parts: &request::Parts) -> Result<(), ApiError> {
    let mut codings = parts.headers.get_all(header::TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        let chunked = coding
            .as_bytes()
            .trim_ascii()
            .eq_ignore_ascii_case(b"chunked");
        if !chunked || codings.next().is_some() || parts.version < Version::HTTP_11 {
            return Err(ApiError::bad_request("unclear transfer-encoding").closing());
        }
        if parts.headers.contains_key(header::CONTENT_LENGTH) {
            return Err(
                ApiError::bad_request("both content-length and transfer-encoding").closing(),
            );
        }
    }
    for expectation in parts.headers.get_all(header::EXPECT) {
        if !expectation.as_bytes().eq_ignore_ascii_case(b"100-continue") {
            return Err(ApiError::expectation_failed("only 100-continue is met").closing());
        }
    }
    Ok(())
}

/// Exactly one `Host` that is a host; an absolute target overrides it (RFC 9112 §3.2.2).
fn host(parts: &request::Parts) -> Result<HostHeader<'_>, ApiError> {
    let bad = || ApiError::bad_request("exactly one valid Host header is expected").closing();
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let named = hosts.next().ok_or_else(bad)?;
    let named = HostHeader::parse(named.as_bytes()).ok_or_else(bad)?;
    if hosts.next().is_some() {
        return Err(bad());
    }
    match parts.uri.authority() {
        Some(target) => HostHeader::parse(target.as_str().as_bytes()).ok_or_else(bad),
        None => Ok(named),
    }
}

/// Clients that try WebSocket first fall back to POST at once on this status.
fn upgrade(headers: &HeaderMap) -> Result<(), ApiError> {
    let websocket = headers.get_all(header::UPGRADE).iter().any(|protocols| {
        protocols
            .as_bytes()
            .split(|byte| *byte == b',')
            .any(|protocol| protocol.trim_ascii().eq_ignore_ascii_case(b"websocket"))
    });
    if websocket {
        return Err(ApiError::upgrade_required());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
