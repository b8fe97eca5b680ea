//! `throughline proxy-config`: configurations of proxies, as the tests run them.

use std::io::Write as _;

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
    let prefix = arguments.prefix.trim_end_matches('/');
    if !prefix.is_empty() && !entry.prefix {
        return Err(Failure::usage(format_args!("{name} sees no paths: --prefix means nothing to it")));
    }
    let tls = arguments.certificate.is_some();
    if tls && !entry.tls {
        return Err(Failure::usage(format_args!("{name} speaks no TLS to clients: put one in front that does")));
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
        ("prefix", prefix),
        ("certificate", arguments.certificate.as_deref().unwrap_or_default()),
        ("key", arguments.key.as_deref().or(arguments.certificate.as_deref()).unwrap_or_default()),
    ];
    if let Some((flag, value)) = values.iter().find(|(_, value)| value.contains(['\n', '\r', '"', '{', '}', ';'])) {
        return Err(Failure::usage(format_args!("--{flag} {value:?} cannot stand in a configuration")));
    }
    Ok(fill(entry.text, &values, tls, !prefix.is_empty()))
}

/// Host and port of an address.
fn split<'a>(flag: &str, address: &'a str) -> Result<(&'a str, &'a str), Failure> {
    let parts = address.rsplit_once(':').filter(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    let wrong = || Failure::usage(format_args!("--{flag} {address:?}: write HOST:PORT"));
    parts.map(|(host, port)| (host.trim_matches(['[', ']']), port)).ok_or_else(wrong)
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
            key: None,
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
    }
}
