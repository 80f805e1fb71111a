//! `GET /metrics`: what is counted and measured, in Prometheus' text format. `docs/metrics.md`
//! lists it; a test holds the two against each other.
//!
//! Nothing here is kept between two scrapes: each looks at the counters where they are.

use std::fmt;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use gateway_state::{BUCKETS, Histogram, Series, State as GatewayState, UpstreamKind, WorkerInfo};
use gateway_store::LedgerStatus;
use gateway_trace::Outcome;
use http::header::CONTENT_TYPE;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, MetricEncoder, NoLabelSet,
    prometheus_text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::Shared;
use crate::refusal::Refusal;

/// Shows what is counted and measured, in Prometheus' text format.
#[utoipa::path(
    get, path = "/metrics", operation_id = "metrics", tag = "health",
    responses((
        status = 200, description = "The page.", body = String,
        content_type = "text/plain; version=0.0.4; charset=utf-8",
    )),
)]
pub(crate) async fn page(State(shared): State<Shared>) -> Result<Response, Refusal> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Page {
        // One look, so that accepted = persisted + in flight + deleted.
        ledger: shared.ledger.status(),
        instance_id: shared.ledger.instance_id().to_owned(),
        workers: shared.state.workers().list(),
        calls: shared.state.counters().calls(),
        state: shared.state,
    }));
    let mut text = String::new();
    prometheus_text::encode(&mut text, &registry).map_err(|_| Refusal::internal())?;
    Ok(([(CONTENT_TYPE, prometheus_text::CONTENT_TYPE)], text).into_response())
}

/// What one scrape shows.
#[derive(Debug)]
struct Page {
    state: Arc<GatewayState>,
    ledger: LedgerStatus,
    instance_id: String,
    workers: Vec<WorkerInfo>,
    calls: Vec<Arc<Series>>,
}

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Out(&mut encoder);
        self.gateway(&mut out)?;
        self.ledger(&mut out)?;
        self.calls(&mut out)?;
        self.workers(&mut out)
    }
}

impl Page {
    fn gateway(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let about = [
            ("version", self.state.version()),
            ("instance_id", &*self.instance_id),
        ];
        out.gauges(
            "rllm_gateway_info",
            "The gateway itself, always 1",
            [(about, 1_u64)],
        )?;
        out.gauge(
            "rllm_uptime_seconds",
            "Time since the start",
            self.state.uptime().as_secs_f64(),
        )?;
        let refusals = self.state.counters().refusals();
        out.counters(
            "rllm_refused",
            "Requests that were turned away, by the code of their error",
            refusals.map(|(code, count)| ([("reason", code.as_str())], count)),
        )
    }

    fn ledger(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let ledger = &self.ledger;
        let counters = ledger.counters;
        out.counter(
            "rllm_calls_accepted",
            "Calls that were admitted",
            counters.accepted,
        )?;
        out.counter(
            "rllm_calls_persisted",
            "Calls whose record has reached the disk",
            counters.persisted,
        )?;
        out.counter(
            "rllm_calls_deleted",
            "Calls that a deletion of their session overtook",
            counters.deleted,
        )?;
        out.gauge(
            "rllm_calls_in_flight",
            "Calls under way, and records that wait for the disk",
            counters.in_flight,
        )?;
        out.counter(
            "rllm_receipts_missed",
            "Replies that ended before their record was on disk",
            ledger.receipts_missed,
        )?;
        out.gauge(
            "rllm_receipts_overdue",
            "Records that have been waiting for the disk for too long",
            ledger.receipts_overdue,
        )?;
        out.gauge(
            "rllm_journal_lag_entries",
            "Journal entries that are not in the store yet",
            ledger.lag_entries,
        )?;
        out.gauge(
            "rllm_journal_lag_bytes",
            "Bytes of the journal that are not in the store yet",
            ledger.lag_bytes,
        )?;
        out.gauge(
            "rllm_journal_used_bytes",
            "Bytes of the journal that cannot be used again yet",
            ledger.journal_used,
        )?;
        out.gauge(
            "rllm_journal_capacity_bytes",
            "How many there may be",
            ledger.journal_capacity,
        )?;
        out.gauge(
            "rllm_journal_failing",
            "Whether the journal cannot be written",
            u64::from(ledger.journal.is_some()),
        )?;
        out.counter(
            "rllm_journal_syncs",
            "Syncs of the journal that succeeded",
            ledger.syncs,
        )?;
        out.counter(
            "rllm_journal_sync_seconds",
            "Time that syncs of the journal took",
            ledger.sync_time.as_secs_f64(),
        )?;
        out.counter(
            "rllm_journal_unreadable",
            "Journal entries that could not be read, and were passed over",
            ledger.unreadable,
        )?;
        out.gauge(
            "rllm_store_failing",
            "Whether the store does not take what is journalled",
            u64::from(ledger.store.is_some()),
        )?;
        out.counter(
            "rllm_store_batches",
            "Batches that the store has applied",
            ledger.batches,
        )?;
        out.counter(
            "rllm_store_apply_seconds",
            "Time that applying took, failed attempts included",
            ledger.apply_time.as_secs_f64(),
        )
    }

    fn calls(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let counters = self.state.counters();
        let each = || self.calls.iter().map(|series| (labels(series), series));
        let ended = each().flat_map(|([kind, upstream, model], series)| {
            series.ended().map(move |(outcome, status, count)| {
                let status = status.map_or_else(|| "none".to_owned(), |status| status.to_string());
                let outcome = ("outcome", Outcome::ALL[outcome].as_str());
                ((kind, upstream, model, outcome, status), count)
            })
        });
        let ended: Vec<_> = ended.collect();
        out.counters(
            "rllm_calls",
            "Recorded calls that have ended",
            ended.iter().map(
                |((kind, upstream, model, outcome, status), count)| -> ([(&str, &str); 5], u64) {
                    let status = ("status", &**status);
                    ([*kind, *upstream, *model, *outcome, status], *count)
                },
            ),
        )?;
        out.counter(
            "rllm_unrecorded_calls",
            "Replies that were passed on of calls that leave no trace",
            counters.unrecorded(),
        )?;
        out.counters(
            "rllm_attempts",
            "How often calls were sent to the upstream",
            each().map(|(labels, series)| (labels, series.attempts().0)),
        )?;
        out.counters(
            "rllm_retries",
            "How often of these the call had been sent before, there or elsewhere",
            each().map(|(labels, series)| (labels, series.attempts().1)),
        )?;
        out.histograms(
            "rllm_call_duration_seconds",
            "From the request's last byte to the upstream's last byte",
            each().map(|(labels, series)| (labels, series.latency())),
        )?;
        out.histograms(
            "rllm_call_first_byte_seconds",
            "From the request's last byte to the first byte of the reply's body",
            each().map(|(labels, series)| (labels, series.first_byte())),
        )?;
        out.counters(
            "rllm_prompt_tokens",
            "Tokens of prompts, as the upstream counted them",
            each().map(|(labels, series)| (labels, series.tokens().0)),
        )?;
        out.counters(
            "rllm_completion_tokens",
            "Tokens of completions, as the upstream counted them",
            each().map(|(labels, series)| (labels, series.tokens().1)),
        )?;
        out.counters(
            "rllm_request_bytes",
            "Bytes of requests' bodies, decoded",
            each().map(|(labels, series)| (labels, series.bytes().0)),
        )?;
        out.counters(
            "rllm_reply_bytes",
            "Bytes of replies' bodies, as the upstream sent them",
            each().map(|(labels, series)| (labels, series.bytes().1)),
        )
    }

    fn workers(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let each = || {
            let workers = self.workers.iter();
            workers.map(|worker| ([("worker", &*worker.worker_id)], worker))
        };
        out.gauges(
            "rllm_worker_healthy",
            "Whether the worker gets calls",
            each().map(|(labels, worker)| (labels, u64::from(worker.healthy))),
        )?;
        out.gauges(
            "rllm_worker_calls_in_flight",
            "Calls that the worker is serving",
            each().map(|(labels, worker)| (labels, worker.active_requests)),
        )?;
        out.gauges(
            "rllm_worker_load",
            "What the choice of a worker goes by: its sessions, and calls without one",
            each().map(|(labels, worker)| (labels, worker.load)),
        )
    }
}

fn labels(series: &Series) -> [(&str, &str); 3] {
    let kind = match series.kind {
        None => "none",
        Some(UpstreamKind::Route) => "route",
        Some(UpstreamKind::Worker) => "worker",
    };
    [
        ("kind", kind),
        ("upstream", &series.upstream),
        ("model", &series.model),
    ]
}

/// Writes metrics; values are plain numbers. Names of counters come without the `_total` that the
/// format puts behind them.
struct Out<'a, 'e>(&'a mut DescriptorEncoder<'e>);

type Labels<'l, const N: usize> = [(&'l str, &'l str); N];

#[expect(
    clippy::needless_pass_by_value,
    reason = "the values are plain numbers"
)]
impl Out<'_, '_> {
    fn counter(&mut self, name: &str, help: &str, value: impl EncodeCounterValue) -> fmt::Result {
        let mut metric = self.metric(name, help, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, _, f64>(&value, None)
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl EncodeGaugeValue) -> fmt::Result {
        let mut metric = self.metric(name, help, MetricType::Gauge)?;
        metric.encode_gauge(&value)
    }

    fn counters<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<'l, N>, u64)>,
    ) -> fmt::Result {
        let mut metric = self.metric(name, help, MetricType::Counter)?;
        for (labels, value) in values {
            let mut one = metric.encode_family(&labels)?;
            one.encode_counter::<NoLabelSet, _, f64>(&value, None)?;
        }
        Ok(())
    }

    fn gauges<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<'l, N>, u64)>,
    ) -> fmt::Result {
        let mut metric = self.metric(name, help, MetricType::Gauge)?;
        for (labels, value) in values {
            metric.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    fn histograms<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<'l, N>, &'l Histogram)>,
    ) -> fmt::Result {
        let mut metric = self.metric(name, help, MetricType::Histogram)?;
        for (labels, histogram) in values {
            let bounds = BUCKETS.into_iter().chain([f64::INFINITY]);
            let buckets: Vec<_> = bounds.zip(histogram.counts()).collect();
            let count = buckets.iter().map(|(_, count)| count).sum();
            let mut one = metric.encode_family(&labels)?;
            one.encode_histogram::<NoLabelSet>(histogram.sum(), count, &buckets, None)?;
        }
        Ok(())
    }

    fn metric<'m>(
        &'m mut self,
        name: &'m str,
        help: &str,
        of: MetricType,
    ) -> Result<MetricEncoder<'m>, fmt::Error> {
        self.0.encode_descriptor(name, help, None, of)
    }
}
