//! What proxies say of whom they forward for: whom the realm believes, and what nobody can make it believe.

use std::net::IpAddr;

use proptest::prelude::*;
use throughline_wire::forwarded::{BadForwarded, Family, HOPS_MAX, Told, is_host, is_prefix, is_told, read};

/// Proxies of the tests are in 10.0.0.0/8 and fd00::/8.
fn trusted(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.octets()[0] == 10,
        IpAddr::V6(v6) => v6.octets()[0] == 0xfd,
    }
}

fn told(family: Family, headers: &[(&str, &str)]) -> Result<Told, BadForwarded> {
    read(headers.iter().map(|(name, value)| (*name, value.as_bytes())), family, trusted)
}

fn x(headers: &[(&str, &str)]) -> Result<Told, BadForwarded> {
    told(Family::XForwarded, headers)
}

fn standard(value: &str) -> Result<Told, BadForwarded> {
    told(Family::Forwarded, &[("Forwarded", value)])
}

fn address(told: Result<Told, BadForwarded>) -> Result<Option<String>, BadForwarded> {
    told.map(|told| told.address.map(|address| address.to_string()))
}

#[test]
fn the_rightmost_address_that_is_not_trusted_is_the_clients() {
    let cases = [
        ("", None),
        ("192.0.2.7", Some("192.0.2.7")),
        ("203.0.113.1, 192.0.2.7", Some("192.0.2.7")),
        ("203.0.113.1, 192.0.2.7, 10.0.0.2,10.0.0.1", Some("192.0.2.7")),
        ("10.9.9.9, 10.0.0.2", Some("10.9.9.9")),
        ("rubbish \"\\, 192.0.2.7, 10.0.0.2", Some("192.0.2.7")),
        ("192.0.2.7:4711", Some("192.0.2.7")),
        ("2001:db8::7", Some("2001:db8::7")),
        ("[2001:db8::7]", Some("2001:db8::7")),
        ("[2001:db8::7]:4711, fd00::1", Some("2001:db8::7")),
        ("::ffff:192.0.2.7", Some("192.0.2.7")),
        ("unknown", None),
        ("192.0.2.7, unknown, 10.0.0.2", Some("10.0.0.2")),
        ("_hidden, 10.0.0.2", Some("10.0.0.2")),
        (" , 192.0.2.7 ,, ", Some("192.0.2.7")),
    ];
    for (value, expected) in cases {
        assert_eq!(address(x(&[("X-Forwarded-For", value)])), Ok(expected.map(str::to_owned)), "{value}");
    }
    let two = [("x-forwarded-for", "203.0.113.1"), ("X-Forwarded-For", "192.0.2.7, 10.0.0.1")];
    assert_eq!(address(x(&two)), Ok(Some("192.0.2.7".to_owned())));
}

#[test]
fn what_a_trusted_proxy_writes_has_to_be_whole() {
    for value in ["rubbish", "192.0.2.7, rubbish", "192.0.2", "[::1", "192.0.2.7:x", "192.0.2.7:99999", "_", "_a b"] {
        assert_eq!(x(&[("X-Forwarded-For", value)]), Err(BadForwarded::Address), "{value}");
    }
    let cases = [
        ("X-Forwarded-Proto", "gopher", BadForwarded::Protocol),
        ("X-Forwarded-Host", "a b", BadForwarded::Host),
        ("X-Forwarded-Host", "a/b", BadForwarded::Host),
        ("X-Forwarded-Prefix", "live", BadForwarded::Prefix),
        ("X-Forwarded-Prefix", "//evil.example", BadForwarded::Prefix),
        ("X-Forwarded-Prefix", "/a?b", BadForwarded::Prefix),
    ];
    for (name, value, bad) in cases {
        assert_eq!(x(&[(name, value)]), Err(bad), "{name}: {value}");
    }
    let many = vec!["10.0.0.1"; HOPS_MAX + 1].join(",");
    assert_eq!(x(&[("X-Forwarded-For", &many)]), Err(BadForwarded::TooMany));
}

#[test]
fn protocol_and_host_are_the_outermost_trusted_proxys() {
    let of = |chain: &str, protocol: &str, host: &str| {
        let headers = [("X-Forwarded-For", chain), ("X-Forwarded-Proto", protocol), ("X-Forwarded-Host", host)];
        x(&headers).map(|told| (told.secure, told.host.unwrap_or_default()))
    };
    assert_eq!(of("192.0.2.7", "https", "a.example"), Ok((Some(true), "a.example".to_owned())));
    // One proxy: what is left of its own entry was written by the client.
    assert_eq!(of("192.0.2.7", "https, http", "evil.example, a.example"), Ok((Some(false), "a.example".to_owned())));
    // Two that append, and two of which the inner one leaves alone what is there.
    assert_eq!(
        of("192.0.2.7, 10.0.0.2", "https, http", "a.example, b.example:8080"),
        Ok((Some(true), "a.example".to_owned()))
    );
    assert_eq!(of("192.0.2.7, 10.0.0.2", "WSS", "[::1]:8080"), Ok((Some(true), "[::1]:8080".to_owned())));
    let prefix = |value: &str| x(&[("X-Forwarded-Prefix", value)]).map(|told| told.prefix);
    assert_eq!(prefix("/live/"), Ok(Some("/live".to_owned())));
    assert_eq!(prefix("/"), Ok(Some(String::new())));
    assert_eq!(prefix("/evil, /live"), Ok(Some("/live".to_owned())));
}

#[test]
fn forwarded_by_its_grammar() {
    let cases = [
        ("for=192.0.2.7", Some("192.0.2.7")),
        ("For=\"[2001:db8:cafe::17]:4711\"", Some("2001:db8:cafe::17")),
        ("for=192.0.2.43, for=\"192.0.2.7:80\";by=_x , for=10.0.0.2", Some("192.0.2.7")),
        ("for=\"a,b;c\\\"\", for=192.0.2.7", Some("192.0.2.7")),
        ("for=[2001:db8::7]:4711", Some("2001:db8::7")),
        ("for=unknown, for=10.0.0.2", Some("10.0.0.2")),
        ("for=\"_gazonk:_port\"", None),
        ("for=\"192.0.2.7:_port\"", Some("192.0.2.7")),
        ("proto=https", None),
        ("for=192.0.2.7;ext=\"x y\";;, ,", Some("192.0.2.7")),
    ];
    for (value, expected) in cases {
        assert_eq!(address(standard(value)), Ok(expected.map(str::to_owned)), "{value}");
    }
    let whole =
        standard("for=192.0.2.7;proto=https;host=\"a.example:8443\", for=10.0.0.2;proto=http;host=b.example").unwrap();
    assert_eq!((whole.secure, whole.host.as_deref()), (Some(true), Some("a.example:8443")));
    let inner =
        standard("for=1.1.1.1;host=evil.example, for=192.0.2.7, for=10.0.0.2;proto=http;host=b.example").unwrap();
    assert_eq!((inner.secure, inner.host.as_deref()), (Some(false), Some("b.example")));
}

#[test]
fn a_client_cannot_hide_what_a_proxy_appends() {
    let starts =
        ["for=\"", "for=9.9.9.9;x=\"", "for=\"\\", "x=\"\\\\", "for=9.9.9.9;for=", "for", "for=9.9.9.9;;x=\"a\"b\""];
    for start in starts {
        for own in
            ["for=192.0.2.7", "for=\"[2001:db8::7]:1\"", "for=\"192.0.2.7\";by=\"_x\";proto=https;host=\"a.example\""]
        {
            assert_eq!(standard(&format!("{start}, {own}")), Err(BadForwarded::Syntax), "{start}, {own}");
        }
    }
}

#[test]
fn hosts_and_prefixes() {
    for host in ["a", "a.example", "a.example:443", "127.0.0.1:9000", "[::1]", "[::1]:9000", "a_b-c."] {
        assert!(is_host(host), "{host}");
    }
    let long = "a".repeat(300);
    for host in ["", ":80", "a:", "a:x", "a:99999", "a:+80", "[::1", "[::1]x", "::1", "a@b", "a b", "a/b", "a,b", &long]
    {
        assert!(!is_host(host), "{host}");
    }
    assert!(is_prefix("/live") && is_prefix("/a/b-c_d.e~%20"));
    assert!(!is_prefix("") && !is_prefix("/") && !is_prefix("/a/") && !is_prefix("/a//b") && !is_prefix("/a b"));
}

proptest! {
    #[test]
    fn whatever_came_before_a_proxys_own_entry_changes_nothing(start in "[ -~]{0,80}") {
        let value = format!("{start}, 192.0.2.7");
        prop_assert_eq!(address(x(&[("X-Forwarded-For", &value)])), Ok(Some("192.0.2.7".to_owned())));
        // With a grammar the whole is either refused or read as the proxy meant it.
        for own in ["for=192.0.2.7", "for=\"192.0.2.7:1\";proto=\"https\""] {
            if let Ok(found) = standard(&format!("{start}, {own}")) {
                prop_assert_eq!(found.address, Some("192.0.2.7".parse().unwrap()), "{}, {}", start, own);
            }
        }
    }

    #[test]
    fn no_bytes_do_harm(value in prop::collection::vec(any::<u8>(), 0..200)) {
        for name in ["forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-prefix"] {
            let headers = [(name, value.as_slice())];
            prop_assert!(is_told(headers.into_iter()));
            for family in [Family::XForwarded, Family::Forwarded] {
                if let Ok(told) = read(headers.into_iter(), family, trusted) {
                    prop_assert!(told.host.is_none_or(|host| is_host(&host)));
                    prop_assert!(told.prefix.is_none_or(|prefix| prefix.is_empty() || is_prefix(&prefix)));
                }
            }
        }
    }
}
