//! The identity cases that are shared with other implementations of the wire contract.

use gateway_json::{Dialect, parse};
use gateway_metadata::{Claims, Identity, Sources, merge, split_path};
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct Vectors<'a> {
    #[serde(borrow)]
    cases: Vec<Case<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case<'a> {
    name: String,
    headers: Vec<(String, String)>,
    #[serde(borrow)]
    body: &'a RawValue,
    path: String,
    gateway_run_id: Option<String>,
    expect: Identity,
}

#[test]
fn every_case() {
    let vectors: Vectors<'_> = serde_json::from_str(include_str!("metadata.json")).unwrap();
    assert!(vectors.cases.len() >= 22);
    for case in &vectors.cases {
        let headers = case
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()));
        let body = parse(case.body.get().as_bytes(), Dialect::Strict).unwrap();
        let identity = merge(Sources {
            headers: Claims::from_headers(headers),
            body: Claims::from_body(body),
            path: split_path(&case.path).expect(&case.name).claims(),
            gateway_run_id: case.gateway_run_id.as_deref(),
            fallback_session: None,
        });
        assert_eq!(identity.as_ref(), Ok(&case.expect), "{}", case.name);
    }
}
