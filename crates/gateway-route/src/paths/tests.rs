//! Which paths a route opens, in whatever spelling.

use super::path_allowed;
use proptest::prelude::*;

#[track_caller]
fn check(method: &str, api: &str, expected: bool) {
    assert_eq!(path_allowed(method, api), expected, "{method} {api}");
}

#[test]
fn a_route_opens_model_calls() {
    for endpoint in [
        "chat/completions",
        "completions",
        "responses",
        "messages",
        "embeddings",
    ] {
        check("POST", &format!("/{endpoint}"), true);
        check("POST", &format!("/{endpoint}/"), true);
        check("POST", &format!("//{endpoint}"), true);
        // Reading them lists what the key's owner has stored.
        check("GET", &format!("/{endpoint}"), false);
        check("DELETE", &format!("/{endpoint}"), false);
    }
    check("POST", "/chat%2Fcompletions", true);
    check("POST", "/%63hat/completions", true);
    check("POST", "/messages/count_tokens", true);
    check("GET", "/responses/resp_1", true);
    check("DELETE", "/responses/resp_1", true);
    check("POST", "/responses/resp_1/cancel", true);
    check("GET", "/responses/resp_1/input_items", true);
    check("GET", "/models", true);
    check("HEAD", "/models", true);
    check("GET", "/models/", true);
    check("GET", "/models/gpt-5", true);
    check("GET", "/models/ft:gpt-4o:org::id", true);
    check("GET", "/models/org%2Fname", true);
}

#[test]
fn a_route_opens_nothing_else() {
    for api in [
        "",
        "/",
        "/files",
        "/files/file-1/content",
        "/fine_tuning/jobs",
        "/batches",
        "/organization/admin_api_keys",
        "/assistants",
        "/threads/t/messages",
        "/chat",
        "/chat/completions/chatcmpl-1",
        "/messages/batches",
        "/messages/count_tokens/x",
        "/models/gpt-5/permissions",
        "/MODELS",
        "/Chat/Completions",
        "/v1/files",
        "/v1/chat/completions",
    ] {
        check("GET", api, false);
        check("POST", api, false);
    }
    // Deletes a fine-tuned model.
    check("DELETE", "/models/ft:gpt-4o", false);
    check("POST", "/models", false);
}

#[test]
fn no_spelling_widens_a_path() {
    for api in [
        "/responses/../files",
        "/responses/x/../../files",
        "/responses/./x",
        "/responses/%2e%2e/files",
        "/responses/.%2E/files",
        "/responses/..%2ffiles",
        "/responses%2F..%2Ffiles",
        "/models/..%2Ffiles",
        "/models/%2e%2e%2ffiles",
        "/models/..",
        // Some servers decode twice, …
        "/responses/%252e%252e/files",
        "/models/%252e%252e%252ffiles",
        "/models/x%253f",
        // … take a backslash for a slash, …
        "/responses/..\\files",
        "/responses/x%5c..%5cfiles",
        // … cut parameters off a segment before they look at it, …
        "/responses/..;x/files",
        "/responses/..%3b/files",
        // … or end the path early.
        "/responses/x%00/files",
        "/models/x%3fy",
        "/models/x%23y",
        "/models/x%0d%0aHost:y",
        // An invalid escape stays as it is.
        "/responses/%zz",
    ] {
        check("GET", api, false);
        check("POST", api, false);
    }
    // Slashes that merge do not reach further down.
    check("GET", "/models//gpt-5", true);
    check("GET", "/models//gpt-5//x", false);
    check("POST", "/responses//files", true);
    check("POST", "//files", false);
}

/// What a server may make of a path: decoded any number of times, merged slashes, backslashes as
/// slashes, parameters dropped, dot segments resolved.
fn lenient_reading(api: &str) -> Vec<String> {
    let mut text = api.to_owned();
    for _ in 0..3 {
        text = percent_encoding::percent_decode_str(&text)
            .decode_utf8_lossy()
            .into_owned();
    }
    let mut segments = Vec::new();
    for segment in text.replace('\\', "/").split('/') {
        let segment = segment.split([';', '?', '#', '\0']).next().unwrap();
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            _ => segments.push(segment.to_owned()),
        }
    }
    segments
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn an_opened_path_is_a_model_call_to_every_server(
        parts in proptest::collection::vec(
            prop_oneof![
                Just("responses"), Just("models"), Just("files"), Just("messages"), Just("/"),
                Just("%2F"), Just("%252f"), Just(".."), Just("%2e"), Just("%252e"), Just("\\"),
                Just("%5C"), Just(";"), Just("%3B"), Just("?"), Just("%00"), Just("."), Just("x"),
            ],
            0..8,
        ),
        method in prop_oneof![Just("GET"), Just("POST")],
    ) {
        let api = format!("/{}", parts.concat());
        if path_allowed(method, &api) {
            let seen = lenient_reading(&api);
            let top = seen.first().map(String::as_str);
            prop_assert!(matches!(top, Some("responses" | "models" | "messages")), "{} {:?}", api, seen);
        }
    }
}
