//! The command line: what it asks for, or the one line that says what is wrong with it.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use gateway_config::{Overrides, is_python_only};

/// The version and commit of this build.
pub const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (commit ",
    env!("GATEWAY_COMMIT"),
    ")"
);

/// The name of the executable.
const NAME: &str = "rllm-model-gateway";

/// What the command line asks for.
#[derive(Debug)]
pub enum Action {
    /// Serve calls.
    Serve(Settings),
    /// Validate the configuration, show it, and end.
    CheckConfig(Settings),
    /// Bring the traces of a database of the Python gateway into the store.
    Import {
        /// The Python gateway's file.
        old: PathBuf,
        /// Where the store is.
        settings: Settings,
    },
    /// Check this database file in full.
    CheckFile(PathBuf),
    /// Ask a running gateway something, or put a client behind it.
    Ask(gateway_cli::Command),
    /// Show this text, and end: `--help`, `--version`, `completions`.
    Show(String),
}

/// Where the configuration comes from, besides the environment.
#[derive(Debug)]
pub struct Settings {
    /// `--config`
    pub file: Option<PathBuf>,
    /// The flags that set keys.
    pub overrides: Overrides,
    /// `--log-format`
    pub log_format: LogFormat,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// A command line that cannot be understood, in one line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(String);

/// A gateway between agents and language models: it forwards each call, and keeps a trace of it
/// that is on disk before the reply has ended.
#[derive(Debug, Parser)]
#[command(
    name = NAME,
    version = VERSION,
    args_override_self = true,
    after_help = "Layers, later ones win: defaults, the file, the environment (RLLM_GATEWAY_HOST, \
                  _PORT, _DB_PATH, _LOG_LEVEL, _STORE, _INBOUND_TOKEN, _ADMIN_TOKEN, \
                  _ALLOW_UNAUTHENTICATED), the command line."
)]
struct Cli {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Option<Subcommands>,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// Serve calls (the default)
    Serve(Flags),
    /// Bring the traces of the Python gateway into the database
    ///
    /// Traces that are there already are passed over, so that it can be run again. OLD.db is not
    /// changed; no gateway may serve the database meanwhile.
    Import {
        /// The Python gateway's database
        #[arg(value_name = "OLD.db")]
        old: PathBuf,
        #[command(flatten)]
        place: Place,
    },
    /// Check a database file in full, without changing it: exit code 0 if it is sound, else 1
    Check {
        /// The database file
        file: PathBuf,
    },
    #[command(flatten)]
    People(gateway_cli::Command),
    /// Print what makes a shell complete these commands and flags
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Default, PartialEq, Args)]
struct Flags {
    /// The address or name to listen on [default: 127.0.0.1]
    #[arg(long, value_name = "H", help_heading = "Listening")]
    host: Option<String>,
    /// The port to listen on; 0 takes a free one [default: 9090]
    #[arg(long, value_name = "P", help_heading = "Listening")]
    port: Option<u16>,
    /// Also serve public addresses and tunnels without a token [default: off]
    #[arg(long, help_heading = "Listening")]
    allow_unauthenticated: bool,

    /// The URL of an inference worker; may repeat [default: those of the file]
    #[arg(long, value_name = "URL", help_heading = "Upstreams")]
    worker: Vec<String>,
    /// Send every call with this model [default: the client's]
    #[arg(long, value_name = "NAME", help_heading = "Upstreams")]
    model: Option<String>,
    /// Who wins where client and session both set a sampling parameter: client, session
    /// [default: client]
    #[arg(long, value_name = "WHO", help_heading = "Upstreams")]
    sampling_params_priority: Option<String>,

    /// Where traces are kept: sqlite, memory [default: sqlite]
    #[arg(long, value_name = "STORE", help_heading = "Storage")]
    store: Option<String>,
    #[command(flatten)]
    place: Place,
    #[arg(long, value_name = "URL", hide = true)]
    database_url: Option<String>,

    /// Validate the configuration, print what is in effect with secrets masked, and end
    #[arg(long, help_heading = "Configuration")]
    check_config: bool,
}

/// Where the store is, and how it is told what becomes of it.
#[derive(Debug, Default, PartialEq, Args)]
struct Place {
    /// The database file; its journal lies beside it [default: ~/.rllm/gateway.db]
    #[arg(long, value_name = "FILE", help_heading = "Storage")]
    db_path: Option<String>,

    /// The YAML file with the settings [default: none]
    #[arg(long, value_name = "FILE", help_heading = "Configuration")]
    config: Option<PathBuf>,

    /// The least severe log lines shown: DEBUG, INFO, WARNING, ERROR [default: INFO]
    #[arg(long, value_name = "L", help_heading = "Logging")]
    log_level: Option<String>,
    /// How log lines are written [default: text]
    #[arg(long, value_enum, value_name = "FORMAT", help_heading = "Logging")]
    log_format: Option<LogFormat>,
}

/// Reads a command line, whose first argument is the program's name.
///
/// # Errors
///
/// [`UsageError`] says what is wrong with it: the user's to mend.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Action, UsageError> {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                    let text = error.render().to_string();
                    Ok(Action::Show(format!("{}\n", text.trim_end())))
                }
                _ => Err(UsageError(one_line(&error))),
            };
        }
    };
    let flags = match cli.command {
        None => cli.flags,
        Some(Subcommands::Serve(flags)) => flags.over(cli.flags),
        Some(_) if cli.flags != Flags::default() => {
            let message = "flags before the command are those of `serve`; see --help";
            return Err(UsageError(message.to_owned()));
        }
        Some(Subcommands::Import { old, place }) => {
            let settings = place.settings(Overrides::default());
            return Ok(Action::Import { old, settings });
        }
        Some(Subcommands::Check { file }) => return Ok(Action::CheckFile(file)),
        Some(Subcommands::People(command)) => return Ok(Action::Ask(command)),
        Some(Subcommands::Completions { shell }) => return Ok(Action::Show(completions(shell))),
    };
    let settings = flags.place.settings(Overrides {
        host: flags.host,
        port: flags.port,
        workers: flags.worker,
        store: flags.store,
        database_url: flags.database_url,
        sampling_params_priority: flags.sampling_params_priority,
        model: flags.model,
        allow_unauthenticated: flags.allow_unauthenticated,
        ..Overrides::default()
    });
    Ok(if flags.check_config {
        Action::CheckConfig(settings)
    } else {
        Action::Serve(settings)
    })
}

impl Flags {
    /// These flags, and where one is not given, that of `earlier`.
    fn over(self, earlier: Flags) -> Flags {
        let workers = [self.worker, earlier.worker];
        Flags {
            host: self.host.or(earlier.host),
            port: self.port.or(earlier.port),
            allow_unauthenticated: self.allow_unauthenticated || earlier.allow_unauthenticated,
            worker: workers
                .into_iter()
                .find(|urls| !urls.is_empty())
                .unwrap_or_default(),
            model: self.model.or(earlier.model),
            sampling_params_priority: self
                .sampling_params_priority
                .or(earlier.sampling_params_priority),
            store: self.store.or(earlier.store),
            place: self.place.over(earlier.place),
            database_url: self.database_url.or(earlier.database_url),
            check_config: self.check_config || earlier.check_config,
        }
    }
}

impl Place {
    fn over(self, earlier: Place) -> Place {
        Place {
            db_path: self.db_path.or(earlier.db_path),
            config: self.config.or(earlier.config),
            log_level: self.log_level.or(earlier.log_level),
            log_format: self.log_format.or(earlier.log_format),
        }
    }

    /// These and the other flags as settings.
    fn settings(self, others: Overrides) -> Settings {
        Settings {
            file: self.config,
            overrides: Overrides {
                db_path: self.db_path,
                log_level: self.log_level,
                ..others
            },
            log_format: self.log_format.unwrap_or_default(),
        }
    }
}

fn completions(shell: clap_complete::Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), NAME, &mut script);
    // For bash, clap_complete 4.6 spells a name with hyphens in two ways, one where it goes and one
    // where it jumps to, so that no flag of a command would be found.
    String::from_utf8_lossy(&script)
        .replace(&NAME.replace('-', "__subcmd__"), &NAME.replace('-', "__"))
}

/// The error of the command line reader without its usage page.
fn one_line(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::InvalidSubcommand {
        return no_such_command(error);
    }
    let unknown = error.get(ContextKind::InvalidArg).map(ToString::to_string);
    if error.kind() == ErrorKind::UnknownArgument
        && let Some(flag) = unknown.filter(|flag| is_python_only(flag))
    {
        return format!(
            "{flag} belongs to newer versions of the Python gateway and is not supported here"
        );
    }
    let page = error.render().to_string();
    let lines: Vec<&str> = page
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
        .filter(|line| !line.is_empty())
        .collect();
    let text = lines.join("; ");
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    format!("{text}; see --help")
}

/// Says that there is no such command, and which one may have been meant.
fn no_such_command(error: &clap::Error) -> String {
    let word = error.get(ContextKind::InvalidSubcommand);
    let word = word.map(ToString::to_string).unwrap_or_default();
    let word = word.escape_debug();
    let near = match error.get(ContextKind::SuggestedSubcommand) {
        Some(ContextValue::String(near)) => Some(near),
        // The nearest is the last one.
        Some(ContextValue::Strings(near)) => near.last(),
        _ => None,
    };
    match near {
        Some(near) => format!("there is no command `{word}`; did you mean `{near}`? See --help"),
        None => format!("there is no command `{word}`; see --help"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Action, UsageError> {
        let words = std::iter::once("rllm-model-gateway").chain(line.split_whitespace());
        parse(words.map(OsString::from))
    }

    fn settings(line: &str) -> Settings {
        match read(line) {
            Ok(Action::Serve(settings)) => settings,
            other => panic!("{line}: {other:?}"),
        }
    }

    /// How rLLM starts the reference.
    #[test]
    fn the_reference_s_command_line_is_taken() {
        let settings = settings(
            "--host 0.0.0.0 --port 8080 --db-path /tmp/f.db --store sqlite \
             --sampling-params-priority session --model M --worker http://a --worker http://b \
             --log-level debug --log-format json --config /etc/g.yaml --allow-unauthenticated",
        );
        let expected = Overrides {
            host: Some("0.0.0.0".to_owned()),
            port: Some(8080),
            workers: vec!["http://a".to_owned(), "http://b".to_owned()],
            db_path: Some("/tmp/f.db".to_owned()),
            store: Some("sqlite".to_owned()),
            database_url: None,
            log_level: Some("debug".to_owned()),
            sampling_params_priority: Some("session".to_owned()),
            model: Some("M".to_owned()),
            allow_unauthenticated: true,
        };
        assert_eq!(settings.overrides, expected);
        assert_eq!(settings.log_format, LogFormat::Json);
        assert_eq!(settings.file, Some(PathBuf::from("/etc/g.yaml")));
    }

    #[test]
    fn flags_stand_before_or_behind_the_command() {
        for line in ["--port 1 serve", "serve --port 1", "--port=1"] {
            assert_eq!(settings(line).overrides.port, Some(1), "{line}");
        }
        let repeated = settings("--port 1 --worker a --port 2 --worker b").overrides;
        assert_eq!(repeated.port, Some(2));
        assert_eq!(repeated.workers, ["a", "b"]);
        assert!(matches!(
            read("serve --check-config"),
            Ok(Action::CheckConfig(_))
        ));
    }

    /// Each flag before the command holds, and gives way to the same one behind it.
    #[test]
    fn flags_on_both_sides_of_the_command_are_one_set() {
        let flags = "--host h --port 1 --db-path d --store s --database-url u --log-level l \
                     --sampling-params-priority p --model m --worker w --log-format json \
                     --config c --allow-unauthenticated";
        let alone = format!("{:?}", settings(flags));
        assert_eq!(format!("{:?}", settings(&format!("{flags} serve"))), alone);
        assert_eq!(format!("{:?}", settings(&format!("serve {flags}"))), alone);
        let other = "--host x --port 9 --db-path x --store x --database-url x --log-level x \
                     --sampling-params-priority x --model x --worker x --worker y \
                     --log-format text --config x";
        let both = settings(&format!("{other} serve {flags}"));
        assert_eq!(format!("{both:?}"), alone);
        assert!(matches!(
            read("--check-config serve"),
            Ok(Action::CheckConfig(_))
        ));
    }

    #[test]
    fn the_commands_for_people_take_their_own_flags_alone() {
        for line in [
            "sessions --run r --json",
            "traces org/t:0 --model m",
            "traces --id t",
            "report s --token t",
            "tail --outcome truncated",
            "env --harness codex --session s",
        ] {
            assert!(matches!(read(line), Ok(Action::Ask(_))), "{line}");
        }
        for (line, expected) in [
            (
                "--port 1 sessions",
                "flags before the command are those of `serve`; see --help",
            ),
            (
                "sessions --port 1",
                "unexpected argument '--port' found; see --help",
            ),
            (
                "traces s --id t",
                "the argument '[SESSION]' cannot be used with '--id <TRACE>'; see --help",
            ),
        ] {
            assert_eq!(read(line).unwrap_err().to_string(), expected, "{line}");
        }
        let shown = format!("{:?}", read("report s --token canary"));
        assert!(shown.contains("Secret(***)"), "{shown}");
    }

    #[test]
    fn files_are_named_on_the_command_line() {
        let line = "import old.db --db-path new.db --config g.yaml --log-level debug \
                    --log-format json";
        let Ok(Action::Import { old, settings }) = read(line) else {
            panic!("{line}");
        };
        assert_eq!(old, PathBuf::from("old.db"));
        assert_eq!(settings.file, Some(PathBuf::from("g.yaml")));
        assert_eq!(settings.overrides.db_path.as_deref(), Some("new.db"));
        assert_eq!(settings.overrides.log_level.as_deref(), Some("debug"));
        assert_eq!(settings.log_format, LogFormat::Json);
        let Ok(Action::CheckFile(file)) = read("check f.db") else {
            panic!("check");
        };
        assert_eq!(file, PathBuf::from("f.db"));
    }

    #[test]
    fn a_shell_can_complete_commands_and_flags() {
        for shell in ["bash", "zsh", "fish"] {
            let Ok(Action::Show(script)) = read(&format!("completions {shell}")) else {
                panic!("no script for {shell}");
            };
            for word in [
                "rllm-model-gateway",
                "sessions",
                "harness",
                "opencode",
                "db-path",
            ] {
                assert!(script.contains(word), "{word} for {shell}");
            }
            // fish would run it, from within the text of a help.
            assert!(shell == "bash" || !script.contains("$("), "{script}");
        }
    }

    #[test]
    fn mistakes_are_one_line() {
        for (line, expected) in [
            (
                "--prot 1",
                "unexpected argument '--prot' found; tip: a similar argument exists: '--port'; see --help",
            ),
            (
                "--port x",
                "invalid value 'x' for '--port <P>': invalid digit found in string; see --help",
            ),
            (
                "--port 65536",
                "invalid value '65536' for '--port <P>': 65536 is not in 0..=65535; see --help",
            ),
            (
                "--port",
                "a value is required for '--port <P>' but none was supplied; see --help",
            ),
            (
                "--log-format xml",
                "invalid value 'xml' for '--log-format <FORMAT>'; [possible values: text, json]; see --help",
            ),
            (
                "--cumulative-token-mode",
                "--cumulative-token-mode belongs to newer versions of the Python gateway and is not supported here",
            ),
            (
                "--renderer-family=qwen3",
                "--renderer-family belongs to newer versions of the Python gateway and is not supported here",
            ),
            (
                "import",
                "the following required arguments were not provided:; <OLD.db>; see --help",
            ),
            (
                "import old.db --port 1",
                "unexpected argument '--port' found; tip: to pass '--port' as a value, use '-- --port'; see --help",
            ),
            (
                "check --quick f.db",
                "unexpected argument '--quick' found; tip: to pass '--quick' as a value, use '-- --quick'; see --help",
            ),
            (
                "--db-path new.db import old.db",
                "flags before the command are those of `serve`; see --help",
            ),
            ("start", "there is no command `start`; see --help"),
            (
                "sesions",
                "there is no command `sesions`; did you mean `sessions`? See --help",
            ),
            (
                "trace",
                "there is no command `trace`; did you mean `traces`? See --help",
            ),
        ] {
            assert_eq!(read(line).unwrap_err().to_string(), expected, "{line}");
        }
    }

    #[test]
    fn help_groups_the_flags_and_shows_the_defaults() {
        let Ok(Action::Show(help)) = read("--help") else {
            panic!("no help");
        };
        for part in [
            "Listening:",
            "Upstreams:",
            "Storage:",
            "Logging:",
            "[default: 9090]",
            "[default: ~/.rllm/gateway.db]",
            "serve",
        ] {
            assert!(help.contains(part), "{part} in\n{help}");
        }
        assert!(!help.contains("database-url"), "{help}");
    }

    #[test]
    fn every_flag_is_documented() {
        let page = gateway_config::page();
        for argument in <Cli as clap::CommandFactory>::command().get_arguments() {
            let flag = format!("--{}", argument.get_long().expect("flags have long names"));
            assert!(page.contains(&flag), "{flag}");
        }
    }

    #[test]
    fn the_version_names_the_commit() {
        let Ok(Action::Show(version)) = read("--version") else {
            panic!("no version");
        };
        let start = concat!(
            "rllm-model-gateway ",
            env!("CARGO_PKG_VERSION"),
            " (commit "
        );
        assert!(version.starts_with(start), "{version}");
    }
}
