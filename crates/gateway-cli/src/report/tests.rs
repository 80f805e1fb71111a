//! A report as a person reads it.

use insta::assert_snapshot;

use super::*;
use crate::document::Document;

fn read(text: &str) -> String {
    let document = Document::read(text.as_bytes().to_vec()).unwrap();
    let screen = Screen {
        width: None,
        color: false,
        now: 0.0,
    };
    read_out(&Object::of(document.root()), &screen)
}

#[test]
fn the_verdict_comes_first_and_the_reasons_last() {
    let complete = r#"{"session_id":"org/task-7:0","run_id":null,"accepted":4,"persisted":4,"in_flight":0,"deleted":0,
        "completed":4,"failed":{},"superseded":0,"prefix_breaks":[],"verdict":"complete","reasons":[]}"#;
    let incomplete = r#"{"session_id":"s","run_id":"run-1","accepted":7,"persisted":6,"in_flight":0,"deleted":1,
        "completed":3,"failed":{"truncated":1,"upstream_error":2},"superseded":2,
        "prefix_breaks":[{"trace_id":"019e6b7c-0000-7000-8000-000000000004","at_token":17}],"verdict":"incomplete",
        "reasons":["019e6b7c-0000-7000-8000-000000000003: truncated: the upstream broke off its\u001b[2J reply"]}"#;
    let open = r#"{"session_id":"s","run_id":null,"accepted":1,"persisted":0,"in_flight":1,"deleted":0,
        "completed":0,"failed":{},"superseded":0,"prefix_breaks":[],"verdict":"in_progress","reasons":[]}"#;
    assert_snapshot!([complete, incomplete, open].map(read).join("\n"));
}
