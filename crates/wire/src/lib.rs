//! Bytes to values and back, for everything Throughline puts on a wire.
//!
//! This crate does not take care of I/O, time or threads: it is `no_std`, and every function is a pure one
//! of its arguments. How bytes are split between calls never changes a result.
//!
//! - [`event`]: events, their ids, channel names; [`properties`]: the typed dictionary
//! - [`message`]: the protocol's messages in text and binary carriage
//! - [`path`]: words for transports and their failures
//! - [`close`]: close codes and what a client does after each
//! - [`http`]: the shapes of the HTTP transports; [`http1`]: where requests begin and end
//! - [`proxy_protocol`]: what a proxy says of whom it speaks for, before a connection; [`forwarded`]: with a request
//! - [`ws`]: WebSocket frames, handshakes and compression
#![no_std]

extern crate alloc;

pub mod close;
pub mod event;
pub mod forwarded;
pub mod hixie;
pub mod http;
pub mod http1;
pub mod message;
pub mod path;
pub mod properties;
pub mod proxy_protocol;
pub mod ws;
