//! TLS that looks at a certificate and goes on whatever it finds: for the doctor, which sends nothing that is secret.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, ProtocolVersion, RootCertStore, SignatureScheme,
};
use tokio_rustls::TlsConnector;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::trust::Trust;
use super::{Route, Stream, tls};
use crate::doctor::Certificate;
use crate::error::ConnectError;
use crate::url::RealmUrl;

/// Judges certificates as a client would, and says what it thinks of them.
#[derive(Debug)]
pub(crate) struct Witness {
    provider: Arc<CryptoProvider>,
    system: Option<Trust>,
    given: Option<Trust>,
}

/// A connection whose certificate was looked at.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) stream: Stream,
    pub(crate) certificate: Certificate,
}

impl Witness {
    /// With the system's roots and those of a route.
    pub(crate) fn new(route: &Route) -> Result<Witness, String> {
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        let mut named = Vec::new();
        for path in route.roots() {
            named.extend(tls::add(&mut roots, path)?);
        }
        // There is none without a root: nobody is trusted then.
        let system = Trust::new(tls::system_roots(), Vec::new(), &provider).ok();
        let given = Trust::new(roots, named, &provider).ok();
        Ok(Witness { provider, system, given })
    }

    /// Speaks TLS with the realm's host on a connection, and offers these protocols by ALPN.
    pub(crate) async fn wrap(
        self: &Arc<Self>,
        stream: Stream,
        url: &RealmUrl,
        offered: &[&str],
    ) -> Result<Shown, ConnectError> {
        let authority = url.authority().to_owned();
        let fault = |fault: String| ConnectError::Tls { authority: authority.clone(), fault };
        let name = ServerName::try_from(url.host().to_owned()).map_err(|e| fault(e.to_string()))?;
        let glance = Arc::new(Glance { witness: Arc::clone(self), seen: Mutex::default() });
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(|e| fault(e.to_string()))?;
        let verifier: Arc<dyn ServerCertVerifier> = Arc::clone(&glance) as _;
        let mut config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
        config.alpn_protocols = offered.iter().map(|name| name.as_bytes().to_vec()).collect();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        let stream = stream.map_err(|e| match e.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            Some(Error::InvalidMessage(_)) => fault(NOT_TLS.to_owned()),
            Some(Error::InvalidCertificate(error)) => fault(format!("of its certificate, {}", tls::words(error))),
            Some(error) => fault(error.to_string()),
            None => ConnectError::Broken { authority: authority.clone(), fault: e.to_string() },
        })?;
        let version = match stream.get_ref().1.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => Some("1.3".to_owned()),
            Some(ProtocolVersion::TLSv1_2) => Some("1.2".to_owned()),
            _ => None,
        };
        let alpn = stream.get_ref().1.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
        let seen = glance.seen.lock().unwrap_or_else(PoisonError::into_inner).take();
        let certificate = Certificate { version, alpn, ..seen.unwrap_or_default() };
        Ok(Shown { stream: Box::new(stream), certificate })
    }

    /// What a client would say, and whose root the certificate leads to.
    fn judge(&self, verify: impl Fn(&Trust) -> Result<ServerCertVerified, Error>) -> Verdict {
        let mut fault = Error::InvalidCertificate(CertificateError::UnknownIssuer);
        for (verifier, whose) in [(&self.system, "system"), (&self.given, "given")] {
            let Some(verifier) = verifier else { continue };
            match verify(verifier) {
                Ok(_) => return Ok(whose),
                // What one of them finds beyond not knowing the issuer is the better reason.
                Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {}
                Err(other) => fault = other,
            }
        }
        Err(fault)
    }
}

/// Words of a fault by which bytes are known that are no TLS.
pub(crate) const NOT_TLS: &str = "what answers does not speak TLS";

type Verdict = Result<&'static str, Error>;

/// The look at one connection's certificate.
#[derive(Debug)]
struct Glance {
    witness: Arc<Witness>,
    seen: Mutex<Option<Certificate>>,
}

impl ServerCertVerifier for Glance {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verdict = self
            .witness
            .judge(|verifier| verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now));
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(describe(end_entity, &verdict));
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.witness.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.witness.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.witness.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// A certificate in words, with what is thought of it.
fn describe(der: &CertificateDer<'_>, verdict: &Verdict) -> Certificate {
    let mut shown = match X509Certificate::from_der(der) {
        Ok((_, certificate)) => read(&certificate),
        Err(_) => Certificate { issuer: "somebody unreadable".to_owned(), ..Certificate::default() },
    };
    match verdict {
        Ok(whose) => shown.trusted = Some((*whose).to_owned()),
        Err(Error::InvalidCertificate(error)) => {
            let (fault, detail) = explain(error, &shown);
            (shown.fault, shown.detail) = (Some(fault.to_owned()), detail.or_else(|| shown.detail.take()));
        }
        Err(error) => (shown.fault, shown.detail) = (Some("untrusted".to_owned()), Some(error.to_string())),
    }
    if shown.fault.is_none() {
        shown.detail = None;
    }
    shown
}

/// Names and times of a certificate; for now the times are its detail.
fn read(certificate: &X509Certificate<'_>) -> Certificate {
    let common = |name: &x509_parser::x509::X509Name<'_>| {
        let mut names = name.iter_common_name().filter_map(|part| part.as_str().ok());
        names.next().map_or_else(|| name.to_string(), str::to_owned)
    };
    let alternatives = certificate.subject_alternative_name().ok().flatten();
    let names = alternatives.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
    let validity = certificate.validity();
    Certificate {
        issuer: common(certificate.issuer()),
        subject: common(certificate.subject()),
        names: names.iter().filter_map(host).collect(),
        detail: Some(format!("it is valid from {} to {}", validity.not_before, validity.not_after)),
        ..Certificate::default()
    }
}

fn host(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match <[u8; 4]>::try_from(*bytes) {
            Ok(bytes) => Some(std::net::Ipv4Addr::from(bytes).to_string()),
            Err(_) => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| std::net::Ipv6Addr::from(bytes).to_string()),
        },
        _ => None,
    }
}

/// The fault, and words where the times of the certificate are none.
fn explain(error: &CertificateError, shown: &Certificate) -> (&'static str, Option<String>) {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => ("expired", None),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => ("not-yet-valid", None),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            ("wrong-name", Some(error.to_string()))
        }
        _ if shown.issuer == shown.subject => ("self-signed", Some(tls::words(error))),
        CertificateError::UnknownIssuer | CertificateError::BadSignature => ("untrusted", Some(tls::words(error))),
        _ => ("unfit", Some(tls::words(error))),
    }
}
