//! The executable. Exit codes: 0 clean, 2 a bad configuration or command line, 1 anything else,
//! each with one line on stderr; `import` and `check` have theirs from what they find.

use std::error::Error;
use std::io::{self, ErrorKind, IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use gateway_bin::cli::{Action, LogFormat, Settings};
use gateway_bin::{App, ImportError, Reload, Stop, banner, chain, cli, log, stop};
use gateway_config::{Config, ConfigError};
use gateway_store_sqlite::SqliteStore;

/// How long the blocking work of a gateway that has ended may keep the process.
const LAST_WORK: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    let (settings, check) = match cli::parse(std::env::args_os()) {
        Ok(Action::Serve(settings)) => (settings, false),
        Ok(Action::CheckConfig(settings)) => (settings, true),
        Ok(Action::Import { old, settings }) => return import(&old, &settings),
        Ok(Action::CheckFile(file)) => return check_file(&file),
        Ok(Action::Ask(command)) => return ask(&command),
        Ok(Action::Show(text)) => return show(&text),
        Err(error) => return fail(2, &error),
    };
    match load(&settings) {
        Ok(config) if check => show(&config.to_yaml()),
        Ok(config) => serve(&config, settings),
        Err(error) => fail(2, &error),
    }
}

fn load(settings: &Settings) -> Result<Config, ConfigError> {
    let file = settings.file.as_deref();
    gateway_config::load(file, &|name| std::env::var(name), &settings.overrides)
}

fn ask(command: &gateway_cli::Command) -> ExitCode {
    match gateway_cli::run(command) {
        Ok(code) => ExitCode::from(code),
        Err(error) => fail(error.exit_code(), &error),
    }
}

fn import(old: &Path, settings: &Settings) -> ExitCode {
    let config = match load(settings) {
        Ok(config) => config,
        Err(error) => return fail(2, &error),
    };
    let _log = match log::start(config.log_level, settings.log_format) {
        Ok(guard) => guard,
        Err(error) => return fail(1, &error),
    };
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &error),
    };
    match runtime.block_on(gateway_bin::import(&config, old)) {
        Ok(summary) => {
            let shown = show(&format!("{summary}\n"));
            match summary.is_complete() {
                true => shown,
                false => ExitCode::FAILURE,
            }
        }
        Err(error @ ImportError::Memory) => fail(2, &error),
        Err(error) => fail(1, &error),
    }
}

fn check_file(file: &Path) -> ExitCode {
    match SqliteStore::check(file) {
        Ok(sound) => show(&format!("{} is sound: {sound}\n", file.display())),
        Err(error) => fail(1, &error),
    }
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

fn serve(config: &Config, settings: Settings) -> ExitCode {
    let log_format = settings.log_format;
    let _log = match log::start(config.log_level, log_format) {
        Ok(guard) => guard,
        Err(error) => return fail(1, &error),
    };
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &error),
    };
    let code = runtime.block_on(async {
        let stop = Stop::default();
        let reload = match settings.file {
            Some(file) => Reload::by(move || {
                gateway_config::reload(&file, &|name| std::env::var(name), &settings.overrides)
            }),
            None => Reload::default(),
        };
        if let Err(error) = stop::on_signals(&stop, &reload) {
            return fail(1, &error);
        }
        let app = match App::start(config, reload, stop).await {
            Ok(app) => app,
            Err(error) if error.is_configuration() => return fail(2, &error),
            Err(error) => return fail(1, &error),
        };
        for warning in config.warnings() {
            tracing::warn!("{warning}");
        }
        let for_people = io::stderr().is_terminal() && log_format == LogFormat::Text;
        announce(
            format!("listening on http://{}\n", app.address()),
            for_people.then(|| banner(config, app.address(), app.database())),
        );
        match app.run().await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(1, &error),
        }
    });
    runtime.shutdown_timeout(LAST_WORK);
    code
}

/// Tells programs on stdout, and a person at a terminal on stderr, where the gateway listens; from
/// a thread of its own: an output that nobody reads must not stop it.
fn announce(line: String, banner: Option<String>) {
    std::thread::spawn(move || {
        // Nobody may want to know.
        let _ = print(&line);
        if let Some(banner) = banner {
            // A terminal that is gone has no reader.
            let _ = io::stderr().write_all(banner.as_bytes());
        }
    });
}

fn show(text: &str) -> ExitCode {
    match print(text) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            fail(1, &gateway_cli::Error::Output(error))
        }
        // A reader that has left has what it wanted.
        _ => ExitCode::SUCCESS,
    }
}

fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn fail(code: u8, error: &(dyn Error + 'static)) -> ExitCode {
    // Without a stderr there is nobody to tell; the exit code still does.
    let _ = writeln!(io::stderr(), "rllm-model-gateway: {}", chain(error));
    ExitCode::from(code)
}
