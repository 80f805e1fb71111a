//! The precedence of the sources: cases, and properties for any three of them.

use gateway_json::{Dialect, parse, quote};
use gateway_metadata::{
    Claims, DEFAULT_FALLBACK_HEADERS, Field, Identity, Problem, Sources, fallback_session, merge,
    split_path,
};
use proptest::prelude::*;

const TEXT_FIELDS: [&str; 6] = [
    "session_id",
    "run_id",
    "harness",
    "parent_span_id",
    "project",
    "experiment",
];

fn text_of<'a>(identity: &'a Identity, field: &str) -> Option<&'a str> {
    match field {
        "session_id" => identity.session_id.as_deref(),
        "run_id" => identity.run_id.as_deref(),
        "harness" => identity.harness.as_deref(),
        "parent_span_id" => identity.parent_span_id.as_deref(),
        "project" => identity.project.as_deref(),
        _ => identity.experiment.as_deref(),
    }
}

fn header_of(field: &str) -> String {
    format!("X-RLLM-{}", field.replace('_', "-"))
}

fn from_headers(texts: &[Option<String>], step: Option<&str>) -> Claims {
    let mut lines: Vec<(String, &str)> = TEXT_FIELDS
        .iter()
        .zip(texts)
        .filter_map(|(field, text)| Some((header_of(field), text.as_deref()?)))
        .collect();
    lines.extend(step.map(|step| (header_of("step_id"), step)));
    Claims::from_headers(
        lines
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes())),
    )
}

fn from_body(texts: &[Option<String>], step: Option<&str>, in_metadata: bool) -> Claims {
    let mut members: Vec<String> = TEXT_FIELDS
        .iter()
        .zip(texts)
        .filter_map(|(field, text)| Some(format!("{}:{}", quote(field), quote(text.as_deref()?))))
        .collect();
    members.extend(step.map(|step| format!(r#""step_id":{}"#, quote(step))));
    let rllm = format!(r#"{{"rllm":{{{}}}}}"#, members.join(","));
    let body = if in_metadata {
        format!(r#"{{"metadata":{rllm}}}"#)
    } else {
        rllm
    };
    Claims::from_body(parse(body.as_bytes(), Dialect::Strict).expect("the body is JSON"))
}

fn from_path(session: &str) -> Claims {
    let encoded: String = session.bytes().map(|byte| format!("%{byte:02X}")).collect();
    split_path(&format!("/sessions/{encoded}/v1/models"))
        .expect("the path is one of the data plane")
        .claims()
}

fn first_usable<'a>(candidates: impl IntoIterator<Item = Option<&'a str>>) -> Option<&'a str> {
    candidates
        .into_iter()
        .flatten()
        .map(str::trim)
        .find(|text| !text.is_empty())
}

fn texts() -> impl Strategy<Value = Vec<Option<String>>> {
    let text = prop_oneof![
        Just(None),
        Just(Some(String::new())),
        Just(Some("  ".to_owned())),
        "[ ]{0,2}[a-zà-ÿ0-9/:.%🦀]{1,6}( [a-z]{1,3})?[ ]{0,2}".prop_map(Some),
    ];
    proptest::collection::vec(text, TEXT_FIELDS.len())
}

fn step() -> impl Strategy<Value = Option<&'static str>> {
    prop::sample::select(vec![
        None,
        Some(""),
        Some(" "),
        Some("x"),
        Some("1.0"),
        Some("-2"),
        Some(" 7 "),
    ])
}

proptest! {
    /// For any three sources every field is the first one that is not empty.
    #[test]
    fn every_field_is_the_first_that_is_not_empty(
        (header, body) in (texts(), texts()),
        path in "[ a-zé/%:]{0,6}",
        steps in (step(), step()),
        in_metadata in any::<bool>(),
        gateway_run_id in proptest::option::of("[ a-z]{0,4}"),
        fallback in proptest::option::of("[a-z]{1,4}"),
    ) {
        let identity = merge(Sources {
            headers: from_headers(&header, steps.0),
            body: from_body(&body, steps.1, in_metadata),
            path: from_path(&path),
            gateway_run_id: gateway_run_id.as_deref(),
            fallback_session: fallback.as_deref(),
        }).unwrap();

        for (at, field) in TEXT_FIELDS.into_iter().enumerate() {
            let mut candidates = vec![header[at].as_deref(), body[at].as_deref()];
            match field {
                "session_id" => candidates.extend([Some(path.as_str()), fallback.as_deref()]),
                "run_id" => candidates.push(gateway_run_id.as_deref()),
                _ => {}
            }
            prop_assert_eq!(text_of(&identity, field), first_usable(candidates), "{}", field);
        }
        let expected = [steps.0, steps.1]
            .into_iter()
            .flatten()
            .find_map(|step| step.trim().parse::<i64>().ok());
        prop_assert_eq!(identity.step_id, expected);
    }

    /// Whatever bytes the headers hold, reading them ends in an identity or in the one error, and
    /// what is accepted can be recorded.
    #[test]
    fn any_header_bytes_are_read(value in proptest::collection::vec(any::<u8>(), 0..600)) {
        for field in ["x-rllm-session-id", "x-rllm-step-id", "x-rllm-project"] {
            let claims = Claims::from_headers([(field, value.as_slice())]);
            if let Ok(identity) = claims.identity() {
                prop_assert_eq!(identity.check(), Ok(()));
            }
        }
        let headers = [("session-id", value.as_slice())];
        if let Some(header) = fallback_session(headers, &DEFAULT_FALLBACK_HEADERS) {
            prop_assert_eq!(Field::SessionId.check(&header.value), Ok(()));
        }
    }

    /// Any path splits without a panic, and a split one loses no byte.
    #[test]
    fn splitting_loses_nothing(path in "(/|/v1|/sessions|[a-z%?2Fé]{1,3}){0,8}") {
        if let Some(split) = split_path(&path) {
            let shown = path.split('?').next().unwrap();
            prop_assert!(shown.ends_with(split.api));
            let before = &shown[..shown.len() - split.api.len()];
            let expected = match split.session {
                Some(session) => format!("/sessions/{session}/v1"),
                None if before == "/v1" => "/v1".to_owned(),
                None => "/sessions//v1".to_owned(),
            };
            prop_assert_eq!(before, expected);
        }
    }
}

#[test]
fn a_bad_value_that_does_not_win_does_no_harm() {
    let body = parse(
        br#"{"rllm":{"session_id":"\ud800","project":"p\u0001"}}"#,
        Dialect::Strict,
    );
    let sources = |headers: &[(&str, &[u8])]| Sources {
        headers: Claims::from_headers(headers.iter().copied()),
        body: Claims::from_body(body.unwrap()),
        path: split_path("/sessions/%ff/v1/models").unwrap().claims(),
        ..Sources::default()
    };
    let identity = merge(sources(&[
        ("x-rllm-session-id", b"s"),
        ("x-rllm-project", b"p"),
    ]));
    assert_eq!(identity.unwrap().session_id.as_deref(), Some("s"));

    let error = merge(sources(&[("x-rllm-session-id", b"s")])).unwrap_err();
    assert_eq!(
        (error.field, error.problem),
        (Field::Project, Problem::Control)
    );
    let error = merge(sources(&[("x-rllm-project", b"p")])).unwrap_err();
    assert_eq!(
        (error.field, error.problem),
        (Field::SessionId, Problem::NotUnicode)
    );
}

#[test]
fn a_bad_value_that_wins_is_an_error_even_where_a_good_one_stands_behind_it() {
    let error = merge(Sources {
        path: split_path("/sessions/%00/v1/models").unwrap().claims(),
        fallback_session: Some("client"),
        ..Sources::default()
    });
    assert_eq!(error.unwrap_err().problem, Problem::Control);
}

#[test]
fn the_clients_own_header_is_the_last_resort() {
    let identity = |session: &str| {
        merge(Sources {
            headers: Claims::session(session),
            gateway_run_id: Some("g"),
            fallback_session: Some("client"),
            ..Sources::default()
        })
        .unwrap()
    };
    assert_eq!(identity("").session_id.as_deref(), Some("client"));
    assert_eq!(identity("own").session_id.as_deref(), Some("own"));
    assert_eq!(identity("").run_id.as_deref(), Some("g"));
}

#[test]
fn nothing_said_is_nothing_known() {
    assert_eq!(merge(Sources::default()), Ok(Identity::default()));
}
