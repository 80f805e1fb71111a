//! Front door of the workspace: `cargo xtask <command>`.
//!
//! | command | what it does |
//! | --- | --- |
//! | `ci` | everything that must hold before a change lands |
//! | `layers` | the crates know only what they may |

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod layers;

/// Front door of the workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Checks which crates know which, and that the pure ones are pure.
    Layers,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().task {
        Task::Layers => layers::run(workspace()),
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

/// The cargo that runs us.
fn cargo() -> PathBuf {
    std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from)
}
