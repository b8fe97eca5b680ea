//! `throughline proxy-config`: configurations of proxies, as the tests run them.

use std::io::Write as _;
use std::net::Ipv6Addr;

use crate::arguments::ProxyConfig;
use crate::failure::Failure;

/// A proxy that there is a configuration for.
struct Entry {
    name: &'static str,
    what: &'static str,
    text: &'static str,
    /// A path prefix means something to it.
    prefix: bool,
    /// It can speak TLS to clients.
    tls: bool,
}

macro_rules! entry {
    ($name:literal, $file:literal, $prefix:literal, $tls:literal, $what:literal) => {
        Entry {
            name: $name,
            what: $what,
            text: include_str!(concat!("../proxies/", $file)),
            prefix: $prefix,
            tls: $tls,
        }
    };
}

const ENTRIES: &[Entry] = &[
    entry!("nginx", "nginx.conf", true, true, "reverse proxy, HTTP"),
    entry!("nginx-stream", "nginx-stream.conf", false, true, "reverse proxy, TCP: every version of WebSocket passes"),
    entry!("haproxy", "haproxy.cfg", true, true, "reverse proxy, HTTP"),
    entry!("haproxy-tcp", "haproxy-tcp.cfg", false, true, "reverse proxy, TCP: every version of WebSocket passes"),
    entry!(
        "haproxy-tcp-proxy",
        "haproxy-tcp-proxy.cfg",
        false,
        true,
        "the same, and the realm is told who the clients are"
    ),
    entry!("apache", "apache.conf", true, true, "reverse proxy, HTTP"),
    entry!("caddy", "Caddyfile", true, true, "reverse proxy, HTTP"),
    entry!("lighttpd", "lighttpd.conf", true, true, "reverse proxy, HTTP"),
    entry!("varnish", "varnish.vcl", true, false, "cache in front, HTTP"),
    entry!("envoy", "envoy.yaml", true, true, "reverse proxy, HTTP"),
    entry!("traefik", "traefik.yaml", true, true, "reverse proxy, HTTP"),
    entry!("stunnel", "stunnel.conf", false, true, "TLS in front, TCP: every version of WebSocket passes"),
    entry!("squid", "squid.conf", false, false, "forward proxy"),
    entry!("apache-forward", "apache-forward.conf", false, false, "forward proxy"),
];

pub(crate) fn run(arguments: &ProxyConfig) -> Result<(), Failure> {
    let text = match &arguments.name {
        None => list(),
        Some(name) => render(name, arguments)?,
    };
    std::io::stdout().write_all(text.as_bytes()).map_err(Failure::output)
}

fn list() -> String {
    ENTRIES.iter().map(|entry| format!("{:<17} {}\n", entry.name, entry.what)).collect()
}

fn render(name: &str, arguments: &ProxyConfig) -> Result<String, Failure> {
    let entry = ENTRIES.iter().find(|entry| entry.name == name).ok_or_else(|| {
        let names: Vec<_> = ENTRIES.iter().map(|entry| entry.name).collect();
        Failure::usage(format_args!("there is no configuration for {name:?}; there are {}", names.join(", ")))
    })?;
    let prefix = prefix_of(&arguments.prefix)?;
    if !prefix.is_empty() && !entry.prefix {
        return Err(Failure::usage(format_args!("{name} sees no paths: --prefix means nothing to it")));
    }
    let tls = arguments.certificate.is_some();
    if tls && !entry.tls {
        return Err(Failure::usage(format_args!("{name} speaks no TLS to clients: put one in front that does")));
    }
    let two_files = entry.text.contains("{{key}}");
    if tls && two_files && arguments.key.is_none() {
        return Err(Failure::usage(format_args!(
            "{name} is told where the key is as well: --key FILE, though it be the file of --certificate"
        )));
    }
    if tls && !two_files && arguments.key.is_some() && arguments.key != arguments.certificate {
        return Err(Failure::usage(format_args!(
            "{name} takes certificates and key from one file: write both into it, name it with --certificate, and leave out --key"
        )));
    }
    let (listen_host, listen_port) = split("listen", &arguments.listen)?;
    let (upstream_host, upstream_port) = split("upstream", &arguments.upstream)?;
    let values = [
        ("listen", arguments.listen.as_str()),
        ("listen_host", listen_host),
        ("listen_port", listen_port),
        ("upstream", &arguments.upstream),
        ("upstream_host", upstream_host),
        ("upstream_port", upstream_port),
        ("prefix", &prefix),
        ("certificate", arguments.certificate.as_deref().unwrap_or_default()),
        ("key", arguments.key.as_deref().unwrap_or_default()),
    ];
    let unfit = |c: char| c.is_whitespace() || c.is_control() || "\"'`\\{};#$".contains(c);
    if let Some((flag, value)) = values.iter().find(|(_, value)| value.contains(unfit)) {
        return Err(Failure::usage(format_args!("--{flag} {value:?} cannot stand in a configuration")));
    }
    Ok(fill(entry.text, &values, tls, !prefix.is_empty()))
}

/// The prefix as templates have it: with a slash in front of it and none behind.
fn prefix_of(text: &str) -> Result<String, Failure> {
    let path = text.trim_matches('/');
    let fits = |part: &str| {
        let letters = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
        !matches!(part, "" | "." | "..") && part.chars().all(letters)
    };
    match path {
        "" => Ok(String::new()),
        _ if path.split('/').all(fits) => Ok(format!("/{path}")),
        _ => Err(Failure::usage(format_args!(
            "--prefix {text:?}: write a path such as /live, of letters, digits, slashes, and any of -._~"
        ))),
    }
}

/// Host and port of an address.
fn split<'a>(flag: &str, address: &'a str) -> Result<(&'a str, &'a str), Failure> {
    let wrong = || Failure::usage(format_args!("--{flag} {address:?}: write HOST:PORT, without a scheme or a path"));
    let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let fits = match bare {
        Some(host) => host.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c)),
    };
    if fits && port.parse::<u16>().is_ok() { Ok((bare.unwrap_or(host), port)) } else { Err(wrong()) }
}

/// Fills in a template: `{{name}}` is a value, and lines that begin with `@tls`, `@plain`, `@prefix` or `@root` are for those only.
fn fill(template: &str, values: &[(&str, &str)], tls: bool, prefix: bool) -> String {
    let mut out = String::new();
    for line in template.lines() {
        let marks = [("@tls", tls), ("@plain", !tls), ("@prefix", prefix), ("@root", !prefix)];
        let mark = marks.iter().find_map(|(mark, wanted)| Some((line.strip_prefix(mark)?, *wanted)));
        let (line, wanted) = mark.unwrap_or((line, true));
        if wanted {
            let filled = values
                .iter()
                .fold(line.to_owned(), |text, (name, value)| text.replace(&format!("{{{{{name}}}}}"), value));
            out.push_str(&filled);
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(name: &str, prefix: &str, certificate: Option<&str>) -> ProxyConfig {
        ProxyConfig {
            name: Some(name.to_owned()),
            listen: "0.0.0.0:8080".to_owned(),
            upstream: "127.0.0.1:9000".to_owned(),
            prefix: prefix.to_owned(),
            certificate: certificate.map(str::to_owned),
            key: certificate.filter(|_| !name.starts_with("haproxy")).map(|_| "/etc/ssl/key.pem".to_owned()),
        }
    }

    #[test]
    fn every_template_is_filled_whole() {
        for entry in ENTRIES {
            for prefix in ["", "/live"] {
                for certificate in [None, Some("/etc/ssl/realm.pem")] {
                    let rendered = render(entry.name, &arguments(entry.name, prefix, certificate));
                    let possible = (prefix.is_empty() || entry.prefix) && (certificate.is_none() || entry.tls);
                    assert_eq!(rendered.is_ok(), possible, "{} {prefix:?} {certificate:?}", entry.name);
                    let Ok(text) = rendered else { continue };
                    assert!(!text.contains("{{") && !text.lines().any(|line| line.starts_with('@')), "{text}");
                    // Traefik is told on its command line where to listen.
                    assert!(text.contains("8080"), "{text}");
                    assert!(certificate.is_none_or(|file| text.contains(file)), "{text}");
                    assert!(prefix.is_empty() || text.contains(prefix), "{text}");
                }
            }
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let refused = |change: fn(&mut ProxyConfig)| {
            let mut wanted = arguments("nginx", "", None);
            change(&mut wanted);
            render(&wanted.name.clone().unwrap_or_default(), &wanted).is_err()
        };
        assert!(refused(|a| a.name = Some("apach".to_owned())));
        assert!(refused(|a| a.listen = "8080".to_owned()));
        assert!(refused(|a| a.upstream = "127.0.0.1:99999".to_owned()));
        assert!(refused(|a| a.prefix = "/a; }\n".to_owned()));
        assert!(refused(|a| a.certificate = Some("my certificate.pem".to_owned())));
        for wrong in ["http://127.0.0.1:9000", "realm:9000/live", "::1:9000", "[::1", ":9000", "[realm]:9000"] {
            assert!(split("upstream", wrong).is_err(), "{wrong}");
        }
        assert!(matches!(split("upstream", "[::1]:9000"), Ok(("::1", "9000"))));
    }

    #[test]
    fn a_prefix_gets_its_slash() {
        for (written, prefix) in [("", ""), ("/", ""), ("live", "/live"), ("/live/", "/live"), ("a/b.c", "/a/b.c")] {
            assert_eq!(prefix_of(written).ok().as_deref(), Some(prefix), "{written}");
        }
        for refused in ["/live me", "/a//b", "/../a", "http://realm.test/live", "/(a|b)"] {
            assert!(prefix_of(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn certificate_and_key_come_as_the_proxy_takes_them() {
        let with = |name: &str, key: Option<&str>| {
            let wanted = ProxyConfig { key: key.map(str::to_owned), ..arguments(name, "", Some("/both.pem")) };
            render(name, &wanted)
        };
        for (name, key, printed) in [
            ("nginx", None, false),
            ("nginx", Some("/both.pem"), true),
            ("nginx", Some("/key.pem"), true),
            ("haproxy", None, true),
            ("haproxy", Some("/both.pem"), true),
            ("haproxy", Some("/key.pem"), false),
        ] {
            assert_eq!(with(name, key).is_ok(), printed, "{name} {key:?}");
        }
    }
}
