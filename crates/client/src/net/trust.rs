//! Whom a client trusts: roots, and the very certificates that were named to it.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{VerifierBuilderError, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};

/// Judges certificates as webpki does, but for one thing: a server that shows the very certificate which was named is believed,
/// as far as its names and times go, though it be an authority's. webpki knows what was named as a root only, and a root must
/// not be shown by a server; yet such ones are what `openssl req -x509` makes. Nobody new is trusted: whoever has the key of a
/// root can sign what webpki believes.
#[derive(Debug)]
pub(super) struct Trust {
    roots: Arc<WebPkiServerVerifier>,
    named: Vec<CertificateDer<'static>>,
}

impl Trust {
    /// `named` are among `roots`.
    pub(super) fn new(
        roots: RootCertStore,
        named: Vec<CertificateDer<'static>>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Trust, VerifierBuilderError> {
        let roots = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build()?;
        Ok(Trust { roots, named })
    }
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.named.iter().any(|named| named == end_entity) {
            return itself(end_entity, server_name, now);
        }
        self.roots.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.roots.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.roots.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.roots.supported_verify_schemes()
    }
}

/// A certificate that is trusted for what it says of itself.
fn itself(shown: &CertificateDer<'_>, name: &ServerName<'_>, now: UnixTime) -> Result<ServerCertVerified, Error> {
    let (_, certificate) = X509Certificate::from_der(shown).map_err(|_| CertificateError::BadEncoding)?;
    let seconds = |time: ASN1Time| Duration::from_secs(time.timestamp().try_into().unwrap_or_default());
    let not_before = UnixTime::since_unix_epoch(seconds(certificate.validity().not_before));
    let not_after = UnixTime::since_unix_epoch(seconds(certificate.validity().not_after));
    if now < not_before {
        return Err(CertificateError::NotValidYetContext { time: now, not_before }.into());
    }
    if now > not_after {
        return Err(CertificateError::ExpiredContext { time: now, not_after }.into());
    }
    verify_server_name(&ParsedCertificate::try_from(shown)?, name)?;
    Ok(ServerCertVerified::assertion())
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
    use rustls::crypto::ring;

    use super::*;
    use crate::net::tls;

    /// What `openssl req -x509` makes: self-signed, and an authority's.
    fn made() -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        (params.not_before, params.not_after) = (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2040, 1, 1));
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    #[test]
    fn the_very_certificate_that_was_named_is_believed_for_its_names_and_times() {
        let provider = Arc::new(ring::default_provider());
        let (named, other) = (made(), made());
        let mut roots = RootCertStore::empty();
        roots.add(named.clone()).unwrap();
        let trust = |named| Trust::new(roots.clone(), named, &provider).unwrap();
        let verify = |trust: &Trust, shown: &CertificateDer<'_>, host: &str, year: u64| {
            let name = ServerName::try_from(host.to_owned()).unwrap();
            let now = UnixTime::since_unix_epoch(Duration::from_secs((year - 1970) * 31_557_600));
            let verified = trust.verify_server_cert(shown, &[], &name, &[], now);
            verified.map(drop).map_err(|error| match error {
                Error::InvalidCertificate(error) => tls::words(&error),
                other => other.to_string(),
            })
        };
        let pinned = trust(vec![named.clone()]);
        assert_eq!(verify(&pinned, &named, "localhost", 2030), Ok(()));
        assert!(verify(&pinned, &named, "elsewhere.test", 2030).unwrap_err().contains("elsewhere.test"));
        assert!(verify(&pinned, &named, "localhost", 2050).unwrap_err().contains("expired"));
        assert!(verify(&pinned, &named, "localhost", 2010).unwrap_err().contains("not valid yet"));
        for refused in
            [verify(&pinned, &other, "localhost", 2030), verify(&trust(Vec::new()), &named, "localhost", 2030)]
        {
            assert_eq!(refused, Err("it is an authority's (CA:TRUE)".to_owned()));
        }
    }
}
