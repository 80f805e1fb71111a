//! How the pieces of a stream make one reply.

use gateway_trace::{End, Endpoint, Outcome, ReplyHead, record};
use serde_json::json;

use crate::replay::{call, chat_stream, chat_whole, reply, stream, value};

/// The message of choice 0 after these deltas.
#[track_caller]
fn check_message(deltas: &[&str], expected: &serde_json::Value) {
    let mut events: Vec<String> = deltas
        .iter()
        .map(|delta| {
            format!("{{\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":null}}]}}")
        })
        .collect();
    events.push("{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}".to_owned());
    events.push("[DONE]".to_owned());
    let events: Vec<_> = events.iter().map(String::as_str).collect();
    let record = chat_stream(&events);
    assert_eq!(&value(&record.response_message), expected, "{deltas:?}");
    assert_eq!(record.outcome, Outcome::Completed);
}

#[test]
fn defect_03_no_space_and_unicode_separators_are_recorded() {
    let body = "data:{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\u{2028}b\u{85}\"},\"finish_reason\":\"stop\"}]}\n\ndata:[DONE]\n\n";
    let head = ReplyHead {
        status: 200,
        streamed: true,
        request_id: None,
    };
    let call = call(Endpoint::ChatCompletions, "{}");
    let record = record(
        &call,
        &reply(
            Endpoint::ChatCompletions,
            head,
            &[body.as_bytes()],
            End::Eof,
        ),
    );
    assert_eq!(record.outcome, Outcome::Completed);
    assert_eq!(
        value(&record.response_message)["content"],
        "a\u{2028}b\u{85}"
    );
}

#[test]
fn log_probabilities_never_stand_at_the_place_of_another_token() {
    let record = chat_stream(&[
        r#"{"choices":[{"index":0,"delta":{"content":"a"},"token_ids":[1],"logprobs":{"content":[{"logprob":-1}]}}]}"#,
        r#"{"choices":[{"index":0,"delta":{"content":"b"},"token_ids":[2],"logprobs":null}]}"#,
        r#"{"choices":[{"index":0,"delta":{"content":"c"},"token_ids":[3],"logprobs":{"content":[{"logprob":-3}]},"finish_reason":"stop"}]}"#,
        "[DONE]",
    ]);
    assert_eq!(record.completion_token_ids, [1, 2, 3]);
    assert_eq!(record.logprobs, None);
    assert_eq!(record.integrity.logprobs_match_ids, Some(false));
    assert_eq!(record.choices.map(|choices| choices.len()), Some(1));
}

#[test]
fn an_empty_error_beside_content_is_none() {
    for error in ["\"\"", "{}", "null"] {
        let first =
            format!(r#"{{"error":{error},"choices":[{{"index":0,"delta":{{"content":"a"}}}}]}}"#);
        let last = r#"{"choices":[{"index":0,"delta":{"content":"b"},"finish_reason":"stop"}]}"#;
        let record = chat_stream(&[&first, last, "[DONE]"]);
        assert_eq!(record.outcome, Outcome::Completed, "{error}");
        assert_eq!(value(&record.response_message)["content"], "ab");
    }
}

#[test]
fn strings_of_every_name_are_joined() {
    check_message(
        &[
            r#"{"role":"assistant","content":""}"#,
            r#"{"content":"a","reasoning":"r"}"#,
            r#"{"role":"assistant","content":"b","reasoning_content":"s"}"#,
            r#"{"content":null,"refusal":"x","reasoning":"r","reasoning_content":"s"}"#,
            r#"{"refusal":"y","later":"l1","annotation":null}"#,
            r#"{"later":"l2","con\u0074ent":"c"}"#,
        ],
        &json!({
            "role": "assistant", "content": "abc", "reasoning": "rr", "reasoning_content": "ss",
            "refusal": "xy", "later": "l1l2",
        }),
    );
}

#[test]
fn a_surrogate_pair_may_come_in_two_pieces() {
    check_message(
        &[r#"{"content":"\ud83d"}"#, r#"{"content":"\ude00"}"#],
        &json!({"role": "assistant", "content": "😀"}),
    );
}

#[test]
fn what_a_stream_leaves_out_is_as_in_a_whole_message() {
    check_message(&["{}"], &json!({"role": "assistant", "content": null}));
    check_message(
        &[r#"{"role":null}"#],
        &json!({"role": "assistant", "content": null}),
    );
    check_message(
        &[r#"{"role":"user","content":"x"}"#],
        &json!({"role": "user", "content": "x"}),
    );
}

#[test]
fn other_members_keep_their_last_value_and_arrays_grow() {
    check_message(
        &[
            r#"{"seen":1,"parts":[1],"extra":{"a":"b"}}"#,
            r#"{"seen":2.50,"parts":[2,3],"extra":{"a":"c"}}"#,
            r#"{"parts":[]}"#,
        ],
        &json!({"role": "assistant", "content": null, "seen": 2.5, "parts": [1, 2, 3], "extra": {"a": "c"}}),
    );
    check_message(
        &[
            r#"{"later":[{"type":"text","text":"a"}]}"#,
            r#"{"later":"b"}"#,
        ],
        &json!({"role": "assistant", "content": null, "later": [{"type": "text", "text": "a"}, "b"]}),
    );
}

#[test]
fn content_in_parts_grows_part_by_part() {
    let think = |text| json!({"type": "thinking", "thinking": [{"type": "text", "text": text}]});
    let text = |text| json!({"type": "text", "text": text});
    for (deltas, content) in [
        // Thinking in pieces, then text as strings, then more parts.
        (
            &[
                r#"{"role":"assistant","content":""}"#,
                r#"{"content":[{"type":"thinking","thinking":[{"type":"text","text":"a\ud83d"}]}]}"#,
                r#"{"content":[{"type":"thinking","thinking":[{"type":"text","text":"\ude00"}]}]}"#,
                r#"{"content":"b"}"#,
                r#"{"content":""}"#,
                r#"{"content":"c"}"#,
                r#"{"content":[{"type":"text","text":"d"},{"type":"thinking","thinking":"e"}]}"#,
                r#"{"content":[{"type":"thinking","thinking":"f"}]}"#,
            ][..],
            json!([think("a😀"), text("bcd"), {"type": "thinking", "thinking": "ef"}]),
        ),
        // Strings first; parts that are whole, or no parts at all.
        (
            &[
                r#"{"content":"a"}"#,
                r#"{"content":[]}"#,
                r#"{"content":[{"type":"image_url","image_url":"x"},{"type":"image_url","image_url":"y"}]}"#,
                r#"{"content":[5,null,{"type":null,"text":"p"},{"text":"q"}]}"#,
                r#"{"content":7}"#,
                r#"{"content":"b"}"#,
            ],
            json!([
                text("a"),
                {"type": "image_url", "image_url": "x"}, {"type": "image_url", "image_url": "y"},
                5, null, {"type": null, "text": "p"}, {"text": "q"},
                text("b"),
            ]),
        ),
        (&[r#"{"content":[]}"#], json!([])),
    ] {
        check_message(deltas, &json!({"role": "assistant", "content": content}));
    }
}

#[test]
fn reasoning_details_grow_as_long_as_type_and_index_stay() {
    check_message(
        &[
            r#"{"reasoning_details":[{"type":"reasoning.text","text":"a","signature":null,"index":0}]}"#,
            r#"{"reasoning_details":[{"type":"reasoning.text","text":"b","format":"f","index":0},{"type":"reasoning.text","text":"c","index":1}]}"#,
            r#"{"reasoning_details":[{"type":"reasoning.text","signature":"s","index":1}]}"#,
            r#"{"reasoning_details":[{"type":"reasoning.encrypted","data":"x","index":1}]}"#,
            r#"{"reasoning_details":[{"type":"reasoning.encrypted","data":"y","index":1}]}"#,
            r#"{"reasoning_details":[{"type":"reasoning.summary","summary":"d"}]}"#,
            r#"{"reasoning_details":[{"type":"reasoning.summary","summary":"e","index":null}]}"#,
        ],
        &json!({"role": "assistant", "content": null, "reasoning_details": [
            {"type": "reasoning.text", "text": "ab", "signature": null, "format": "f", "index": 0},
            {"type": "reasoning.text", "text": "c", "signature": "s", "index": 1},
            {"type": "reasoning.encrypted", "data": "x", "index": 1},
            {"type": "reasoning.encrypted", "data": "y", "index": 1},
            {"type": "reasoning.summary", "summary": "de", "index": null},
        ]}),
    );
}

#[test]
fn noise_is_left_out_and_what_says_nothing_replaces_nothing() {
    let record = chat_stream(&[
        r#"{"id":"","created":0,"model":"","object":"","choices":[],"prompt_filter_results":[1]}"#,
        r#"{"id":"x","created":7,"model":"m","object":"chat.completion.chunk","obfuscation":"q","choices":[{"index":0,"delta":{"content":"a"},"content_filter_results":{"hate":1,"sexual":1}}]}"#,
        r#"{"id":"x","created":7,"model":"m","object":"chat.completion.chunk","obfuscation":"","choices":[{"index":0,"delta":{},"finish_reason":"stop","content_filter_results":{"hate":2}}]}"#,
        r#"{"id":"","created":0,"model":"","object":"","choices":[{"index":0,"content_filter_results":{}}]}"#,
        "[DONE]",
    ]);
    assert_eq!(
        record.assembled_response.unwrap().as_str(),
        r#"{"id":"x","created":7,"model":"m","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"a"},"content_filter_results":{"hate":2,"sexual":1},"finish_reason":"stop"}],"prompt_filter_results":[1]}"#
    );
}

#[test]
fn tokens_are_counted_where_upstreams_count_them() {
    for (usage, cached, reasoning) in [
        ("{}", None, None),
        (
            r#"{"prompt_tokens_details":null,"completion_tokens_details":[]}"#,
            None,
            None,
        ),
        (
            r#"{"prompt_tokens_details":{"cached_tokens":3},"completion_tokens_details":{"reasoning_tokens":4}}"#,
            Some(3),
            Some(4),
        ),
        (
            r#"{"prompt_cache_hit_tokens":5,"reasoning_tokens":6}"#,
            Some(5),
            Some(6),
        ),
        (
            r#"{"cached_tokens":7,"prompt_tokens_details":{"cached_tokens":null}}"#,
            Some(7),
            None,
        ),
        (
            r#"{"prompt_tokens_details":{"cached_tokens":1},"prompt_cache_hit_tokens":2}"#,
            Some(1),
            None,
        ),
    ] {
        let body = format!(r#"{{"choices":[{{"message":{{}}}}],"usage":{usage}}}"#);
        let counts = chat_whole(&body).token_counts;
        assert_eq!(
            (counts.cached, counts.reasoning),
            (cached, reasoning),
            "{usage}"
        );
    }
}

#[test]
fn a_refusal_has_logprobs_of_its_own() {
    let record = chat_whole(
        r#"{"choices":[{"message":{"refusal":"No"},"token_ids":[1,2],"logprobs":{"content":[{"logprob":-1}],"refusal":[{"logprob":-2}]}}]}"#,
    );
    assert_eq!(record.logprobs.as_deref(), Some(&[-1.0, -2.0][..]));
    assert_eq!(record.integrity.logprobs_match_ids, Some(true));
}

#[test]
fn function_calls_and_audio_have_once_what_names_them() {
    check_message(
        &[
            r#"{"function_call":{"name":"f","arguments":""}}"#,
            r#"{"function_call":{"name":"f","arguments":"{\"a\""}}"#,
            r#"{"function_call":{"arguments":":1}"},"audio":{"id":"au","data":"AA","transcript":"he"}}"#,
            r#"{"audio":{"id":"au","data":"BB","transcript":"llo","expires_at":17}}"#,
        ],
        &json!({
            "role": "assistant", "content": null,
            "function_call": {"name": "f", "arguments": "{\"a\":1}"},
            "audio": {"id": "au", "data": "AABB", "transcript": "hello", "expires_at": 17},
        }),
    );
}

#[test]
fn defect_14_tool_calls_are_merged_by_index() {
    let expected = json!({"role": "assistant", "content": null, "tool_calls": [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{\"x\":1}"}},
        {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}, "signature": "s1s2"},
    ]});
    check_message(
        &[
            r#"{"tool_calls":[{"index":1,"id":"b","type":"function","function":{"name":"g","arguments":""}}]}"#,
            r#"{"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"f"}},{"index":1,"function":{"arguments":"{"}}]}"#,
            r#"{"tool_calls":[{"index":0,"id":"","type":null,"function":{"name":"","arguments":"{\"x\""}}]}"#,
            r#"{"tool_calls":[{"index":0,"function":{"name":null,"arguments":":1}"}},{"index":1,"signature":"s1"}]}"#,
            r#"{"tool_calls":[{"index":1,"id":"b","function":{"name":"g","arguments":"}"},"signature":"s2"}]}"#,
        ],
        &expected,
    );
}

#[test]
fn tool_calls_without_an_index_are_told_apart() {
    let call = |id: &str, arguments: &str| json!({"id": id, "type": "function", "function": {"name": "f", "arguments": arguments}});
    let both = json!({"role": "assistant", "content": null, "tool_calls": [call("a", "1"), call("b", "2")]});
    // By position.
    check_message(
        &[
            r#"{"tool_calls":[{"id":"a","type":"function","function":{"name":"f"}},{"id":"b","type":"function","function":{"name":"f"}}]}"#,
            r#"{"tool_calls":[{"function":{"arguments":"1"}},{"function":{"arguments":"2"}}]}"#,
        ],
        &both,
    );
    // One after the other.
    check_message(
        &[
            r#"{"tool_calls":[{"id":"a","type":"function","function":{"name":"f"}}]}"#,
            r#"{"tool_calls":[{"function":{"arguments":"1"}}]}"#,
            r#"{"tool_calls":[{"id":"b","function":{"name":"f"}}]}"#,
            r#"{"tool_calls":[{"function":{"arguments":"2"}}]}"#,
        ],
        &json!({"role": "assistant", "content": null, "tool_calls": [call("a", "1"), {"type": "function", "id": "b", "function": {"name": "f", "arguments": "2"}}]}),
    );
}

/// Gemini, Ollama and some versions of vLLM and SGLang give parallel calls one index, or none.
#[test]
fn tool_calls_that_share_an_index_are_told_apart_by_their_ids() {
    let call = |id: &str, arguments: &str| json!({"id": id, "type": "function", "function": {"name": "f", "arguments": arguments}});
    let message = |calls: &[serde_json::Value]| json!({"role": "assistant", "content": null, "tool_calls": calls});
    let both = message(&[call("a", "12"), call("b", "34")]);
    // The id comes once, then it is absent, null or empty.
    check_message(
        &[
            r#"{"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":""}}]}"#,
            r#"{"tool_calls":[{"index":0,"function":{"arguments":"1"}}]}"#,
            r#"{"tool_calls":[{"index":0,"id":"","type":"function","function":{"arguments":"2"}}]}"#,
            r#"{"tool_calls":[{"index":0,"id":"b","type":"function","function":{"name":"f","arguments":"3"}}]}"#,
            r#"{"tool_calls":[{"index":0,"id":null,"function":{"name":null,"arguments":"4"}}]}"#,
        ],
        &both,
    );
    // It comes with each piece, and pieces of an earlier call may come late.
    check_message(
        &[
            r#"{"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":"1"}},{"index":0,"id":"b","type":"function","function":{"name":"f","arguments":"3"}}]}"#,
            r#"{"tool_calls":[{"index":0,"id":"a","function":{"arguments":"2"}}]}"#,
            r#"{"tool_calls":[{"index":0,"id":"b","function":{"name":"f","arguments":"4"}}]}"#,
        ],
        &both,
    );
    // They stand before those of the next index, wherever that began.
    check_message(
        &[
            r#"{"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":"1"}}]}"#,
            r#"{"tool_calls":[{"index":1,"id":"c","type":"function","function":{"name":"f","arguments":"2"}}]}"#,
            r#"{"tool_calls":[{"index":0,"id":"b","type":"custom","custom":{"name":"g","input":"3"}}]}"#,
            r#"{"tool_calls":[{"index":1,"function":{"arguments":"4"}}]}"#,
        ],
        &message(&[
            call("a", "1"),
            json!({"id": "b", "type": "custom", "custom": {"name": "g", "input": "3"}}),
            call("c", "24"),
        ]),
    );
    // No index at all: they stand in the order in which they came.
    check_message(
        &[
            r#"{"tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"1"}}]}"#,
            r#"{"tool_calls":[{"id":"b","type":"function","function":{"name":"f","arguments":"2"}},{"id":"c","type":"function","function":{"name":"f","arguments":"3"}}]}"#,
            r#"{"tool_calls":[{"id":"d","type":"function","function":{"name":"f","arguments":"4"}}]}"#,
            r#"{"tool_calls":[{"id":"b","function":{"arguments":"5"}}]}"#,
        ],
        &message(&[
            call("a", "1"),
            call("b", "25"),
            call("c", "3"),
            call("d", "4"),
        ]),
    );
}

#[test]
fn a_tool_call_of_a_whole_reply_has_no_index_either() {
    let call = |index: &str| {
        format!(
            r#"{{"content":null,"tool_calls":[{{{index}"id":"a","type":"function","function":{{"index":7,"name":"f","arguments":"1"}}}},5]}}"#
        )
    };
    for (index, others) in [
        (r#""index":0,"#, ""),
        (r#""index":null,"\u0069ndex":1.0,"#, r#","refusal":null"#),
    ] {
        let message = call(index);
        let message = format!("{}{others}}}", &message[..message.len() - 1]);
        let body = format!(r#"{{"choices":[{{"index":0,"message":{message}}}]}}"#);
        let record = chat_whole(&body);
        assert_eq!(record.response_message.as_str(), call(""));
        assert_eq!(record.raw_response.unwrap().as_str(), body);
    }
}

/// Some servers make a new id for each piece of a call; what begins a call has a name.
#[test]
fn a_new_id_without_a_name_begins_no_call() {
    check_message(
        &[
            r#"{"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":""}}]}"#,
            r#"{"tool_calls":[{"index":0,"id":"b","function":{"arguments":"1"}}]}"#,
            r#"{"tool_calls":[{"index":0,"id":"c","function":{"name":"","arguments":"2"}}]}"#,
        ],
        &json!({"role": "assistant", "content": null, "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": "12"}},
        ]}),
    );
}

#[test]
fn a_call_without_arguments_has_empty_ones() {
    check_message(
        &[r#"{"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"f"}}]}"#],
        &json!({"role": "assistant", "content": null, "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": ""}},
        ]}),
    );
}

#[test]
fn a_chunk_with_a_whole_message_counts_as_a_delta() {
    let record = chat_stream(&[
        r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"all"},"finish_reason":"stop"}]}"#,
        "[DONE]",
    ]);
    assert_eq!(
        value(&record.response_message),
        json!({"role": "assistant", "content": "all"})
    );
}

#[test]
fn usage_comes_last_and_without_choices() {
    let record = chat_stream(&[
        r#"{"choices":[{"index":0,"delta":{"content":"a"},"token_ids":[1,2]}],"usage":{"prompt_tokens":3,"completion_tokens":1}}"#,
        r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop","token_ids":[3]}],"usage":null}"#,
        r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":2},"completion_tokens_details":{"reasoning_tokens":1}}}"#,
        "[DONE]",
    ]);
    let counts = record.token_counts;
    assert_eq!(
        (
            counts.prompt,
            counts.completion,
            counts.cached,
            counts.reasoning
        ),
        (Some(3), Some(3), Some(2), Some(1))
    );
    assert_eq!(record.completion_token_ids, [1, 2, 3]);
    assert_eq!(record.integrity.ids_match_usage, Some(true));
}

#[test]
fn the_first_prompt_ids_count_and_a_weight_version_is_read() {
    let record = chat_stream(&[
        r#"{"choices":[{"index":1,"delta":{}}],"prompt_token_ids":[7,8]}"#,
        r#"{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop","routed_experts":"QUI="}],"prompt_token_ids":null,"weight_version":4}"#,
        r#"{"choices":[{"index":1,"delta":{"content":"b"},"finish_reason":"stop","routing_matrices":["x"]}],"prompt_token_ids":[9],"weight_version":5}"#,
        r#"{"choices":[{"index":1,"delta":{},"routing_matrices":["y"]}]}"#,
        "[DONE]",
    ]);
    assert_eq!(record.prompt_token_ids, [7, 8]);
    assert_eq!(record.weight_version, Some(5));
    assert_eq!(
        record.routing_matrices.as_deref(),
        Some(&["QUI=".to_owned()][..])
    );
    let choices = record.choices.unwrap();
    assert_eq!(
        choices[1].routing_matrices.as_deref(),
        Some(&["x".to_owned(), "y".to_owned()][..])
    );
    assert_eq!(choices[1].prompt_token_ids.as_deref(), Some(&[7, 8][..]));
}

#[test]
fn defect_15_null_logprobs_keep_their_places() {
    let whole = chat_whole(
        r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"ab"},"finish_reason":"stop","token_ids":[1,2,3],
            "logprobs":{"content":[{"logprob":-0.5},null,{"logprob":null}]}}]}"#,
    );
    let streamed = chat_stream(&[
        r#"{"choices":[{"index":0,"delta":{"content":"ab"},"token_ids":[1,2],"logprobs":{"content":[{"logprob":-0.5},null]}}]}"#,
        r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop","token_ids":[3],"logprobs":{"content":[{"logprob":null}]}}]}"#,
        "[DONE]",
    ]);
    for record in [whole, streamed] {
        assert_eq!(record.logprobs, None);
        assert_eq!(
            record.choices.as_ref().unwrap()[0].logprobs.as_deref(),
            Some(&[Some(-0.5), None, None][..])
        );
        assert_eq!(record.integrity.logprobs_match_ids, Some(true));
        assert_eq!(
            record.integrity.notes,
            ["choice 0: 2 of 3 log probabilities are null"]
        );
        assert!(!record.has_error);
    }
}

#[test]
fn numbers_and_unknown_members_survive_assembly() {
    let record = chat_stream(&[
        r#"{"id":"x","object":"chat.completion.chunk","big":123456789012345678901234567890,"choices":[{"index":0,"delta":{},"odd":1.0}]}"#,
        r#"{"id":"x","object":"chat.completion.chunk","e":1e3,"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop","logprobs":{"content":[{"logprob":-0.10}]}}]}"#,
        "[DONE]",
    ]);
    assert_eq!(
        record.assembled_response.unwrap().as_str(),
        r#"{"id":"x","object":"chat.completion","big":123456789012345678901234567890,"choices":[{"index":0,"message":{"role":"assistant","content":"a"},"odd":1.0,"finish_reason":"stop","logprobs":{"content":[{"logprob":-0.10}]}}],"e":1e3}"#
    );
}

const COMPLETIONS: Endpoint = Endpoint::Completions;

#[test]
fn a_prompt_of_ids_is_the_prompt() {
    let events = [
        r#"{"choices":[{"index":0,"text":"a","finish_reason":"stop"}]}"#,
        "[DONE]",
    ];
    let record = stream(
        COMPLETIONS,
        r#"{"model":"m","prompt":[5,6],"stream":true}"#,
        &events,
        End::Eof,
    );
    assert_eq!(record.prompt_token_ids, [5, 6]);
    assert_eq!(
        record.response_message.as_str(),
        r#"{"role":"assistant","content":"a"}"#
    );
    assert_eq!(record.messages.as_str(), "[]");
}

#[test]
fn several_prompts_have_their_choices_in_order() {
    let events = [
        r#"{"choices":[{"index":3,"text":"d","finish_reason":"stop"},{"index":0,"text":"a","finish_reason":"stop"}]}"#,
        r#"{"choices":[{"index":1,"text":"b","finish_reason":"stop"},{"index":2,"text":"c","finish_reason":"stop","prompt_token_ids":[9]}]}"#,
        "[DONE]",
    ];
    let record = stream(
        COMPLETIONS,
        r#"{"model":"m","prompt":[[1],[2,3]],"n":2}"#,
        &events,
        End::Eof,
    );
    let choices: Vec<_> = record
        .choices
        .unwrap()
        .into_iter()
        .map(|choice| (choice.index, choice.prompt_token_ids.unwrap()))
        .collect();
    assert_eq!(
        choices,
        [(0, vec![1]), (1, vec![1]), (2, vec![9]), (3, vec![2, 3])]
    );
    assert_eq!(record.prompt_token_ids, [1]);
}

#[test]
fn with_echo_the_logprobs_of_the_prompt_are_left_out() {
    let events = [
        r#"{"choices":[{"index":0,"text":"ab","prompt_token_ids":[5,6],"token_ids":[7],"finish_reason":"stop","logprobs":{"token_logprobs":[null,-1.0,-2.0]}}]}"#,
        "[DONE]",
    ];
    let record = stream(
        COMPLETIONS,
        r#"{"model":"m","prompt":"x","echo":true,"logprobs":1}"#,
        &events,
        End::Eof,
    );
    assert_eq!(record.logprobs.as_deref(), Some(&[-2.0][..]));
}

#[test]
fn one_choice_of_several_asked_for_is_shown_as_such() {
    let events = [r#"{"choices":[{"index":0,"delta":{"content":"a"}}]}"#];
    let record = stream(
        Endpoint::ChatCompletions,
        r#"{"model":"m","n":2}"#,
        &events,
        End::Broken,
    );
    assert_eq!(record.outcome, Outcome::Truncated);
    assert_eq!(record.choices.unwrap().len(), 1);
}
