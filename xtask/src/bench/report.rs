//! The figures as one table and as JSON.

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::json;

use super::load::Seen;
use super::process::Usage;
use super::{TARGETS, Workload};

/// One target on one workload, once.
pub(crate) struct Turn {
    pub(crate) target: &'static str,
    pub(crate) workload: &'static str,
    pub(crate) usage: Usage,
    pub(crate) seen: Seen,
}

impl Turn {
    /// CPU of the target's process for one call, in microseconds.
    fn cpu(&self) -> f64 {
        self.usage.total() as f64 / 1000.0 / self.seen.calls as f64
    }
}

impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<11} {:<10} {:>8.1} µs CPU a call, {:>7.0} calls/s, p50 {:.2} ms, p99 {:.2} ms, {} failed",
            self.workload,
            self.target,
            self.cpu(),
            self.seen.calls as f64 / self.seen.seconds,
            self.seen.p50,
            self.seen.p99,
            self.seen.failures,
        )
    }
}

/// Median, minimum and maximum.
#[derive(Clone, Copy)]
struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Spread {
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            0 => f64::midpoint(values[middle - 1], values[middle]),
            _ => values[middle],
        };
        Spread {
            median,
            least: values[0],
            most: values[values.len() - 1],
        }
    }

    /// With so many decimals.
    fn show(self, decimals: usize) -> String {
        let Spread {
            median,
            least,
            most,
        } = self;
        format!("{median:.decimals$} ({least:.decimals$}–{most:.decimals$})")
    }
}

/// All turns of one target on one workload.
struct Row {
    workload: &'static str,
    target: &'static str,
    cpu: Spread,
    p50: Spread,
    p99: Spread,
    first_p50: Spread,
    rate: Spread,
    /// MiB after the last turn.
    memory: f64,
    /// CPU microseconds a call by thread.
    threads: BTreeMap<String, f64>,
}

/// The figures of one run.
pub(crate) struct Report {
    rows: Vec<Row>,
}

impl Report {
    pub(crate) fn of(turns: &[Turn], workloads: &[&Workload]) -> Report {
        let mut rows = Vec::new();
        for workload in workloads {
            for target in TARGETS {
                let turns: Vec<&Turn> = turns
                    .iter()
                    .filter(|turn| turn.workload == workload.name && turn.target == target)
                    .collect();
                if let Some(row) = Row::of(&turns) {
                    rows.push(row);
                }
            }
        }
        Report { rows }
    }

    /// A Markdown table, and below it the gateway's share by thread.
    pub(crate) fn table(&self) -> String {
        let mut text = String::from(
            "| workload | target | CPU µs a call | × floor | calls/s | p50 ms | p99 ms | first byte p50 ms | MiB |\n\
             | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
        );
        for row in &self.rows {
            let (cpu, ratio, memory) = match row.target {
                "direct" => ("–".to_owned(), "–".to_owned(), "–".to_owned()),
                _ => (
                    row.cpu.show(0),
                    self.ratio(row)
                        .map_or("–".to_owned(), |r| format!("{r:.2}")),
                    format!("{:.0}", row.memory),
                ),
            };
            let _ = writeln!(
                text,
                "| {} | {} | {cpu} | {ratio} | {:.0} | {} | {} | {} | {memory} |",
                row.workload,
                row.target,
                row.rate.median,
                row.p50.show(2),
                row.p99.show(2),
                row.first_p50.show(2),
            );
        }
        text.push_str("\nWhere the gateway's share goes, CPU µs a call by thread:\n\n");
        text.push_str("| workload | threads |\n| --- | --- |\n");
        for row in self.rows.iter().filter(|row| row.target == "gateway") {
            let mut threads: Vec<_> = row.threads.iter().collect();
            threads.sort_by(|a, b| b.1.total_cmp(a.1));
            let threads: Vec<String> = threads
                .iter()
                .filter(|(_, spent)| **spent >= 0.05)
                .map(|(name, spent)| format!("`{name}` {spent:.1}"))
                .collect();
            let _ = writeln!(text, "| {} | {} |", row.workload, threads.join(", "));
        }
        text
    }

    /// CPU of a row over the floor's on the same workload.
    fn ratio(&self, row: &Row) -> Option<f64> {
        let mut rows = self.rows.iter();
        let floor = rows.find(|r| r.workload == row.workload && r.target == "floor")?;
        Some(row.cpu.median / floor.cpu.median)
    }

    /// Puts the table between the marks of `docs/benchmarks.md`, and all
    /// figures into `docs/benchmarks.json`.
    ///
    /// # Errors
    ///
    /// A message if a file cannot be read or written, or the marks are gone.
    pub(crate) fn write(&self, workspace: &Path) -> Result<(), String> {
        let (begin, end) = ("<!-- figures: begin -->", "<!-- figures: end -->");
        let path = workspace.join("docs/benchmarks.md");
        let text =
            std::fs::read_to_string(&path).map_err(|e| format!("docs/benchmarks.md: {e}"))?;
        let parts = text.split_once(begin).and_then(|(before, rest)| {
            let (_, after) = rest.split_once(end)?;
            Some((before, after))
        });
        let (before, after) = parts.ok_or("docs/benchmarks.md has no place for figures")?;
        let text = format!("{before}{begin}\n{}{end}{after}", self.table());
        std::fs::write(&path, text).map_err(|e| e.to_string())?;
        let json = serde_json::to_string_pretty(&self.json()).map_err(|e| e.to_string())?;
        std::fs::write(workspace.join("docs/benchmarks.json"), json + "\n")
            .map_err(|e| e.to_string())
    }

    fn json(&self) -> serde_json::Value {
        let spread = |spread: Spread| json!([spread.least, spread.median, spread.most]);
        let rows: Vec<_> = self
            .rows
            .iter()
            .map(|row| {
                json!({
                    "workload": row.workload, "target": row.target,
                    "cpu_us": spread(row.cpu), "cpu_over_floor": self.ratio(row),
                    "calls_per_second": spread(row.rate),
                    "p50_ms": spread(row.p50), "p99_ms": spread(row.p99),
                    "first_byte_p50_ms": spread(row.first_p50),
                    "memory_mib": row.memory, "cpu_us_by_thread": row.threads,
                })
            })
            .collect();
        json!({"spreads": ["least", "median", "most"], "rows": rows})
    }
}

impl Row {
    fn of(turns: &[&Turn]) -> Option<Row> {
        let last = turns.last()?;
        let spread = |figure: &dyn Fn(&Turn) -> f64| {
            Spread::of(turns.iter().map(|turn| figure(turn)).collect())
        };
        let calls: usize = turns.iter().map(|turn| turn.seen.calls).sum();
        let mut threads = BTreeMap::new();
        for turn in turns {
            for (name, spent) in &turn.usage.threads {
                *threads.entry(name.clone()).or_default() += *spent as f64 / 1000.0 / calls as f64;
            }
        }
        Some(Row {
            workload: last.workload,
            target: last.target,
            cpu: spread(&Turn::cpu),
            p50: spread(&|turn| turn.seen.p50),
            p99: spread(&|turn| turn.seen.p99),
            first_p50: spread(&|turn| turn.seen.first_p50),
            rate: spread(&|turn| turn.seen.calls as f64 / turn.seen.seconds),
            memory: last.usage.resident as f64 / 1024.0,
            threads,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_median_and_ends() {
        assert_eq!(Spread::of(vec![3.0, 1.0, 2.0]).show(1), "2.0 (1.0–3.0)");
        assert_eq!(Spread::of(vec![4.0, 1.0]).show(1), "2.5 (1.0–4.0)");
    }
}
