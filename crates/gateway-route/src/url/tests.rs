//! What is a base URL, and how a worker gives its own.

use super::{BaseUrl, UrlError, WorkerUrl};
use proptest::prelude::*;

fn is(error: &UrlError, expected: &str) -> bool {
    format!("{error:?}").split(['(', ' ']).next() == Some(expected)
}

#[test]
fn a_base_url_has_one_spelling() {
    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(
            BaseUrl::parse(text).map(|url| url.to_string()).as_deref(),
            Ok(expected),
            "{text}"
        );
    }
    check("http://h", "http://h");
    check(
        "HTTP://Host.Example:8000/V1/",
        "http://host.example:8000/V1",
    );
    check("http://h:80", "http://h");
    check("http://h:443", "http://h:443");
    check("https://h:443/a//b///", "https://h/a//b");
    check("https://h:80", "https://h:80");
    check("http://h:", "http://h");
    check("http://my_worker-1:8000", "http://my_worker-1:8000");
    check(
        "http://svc.default.svc.cluster.local./v1",
        "http://svc.default.svc.cluster.local./v1",
    );
    check("http://[::1]:8000/v1", "http://[::1]:8000/v1");
    check("http://[0:0::1]", "http://[::1]");
    check("http://127.0.0.1:1", "http://127.0.0.1:1");
    // Every resolver reads these as addresses, and so do we.
    check("http://127.1:8000", "http://127.0.0.1:8000");
    check("http://2130706433/", "http://127.0.0.1");
    check("http://0x7f.0.0.1", "http://127.0.0.1");
    check("http://0177.0.0.01", "http://127.0.0.1");
    check("http://127.0.0.1.", "http://127.0.0.1");
    check("http://1.2.3.com", "http://1.2.3.com");
    check("http://h/a%20b%2Fc", "http://h/a%20b%2Fc");
}

#[test]
fn what_is_no_base_url_is_refused() {
    #[track_caller]
    fn check(text: &str, expected: &str) {
        let error = BaseUrl::parse(text).unwrap_err();
        assert!(is(&error, expected), "{text}: {error:?}, not {expected}");
    }
    check("", "Scheme");
    check("h:8000", "Scheme");
    check("//h", "Scheme");
    check("file:///etc/passwd", "Scheme");
    check("ftp://h", "Scheme");
    check("unix://h", "Scheme");
    check(" http://h", "Scheme");
    check("http://user@h", "Userinfo");
    check("http://user:secret@h:80/", "Userinfo");
    check("http://@h", "Userinfo");
    check("http://h\\@evil", "Character");
    check("http://h?x", "Query");
    check("http://h/v1?x=1", "Query");
    check("http://h/v1#f", "Query");
    check("http://", "Host");
    check("http:///v1", "Host");
    check("http://:80", "Host");
    check("http://a..b", "Host");
    check("http://.a", "Host");
    check("http://a,b", "Host");
    check("http://a%2eb", "Host");
    check("http://[::1", "Host");
    check("http://[::1]x", "Host");
    check("http://[fe80::1%25eth0]", "Host");
    check("http://1.2.3.4.5", "Host");
    check("http://256.0.0.1", "Host");
    check("http://1.2.3.256", "Host");
    check("http://4294967296", "Host");
    check("http://08.0.0.1", "Host");
    check("http://a.b.1", "Host");
    check("http://0x.0x.0x.0x100", "Host");
    check("http://h:0", "Port");
    check("http://h:65536", "Port");
    check("http://h:+80", "Port");
    check("http://h:80:80", "Port");
    check("http://h:8o", "Port");
    check("http://h /v1", "Character");
    check("http://h/v 1", "Character");
    check("http://h/v\r\n1", "Character");
    check("http://①.0.0.1", "Character");
    check("http://h/a/../b", "DotSegment");
    check("http://h/%2e%2E/b", "DotSegment");
    check("http://h/a/.", "DotSegment");
}

#[test]
fn an_error_repeats_no_secret() {
    let error = BaseUrl::parse("http://user:hunter2@h").unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}

#[test]
fn a_host_header_leaves_the_default_port_out() {
    let authority = |text| BaseUrl::parse(text).unwrap().authority();
    assert_eq!(authority("http://h:80/v1"), "h");
    assert_eq!(authority("https://h:8443/v1"), "h:8443");
    assert_eq!(authority("http://[::1]:8000"), "[::1]:8000");
}

#[test]
fn a_worker_url_is_split() {
    #[track_caller]
    fn check(url: &str, api_path: Option<&str>, expected: (&str, &str)) {
        let worker = WorkerUrl::parse(url, api_path, &[]).unwrap();
        let seen = (worker.url().to_string(), worker.api_path().to_owned());
        assert_eq!(
            (seen.0.as_str(), seen.1.as_str()),
            expected,
            "{url} {api_path:?}"
        );
        assert_eq!(
            worker.api_url().to_string(),
            format!("{}{}", expected.0, expected.1)
        );
    }
    check("http://h:8000", None, ("http://h:8000", "/v1"));
    check("http://h:8000/", None, ("http://h:8000", "/v1"));
    check("http://h:8000/v1", None, ("http://h:8000", "/v1"));
    check("http://h:8000/v1/", None, ("http://h:8000", "/v1"));
    check(
        "http://h:8000/proxy/8001/v1",
        None,
        ("http://h:8000", "/proxy/8001/v1"),
    );
    // The PyPI client always sends one.
    check("http://h:8000", Some("/v1"), ("http://h:8000", "/v1"));
    check("http://h:8000/v1", Some("/v1"), ("http://h:8000", "/v1"));
    check("http://h:8000/v1/", Some("/v1/"), ("http://h:8000", "/v1"));
    check(
        "http://h:8000/proxy/v1",
        Some("/v1"),
        ("http://h:8000/proxy", "/v1"),
    );
    check(
        "http://h:8000/proxy",
        Some("/v1"),
        ("http://h:8000/proxy", "/v1"),
    );
    check(
        "http://h:8000/xv1",
        Some("/v1"),
        ("http://h:8000/xv1", "/v1"),
    );
    check("http://h:8000", Some("v2"), ("http://h:8000", "/v2"));
    check("http://h:8000", Some(""), ("http://h:8000", ""));
    check("http://h:8000/v1", Some("/"), ("http://h:8000/v1", ""));
}

#[test]
fn an_api_path_is_a_path() {
    for (api_path, expected) in [
        ("/v1?x", "Query"),
        ("/../x", "DotSegment"),
        ("/a b", "Character"),
    ] {
        let error = WorkerUrl::parse("http://h", Some(api_path), &[]).unwrap_err();
        assert!(is(&error, expected), "{api_path}: {error:?}");
    }
}

#[test]
fn fault_26_a_worker_is_no_way_to_metadata() {
    for url in [
        "http://169.254.169.254/latest",
        "http://169.254.1:80",
        "http://2852039166",
        "http://0xa9fea9fe",
        "http://0xA9.0xFE.0xA9.0xFE",
        "http://0251.0376.0251.0376",
        "http://169.16689662",
        "http://169.254.43518.",
        "http://[fe80::1]:8000",
        "http://[::ffff:169.254.169.254]",
        "http://[::ffff:a9fe:a9fe]",
        "http://[::169.254.169.254]",
        "http://[64:ff9b::a9fe:a9fe]",
        "http://metadata.google.internal/computeMetadata/v1",
        "http://Metadata.Google.Internal.",
        "http://metadata",
        "http://instance-data",
    ] {
        let error = WorkerUrl::parse(url, None, &[]).unwrap_err();
        assert!(
            is(&error, "Address") || is(&error, "MetadataName"),
            "{url}: {error:?}"
        );
        let allow = [
            "169.254.0.0/16".parse().unwrap(),
            "fe80::/10".parse().unwrap(),
        ];
        assert!(WorkerUrl::parse(url, None, &allow).is_ok(), "{url}");
    }
    // Names are not resolved here, and others than those of metadata services are nobody's.
    assert!(WorkerUrl::parse("http://not.there.yet.invalid:8000", None, &[]).is_ok());
    assert!(WorkerUrl::parse("http://metadata.example.com", None, &[]).is_ok());
}

proptest! {
    #[test]
    fn any_text_is_taken_or_refused_without_a_panic(text in "(https?://)?\\PC{0,40}") {
        if let Ok(url) = BaseUrl::parse(&text) {
            prop_assert_eq!(BaseUrl::parse(&url.to_string()).unwrap(), url);
        }
    }

    #[test]
    fn every_spelling_of_an_address_is_that_address(bits: u32, spelling in 0_usize..6) {
        let [a, b, c, d] = bits.to_be_bytes();
        let rest = bits & 0xff_ffff;
        let text = match spelling {
            0 => format!("{a}.{b}.{c}.{d}"),
            1 => format!("{bits}"),
            2 => format!("{bits:#x}"),
            3 => format!("0{bits:o}"),
            4 => format!("{a:#x}.{rest}"),
            _ => format!("0{a:o}.{b:#X}.{}", bits & 0xffff),
        };
        let expected = format!("http://{a}.{b}.{c}.{d}");
        let url = BaseUrl::parse(&format!("http://{text}")).unwrap();
        prop_assert_eq!(url.to_string(), expected);
    }
}
