//! Whether the gateway lives, whether it is ready, and how its workers are.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use gateway_state::{NAME, WorkerInfo};
use gateway_store::LedgerStatus;
use http::StatusCode;
use http::header::RETRY_AFTER;
use serde::Serialize;
use utoipa::ToSchema;

use crate::Shared;

/// For how long the store may fail before the gateway counts as not ready: as long as reads and
/// management writes wait for it. Calls go on, because the journal takes them.
const STORE_PATIENCE: Duration = Duration::from_secs(5);

/// What `GET /` says: some clients knock there first.
#[derive(Serialize, ToSchema)]
pub(crate) struct Knock {
    /// `rllm-model-gateway`.
    name: &'static str,
    version: &'static str,
}

/// Names the program; some clients knock there first.
#[utoipa::path(
    get, path = "/", operation_id = "knock", tag = "health",
    responses((status = 200, description = "Its name and version.", body = Knock)),
)]
pub(crate) async fn knock(State(shared): State<Shared>) -> Json<Knock> {
    Json(Knock {
        name: NAME,
        version: shared.state.version(),
    })
}

/// What `GET /health` says.
#[derive(Serialize, ToSchema)]
pub(crate) struct Alive {
    #[schema(pattern = "^ok$")]
    status: &'static str,
    version: &'static str,
    /// What the traces of this gateway call it; kept with its journal.
    instance_id: String,
    /// Its own run.
    #[schema(required = true)]
    run_id: Option<String>,
    /// Seconds since the start.
    uptime: f64,
}

/// Answers while the process can serve, and waits for nothing.
#[utoipa::path(
    get, path = "/health", operation_id = "health", tag = "health",
    responses((status = 200, description = "It lives.", body = Alive)),
)]
pub(crate) async fn alive(State(shared): State<Shared>) -> Json<Alive> {
    Json(Alive {
        status: "ok",
        version: shared.state.version(),
        instance_id: shared.ledger.instance_id().to_owned(),
        run_id: shared.own_run(),
        uptime: shared.state.uptime().as_secs_f64(),
    })
}

/// What `GET /ready` says.
#[derive(Debug, Default, PartialEq, Serialize, ToSchema)]
pub(crate) struct Readiness {
    #[schema(pattern = "^(not_)?ready$")]
    status: &'static str,
    /// Why no new calls should be sent here.
    reasons: Vec<String>,
    /// What will become a reason if it lasts.
    warnings: Vec<String>,
}

/// Says whether new calls should be sent here, and why not.
#[utoipa::path(
    get, path = "/ready", operation_id = "ready", tag = "health",
    responses(
        (status = 200, description = "It is ready.", body = Readiness),
        (status = 503, description = "It is not, for these reasons.", body = Readiness,
            headers(("Retry-After" = String, description = "Seconds."))),
    ),
)]
pub(crate) async fn ready(State(shared): State<Shared>) -> Response {
    let mut readiness = readiness(shared.state.drain().begun(), &shared.ledger.status());
    if shared.state.pause().is_closed() {
        let warning = "paused: new calls wait until the gateway is resumed";
        readiness.warnings.push(warning.to_owned());
    }
    if readiness.reasons.is_empty() {
        Json(readiness).into_response()
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            [(RETRY_AFTER, "1")],
            Json(readiness),
        )
            .into_response()
    }
}

/// What the state of the ledger means for new calls.
pub(crate) fn readiness(draining: bool, ledger: &LedgerStatus) -> Readiness {
    let mut reasons = Vec::new();
    let mut warnings = Vec::new();
    if draining {
        reasons.push("draining: the gateway is shutting down".to_owned());
    }
    if let Some(trouble) = &ledger.journal {
        let seconds = trouble.lasting.as_secs();
        reasons.push(format!(
            "journal: failing for {seconds} s: {}",
            trouble.message
        ));
    }
    if ledger.receipts_overdue > 0 {
        let overdue = ledger.receipts_overdue;
        reasons.push(format!(
            "receipts: {overdue} replies ended before their record was on disk, and it is not yet"
        ));
    }
    if !ledger.replayed {
        warnings.push(
            "store: what an earlier run left in the journal is being carried over".to_owned(),
        );
    }
    if let Some(trouble) = &ledger.store {
        let message = format!(
            "store: not written for {} s, {} entries behind: {}",
            trouble.lasting.as_secs(),
            ledger.lag_entries,
            trouble.message,
        );
        let lasting = trouble.lasting >= STORE_PATIENCE;
        let list = if lasting { &mut reasons } else { &mut warnings };
        list.push(message);
    }
    // The journal is what carries calls over a slow store: past half of it, someone should know;
    // near its end the next calls will wait.
    let (used, capacity) = (ledger.journal_used, ledger.journal_capacity);
    if used > capacity / 2 {
        let message = format!("journal: {used} of {capacity} bytes wait for the store");
        let list = if used > capacity / 10 * 9 {
            &mut reasons
        } else {
            &mut warnings
        };
        list.push(message);
    }
    let status = if reasons.is_empty() {
        "ready"
    } else {
        "not_ready"
    };
    Readiness {
        status,
        reasons,
        warnings,
    }
}

/// What `GET /health/workers` says.
#[derive(Serialize, ToSchema)]
pub(crate) struct Pool {
    /// As `GET /admin/workers` lists them.
    workers: Vec<WorkerInfo>,
    /// How many of them get calls.
    healthy: usize,
    total: usize,
}

/// Lists the workers and counts the healthy ones.
#[utoipa::path(
    get, path = "/health/workers", operation_id = "health_workers", tag = "health",
    responses((status = 200, description = "The pool.", body = Pool)),
)]
pub(crate) async fn workers(State(shared): State<Shared>) -> Json<Pool> {
    let workers = shared.state.workers().list();
    let healthy = workers.iter().filter(|worker| worker.healthy).count();
    let total = workers.len();
    Json(Pool {
        workers,
        healthy,
        total,
    })
}
