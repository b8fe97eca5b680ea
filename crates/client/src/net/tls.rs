//! TLS of a client: whom it trusts, and what it says when it does not.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, Error, RootCertStore};
use tokio_rustls::TlsConnector;

use super::trust::Trust;
use super::{Route, Stream};
use crate::error::ConnectError;

/// Trusts the system's roots (or those of `SSL_CERT_FILE` and `SSL_CERT_DIR`), and these certificates: as roots, and themselves.
pub(super) fn config(roots: &[PathBuf]) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(ring::default_provider());
    let mut store = system_roots();
    let mut named = Vec::new();
    for path in roots {
        named.extend(add(&mut store, path)?);
    }
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?;
    let builder = if named.is_empty() {
        builder.with_root_certificates(store)
    } else {
        let trust = Trust::new(store, named, &provider).map_err(|e| e.to_string())?;
        builder.dangerous().with_custom_certificate_verifier(Arc::new(trust))
    };
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// What cannot be read there is as if it were not there: a connection that needs it says whom it does not trust.
pub(super) fn system_roots() -> RootCertStore {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    store
}

/// Adds the certificates of a file, and gives them.
pub(super) fn add(store: &mut RootCertStore, path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |e: &dyn std::fmt::Display| format!("{}: {e}; root certificates in PEM are needed", path.display());
    let mut added = Vec::new();
    for root in CertificateDer::pem_file_iter(path).map_err(|e| wrong(&e))? {
        let root = root.map_err(|e| wrong(&e))?;
        store.add(root.clone()).map_err(|e| wrong(&e))?;
        added.push(root);
    }
    if added.is_empty() { Err(wrong(&"holds no certificate")) } else { Ok(added) }
}

/// Speaks TLS with `host` on a connection.
pub(super) async fn wrap(stream: Stream, host: &str, authority: &str, route: &Route) -> Result<Stream, ConnectError> {
    let fault = |fault: String| ConnectError::Tls { authority: authority.to_owned(), fault };
    let config = route.tls().map_err(fault)?;
    let name = ServerName::try_from(host.to_owned()).map_err(|e| fault(format!("{host:?} is no name for TLS: {e}")))?;
    match TlsConnector::from(config).connect(name, stream).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(e) => Err(match e.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            Some(error) => fault(explain(error)),
            // As when what answers there is stopping or starting.
            None => {
                ConnectError::Broken { authority: authority.to_owned(), fault: format!("in the TLS handshake: {e}") }
            }
        }),
    }
}

/// What an error of TLS means, and the way out.
fn explain(error: &Error) -> String {
    match error {
        // The second: by its name it is a root that is trusted, by its key another one.
        Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            "its certificate leads to no root that is trusted here: it is self-signed, or a proxy on the way inspects TLS; \
             check who is answering, and name its root certificate with --ca FILE"
                .to_owned()
        }
        Error::InvalidCertificate(e @ CertificateError::Other(_)) => format!(
            "its certificate is none that a server may show: {}; have one made as docs/command-line.md says, or, if you know it \
             for your own, name this very one with --ca FILE",
            words(e)
        ),
        Error::InvalidCertificate(e) => format!("its certificate is not good: {e}; check the address and the server"),
        Error::InvalidMessage(_) => "what answers there does not speak TLS; use http:// or ws://, or another port".to_owned(),
        other => format!("the TLS handshake failed: {other}"),
    }
}

/// What is wrong with a certificate, also where rustls has but a name for it.
pub(super) fn words(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "it leads to no root that is trusted here".to_owned()
        }
        CertificateError::Other(other) => match other.to_string().as_str() {
            "CaUsedAsEndEntity" => "it is an authority's (CA:TRUE)".to_owned(),
            "UnsupportedCertVersion" => "it is of version 1 of X.509".to_owned(),
            name => name.to_owned(),
        },
        other => other.to_string(),
    }
}
