//! The layer check: what the crates of this workspace must not know.
//!
//! `docs/architecture.md` draws the house; this module keeps it standing. It
//! reads the resolved dependency graph from `cargo metadata` ([`graph`]) and
//! the sources themselves ([`source`]), and names every line that breaks a
//! rule, so that nobody has to remember the rules.

use std::path::Path;
use std::process::Command;

use self::graph::Graph;

mod graph;
mod source;
mod tokens;

/// Which workspace crates a workspace crate may depend on (normal and build
/// dependencies; tests may use more). A crate that is missing here is refused,
/// so that a new one is placed on purpose.
const EDGES: &[(&str, &[&str])] = &[
    ("gateway-json", &[]),
    ("gateway-auth", &[]),
    ("gateway-sse", &[]),
    ("gateway-route", &[]),
    ("gateway-journal", &[]),
    ("gateway-metadata", &["gateway-json"]),
    (
        "gateway-trace",
        &["gateway-json", "gateway-metadata", "gateway-sse"],
    ),
    ("gateway-store", &["gateway-trace", "gateway-journal"]),
    ("gateway-store-sqlite", &["gateway-store", "gateway-trace"]),
    (
        "gateway-config",
        &["gateway-metadata", "gateway-auth", "gateway-route"],
    ),
    (
        "gateway-state",
        &["gateway-metadata", "gateway-auth", "gateway-route"],
    ),
    (
        "gateway-proxy",
        &[
            "gateway-json",
            "gateway-metadata",
            "gateway-auth",
            "gateway-sse",
            "gateway-trace",
            "gateway-route",
            "gateway-state",
            "gateway-store",
        ],
    ),
    (
        "gateway-admin",
        &[
            "gateway-json",
            "gateway-metadata",
            "gateway-auth",
            "gateway-trace",
            "gateway-route",
            "gateway-state",
            "gateway-store",
        ],
    ),
    (
        "gateway-cli",
        &[
            "gateway-json",
            "gateway-metadata",
            "gateway-auth",
            "gateway-route",
        ],
    ),
    (
        "gateway-bin",
        &[
            "gateway-json",
            "gateway-metadata",
            "gateway-auth",
            "gateway-sse",
            "gateway-trace",
            "gateway-route",
            "gateway-journal",
            "gateway-state",
            "gateway-store",
            "gateway-store-sqlite",
            "gateway-config",
            "gateway-proxy",
            "gateway-admin",
            "gateway-cli",
        ],
    ),
    ("gateway-tests", &["gateway-bin", "gateway-trace"]),
    (
        "xtask",
        &["gateway-admin", "gateway-config", "gateway-trace"],
    ),
];

/// The crates that know no I/O, no clock and no chance: time and ids come in
/// as arguments.
const PURE: &[&str] = &[
    "gateway-json",
    "gateway-metadata",
    "gateway-auth",
    "gateway-sse",
    "gateway-trace",
    "gateway-route",
];

/// Packages that no pure crate may reach, not even transitively. A trailing
/// `*` stands for any ending.
const IMPURE: &[&str] = &[
    "tokio*",
    "hyper*",
    "mio",
    "socket2",
    "async-*",
    "smol",
    "axum*",
    "tower*",
    "rustls*",
    "rusqlite",
    "libsqlite3-sys",
    "sqlx*",
    "postgres*",
    "getrandom",
    "rand",
    "rand_*",
    "fastrand",
    "uuid",
    "tempfile",
    "chrono",
    "time",
    "jiff",
    "notify",
    "dirs*",
];

/// Crates at and above the configuration, and the commands for people: only they may read the
/// environment.
const READS_ENVIRONMENT: &[&str] = &[
    "gateway-config",
    "gateway-cli",
    "gateway-bin",
    "gateway-tests",
    "xtask",
];

/// Crates that may read the command line.
const READS_COMMAND_LINE: &[&str] = &["gateway-cli", "gateway-bin", "gateway-tests", "xtask"];

/// Runs the check and prints what it finds.
///
/// # Errors
///
/// A message that lists every violation, or says why `cargo metadata` or a
/// source file could not be read.
pub(crate) fn run(workspace: &Path) -> Result<(), String> {
    let output = Command::new(crate::cargo())
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(workspace)
        .output()
        .map_err(|error| format!("cargo metadata: {error}"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        return Err(format!("cargo metadata failed: {stderr}"));
    }
    let metadata = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("cargo metadata printed no JSON: {error}"))?;
    let graph = Graph::from_metadata(&metadata)?;

    let mut violations = graph::violations(&graph);
    for member in graph.members() {
        violations.extend(source::violations(&member.name, &member.folder)?);
    }
    if violations.is_empty() {
        let crates = graph.members().count();
        println!("layers: {crates} crates, every edge allowed, the pure ones pure");
        return Ok(());
    }
    violations.sort();
    Err(format!(
        "layers: {} violation(s)\n  {}",
        violations.len(),
        violations.join("\n  ")
    ))
}
