//! Which headers travel on, in both directions.

use gateway_auth::is_credential_header;
use gateway_metadata::{HopByHop, is_rllm_header, shadows_known_header};
use gateway_state::AuthHeader;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// What the upstream is sent in place of what stays behind.
#[derive(Debug, Default)]
pub(crate) struct Outgoing<'a> {
    /// The upstream's own authority.
    pub(crate) host: Option<HeaderValue>,
    /// Whether the client's credential was for the gateway, or must not reach this upstream.
    pub(crate) drop_credentials: bool,
    /// The upstream's credential: it replaces the client's.
    pub(crate) auth: Option<&'a AuthHeader>,
    /// Set last, over all others.
    pub(crate) set: &'a [(HeaderName, HeaderValue)],
    /// Goes as `x-request-id` where the client sent none.
    pub(crate) request_id: &'a str,
    /// Whether the body was decoded, so that its coding no longer holds.
    pub(crate) decoded: bool,
}

/// The header lines of a message as pairs of name and raw value.
pub(crate) fn lines(headers: &HeaderMap) -> impl Iterator<Item = (&str, &[u8])> {
    headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
}

/// The headers of the request that goes upstream.
pub(crate) fn request(inbound: &HeaderMap, outgoing: &Outgoing<'_>) -> HeaderMap {
    let hop_by_hop = HopByHop::of(lines(inbound));
    let mut headers = HeaderMap::with_capacity(inbound.len() + 4);
    if let Some(host) = &outgoing.host {
        headers.insert(header::HOST, host.clone());
    }
    for (name, value) in inbound {
        let stays = *name == header::HOST
            || *name == header::CONTENT_LENGTH
            || *name == header::EXPECT
            || *name == header::ACCEPT_ENCODING
            || (outgoing.decoded && *name == header::CONTENT_ENCODING)
            || hop_by_hop.drops(name.as_str())
            || is_rllm_header(name.as_str())
            || shadows_known_header(name.as_str())
            || (is_credential_header(name.as_str())
                && (outgoing.drop_credentials || outgoing.auth.is_some()));
        if !stays {
            headers.append(name.clone(), value.clone());
        }
    }
    headers.insert(
        header::ACCEPT_ENCODING,
        HeaderValue::from_static("identity"),
    );
    let request_id = HeaderName::from_static("x-request-id");
    if !headers.contains_key(&request_id)
        && let Ok(value) = HeaderValue::from_str(outgoing.request_id)
    {
        headers.insert(request_id, value);
    }
    if let Some(auth) = outgoing.auth {
        headers.insert(auth.name().clone(), auth.value().clone());
    }
    for (name, value) in outgoing.set {
        headers.insert(name.clone(), value.clone());
    }
    headers
}

/// The upstream's headers as the client gets them.
///
/// `edited`: the body's length is no longer the upstream's.
pub(crate) fn reply(upstream: &HeaderMap, edited: bool) -> HeaderMap {
    let hop_by_hop = HopByHop::of(lines(upstream));
    let mut headers = HeaderMap::with_capacity(upstream.len() + 1);
    for (name, value) in upstream {
        let stays = hop_by_hop.drops(name.as_str())
            || name.as_str().starts_with("access-control-")
            || (edited && *name == header::CONTENT_LENGTH);
        if !stays {
            headers.append(name.clone(), value.clone());
        }
    }
    headers
}

/// Rewrites a `Location` below the upstream's base to the same place below the caller's own.
///
/// `base` is the upstream's base path, `authority` its host and port, `prefix` what stands before
/// the API path in the caller's URL (`/v1`, `/sessions/{sid}/v1`).
pub(crate) fn rewrite_location(headers: &mut HeaderMap, authority: &str, base: &str, prefix: &str) {
    let Some(location) = headers
        .get(header::LOCATION)
        .and_then(|it| it.to_str().ok())
    else {
        return;
    };
    let path = match location.split_once("://") {
        Some((scheme, rest))
            if ["http", "https"]
                .iter()
                .any(|it| scheme.eq_ignore_ascii_case(it)) =>
        {
            let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            if !rest[..end].eq_ignore_ascii_case(authority) {
                return;
            }
            &rest[end..]
        }
        // `//host/…` names another host, too.
        _ if location.starts_with("//") => return,
        _ => location,
    };
    let Some(rest) = path.strip_prefix(base).filter(|_| path.starts_with('/')) else {
        return;
    };
    let below = rest.is_empty() || rest.starts_with(['/', '?', '#']);
    let climbs = rest
        .split(['?', '#'])
        .next()
        .is_some_and(|path| path.split('/').any(|segment| segment == ".."));
    if !below || climbs {
        return;
    }
    if let Ok(value) = HeaderValue::try_from(format!("{prefix}{rest}")) {
        headers.insert(header::LOCATION, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        headers
    }

    fn text(headers: &HeaderMap) -> Vec<String> {
        let mut lines: Vec<String> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        lines.sort();
        lines
    }

    #[test]
    fn defect_08_nothing_of_the_gateway_goes_upstream() {
        let inbound = map(&[
            ("Host", "gateway"),
            ("X-RLLM-Session-Id", "s"),
            ("X-Rllm-Unheard-Of", "s"),
            ("X_RLLM_Session_Id", "s"),
            ("Authorization", "Bearer gateway-token"),
            ("x-api-key", "gateway-token"),
            ("Content-Length", "2"),
            ("Connection", "keep-alive, x-foo"),
            ("X-Foo", "1"),
            ("TE", "trailers"),
            ("Accept-Encoding", "gzip"),
            ("Content-Encoding", "gzip"),
            ("X-Session-Id", "client's own"),
            ("Traceparent", "00-a"),
            ("X-Multi", "1"),
            ("X-Multi", "2"),
        ]);
        let outgoing = Outgoing {
            host: Some(HeaderValue::from_static("worker:8000")),
            drop_credentials: true,
            request_id: "id",
            decoded: true,
            ..Outgoing::default()
        };
        assert_eq!(
            text(&request(&inbound, &outgoing)),
            [
                "accept-encoding: identity",
                "host: worker:8000",
                "traceparent: 00-a",
                "x-multi: 1",
                "x-multi: 2",
                "x-request-id: id",
                "x-session-id: client's own",
            ]
        );
    }

    #[test]
    fn an_upstreams_credential_replaces_the_clients() {
        let inbound = map(&[
            ("authorization", "Bearer mine"),
            ("x-api-key", "k"),
            ("x-request-id", "own"),
        ]);
        let lines = |outgoing: &Outgoing<'_>| {
            let mut lines = text(&request(&inbound, outgoing));
            lines.retain(|line| !line.starts_with("accept-encoding"));
            lines
        };
        assert_eq!(
            lines(&Outgoing::default()).len(),
            3,
            "passed on where nobody needs it"
        );
        let auth = AuthHeader::parse(&"x-api-key route's".into()).unwrap();
        let set = [(
            HeaderName::from_static("authorization"),
            HeaderValue::from_static("set last"),
        )];
        let outgoing = Outgoing {
            auth: Some(&auth),
            set: &set,
            request_id: "id",
            ..Outgoing::default()
        };
        assert_eq!(
            lines(&outgoing),
            [
                "authorization: set last",
                "x-api-key: route's",
                "x-request-id: own"
            ]
        );
    }

    #[test]
    fn defect_02_reply_headers_survive() {
        let upstream = map(&[
            ("retry-after", "7"),
            ("x-request-id", "r"),
            ("x-ratelimit-remaining", "1"),
            ("x-unknown", "u"),
            ("content-length", "9"),
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
            ("transfer-encoding", "chunked"),
            ("access-control-allow-origin", "*"),
        ]);
        let kept = [
            "retry-after: 7",
            "x-ratelimit-remaining: 1",
            "x-request-id: r",
            "x-unknown: u",
        ];
        assert_eq!(text(&reply(&upstream, true)), kept);
        assert_eq!(text(&reply(&upstream, false)).len(), kept.len() + 1);
    }

    #[test]
    fn locations_below_the_base_are_the_callers() {
        let check = |location: &str, expected: &str| {
            let mut headers = map(&[("location", location)]);
            rewrite_location(&mut headers, "w:8000", "/base/v1", "/sessions/s/v1");
            assert_eq!(headers[header::LOCATION], expected, "{location}");
        };
        check(
            "http://w:8000/base/v1/files/1?x=1",
            "/sessions/s/v1/files/1?x=1",
        );
        check("/base/v1/files", "/sessions/s/v1/files");
        check("/base/v1", "/sessions/s/v1");
        check("/base/v10", "/base/v10");
        check("/other", "/other");
        check("http://elsewhere/base/v1/x", "http://elsewhere/base/v1/x");
        check("http://w:80001/base/v1/x", "http://w:80001/base/v1/x");
        check("relative", "relative");
        check("HTTP://W:8000/base/v1/x", "/sessions/s/v1/x");
        check("/base/v1/../x", "/base/v1/../x");
        let mut headers = map(&[("location", "//evil.example/x")]);
        rewrite_location(&mut headers, "w:8000", "", "/v1");
        assert_eq!(headers[header::LOCATION], "//evil.example/x");
    }
}
