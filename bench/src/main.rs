//! The load generator's command; `throughline-bench --help` lists what it can do.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use rustix::process::setpriority_process;
use serde_json::Value;
use throughline_bench::options::{Arguments, Command, Options};
use throughline_bench::{measure, report, say, server};

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(text) => {
            let written = std::io::stdout().write_all(text.as_bytes());
            if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            say(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<String, String> {
    match command {
        Command::Run { profiles, options } => Ok(report::table(&measured(&profiles, &options)?)),
        Command::Compare { profiles, options } => {
            let records = measured(&profiles, &options)?;
            Ok(report::table(&records) + &report::ratios(&records, None))
        }
        Command::Table { files, base } => {
            let records = recorded(&files)?;
            let ratios = base.map(|base| report::ratios(&records, Some(&base)));
            Ok(report::table(&records) + &ratios.unwrap_or_default())
        }
    }
}

fn measured(profiles: &[PathBuf], options: &Options) -> Result<Vec<Value>, String> {
    server::raise_open_files();
    // The servers inherit it: for latencies at a low rate on a machine that others load.
    setpriority_process(None, options.nice).map_err(|e| format!("--nice {}: {e}", options.nice))?;
    if !options.free {
        server::pin(1)?;
    }
    measure::run(profiles, options)
}

fn recorded(files: &[PathBuf]) -> Result<Vec<Value>, String> {
    let mut records = Vec::new();
    for file in files {
        let text = fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
        for line in text.lines() {
            records.push(serde_json::from_str(line).map_err(|e| format!("{}: {e}", file.display()))?);
        }
    }
    Ok(records)
}
