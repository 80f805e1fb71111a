//! Workers as they are shown, registered, chosen, lost and counted.

use std::time::{Duration, Instant};

use gateway_auth::Secret;
use gateway_route::{Change, Event, HealthRules, Policy};

use super::{AddError, Lease, NoWorker, WorkerInfo, WorkerSpec, Workers};

mod configured;

fn spec(url: &str) -> WorkerSpec {
    WorkerSpec::new(url)
}

fn named(id: &str) -> WorkerSpec {
    WorkerSpec {
        worker_id: Some(id.to_owned()),
        ..spec(&format!("http://{id}:8000"))
    }
}

fn pool(ids: &[&str]) -> Workers {
    let workers = Workers::default();
    for id in ids {
        workers.add(&named(id), &[]).unwrap();
    }
    workers
}

fn call(workers: &Workers, session: Option<&str>, now: Instant) -> (String, &'static str, Lease) {
    let (upstream, reason, lease) = workers
        .choose(Policy::Sticky, Some("m"), session, &[], now)
        .unwrap();
    (upstream.name.clone(), reason.as_str(), lease)
}

fn info(workers: &Workers, id: &str) -> WorkerInfo {
    workers
        .list()
        .into_iter()
        .find(|worker| worker.worker_id == id)
        .unwrap()
}

fn total_load(workers: &Workers) -> u64 {
    workers.list().iter().map(|worker| worker.load).sum()
}

fn lose(workers: &Workers, id: &str) {
    let rules = HealthRules::default();
    for _ in 0..rules.failures {
        workers.report(id, Event::Refused, &rules);
    }
}

#[test]
fn a_worker_is_shown_as_it_is_without_its_credential() {
    let workers = Workers::default();
    let added = workers
        .add(
            &WorkerSpec {
                model_name: Some("qwen".to_owned()),
                weight: Some(3),
                auth_header: Some(Secret::from("Bearer hunter2")),
                ..named("w")
            },
            &[],
        )
        .unwrap();
    assert_eq!((added.worker_id.as_str(), added.new), ("w", true));
    assert_eq!(
        (added.url.as_str(), added.api_path.as_str()),
        ("http://w:8000", "/v1")
    );
    let shown = serde_json::to_string(&workers.list()).unwrap();
    assert_eq!(
        shown,
        r#"[{"worker_id":"w","url":"http://w:8000","api_path":"/v1","model_name":"qwen","weight":3,"healthy":true,"active_requests":0,"load":0,"last_error":null}]"#,
    );
    assert!(!format!("{workers:?}").contains("hunter2"));
}

#[test]
fn defect_26_the_same_url_again_updates_and_keeps_an_id_that_can_be_deleted() {
    let workers = Workers::default();
    let first = workers.add(&spec("http://h:8000/v1"), &[]).unwrap();
    // In every spelling, and with the `api_path` that the PyPI client always sends.
    for again in ["http://h:8000", "http://H:8000/", "http://h:8000/v1/"] {
        for api_path in [None, Some("/v1".to_owned())] {
            let spec = WorkerSpec {
                api_path,
                weight: Some(2),
                ..spec(again)
            };
            let added = workers.add(&spec, &[]).unwrap();
            assert_eq!(
                (&added.worker_id, added.new),
                (&first.worker_id, false),
                "{again}"
            );
        }
    }
    // Even if it comes with another id.
    let added = workers.add(
        &WorkerSpec {
            worker_id: Some("mine".into()),
            ..spec("http://h:8000")
        },
        &[],
    );
    assert_eq!(added.unwrap().worker_id, first.worker_id);
    assert_eq!(workers.list().len(), 1);
    assert_eq!(workers.list()[0].weight, 2);
    assert!(workers.remove(&first.worker_id));
    assert!(!workers.remove(&first.worker_id));
    assert!(workers.list().is_empty());
}

#[test]
fn an_update_changes_what_is_given() {
    let workers = Workers::default();
    let full = WorkerSpec {
        model_name: Some("qwen".to_owned()),
        weight: Some(3),
        auth_header: Some(Secret::from("Bearer one")),
        ..spec("http://h:8000")
    };
    let id = workers.add(&full, &[]).unwrap().worker_id;
    let credential = || {
        let (upstream, ..) = workers
            .choose(Policy::Sticky, None, None, &[], Instant::now())
            .unwrap();
        upstream
            .auth
            .as_ref()
            .map(|auth| auth.value().to_str().unwrap().to_owned())
    };
    workers
        .add(
            &WorkerSpec {
                weight: Some(5),
                ..spec("http://h:8000")
            },
            &[],
        )
        .unwrap();
    let seen = info(&workers, &id);
    assert_eq!((seen.model_name.as_deref(), seen.weight), (Some("qwen"), 5));
    assert_eq!(credential().as_deref(), Some("Bearer one"));

    let auth_header = Some(Secret::from("Bearer two"));
    workers
        .add(
            &WorkerSpec {
                auth_header,
                ..spec("http://h:8000")
            },
            &[],
        )
        .unwrap();
    assert_eq!(credential().as_deref(), Some("Bearer two"));

    // The same URL with another `api_path` is the same worker, …
    let api_path = Some("/openai/v1".to_owned());
    let added = workers
        .add(
            &WorkerSpec {
                api_path,
                ..spec("http://h:8000")
            },
            &[],
        )
        .unwrap();
    assert_eq!(
        (added.worker_id.as_str(), added.api_path.as_str()),
        (id.as_str(), "/openai/v1")
    );
    // … and keeps it when it comes without.
    let added = workers.add(&spec("http://h:8000"), &[]).unwrap();
    assert_eq!(
        (added.worker_id.as_str(), added.api_path.as_str()),
        (id.as_str(), "/openai/v1")
    );
    // Two paths of one host, each given as a URL, are two workers.
    let other = workers.add(&spec("http://h:8000/second/v1"), &[]).unwrap();
    assert_ne!(other.worker_id, id);
    assert_eq!(workers.list().len(), 2);
}

#[test]
fn the_id_of_a_worker_without_one_is_the_same_at_every_gateway() {
    let of = |url: &str| Workers::default().add(&spec(url), &[]).unwrap().worker_id;
    assert_eq!(of("http://h:8000"), of("http://H:8000/v1/"));
    assert_ne!(of("http://h:8000"), of("http://h:8001"));
    let workers = Workers::default();
    let id = of("http://h:8000");
    // Taken for another worker, it is not given twice.
    workers
        .add(
            &WorkerSpec {
                worker_id: Some(id.clone()),
                ..spec("http://g:8000")
            },
            &[],
        )
        .unwrap();
    assert_ne!(
        workers.add(&spec("http://h:8000"), &[]).unwrap().worker_id,
        id
    );
    // An empty one is none.
    let empty = WorkerSpec {
        worker_id: Some(String::new()),
        ..spec("http://i:8000")
    };
    assert!(
        workers
            .add(&empty, &[])
            .unwrap()
            .worker_id
            .starts_with("w-")
    );
}

#[test]
fn what_cannot_be_taken_changes_nothing_and_names_its_field() {
    let workers = pool(&["taken"]);
    let before = workers.list();
    let check = |spec: WorkerSpec, field: &str| {
        let error = workers.add(&spec, &[]).unwrap_err();
        assert!(
            error.to_string().starts_with(&format!("`{field}`")),
            "{error}"
        );
        assert_eq!(workers.list(), before);
    };
    check(spec(""), "url");
    check(spec("file:///etc/passwd"), "url");
    check(spec("http://u:p@h"), "url");
    check(spec("http://169.254.169.254"), "url");
    check(
        WorkerSpec {
            weight: Some(0),
            ..spec("http://h")
        },
        "weight",
    );
    check(
        WorkerSpec {
            api_path: Some("/../x".into()),
            ..spec("http://h")
        },
        "api_path",
    );
    check(
        WorkerSpec {
            auth_header: Some(Secret::from("a\nb")),
            ..spec("http://h")
        },
        "auth_header",
    );
    check(
        WorkerSpec {
            worker_id: Some("a\u{7}".into()),
            ..spec("http://h")
        },
        "worker_id",
    );
    check(
        WorkerSpec {
            worker_id: Some("x".repeat(257)),
            ..spec("http://h")
        },
        "worker_id",
    );
    let taken = WorkerSpec {
        worker_id: Some("taken".into()),
        ..spec("http://h")
    };
    assert_eq!(workers.add(&taken, &[]), Err(AddError::IdTaken));
    // The same update of an existing worker fails as a whole, too.
    check(
        WorkerSpec {
            weight: Some(0),
            ..named("taken")
        },
        "weight",
    );
}

#[test]
fn calls_in_flight_are_counted_until_they_end() {
    let workers = pool(&["a"]);
    let now = Instant::now();
    let (_, _, first) = call(&workers, Some("s"), now);
    let (_, _, second) = call(&workers, Some("s"), now);
    let (_, _, loose) = call(&workers, None, now);
    let seen = info(&workers, "a");
    assert_eq!((seen.active_requests, seen.load), (3, 2));
    drop((first, loose));
    assert_eq!(
        (
            info(&workers, "a").active_requests,
            info(&workers, "a").load
        ),
        (1, 1)
    );
    drop(second);
    // The session counts for five minutes more.
    assert_eq!(
        (
            info(&workers, "a").active_requests,
            info(&workers, "a").load
        ),
        (0, 1)
    );
}

#[test]
fn a_session_is_load_until_five_minutes_after_its_last_call() {
    let workers = pool(&["a"]);
    let ended = |after: u64| {
        let later = Instant::now() + Duration::from_secs(after);
        // Any call looks after what is over; this one has no session, and is over at once.
        drop(call(&workers, None, later));
        total_load(&workers)
    };
    let (_, _, lease) = call(&workers, Some("s"), Instant::now());
    // In flight it counts for however long it takes.
    assert_eq!(ended(3600), 1);
    drop(lease);
    assert_eq!(ended(299), 1);
    assert_eq!(ended(301), 0);
    // It is still known where it was.
    let (_, reason, _lease) = call(&workers, Some("s"), Instant::now());
    assert_eq!((reason, total_load(&workers)), ("sticky", 1));
}

#[test]
fn defect_26_adding_a_worker_moves_no_session_and_removing_one_only_its_own() {
    let workers = pool(&["a", "b"]);
    let now = Instant::now();
    let sessions: Vec<String> = (0..40).map(|n| format!("session-{n}")).collect();
    let serve = |session: &String| {
        let (id, reason, _) = call(&workers, Some(session), now);
        (id, reason)
    };
    let before: Vec<_> = sessions.iter().map(serve).collect();
    workers.add(&named("c"), &[]).unwrap();
    for (session, (id, _)) in sessions.iter().zip(&before) {
        assert_eq!(serve(session), (id.clone(), "sticky"));
    }
    workers.remove("a");
    for (session, (id, _)) in sessions.iter().zip(&before) {
        let (now_at, reason) = serve(session);
        if id == "a" {
            assert_ne!(now_at, "a");
            assert_eq!(reason, "moved");
        } else {
            assert_eq!((&now_at, reason), (id, "sticky"));
        }
    }
    assert_eq!(total_load(&workers), 40);
}

#[test]
fn a_worker_that_comes_back_draws_none_back() {
    let workers = pool(&["a", "b"]);
    let now = Instant::now();
    let (home, _, _) = call(&workers, Some("s"), now);
    lose(&workers, &home);
    assert_eq!(
        info(&workers, &home).last_error.as_deref(),
        Some("connection refused")
    );
    let (away, reason, _) = call(&workers, Some("s"), now);
    assert_ne!(away, home);
    assert_eq!(reason, "moved");
    // Its load went with it.
    assert_eq!(
        (info(&workers, &home).load, info(&workers, &away).load),
        (0, 1)
    );
    let rules = HealthRules::default();
    assert_eq!(workers.report(&home, Event::Passed, &rules), None);
    assert_eq!(
        workers.report(&home, Event::Passed, &rules),
        Some(Change::Recovered)
    );
    let (still, reason, _) = call(&workers, Some("s"), now);
    assert_eq!((still, reason), (away, "sticky"));
}

#[test]
fn the_end_of_a_call_to_a_removed_worker_harms_nothing() {
    let workers = pool(&["a"]);
    let now = Instant::now();
    let (_, _, lease) = call(&workers, Some("s"), now);
    let (_, _, loose) = call(&workers, None, now);
    workers.remove("a");
    workers.add(&named("a"), &[]).unwrap();
    drop((lease, loose));
    assert_eq!(
        (info(&workers, "a").active_requests, total_load(&workers)),
        (0, 0)
    );
    // What is left of the session belongs to the old registration.
    let (_, reason, lease) = call(&workers, Some("s"), now);
    assert_eq!((reason, total_load(&workers)), ("moved", 1));
    workers.forget_session("s");
    assert_eq!(total_load(&workers), 1);
    drop(lease);
    assert_eq!(total_load(&workers), 0);
}

#[test]
fn no_worker_and_none_healthy_are_two_things() {
    let workers = Workers::default();
    let choose = || workers.choose(Policy::Sticky, Some("m"), Some("s"), &[], Instant::now());
    assert_eq!(choose().unwrap_err(), NoWorker::NoneThere);
    workers.add(&named("a"), &[]).unwrap();
    lose(&workers, "a");
    assert_eq!(choose().unwrap_err(), NoWorker::NoneHealthy);
    assert_eq!(total_load(&workers), 0);
}

#[test]
fn checks_go_to_the_url_without_the_api_path() {
    let workers = Workers::default();
    let id = workers
        .add(&spec("http://h:8000/proxy/v1"), &[])
        .unwrap()
        .worker_id;
    let probes = workers.probes();
    assert_eq!(probes.len(), 1);
    assert_eq!(
        (
            probes[0].worker_id.as_str(),
            probes[0].url.to_string().as_str()
        ),
        (id.as_str(), "http://h:8000")
    );
    assert_eq!(
        workers.report("nobody", Event::Refused, &HealthRules::default()),
        None
    );
}
