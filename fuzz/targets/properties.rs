//! Property dictionaries: what is accepted has one spelling, and its values give it back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use throughline_wire::properties::Properties;

fuzz_target!(|input: &[u8]| {
    let Ok(json) = std::str::from_utf8(input) else { return };
    let Ok(properties) = Properties::from_json(json) else { return };
    let map = properties.to_map().expect("what was checked can be read");
    assert_eq!(Properties::from_map(&map).as_ref(), Ok(&properties));
    assert_eq!(Properties::from_json(properties.as_json()).as_ref(), Ok(&properties));
});
