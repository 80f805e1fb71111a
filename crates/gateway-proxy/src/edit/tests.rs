//! Each edit alone, their order, and that all other bytes stay.

use bytes::Bytes;
use gateway_json::{Dialect, parse};
use gateway_trace::Endpoint;

use super::*;

const CAPTURE: Capture = Capture {
    logprobs: true,
    token_ids: true,
    usage: true,
};

fn apply(body: &str, wishes: &Wishes<'_>) -> Result<(String, Option<String>, Asked), RepeatedKey> {
    let body = Bytes::copy_from_slice(body.as_bytes());
    let root = parse(&body, Dialect::Strict).expect("valid");
    let edited = edit(&body, root, wishes)?;
    let text = String::from_utf8(edited.body.to_vec()).expect("UTF-8");
    Ok((text, edited.edits.map(|it| it.to_string()), edited.asked))
}

#[track_caller]
fn check(body: &str, wishes: &Wishes<'_>, expected: &str, told: Option<&str>) {
    let (text, edits, _) = apply(body, wishes).expect("no repeats");
    assert_eq!(text, expected);
    assert_eq!(edits.as_deref(), told);
}

fn params(pairs: &[(&str, &str)]) -> SamplingParams {
    let pairs = pairs
        .iter()
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    SamplingParams::new(pairs).expect("allowed")
}

fn chat<'a>() -> Wishes<'a> {
    Wishes {
        endpoint: Some(Endpoint::ChatCompletions),
        capture: Some(CAPTURE),
        ..Wishes::default()
    }
}

#[test]
fn nothing_to_edit_is_the_same_bytes() {
    let body = Bytes::from_static(b" {\"a\": 1.0, \"b\":\"\\ud800\"}\n");
    let root = parse(&body, Dialect::Strict).expect("valid");
    let edited = edit(&body, root, &Wishes::default()).expect("no repeats");
    assert_eq!(edited.body.as_ptr(), body.as_ptr());
}

#[test]
fn choices_are_counted_as_the_upstream_is_asked_for_them() {
    let session = params(&[("n", "4")]);
    let dropped = ["n".to_owned()];
    for (body, session_params, session_first, drop_params, expected) in [
        ("{}", None, false, &[][..], 1),
        (r#"{"n":3}"#, None, false, &[], 3),
        (r#"{"n":3}"#, Some(&session), false, &[], 3),
        (r#"{"n":3}"#, Some(&session), true, &[], 4),
        ("{}", Some(&session), false, &[], 4),
        (r#"{"n":3}"#, None, false, &dropped, 1),
    ] {
        let wishes = Wishes {
            session_params,
            session_first,
            drop_params,
            ..chat()
        };
        let root = parse(body.as_bytes(), Dialect::Strict).expect("valid");
        let edited = edit(&Bytes::from(body), root, &wishes).expect("no repeats");
        assert_eq!(edited.choices, expected, "{body}");
    }
    let prompts = Bytes::from_static(br#"{"n":3,"prompt":["a","b"]}"#);
    let root = parse(&prompts, Dialect::Strict).expect("valid");
    let wishes = Wishes {
        endpoint: Some(Endpoint::Completions),
        ..Wishes::default()
    };
    let choices = |wishes| edit(&prompts, root, wishes).expect("no repeats").choices;
    assert_eq!(choices(&wishes), 6);
    assert_eq!(choices(&Wishes::default()), 1);
}

#[test]
fn injection_is_overridden_by_truthy_values_alone() {
    let ids = r#""return_token_ids":true"#;
    check(
        "{}",
        &chat(),
        &format!(r#"{{"logprobs":true,{ids}}}"#),
        None,
    );
    for own in ["false", "null", "0", "0.0"] {
        let body = format!(r#"{{"logprobs": {own}, "x":1e3}}"#);
        check(
            &body,
            &chat(),
            &format!(r#"{{"logprobs": true, "x":1e3,{ids}}}"#),
            None,
        );
    }
    check(
        r#"{"logprobs":true,"return_token_ids":1}"#,
        &chat(),
        r#"{"logprobs":true,"return_token_ids":1}"#,
        None,
    );
    let completions = Wishes {
        endpoint: Some(Endpoint::Completions),
        ..chat()
    };
    check(
        "{}",
        &completions,
        &format!(r#"{{"logprobs":1,{ids}}}"#),
        None,
    );
    check(
        r#"{"logprobs":0}"#,
        &completions,
        &format!(r#"{{"logprobs":0,{ids}}}"#),
        None,
    );
    check(
        r#"{"logprobs":false}"#,
        &completions,
        &format!(r#"{{"logprobs":1,{ids}}}"#),
        None,
    );
    check(
        r#"{"echo":true}"#,
        &completions,
        &format!(r#"{{"echo":true,{ids}}}"#),
        None,
    );
}

#[test]
fn defect_22_other_endpoints_are_not_injected_into() {
    for endpoint in [
        Endpoint::Embeddings,
        Endpoint::Messages,
        Endpoint::Responses,
    ] {
        let wishes = Wishes {
            endpoint: Some(endpoint),
            stream: true,
            ..chat()
        };
        check(r#"{"model":"m"}"#, &wishes, r#"{"model":"m"}"#, None);
    }
    check(
        "{}",
        &Wishes {
            endpoint: None,
            ..chat()
        },
        "{}",
        None,
    );
}

#[test]
fn usage_is_asked_for_on_streams() {
    let wishes = Wishes {
        stream: true,
        capture: Some(Capture {
            logprobs: false,
            token_ids: false,
            usage: true,
        }),
        ..chat()
    };
    let usage = |body: &str, expected: &str, injected: bool| {
        let (text, told, asked) = apply(body, &wishes).expect("no repeats");
        assert_eq!(
            (text.as_str(), told, asked.injected_usage),
            (expected, None, injected)
        );
    };
    usage("{}", r#"{"stream_options":{"include_usage":true}}"#, true);
    usage(
        r#"{"stream_options":null}"#,
        r#"{"stream_options":{"include_usage":true}}"#,
        true,
    );
    usage(
        r#"{"stream_options":{"a":1.0}}"#,
        r#"{"stream_options":{"a":1.0,"include_usage":true}}"#,
        true,
    );
    usage(
        r#"{"stream_options":{"include_usage":false}}"#,
        r#"{"stream_options":{"include_usage":true}}"#,
        true,
    );
    usage(
        r#"{"stream_options":{"include_usage":true}}"#,
        r#"{"stream_options":{"include_usage":true}}"#,
        false,
    );
    usage(
        r#"{"stream_options":"x"}"#,
        r#"{"stream_options":"x"}"#,
        false,
    );
}

#[test]
fn edits_come_in_their_order_and_are_told() {
    let params = params(&[("temperature", "0.50"), ("top_p", "1")]);
    let dropped = ["top_p".to_owned(), "seed".to_owned(), "absent".to_owned()];
    let wishes = Wishes {
        endpoint: Some(Endpoint::ChatCompletions),
        model_pin: Some("pinned"),
        session_params: Some(&params),
        upstream_model: Some("up\"stream"),
        drop_params: &dropped,
        ..Wishes::default()
    };
    check(
        r#"{"model":"m","seed":7,"x":1}"#,
        &wishes,
        r#"{"model":"up\"stream","x":1,"temperature":0.50}"#,
        Some(r#"{"set":{"model":"up\"stream","temperature":0.50},"removed":["seed"]}"#),
    );
    // A drop wins over an injection, too.
    let dropped = ["logprobs".to_owned()];
    let wishes = Wishes {
        drop_params: &dropped,
        ..chat()
    };
    check("{}", &wishes, r#"{"return_token_ids":true}"#, None);
}

#[test]
fn session_params_fill_or_overwrite() {
    let params = params(&[("temperature", "0")]);
    let wishes = Wishes {
        endpoint: Some(Endpoint::Completions),
        session_params: Some(&params),
        ..Wishes::default()
    };
    check(
        r#"{"temperature":1}"#,
        &wishes,
        r#"{"temperature":1}"#,
        None,
    );
    check(
        "{}",
        &wishes,
        r#"{"temperature":0}"#,
        Some(r#"{"set":{"temperature":0},"removed":[]}"#),
    );
    let wishes = Wishes {
        session_first: true,
        ..wishes
    };
    check(
        r#"{"temperature":1}"#,
        &wishes,
        r#"{"temperature":0}"#,
        Some(r#"{"set":{"temperature":0},"removed":[]}"#),
    );
    check(
        r#"{"temperature":0}"#,
        &wishes,
        r#"{"temperature":0}"#,
        None,
    );
    let wishes = Wishes {
        endpoint: Some(Endpoint::Embeddings),
        ..wishes
    };
    check("{}", &wishes, "{}", None);
}

#[test]
fn rllm_keys_go_and_nothing_else_changes() {
    check(
        "\t{\"rllm\":{\"session_id\":\"s\"}, \"metadata\":{\"rllm\":{}},\"n\":123456789012345678901234567890,\"s\":\"\\ud800\\u00e9\"} ",
        &Wishes::default(),
        "\t{ \"n\":123456789012345678901234567890,\"s\":\"\\ud800\\u00e9\"} ",
        None,
    );
}

/// What a session sets goes up and is told without rLLM's keys; they are removed last, so that the
/// edits before count a member that holds nothing else as one that is there.
#[test]
fn rllm_keys_of_a_session_go_too() {
    let ours = params(&[("rllm", r#"{"a":1}"#), ("metadata", r#"{"rllm":{"b":2}}"#)]);
    let mixed = params(&[("metadata", r#"{"x":1.0,"rllm":{"b":2}}"#)]);
    let plain = params(&[("metadata", r#"{"x":1.0}"#)]);
    let told_x = Some(r#"{"set":{"metadata":{"x":1.0}},"removed":[]}"#);
    let rllm = r#"{"metadata":{"rllm":{"harness":"h"}},"m":1}"#;
    let both = r#"{"metadata":{"rllm":{},"x":1.0},"m":1}"#;
    let x = r#"{"metadata":{"x":1.0},"m":1}"#;
    let filled = r#"{"m":1,"metadata":{"x":1.0}}"#;
    for (session, first, body, expected, told) in [
        (&ours, false, r#"{"m":1}"#, r#"{"m":1}"#, None),
        (&ours, true, r#"{"m":1}"#, r#"{"m":1}"#, None),
        (&ours, false, "{}", "{}", None),
        (&ours, true, rllm, r#"{"m":1}"#, None),
        (&ours, false, x, x, None),
        (
            &ours,
            true,
            x,
            r#"{"m":1}"#,
            Some(r#"{"set":{},"removed":["metadata"]}"#),
        ),
        (&mixed, false, r#"{"m":1}"#, filled, told_x),
        (&mixed, false, rllm, r#"{"m":1}"#, None),
        (&mixed, true, rllm, x, told_x),
        (&mixed, true, both, x, None),
        (&plain, false, rllm, r#"{"m":1}"#, None),
        (&plain, true, rllm, x, told_x),
        (&plain, true, both, x, None),
        (&plain, true, r#"{"m":1,"rllm":{}}"#, filled, told_x),
    ] {
        let wishes = Wishes {
            endpoint: Some(Endpoint::ChatCompletions),
            session_params: Some(session),
            session_first: first,
            ..Wishes::default()
        };
        check(body, &wishes, expected, told);
    }
    let dropped = ["rllm".to_owned(), "metadata".to_owned()];
    let wishes = Wishes {
        drop_params: &dropped,
        ..Wishes::default()
    };
    check(rllm, &wishes, r#"{"m":1}"#, None);
}

#[test]
fn what_is_edited_must_not_repeat() {
    let error = apply(r#"{"logprobs":true,"x":1,"x":2}"#, &chat()).map(|it| it.0);
    assert!(error.is_ok(), "keys that nobody edits may repeat");
    let error = apply(
        r#"{"return_token_ids":false,"return_token\u005fids":false}"#,
        &chat(),
    );
    assert_eq!(
        error.map(|it| it.0),
        Err(RepeatedKey {
            key: "return_token_ids".into(),
            offset: 26
        })
    );
}
