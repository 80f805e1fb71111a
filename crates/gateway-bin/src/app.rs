//! A running gateway as one value: opened, served, ended.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use gateway_admin::Admin;
use gateway_config::{Config, StoreKind};
use gateway_proxy::Proxy;
use gateway_state::{AddError, SamplingParams, State};
use gateway_store::{
    Change, CloseError, Durability, Json, Ledger, MemoryStore, OpenError, ReadError, StoreError,
    TraceStore,
};
use gateway_store_sqlite::SqliteStore;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::planes::Planes;
use crate::reload::{InForce, Reload, register};
use crate::server::Server;
use crate::socket::Clocks;
use crate::stop::Stop;
use crate::{health, live};

/// How long a hurried end waits for the disk: what was captured is on its way there.
const HURRIED_END: Duration = Duration::from_millis(1500);

/// Why a gateway does not start. Nothing that was there before is damaged by the attempt.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A worker of the configuration cannot be one: the operator's error.
    #[error("workers: {url}")]
    Worker {
        /// Its URL.
        url: String,
        /// Why.
        source: AddError,
    },
    /// The address is taken, or not this machine's.
    #[error("cannot listen on {host}:{port}")]
    Listen {
        /// The host, as configured.
        host: String,
        /// The port, as configured.
        port: u16,
        /// The operating system's word.
        source: std::io::Error,
    },
    /// The database cannot be used: another program's, damaged, newer, in use.
    #[error("cannot open the database {path}")]
    Store {
        /// The file.
        path: String,
        /// Why.
        source: StoreError,
    },
    /// The database has a second name, beside which its newest records may lie.
    #[error(
        "the database {path} has another name (a hard link), and no journal lies beside this one: \
         serve it by the name that it had, or remove that one"
    )]
    OtherName {
        /// The file.
        path: String,
    },
    /// The journal cannot be used, or the store does not fit to it.
    #[error("cannot open the journal {path}")]
    Journal {
        /// Its folder.
        path: String,
        /// Why.
        source: OpenError,
    },
    /// There is no temporary folder for the journal of a gateway that keeps nothing.
    #[error("cannot make a temporary folder")]
    Folder(#[source] std::io::Error),
    /// The run cannot be registered.
    #[error("cannot register the run")]
    Run(#[source] gateway_store::ChangeError),
    /// What sessions have set cannot be read back.
    #[error("cannot read the sessions")]
    Sessions(#[source] ReadError),
}

impl StartError {
    /// Whether the configuration is at fault, and not the machine.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        matches!(self, StartError::Worker { .. })
    }
}

/// A gateway that holds its port, its store and its journal. It serves once it is [run](App::run);
/// until then connections wait.
pub struct App {
    server: Server<Planes>,
    address: SocketAddr,
    database: Option<PathBuf>,
    state: Arc<State>,
    proxy: Arc<Proxy>,
    ledger: Ledger,
    stop: Stop,
    drain_timeout: Duration,
    run_id: Option<String>,
    /// What runs beside the calls.
    tasks: [JoinHandle<()>; 2],
    /// Holds the journal of a gateway without a database; removed with it.
    _folder: Option<TempDir>,
}

impl App {
    /// Opens everything that `config` names: first the port, so that a taken one leaves the files
    /// alone, then the store and its journal. `reload` reads the configuration anew, `stop` ends it.
    ///
    /// Must be called within a tokio runtime; opening the files blocks it.
    ///
    /// # Errors
    ///
    /// [`StartError`] says what cannot be had.
    pub async fn start(config: &Config, reload: Reload, stop: Stop) -> Result<App, StartError> {
        let loopback = std::net::IpAddr::from([127, 0, 0, 1]);
        let version = env!("CARGO_PKG_VERSION");
        let state = Arc::new(State::new(live::live(config, loopback), version));
        register(&state, config).map_err(|(index, source)| StartError::Worker {
            url: config.workers[index].url.url().to_string(),
            source,
        })?;
        let (listener, address) = listen(config).await?;
        state.set_live(live::live(config, address.ip()));

        let opened = open(config)?;
        let ledger = opened.ledger;
        restore_sampling_params(&ledger, &*opened.store, &state).await?;
        register_run(config, &ledger).await?;
        let checks = tokio::spawn(health::check_workers(Arc::clone(&state)));

        let in_force = InForce::new(config.clone(), Arc::clone(&state), address.ip(), reload);
        let in_force = Arc::new(in_force);
        let following = tokio::spawn({
            let in_force = Arc::clone(&in_force);
            async move { in_force.follow().await }
        });
        let reload: gateway_admin::Reload = Arc::new(move || {
            let in_force = Arc::clone(&in_force);
            Box::pin(async move { in_force.read().await })
        });

        let proxy = Proxy::new(Arc::clone(&state), ledger.clone(), opened.durability);
        let proxy = Arc::new(proxy);
        let planes = Planes {
            proxy: Arc::clone(&proxy),
            admin: Admin::new(Arc::clone(&state), ledger.clone(), reload),
        };
        let clocks = Clocks {
            header: config.header_timeout,
            idle: config.idle_timeout,
            write: config.write_timeout,
        };
        Ok(App {
            server: Server::new(listener, planes, clocks, config.max_connections),
            address,
            database: opened.database,
            state,
            proxy,
            ledger,
            stop,
            drain_timeout: config.drain_timeout,
            run_id: config.run_id.clone(),
            tasks: [checks, following],
            _folder: opened.folder,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The database file, links followed, beside which its journal lies; none of a gateway that
    /// keeps nothing.
    #[must_use]
    pub fn database(&self) -> Option<&Path> {
        self.database.as_deref()
    }

    /// Serves until its [`Stop`] is requested, then lets calls in flight end within
    /// `drain_timeout`, ends the run, and brings every record to the disk.
    ///
    /// # Errors
    ///
    /// [`CloseError::NotDurable`] if records could not be brought to the disk. A store that lags
    /// behind is no error: the next start carries on from the journal.
    pub async fn run(self) -> Result<(), CloseError> {
        let App {
            server,
            state,
            proxy,
            ledger,
            stop,
            ..
        } = self;
        let drain = || {
            state.drain().begin();
            // Who sends the signal may not wait for the rest.
            proxy.journal_partials();
        };
        let cut = || proxy.interrupt();
        server.run(&stop, self.drain_timeout, drain, cut).await;
        for task in self.tasks {
            task.abort();
        }

        let end = async {
            if let Some(run_id) = self.run_id {
                let at = unix_now();
                if let Err(error) = ledger.change(Change::EndRun { run_id, at }).await {
                    tracing::warn!("the end of the run is not noted: {}", crate::chain(&error));
                }
            }
            ledger.close().await
        };
        let hurry = async {
            stop.hurried().await;
            tokio::time::sleep(HURRIED_END).await;
        };
        let closed = tokio::select! {
            closed = end => closed,
            () = hurry => {
                tracing::warn!("ending before the store has caught up; the next start does that");
                Ok(())
            }
        };
        match closed {
            Err(error @ CloseError::NotStored(_)) => {
                tracing::warn!("the next start will carry on: {}", crate::chain(&error));
                Ok(())
            }
            closed => closed,
        }
    }
}

async fn listen(config: &Config) -> Result<(TcpListener, SocketAddr), StartError> {
    let error = |source| StartError::Listen {
        host: config.host.clone(),
        port: config.port,
        source,
    };
    let listener = TcpListener::bind((config.host.as_str(), config.port))
        .await
        .map_err(error)?;
    let address = listener.local_addr().map_err(error)?;
    Ok((listener, address))
}

/// A store and what carries calls into it.
pub(crate) struct Opened {
    pub(crate) ledger: Ledger,
    pub(crate) store: Arc<dyn TraceStore>,
    durability: Durability,
    folder: Option<TempDir>,
    database: Option<PathBuf>,
}

pub(crate) fn open(config: &Config) -> Result<Opened, StartError> {
    let mut database = None;
    let (store, journal, durability, folder): (Arc<dyn TraceStore>, _, _, _) = match config.store {
        StoreKind::Memory => {
            // Nothing outlives the process, so that nothing is worth waiting for.
            let folder = tempfile::Builder::new()
                .prefix("rllm-gateway-")
                .tempdir()
                .map_err(StartError::Folder)?;
            let journal = folder.path().join("journal.d");
            let store = Arc::new(MemoryStore::new());
            (store, journal, Durability::Background, Some(folder))
        }
        _ => {
            let path = &config.db_path;
            if may_lack_records(path) {
                let path = path.display().to_string();
                return Err(StartError::OtherName { path });
            }
            let store = SqliteStore::open(path).map_err(|source| StartError::Store {
                path: path.display().to_string(),
                source,
            })?;
            let file = store.path().to_owned();
            let journal = gateway_config::journal_dir(&file);
            let durability = live::durability(config);
            database = Some(file);
            (Arc::new(store), journal, durability, None)
        }
    };
    let options = live::ledger_options(config, journal.clone(), durability);
    let ledger =
        Ledger::open(options, Arc::clone(&store)).map_err(|source| StartError::Journal {
            path: journal.display().to_string(),
            source,
        })?;
    Ok(Opened {
        ledger,
        store,
        durability,
        folder,
        database,
    })
}

/// Whether a database that is there is called by a name that no gateway has called it by, and has
/// another: WAL and journal go by the name, so that a crash may have left the newest records with
/// that one.
fn may_lack_records(path: &Path) -> bool {
    let Ok(file) = path.canonicalize() else {
        return false;
    };
    let has_other_names = fs::metadata(&file)
        .is_ok_and(|found| found.is_file() && found.len() > 0 && found.nlink() > 1);
    has_other_names && !gateway_config::journal_dir(&file).exists()
}

/// Sampling parameters outlive a restart.
async fn restore_sampling_params(
    ledger: &Ledger,
    store: &dyn TraceStore,
    state: &State,
) -> Result<(), StartError> {
    let read = ledger.read(TraceStore::sampling_params).await;
    let sessions = match read {
        Err(ReadError::Behind { lag }) => {
            tracing::warn!(
                "the store is {lag} journal entries behind: sampling parameters that a session \
                 was given last may be missing"
            );
            let read = store.sampling_params();
            read.map_err(|error| StartError::Sessions(error.into()))?
        }
        read => read.map_err(StartError::Sessions)?,
    };
    for (session, params) in sessions {
        match sampling_params(&params) {
            Some(params) => state.sampling().set(&session, params),
            None => tracing::warn!(?session, "its sampling parameters cannot be read"),
        }
    }
    Ok(())
}

fn sampling_params(params: &Json) -> Option<SamplingParams> {
    let root =
        gateway_json::parse(params.as_str().as_bytes(), gateway_json::Dialect::Strict).ok()?;
    let members = root.members();
    let pairs = members.map(|member| {
        let key = member.key.to_cow().into_owned();
        (key, member.value.text().to_owned())
    });
    SamplingParams::new(pairs).ok()
}

async fn register_run(config: &Config, ledger: &Ledger) -> Result<(), StartError> {
    let Some(run_id) = config.run_id.clone() else {
        return Ok(());
    };
    let metadata = serde_json::Value::from(config.run_metadata.clone()).to_string();
    let start = Change::StartRun {
        run_id,
        metadata: Json::new(&metadata).expect("what serde_json writes is JSON"),
        at: unix_now(),
    };
    match ledger.change(start).await {
        Ok(_) => Ok(()),
        Err(error @ gateway_store::ChangeError::Behind { .. }) => {
            tracing::warn!("the run will be registered later: {}", crate::chain(&error));
            Ok(())
        }
        Err(error) => Err(StartError::Run(error)),
    }
}

fn unix_now() -> f64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs_f64()
}

#[cfg(test)]
mod tests;
