//! Replies that come compressed although the gateway asked for `identity`.

use std::io::Write;

use flate2::write::GzEncoder;
use gateway_tests::{Client, End, Gate, Gateway, Reply, Script, Setup, Upstream};
use serde_json::{Value, json};

use crate::{DONE, delta, say, say_streamed};

const DECODED: &str =
    "the reply came in a content coding that was not asked for: it is recorded decoded";
const AS_IT_CAME: &str =
    "the reply came in a content coding that could not be decoded: it is recorded as it came";
const CAPPED: &str = "the reply is longer than max_record_bytes: the rest was not recorded";

/// The pieces of a gzip stream, each of which can be decoded when it is there; the last is its end.
fn gzip<T: AsRef<[u8]>>(pieces: impl IntoIterator<Item = T>) -> Vec<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
    let mut out = Vec::new();
    for piece in pieces {
        encoder.write_all(piece.as_ref()).expect("memory");
        encoder.flush().expect("memory");
        out.push(std::mem::take(encoder.get_mut()));
    }
    out.push(encoder.finish().expect("memory"));
    out
}

fn whole(coding: &str, body: impl AsRef<[u8]>) -> Script {
    let coding = format!("content-encoding: {coding}");
    Script::whole("200 OK", &["content-type: application/json", &coding], body)
}

/// The head of an event stream in this coding, in chunks.
fn stream(coding: &str) -> Script {
    Script::new().send(format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: {coding}\r\n\
         transfer-encoding: chunked\r\n\r\n"
    ))
}

fn answer() -> Value {
    json!({"id": "x", "model": "tiny", "prompt_token_ids": [7, 8],
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "packed"},
                     "finish_reason": "stop", "token_ids": [1, 2]}]})
}

fn events() -> Vec<String> {
    vec![
        delta(0, &json!({"role": "assistant", "content": "pa"}), None),
        delta(0, &json!({"content": "cked"}), Some("stop")),
        DONE.to_owned(),
    ]
}

/// One call to a worker that answers so; gives the reply, checked to hold these bytes, and its
/// trace.
async fn call(setup: Setup, script: Script, request: String, bytes: &[u8]) -> (Reply, Value) {
    let upstream = Upstream::always(script);
    let gateway = setup.worker(&upstream).start();
    let reply = gateway.chat("s", request).await;
    assert!(reply.body == bytes, "{}", reply.text());
    let trace = gateway.only_trace("s").await;
    (reply, trace)
}

#[tokio::test]
async fn a_whole_reply_passes_as_it_is_and_is_recorded_decoded() {
    let answer = answer();
    let bytes = gzip([answer.to_string()]).concat();
    let script = whole("gzip", &bytes);
    let (reply, trace) = call(Setup::new(), script, say("hi"), &bytes).await;
    assert_eq!((reply.status, reply.end), (200, End::Whole));
    assert_eq!(reply.header("content-encoding"), Some("gzip"));
    assert_eq!(trace["outcome"], "completed");
    assert_eq!(trace["raw_response"], answer);
    assert_eq!(trace["response_message"]["content"], "packed");
    assert_eq!(trace["completion_token_ids"], json!([1, 2]));
    assert_eq!(trace["integrity"]["notes"], json!([DECODED]));
}

#[tokio::test]
async fn a_stream_passes_as_it_is_and_its_end_mark_is_its_receipt() {
    let never = Gate::new();
    let pieces = gzip(events());
    // The last piece, which only a decoder needs, never comes.
    let sent = &pieces[..pieces.len() - 1];
    let script = sent.iter().fold(stream("gzip"), Script::chunk).wait(&never);
    let upstream = Upstream::always(script);
    let gateway = Gateway::over(&upstream);
    let expected = sent.concat();
    for turn in 1..=10 {
        let mut client: Client = gateway.begin("s", say_streamed("hi")).await;
        assert_eq!(client.head().await, Some(200));
        let body = client.body_of(expected.len()).await;
        assert_eq!(body.as_deref(), Some(&expected[..]));
        let traces = gateway.get("/sessions/s/traces").await;
        assert_eq!(traces.as_array().map(Vec::len), Some(turn));
        let trace = &traces[turn - 1];
        assert_eq!(trace["response_message"]["content"], "packed");
        assert_eq!(trace["finish_reason"], "stop");
        assert_eq!(trace["integrity"]["ended"], true);
        assert_eq!(trace["integrity"]["notes"][0], DECODED);
    }
}

#[tokio::test]
async fn at_any_split_a_compressed_stream_reads_the_same() {
    let bytes = gzip(events()).concat();
    for size in [1, 3, 10, 1000] {
        let chunks = bytes.chunks(size);
        let script = chunks.fold(stream("gzip"), Script::chunk).end();
        let (reply, trace) = call(Setup::new(), script, say_streamed("hi"), &bytes).await;
        assert_eq!(reply.end, End::Whole, "{size}");
        assert_eq!(trace["outcome"], "completed", "{size}");
        assert_eq!(trace["response_message"]["content"], "packed", "{size}");
    }
}

#[tokio::test]
async fn a_compressed_stream_that_is_cut_keeps_what_came() {
    let pieces = gzip(events());
    let script = stream("gzip").chunk(&pieces[0]).close();
    let (reply, trace) = call(Setup::new(), script, say_streamed("hi"), &pieces[0]).await;
    assert_eq!(reply.end, End::Cut);
    assert_eq!(trace["outcome"], "truncated");
    assert_eq!(trace["response_message"]["content"], "pa");
}

#[tokio::test]
async fn what_is_in_no_known_coding_is_recorded_as_it_came() {
    let answer = answer().to_string();
    // The header says gzip, and the body is plain.
    let script = whole("gzip", &answer);
    let (_, trace) = call(Setup::new(), script, say("hi"), answer.as_bytes()).await;
    assert_eq!(trace["outcome"], "completed");
    assert_eq!(trace["response_message"]["content"], "packed");
    assert_eq!(trace["integrity"]["notes"], json!([AS_IT_CAME]));

    let plain = events().concat();
    let script = stream("gzip").chunk(&plain).end();
    let (_, trace) = call(Setup::new(), script, say_streamed("hi"), plain.as_bytes()).await;
    assert_eq!(trace["outcome"], "completed");
    assert_eq!(trace["response_message"]["content"], "packed");

    for (script, body) in [
        (whole("compress", "odd"), "odd"),
        (stream("gzip, br").chunk("odd").end(), "odd"),
    ] {
        let (_, trace) = call(Setup::new(), script, say_streamed("hi"), body.as_bytes()).await;
        assert_eq!(trace["outcome"], "upstream_error");
        assert_eq!(trace["error"]["code"], "unreadable_reply");
        assert_eq!(trace["raw_response"], json!({"_body": "odd"}));
        assert_eq!(trace["integrity"]["notes"][0], AS_IT_CAME);
    }
}

#[tokio::test]
async fn a_bomb_passes_and_its_record_is_cut_at_the_limit() {
    let small = || Setup::new().yaml("max_record_bytes: 4000");
    let long = format!("{{\"choices\":[],\"x\":\"{}\"}}", " ".repeat(1 << 20));
    let bytes = gzip([long]).concat();
    let (_, trace) = call(small(), whole("gzip", &bytes), say("hi"), &bytes).await;
    assert_eq!(trace["outcome"], "completed");
    assert_eq!(trace["integrity"]["notes"][0], DECODED);
    assert_eq!(trace["integrity"]["notes"][1], CAPPED);

    let mut events = events();
    events.insert(1, format!(": {}\n\n", " ".repeat(1 << 20)));
    let pieces = gzip(&events);
    let script = pieces.iter().fold(stream("gzip"), Script::chunk).end();
    let (reply, trace) = call(small(), script, say_streamed("hi"), &pieces.concat()).await;
    assert_eq!(reply.end, End::Whole);
    assert_eq!(trace["outcome"], "completed");
    assert_eq!(trace["integrity"]["ended"], false);
    assert_eq!(trace["response_message"]["content"], "pa");
    assert_eq!(trace["integrity"]["notes"][1], CAPPED);
}

#[tokio::test]
async fn a_compressed_error_is_read() {
    let bytes = gzip([r#"{"error":{"message":"no such model","type":"t","code":"c"}}"#]).concat();
    let lines = ["content-type: application/json", "content-encoding: gzip"];
    let script = Script::whole("404 Not Found", &lines, &bytes);
    let (reply, trace) = call(Setup::new(), script, say("hi"), &bytes).await;
    assert_eq!(reply.status, 404);
    assert_eq!(trace["outcome"], "upstream_error");
    assert_eq!(trace["error"]["message"], "no such model");
}
