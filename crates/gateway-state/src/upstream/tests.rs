//! Which credentials an upstream can be given, and that they stay secret.

use gateway_auth::Secret;
use gateway_route::BaseUrl;

use super::{AuthHeader, Upstream, UpstreamKind};

#[test]
fn an_auth_header_is_a_credential_or_an_api_key() {
    #[track_caller]
    fn check(text: &str, name: &str, value: &str) {
        let header = AuthHeader::parse(&Secret::from(text)).unwrap();
        assert_eq!(
            (header.name().as_str(), header.value().as_bytes()),
            (name, value.as_bytes())
        );
        assert!(header.value().is_sensitive());
    }
    check("Bearer sk-1", "authorization", "Bearer sk-1");
    check("  Bearer sk-1 ", "authorization", "Bearer sk-1");
    check("Basic dTpw", "authorization", "Basic dTpw");
    check("sk-1", "authorization", "sk-1");
    check("x-api-key sk-ant-1", "x-api-key", "sk-ant-1");
    check("X-API-Key   sk-ant-1", "x-api-key", "sk-ant-1");
    check("x-api-keys sk", "authorization", "x-api-keys sk");
    check("Bearer ü", "authorization", "Bearer ü");
}

#[test]
fn what_cannot_be_sent_is_refused_without_showing_it() {
    for text in [
        "",
        "  ",
        "x-api-key",
        "x-api-key  ",
        "Bearer a\r\nX: b",
        "Bearer \0",
    ] {
        let error = AuthHeader::parse(&Secret::from(text)).unwrap_err();
        assert!(!error.to_string().contains("Bearer"), "{text:?}");
    }
}

#[test]
fn the_secret_of_an_upstream_is_masked() {
    let auth = AuthHeader::parse(&Secret::from("Bearer hunter2")).unwrap();
    let base = BaseUrl::parse("https://api.openai.com/v1").unwrap();
    let upstream = Upstream::new(UpstreamKind::Route, "gpt-*", base, Some(auth));
    let shown = format!("{upstream:?} {upstream:#?}");
    assert!(!shown.contains("hunter2"), "{shown}");
    assert_eq!(upstream.host, "api.openai.com");
}
