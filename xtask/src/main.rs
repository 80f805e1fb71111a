//! Front door of the workspace: `cargo xtask <command>`.
//!
//! | command | what it does |
//! | --- | --- |
//! | `ci` | everything that must hold before a change lands |
//! | `layers` | the crates know only what they may |
//! | `docs` | writes the pages that are made from the code |
//! | `soak` | the crash and memory tests, longer |
//! | `fuzz` | the fuzz targets, which need a C++ compiler |
//! | `bench` | what a call costs, beside what it costs others |

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::{Parser, Subcommand};

mod bench;
mod ci;
mod docs;
mod fuzz;
mod layers;
mod soak;

/// Front door of the workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Everything that must hold before a change lands.
    Ci(ci::Ci),
    /// Checks which crates know which, and that the pure ones are pure.
    Layers,
    /// Writes the pages of `docs/` that are made from the code.
    Docs,
    /// Runs the crash and memory tests longer than `ci` does.
    Soak(soak::Soak),
    /// Runs the fuzz targets.
    Fuzz(fuzz::Fuzz),
    /// Measures what a call costs.
    Bench(bench::Bench),
    /// A process of the bench.
    #[command(hide = true, subcommand)]
    Part(bench::Part),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().task {
        Task::Ci(ci) => ci::run(workspace(), &ci),
        Task::Layers => layers::run(workspace()),
        Task::Docs => docs::run(workspace()),
        Task::Soak(soak) => soak::run(workspace(), &soak),
        Task::Fuzz(fuzz) => fuzz::run(workspace(), &fuzz),
        Task::Bench(bench) => bench::run(workspace(), &bench),
        Task::Part(part) => bench::part(part),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

/// The workspace's folder.
fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the workspace")
}

/// Where cargo puts what it builds.
fn target_folder(workspace: &Path) -> PathBuf {
    let folder = std::env::var_os("CARGO_TARGET_DIR");
    folder.map_or_else(|| workspace.join("target"), PathBuf::from)
}

/// The cargo that runs us.
fn cargo() -> PathBuf {
    std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from)
}

/// Runs a command with our own input and output.
///
/// # Errors
///
/// A message that names the command, if it does not succeed.
fn succeed(command: &mut Command) -> Result<(), String> {
    let status = command.status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?} ended with {status}")),
        Err(error) => Err(format!("{command:?}: {error}")),
    }
}
