//! Replies as upstreams send them today, each whole and streamed: both tell the same.

use bytes::Bytes;
use gateway_trace::{Call, CallError, End, Endpoint, Outcome, TraceRecord};
use serde_json::Value;

use crate::replay::{
    Captured, call, check_every_split, checked_record, fixtures, replay, reply, told,
};

const FOLDERS: [(&str, Endpoint); 2] = [
    ("chat", Endpoint::ChatCompletions),
    ("completions", Endpoint::Completions),
];

/// One reply, and the call that it answers.
struct Fixture {
    name: String,
    call: Call,
    reply: Captured,
}

impl Fixture {
    fn record(&self) -> TraceRecord {
        replay(&self.call, &self.reply, &[&self.reply.body])
    }
}

/// Every reply of a folder with this ending.
fn all(folder: &str, endpoint: Endpoint, ending: &str) -> Vec<Fixture> {
    let files = fixtures(folder);
    let of = |(file, body): (&String, &Bytes)| {
        let name = file.strip_suffix(ending)?;
        let request = files.get(&format!("{name}.request.json"))?;
        Some(Fixture {
            name: format!("{folder}-{name}"),
            call: call(endpoint, request.clone()),
            reply: Captured {
                status: 200,
                streamed: ending == ".sse",
                body: body.clone(),
            },
        })
    };
    files.iter().filter_map(of).collect()
}

fn one(folder: &str, endpoint: Endpoint, name: &str) -> TraceRecord {
    let all = [".json", ".sse"].map(|ending| all(folder, endpoint, ending));
    let mut all = all.into_iter().flatten();
    all.find(|fixture| fixture.name == format!("{folder}-{name}"))
        .unwrap_or_else(|| panic!("no {name} in {folder}"))
        .record()
}

#[test]
fn whole_and_streamed_tell_the_same() {
    let mut pairs = 0;
    for (folder, endpoint) in FOLDERS {
        for streamed in all(folder, endpoint, ".sse") {
            let mut whole = all(folder, endpoint, ".json").into_iter();
            let Some(whole) = whole.find(|whole| whole.name == streamed.name) else {
                continue;
            };
            let (whole, record) = (whole.record(), streamed.record());
            assert_eq!(whole.outcome, Outcome::Completed, "{}", streamed.name);
            assert!(whole.raw_response.is_some() && record.raw_response.is_none());
            assert_eq!(told(&record), told(&whole), "{}", streamed.name);
            pairs += 1;
        }
    }
    // What follows from the listing of a folder must not follow from an empty one.
    assert!(pairs >= 24, "{pairs} pairs");
}

#[test]
fn every_split_gives_the_same_record() {
    for (folder, endpoint) in FOLDERS {
        for ending in [".json", ".sse"] {
            for fixture in all(folder, endpoint, ending) {
                check_every_split(&fixture.name, &fixture.call, &fixture.reply);
            }
        }
    }
}

#[test]
fn what_becomes_of_each_stream() {
    for (folder, endpoint) in FOLDERS {
        for fixture in all(folder, endpoint, ".sse") {
            insta::assert_snapshot!(fixture.name.as_str(), fixture.record().snapshot());
        }
    }
}

/// Versions of vLLM leave out the `token_ids` of chunks that their tool and reasoning parsers hold
/// back or rewrite: a trainer must be told.
#[test]
fn ids_that_a_parser_dropped_are_missed() {
    let record = one("chat", Endpoint::ChatCompletions, "vllm-parser-drops-ids");
    assert_eq!(record.outcome, Outcome::Completed);
    assert_eq!(record.completion_token_ids, [40, 1779, 624, 151_645]);
    assert_eq!(record.token_counts.completion, Some(21));
    assert_eq!(record.integrity.ids_match_usage, Some(false));
    assert_eq!(record.integrity.logprobs_match_ids, Some(false));
    assert_eq!(
        record.integrity.notes,
        [
            "the reply has 4 completion token ids and counts 21",
            "choice 0: 21 log probabilities for 4 token ids",
        ]
    );
    // The same reply of a version that sends them all.
    let good = one("chat", Endpoint::ChatCompletions, "vllm-reasoning-tools");
    assert_eq!(good.response_message, record.response_message);
    assert_eq!(good.integrity.ids_match_usage, Some(true));
    assert_eq!(good.integrity.logprobs_match_ids, Some(true));
    assert!(good.integrity.notes.is_empty());
}

#[test]
fn fewer_logprobs_than_ids_are_noticed() {
    let record = one("chat", Endpoint::ChatCompletions, "vllm-fewer-logprobs");
    assert_eq!(record.integrity.ids_match_usage, Some(true));
    assert_eq!(record.integrity.logprobs_match_ids, Some(false));
    assert_eq!(
        record.integrity.notes,
        ["choice 0: 2 log probabilities for 5 token ids"]
    );
}

#[test]
fn a_null_logprob_leaves_the_aligned_ones_in_the_choices() {
    let name = "vllm-routing-matrices-null-logprob";
    let record = one("chat", Endpoint::ChatCompletions, name);
    assert_eq!(record.logprobs, None);
    let choices = record.choices.expect("choices");
    assert_eq!(
        choices[0].logprobs.as_deref(),
        Some(&[Some(-0.1), None, Some(-0.3)][..])
    );
    assert_eq!(record.integrity.logprobs_match_ids, Some(true));
    assert_eq!(
        record.integrity.notes,
        ["choice 0: 1 of 3 log probabilities are null"]
    );
}

/// Adds what an error says to what the others said, once.
fn tell(told: &mut String, name: &str, error: &CallError) {
    let line = format!(
        "{name}: {} | {} | {}\n",
        error.r#type, error.code, error.message
    );
    if !told.contains(&line) {
        told.push_str(&line);
    }
}

/// Errors as bodies, by file and status: outcome, type, code, message.
#[test]
fn errors_are_told_in_the_upstreams_words() {
    let files = fixtures("errors");
    let mut told = String::new();
    for (name, body) in files.iter().filter(|(name, _)| !name.ends_with(".sse")) {
        let digits = name
            .find(|c: char| c.is_ascii_digit())
            .expect("a status in the name");
        let status = name[digits..digits + 3].parse().expect("a status");
        let captured = Captured {
            status,
            streamed: false,
            body: body.clone(),
        };
        for (_, endpoint) in FOLDERS {
            let record = replay(&call(endpoint, "{}"), &captured, &[body]);
            assert_eq!(record.outcome, Outcome::UpstreamError, "{name}");
            assert!(record.has_error && record.integrity.ended && record.raw_response.is_some());
            tell(&mut told, name, &record.error.expect("an error"));
        }
    }
    insta::assert_snapshot!("errors", told);
}

/// Errors in the middle of a stream, which keep what came before them.
#[test]
fn errors_in_a_stream_end_it() {
    let files = fixtures("errors");
    let mut told = String::new();
    for (name, body) in files.iter().filter(|(name, _)| name.ends_with(".sse")) {
        let head = Captured {
            status: 200,
            streamed: true,
            body: body.clone(),
        }
        .head();
        let call = call(Endpoint::ChatCompletions, "{\"stream\":true}");
        // What comes of it is the same whether the upstream then ends well or breaks off.
        for end in [End::Eof, End::CloseDelimited, End::Broken, End::ClientGone] {
            let reply = reply(Endpoint::ChatCompletions, head.clone(), &[body], end);
            let record = checked_record(&call, &reply);
            assert_eq!(record.outcome, Outcome::UpstreamError, "{name}");
            let message: Value =
                serde_json::from_str(record.response_message.as_str()).expect("JSON");
            assert_eq!(message["content"], "Half an", "{name}");
            tell(&mut told, name, &record.error.expect("an error"));
        }
    }
    insta::assert_snapshot!("errors-in-streams", told);
}
