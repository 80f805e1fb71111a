//! Embeddings: what goes in and what is counted; the vectors stay as they are.

use gateway_trace::{End, Endpoint, Outcome, ReplyHead, SpanType, TraceRecord};

use crate::replay::{call, checked_record, reply, value};

fn fixture(name: &str) -> Vec<u8> {
    let path = format!(
        "{}/tests/fixtures/embeddings/{name}.json",
        env!("CARGO_MANIFEST_DIR")
    );
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn record_of(request: Vec<u8>, body: &[u8]) -> TraceRecord {
    let head = ReplyHead {
        status: 200,
        streamed: false,
        request_id: None,
    };
    let reply = reply(Endpoint::Embeddings, head, &[body], End::Eof);
    checked_record(&call(Endpoint::Embeddings, request), &reply)
}

#[test]
fn what_becomes_of_each() {
    for name in ["base64", "float", "vllm"] {
        let body = fixture(name);
        let record = record_of(fixture(&format!("{name}.request")), &body);
        insta::assert_snapshot!(name, record.snapshot());
        let raw = serde_json::from_slice::<serde_json::Value>(&body).expect("JSON");
        assert_eq!(value(&record.raw_response.expect("raw")), raw, "{name}");
    }
}

#[test]
fn an_input_of_ids_is_the_prompt() {
    let body = fixture("float");
    for (input, ids) in [
        (r#""hello""#, &[][..]),
        (r#"["a","b"]"#, &[]),
        ("[]", &[]),
        ("[9906,1917]", &[9906, 1917]),
        ("[[9906],[1917,0]]", &[9906]),
        (r#"[1,"x"]"#, &[]),
        (r#"[["x"],[1]]"#, &[]),
        ("null", &[]),
        ("7", &[]),
    ] {
        let record = record_of(format!(r#"{{"input":{input}}}"#).into_bytes(), &body);
        assert_eq!(record.prompt_token_ids, ids, "{input}");
        assert_eq!(record.messages.as_str(), "[]", "{input}");
        assert_eq!(record.span_type, SpanType::Embedding);
        assert_eq!(record.outcome, Outcome::Completed, "{input}");
        assert_eq!(record.model, "text-embedding-3-small");
    }
}

#[test]
fn counts_that_are_none_are_left_out() {
    for (usage, prompt) in [
        (r#"{"prompt_tokens":5,"total_tokens":5}"#, Some(5)),
        (r#"{"prompt_tokens":"5"}"#, None),
        ("[]", None),
        ("null", None),
    ] {
        let body = format!(r#"{{"object":"list","data":[],"usage":{usage}}}"#);
        let record = record_of(b"{}".to_vec(), body.as_bytes());
        assert_eq!(record.token_counts.prompt, prompt, "{usage}");
        assert_eq!(record.token_counts.completion, None, "{usage}");
    }
}
