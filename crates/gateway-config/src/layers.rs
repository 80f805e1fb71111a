//! The layers: file, environment, command line, each over the one before.

use std::env::VarError;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::{Config, StoreKind};
use crate::decode::{Table, Variable};
use crate::error::{ConfigError, Origin};
use crate::read;
use crate::tree::{Entry, Node, Value, overlay, parse_file};

/// What the command line sets, each flag as it was typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--host`
    pub host: Option<String>,
    /// `--port`
    pub port: Option<u16>,
    /// `--worker`, which may repeat; any take the place of the file's list.
    pub workers: Vec<String>,
    /// `--db-path`
    pub db_path: Option<String>,
    /// `--store`
    pub store: Option<String>,
    /// `--database-url`
    pub database_url: Option<String>,
    /// `--log-level`
    pub log_level: Option<String>,
    /// `--sampling-params-priority`
    pub sampling_params_priority: Option<String>,
    /// `--model`
    pub model: Option<String>,
    /// `--allow-unauthenticated`
    pub allow_unauthenticated: bool,
}

/// The environment variables that set a key. Others of this prefix are left alone.
pub(crate) const VARIABLES: [(&str, &str); 9] = [
    ("RLLM_GATEWAY_HOST", "host"),
    ("RLLM_GATEWAY_PORT", "port"),
    ("RLLM_GATEWAY_DB_PATH", "db_path"),
    ("RLLM_GATEWAY_LOG_LEVEL", "log_level"),
    ("RLLM_GATEWAY_STORE", "store_worker"),
    ("RLLM_GATEWAY_DATABASE_URL", "database_url"),
    ("RLLM_GATEWAY_INBOUND_TOKEN", "inbound_auth_token"),
    ("RLLM_GATEWAY_ADMIN_TOKEN", "admin_auth_token"),
    (
        "RLLM_GATEWAY_ALLOW_UNAUTHENTICATED",
        "allow_unauthenticated",
    ),
];

/// What a flag was given, as text.
type Given = fn(&Overrides) -> Option<String>;

/// The flags that set a key to one text; `--worker` makes a list.
pub(crate) const FLAGS: [(&str, &str, Given); 9] = [
    ("--host", "host", |flags| flags.host.clone()),
    ("--port", "port", |flags| Some(flags.port?.to_string())),
    ("--db-path", "db_path", |flags| flags.db_path.clone()),
    ("--store", "store_worker", |flags| flags.store.clone()),
    ("--database-url", "database_url", |flags| {
        flags.database_url.clone()
    }),
    ("--log-level", "log_level", |flags| flags.log_level.clone()),
    (
        "--sampling-params-priority",
        "sampling_params_priority",
        |flags| flags.sampling_params_priority.clone(),
    ),
    ("--model", "model", |flags| flags.model.clone()),
    (
        "--allow-unauthenticated",
        "allow_unauthenticated",
        |flags| flags.allow_unauthenticated.then(|| "true".to_owned()),
    ),
];

/// The flag that names the workers.
pub(crate) const WORKER_FLAG: &str = "--worker";

/// Reads `file`, if one is named, and lays environment and command line over it. `variable` looks
/// up an environment variable; [`std::env::var`] is one.
///
/// # Errors
///
/// [`ConfigError`] names what cannot be read or understood, and where it was written.
pub fn load(
    file: Option<&Path>,
    variable: &dyn Fn(&str) -> Result<String, VarError>,
    overrides: &Overrides,
) -> Result<Config, ConfigError> {
    let Some(path) = file else {
        return layered(Vec::new(), variable, overrides);
    };
    let (name, text) = read_file(path)?;
    load_text(&name, &text, variable, overrides)
}

/// The same for a gateway that runs already. A file without any key is refused then: what saves a
/// file in place leaves it empty for a moment, and without its tokens the gateway is open.
///
/// # Errors
///
/// See [`load`].
pub fn reload(
    path: &Path,
    variable: &dyn Fn(&str) -> Result<String, VarError>,
    overrides: &Overrides,
) -> Result<Config, ConfigError> {
    let (name, text) = read_file(path)?;
    if parse_file(&text, &name)?.is_empty() {
        let message = "the configuration file is empty";
        return Err(ConfigError::new(whole(&name), "", message));
    }
    load_text(&name, &text, variable, overrides)
}

/// The same for a file that was read already; `name` is what errors call it.
///
/// # Errors
///
/// See [`load`].
pub fn load_text(
    name: &str,
    text: &str,
    variable: &dyn Fn(&str) -> Result<String, VarError>,
    overrides: &Overrides,
) -> Result<Config, ConfigError> {
    let name: Arc<str> = name.into();
    let entries = parse_file(text, &name)?;
    // Also what a later layer overrides must be understood.
    read(&entries, variable)?;
    layered(entries, variable, overrides)
}

/// What errors call the file, and its text.
fn read_file(path: &Path) -> Result<(Arc<str>, String), ConfigError> {
    let name: Arc<str> = path.display().to_string().into();
    let failed = |message: String| ConfigError::new(whole(&name), "", message);
    let bytes =
        std::fs::read(path).map_err(|error| failed(format!("cannot read this file: {error}")))?;
    let text =
        String::from_utf8(bytes).map_err(|_| failed("the file is not valid UTF-8".to_owned()))?;
    Ok((name, text))
}

/// A file as a whole.
fn whole(name: &Arc<str>) -> Origin {
    Origin::File {
        file: Arc::clone(name),
        line: 0,
    }
}

/// Whether newer versions of the Python gateway know this flag (`--renderer-family`), which this
/// gateway does not.
#[must_use]
pub fn is_python_only(flag: &str) -> bool {
    let name = flag.trim_start_matches('-').replace('-', "_");
    read::PYTHON_ONLY.contains(&name.as_str())
}

fn layered(
    mut entries: Vec<Entry>,
    variable: Variable<'_>,
    overrides: &Overrides,
) -> Result<Config, ConfigError> {
    overlay(&mut entries, from_environment(variable)?);
    overlay(&mut entries, from_flags(overrides));
    let mut config = read(&entries, variable)?;
    // Also a memory store keeps a path that is valid, for it is shown.
    if config.store == StoreKind::Sqlite {
        config.db_path = resolve_home(config.db_path, variable).map_err(|message| {
            let origin = entries
                .iter()
                .find(|entry| entry.key == "db_path")
                .map_or(Origin::Flag("--db-path"), |entry| entry.origin.clone());
            ConfigError::new(origin, "db_path", message)
        })?;
    }
    Ok(config)
}

fn read(entries: &[Entry], variable: Variable<'_>) -> Result<Config, ConfigError> {
    // The root itself is never at fault: it requires no key.
    let root = Table::new(String::new(), entries, Origin::Flag(""), variable)?;
    read::config(root)
}

fn from_environment(variable: Variable<'_>) -> Result<Vec<Entry>, ConfigError> {
    let mut entries = Vec::new();
    for (name, key) in VARIABLES {
        let origin = Origin::Variable(name);
        match variable(name) {
            // An empty variable sets nothing, but an empty token must not open the gateway.
            Ok(value) if value.is_empty() && !key.ends_with("token") => {}
            Ok(value) => entries.push(entry(key, origin, value)),
            Err(VarError::NotPresent) => {}
            Err(VarError::NotUnicode(_)) => {
                return Err(ConfigError::new(origin, key, "is not valid UTF-8"));
            }
        }
    }
    Ok(entries)
}

fn from_flags(overrides: &Overrides) -> Vec<Entry> {
    let mut entries: Vec<Entry> = FLAGS
        .into_iter()
        .filter_map(|(flag, key, value)| Some(entry(key, Origin::Flag(flag), value(overrides)?)))
        .collect();
    if !overrides.workers.is_empty() {
        entries.push(workers_entry(&overrides.workers));
    }
    entries
}

/// The workers of the command line get the ids that the reference gives them: their numbers.
fn workers_entry(urls: &[String]) -> Entry {
    let origin = Origin::Flag(WORKER_FLAG);
    let list = urls
        .iter()
        .enumerate()
        .map(|(index, url)| Node {
            origin: origin.clone(),
            value: Value::Table(vec![
                entry("url", origin.clone(), url),
                entry("worker_id", origin.clone(), index.to_string()),
            ]),
        })
        .collect();
    Entry {
        key: "workers".to_owned(),
        origin: origin.clone(),
        value: Node {
            origin,
            value: Value::List(list),
        },
    }
}

fn entry(key: &str, origin: Origin, text: impl Into<String>) -> Entry {
    Entry {
        key: key.to_owned(),
        origin: origin.clone(),
        value: Node::text(origin, text),
    }
}

/// Replaces a leading `~/` by the home folder.
fn resolve_home(path: PathBuf, variable: Variable<'_>) -> Result<PathBuf, String> {
    let Ok(below) = path.strip_prefix("~") else {
        return Ok(path);
    };
    match variable("HOME") {
        Ok(home) if !home.is_empty() => Ok(Path::new(&home).join(below)),
        _ => Err(format!(
            "HOME is not set, so that {} names no file; give the path in full",
            path.display()
        )),
    }
}
