//! Sessions and turns as tables, for terminals of any width.

use insta::assert_snapshot;

use super::*;
use crate::document::Document;

const NOW: f64 = 1_795_170_727.0;

fn screen(width: Option<usize>) -> Screen {
    Screen {
        width,
        color: false,
        now: NOW,
    }
}

fn table(
    columns: &'static [Column],
    rows: &[&str],
    width: Option<usize>,
    row: impl Fn(&Object<'_>) -> Vec<Cell>,
) -> String {
    let rows: Vec<_> = rows
        .iter()
        .map(|text| {
            let document = Document::read(text.as_bytes().to_vec()).unwrap();
            row(&Object::of(document.root()))
        })
        .collect();
    Table::whole(columns, &rows, &screen(width))
}

const A: &str = r#"{"session_id":"org/task-7:0","trace_count":12,"total_count":13,"created_at":1795170000.5,
    "metadata":{"split":"train"},"run_id":"grpo-2026-11","first_trace_at":1795170001,"last_trace_at":1795170700}"#;
const B: &str = r#"{"session_id":"a session that was named by somebody who likes long names: \u001b[2J語",
    "trace_count":0,"total_count":0,"created_at":1790000000,"metadata":{},"run_id":null,
    "first_trace_at":null,"last_trace_at":null}"#;

#[test]
fn sessions_in_a_wide_a_usual_and_a_narrow_terminal() {
    let shown = [None, Some(80), Some(40)].map(|width| {
        let shown = table(SESSIONS, &[A, B], width, |session| {
            session_row(session, NOW)
        });
        format!("{width:?}\n{shown}")
    });
    assert_snapshot!(shown.join("\n"));
}

#[test]
fn sessions_without_a_run_have_no_column_for_it() {
    assert_snapshot!(table(SESSIONS, &[B], Some(60), |session| session_row(
        session, NOW
    )));
}

const TURNS: &[&str] = &[
    // A turn of a compact listing, as it is when all outcomes are asked for.
    r#"{"trace_id":"019e6b7c-0000-7000-8000-000000000001","session_id":"s","model":"qwen3-32b",
        "messages_suffix":[{"role":"system","content":"You are an agent."},
                           {"role":"user","content":[{"type":"text","text":"What is\n the weather?"},{"type":"image_url","image_url":{}}]}],
        "response_message":{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function",
            "function":{"name":"get_weather","arguments":"{\"city\":\"Oslo\"}"}}]},
        "latency_ms":834.2,"token_counts":{"prompt":812,"completion":19},"timestamp":1795170600.0,"outcome":"completed","error":null}"#,
    r#"{"trace_id":"019e6b7c-0000-7000-8000-000000000002","session_id":"s","model":"qwen3-32b",
        "messages_suffix":[{"role":"tool","tool_call_id":"c1","content":"rain"}],
        "response_message":{"role":"assistant","content":"It rains in Oslo."},
        "latency_ms":12345,"token_counts":{"prompt":845,"completion":7},"timestamp":1795170610.0,"outcome":"completed"}"#,
    // A failed one.
    r#"{"trace_id":"019e6b7c-0000-7000-8000-000000000003","session_id":"s","model":"qwen3-32b",
        "messages_suffix":[],"response_message":{},"latency_ms":0,"token_counts":{},"timestamp":1795170720.0,
        "outcome":"client_disconnected","error":{"type":"client_error","code":"client_disconnected","message":"the client left\u001b[31m"}}"#,
    // One of a listing whose outcome is known, and with little in it.
    r#"{"trace_id":"019e6b7c-0000-7000-8000-000000000004","model":"","timestamp":1795170727.0}"#,
];

#[test]
fn turns_in_a_wide_a_usual_and_a_narrow_terminal() {
    let row = |trace: &Object<'_>| {
        let when = trace.number("timestamp").map(|at| when::since(at, NOW));
        trace_row(trace, when, false)
    };
    let shown = [None, Some(120), Some(80), Some(50)].map(|width| {
        let shown = table(TRACES, TURNS, width, row);
        format!("{width:?}\n{shown}")
    });
    assert_snapshot!(shown.join("\n"));
}

#[test]
fn calls_of_all_sessions_name_theirs() {
    let trace = r#"{"trace_id":"019e6b7c-0000-7000-8000-000000000001","session_id":"org/task-7:0","run_id":"r",
        "model":"m","messages":[{"role":"user","content":"one"},{"role":"user","content":"two"}],
        "response_message":{"role":"assistant","content":"three"},"outcome":"completed","latency_ms":5,
        "token_counts":{"prompt":1,"completion":1},"timestamp":1795170727.0}"#;
    assert_snapshot!(table(TRACES, &[trace], None, |trace| {
        trace_row(trace, Some("now".to_owned()), true)
    }));
}

#[test]
fn a_gist_needs_no_more_than_the_beginning_of_a_text() {
    let long = "x".repeat(100_000);
    let text =
        format!(r#"{{"messages":[{{"content":"{long}"}}],"response_message":{{"content":"y"}}}}"#);
    let document = Document::read(text.into_bytes()).unwrap();
    let gist = gist(&Object::of(document.root()));
    assert_eq!(gist, format!("{} → y", "x".repeat(LONGEST)));
}

#[test]
fn a_listing_stops_at_its_limit_and_knows_that_there_was_more() {
    for (limit, taken, is_cut) in [(0, 3, false), (2, 2, true), (3, 3, false), (4, 3, false)] {
        let mut shown = Shown::new(false, limit);
        let document = Document::read(b"[{},{},{}]".to_vec()).unwrap();
        for value in document.root().elements() {
            if !shown.take(value, |_| Vec::new()).unwrap() {
                break;
            }
        }
        assert_eq!((shown.rows.len(), shown.is_cut), (taken, is_cut), "{limit}");
    }
}
