//! Replies that no reader was made for: the client gets every byte, the record is honest, and the
//! listing of the session goes on.

use gateway_tests::{Gateway, Reply, Script, Setup, Upstream};
use serde_json::{Value, json};

use crate::{DONE, delta, say, say_streamed};

/// A gateway that passes replies of this upstream unedited, and one that reads them for edits.
fn both(upstream: &Upstream) -> [Gateway; 2] {
    let route = format!("routes:\n  tiny: {{upstream_url: '{}/v1'}}", upstream.url());
    [Setup::new().yaml(&route).start(), Gateway::over(upstream)]
}

/// Sends one call between two good ones, to an upstream that answers it so; gives the reply and its
/// trace, once every way to list the session has shown all three.
async fn amid_good_ones(gateway: &Gateway, request: &str) -> (Reply, Value) {
    gateway.chat("s", say("good")).await.expect(200);
    let reply = gateway.chat("s", request).await;
    gateway.chat("s", say("good")).await.expect(200);
    assert_eq!(gateway.traces("s").await.len(), 3);
    let feed = gateway.get("/traces").await;
    assert_eq!(feed["traces"].as_array().map(Vec::len), Some(3));
    let turns = gateway.get("/sessions/s/traces").await;
    assert!(turns.as_array().is_some_and(|turns| turns.len() >= 2));
    let trace = gateway.trace(reply.trace_id()).await;
    (reply, trace)
}

/// Answers the calls that say `good` well, and all others so.
fn hostile(script: Script) -> Upstream {
    Upstream::start(move |request| match request.text().contains("good") {
        true => gateway_tests::vllm::reply(request),
        false => script.clone(),
    })
}

/// A whole reply that comes back byte for byte, to a client that asked for all that is in it; gives
/// its trace, which says this.
async fn whole(body: &[u8], kind: &str, expected: Value) -> Value {
    let request = say("bad").replacen('{', r#"{"logprobs":true,"#, 1);
    let mut last = Value::Null;
    let kind = format!("content-type: {kind}");
    let upstream = hostile(Script::whole("200 OK", &[&kind], body));
    for gateway in both(&upstream) {
        let (reply, trace) = amid_good_ones(&gateway, &request).await;
        assert_eq!(reply.status, 200);
        assert!(reply.body == body, "{}", reply.text());
        for (field, value) in expected.as_object().expect("fields") {
            assert_eq!(&trace[field], value, "{field} of {trace}");
        }
        last = trace;
    }
    last
}

#[tokio::test]
async fn numbers_that_are_none() {
    let body = br#"{"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"x","score":NaN},"logprobs":{"content":[{"logprob":-Infinity},{"logprob":-0.5}]},"finish_reason":"stop"}],"x":Infinity,"big":123456789012345678901234567890}"#;
    let expected = json!({"outcome": "completed", "finish_reason": "stop", "logprobs": null});
    let trace = whole(body, "application/json", expected).await;
    assert_eq!(trace["response_message"]["content"], "x");
    assert_eq!(trace["response_message"]["score"], Value::Null);
    assert_eq!(trace["choices"][0]["logprobs"], json!([null, -0.5]));
    let kept = trace["raw_response"]["_body"].as_str().expect("the text");
    assert_eq!(kept.as_bytes(), body);
    let notes = trace["integrity"]["notes"].to_string();
    assert!(notes.contains("NaN"), "{notes}");
}

#[tokio::test]
async fn lone_surrogates() {
    let body = br#"{"choices":[{"index":0,"message":{"role":"assistant","content":"\ud800 x \udfff"},"finish_reason":"stop"}]}"#;
    let message = json!({"role": "assistant", "content": "\u{fffd} x \u{fffd}"});
    let expected = json!({"outcome": "completed", "response_message": message});
    whole(body, "application/json", expected).await;
}

#[tokio::test]
async fn no_objects() {
    let unreadable = |raw: Value| {
        json!({"outcome": "upstream_error", "status": 200, "response_message": {},
            "raw_response": {"_body": raw}})
    };
    whole(b"[1, 2.0]", "application/json", unreadable(json!([1, 2.0]))).await;
    whole(b"null", "application/json", unreadable(Value::Null)).await;
    whole(b"<p>hi</p>", "text/html", unreadable(json!("<p>hi</p>"))).await;
    whole(
        b"{\"a\": \xff}",
        "application/json",
        unreadable(json!("{\"a\": \u{fffd}}")),
    )
    .await;
    let deep = [&b"{\"a\":"[..], &b"[".repeat(200), &b"]".repeat(200), b"}"].concat();
    let text = String::from_utf8(deep.clone()).expect("ASCII");
    whole(&deep, "application/json", unreadable(json!(text))).await;
}

/// A stream that comes back byte for byte; gives its trace over a worker.
async fn streamed(events: &[String]) -> Value {
    let upstream = hostile(Script::events(events));
    let mut last = Value::Null;
    for gateway in both(&upstream) {
        let (reply, trace) = amid_good_ones(&gateway, &say_streamed("bad")).await;
        assert!(
            reply.body == events.concat().as_bytes(),
            "{} bytes",
            reply.body.len()
        );
        last = trace;
    }
    last
}

fn text(text: &str, finish: Option<&str>) -> String {
    delta(0, &json!({"content": text}), finish)
}

#[tokio::test]
async fn a_line_of_16_mib() {
    let line = format!("data: {{\"x\":\"{}\"}}\n\n", "y".repeat((16 << 20) + 1));
    let events = [
        text("a", None),
        line,
        text("b", Some("stop")),
        DONE.to_owned(),
    ];
    let trace = streamed(&events).await;
    assert_eq!(trace["outcome"], "completed");
    assert_eq!(trace["response_message"]["content"], "ab");
    let note = "an event of the stream was too long to be read";
    assert_eq!(trace["integrity"]["notes"][0], note);
}

#[tokio::test]
async fn data_after_the_end_mark() {
    let events = [
        text("a", Some("stop")),
        DONE.into(),
        text("b", None),
        "data: x\n\n".into(),
    ];
    let trace = streamed(&events).await;
    assert_eq!(trace["outcome"], "completed");
    assert_eq!(trace["response_message"]["content"], "a");
}

#[tokio::test]
async fn events_of_wrong_types() {
    let mut events: Vec<String> = [
        "null",
        "[]",
        "7",
        "{",
        "\u{fffd}",
        r#"{"choices":null}"#,
        r#"{"choices":[null,7]}"#,
        r#"{"choices":[{"index":"0","delta":[]}]}"#,
        r#"{"usage":"none","choices":{}}"#,
        r#"{"choices":[{"index":0,"delta":{"content":7}}]}"#,
    ]
    .iter()
    .map(|data| format!("data: {data}\n\n"))
    .collect();
    events.insert(0, text("a", None));
    events.extend([text("b", Some("stop")), DONE.to_owned()]);
    let trace = streamed(&events).await;
    assert_eq!(trace["outcome"], "completed");
    let content = trace["response_message"]["content"].as_str().expect("text");
    assert!(
        content.starts_with('a') && content.ends_with('b'),
        "{content}"
    );
    assert_ne!(trace["integrity"]["notes"], json!([]));
}
