//! `throughline serve`.

use std::io;

use throughline_server::config::{Config, LogLevel};

use crate::arguments::Serve;
use crate::failure::Failure;

pub(crate) fn run(arguments: &Serve) -> Result<(), Failure> {
    let config = configuration(arguments)?;
    log(config.log);
    throughline_server::run(config).map_err(Failure::failed)
}

fn configuration(arguments: &Serve) -> Result<Config, Failure> {
    let file = arguments.config.as_deref().map(|path| path.display().to_string());
    let text = match &arguments.config {
        Some(path) => std::fs::read_to_string(path)
            .map_err(|e| Failure::usage(format_args!("configuration file {} cannot be read: {e}", path.display())))?,
        None => String::new(),
    };
    let flags = [("listen", &arguments.listen), ("data", &arguments.data)];
    let overrides: Vec<(&str, &str)> =
        flags.iter().filter_map(|(path, value)| Some((*path, value.as_deref()?))).collect();
    Config::load(file.as_deref().map(|file| (file, text.as_str())), &overrides).map_err(Failure::usage)
}

/// Log lines go to standard error; colours only where they are seen.
fn log(level: LogLevel) {
    let colours = io::IsTerminal::is_terminal(&io::stderr());
    tracing_subscriber::fmt().with_max_level(level.tracing()).with_writer(io::stderr).with_ansi(colours).init();
}
