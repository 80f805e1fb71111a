//! One trace as a person reads it.

use insta::assert_snapshot;

use super::*;

fn read(text: &str, color: bool) -> String {
    let document = Document::read(text.as_bytes().to_vec()).unwrap();
    let screen = Screen {
        width: Some(80),
        color,
        now: 0.0,
    };
    read_out(&Object::of(document.root()), &screen)
}

/// Everything that a trace may have.
const FULL: &str = r#"{
  "trace_id":"019e6b7c-0000-7000-8000-000000000001","session_id":"org/task-7:0","run_id":"grpo","harness":"claude-code",
  "step_id":4,"project":"p","experiment":"e","endpoint":"chat/completions","stream":true,"model":"qwen3-32b",
  "upstream":"w-1","upstream_reason":"sticky","outcome":"completed","finish_reason":"tool_calls","status":200,
  "error":null,"timestamp":1795170727.5,"latency_ms":834.2,"ttft_ms":120,"attempts":2,
  "token_counts":{"prompt":812,"completion":19,"cached":800,"reasoning":5},
  "prompt_token_ids":[1,2,3],"completion_token_ids":[4,5],"logprobs":[-0.5,-0.25],
  "weight_version":12,"weight_version_end":13,"lineage_id":"org/task-7:0#0","parent_trace_id":"019e6b7c-0000-7000-8000-000000000000",
  "superseded_by":null,"edits":{"set":{"model":"qwen3-32b"},"removed":["logit_bias"]},
  "integrity":{"ids_match_usage":false,"notes":["fewer ids than usage counts: 2 of 19"]},
  "messages":[
    {"role":"system","content":"You are an agent.\nBe brief."},
    {"role":"user","content":[{"type":"text","text":"Look at this:"},{"type":"image_url","image_url":{"url":"data:"}},{"odd":1}]},
    {"role":"assistant","content":"","tool_calls":[{"function":{"name":"ls","arguments":"{}"}}]},
    {"role":"tool","tool_call_id":"c1","content":"\ta.rs\n\u001b[2Jb.rs\n"},
    {"content":5}],
  "choices":null,
  "response_message":{"role":"assistant","reasoning_content":"Hm.","content":"I will read it.",
     "tool_calls":[{"id":"c2","function":{"name":"read","arguments":"{\"path\":\"a.rs\"}"}}]}}"#;

#[test]
fn a_trace_in_full() {
    assert_snapshot!(read(FULL, false));
}

#[test]
fn a_failed_trace_says_why() {
    let trace = r#"{"trace_id":"t","session_id":"","outcome":"upstream_error","status":429,"superseded_by":"t2",
        "error":{"type":"rate_limit_error","code":"overloaded","message":"try\nlater"},"attempts":1,
        "messages":[{"role":"user","content":"hi"}],"response_message":{},"token_counts":{}}"#;
    assert_snapshot!(read(trace, false));
}

#[test]
fn several_replies_are_told_apart() {
    let trace = r#"{"trace_id":"t","outcome":"completed","messages":[],"response_message":{"content":"a"},
        "choices":[{"index":0,"message":{"content":"a"}},{"index":1,"message":{"content":"b","refusal":"no"}}]}"#;
    assert_snapshot!(read(trace, false));
}

#[test]
fn colours_are_for_what_matters() {
    let trace = r#"{"trace_id":"t","outcome":"truncated","error":{"code":"truncated"}}"#;
    assert_eq!(
        read(trace, true),
        "\u{1b}[1mtrace       \u{1b}[0mt\n\
         \u{1b}[1moutcome     \u{1b}[0m\u{1b}[31mtruncated\u{1b}[0m\n\
         \u{1b}[1merror       \u{1b}[0m\u{1b}[31mtruncated\u{1b}[0m\n"
    );
}
