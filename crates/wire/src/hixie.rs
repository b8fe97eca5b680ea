//! WebSocket from before version numbers: draft-hixie-thewebsocketprotocol-75, and -76, which is also
//! draft-ietf-hybi-thewebsocketprotocol-00. Only text travels; there is no ping, no compression and no close code.
//!
//! A client of -76 sends eight bytes behind its request that no `Content-Length` announces. Proxies that speak HTTP hold
//! them back until they have seen the answer, so the answer's head has to go out before those bytes are waited for:
//! see [`Accepted`].

mod frames;
mod handshake;

pub use frames::{CLOSE, Decoder, write_text};
pub use handshake::{Accepted, Draft, KEY3_BYTES, Refusal, accept, detect, untrimmed};
