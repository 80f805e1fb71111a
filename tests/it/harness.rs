//! The harness itself, without a gateway between.

use gateway_tests::{Client, End, Gate, Script, Upstream, call, vllm};

use crate::{say, say_streamed, spelt};

#[tokio::test]
async fn the_mock_answers_whole_and_streamed_alike() {
    let upstream = Upstream::vllm();
    let line = "POST /v1/chat/completions";
    let whole = call(upstream.address(), line, &[], say("hello there")).await;
    let whole = whole.expect(200).json();
    let message = &whole["choices"][0]["message"];
    assert_eq!(message["content"], vllm::answer_to("hello there"));

    let stream = call(upstream.address(), line, &[], say_streamed("hello there")).await;
    assert_eq!(stream.end, End::Whole);
    assert_eq!(spelt(&stream.text()), vllm::answer_to("hello there"));
    assert_eq!(upstream.received()[0].text(), say("hello there"));
}

#[tokio::test]
async fn cuts_are_told_from_ends() {
    let gate = Gate::new();
    let cases = [
        (Script::stream().chunk("a").end(), End::Whole),
        (Script::stream().chunk("a").close(), End::Cut),
        (Script::stream().chunk("a").wait(&gate).reset(), End::Cut),
        (
            Script::new().send("HTTP/1.1 200 OK\r\n\r\na").close(),
            End::Closed,
        ),
        (
            Script::new()
                .send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\na")
                .close(),
            End::Cut,
        ),
    ];
    for (script, end) in cases {
        let upstream = Upstream::always(script);
        let mut client = Client::connect(upstream.address()).await;
        client.request("GET /", &[], "").await;
        client.head().await.expect("a head");
        client.body_until("a").await.expect("the first byte");
        gate.open();
        let reply = client.rest().await;
        assert_eq!((reply.end, reply.text().as_str()), (end, "a"));
    }
}
