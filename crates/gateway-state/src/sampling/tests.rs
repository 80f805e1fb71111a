//! Which sampling params a session may have, and that they stay as they were spelt.

use super::{RefusedParam, SamplingCache, SamplingParams};

fn params(pairs: &[(&str, &str)]) -> Result<SamplingParams, RefusedParam> {
    SamplingParams::new(
        pairs
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into())),
    )
}

#[test]
fn values_stay_as_they_were_spelt_and_the_last_one_counts() {
    let params = params(&[
        ("temperature", "1.0"),
        ("seed", "12345678901234567890"),
        ("temperature", "1e0"),
    ]);
    let params = params.unwrap();
    let pairs: Vec<_> = params.iter().collect();
    assert_eq!(
        pairs,
        [("temperature", "1e0"), ("seed", "12345678901234567890")]
    );
}

#[test]
fn what_would_change_the_call_is_refused() {
    for name in ["model", "stream", "messages"] {
        let error = params(&[("temperature", "1"), (name, "1")]).unwrap_err();
        assert_eq!(error, RefusedParam(name.to_owned()));
        assert!(error.to_string().contains(name));
    }
}

#[test]
fn sessions_keep_theirs_apart() {
    let cache = SamplingCache::default();
    cache.set("session-1", params(&[("top_k", "1")]).unwrap());
    assert_eq!(cache.find("session-12"), None);
    assert_eq!(
        cache.find("session-1").as_deref(),
        params(&[("top_k", "1")]).ok().as_ref()
    );
    cache.set("session-1", params(&[("top_k", "2")]).unwrap());
    assert_eq!(
        cache.find("session-1").unwrap().iter().next(),
        Some(("top_k", "2"))
    );
    cache.set("session-1", SamplingParams::default());
    assert_eq!(cache.find("session-1"), None);
    cache.set("session-1", params(&[("top_k", "1")]).unwrap());
    cache.remove("session-1");
    cache.remove("session-1");
    assert_eq!(cache.find("session-1"), None);
}
