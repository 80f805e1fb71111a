//! What a person who starts a gateway at a terminal wants to know.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use gateway_config::{Config, journal_dir};

/// Where a gateway listens that is told nothing else, which is where clients look for it.
const DEFAULT_PORT: u16 = 9090;

/// Three lines: where it listens, where it writes, and what to set next. No secret is in them.
/// Without a `database` it keeps nothing.
#[must_use]
pub fn banner(config: &Config, address: SocketAddr, database: Option<&Path>) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let place = match database {
        None => "memory: every trace is gone when it ends".to_owned(),
        Some(file) => format!(
            "{}, journal in {}",
            file.display(),
            journal_dir(file).display()
        ),
    };
    format!(
        "rLLM model gateway {version} listens on http://{address}\n\
         writes to {place}\n\
         next: {}\n",
        next(config, address)
    )
}

/// The step that is missing before calls are recorded.
fn next(config: &Config, address: SocketAddr) -> String {
    if config.workers.is_empty() && config.routes.is_empty() {
        return "name an inference server (--worker URL), or routes in a file (--config FILE)"
            .to_owned();
    }
    // Where it listens on every address, the person is at one of them.
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::from(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::from(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    let url = format!("http://{}", SocketAddr::new(ip, address.port()));
    let mut flags = String::new();
    if ip != IpAddr::from(Ipv4Addr::LOCALHOST) || address.port() != DEFAULT_PORT {
        flags.push_str(&format!(" --url {url}"));
    }
    if !config.inbound_auth_token.is_empty() {
        flags.push_str(" --token TOKEN");
    }
    format!(
        "OPENAI_BASE_URL={url}/sessions/NAME/v1, or \
         eval \"$(rllm-model-gateway env --harness claude-code --session NAME{flags})\""
    )
}

#[cfg(test)]
mod tests {
    use gateway_config::Overrides;

    use super::*;

    fn shown(
        worker: bool,
        variables: &[(&str, &str)],
        database: Option<&str>,
        address: &str,
    ) -> String {
        let overrides = Overrides {
            workers: worker
                .then(|| "http://gpu:8000".to_owned())
                .into_iter()
                .collect(),
            db_path: Some("/anywhere".to_owned()),
            ..Overrides::default()
        };
        let read = |name: &str| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found
                .map(|(_, value)| (*value).to_owned())
                .ok_or(std::env::VarError::NotPresent)
        };
        let config = gateway_config::load(None, &read, &overrides).unwrap();
        banner(&config, address.parse().unwrap(), database.map(Path::new))
    }

    #[test]
    fn three_lines_say_where_and_what_next() {
        let first = format!(
            "rLLM model gateway {} listens on",
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(
            shown(true, &[], Some("/data/g.db"), "127.0.0.1:9090"),
            format!(
                "{first} http://127.0.0.1:9090\n\
                 writes to /data/g.db, journal in /data/g.db-journal.d\n\
                 next: OPENAI_BASE_URL=http://127.0.0.1:9090/sessions/NAME/v1, or \
                 eval \"$(rllm-model-gateway env --harness claude-code --session NAME)\"\n"
            )
        );
        let token = [("RLLM_GATEWAY_INBOUND_TOKEN", "canary")];
        assert_eq!(
            shown(true, &token, None, "0.0.0.0:8080"),
            format!(
                "{first} http://0.0.0.0:8080\n\
                 writes to memory: every trace is gone when it ends\n\
                 next: OPENAI_BASE_URL=http://127.0.0.1:8080/sessions/NAME/v1, or \
                 eval \"$(rllm-model-gateway env --harness claude-code --session NAME \
                 --url http://127.0.0.1:8080 --token TOKEN)\"\n"
            )
        );
        let shown_v6 = shown(true, &[], None, "[::]:9090");
        assert!(shown_v6.contains("--url http://[::1]:9090)"), "{shown_v6}");
    }

    #[test]
    fn without_an_upstream_that_is_what_comes_next() {
        let shown = shown(false, &[], None, "127.0.0.1:9090");
        assert!(
            shown.ends_with("next: name an inference server (--worker URL), or routes in a file (--config FILE)\n"),
            "{shown}"
        );
    }
}
