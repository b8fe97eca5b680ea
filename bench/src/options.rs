//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::measure::Measure;

/// Measures servers that push messages to many connections.
#[derive(Debug, Parser)]
#[command(name = "throughline-bench", version)]
pub struct Arguments {
    /// What is to be done.
    #[command(subcommand)]
    pub command: Command,
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run every measure on every profile, round by round
    Run {
        /// Profile files
        #[arg(required = true)]
        profiles: Vec<PathBuf>,
        /// How to measure.
        #[command(flatten)]
        options: Options,
    },
    /// Run, then show each profile's ratio to the first one
    Compare {
        /// Profile files, the one to compare with first
        #[arg(required = true, num_args = 2..)]
        profiles: Vec<PathBuf>,
        /// How to measure.
        #[command(flatten)]
        options: Options,
    },
    /// Show the medians of recorded runs, and each profile's ratio to another one
    Table {
        /// Files that `--out` wrote
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Name of the profile to compare with
        #[arg(long)]
        base: Option<String>,
    },
}

/// How to measure.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Comma list of `fanout:N` `pubs:PxN` `beside:N` `rate:NxR` `chan:CxKxR` `ping:COUNT` `idle:N` `storm:N` `durable:P` `replay:N`
    #[arg(long, value_delimiter = ',', default_value = "fanout:100")]
    pub measures: Vec<Measure>,
    /// Times that everything is repeated
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
    /// Seconds measured
    #[arg(long, default_value_t = 3.0)]
    pub secs: f64,
    /// Seconds before them
    #[arg(long, default_value_t = 0.7)]
    pub warm: f64,
    /// Closed loop: messages that the average subscriber (`durable`: each publisher) may be behind
    #[arg(long, default_value_t = 64)]
    pub window: u64,
    /// Bytes of a message's payload
    #[arg(long, default_value_t = 128)]
    pub payload: usize,
    /// Connects under way at once
    #[arg(long, default_value_t = 256)]
    pub inflight: usize,
    /// `idle`: seconds before memory is read; more than a heartbeat's interval takes heartbeats in
    #[arg(long, default_value_t = 1.0)]
    pub rest: f64,
    /// Wait at most so many seconds for a quiet machine before each run
    #[arg(long, default_value_t = 0.0)]
    pub quiet: f64,
    /// Niceness of both sides
    #[arg(long, default_value_t = 0)]
    pub nice: i32,
    /// Pin nothing; otherwise the server is on CPU 0 and the generator on CPU 1
    #[arg(long)]
    pub free: bool,
    /// Measure a server that runs already
    #[arg(long, value_name = "PID")]
    pub attach: Option<i32>,
    /// Append one JSON object per run to this file
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}
