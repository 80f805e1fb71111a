//! What the planes share: settings for a call, and what is told of the weights and sessions.

use std::sync::Arc;

use crate::{Live, SamplingParams, State};

#[test]
fn a_call_keeps_the_settings_it_took() {
    let state = State::new(Live::default(), "1.2.3");
    let taken = state.live();
    state.set_live(Live {
        model: Some("pinned".to_owned()),
        ..Live::default()
    });
    assert_eq!(taken.model, None);
    assert_eq!(state.live().model.as_deref(), Some("pinned"));
}

#[test]
fn the_defaults_are_those_of_an_empty_configuration() {
    let live = Live::default();
    let fallback = [
        "x-session-id",
        "x-claude-code-session-id",
        "session-id",
        "x-session-affinity",
    ];
    assert_eq!(live.session_fallback_headers, fallback);
    assert!(live.capture.logprobs && live.capture.token_ids);
    assert!(live.capture.usage && live.capture.strip);
    assert_eq!(live.limits.max_request_bytes, 64 * 1024 * 1024);
    assert_eq!(
        (
            live.timeouts.connect.as_secs(),
            live.timeouts.read.as_secs()
        ),
        (10, 600)
    );
    assert_eq!(
        (live.health.path.as_str(), live.health.rules.failures),
        ("/health", 3)
    );
    assert!(!live.auth.protects_calls() && !live.door.allow_unauthenticated);
}

#[test]
fn what_is_told_is_kept() {
    let state = State::new(Live::default(), "1.2.3");
    assert_eq!(state.weight_version(), None);
    state.set_weight_version(-3);
    assert_eq!(state.weight_version(), Some(-3));
    assert_eq!(state.version(), "1.2.3");
    assert!(!state.draining());
    state.drain().begin();
    assert!(state.draining());
    assert!(state.uptime() <= state.uptime());
}

#[test]
fn a_deleted_session_is_forgotten() {
    let state = Arc::new(State::new(Live::default(), "1.2.3"));
    let params = SamplingParams::new([("top_k".to_owned(), "1".to_owned())]).unwrap();
    state.sampling().set("s", params.clone());
    state.sampling().set("t", params);
    state.forget_session("s");
    assert_eq!(state.sampling().find("s"), None);
    assert!(state.sampling().find("t").is_some());
}
