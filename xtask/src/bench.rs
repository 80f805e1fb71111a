//! `cargo xtask bench`: what a call costs the gateway, beside what it costs
//! others, measured in turns on this machine. The method and how to read the
//! figures: `docs/benchmarks.md`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use self::load::{Load, Seen};
use self::payload::Kind;
use self::process::Server;
use self::report::Turn;

mod floor;
pub(crate) mod load;
mod mock;
mod payload;
mod process;
mod report;

/// How to measure.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Bench {
    /// Rounds; each measures every target on every workload once, in another
    /// order.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Only these targets: direct, floor, floor+sync, nginx, gateway.
    #[arg(long, value_delimiter = ',')]
    targets: Vec<String>,
    /// Only these workloads: plain, stream, plain-200, stream-200, stream-gap.
    #[arg(long, value_delimiter = ',')]
    workloads: Vec<String>,
    /// Extra flags for the gateway.
    #[arg(long, allow_hyphen_values = true)]
    gateway_flags: Vec<String>,
    /// Shows that the bench works: debug builds, a few calls, nothing written.
    #[arg(long)]
    smoke: bool,
    /// Writes the table into docs/benchmarks.md and docs/benchmarks.json.
    #[arg(long)]
    write: bool,
}

/// The bench's own processes.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Part {
    /// The mock upstream.
    Mock,
    /// The bare pass-through.
    Floor {
        upstream: String,
        /// Sync 10 KiB to a file in this folder before a reply ends.
        #[arg(long)]
        sync: Option<PathBuf>,
    },
    /// The load generator.
    Load(Load),
}

/// Runs one of the bench's processes.
///
/// # Errors
///
/// A message that says what failed.
pub(crate) fn part(part: Part) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| e.to_string())?;
    runtime.block_on(async {
        match part {
            Part::Mock => mock::serve().await,
            Part::Floor { upstream, sync } => floor::serve(&upstream, sync).await,
            Part::Load(load) => {
                let seen = load::run(load).await?;
                let seen = serde_json::to_string(&seen).map_err(|e| e.to_string())?;
                println!("{seen}");
                Ok(())
            }
        }
    })
}

/// One regime: what is asked for, and how often.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    kind: Kind,
    connections: usize,
    rate: Option<u32>,
    calls: usize,
}

const WORKLOADS: [Workload; 5] = [
    Workload {
        name: "plain",
        kind: Kind::Plain,
        connections: 16,
        rate: None,
        calls: 6000,
    },
    Workload {
        name: "stream",
        kind: Kind::Stream,
        connections: 16,
        rate: None,
        calls: 3000,
    },
    Workload {
        name: "plain-200",
        kind: Kind::Plain,
        connections: 64,
        rate: Some(200),
        calls: 1000,
    },
    Workload {
        name: "stream-200",
        kind: Kind::Stream,
        connections: 64,
        rate: Some(200),
        calls: 1000,
    },
    Workload {
        name: "stream-gap",
        kind: Kind::Gap,
        connections: 64,
        rate: None,
        calls: 1000,
    },
];

const TARGETS: [&str; 5] = ["direct", "floor", "floor+sync", "nginx", "gateway"];

/// A program that calls go through; `direct` has no process of its own.
struct Target {
    name: &'static str,
    address: std::net::SocketAddr,
    server: Option<Server>,
}

/// Builds, measures, and prints one table.
///
/// # Errors
///
/// A message that says which part failed.
pub(crate) fn run(workspace: &Path, bench: &Bench) -> Result<(), String> {
    let names = chosen(&TARGETS, &bench.targets, |name| name)?;
    let workloads = chosen(&WORKLOADS, &bench.workloads, |workload| workload.name)?;
    let programs = Programs::build(workspace, &names, bench.smoke)?;
    let folder = tempfile::tempdir_in(programs.folder()).map_err(|e| e.to_string())?;
    let mut mock = Command::new(&programs.xtask);
    mock.args(["part", "mock"]);
    let mock = Server::start(mock)?;
    let mut targets = Vec::new();
    for name in names {
        match start(name, &programs, &mock, folder.path(), bench)? {
            Some(target) => targets.push(target),
            None => println!("{name}: not installed, left out"),
        }
    }
    let rounds = if bench.smoke { 1 } else { bench.rounds };

    let mut turns = Vec::new();
    for round in 0..rounds {
        for workload in &workloads {
            for at in 0..targets.len() {
                let target = &targets[(at + round) % targets.len()];
                let calls = if bench.smoke { 32 } else { workload.calls };
                let turn = measure(&programs, target, workload, calls, round)?;
                println!("round {} of {rounds}: {turn}", round + 1);
                turns.push(turn);
            }
        }
    }
    drop(targets);
    let failures: usize = turns.iter().map(|turn| turn.seen.failures).sum();
    let report = report::Report::of(&turns, &workloads);
    println!("\n{}", report.table());
    if bench.write {
        report.write(workspace)?;
    }
    match failures {
        0 => Ok(()),
        failures => Err(format!("{failures} calls failed")),
    }
}

/// Those whose names were asked for, or all.
fn chosen<'a, T>(
    all: &'a [T],
    wanted: &[String],
    name: impl Fn(&'a T) -> &'a str,
) -> Result<Vec<&'a T>, String> {
    if wanted.is_empty() {
        return Ok(all.iter().collect());
    }
    wanted
        .iter()
        .map(|wanted| {
            let mut all = all.iter();
            all.find(|one| name(one) == wanted)
                .ok_or_else(|| format!("there is no {wanted:?} to measure"))
        })
        .collect()
}

/// The programs under measurement.
struct Programs {
    xtask: PathBuf,
    gateway: PathBuf,
}

impl Programs {
    /// Builds them: for figures in release, each by itself, so that neither
    /// gets features that only the other asks for; else as `ci` does.
    fn build(workspace: &Path, targets: &[&&str], debug: bool) -> Result<Programs, String> {
        let mut builds: Vec<&[&str]> = Vec::new();
        if debug {
            builds.push(&["build", "--workspace", "--bins"]);
        } else {
            builds.push(&["build", "--release", "--package", "xtask"]);
            if targets.contains(&&"gateway") {
                builds.push(&["build", "--release", "--package", "gateway-bin"]);
            }
        }
        for arguments in builds {
            let mut build = Command::new(crate::cargo());
            crate::succeed(build.args(arguments).current_dir(workspace))?;
        }
        let profile = if debug { "debug" } else { "release" };
        let folder = crate::target_folder(workspace).join(profile);
        Ok(Programs {
            xtask: folder.join("xtask"),
            gateway: folder.join("rllm-model-gateway"),
        })
    }

    /// Where they lie: a real disk, unlike perhaps `/tmp`.
    fn folder(&self) -> &Path {
        self.gateway.parent().expect("a file lies in a folder")
    }
}

fn start(
    name: &'static str,
    programs: &Programs,
    mock: &Server,
    folder: &Path,
    bench: &Bench,
) -> Result<Option<Target>, String> {
    let upstream = format!("http://{}", mock.address);
    let server = match name {
        "direct" => None,
        "gateway" => {
            let mut gateway = Command::new(&programs.gateway);
            gateway
                .args(["--port", "0", "--worker", &upstream, "--db-path"])
                .arg(folder.join("gateway.db"))
                .args(&bench.gateway_flags);
            Some(Server::start(gateway)?)
        }
        "nginx" => match nginx(folder, mock)? {
            Some(server) => Some(server),
            None => return Ok(None),
        },
        _ => {
            let mut floor = Command::new(&programs.xtask);
            floor.args(["part", "floor", &upstream]);
            if name == "floor+sync" {
                floor.arg("--sync").arg(folder);
            }
            Some(Server::start(floor)?)
        }
    };
    let address = server
        .as_ref()
        .map_or(mock.address, |server| server.address);
    Ok(Some(Target {
        name,
        address,
        server,
    }))
}

/// nginx as one process, if it is installed.
fn nginx(folder: &Path, mock: &Server) -> Result<Option<Server>, String> {
    let installed = Command::new("nginx")
        .arg("-v")
        .stderr(Stdio::null())
        .status();
    if !installed.is_ok_and(|status| status.success()) {
        return Ok(None);
    }
    // nginx cannot say which port it was given: one that was free just now.
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    let address = free.map_err(|e| e.to_string())?;
    let config = folder.join("nginx.conf");
    let text = format!(
        "daemon off; master_process off; pid {pid}; error_log stderr crit;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\n  access_log off; client_body_temp_path {temp}; proxy_temp_path {temp};\n  \
         fastcgi_temp_path {temp}; uwsgi_temp_path {temp}; scgi_temp_path {temp};\n  \
         keepalive_requests 1000000;\n  \
         upstream mock {{ server {mock}; keepalive 128; keepalive_requests 1000000; }}\n  \
         server {{\n    listen {address};\n    location / {{\n      \
         proxy_pass http://mock; proxy_http_version 1.1; proxy_set_header Connection \"\";\n      \
         proxy_buffering off;\n    }}\n  }}\n}}\n",
        pid = folder.join("nginx.pid").display(),
        temp = folder.join("nginx-temp").display(),
        mock = mock.address,
    );
    std::fs::write(&config, text).map_err(|e| e.to_string())?;
    let mut nginx = Command::new("nginx");
    nginx.arg("-c").arg(&config).arg("-p").arg(folder);
    Server::start_at(nginx, address).map(Some)
}

fn measure(
    programs: &Programs,
    target: &Target,
    workload: &Workload,
    calls: usize,
    round: usize,
) -> Result<Turn, String> {
    let load = |calls: usize, rate: Option<u32>, session: &str| {
        let mut load = Command::new(&programs.xtask);
        load.args(["part", "load", "--kind", workload.kind.name()])
            .args(["--address", &target.address.to_string()])
            .args(["--connections", &workload.connections.to_string()])
            .args(["--calls", &calls.to_string()])
            .args(["--session", &format!("{}-{round}-{session}", workload.name)])
            .args(rate.map(|rate| format!("--rate={rate}")));
        let output = load.output().map_err(|e| e.to_string())?;
        serde_json::from_slice::<Seen>(&output.stdout)
            .map_err(|_| format!("the load: {}", String::from_utf8_lossy(&output.stderr)))
    };
    load(calls.div_ceil(10), None, "warm")?;
    settle(target);
    let before = target.server.as_ref().map(Server::usage);
    let seen = load(calls, workload.rate, "run")?;
    // What the gateway puts off is part of the call's price.
    settle(target);
    let usage = target.server.as_ref().zip(before);
    let usage = usage.map(|(server, before)| server.usage().since(&before));
    Ok(Turn {
        target: target.name,
        workload: workload.name,
        usage: usage.unwrap_or_default(),
        seen,
    })
}

/// Waits until the gateway has stored what it recorded.
fn settle(target: &Target) {
    use std::io::{Read, Write};

    if target.name != "gateway" {
        return;
    }
    let Ok(mut stream) = std::net::TcpStream::connect(target.address) else {
        return;
    };
    let flush = "POST /admin/flush HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let _ = stream.write_all(flush.as_bytes());
    let _ = stream.read_to_end(&mut Vec::new());
}
