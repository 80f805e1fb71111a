//! `cargo xtask soak`: the crash and memory tests of the suite, longer.

use std::path::Path;
use std::process::Command;

use crate::{cargo, succeed};

/// How long.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Soak {
    /// Rounds of `kill -9` under load.
    #[arg(long, default_value_t = 30)]
    kill_rounds: u32,
    /// Seconds for which another process holds the database locked.
    #[arg(long, default_value_t = 20)]
    lock_seconds: u32,
    /// Rounds of 500 sessions that are created, used and deleted, after which memory must be where
    /// it was.
    #[arg(long, default_value_t = 200)]
    session_rounds: u32,
}

/// Runs them, one at a time.
///
/// # Errors
///
/// A message if one fails.
pub(crate) fn run(workspace: &Path, soak: &Soak) -> Result<(), String> {
    let mut tests = Command::new(cargo());
    tests
        .args(["test", "--package", "gateway-tests", "--test", "it", "--"])
        .args(["crash::", "memory::", "--nocapture", "--test-threads=1"])
        .current_dir(workspace)
        .env("GATEWAY_KILL_ROUNDS", soak.kill_rounds.to_string())
        .env("GATEWAY_MEMORY_ROUNDS", soak.session_rounds.to_string())
        .env("GATEWAY_LOCK_MS", (soak.lock_seconds * 1000).to_string());
    succeed(&mut tests)
}
