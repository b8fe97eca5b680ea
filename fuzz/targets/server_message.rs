//! Messages as a server sends them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use throughline_wire::message::ServerMessage;

fuzz_target!(|input: &[u8]| throughline_fuzz::message(input, ServerMessage::decode, ServerMessage::encode));
