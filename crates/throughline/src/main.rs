//! The `throughline` command: serve a realm, publish to it, subscribe to it, administer its channels, examine the path
//! to it.
//!
//! Data go to standard output, words to standard error. What each command does is in `docs/command-line.md`; the work is
//! done by `throughline-server` and `throughline-client`.

mod arguments;
mod channel;
mod doctor;
mod failure;
mod lines;
mod output;
mod period;
mod properties;
mod proxy_config;
mod publish;
mod serve;
mod stdin;
mod subscribe;
mod talk;

use std::process::ExitCode;

use throughline_client::{ProxyChoice, Route};

use arguments::{Arguments, Command, Doctor};
use failure::Failure;

/// A realm makes and frees small values on several threads all the time; DEPENDENCIES.md says what that gains.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match run(Arguments::typed()) {
        Ok(()) | Err(Failure::OutputClosed) => ExitCode::SUCCESS,
        Err(Failure::Failed(text)) => {
            talk::say(format_args!("throughline: {text}"));
            ExitCode::from(1)
        }
        Err(Failure::Usage(text)) => {
            talk::say(format_args!("throughline: {text}"));
            ExitCode::from(2)
        }
    }
}

fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { url, proxy, ca, command } = arguments;
    let command = match command {
        Command::Serve(serve) => return serve::run(&serve),
        Command::ProxyConfig(wanted) => return proxy_config::run(&wanted),
        command => command,
    };
    let proxy = match proxy {
        None => ProxyChoice::Environment,
        Some(text) if text == "none" => ProxyChoice::None,
        Some(text) => ProxyChoice::Url(text),
    };
    // The doctor's own argument goes first.
    let url = match &command {
        Command::Doctor(Doctor { address: Some(address), .. }) => address.clone(),
        _ => url,
    };
    let url = url.through(Route::new(proxy, ca).map_err(Failure::usage)?);
    // Two threads: one reads and decodes while the other prints.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|e| Failure::Failed(format!("the system gave no runtime: {e}")))?;
    let outcome = runtime.block_on(async {
        match command {
            Command::Serve(_) | Command::ProxyConfig(_) => Ok(()),
            Command::Doctor(doctor) => doctor::run(&url, doctor).await,
            Command::Publish(publish) if publish.lines => lines::run(&url, publish).await,
            Command::Publish(publish) => publish::run(&url, publish).await,
            Command::Subscribe(subscribe) => subscribe::run(&url, subscribe).await,
            Command::Channel(channel) => channel::run(&url, channel).await,
        }
    });
    // A thread may be waiting for standard input for good.
    runtime.shutdown_background();
    outcome
}
