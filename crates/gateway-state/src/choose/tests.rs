//! Where a call goes: the rules in their order.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway_route::{BaseUrl, Event, HealthRules, Policy, RouteTable};

use super::{Ask, Chosen, Destination};
use crate::{ApiError, HealthSettings, Live, Route, State, Upstream, UpstreamKind, WorkerSpec};

fn route(key: &str) -> (String, Arc<Route>) {
    let base = BaseUrl::parse("https://api.example/v1").unwrap();
    let route = Route::new(Upstream::new(UpstreamKind::Route, key, base, None));
    (key.to_owned(), Arc::new(route))
}

fn state(routes: &[&str], workers: &[(&str, Option<&str>)]) -> State {
    let routes = RouteTable::new(routes.iter().map(|key| route(key)));
    let state = State::new(
        Live {
            routes,
            ..Live::default()
        },
        "0",
    );
    for (id, model_name) in workers {
        let spec = WorkerSpec {
            worker_id: Some((*id).to_owned()),
            model_name: model_name.map(str::to_owned),
            ..WorkerSpec::new(format!("http://{id}:8000"))
        };
        state.workers().add(&spec, &[]).unwrap();
    }
    state
}

fn ask<'a>(model: Option<&'a str>, session: Option<&'a str>) -> Ask<'a> {
    Ask {
        method: "POST",
        api: "/chat/completions",
        model,
        session,
    }
}

fn choose(state: &State, ask: &Ask<'_>) -> Result<Destination, ApiError> {
    state.choose(&state.live(), ask, Instant::now())
}

fn chosen(state: &State, ask: &Ask<'_>) -> Chosen {
    match choose(state, ask).unwrap() {
        Destination::Upstream(chosen) => chosen,
        Destination::Models(list) => panic!("an upstream was expected, not {list}"),
    }
}

/// Where a call goes, in a word: `kind name reason`, or the code of the error.
fn outcome(state: &State, ask: &Ask<'_>) -> String {
    match choose(state, ask) {
        Err(error) => error.code().to_owned(),
        Ok(Destination::Models(list)) => list,
        Ok(Destination::Upstream(chosen)) => {
            assert_eq!(
                chosen.route.is_some(),
                chosen.upstream.kind == UpstreamKind::Route
            );
            assert_eq!(
                chosen.lease.is_some(),
                chosen.upstream.kind == UpstreamKind::Worker
            );
            format!(
                "{:?} {} {}",
                chosen.upstream.kind, chosen.upstream.name, chosen.reason
            )
        }
    }
}

#[test]
fn rule_1_a_route_that_matches_comes_before_the_workers() {
    let state = state(&["gpt-5", "claude-*", "*-mini"], &[("w", None)]);
    let of = |model| outcome(&state, &ask(Some(model), Some("s")));
    assert_eq!(of("gpt-5"), "Route gpt-5 route");
    assert_eq!(of("claude-mini"), "Route claude-* route");
    assert_eq!(of("qwen-mini"), "Route *-mini route");
    assert_eq!(of("qwen"), "Worker w new");
}

#[test]
fn rule_2_a_worker_of_the_model_else_one_of_none_else_any() {
    let named = [("m1", Some("m")), ("n1", Some("n")), ("any", None)];
    let with_any = state(&[], &named);
    let without = state(&[], &named[..2]);
    assert_eq!(
        outcome(&with_any, &ask(Some("m"), Some("s"))),
        "Worker m1 new"
    );
    assert_eq!(
        outcome(&with_any, &ask(Some("n"), Some("s"))),
        "Worker n1 new"
    );
    assert_eq!(
        outcome(&with_any, &ask(Some("o"), Some("s"))),
        "Worker any new"
    );
    assert!(outcome(&without, &ask(Some("o"), Some("s"))).ends_with("1 new"));
    // A model of its own whose workers are down is not served by others.
    for _ in 0..3 {
        with_any
            .workers()
            .report("m1", Event::Refused, &HealthRules::default());
    }
    assert_eq!(
        outcome(&with_any, &ask(Some("m"), Some("s"))),
        "no_healthy_worker"
    );
    assert_eq!(
        outcome(&with_any, &ask(Some("n"), Some("s"))),
        "Worker n1 sticky"
    );
}

#[test]
fn rule_3_no_model_goes_to_the_workers_else_to_the_catch_all_else_is_answered() {
    let models = Ask {
        method: "GET",
        api: "/models",
        ..ask(None, None)
    };
    let one_model = Ask {
        api: "/models/b",
        ..models
    };
    let files = Ask {
        api: "/files",
        ..models
    };
    let list = r#"{"object":"list","data":[{"id":"a\"","object":"model","created":0,"owned_by":"rllm-model-gateway"},{"id":"b","object":"model","created":0,"owned_by":"rllm-model-gateway"}]}"#;

    let workers = state(&["*", "b"], &[("w", None)]);
    assert_eq!(outcome(&workers, &models), "Worker w least_loaded");
    assert_eq!(outcome(&workers, &files), "Worker w least_loaded");

    let catch_all = state(&["*", "b"], &[]);
    assert_eq!(outcome(&catch_all, &models), "Route * route");
    assert_eq!(outcome(&catch_all, &files), "path_not_allowed");

    let named = state(&["b", "c-*", "a\""], &[]);
    assert_eq!(outcome(&named, &models), list);
    assert_eq!(
        outcome(
            &named,
            &Ask {
                method: "HEAD",
                api: "//models/",
                ..models
            }
        ),
        list
    );
    assert_eq!(
        outcome(
            &named,
            &Ask {
                method: "POST",
                ..models
            }
        ),
        "no_route"
    );
    assert_eq!(outcome(&named, &one_model), "no_route");
    assert_eq!(outcome(&named, &files), "no_route");

    let globs = state(&["c-*"], &[]);
    assert_eq!(outcome(&globs, &models), r#"{"object":"list","data":[]}"#);
}

#[test]
fn rule_4_neither_route_nor_worker_is_no_route() {
    let empty = state(&[], &[]);
    assert_eq!(outcome(&empty, &ask(Some("m"), Some("s"))), "no_route");
    assert_eq!(outcome(&empty, &ask(None, None)), "no_route");
    let models = Ask {
        method: "GET",
        api: "/models",
        ..ask(None, None)
    };
    assert_eq!(outcome(&empty, &models), "no_route");
    assert_eq!(
        outcome(&state(&["gpt-5"], &[]), &ask(Some("m"), None)),
        "no_route"
    );
}

#[test]
fn defect_07_no_worker_is_an_error_of_the_table_not_a_500() {
    let error = choose(&state(&[], &[]), &ask(Some("qwen"), Some("s"))).unwrap_err();
    assert_eq!((error.status(), error.code()), (404, "no_route"));
    assert!(error.message().contains("`qwen`"), "{}", error.message());
    // A model's name is as long as its sender likes; the message is not.
    let long = "x".repeat(100_000);
    let error = choose(&state(&[], &[]), &ask(Some(&long), None)).unwrap_err();
    assert!(error.message().len() < 300);
}

#[test]
fn defect_07_and_fault_11_workers_that_are_all_down_are_a_503_with_a_time() {
    let state = state(&[], &[("w", None)]);
    let rules = HealthRules::default();
    for _ in 0..rules.failures {
        state.workers().report("w", Event::Refused, &rules);
    }
    for (interval, expected) in [
        (Duration::from_millis(200), "1"),
        (Duration::from_secs(10), "10"),
    ] {
        let health = HealthSettings {
            interval,
            ..HealthSettings::default()
        };
        state.set_live(Live {
            health,
            ..Live::default()
        });
        let error = choose(&state, &ask(Some("m"), Some("s"))).unwrap_err();
        assert_eq!((error.status(), error.code()), (503, "no_healthy_worker"));
        assert_eq!(error.into_response().headers()["retry-after"], expected);
    }
}

#[test]
fn a_route_opens_model_calls_only_unless_told_otherwise() {
    let (key, route) = route("*");
    let files = Ask {
        method: "GET",
        api: "/files",
        ..ask(None, None)
    };
    let open = Route {
        any_path: true,
        ..(*route).clone()
    };
    for (route, expected) in [
        (route, "path_not_allowed"),
        (Arc::new(open), "Route * route"),
    ] {
        let routes = RouteTable::new([(key.clone(), route)]);
        let state = State::new(
            Live {
                routes,
                ..Live::default()
            },
            "0",
        );
        assert_eq!(outcome(&state, &files), expected);
        // Naming a model does not help.
        assert_eq!(
            outcome(
                &state,
                &Ask {
                    model: Some("gpt"),
                    ..files
                }
            ),
            expected
        );
        assert_eq!(outcome(&state, &ask(Some("gpt"), None)), "Route * route");
    }
}

#[test]
fn a_worker_is_sent_to_below_its_api_path() {
    let state = state(&[], &[("w", None)]);
    let chosen = chosen(&state, &ask(Some("m"), None));
    assert_eq!(chosen.upstream.base.to_string(), "http://w:8000/v1");
    assert_eq!(chosen.upstream.host, "w:8000");
}

#[test]
fn the_empty_session_is_none() {
    let state = state(&[], &[("a", None), ("b", None)]);
    let of = |session| chosen(&state, &ask(Some("m"), session)).reason.as_str();
    assert_eq!([of(Some("")), of(Some("")), of(None)], ["least_loaded"; 3]);
}

#[test]
fn a_call_without_a_model_follows_its_session_but_does_not_make_one() {
    let state = state(&[], &[("m1", Some("m")), ("n1", Some("n"))]);
    let get = Ask {
        method: "GET",
        api: "/responses/resp_1",
        ..ask(None, Some("s"))
    };
    // No session yet, and none afterwards.
    let _ = outcome(&state, &get);
    assert!(outcome(&state, &get).ends_with(" new"));
    assert_eq!(outcome(&state, &ask(Some("n"), Some("s"))), "Worker n1 new");
    assert_eq!(outcome(&state, &get), "Worker n1 sticky");
    // The latest one counts, also while its call is under way.
    let _under_way = chosen(&state, &ask(Some("m"), Some("s")));
    assert_eq!(outcome(&state, &get), "Worker m1 sticky");
    // And the models of a session do not get in each other's way.
    assert_eq!(
        outcome(&state, &ask(Some("n"), Some("s"))),
        "Worker n1 sticky"
    );
}

#[test]
fn the_policy_in_force_decides() {
    let state = state(&[], &[("a", None), ("b", None)]);
    let of = |policy| {
        state.set_live(Live {
            policy,
            ..Live::default()
        });
        let calls = (0..4).map(|_| outcome(&state, &ask(Some("m"), Some("s"))));
        calls.collect::<Vec<_>>().join(", ")
    };
    assert_eq!(
        of(Policy::RoundRobin),
        "Worker a round_robin, Worker b round_robin, Worker a round_robin, Worker b round_robin",
    );
    assert!(of(Policy::Sticky).ends_with("sticky"));
    assert!(of(Policy::LeastLoaded).ends_with("least_loaded"));
}

#[test]
fn a_call_that_failed_goes_to_another_worker_and_its_session_with_it() {
    let state = state(&[], &[("a", None), ("b", None), ("c", None)]);
    let live = state.live();
    let ask = ask(Some("m"), Some("s"));
    let another =
        |tried: &[Arc<Upstream>]| state.choose_another(&live, &ask, tried, Instant::now());
    let mut tried = Vec::new();
    let mut last = chosen(&state, &ask);
    for _ in 0..2 {
        tried.push(Arc::clone(&last.upstream));
        last = another(&tried).unwrap();
        assert_eq!(last.reason.as_str(), "moved");
        assert!(tried.iter().all(|tried| tried.name != last.upstream.name));
    }
    tried.push(Arc::clone(&last.upstream));
    assert!(another(&tried).is_none(), "all have been tried");
    // One call, on one worker; the next one follows it.
    let calls: Vec<u64> = state
        .workers()
        .list()
        .iter()
        .map(|worker| worker.active_requests)
        .collect();
    assert_eq!(calls.iter().sum::<u64>(), 1);
    let stays = format!("Worker {} sticky", last.upstream.name);
    drop(last);
    assert_eq!(outcome(&state, &ask), stays);
}

#[test]
fn another_worker_is_one_of_the_same_pool_and_healthy() {
    let workers = [("m1", Some("m")), ("m2", Some("m")), ("any", None)];
    let state = state(&[], &workers);
    let ask = ask(Some("m"), None);
    let live = state.live();
    let first = chosen(&state, &ask);
    let tried = [Arc::clone(&first.upstream)];
    let another = || {
        let chosen = state.choose_another(&live, &ask, &tried, Instant::now());
        chosen.map(|chosen| (chosen.upstream.name.clone(), chosen.reason.as_str()))
    };
    let other = if first.upstream.name == "m1" {
        "m2"
    } else {
        "m1"
    };
    assert_eq!(another(), Some((other.to_owned(), "least_loaded")));
    let rules = HealthRules::default();
    for _ in 0..rules.failures {
        state.workers().report(other, Event::Refused, &rules);
    }
    assert_eq!(another(), None);
}
