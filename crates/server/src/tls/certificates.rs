//! Certificates and their keys: read from files, chosen by the name that a client asks for, exchanged while connections
//! live.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig, version};

use crate::clock::unix_ms;
use crate::config::{Config, Tls};

/// Protocols offered inside TLS (RFC 7301), the best first.
const PROTOCOLS: [&[u8]; 2] = [HTTP2, b"http/1.1"];
const HTTP2: &[u8] = b"h2";
/// Where a self-signed certificate is kept, below the data directory.
const SELF_SIGNED: &str = "self-signed.pem";
const DAY_S: u64 = 86_400;
/// How long a self-signed certificate is good: longer ones are refused by some browsers.
const VALID: Duration = Duration::from_secs(397 * DAY_S);
/// The age at which another is made at the next start.
const RENEWED: Duration = Duration::from_secs(300 * DAY_S);

/// Why there is no TLS. Names the file and the way out.
#[derive(Debug)]
pub struct TlsError(String);

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TlsError {}

fn failed(what: impl fmt::Display) -> TlsError {
    TlsError(format!("TLS: {what}"))
}

/// What tells that a file was changed: its length and when it was written. `None` when it cannot be looked at.
type Mark = Option<(u64, SystemTime)>;

/// The certificates in use, and where they come from.
#[derive(Debug)]
pub(crate) struct Certificates {
    settings: Tls,
    http2: bool,
    self_signed: Option<PathBuf>,
    current: RwLock<Arc<ServerConfig>>,
    marks: Mutex<Vec<Mark>>,
}

impl Certificates {
    /// Reads what the configuration names; `None` when it names nothing.
    pub(crate) fn load(config: &Config) -> Result<Option<Certificates>, TlsError> {
        let settings = config.tls.clone();
        let (certificates, keys) = (settings.certificates.len(), settings.keys.len());
        if certificates != keys {
            let text = format!("tls.certificates names {certificates} files and tls.keys {keys}: each needs the other");
            return Err(failed(text));
        }
        if settings.certificates.is_empty() && !settings.self_signed {
            if !settings.plain {
                let text = "tls.plain = false, but there are no certificates, and without them only plain HTTP is spoken; set \
                            tls.certificates and tls.keys, or tls.self_signed = true for development";
                return Err(failed(text.to_owned()));
            }
            return Ok(None);
        }
        let self_signed = settings.self_signed.then(|| Path::new(&config.data).join(SELF_SIGNED));
        if let Some(path) = &self_signed {
            make_self_signed(path)?;
        }
        let marks = Mutex::new(marks(&settings));
        let current = RwLock::new(Arc::new(read(&settings, config.http2.enabled, self_signed.as_deref())?));
        Ok(Some(Certificates { settings, http2: config.http2.enabled, self_signed, current, marks }))
    }

    /// What the next connection is served with.
    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// True when connections without TLS are served too.
    pub(crate) fn plain(&self) -> bool {
        self.settings.plain
    }

    /// Reads the files again when one has changed. Connections that live keep what they have.
    pub(crate) fn look(&self) {
        let now = marks(&self.settings);
        let changed = {
            let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
            let changed = *marks != now;
            *marks = now;
            changed
        };
        if changed {
            self.reload();
        }
    }

    /// Reads the files again. What cannot be used is told of, and what was in use stays so.
    pub(crate) fn reload(&self) {
        match read(&self.settings, self.http2, self.self_signed.as_deref()) {
            Ok(config) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
                tracing::info!("TLS: certificates were read again; new connections are served with them");
            }
            Err(e) => tracing::error!("{e}; the certificates that were in use stay so"),
        }
    }
}

fn marks(settings: &Tls) -> Vec<Mark> {
    let files = settings.certificates.iter().chain(&settings.keys).chain(&settings.client_roots);
    let mark = |path: &String| {
        let data = fs::metadata(path).ok()?;
        Some((data.len(), data.modified().ok()?))
    };
    files.map(mark).collect()
}

fn read(settings: &Tls, http2: bool, self_signed: Option<&Path>) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let named = settings.certificates.iter().zip(&settings.keys);
    let mut entries = named
        .map(|(chain, key)| Entry::read(&provider, Path::new(chain), Path::new(key)))
        .collect::<Result<Vec<_>, _>>()?;
    if let Some(path) = self_signed {
        entries.push(Entry::read(&provider, path, path)?);
    }
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])
        .map_err(failed)?;
    let builder = if settings.client_roots.is_empty() {
        builder.with_no_client_auth()
    } else {
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(settings)?), provider);
        let verifier = if settings.client_optional { verifier.allow_unauthenticated() } else { verifier };
        builder.with_client_cert_verifier(verifier.build().map_err(failed)?)
    };
    let mut config = builder.with_cert_resolver(Arc::new(ByName(entries)));
    let spoken = PROTOCOLS.iter().filter(|name| http2 || **name != HTTP2);
    config.alpn_protocols = spoken.map(|name| name.to_vec()).collect();
    config.ticketer = ring::Ticketer::new().map_err(failed)?;
    // Ours puts the strongest first; a client on an old machine still finds the one it has.
    config.ignore_client_order = true;
    // One is enough for a connection that comes back, and each is a message to every client.
    config.send_tls13_tickets = 1;
    Ok(config)
}

fn roots(settings: &Tls) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for path in &settings.client_roots {
        for root in certificates(Path::new(path))? {
            roots.add(root).map_err(|e| failed(format_args!("tls.client_roots: {path}: {e}")))?;
        }
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong =
        |e: &dyn fmt::Display| failed(format_args!("{}: {e}; a certificate chain in PEM is needed", path.display()));
    let chain = CertificateDer::pem_file_iter(path).map_err(|e| wrong(&e))?;
    let chain: Vec<_> = chain.collect::<Result<_, _>>().map_err(|e| wrong(&e))?;
    if chain.is_empty() { Err(wrong(&"holds no certificate")) } else { Ok(chain) }
}

/// One certificate with its key.
#[derive(Debug)]
struct Entry {
    chain: CertificateDer<'static>,
    key: Arc<CertifiedKey>,
}

impl Entry {
    fn read(provider: &CryptoProvider, chain: &Path, key: &Path) -> Result<Entry, TlsError> {
        let certificates = certificates(chain)?;
        let private = PrivateKeyDer::from_pem_file(key)
            .map_err(|e| failed(format_args!("{}: {e}; a private key in PEM is needed", key.display())))?;
        let first = certificates.first().cloned().ok_or_else(|| failed("an empty chain"))?;
        ParsedCertificate::try_from(&first).map_err(|e| failed(format_args!("{}: {e}", chain.display())))?;
        let certified = CertifiedKey::from_der(certificates, private, provider)
            .map_err(|e| failed(format_args!("{} and {} do not go together: {e}", chain.display(), key.display())))?;
        Ok(Entry { chain: first, key: Arc::new(certified) })
    }

    fn is_for(&self, name: &ServerName<'_>) -> bool {
        ParsedCertificate::try_from(&self.chain)
            .is_ok_and(|parsed| rustls::client::verify_server_name(&parsed, name).is_ok())
    }
}

/// Chooses the first certificate that holds the name the client asks for (RFC 6066, 3), else the first of all.
#[derive(Debug)]
struct ByName(Vec<Entry>);

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().and_then(|name| ServerName::try_from(name).ok());
        let named = name.and_then(|name| self.0.iter().find(|entry| entry.is_for(&name)));
        named.or_else(|| self.0.first()).map(|entry| Arc::clone(&entry.key))
    }
}

/// Makes a certificate for this machine's own names, unless there is one that is still good: browsers remember that a
/// user accepted it.
fn make_self_signed(path: &Path) -> Result<(), TlsError> {
    let written = fs::metadata(path).and_then(|data| data.modified()).ok();
    if written.and_then(|at| at.elapsed().ok()).is_some_and(|age| age < RENEWED) {
        return Ok(());
    }
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let mut wanted = rcgen::CertificateParams::new(names).map_err(failed)?;
    wanted.distinguished_name = rcgen::DistinguishedName::new();
    wanted.distinguished_name.push(rcgen::DnType::CommonName, "Throughline, self-signed for development");
    let now = Duration::from_millis(unix_ms());
    wanted.not_before = rcgen::date_time_ymd(1970, 1, 1) + now.saturating_sub(Duration::from_secs(DAY_S));
    wanted.not_after = wanted.not_before + VALID;
    let key = rcgen::KeyPair::generate().map_err(failed)?;
    let made = wanted.self_signed(&key).map_err(failed)?;
    let text = format!("{}{}", made.pem(), key.serialize_pem());
    write_private(path, &text).map_err(|e| failed(format_args!("{}: {e}", path.display())))
}

/// Writes a file that only its owner may read.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let new = path.with_extension("new");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(text.as_bytes())?;
    fs::rename(new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_certificates_plain_http_cannot_be_refused() {
        let load = |text: &str| {
            let config = Config::load(Some(("realm.toml", text)), &[]).unwrap();
            Certificates::load(&config).map(|certificates| certificates.is_some()).map_err(|fault| fault.to_string())
        };
        assert_eq!(load(""), Ok(false));
        let fault = load("[tls]\nplain = false").unwrap_err();
        assert!(fault.contains("set tls.certificates and tls.keys"), "{fault}");
    }
}
