//! Rows of the fault contract that the head of a request decides.

use gateway_auth::{Auth, Secret, Tokens};
use gateway_state::Door;
use http::Request;

use super::*;

const LOCAL: &str = "127.0.0.1:5000";

fn request(method: &str, target: &str, lines: &[(&str, &[u8])]) -> request::Parts {
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in lines {
        request = request.header(*name, *value);
    }
    request.body(()).expect("a request").into_parts().0
}

#[track_caller]
fn check_with(live: &Live, peer: &str, parts: &request::Parts, expected: Result<(), (u16, &str)>) {
    let peer = peer.parse().expect("an address");
    let found = check(parts, peer, live);
    assert_eq!(
        found
            .as_ref()
            .map(|_| ())
            .map_err(|error| (error.status(), error.code())),
        expected
    );
}

#[track_caller]
fn check_open(lines: &[(&str, &[u8])], expected: Result<(), (u16, &str)>) {
    check_with(
        &Live::default(),
        LOCAL,
        &request("POST", "/v1/chat/completions", lines),
        expected,
    );
}

#[test]
fn exactly_one_valid_host() {
    check_open(&[("host", b"localhost:9090")], Ok(()));
    check_open(&[("host", b"[::1]:1")], Ok(()));
    for bad in [
        &b""[..],
        b"u@a",
        b"a/b",
        b"a,b",
        b"h/#@evil",
        b"a b",
        b"a:b",
        b"\xff",
    ] {
        check_open(&[("host", bad)], Err((400, "bad_request")));
    }
    check_open(&[], Err((400, "bad_request")));
    check_open(&[("host", b"a"), ("host", b"a")], Err((400, "bad_request")));
}

#[test]
fn doubtful_framing_is_refused_and_closes() {
    let host: (&str, &[u8]) = ("host", b"h");
    let te = "transfer-encoding";
    check_open(&[host, (te, b"chunked")], Ok(()));
    for bad in [
        &b",chunked"[..],
        b"chunked, chunked",
        b"gzip, chunked",
        b"identity",
        b"",
    ] {
        let parts = request("POST", "/v1/completions", &[host, (te, bad)]);
        let error = check(&parts, LOCAL.parse().unwrap(), &Live::default()).expect_err("doubt");
        assert!(error.status() == 400 && error.closes(), "{bad:?}");
    }
    check_open(
        &[host, (te, b"chunked"), (te, b"chunked")],
        Err((400, "bad_request")),
    );
    check_open(
        &[host, (te, b"chunked"), ("content-length", b"1")],
        Err((400, "bad_request")),
    );
    let mut old = request("POST", "/v1/completions", &[host, (te, b"chunked")]);
    old.version = Version::HTTP_10;
    check_with(&Live::default(), LOCAL, &old, Err((400, "bad_request")));
}

#[test]
fn expectations_and_upgrades() {
    let host: (&str, &[u8]) = ("host", b"h");
    check_open(&[host, ("expect", b"100-Continue")], Ok(()));
    check_open(
        &[host, ("expect", b"foo")],
        Err((417, "expectation_failed")),
    );
    check_open(&[host, ("upgrade", b"h2c")], Ok(()));
    check_open(
        &[host, ("upgrade", b"h2c, WebSocket")],
        Err((426, "upgrade_required")),
    );
    let live = Live::default();
    for method in ["TRACE", "CONNECT"] {
        let parts = request(method, "/v1/models", &[host]);
        check_with(&live, LOCAL, &parts, Err((501, "not_implemented")));
    }
}

fn with_token() -> Live {
    let tokens = |token: &str| Tokens::new(&[Secret::from(token)]).expect("tokens");
    Live {
        auth: Auth::new(tokens("inbound"), tokens("admin")),
        open_paths: vec!["/health".into()],
        ..Live::default()
    }
}

#[test]
fn a_token_is_needed_everywhere_but_on_open_paths() {
    let live = with_token();
    let ask = |path: &str, token: &[u8], expected| {
        let parts = request("GET", path, &[("host", b"h"), ("authorization", token)]);
        check_with(&live, LOCAL, &parts, expected);
    };
    let refused = Err((401, "unauthorized"));
    for path in [
        "/v1/models",
        "/",
        "/ready",
        "/sessions",
        "/nowhere",
        "/sessions/s/v1/x",
    ] {
        ask(path, b"Bearer wrong", refused);
        ask(path, b"\xff\xfe", refused);
        ask(path, b"bearer admin", Ok(()));
    }
    ask("/health", b"", Ok(()));
    ask("/health?x", b"", Ok(()));
    ask("/v1/models", b"Bearer inbound", Ok(()));
    ask("/sessions", b"Bearer inbound", Err((403, "forbidden")));
    let twice = request(
        "GET",
        "/v1/models",
        &[
            ("host", b"h"),
            ("authorization", b"Bearer inbound"),
            ("authorization", b"x"),
        ],
    );
    check_with(&live, LOCAL, &twice, Err((400, "bad_request")));
}

#[test]
fn the_open_door_serves_the_private_network_alone() {
    let live = Live {
        door: Door {
            loopback: true,
            ..Door::default()
        },
        ..Live::default()
    };
    let ask = |peer: &str, target: &str, lines: &[(&str, &[u8])], expected| {
        check_with(&live, peer, &request("GET", target, lines), expected);
    };
    ask(
        LOCAL,
        "/v1/models",
        &[("host", b"evil.example")],
        Err((421, "misdirected_request")),
    );
    ask(
        LOCAL,
        "http://evil.example/v1/models",
        &[("host", b"h")],
        Err((421, "misdirected_request")),
    );
    ask(
        "8.8.8.8:1",
        "/v1/models",
        &[("host", b"h")],
        Err((403, "forbidden")),
    );
    ask(
        LOCAL,
        "/v1/models",
        &[("host", b"h"), ("x-forwarded-for", b"1.1.1.1")],
        Err((403, "forbidden")),
    );
    let origin: (&str, &[u8]) = ("origin", b"http://evil.example");
    ask(
        LOCAL,
        "/sessions",
        &[("host", b"h"), origin],
        Err((403, "forbidden")),
    );
    ask(LOCAL, "/v1/models", &[("host", b"h"), origin], Ok(()));
}
