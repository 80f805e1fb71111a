//! Replies of a real vLLM server: what becomes of each, and that no split changes it.

use gateway_trace::{Call, End, Outcome, Reply, TraceRecord, summary};

use crate::replay::{captured, captured_call, check_every_split, replay, reply};

const CAPTURES: [&str; 14] = [
    "01-chat-logprobs-ids",
    "02-chat-stream-logprobs-ids-usage",
    "03-chat-stream-n2",
    "04-comp-logprobs1-ids",
    "05-comp-stream-logprobs1-ids",
    "06-err-400-badparam",
    "06-err-404-model-stream",
    "08-responses",
    "08-responses-stream",
    "09-messages",
    "09-messages-err-400",
    "09-messages-stream",
    "10-tools-named",
    "10-tools-required-stream",
];

fn record_of(name: &str) -> TraceRecord {
    let captured = captured(name);
    replay(&captured_call(name), &captured, &[&captured.body])
}

#[test]
fn what_becomes_of_each() {
    for name in CAPTURES {
        insta::assert_snapshot!(name, record_of(name).snapshot());
    }
}

#[test]
fn every_split_gives_the_same_record() {
    for name in CAPTURES {
        check_every_split(name, &captured_call(name), &captured(name));
    }
}

/// What the contract promises to be the same, streamed or not.
fn told(record: &TraceRecord) -> serde_json::Value {
    let message: serde_json::Value =
        serde_json::from_str(record.response_message.as_str()).expect("JSON");
    serde_json::json!({
        "response_message": message,
        "prompt_token_ids": record.prompt_token_ids,
        "completion_token_ids": record.completion_token_ids,
        "logprobs": record.logprobs,
        "finish_reason": record.finish_reason,
        "has_error": record.has_error,
    })
}

#[test]
fn the_same_reply_whole_and_streamed_tells_the_same() {
    for (whole, streamed) in [
        ("01-chat-logprobs-ids", "02-chat-stream-logprobs-ids-usage"),
        ("04-comp-logprobs1-ids", "05-comp-stream-logprobs1-ids"),
    ] {
        let (whole, streamed) = (record_of(whole), record_of(streamed));
        assert_eq!(told(&whole), told(&streamed));
        assert_eq!(whole.outcome, Outcome::Completed);
        assert!(streamed.raw_response.is_none() && streamed.assembled_response.is_some());
        assert!(whole.raw_response.is_some() && whole.assembled_response.is_none());
    }
}

#[test]
fn defect_14_tool_calls_are_merged_and_choices_kept_apart() {
    let tools = record_of("10-tools-required-stream");
    let message: serde_json::Value = serde_json::from_str(tools.response_message.as_str()).unwrap();
    assert_eq!(message["tool_calls"][0]["function"]["arguments"], "null");
    assert_eq!(message["tool_calls"][1]["function"]["name"], "get_weather");
    assert_eq!(tools.completion_token_ids.len(), 60);

    let choices = record_of("03-chat-stream-n2").choices.unwrap();
    let texts: Vec<_> = choices
        .iter()
        .map(|choice| choice.message.as_str())
        .collect();
    assert_eq!(
        texts,
        [
            "{\"role\":\"assistant\",\"content\":\"HAVE os\u{fffd}beinesult\"}",
            "{\"role\":\"assistant\",\"content\":\"ypeErrorvalue</tool_call>                \\u0015fix\"}",
        ]
    );
    assert!(choices.iter().all(|choice| choice.token_ids.len() == 6));
}

#[test]
fn a_record_reads_the_same_from_the_journal() {
    for name in CAPTURES {
        let captured = captured(name);
        let call = captured_call(name);
        let reply = reply(
            call.meta.endpoint,
            captured.head(),
            &[&captured.body],
            End::Eof,
        );
        let (mut intent, mut rest) = (Vec::new(), Vec::new());
        call.encode(&mut intent);
        reply.encode(&mut rest);
        let call_again = Call::decode(intent.into()).unwrap();
        let reply_again = Reply::decode(rest.into()).unwrap();
        assert_eq!((&call_again, &reply_again), (&call, &reply));
        assert_eq!(summary(&call_again, &reply_again), summary(&call, &reply));
    }
}
