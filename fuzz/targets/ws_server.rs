//! Frames as a server gets them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use throughline_wire::ws::Role;

fuzz_target!(|input: &[u8]| throughline_fuzz::frames(Role::Server, input));
