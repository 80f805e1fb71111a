//! `cargo xtask fuzz`: the targets of `fuzz/`, built and run with the compiler
//! that is there.
//!
//! `cargo fuzz` itself works too, but asks for a nightly compiler, for a
//! sanitizer that safe code has no need of. What a fuzzer needs, coverage, a
//! stable one has as well.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{cargo, succeed, target_folder};

/// What to run, and how long.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Fuzz {
    /// Seconds for each target.
    #[arg(long, default_value_t = 60)]
    pub(crate) seconds: u32,
    /// Only these: sse, json, chat, completions, messages, responses,
    /// embeddings.
    pub(crate) targets: Vec<String>,
}

const TARGETS: [&str; 7] = [
    "sse",
    "json",
    "chat",
    "completions",
    "messages",
    "responses",
    "embeddings",
];

/// Counters at each edge, and the operands of comparisons, as libFuzzer reads
/// them.
const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Builds the targets and runs one after the other.
///
/// # Errors
///
/// A message that names the target which found something.
pub(crate) fn run(workspace: &Path, fuzz: &Fuzz) -> Result<(), String> {
    let targets: Vec<&str> = match &fuzz.targets[..] {
        [] => TARGETS.to_vec(),
        some => some.iter().map(String::as_str).collect(),
    };
    if let Some(unknown) = targets.iter().find(|target| !TARGETS.contains(target)) {
        return Err(format!("{unknown}: there are {}", TARGETS.join(", ")));
    }
    let folder = target_folder(workspace).join("fuzz");
    let programs = build(workspace, &folder)?;
    for target in targets {
        let found = folder.join("corpus").join(target);
        let artifacts = folder.join("artifacts").join(target);
        for folder in [&found, &artifacts] {
            fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        }
        seed(workspace, target, &found)?;
        let mut prefix = OsString::from("-artifact_prefix=");
        prefix.push(artifacts.join(""));
        println!("{target}: {} s", fuzz.seconds);
        let log = artifacts.join("log.txt");
        let file = fs::File::create(&log).map_err(|e| format!("{}: {e}", log.display()))?;
        let mut run = Command::new(programs.join(target));
        run.stderr(file)
            .arg(format!("-max_total_time={}", fuzz.seconds))
            .args(["-timeout=10", "-rss_limit_mb=2048", "-verbosity=0"])
            .arg(prefix)
            // What is new goes to the first folder; the committed corpus stays as it is.
            .arg(&found)
            .arg(workspace.join("fuzz/corpus").join(target));
        succeed(&mut run).map_err(|error| format!("{error}\n{}", end_of(&log)))?;
    }
    Ok(())
}

/// The end of what a fuzzer said, where it tells what it found.
fn end_of(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let end = text.len().saturating_sub(4096);
    String::from_utf8_lossy(&text[end..]).into_owned()
}

/// Builds all targets and gives the folder that they are in.
fn build(workspace: &Path, folder: &Path) -> Result<PathBuf, String> {
    let host = host()?;
    let mut build = Command::new(cargo());
    // With a target of its own, what only builds (macros, build scripts) is not instrumented.
    build
        .args(["build", "--quiet", "--release", "--bins", "--target", &host])
        .arg("--manifest-path")
        .arg(workspace.join("fuzz/Cargo.toml"))
        .arg("--target-dir")
        .arg(folder)
        .env("RUSTFLAGS", COVERAGE);
    succeed(&mut build)?;
    Ok(folder.join(host).join("release"))
}

/// The machine's own target triple.
fn host() -> Result<String, String> {
    let version = Command::new("rustc").arg("-vV").output();
    let version = version.map_err(|e| format!("rustc: {e}"))?.stdout;
    let version = String::from_utf8_lossy(&version);
    let mut lines = version.lines();
    let host = lines.find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned)
        .ok_or_else(|| "rustc does not tell its host".to_owned())
}

/// Puts the fixtures of the target into its corpus: for the codec and the JSON
/// text all, for a dialect its own, as `fuzz/src/dialect.rs` reads them.
fn seed(workspace: &Path, target: &str, corpus: &Path) -> Result<(), String> {
    let fixtures = workspace.join("crates/gateway-trace/tests/fixtures");
    for folder in TARGETS
        .iter()
        .filter(|folder| fixtures.join(folder).is_dir())
    {
        let is_dialect = !matches!(target, "sse" | "json");
        if is_dialect && *folder != target {
            continue;
        }
        let folder = fixtures.join(folder);
        for entry in fs::read_dir(&folder).map_err(|e| e.to_string())? {
            let path = entry.map_err(|e| e.to_string())?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let (stem, ending) = name.split_once('.').unwrap_or((&name, ""));
            let body = fs::read(&path).map_err(|e| e.to_string())?;
            let seed = match (target, ending) {
                ("sse", "sse") | ("json", "json" | "request.json") => [b"cu", &body[..]].concat(),
                (_, "json" | "sse") if is_dialect => {
                    let request = folder.join(format!("{stem}.request.json"));
                    let request = fs::read(request).unwrap_or_default();
                    let how = if ending == "sse" { b"cu1" } else { b"cu0" };
                    [how, &request[..], b"\0", &body[..]].concat()
                }
                _ => continue,
            };
            fs::write(corpus.join(&*name), seed).map_err(|e| e.to_string())?;
        }
    }
    Ok(())
}
