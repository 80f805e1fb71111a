//! The management plane, driven in process over a memory store and a real journal.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use gateway_metadata::Identity;
use gateway_state::Live;
use gateway_store::{LedgerOptions, MemoryStore, TraceStore};
use gateway_trace::{Call, CallMeta, Endpoint, Outcome, Reply, ReplyMeta};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tempfile::TempDir;

use super::*;

mod input;
mod metrics;
mod openapi;
mod pause;
mod reload;
mod routes;
mod sessions;
mod status;
mod traces;
mod workers;

/// A management plane of its own, and what lies behind it.
struct Plane {
    admin: Admin,
    state: Arc<State>,
    ledger: Ledger,
    calls: AtomicU64,
    _folder: TempDir,
}

/// A configuration that differs in one key of each kind.
fn reload() -> Reload {
    Arc::new(|| {
        Box::pin(async {
            Ok(Reloaded {
                changed: vec!["routes"],
                restart_needed: vec!["port"],
            })
        })
    })
}

/// What came back.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }

    /// The body of a 200.
    fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text);
        self.json()
    }

    /// The message of an error in the one error shape.
    fn refused(&self, status: u16, code: &str) -> String {
        assert_eq!(self.status, status, "{}", self.text);
        let body = self.json();
        assert_eq!(body["type"], "error");
        assert_eq!(body["error"]["code"], code);
        assert_eq!(body["error"]["param"], Value::Null);
        body["error"]["message"].as_str().unwrap().to_owned()
    }
}

/// A call to be recorded; the default is a completed one of session `s`.
struct Made<'a> {
    session: &'a str,
    run: Option<&'a str>,
    outcome: Outcome,
    endpoint: Endpoint,
    request: &'a str,
    reply: &'a str,
    latency_ms: f64,
}

impl Default for Made<'_> {
    fn default() -> Self {
        Self {
            session: "s",
            run: None,
            outcome: Outcome::Completed,
            endpoint: Endpoint::ChatCompletions,
            request: r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#,
            reply: r#"{"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}]}"#,
            latency_ms: 12.5,
        }
    }
}

impl Plane {
    fn new() -> Self {
        Self::with(Live::default())
    }

    /// A gateway that has a run of its own.
    fn of_run(run_id: &str) -> Self {
        Self::with(Live {
            run_id: Some(run_id.to_owned()),
            ..Live::default()
        })
    }

    fn with(live: Live) -> Self {
        Self::over(live, Arc::new(MemoryStore::new()))
    }

    fn over(live: Live, store: Arc<dyn TraceStore>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = LedgerOptions::new(folder.path().join("journal"));
        let ledger = Ledger::open(options, store).unwrap();
        let state = Arc::new(State::new(live, "1.2.3"));
        Self {
            admin: Admin::new(Arc::clone(&state), ledger.clone(), reload()),
            state,
            ledger,
            calls: AtomicU64::new(0),
            _folder: folder,
        }
    }

    async fn ask(&self, method: &str, target: &str, body: impl Into<String>) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(target)
            .body(body.into());
        self.send(request.unwrap()).await
    }

    async fn send(&self, request: Request<String>) -> Answer {
        let response = self.admin.handle(request, Principal::Anonymous).await;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(body.into()).unwrap();
        Answer {
            status: parts.status,
            headers: parts.headers,
            text,
        }
    }

    async fn get(&self, target: &str) -> Answer {
        self.ask("GET", target, "").await
    }

    async fn post(&self, target: &str, body: impl Into<String>) -> Answer {
        self.ask("POST", target, body).await
    }

    async fn delete(&self, target: &str) -> Answer {
        self.ask("DELETE", target, "").await
    }

    /// Admits a call as the data plane does, and gives its id.
    async fn admit(&self, made: &Made<'_>) -> String {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        let trace_id = format!("trace-{number:03}");
        let identity = Identity {
            session_id: Some(made.session.to_owned()).filter(|session| !session.is_empty()),
            run_id: made.run.map(str::to_owned),
            ..Identity::default()
        };
        let meta = CallMeta {
            identity,
            ..CallMeta::new(trace_id.clone(), made.endpoint, 1_700_000_000.0)
        };
        let request = Bytes::copy_from_slice(made.request.as_bytes());
        self.ledger.admit(&Call { meta, request }).await.unwrap();
        trace_id
    }

    /// Records a call as the data plane does, and gives its id.
    async fn record(&self, made: Made<'_>) -> String {
        let trace_id = self.admit(&made).await;
        let meta = ReplyMeta {
            outcome: made.outcome,
            status: Some(200),
            latency_ms: made.latency_ms,
            ended: true,
            attempts: 1,
            event_ms: Some(vec![1, 2]),
            ..ReplyMeta::default()
        };
        let body = Bytes::copy_from_slice(made.reply.as_bytes());
        self.ledger
            .finish(&trace_id, &Reply { meta, body })
            .await
            .unwrap();
        trace_id
    }

    /// Records completed calls of sessions within runs.
    async fn record_in(&self, calls: &[(&str, Option<&str>)]) {
        for &(session, run) in calls {
            self.record(Made {
                session,
                run,
                ..Made::default()
            })
            .await;
        }
    }
}

/// The ids of the traces in an array.
fn ids(traces: &Value) -> Vec<String> {
    let traces = traces.as_array().unwrap().iter();
    traces
        .map(|trace| trace["trace_id"].as_str().unwrap().to_owned())
        .collect()
}
