//! The workers of the configuration, read anew.

use super::*;

fn configure(workers: &Workers, specs: &[WorkerSpec]) {
    workers.configure(specs, &[]).unwrap();
}

/// Id, URL, model and weight of each.
fn shown(workers: &Workers) -> Vec<(String, String, Option<String>, u32)> {
    let shown = |worker: WorkerInfo| {
        let url = format!("{}{}", worker.url, worker.api_path);
        (worker.worker_id, url, worker.model_name, worker.weight)
    };
    workers.list().into_iter().map(shown).collect()
}

fn ids(workers: &Workers) -> Vec<String> {
    let workers = workers.list().into_iter();
    workers.map(|worker| worker.worker_id).collect()
}

#[test]
fn workers_come_and_go_and_the_others_keep_their_sessions_and_health() {
    let workers = Workers::default();
    configure(&workers, &[named("a"), named("b"), named("c")]);
    let now = Instant::now();
    let sessions: Vec<String> = (0..30).map(|n| format!("session-{n}")).collect();
    let before: Vec<_> = sessions
        .iter()
        .map(|session| call(&workers, Some(session), now).0)
        .collect();
    lose(&workers, "c");

    configure(&workers, &[named("d"), named("c"), named("a")]);
    assert_eq!(ids(&workers), ["a", "c", "d"]);
    assert!(!info(&workers, "c").healthy);
    for (session, home) in sessions.iter().zip(&before) {
        let (serving, reason, _) = call(&workers, Some(session), now);
        match home.as_str() {
            "a" => assert_eq!((serving.as_str(), reason), ("a", "sticky")),
            _ => assert_eq!(reason, "moved"),
        }
    }
    configure(&workers, &[]);
    assert!(workers.list().is_empty());
}

#[test]
fn a_changed_worker_is_what_the_configuration_says_now_and_keeps_its_calls() {
    let workers = Workers::default();
    let full = WorkerSpec {
        model_name: Some("m".to_owned()),
        weight: Some(3),
        auth_header: Some(Secret::from("Bearer one")),
        ..named("a")
    };
    configure(&workers, &[full]);
    let (upstream, _, _lease) = call_upstream(&workers);
    assert!(upstream.auth.is_some());
    configure(&workers, &[named("a")]);
    assert_eq!(
        shown(&workers),
        [("a".to_owned(), "http://a:8000/v1".to_owned(), None, 1)]
    );
    assert_eq!(info(&workers, "a").active_requests, 1);
    // What is not given any more is gone, the credential too.
    assert!(call_upstream(&workers).0.auth.is_none());
}

fn call_upstream(
    workers: &Workers,
) -> (
    std::sync::Arc<crate::Upstream>,
    gateway_route::Reason,
    Lease,
) {
    workers
        .choose(Policy::Sticky, Some("m"), Some("s"), &[], Instant::now())
        .unwrap()
}

#[test]
fn workers_of_the_api_stay_and_win() {
    let workers = Workers::default();
    let of_api = WorkerSpec {
        weight: Some(7),
        ..named("api")
    };
    workers.add(&of_api, &[]).unwrap();
    configure(&workers, &[named("a"), named("b")]);
    // Registered again over the API, in another spelling, it is the API's from then on.
    let update = WorkerSpec {
        weight: Some(5),
        ..spec("http://B:8000/v1/")
    };
    assert_eq!(workers.add(&update, &[]).unwrap().worker_id, "b");

    let changed = |url: &str| WorkerSpec {
        weight: Some(9),
        worker_id: Some("other".to_owned()),
        ..spec(url)
    };
    configure(&workers, &[changed("http://b:8000"), named("api")]);
    let expected = |id: &str, weight| {
        let url = format!("http://{id}:8000/v1");
        (id.to_owned(), url, None, weight)
    };
    assert_eq!(shown(&workers), [expected("api", 7), expected("b", 5)]);
    configure(&workers, &[]);
    assert_eq!(ids(&workers), ["api", "b"]);
    // Removed over the API, the configuration's comes back.
    assert!(workers.remove("b"));
    configure(&workers, &[named("b")]);
    assert_eq!(shown(&workers), [expected("api", 7), expected("b", 1)]);
}

#[test]
fn ids_go_with_the_configuration_however_they_are_swapped() {
    let with = |id: &str, url: &str| WorkerSpec {
        worker_id: Some(id.to_owned()),
        ..spec(url)
    };
    let (one, two, three) = ("http://one:1", "http://two:2", "http://three:3");
    let default_of = |url: &str| Workers::default().add(&spec(url), &[]).unwrap().worker_id;
    let workers = Workers::default();
    let check = |specs: &[WorkerSpec], expected: &[(&str, &str)]| {
        configure(&workers, specs);
        let mut shown: Vec<_> = shown(&workers)
            .into_iter()
            .map(|(id, url, ..)| (id, url))
            .collect();
        shown.sort();
        let mut expected: Vec<_> = expected
            .iter()
            .map(|(id, url)| ((*id).to_owned(), format!("{url}/v1")))
            .collect();
        expected.sort();
        assert_eq!(shown, expected);
    };
    check(&[with("a", one), with("b", two)], &[("a", one), ("b", two)]);
    check(&[with("b", one), with("a", two)], &[("b", one), ("a", two)]);
    // Without an id it keeps the one that it has, unless another one wants that.
    check(&[spec(one), with("a", two)], &[("b", one), ("a", two)]);
    let own = default_of(one);
    check(&[spec(one), with("b", three)], &[(&own, one), ("b", three)]);
    // An id that another one wants is not given away.
    let wanted = default_of(two);
    configure(&workers, &[]);
    configure(&workers, &[spec(two), with(&wanted, three)]);
    let ids = ids(&workers);
    assert_eq!(ids.len(), 2);
    assert!(ids[0] != wanted && ids[1] == wanted, "{ids:?}");
}

#[test]
fn a_configuration_that_cannot_be_taken_changes_nothing() {
    let workers = Workers::default();
    workers.add(&named("api"), &[]).unwrap();
    configure(&workers, &[named("a")]);
    let before = workers.list();
    let taken = WorkerSpec {
        worker_id: Some("api".to_owned()),
        ..spec("http://elsewhere:1")
    };
    let bad = [
        (taken, AddError::IdTaken),
        (
            WorkerSpec {
                weight: Some(0),
                ..spec("http://h:1")
            },
            AddError::Weight,
        ),
    ];
    for (spec, error) in bad {
        let result = workers.configure(&[named("new"), spec], &[]);
        assert_eq!(result, Err((1, error)));
        assert_eq!(workers.list(), before);
    }
}
