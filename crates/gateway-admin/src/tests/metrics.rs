use std::collections::BTreeMap;
use std::time::Duration;

use gateway_route::BaseUrl;
use gateway_state::{CallEnd, Upstream, UpstreamKind, WorkerSpec};

use super::*;

/// What a page says of one metric.
#[derive(Debug, Default, PartialEq)]
struct Metric {
    r#type: String,
    help: String,
    /// The names of its labels, `le` left out.
    labels: Vec<String>,
}

async fn page(plane: &Plane) -> String {
    let answer = plane.get("/metrics").await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.headers["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    answer.text
}

/// A plane on which everything has been counted that has labels.
async fn busy() -> Plane {
    let plane = Plane::new();
    let spec = WorkerSpec::new("http://127.0.0.1:8000");
    plane.state.workers().add(&spec, &[]).unwrap();
    let base = BaseUrl::parse("http://127.0.0.1:1").unwrap();
    let route = Upstream::new(UpstreamKind::Route, "gpt-*", base, None);
    let counters = plane.state.counters();
    let end = CallEnd {
        outcome: Outcome::UpstreamError as usize,
        status: Some(429),
        latency: Duration::from_millis(1500),
        first_byte: Some(Duration::from_millis(50)),
        prompt_tokens: 7,
        ..CallEnd::default()
    };
    counters.attempt(&route, Some("a\"b\\c\nd"), false);
    counters.end_call(Some(&route), Some("a\"b\\c\nd"), &end);
    counters.end_call(Some(&route), Some("a\"b\\c\nd"), &CallEnd::default());
    plane
}

/// The metrics of a page by the name of their samples.
fn metrics(page: &str) -> BTreeMap<String, Metric> {
    let mut metrics = BTreeMap::<String, Metric>::new();
    for line in page.lines() {
        if let Some(line) = line.strip_prefix("# HELP ") {
            let (name, help) = line.split_once(' ').unwrap();
            metrics.entry(name.to_owned()).or_default().help = help.to_owned();
        } else if let Some(line) = line.strip_prefix("# TYPE ") {
            let (name, r#type) = line.split_once(' ').unwrap();
            metrics.entry(name.to_owned()).or_default().r#type = r#type.to_owned();
        } else if let Some((name, rest)) = line.split_once('{') {
            let name = name.strip_suffix("_bucket").unwrap_or(name);
            let labels = rest.split("=\"").map(|part| {
                let at = part.rfind(',').map_or(0, |at| at + 1);
                part[at..].to_owned()
            });
            let mut labels: Vec<_> = labels.collect();
            labels.pop();
            if let Some(metric) = metrics.get_mut(name) {
                labels.retain(|label| label != "le");
                metric.labels = labels;
            }
        }
    }
    metrics
}

/// The rows of the tables in `docs/metrics.md`.
fn documented() -> BTreeMap<String, Metric> {
    let page = include_str!("../../../../docs/metrics.md");
    let rows = page.lines().filter(|line| line.starts_with("| `rllm_"));
    rows.map(|row| {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let [_, name, r#type, labels, meaning, _] = cells[..] else {
            panic!("not four cells: {row}");
        };
        let labels = labels.split([',', ' ']).filter(|label| !label.is_empty());
        let metric = Metric {
            r#type: r#type.to_owned(),
            help: meaning.to_owned(),
            labels: labels
                .map(|label| label.trim_matches('`').to_owned())
                .collect(),
        };
        (name.trim_matches('`').to_owned(), metric)
    })
    .collect()
}

#[tokio::test]
async fn the_document_says_what_the_page_shows() {
    let page = page(&busy().await).await;
    let shown = metrics(&page);
    assert!(shown.len() > 30, "{page}");
    assert_eq!(shown, documented());
}

#[tokio::test]
async fn a_page_holds_what_was_counted() {
    let plane = busy().await;
    plane.record(Made::default()).await;
    plane.get("/nowhere").await;
    let page = page(&plane).await;
    let series = r#"kind="route",upstream="gpt-*",model="a\"b\\c\nd""#;
    for line in [
        "rllm_calls_accepted_total 1",
        "rllm_calls_persisted_total 1",
        "rllm_calls_deleted_total 0",
        "rllm_calls_in_flight 0",
        r#"rllm_refused_total{reason="not_found"} 1"#,
        r#"rllm_refused_total{reason="paused"} 0"#,
        &format!(r#"rllm_calls_total{{{series},outcome="upstream_error",status="429"}} 1"#),
        &format!(r#"rllm_calls_total{{{series},outcome="completed",status="none"}} 1"#),
        &format!("rllm_attempts_total{{{series}}} 1"),
        &format!("rllm_retries_total{{{series}}} 0"),
        &format!("rllm_prompt_tokens_total{{{series}}} 7"),
        &format!(r#"rllm_call_duration_seconds_bucket{{{series},le="0.01"}} 1"#),
        &format!(r#"rllm_call_duration_seconds_bucket{{{series},le="2.5"}} 2"#),
        &format!(r#"rllm_call_duration_seconds_bucket{{{series},le="+Inf"}} 2"#),
        &format!("rllm_call_duration_seconds_sum{{{series}}} 1.5"),
        &format!("rllm_call_duration_seconds_count{{{series}}} 2"),
        &format!("rllm_call_first_byte_seconds_count{{{series}}} 1"),
    ] {
        assert!(page.lines().any(|each| each == line), "{line}\n{page}");
    }
    let healthy = page
        .lines()
        .find(|line| line.starts_with("rllm_worker_healthy{worker="));
    assert!(healthy.is_some_and(|line| line.ends_with(" 1")), "{page}");
}
