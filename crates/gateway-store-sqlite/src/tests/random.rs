//! Any sequence of writes leaves the memory store and this one with the same answers.

use gateway_store::contract::Sample;
use gateway_store::{
    Batch, Change, Feed, Item, Json, MemoryStore, Order, Position, Scope, SessionList,
    SessionTraces, TraceFilter, TraceStore, Write,
};
use gateway_trace::{Endpoint, Outcome};
use proptest::prelude::*;

use super::open;

const SESSIONS: [&str; 4] = ["", "s", "t", "s/1:ä"];
const RUNS: [&str; 3] = ["", "r", "q"];
/// Beginnings of each other, mostly.
const MESSAGES: [&str; 4] = [
    r#"[{"role":"user"}]"#,
    r#"[{"role":"user"},{"role":"assistant"}]"#,
    r#"[{"role":"user"},{"role":"assistant"},{"role":"assistant"},{"role":"user"}]"#,
    r#"[{"role":"assistant"},{"role":"user"}]"#,
];
const MODELS: [&str; 3] = ["m", "n", ""];

fn name(names: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    prop::sample::select(names)
}

fn write() -> impl Strategy<Value = Write> {
    prop_oneof![
        8 => trace(),
        3 => put_session(),
        2 => delete(),
        1 => overtaken(),
        1 => start(),
        1 => end()
    ]
}

fn trace() -> impl Strategy<Value = Write> {
    let who = (
        0..40u32,
        name(&SESSIONS),
        name(&RUNS),
        name(&MODELS),
        name(&RUNS),
    );
    let how = (
        prop_oneof![
            Just(Outcome::Completed),
            prop::sample::select(&Outcome::ALL[..])
        ],
        any::<bool>(),
        0..50u64,
        0..9u8,
        0..9u8,
        name(&MESSAGES),
    );
    (who, how).prop_map(|((id, session, run, model, harness), how)| {
        let (outcome, embeds, arrival, latency, time, messages) = how;
        let mut sample = Sample::new(&format!("t{id}"), session)
            .model(model)
            .messages(messages)
            .outcome(outcome)
            .latency(f64::from(latency))
            .arrived_at(f64::from(time) * 10.0);
        if !run.is_empty() {
            sample = sample.run(run);
        }
        if !harness.is_empty() {
            sample = sample.harness(harness);
        }
        if embeds {
            sample = sample.endpoint(Endpoint::Embeddings);
        }
        sample.write(arrival)
    })
}

fn overtaken() -> impl Strategy<Value = Write> {
    (name(&SESSIONS[1..]), name(&RUNS)).prop_map(|(session_id, run_id)| Write::Overtaken {
        session_id: session_id.to_owned(),
        run_id: Some(run_id.to_owned()).filter(|run_id| !run_id.is_empty()),
    })
}

fn put_session() -> impl Strategy<Value = Write> {
    let json = || {
        let texts = prop::sample::select(&["{}", r#"{"a": 1.0}"#, "[1e3]"][..]);
        prop::option::of(texts.prop_map(|text| Json::new(text).unwrap()))
    };
    let ids = (name(&SESSIONS[1..]), name(&RUNS));
    (ids, json(), json(), 0..9u8).prop_map(|((session_id, run_id), metadata, params, at)| {
        Write::Change(Change::PutSession {
            session_id: session_id.to_owned(),
            run_id: Some(run_id.to_owned()).filter(|run_id| !run_id.is_empty()),
            metadata,
            sampling_params: params,
            at: f64::from(at) * 10.0,
        })
    })
}

fn scope() -> impl Strategy<Value = Scope> {
    prop_oneof![
        Just(Scope::All),
        name(&RUNS).prop_map(|run| Scope::Run(run.to_owned()))
    ]
}

fn delete() -> impl Strategy<Value = Write> {
    let session_ids = proptest::collection::vec(name(&SESSIONS[1..]), 0..3);
    (session_ids, scope()).prop_map(|(session_ids, scope)| {
        Write::Change(Change::DeleteSessions {
            session_ids: session_ids.into_iter().map(str::to_owned).collect(),
            scope,
        })
    })
}

fn start() -> impl Strategy<Value = Write> {
    (name(&RUNS[1..]), 0..9u8).prop_map(|(run_id, at)| {
        Write::Change(Change::StartRun {
            run_id: run_id.to_owned(),
            metadata: Json::new(r#"{"lr":1e-6}"#).unwrap(),
            at: f64::from(at) * 10.0,
        })
    })
}

fn end() -> impl Strategy<Value = Write> {
    (name(&RUNS[1..]), 0..9u8).prop_map(|(run_id, at)| {
        Write::Change(Change::EndRun {
            run_id: run_id.to_owned(),
            at: f64::from(at) * 10.0,
        })
    })
}

fn filter() -> impl Strategy<Value = TraceFilter> {
    let text = |names| prop::option::of(name(names).prop_map(str::to_owned));
    let number = || prop::option::weighted(0.2, (0..100u8).prop_map(f64::from));
    let texts = (text(&SESSIONS), text(&RUNS), text(&MODELS), text(&RUNS));
    let rest = (
        prop::option::of(any::<bool>()),
        number(),
        number(),
        number(),
        number(),
    );
    (texts, rest).prop_map(|((session_id, run_id, model, harness), rest)| {
        let (has_error, latency_min, latency_max, since, until) = rest;
        TraceFilter {
            run_id,
            session_id,
            model,
            harness,
            has_error,
            latency_min: latency_min.map(|ms| ms / 10.0),
            latency_max: latency_max.map(|ms| ms / 10.0),
            since,
            until,
        }
    })
}

fn limit() -> impl Strategy<Value = u64> {
    0..12u64
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn memory_and_sqlite_agree(
        // Batches with the time of each, some of which are applied again later.
        batches in prop::collection::vec(
            (prop::collection::vec(write(), 0..8), 0..100u8, prop::option::of(0..6usize)), 1..8),
        filters in prop::collection::vec((filter(), limit(), any::<bool>()), 1..6),
        scopes in prop::collection::vec((scope(), limit(), 0..100u8), 1..4),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let sqlite = open(&folder.path().join("gateway.db"));
        let memory = MemoryStore::new();
        let mut seq = 0;
        let mut made: Vec<Batch> = Vec::new();
        for (writes, at, again) in batches {
            let items = writes.into_iter().map(|write| {
                seq += 1;
                Item { seq, write }
            });
            let items: Vec<_> = items.collect();
            let position = Position { journal_id: [7; 16], applied: seq, replay_from: seq };
            made.push(Batch { position, at: f64::from(at), items });
            let old = again.and_then(|n| made.get(n)).cloned();
            for batch in made.last().cloned().into_iter().chain(old) {
                prop_assert_eq!(sqlite.apply(&batch).unwrap(), memory.apply(&batch).unwrap());
            }
        }

        prop_assert_eq!(sqlite.position().unwrap(), memory.position().unwrap());
        prop_assert_eq!(sqlite.last_arrival().unwrap(), memory.last_arrival().unwrap());
        prop_assert_eq!(sqlite.facets().unwrap(), memory.facets().unwrap());
        prop_assert_eq!(sqlite.sampling_params().unwrap(), memory.sampling_params().unwrap());
        prop_assert_eq!(sqlite.runs(None, None).unwrap(), memory.runs(None, None).unwrap());
        for id in 0..40 {
            let id = format!("t{id}");
            prop_assert_eq!(sqlite.trace(&id).unwrap(), memory.trace(&id).unwrap());
        }
        for (filter, limit, oldest) in filters {
            prop_assert_eq!(sqlite.count(&filter).unwrap(), memory.count(&filter).unwrap());
            let order = if oldest { Order::OldestFirst } else { Order::NewestFirst };
            let mut feed = Feed { filter, order, cursor: None, limit };
            loop {
                let page = sqlite.feed(&feed).unwrap();
                prop_assert_eq!(&page, &memory.feed(&feed).unwrap());
                feed.cursor = page.next_cursor;
                if feed.cursor.is_none() {
                    break;
                }
            }
        }
        for (scope, limit, since) in scopes {
            let since = Some(f64::from(since));
            for session_id in &SESSIONS[1..] {
                let plain = SessionTraces {
                    limit: Some(limit),
                    since,
                    ..SessionTraces::plain(*session_id, scope.clone())
                };
                for query in [plain, SessionTraces::all(*session_id, scope.clone())] {
                    let found = sqlite.session_traces(&query).unwrap();
                    prop_assert_eq!(found, memory.session_traces(&query).unwrap());
                }
                prop_assert_eq!(
                    sqlite.session(session_id, &scope).unwrap(),
                    memory.session(session_id, &scope).unwrap()
                );
                prop_assert_eq!(
                    sqlite.session_runs(&SESSIONS.map(str::to_owned)).unwrap(),
                    memory.session_runs(&SESSIONS.map(str::to_owned)).unwrap()
                );
            }
            let run_id = match scope {
                Scope::All => None,
                Scope::Run(run_id) => Some(run_id),
            };
            let list = SessionList { since, limit: Some(limit), run_id };
            prop_assert_eq!(sqlite.sessions(&list).unwrap(), memory.sessions(&list).unwrap());
            prop_assert_eq!(
                sqlite.runs(since, Some(limit)).unwrap(),
                memory.runs(since, Some(limit)).unwrap()
            );
        }
    }
}
