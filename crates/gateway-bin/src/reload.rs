//! The configuration, read anew while the gateway runs.

use std::future::pending;
use std::net::IpAddr;
use std::sync::Arc;

use gateway_admin::Reloaded;
use gateway_auth::Secret;
use gateway_config::{Config, ConfigError};
use gateway_state::{AddError, State};
use tokio::sync::{Mutex, Notify};

use crate::live;

type Read = dyn Fn() -> Result<Config, ConfigError> + Send + Sync;

/// How a running gateway reads its configuration anew. Clones ask the same one to; by default there
/// is nothing to read.
#[derive(Clone, Default)]
pub struct Reload(Option<Arc<Source>>);

struct Source {
    read: Box<Read>,
    asked: Notify,
}

impl Reload {
    /// Reads it by `read`, which may block.
    #[must_use]
    pub fn by(read: impl Fn() -> Result<Config, ConfigError> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(Source {
            read: Box::new(read),
            asked: Notify::new(),
        })))
    }

    /// What SIGHUP does: asks for it. What comes of it is logged.
    pub fn request(&self) {
        match &self.0 {
            Some(source) => source.asked.notify_one(),
            None => tracing::error!("{NOTHING_TO_READ}"),
        }
    }

    async fn requested(&self) {
        match &self.0 {
            Some(source) => source.asked.notified().await,
            None => pending().await,
        }
    }
}

const NOTHING_TO_READ: &str =
    "there is no configuration file to read anew; start the gateway with --config FILE";

type TokensOf = fn(&Config) -> &[Secret];

/// The keys whose tokens close the gateway.
const TOKENS: [(&str, TokensOf); 2] = [
    ("inbound_auth_token", |config| &config.inbound_auth_token),
    ("admin_auth_token", |config| &config.admin_auth_token),
];

/// The configuration in force.
pub(crate) struct InForce {
    config: Mutex<Config>,
    state: Arc<State>,
    address: IpAddr,
    reload: Reload,
}

impl InForce {
    /// `config` is in force already, in `state`, for a gateway that listens on `address`.
    pub(crate) fn new(config: Config, state: Arc<State>, address: IpAddr, reload: Reload) -> Self {
        Self {
            config: Mutex::new(config),
            state,
            address,
            reload,
        }
    }

    /// Reads the configuration whenever that is [requested](Reload::request), for ever.
    pub(crate) async fn follow(&self) {
        loop {
            self.reload.requested().await;
            // It is logged.
            let _ = self.read().await;
        }
    }

    /// Reads the configuration and puts it in force: all of it that can change, or nothing where
    /// it cannot be taken.
    ///
    /// # Errors
    /// One line that says what is wrong, and where.
    pub(crate) async fn read(&self) -> Result<Reloaded, String> {
        // One after the other: who comes later reads later.
        let mut in_force = self.config.lock().await;
        let read = self.read_anew(&in_force).await;
        match &read {
            Err(problem) => tracing::error!(problem, "the configuration stays as it was"),
            Ok((config, reloaded)) => {
                for (key, tokens) in TOKENS {
                    if !tokens(&in_force).is_empty() && tokens(config).is_empty() {
                        tracing::warn!("the last {key} was removed: nobody is asked for it now");
                    }
                }
                in_force.clone_from(config);
                let Reloaded {
                    changed,
                    restart_needed,
                } = reloaded;
                tracing::info!(?changed, ?restart_needed, "the configuration was read anew");
                for warning in config.warnings() {
                    tracing::warn!("{warning}");
                }
            }
        }
        read.map(|(_, reloaded)| reloaded)
    }

    async fn read_anew(&self, in_force: &Config) -> Result<(Config, Reloaded), String> {
        let source = self.reload.0.clone().ok_or(NOTHING_TO_READ)?;
        let read = tokio::task::spawn_blocking(move || (source.read)()).await;
        let read = read
            .map_err(|error| error.to_string())?
            .map_err(|error| error.to_string())?;
        let config = with_what_is_fixed(read.clone(), in_force);
        register(&self.state, &config)
            .map_err(|(index, error)| format!("workers[{index}]: {error}"))?;
        self.state.set_live(live::live(&config, self.address));
        let reloaded = Reloaded {
            changed: config.changed_keys(in_force),
            restart_needed: read.changed_keys(&config),
        };
        Ok((config, reloaded))
    }
}

/// Makes the workers of the configuration those of the pool.
///
/// # Errors
/// The number of the worker that cannot be one, and why; nothing was changed.
pub(crate) fn register(state: &State, config: &Config) -> Result<(), (usize, AddError)> {
    let specs: Vec<_> = config.workers.iter().map(live::worker).collect();
    state.workers().configure(&specs, &config.worker_allow)
}

/// What was read, with the old values of all that is made once, at the start: the listener and its
/// connections, the store, the journal, the run.
fn with_what_is_fixed(read: Config, in_force: &Config) -> Config {
    let old = in_force.clone();
    Config {
        host: old.host,
        port: old.port,
        max_connections: old.max_connections,
        header_timeout: old.header_timeout,
        idle_timeout: old.idle_timeout,
        write_timeout: old.write_timeout,
        drain_timeout: old.drain_timeout,
        log_level: old.log_level,
        store: old.store,
        db_path: old.db_path,
        journal_bytes: old.journal_bytes,
        queue_bytes: old.queue_bytes,
        instance_id: old.instance_id,
        durability: old.durability,
        // The wait for room in the journal is the ledger's.
        request_timeout: old.request_timeout,
        pool_idle_timeout: old.pool_idle_timeout,
        run_id: old.run_id,
        run_metadata: old.run_metadata,
        ..read
    }
}

#[cfg(test)]
mod tests;
