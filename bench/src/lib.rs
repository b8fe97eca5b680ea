//! A load generator for servers that push messages to many connections, whatever their protocol.
//!
//! A [`profile`] says how to start a server and how to talk to it, by means of [`template`]s; the server runs as a child
//! process ([`server`]) whose use of CPU and memory is read from /proc ([`usage`]). [`load`] holds the connections on one
//! epoll loop and finds the [`marker`] of each message in what arrives; [`measure`] decides what is sent and when;
//! [`report`] makes tables of what came out. README.md says how to use it.

use std::io::Write;

pub mod clock;
pub mod histogram;
pub mod load;
pub mod marker;
pub mod measure;
pub mod options;
pub mod profile;
pub mod report;
pub mod server;
pub mod template;
pub mod usage;

/// Writes a line to standard error; when that is closed nobody is there to be told.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
