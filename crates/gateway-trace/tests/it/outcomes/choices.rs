//! Choices that say nothing, and choices that never came.

use super::*;

/// A stream whose choices say nothing is as unreadable as a whole reply whose choices do.
#[test]
fn choices_that_say_nothing() {
    use Endpoint::Completions;
    for (endpoint, chunk, choice, outcome) in [
        (
            CHAT,
            r#""delta":null,"#,
            r#""message":null,"#,
            Outcome::UpstreamError,
        ),
        (
            CHAT,
            r#""delta":5,"#,
            r#""message":5,"#,
            Outcome::UpstreamError,
        ),
        (CHAT, "", "", Outcome::UpstreamError),
        (
            CHAT,
            r#""delta":{},"#,
            r#""message":{},"#,
            Outcome::Completed,
        ),
        (
            Completions,
            r#""text":null,"#,
            r#""text":null,"#,
            Outcome::UpstreamError,
        ),
        (Completions, "", "", Outcome::UpstreamError),
        (
            Completions,
            r#""text":"","#,
            r#""text":"","#,
            Outcome::Completed,
        ),
    ] {
        let choices =
            |choice| format!(r#"{{"choices":[{{"index":0,{choice}"finish_reason":"stop"}}]}}"#);
        let streamed = stream(endpoint, "{}", &[&choices(chunk), DONE], End::Eof);
        let whole = whole(endpoint, "{}", 200, choices(choice).as_bytes(), End::Eof);
        assert_eq!(whole.outcome, outcome, "{endpoint:?} {choice}");
        assert_eq!(streamed.outcome, outcome, "{endpoint:?} {chunk}");
        assert_eq!(streamed.error, whole.error);
        assert_eq!(streamed.integrity, whole.integrity);
        if outcome == Outcome::UpstreamError {
            assert_eq!(streamed.response_message, whole.response_message);
        }
    }
    // One choice that can be read is enough.
    let record = stream(
        CHAT,
        "{}",
        &[
            r#"{"choices":[{"index":1,"delta":null,"finish_reason":"stop"}]}"#,
            LAST,
            DONE,
        ],
        End::Eof,
    );
    assert_eq!(record.outcome, Outcome::Completed);
    assert_eq!(record.choices.expect("choices")[1].message.as_str(), "{}");
    assert_eq!(
        record.integrity.notes,
        ["a choice of the reply could not be read"]
    );
}

/// What a record says of a chat stream of these events, of which so many choices were asked.
fn asked_for(choices: usize, events: &[&str], end: &End) -> (Outcome, Vec<String>) {
    let mut recorder = Recorder::new(CHAT, 1 << 20);
    recorder.expect_choices(choices);
    recorder.start(STREAMED, 1.0);
    for event in events {
        recorder.event(None, event.as_bytes(), 2.0);
    }
    let reply = recorder.finish(end.clone(), 3.0);
    let request = format!(r#"{{"n":{choices}}}"#);
    let record = checked_record(&call(CHAT, request), &reply);
    (record.outcome, record.integrity.notes)
}

/// Without the end mark, a choice that was asked for and never began may still have been to come;
/// with it, the upstream says that this is all.
#[test]
fn a_choice_that_never_came() {
    let other = r#"{"choices":[{"index":1,"delta":{"content":"c"},"finish_reason":"stop"}]}"#;
    for end in [End::Eof, End::CloseDelimited] {
        let (outcome, notes) = asked_for(2, &[FIRST, LAST], &end);
        assert_eq!((outcome, notes.len()), (Outcome::Truncated, 0), "{end:?}");
        let (outcome, notes) = asked_for(2, &[FIRST, LAST, other], &end);
        assert_eq!((outcome, notes.len()), (Outcome::Completed, 1), "{end:?}");
        assert!(notes[0].contains("end mark"));
        let (outcome, notes) = asked_for(2, &[FIRST, LAST, DONE], &end);
        assert_eq!(outcome, Outcome::Completed, "{end:?}");
        assert_eq!(notes, ["fewer choices came than were asked for"]);
    }
    // A whole reply is whole, and lacks the same.
    let whole = whole(CHAT, r#"{"n":2}"#, 200, GOOD.as_bytes(), End::Eof);
    assert_eq!(whole.outcome, Outcome::Completed);
    assert_eq!(
        whole.integrity.notes,
        ["fewer choices came than were asked for"]
    );
    // More than were asked for are no loss.
    assert_eq!(
        asked_for(1, &[FIRST, LAST, other, DONE], &End::Eof).1.len(),
        0
    );
}

#[test]
fn choices_are_asked_for_by_n_and_by_the_prompts() {
    use Endpoint::{Completions, Embeddings, Messages, Responses};
    for (endpoint, request, expected) in [
        (CHAT, "{}", 1),
        (CHAT, r#"{"n":3,"prompt":["a","b"]}"#, 3),
        (CHAT, r#"{"n":null}"#, 1),
        (CHAT, r#"{"n":0}"#, 1),
        (CHAT, r#"{"n":-2}"#, 1),
        (CHAT, r#"{"n":"2"}"#, 1),
        (CHAT, r#"{"n":99999999999999999999}"#, 1),
        (Completions, r#"{"n":2,"prompt":"a"}"#, 2),
        (Completions, r#"{"n":2,"prompt":[]}"#, 2),
        (Completions, r#"{"n":2,"prompt":[1,2,3]}"#, 2),
        (Completions, r#"{"n":2,"prompt":["a","b","c"]}"#, 6),
        (Completions, r#"{"prompt":[[1],[2,3]]}"#, 2),
        (
            Completions,
            r#"{"n":9223372036854775807,"prompt":["a","b","c"]}"#,
            usize::MAX,
        ),
        (Responses, r#"{"n":2}"#, 1),
        (Messages, r#"{"n":2}"#, 1),
        (Embeddings, r#"{"n":2,"input":["a","b"]}"#, 1),
    ] {
        let root = gateway_json::parse(request.as_bytes(), gateway_json::Dialect::Strict).unwrap();
        let asked = choices_asked(endpoint, root.get("n"), root.get("prompt"));
        assert_eq!(asked, expected, "{endpoint:?} {request}");
    }
}
