//! Messages as a client sends them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use throughline_wire::message::ClientMessage;

fuzz_target!(|input: &[u8]| throughline_fuzz::message(input, ClientMessage::decode, ClientMessage::encode));
