//! The realm's server: listeners, HTTP, shards, configuration, metrics.

pub mod config;
pub mod http;
pub mod metrics;
