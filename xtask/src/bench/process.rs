//! The processes under measurement, and what the kernel says they used.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use tokio::net::TcpListener;

/// Listens on a free port and says so on stdout, as the gateway does.
pub(crate) async fn announce() -> Result<TcpListener, String> {
    let listener = TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.map_err(|e| e.to_string())?;
    let address = listener.local_addr().map_err(|e| e.to_string())?;
    println!("listening on http://{address}");
    Ok(listener)
}

/// A server that runs until this is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts a server that prints where it listens.
    ///
    /// # Errors
    ///
    /// A message if it does not start, or ends without listening.
    pub(crate) fn start(mut command: Command) -> Result<Server, String> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("{command:?}: {e}"))?;
        let stdout = child.stdout.take().ok_or("no stdout")?;
        let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
        let address = lines.find_map(|line| {
            let (_, address) = line.split_once("listening on http://")?;
            address.trim().parse().ok()
        });
        let Some(address) = address else {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("{command:?} does not listen"));
        };
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Server { child, address })
    }

    /// Starts a server that is told where to listen, and waits until it does.
    ///
    /// # Errors
    ///
    /// A message if it does not start, or ends without listening.
    pub(crate) fn start_at(mut command: Command, address: SocketAddr) -> Result<Server, String> {
        let child = command.stdin(Stdio::null()).spawn();
        let mut server = Server {
            child: child.map_err(|e| format!("{command:?}: {e}"))?,
            address,
        };
        while std::net::TcpStream::connect(address).is_err() {
            let ended = server.child.try_wait().map_err(|e| e.to_string())?;
            if let Some(status) = ended {
                return Err(format!("{command:?} ended with {status}"));
            }
            std::thread::yield_now();
        }
        Ok(server)
    }

    /// What its threads have used so far.
    pub(crate) fn usage(&self) -> Usage {
        Usage::of(self.child.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU time by thread name, in nanoseconds, and memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) threads: BTreeMap<String, u64>,
    /// Resident memory, in KiB.
    pub(crate) resident: u64,
}

impl Usage {
    fn of(process: u32) -> Usage {
        let mut usage = Usage::default();
        let tasks = fs::read_dir(format!("/proc/{process}/task"));
        for task in tasks.into_iter().flatten().flatten() {
            let read = |name| fs::read_to_string(task.path().join(name)).unwrap_or_default();
            // "time on the CPU, time waiting for it, slices"
            let spent = read("schedstat");
            let spent = spent.split(' ').next().and_then(|spent| spent.parse().ok());
            let name = read("comm").trim().to_owned();
            *usage.threads.entry(name).or_default() += spent.unwrap_or(0_u64);
        }
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        usage.resident = resident
            .and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
            .unwrap_or(0);
        usage
    }

    /// The time of all threads, in nanoseconds.
    pub(crate) fn total(&self) -> u64 {
        self.threads.values().sum()
    }

    /// What was used since an earlier reading.
    pub(crate) fn since(&self, earlier: &Usage) -> Usage {
        let threads = self.threads.iter().map(|(name, spent)| {
            let before = earlier.threads.get(name).copied().unwrap_or(0);
            (name.clone(), spent.saturating_sub(before))
        });
        Usage {
            threads: threads.collect(),
            resident: self.resident,
        }
    }
}
