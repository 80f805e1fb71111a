//! Streams: event by event, byte for byte, and no end without its receipt.

use std::time::Instant;

use gateway_tests::{End, Gate, Gateway, Script, Setup, Upstream, vllm, within};
use serde_json::{Value, json};

use crate::{DONE, delta, events, say, say_streamed, spelt};

/// A route passes replies unedited, so that every byte can be compared.
fn route_to(upstream: &Upstream) -> Gateway {
    let url = upstream.url();
    let route = format!("routes:\n  tiny:\n    upstream_url: {url}/v1");
    Setup::new().yaml(&route).start()
}

#[tokio::test]
async fn a_streamed_call_leaves_the_record_of_the_whole_one() {
    let upstream = Upstream::vllm();
    let gateway = Gateway::over(&upstream);
    let whole = gateway.chat("whole", say("tell me more")).await.expect(200);
    let stream = gateway
        .chat("stream", say_streamed("tell me more"))
        .await
        .expect(200);
    assert_eq!(stream.end, End::Whole);
    let kind = stream.header("content-type");
    assert_eq!(kind, Some("text/event-stream; charset=utf-8"));
    assert_eq!(spelt(&stream.text()), vllm::answer_to("tell me more"));
    for event in events(&stream.text()) {
        assert!(event.get("prompt_token_ids").is_none(), "{event}");
        assert!(event.get("usage").is_none(), "not asked for: {event}");
        for choice in event["choices"].as_array().expect("choices") {
            assert!(choice.get("token_ids").is_none(), "{event}");
            assert!(choice.get("logprobs").is_none(), "{event}");
        }
    }

    let whole = gateway.trace(whole.trace_id()).await;
    let streamed = gateway.trace(stream.trace_id()).await;
    for field in [
        "response_message",
        "prompt_token_ids",
        "completion_token_ids",
        "logprobs",
        "finish_reason",
        "token_counts",
        "outcome",
        "model",
        "choices",
    ] {
        assert_eq!(whole[field], streamed[field], "{field}");
    }
    assert_eq!(streamed["stream"], true);
    assert_eq!(streamed["raw_response"], Value::Null);
    assert_eq!(whole["assembled_response"], Value::Null);
    let assembled = &streamed["assembled_response"]["choices"][0]["message"];
    assert_eq!(assembled["content"], vllm::answer_to("tell me more"));
    assert_eq!(streamed["integrity"]["ended"], true);
    assert_eq!(
        upstream.received()[1].json()["stream_options"]["include_usage"],
        true
    );
}

#[tokio::test]
async fn what_the_client_asked_for_stays_in_the_stream() {
    let upstream = Upstream::vllm();
    let gateway = Gateway::over(&upstream);
    let body = json!({"model": "tiny", "stream": true, "logprobs": true,
        "return_token_ids": true, "stream_options": {"include_usage": true}, "stop": "x",
        "messages": [{"role": "user", "content": "a b"}]});
    let through = gateway.chat("s", body.to_string()).await.expect(200);
    let line = "POST /v1/chat/completions";
    let direct = gateway_tests::call(upstream.address(), line, &[], body.to_string()).await;
    assert_eq!(through.text(), direct.text());
    assert_eq!(upstream.received()[0].text(), body.to_string());
}

#[tokio::test]
async fn each_event_goes_out_as_it_comes() {
    let gates: Vec<Gate> = (0..5).map(|_| Gate::new()).collect();
    let mut script = Script::stream();
    for (at, gate) in gates.iter().enumerate() {
        let event = delta(0, &json!({"content": format!("<{at}>")}), None);
        script = script.chunk(event).wait(gate);
    }
    script = script
        .chunk(delta(0, &json!({}), Some("stop")))
        .chunk(DONE)
        .end();
    let upstream = Upstream::always(script);
    let gateway = Gateway::over(&upstream);
    let mut client = gateway.begin("s", say_streamed("hi")).await;
    assert_eq!(client.head().await, Some(200));
    for (at, gate) in gates.iter().enumerate() {
        // The upstream goes on only when the client has this event.
        let event = client.body_until(&format!("<{at}>")).await;
        assert!(event.is_some(), "event {at}");
        gate.open();
    }
    assert_eq!(client.rest().await.end, End::Whole);
    let trace = gateway.only_trace("s").await;
    assert_eq!(trace["response_message"]["content"], "<0><1><2><3><4>");
}

#[tokio::test]
async fn a_stream_that_needs_no_edit_goes_out_byte_by_byte() {
    let (half, error) = (Gate::new(), Gate::new());
    let script = Script::stream()
        .chunk("data: {\"choi")
        .wait(&half)
        .chunk("ces\":[]}\n\ndata: {\"error\":{\"message\":\"boom")
        .wait(&error)
        .chunk("\"}}\n\n")
        .end();
    let upstream = Upstream::always(script);
    let gateway = route_to(&upstream);
    let mut client = gateway.begin("s", say_streamed("hi")).await;
    assert_eq!(client.head().await, Some(200));
    // The upstream goes on only when the client has this much.
    assert!(client.body_until("data: {\"choi").await.is_some());
    half.open();
    assert!(client.body_until("boom").await.is_some());
    error.open();
    let reply = client.rest().await;
    assert_eq!(reply.end, End::Whole);
    assert!(reply.text().ends_with("boom\"}}\n\n"), "{}", reply.text());
    let trace = gateway.only_trace("s").await;
    assert_eq!(trace["outcome"], "upstream_error");
    assert_eq!(trace["error"]["message"], "boom");
}

/// A stream with everything that a line-based reader trips over.
fn hostile() -> String {
    let a = r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":"a\u2028"#;
    let b = "\u{2028}\u{85}\u{2029}é😀\"}}]}";
    let c = r#"{"choices":[{"index":0,"delta":{"content":"z"},"finish_reason":"stop"}]}"#;
    let multi = "data: {\"choices\":[{\"index\":0,\ndata: \"delta\":{\"content\":\"-m-\"}}]}";
    format!(
        "\u{feff}: hello\n\nevent: x\r\nid: 7\r\nretry: 10\r\ndata:{a}{b}\r\n\r\n\
         : keep-alive\r\rdata: {c0}\r\r{multi}\n\n\
         data:  {c}\n\n\n\ndata:[DONE]\r\n\r\n",
        c0 = c.replace("\"z\"", "\"y\"").replace("\"stop\"", "null"),
    )
}

#[tokio::test]
async fn sse_bytes_pass_at_any_split_and_are_read_right() {
    let stream = hostile();
    for size in [1, 2, 3, 7, 64, 10_000] {
        let pieces: Vec<Vec<u8>> = stream.as_bytes().chunks(size).map(Vec::from).collect();
        let upstream = Upstream::always(Script::events(pieces));
        // Once unedited by a route, once read for edits by the worker path.
        for gateway in [route_to(&upstream), Gateway::over(&upstream)] {
            let reply = gateway.chat("s", say_streamed("hi")).await.expect(200);
            assert_eq!(reply.end, End::Whole, "pieces of {size}");
            assert_eq!(reply.text(), stream, "pieces of {size}");
            let trace = gateway.only_trace("s").await;
            let content = &trace["response_message"]["content"];
            assert_eq!(
                content, "a\u{2028}\u{2028}\u{85}\u{2029}é😀y-m-z",
                "pieces of {size}"
            );
            assert_eq!(trace["outcome"], "completed");
        }
    }
}

#[tokio::test]
async fn defect_03_unicode_separators_and_data_without_a_space_are_cleaned_and_recorded() {
    let event = r#"{"choices":[{"index":0,"delta":{"content":"#;
    let rest =
        r#"},"logprobs":null,"finish_reason":"stop","token_ids":[5]}],"prompt_token_ids":[1]}"#;
    let stream = format!("data:{event}\"one\u{2028}two\u{85}three\"{rest}\n\n{DONE}");
    let upstream = Upstream::always(Script::events([stream]));
    let gateway = Gateway::over(&upstream);
    let reply = gateway.chat("s", say_streamed("hi")).await.expect(200);
    let text = reply.text();
    let data = text.strip_prefix("data:").expect("no space was added");
    let (data, done) = data.split_once("\n\n").expect("an event");
    assert_eq!(done, DONE);
    let data: Value = serde_json::from_str(data).expect("unbroken JSON");
    let choice = &data["choices"][0];
    assert_eq!(choice["delta"]["content"], "one\u{2028}two\u{85}three");
    assert!(choice.get("token_ids").is_none() && data.get("prompt_token_ids").is_none());
    let trace = gateway.only_trace("s").await;
    assert_eq!(trace["completion_token_ids"], json!([5]));
    let content = &trace["response_message"]["content"];
    assert_eq!(content, "one\u{2028}two\u{85}three");
}

#[tokio::test]
async fn defect_14_tool_calls_merge_reasoning_stays_and_choices_stand_apart() {
    let call = |index: u64, id: Option<&str>, name: Option<&str>, arguments: &str| {
        let mut call = json!({"index": index, "function": {"arguments": arguments}});
        if let (Some(id), Some(name)) = (id, name) {
            call["id"] = id.into();
            call["type"] = "function".into();
            call["function"]["name"] = name.into();
        }
        json!({"tool_calls": [call]})
    };
    let script = Script::events([
        delta(0, &json!({"role": "assistant", "content": ""}), None),
        delta(1, &json!({"role": "assistant", "content": ""}), None),
        delta(0, &json!({"reasoning_content": "let me "}), None),
        delta(1, &json!({"content": "other"}), None),
        delta(0, &json!({"reasoning_content": "think"}), None),
        delta(0, &call(0, Some("c1"), Some("f"), "{\"a\""), None),
        delta(0, &call(1, Some("c2"), Some("g"), "{"), None),
        delta(1, &json!({"content": " choice"}), None),
        delta(0, &call(0, None, None, ":1}"), None),
        delta(0, &call(1, None, None, "}"), None),
        delta(1, &json!({}), Some("stop")),
        delta(0, &json!({}), Some("tool_calls")),
        DONE.to_owned(),
    ]);
    let upstream = Upstream::always(script);
    let gateway = Gateway::over(&upstream);
    gateway.chat("s", say_streamed("hi")).await.expect(200);
    let trace = gateway.only_trace("s").await;
    let message = &trace["response_message"];
    assert_eq!(message["reasoning_content"], "let me think");
    let expected = json!([
        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}},
        {"id": "c2", "type": "function", "function": {"name": "g", "arguments": "{}"}},
    ]);
    for (at, expected) in expected.as_array().expect("a list").iter().enumerate() {
        for key in ["id", "type", "function"] {
            assert_eq!(message["tool_calls"][at][key], expected[key], "{at} {key}");
        }
    }
    assert_eq!(trace["finish_reason"], "tool_calls");
    assert_eq!(trace["choices"][1]["message"]["content"], "other choice");
    assert_eq!(trace["choices"][1]["finish_reason"], "stop");
}

#[tokio::test]
async fn a_stream_delimited_by_its_close_is_complete_with_its_end_mark() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
    let text = delta(0, &json!({"content": "all"}), Some("stop"));
    let script = Script::new().send(head).send(text).send(DONE).close();
    let upstream = Upstream::always(script);
    let gateway = Gateway::over(&upstream);
    let reply = gateway.chat("s", say_streamed("hi")).await;
    assert_eq!((reply.status, reply.end), (200, End::Whole));
    assert!(reply.text().ends_with(DONE));
    assert_eq!(gateway.only_trace("s").await["outcome"], "completed");
}

#[tokio::test]
async fn a_close_delimited_stream_that_is_cut_is_aborted_recorded_or_not() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
    let script = |end: &str| {
        let text = delta(0, &json!({"content": "part"}), None);
        Script::new().send(head).send(text).send(end).close()
    };
    for (end, expected) in [("", End::Cut), (DONE, End::Whole)] {
        let upstream = Upstream::always(script(end));
        for gateway in [route_to(&upstream), Gateway::over(&upstream)] {
            let line = "POST /v1/chat/completions";
            for headers in [&[][..], &["x-rllm-session-id: s"][..]] {
                let reply = gateway.call(line, headers, say_streamed("hi")).await;
                assert_eq!(reply.end, expected, "{headers:?} {end}");
                let recorded = reply.header("x-rllm-trace-id").is_some();
                assert_eq!(recorded, !headers.is_empty());
            }
        }
    }
}

#[tokio::test]
async fn defect_19_latency_counts_from_the_request_and_a_cut_stream_is_no_complete_one() {
    let (headers_wanted, asked) = (Gate::new(), Gate::new());
    let waiting = Script::new().open(&asked).wait(&headers_wanted);
    let stream = Script::events([
        delta(0, &json!({"content": "x"}), Some("stop")),
        DONE.into(),
    ]);
    let slow = stream.after(waiting);
    let upstream = Upstream::start(move |request| match request.text().contains("slow") {
        true => slow.clone(),
        false => vllm::reply(request),
    });
    let gateway = Gateway::over(&upstream);
    let mut client = gateway.begin("s", say_streamed("slow")).await;
    within("the call at the upstream", asked.opened()).await;
    // The upstream has the request; its headers take as long as these calls.
    let start = Instant::now();
    for turn in 0..20 {
        gateway
            .chat("other", say(&turn.to_string()))
            .await
            .expect(200);
    }
    let waited = start.elapsed().as_secs_f64() * 1000.0;
    headers_wanted.open();
    client.reply().await.expect(200);
    let trace = gateway.only_trace("s").await;
    for field in ["latency_ms", "ttft_ms"] {
        let measured = trace[field].as_f64().expect("a number");
        assert!(measured >= waited, "{field}: {measured} of {waited}");
    }
}

#[tokio::test]
async fn when_done_has_been_read_the_trace_is_there() {
    // The upstream never ends the body: SDKs stop reading at the end mark.
    let never = Gate::new();
    let text = delta(0, &json!({"content": "x"}), Some("stop"));
    let script = Script::stream().chunk(text).chunk(DONE).wait(&never);
    let upstream = Upstream::always(script);
    let gateway = Gateway::over(&upstream);
    for turn in 1..=20 {
        let _client = gateway.begin_until("s", say_streamed("hi"), "[DONE]").await;
        let traces = gateway.get("/sessions/s/traces").await;
        assert_eq!(traces.as_array().map(Vec::len), Some(turn));
    }
}
