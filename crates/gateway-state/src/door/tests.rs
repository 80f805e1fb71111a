//! Who may pass the door without a token, and which hosts, origins and peers may not.

use std::net::IpAddr;

use gateway_auth::{Auth, Secret, Tokens};

use super::{Door, HostHeader, Visit, host_is_ours, is_forwarding_header, peer_is_private};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn visit<'a>(peer: &str, host: &'a str) -> Visit<'a> {
    Visit {
        peer: ip(peer),
        host: HostHeader::parse(host.as_bytes()).unwrap(),
        origin: None,
        forwarded: false,
        management: false,
    }
}

/// The code of the refusal, or `-` where the visit is let in.
fn answer(door: &Door, auth: &Auth, visit: &Visit<'_>) -> &'static str {
    door.check(auth, visit)
        .map_or_else(|error| error.code(), |()| "-")
}

fn with_token() -> Auth {
    Auth::new(
        Tokens::new([&Secret::from("a-token")]).unwrap(),
        Tokens::default(),
    )
}

#[test]
fn fault_04_a_host_is_a_host() {
    #[track_caller]
    fn check(value: &[u8], expected: Option<(&str, Option<u16>)>) {
        let seen = HostHeader::parse(value).map(|host| (host.name, host.port));
        assert_eq!(seen, expected, "{}", value.escape_ascii());
    }
    check(b"h", Some(("h", None)));
    check(b"h:80", Some(("h", Some(80))));
    check(b"h:", Some(("h", None)));
    check(b"Example.COM.:8080", Some(("Example.COM.", Some(8080))));
    check(b"my_host-1", Some(("my_host-1", None)));
    check(b"127.0.0.1:9090", Some(("127.0.0.1", Some(9090))));
    check(b"[::1]:9090", Some(("[::1]", Some(9090))));
    check(b"[::1]", Some(("[::1]", None)));
    for value in [
        "", ":80", "u@a", "a/b", "a,b", "a b", "h/#@evil", "h?x", "h#x", "h:80:80", "h:x", "h:+80",
        "h:99999", "[::1", "[::1]x", "[zz]", "::1", "h%41", "h\\", "h\0", "hä", " h", "h ",
    ] {
        check(value.as_bytes(), None);
    }
    check(b"h\xff", None);
}

#[test]
fn fault_22_hosts_that_no_public_page_can_bear_are_ours() {
    let allowed = [
        "gateway.example.com".to_owned(),
        "Other.Example:8443".to_owned(),
    ];
    for host in [
        "127.0.0.1",
        "10.1.2.3",
        "8.8.8.8",
        "[::1]",
        "[2001:db8::1]",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "a.localhost",
        "host.docker.internal",
        "vllm.svc.internal",
        "printer.local",
        "bare",
        "my_host",
        "box.lan",
        "BOX.lan.",
        "gateway.example.com",
        "GATEWAY.example.com",
        "other.example",
    ] {
        assert!(host_is_ours(host, Some("box.lan"), &allowed), "{host}");
    }
    for host in [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "internal.evil",
        "xlocalhost.evil",
        "evil.example.",
        "sub.gateway.example.com",
        "box.lan.evil",
        "127.1",
        "notinternal.com",
        "evil.com-internal.net",
    ] {
        assert!(!host_is_ours(host, Some("box.lan"), &allowed), "{host}");
    }
    assert!(!host_is_ours("box.lan", None, &[]));
}

#[test]
fn fault_22_a_loopback_gateway_without_a_token_answers_to_its_own_host() {
    let door = Door {
        loopback: true,
        ..Door::default()
    };
    let open = Auth::default();
    assert_eq!(
        answer(&door, &open, &visit("127.0.0.1", "localhost:9090")),
        "-"
    );
    assert_eq!(
        answer(&door, &open, &visit("127.0.0.1", "evil.example:9090")),
        "misdirected_request"
    );
    // Ports do not count.
    assert_eq!(
        answer(&door, &open, &visit("127.0.0.1", "localhost:1")),
        "-"
    );
    // A token decides alone, and so does a network that was asked for.
    assert_eq!(
        answer(&door, &with_token(), &visit("127.0.0.1", "evil.example")),
        "-"
    );
    let network = Door::default();
    assert_eq!(
        answer(&network, &open, &visit("127.0.0.1", "evil.example")),
        "-"
    );
    // The way of the token is not what `allow_unauthenticated` opens.
    let door = Door {
        allow_unauthenticated: true,
        ..door
    };
    assert_eq!(
        answer(&door, &open, &visit("127.0.0.1", "evil.example")),
        "misdirected_request"
    );
    let door = Door {
        allowed_hosts: vec!["evil.example".to_owned()],
        ..door
    };
    assert_eq!(
        answer(&door, &open, &visit("127.0.0.1", "evil.example")),
        "-"
    );
}

#[test]
fn fault_22_management_answers_to_pages_of_its_own_origin() {
    let door = Door {
        loopback: true,
        ..Door::default()
    };
    let check = |host: &'static str, origin: &str, expected: &str| {
        let of = |management| {
            let origin = Some(origin.as_bytes());
            answer(
                &door,
                &Auth::default(),
                &Visit {
                    origin,
                    management,
                    ..visit("127.0.0.1", host)
                },
            )
        };
        assert_eq!(of(true), expected, "{origin} at {host}");
        assert_eq!(of(false), "-", "the data plane, {origin} at {host}");
    };
    check("localhost:9090", "http://localhost:9090", "-");
    check("localhost:9090", "https://LOCALHOST:9090", "-");
    check("localhost", "http://localhost:80", "-");
    check("localhost:443", "https://localhost", "-");
    check("localhost:9090", "http://localhost:3000", "forbidden");
    check("localhost:9090", "http://localhost", "forbidden");
    check("localhost:9090", "http://evil.example", "forbidden");
    check(
        "localhost:9090",
        "http://localhost:9090.evil.example",
        "forbidden",
    );
    check("localhost:9090", "http://localhost:9090/", "forbidden");
    check("localhost:9090", "null", "forbidden");
    check("localhost:9090", "", "forbidden");
    check("localhost:9090", "file://localhost:9090", "forbidden");
}

#[test]
fn fault_23_private_peers_are_told_from_public_ones() {
    let own = [ip("203.0.113.7")];
    let trusted = ["198.51.100.0/24".parse().unwrap()];
    for peer in [
        "127.0.0.1",
        "127.9.9.9",
        "::1",
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.0.1",
        "100.64.0.1",
        "100.127.255.255",
        "169.254.1.1",
        "fe80::1",
        "fd00::1",
        "fc00::1",
        "::ffff:10.0.0.1",
        "203.0.113.7",
        "::ffff:203.0.113.7",
        "198.51.100.9",
    ] {
        assert!(peer_is_private(ip(peer), &own, &trusted), "{peer}");
    }
    for peer in [
        "8.8.8.8",
        "172.32.0.1",
        "172.15.0.1",
        "100.63.255.255",
        "100.128.0.0",
        "192.169.0.1",
        "203.0.113.8",
        "198.51.101.0",
        "2001:db8::1",
        "fe00::1",
        "fec0::1",
        "::ffff:8.8.8.8",
        "0.0.0.0",
        "::",
    ] {
        assert!(!peer_is_private(ip(peer), &own, &trusted), "{peer}");
    }
}

#[test]
fn fault_23_without_a_token_public_peers_and_tunnels_stay_outside() {
    let trusted = vec![
        "172.17.0.0/16".parse().unwrap(),
        "198.51.100.9".parse().unwrap(),
    ];
    let door = Door {
        trusted_peers: trusted,
        ..Door::default()
    };
    let open = Auth::default();
    let through = |peer| Visit {
        forwarded: true,
        ..visit(peer, "gateway.example")
    };
    assert_eq!(
        answer(&door, &open, &visit("192.168.0.9", "gateway.example")),
        "-"
    );
    assert_eq!(
        answer(&door, &open, &visit("8.8.8.8", "gateway.example")),
        "forbidden"
    );
    assert_eq!(
        answer(&door, &open, &visit("198.51.100.9", "gateway.example")),
        "-"
    );
    assert_eq!(answer(&door, &open, &through("127.0.0.1")), "forbidden");
    assert_eq!(answer(&door, &open, &through("192.168.0.9")), "forbidden");
    assert_eq!(answer(&door, &open, &through("172.17.0.1")), "-");
    assert_eq!(
        answer(&door, &with_token(), &visit("8.8.8.8", "gateway.example")),
        "-"
    );
    assert_eq!(answer(&door, &with_token(), &through("8.8.8.8")), "-");
    let door = Door {
        allow_unauthenticated: true,
        ..door
    };
    assert_eq!(
        answer(&door, &open, &visit("8.8.8.8", "gateway.example")),
        "-"
    );
    assert_eq!(answer(&door, &open, &through("127.0.0.1")), "-");
}

#[test]
fn fault_23_the_answer_tells_how_to_set_a_token() {
    let error = Door::default()
        .check(&Auth::default(), &visit("8.8.8.8", "h"))
        .unwrap_err();
    assert_eq!(error.status(), 403);
    for hint in [
        "RLLM_GATEWAY_INBOUND_TOKEN",
        "inbound_auth_token",
        "allow_unauthenticated",
    ] {
        assert!(error.message().contains(hint), "{hint}");
    }
}

#[test]
fn forwarding_headers_are_those_of_tunnels() {
    for name in ["forwarded", "x-forwarded-for", "cf-connecting-ip"] {
        assert!(is_forwarding_header(name));
    }
    for name in ["x-forwarded-proto", "via", "host", "x-forwarded"] {
        assert!(!is_forwarding_header(name));
    }
}
