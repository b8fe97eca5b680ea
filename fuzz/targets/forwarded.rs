//! What proxies say of whom they forward for: nothing panics, and a client's start changes nothing of a proxy's own entry.

#![no_main]

use std::net::IpAddr;

use libfuzzer_sys::fuzz_target;
use throughline_wire::forwarded::{Family, is_host, is_prefix, read};

fn trusted(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(v4) if v4.octets()[0] == 10)
}

fuzz_target!(|input: &[u8]| {
    let mut input = input;
    let family = if throughline_fuzz::byte(&mut input) % 2 == 0 { Family::XForwarded } else { Family::Forwarded };
    let names = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-prefix", "forwarded"];
    let lines: Vec<&[u8]> = input.split(|b| *b == b'\n').collect();
    let headers = lines.iter().zip(names.iter().cycle()).map(|(value, name)| (*name, *value));
    if let Ok(told) = read(headers, family, trusted) {
        assert!(told.host.is_none_or(|host| is_host(&host)));
        assert!(told.prefix.is_none_or(|prefix| prefix.is_empty() || is_prefix(&prefix)));
    }
    let (name, own) = match family {
        Family::XForwarded => ("x-forwarded-for", &b", 192.0.2.7"[..]),
        Family::Forwarded => ("forwarded", &b", for=192.0.2.7"[..]),
    };
    let value = [input, own].concat();
    let found = read([(name, value.as_slice())].into_iter(), family, trusted);
    if let Ok(told) = found {
        assert_eq!(told.address, "192.0.2.7".parse().ok());
    } else {
        assert_eq!(family, Family::Forwarded);
    }
});
