//! Every record fits the schema, the schema refuses what is none, and its pages say what the code
//! does.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use gateway_json::{Dialect, Kind, parse};
use gateway_trace::schema::{
    COMPACT, Field, Members, RECORD, REPORT, Shape, json_schema, json_schema_of, page,
};
use gateway_trace::{CallError, ChoiceRecord, End, Endpoint, Include, Json, Outcome, TraceRecord};
use jsonschema::Validator;
use serde_json::{Map, Value, json};

use crate::forms::full_record;
use crate::replay::whole;

static SCHEMA: LazyLock<Validator> = LazyLock::new(|| {
    let schema: Value = serde_json::from_str(&json_schema()).expect("the schema is JSON");
    jsonschema::validator_for(&schema).expect("the schema is a JSON Schema")
});

const EVERYTHING: Include = Include {
    timing: true,
    created_at: Some(1.5),
};

/// Panics unless a record fits the schema, with and without what a listing may add.
#[track_caller]
pub(crate) fn check(record: &TraceRecord) {
    let record = outlined(record);
    for include in [Include::default(), EVERYTHING] {
        let json = record.to_json_with(include);
        let value: Value = serde_json::from_str(&json).expect("a record is JSON");
        if let Err(error) = SCHEMA.validate(&value) {
            panic!("{}: {error}\n{json}", error.instance_path());
        }
    }
}

/// Panics unless a report fits its schema, member by member in the order of the table.
#[track_caller]
pub(crate) fn check_report(json: &str) {
    fits(&REPORT, json);
    let root = parse(json.as_bytes(), Dialect::Strict).expect("JSON");
    assert_eq!(names(root), table(&REPORT, |_| true));
}

/// Panics unless a compact listing fits its schema, member by member in the order of the table;
/// members that are not always there may be missing.
#[track_caller]
pub(crate) fn check_compact(json: &str) {
    fits(&COMPACT, json);
    let root = parse(json.as_bytes(), Dialect::Strict).expect("JSON");
    assert_eq!(names(root), table(&COMPACT, |_| true));
    let Some(Shape::Array(Shape::Object(delta))) = COMPACT.fields.last().map(|field| field.shape)
    else {
        panic!("the last member is the array of deltas")
    };
    for found in root.get("deltas").expect("an array").elements() {
        let there = |field: &Field| field.always || found.get(field.name).is_some();
        assert_eq!(names(found), table(delta, there));
    }
}

#[track_caller]
fn fits(members: &'static Members, json: &str) {
    let schema: Value = serde_json::from_str(&json_schema_of(members)).expect("JSON");
    let value: Value = serde_json::from_str(json).expect("JSON of our own");
    if let Err(error) = jsonschema::validate(&schema, &value) {
        panic!("{}: {error}\n{json}", error.instance_path());
    }
}

fn names(object: gateway_json::Value<'_>) -> Vec<String> {
    let names = object.members().map(|member| member.key.to_cow());
    names.map(std::borrow::Cow::into_owned).collect()
}

fn table(members: &Members, there: impl Fn(&Field) -> bool) -> Vec<&'static str> {
    let fields = members.fields.iter().filter(|field| there(field));
    fields.map(|field| field.name).collect()
}

/// The record with bodies that are what they were, an object or not, and nothing more: they may
/// hold what `serde_json` cannot read (lone surrogates, `1e400`, the deepest nesting).
fn outlined(record: &TraceRecord) -> TraceRecord {
    let mut record = record.clone();
    let bodies = [&mut record.raw_request, &mut record.raw_response];
    let bodies = bodies.into_iter().chain([&mut record.assembled_response]);
    let own = [&mut record.response_message, &mut record.metadata];
    let choices = record.choices.iter_mut().flatten();
    for json in bodies
        .flatten()
        .chain(own)
        .chain(choices.map(|choice| &mut choice.message))
    {
        *json = outline(json);
    }
    let messages = record.messages.value().expect("messages can be read");
    assert!(messages.is_array(), "{}", record.messages);
    let entries = messages
        .elements()
        .map(|entry| outline(&Json::new(entry.text()).expect("JSON")).to_string());
    let entries: Vec<_> = entries.collect();
    record.messages = Json::new(&format!("[{}]", entries.join(","))).expect("JSON");
    record
}

fn outline(json: &Json) -> Json {
    match json.value().map(gateway_json::Value::kind) {
        Some(Kind::Object) => Json::empty_object(),
        Some(_) => json.clone(),
        None => panic!("a body nests too deep: {json}"),
    }
}

/// A record in which nothing is null or left out.
fn fullest_record() -> TraceRecord {
    let text = |text: &str| Some(text.to_owned());
    let matrices = Some(vec!["QUI=".to_owned()]);
    let mut record = full_record();
    record.routing_matrices.clone_from(&matrices);
    record.finish_reason = text("stop");
    record.raw_response = Some(Json::empty_object());
    record.token_counts.cached = Some(1);
    record.token_counts.reasoning = Some(0);
    record.error = Some(CallError::new("t", "c", "m"));
    record.choices = Some(vec![ChoiceRecord {
        index: 0,
        message: Json::empty_object(),
        prompt_token_ids: Some(vec![1]),
        token_ids: vec![2],
        logprobs: Some(vec![None, Some(-0.5)]),
        finish_reason: text("stop"),
        routing_matrices: matrices,
    }]);
    record.parent_trace_id = text("t-0");
    record.lineage_id = text("s/1:2#0");
    record.superseded_by = text("t-2");
    record
}

/// Calls `visit` with each object of a record whose members are ours, and its JSON pointer.
fn each_object(
    value: &Value,
    members: &'static Members,
    pointer: &str,
    visit: &mut dyn FnMut(&str, &'static Members),
) {
    visit(pointer, members);
    for field in members.fields {
        let mut pointer = format!("{pointer}/{}", field.name);
        let mut shape = field.shape;
        loop {
            match shape {
                Shape::OrNull(inner) => shape = *inner,
                Shape::Array(item) => {
                    pointer.push_str("/0");
                    shape = *item;
                }
                Shape::Object(inner) => {
                    assert!(value.pointer(&pointer).is_some(), "{pointer} is not there");
                    break each_object(value, inner, &pointer, visit);
                }
                _ => break,
            }
        }
    }
}

#[test]
fn members_stand_in_the_order_of_the_table() {
    let json = fullest_record().to_json_with(EVERYTHING);
    let value: Value = serde_json::from_str(&json).unwrap();
    let root = parse(json.as_bytes(), Dialect::Strict).unwrap();
    each_object(&value, &RECORD, "", &mut |pointer, members| {
        let object = pointer.split('/').skip(1).fold(root, |value, step| {
            let found = match step {
                "0" => value.elements().next(),
                name => value.get(name),
            };
            found.expect("what the pointer names")
        });
        assert_eq!(
            names(object),
            table(members, |_| true),
            "members of {pointer:?}"
        );
    });
    check(&fullest_record());
    check(&full_record());
}

#[test]
fn what_is_no_record_is_refused() {
    let json = fullest_record().to_json_with(EVERYTHING);
    let value: Value = serde_json::from_str(&json).unwrap();
    let mut tried = 0;
    each_object(&value, &RECORD, "", &mut |pointer, members| {
        let mut change = |expected: bool, what: &str, change: &dyn Fn(&mut Map<String, Value>)| {
            let mut changed = value.clone();
            change(
                changed
                    .pointer_mut(pointer)
                    .unwrap()
                    .as_object_mut()
                    .unwrap(),
            );
            assert_eq!(SCHEMA.is_valid(&changed), expected, "{pointer}: {what}");
            tried += 1;
        };
        change(false, "an extra member", &|object| {
            object.insert("extra".to_owned(), Value::Null);
        });
        for field in members.fields {
            let name = field.name;
            change(!field.always, &format!("without {name}"), &|object| {
                object.remove(name);
            });
            for other in [
                json!(null),
                json!(true),
                json!(7),
                json!(7.5),
                json!("text"),
                json!({}),
                json!([]),
                json!([{}]),
                json!(["text"]),
                json!([7]),
                json!([7.5, null]),
            ] {
                let expected = may_be(field.shape, &other);
                change(expected, &format!("{name}: {other}"), &|object| {
                    object.insert(name.to_owned(), other.clone());
                });
            }
        }
    });
    assert!(tried > 900, "{tried} changes tried");
}

/// Whether a value is one of this shape, said once more, without JSON Schema.
fn may_be(shape: Shape, value: &Value) -> bool {
    match shape {
        Shape::Text => value.is_string(),
        Shape::OneOf(words) => words.iter().any(|word| value == word),
        Shape::Integer => value.is_i64(),
        Shape::Float => value.is_number(),
        Shape::Boolean => value.is_boolean(),
        Shape::Json => value.is_object(),
        Shape::Object(members) => value.as_object().is_some_and(|object| {
            let needed = |field: &&Field| field.always;
            let there = |field: &Field| object.contains_key(field.name);
            members.fields.iter().filter(needed).all(there)
        }),
        Shape::Array(item) => value
            .as_array()
            .is_some_and(|items| items.iter().all(|value| may_be(*item, value))),
        Shape::OrNull(shape) => value.is_null() || may_be(*shape, value),
    }
}

/// What `cargo xtask docs` has written.
#[test]
fn the_pages_are_up_to_date() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    for (name, wanted) in [
        ("trace-schema.json", json_schema()),
        ("trace-schema.md", page()),
    ] {
        let committed = fs::read_to_string(docs.join(name)).unwrap_or_default();
        assert!(
            committed == wanted,
            "docs/{name} is stale: write it anew with `cargo xtask docs`"
        );
    }
}

/// Those of a record's snapshot form or its JSON; each says what it was made of.
#[test]
fn every_committed_snapshot_fits() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/snapshots");
    let mut checked = 0;
    for file in fs::read_dir(folder).expect("the snapshots") {
        let file = file.expect("a file").path();
        let name = file.display();
        let text = fs::read_to_string(&file).expect("a snapshot");
        let mut parts = text.splitn(3, "---\n").skip(1);
        let (head, body) = (parts.next().expect("a head"), parts.next().expect("a body"));
        if !head.contains(".snapshot()") && !head.contains(".to_json") {
            continue;
        }
        let root = parse(body.trim_end().as_bytes(), Dialect::Strict)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut value = readable(root);
        put_times_back(&mut value);
        if let Err(error) = SCHEMA.validate(&value) {
            panic!("{name}: {}: {error}", error.instance_path());
        }
        checked += 1;
    }
    assert!(checked >= 16, "{checked} snapshots checked");
}

/// The value for `serde_json`, which can read neither lone surrogates nor `1e400`.
fn readable(value: gateway_json::Value<'_>) -> Value {
    match value.kind() {
        Kind::Object => value
            .members()
            .map(|member| (member.key.to_cow().into_owned(), readable(member.value)))
            .collect(),
        Kind::Array => value.elements().map(readable).collect(),
        Kind::Number => serde_json::from_str(value.text()).unwrap_or(json!(1e300)),
        Kind::String => value.as_str_lossy().into(),
        _ => serde_json::from_str(value.text()).expect("a word of JSON"),
    }
}

/// Puts numbers in the place of the words that a snapshot has for times; all else that it replaces
/// are strings.
fn put_times_back(record: &mut Value) {
    let put_back = |object: &mut Value, name: &str| {
        let member = object.get_mut(name);
        if let Some(time) = member.filter(|time| **time == format!("[{name}]")) {
            *time = json!(0.5);
        }
    };
    for name in ["timestamp", "latency_ms", "ttft_ms"] {
        put_back(record, name);
    }
    for attempt in record["attempt_log"].as_array_mut().into_iter().flatten() {
        put_back(attempt, "ms");
    }
}

#[test]
fn the_page_names_every_outcome() {
    for outcome in Outcome::ALL {
        let row = format!("\n| `{}` | ", outcome.as_str());
        assert!(page().contains(&row), "{row}");
    }
}

/// The finish reason of a call whose whole reply is this, and whether the page has this row.
#[track_caller]
fn check_finish(endpoint: Endpoint, reply: &Value, row: &str, expected: Option<&str>) {
    let record = whole(endpoint, "{}", 200, reply.to_string().as_bytes(), End::Eof);
    assert_eq!(record.finish_reason.as_deref(), expected, "{reply}");
    assert!(page().contains(&format!("\n| {row} |\n")), "{row}");
}

#[test]
fn finish_reasons_are_those_of_the_page() {
    let same = "chat completions, completions | `finish_reason` | the same";
    for reason in ["stop", "length", "tool_calls", "content_filter", "abort"] {
        let reply = json!({"choices": [{"message": {}, "finish_reason": reason}]});
        check_finish(Endpoint::ChatCompletions, &reply, same, Some(reason));
    }

    let message = |reason: &str, row: &str, expected| {
        let reply = json!({"content": [], "stop_reason": reason});
        check_finish(Endpoint::Messages, &reply, row, Some(expected));
    };
    let (natural, same) = (
        "messages | `end_turn`, `stop_sequence` | `stop`",
        "messages | `refusal`, `pause_turn`, … | the same",
    );
    message("end_turn", natural, "stop");
    message("stop_sequence", natural, "stop");
    message("max_tokens", "messages | `max_tokens` | `length`", "length");
    message(
        "tool_use",
        "messages | `tool_use` | `tool_calls`",
        "tool_calls",
    );
    message("refusal", same, "refusal");
    message("pause_turn", same, "pause_turn");

    let response = |status: &str, reason: &str, output: Value, row: &str, expected| {
        let details = json!({ "reason": reason });
        let reply = json!({"status": status, "incomplete_details": details, "output": output});
        check_finish(
            Endpoint::Responses,
            &reply,
            &format!("responses | {row}"),
            expected,
        );
    };
    let (none, call) = (json!([]), json!([{"type": "function_call", "name": "f"}]));
    let completed = "`completed` | `stop`; `tool_calls` where the output calls a function";
    response("completed", "", none.clone(), completed, Some("stop"));
    response("completed", "", call, completed, Some("tool_calls"));
    let cut = "`incomplete` for `max_output_tokens` | `length`";
    response(
        "incomplete",
        "max_output_tokens",
        none.clone(),
        cut,
        Some("length"),
    );
    let other = "`incomplete` for another reason | the reason";
    response(
        "incomplete",
        "content_filter",
        none.clone(),
        other,
        Some("content_filter"),
    );
    response("failed", "", none, "`failed` | null", None);
}
