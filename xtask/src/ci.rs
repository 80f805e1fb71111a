//! `cargo xtask ci`: everything that must hold before a change lands, as a
//! person runs it and as the CI does.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::{cargo, fuzz, layers, succeed, target_folder};

/// What to leave out.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Ci {
    /// Without the tests that need Python.
    #[arg(long)]
    no_python: bool,
    /// Without the short run of the bench.
    #[arg(long)]
    no_bench: bool,
}

/// Runs every check in order and stops at the first that fails.
///
/// # Errors
///
/// A message that names the check.
pub(crate) fn run(workspace: &Path, ci: &Ci) -> Result<(), String> {
    let cargo = |arguments: &[&str]| {
        let mut command = Command::new(cargo());
        command.args(arguments).current_dir(workspace);
        command
    };
    step("fmt", || succeed(&mut cargo(&["fmt", "--all", "--check"])))?;
    step("layers", || layers::run(workspace))?;
    step("clippy", || {
        let arguments = [
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ];
        succeed(&mut cargo(&arguments))
    })?;
    let binaries = Binaries::in_folder(&target_folder(workspace).join("debug"));
    step("build", || {
        succeed(&mut cargo(&["build", "--workspace", "--bins"]))
    })?;
    step("tests", || {
        let nextest = cargo(&["nextest", "--version"]).output();
        let arguments: &[&str] = match nextest {
            Ok(output) if output.status.success() => &["nextest", "run", "--workspace"],
            _ => &["test", "--workspace", "--lib", "--bins", "--tests"],
        };
        succeed(cargo(arguments).env("GATEWAY_TEST_BINARY", &binaries.gateway))
    })?;
    step("doc tests", || {
        succeed(&mut cargo(&["test", "--workspace", "--doc"]))
    })?;
    step("fuzz, short", || {
        let fuzz = fuzz::Fuzz {
            seconds: 2,
            targets: Vec::new(),
        };
        fuzz::run(workspace, &fuzz)
    })?;
    step("docs", || {
        let mut doc = cargo(&["doc", "--workspace", "--no-deps"]);
        succeed(doc.env("RUSTDOCFLAGS", "-D warnings"))
    })?;
    if !ci.no_python {
        step("python", || python(workspace, &binaries))?;
    }
    if !ci.no_bench {
        step("bench, short", || {
            succeed(&mut cargo(&["xtask", "bench", "--smoke"]))
        })?;
    }
    println!("\nci: everything holds");
    Ok(())
}

fn step(name: &str, check: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    println!("\n=== {name}");
    let start = Instant::now();
    check().map_err(|message| format!("{name}: {message}"))?;
    println!("=== {name}: good, {:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// The programs that tests in other processes start.
struct Binaries {
    gateway: PathBuf,
    upstream: PathBuf,
}

impl Binaries {
    fn in_folder(folder: &Path) -> Binaries {
        Binaries {
            gateway: folder.join("rllm-model-gateway"),
            upstream: folder.join("mock-upstream"),
        }
    }
}

/// Runs `tests/python` with the real SDKs, in a venv of our own.
fn python(workspace: &Path, binaries: &Binaries) -> Result<(), String> {
    let venv = target_folder(workspace).join("venv");
    let folder = workspace.join("tests/python");
    let wanted = fs::read_to_string(folder.join("requirements.txt")).map_err(|e| e.to_string())?;
    let installed = venv.join("installed.txt");
    if fs::read_to_string(&installed).ok().as_ref() != Some(&wanted) {
        let mut make = Command::new("python3");
        succeed(make.args(["-m", "venv", "--clear"]).arg(&venv))?;
        let mut pip = Command::new(venv.join("bin/pip"));
        let requirements = folder.join("requirements.txt");
        pip.args(["install", "--quiet", "--disable-pip-version-check", "-r"]);
        succeed(pip.arg(requirements))?;
        fs::write(&installed, wanted).map_err(|e| e.to_string())?;
    }
    let mut pytest = Command::new(venv.join("bin/python"));
    pytest
        .args(["-m", "pytest", "-q", "-p", "no:cacheprovider"])
        .arg(&folder)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("GATEWAY_TEST_BINARY", &binaries.gateway)
        .env("GATEWAY_TEST_UPSTREAM", &binaries.upstream);
    succeed(&mut pytest)
}
