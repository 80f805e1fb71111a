//! The commands for people at a terminal: what a running gateway holds, asked over HTTP, and the
//! variables that put a client behind it.
//!
//! [`Command`] is what the command line takes ([`clap`] reads it), [`run`] carries it out. People
//! get tables that fit their terminal, pipes get the API's own JSON with `--json`, one object a
//! line and byte for byte. Nothing here opens a database or a journal: whoever may ask the gateway
//! may use these commands, from anywhere.
//!
//! What is shown is made by pure functions of what the gateway answered, the width of the screen
//! and the time; only [`run`] looks at the terminal, the clock and the environment. Texts of models
//! and clients are shown with their control characters escaped: a trace cannot paint on the screen
//! of the person who reads it.

mod args;
mod client;
mod document;
mod error;
mod feed;
mod harness;
mod listing;
mod one;
mod report;
mod screen;
mod shell;
mod table;
mod tail;
mod text;
mod when;

pub use args::Command;
pub use error::Error;

use client::Client;
use gateway_auth::Secret;
use screen::Screen;

/// Where a token may stand for `env`, besides the variable of the agents' own.
const TOKEN: &str = "RLLM_GATEWAY_TOKEN";

/// Carries out a command, and gives the exit code that its answer deserves: 0, or 1 for the report
/// of a session that is not complete.
///
/// # Errors
///
/// [`Error`] says what cannot be done, in one line; its exit code is [`Error::exit_code`]. A reader
/// of the output that has left is no error.
pub fn run(command: &Command) -> Result<u8, Error> {
    let screen = Screen::of_this_process();
    let done = match command {
        Command::Env(env) => {
            let other = || std::env::var(TOKEN).ok().map(Secret::from);
            let is_set = |token: &Secret| !token.expose().is_empty();
            let token = env.token.clone().filter(is_set);
            let token = token.or_else(|| other().filter(is_set));
            harness::print(env, token.as_ref()).map(|()| 0)
        }
        Command::Sessions(args) => ask(listing::sessions(
            args,
            &Client::new(&args.gateway)?,
            &screen,
        )),
        Command::Traces(args) => ask(listing::traces(args, &Client::new(&args.gateway)?, &screen)),
        Command::Report(args) => ask(report::print(args, &Client::new(&args.gateway)?, &screen)),
        Command::Tail(args) => ask(tail::follow(args, &Client::new(&args.gateway)?, &screen)),
    };
    match done {
        Err(Error::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(0),
        done => done,
    }
}

/// Runs what talks to the gateway.
fn ask<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Runtime)?;
    runtime.block_on(work)
}
