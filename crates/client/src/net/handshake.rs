//! NTLM and Negotiate (RFC 4559), by which a proxy lets in a connection: by steps, all of them on this connection.

mod kdc;

use std::fmt;
use std::iter;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sspi::negotiate::NegotiateConfig;
use sspi::ntlm::NtlmConfig;
use sspi::{
    AuthIdentity, AuthIdentityBuffers, BufferType, ClientRequestFlags, Credentials, CredentialsBuffers,
    DataRepresentation, Error, ErrorKind, KerberosConfig, Negotiate, Ntlm, SecurityBuffer, Sspi, Username,
    UsernameParts,
};

use super::admission::Fault;
use kdc::Kdc;

/// The way out where a proxy asks for what is not spoken.
pub(super) const BEYOND: &str = "a local proxy that can may stand between";
/// Most tokens that are sent by one scheme.
const LEGS_MAX: u32 = 4;
/// Largest token that is taken from a proxy, bytes: the largest that Windows makes.
const TOKEN_BYTES_MAX: usize = 48 << 10;
/// Packages of which a ticket is asked: no other is to stand in for it unseen.
const PACKAGES: &str = "kerberos,!ntlm,!pku2u";

/// What is tried, in this order.
pub(super) const WAYS: [Way; 3] = [Way::Kerberos, Way::NegotiatedNtlm, Way::Ntlm];

/// A scheme, and what is within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Negotiate with a ticket of Kerberos.
    Kerberos,
    /// Negotiate with the messages of NTLM as they are, which is how Windows sends them.
    NegotiatedNtlm,
    /// NTLM.
    Ntlm,
}

impl Way {
    pub(super) const fn scheme(self) -> &'static str {
        match self {
            Way::Kerberos | Way::NegotiatedNtlm => "Negotiate",
            Way::Ntlm => "NTLM",
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Way::Kerberos => "Negotiate with Kerberos",
            Way::NegotiatedNtlm => "Negotiate with NTLM",
            Way::Ntlm => "NTLM",
        })
    }
}

/// A scheme under way.
pub(super) struct Handshake {
    way: Way,
    context: Context,
    /// Tokens that were made.
    legs: u32,
}

/// What the scheme's package keeps between its steps.
enum Context {
    Ntlm(Box<Ntlm>, Option<AuthIdentityBuffers>),
    Kerberos { package: Box<Negotiate>, credentials: Option<CredentialsBuffers>, service: String },
}

impl Handshake {
    /// Makes the first token for a proxy on `host`.
    pub(super) async fn begin(way: Way, host: &str, user: &str, password: &str) -> Result<(Handshake, String), Fault> {
        let (service, user, password) = (format!("HTTP/{host}"), user.to_owned(), password.to_owned());
        let begun = apart(move || {
            let mut fault = Error::new(ErrorKind::UnknownCredentials, "no name of the user is of use");
            for name in names(way, &user)? {
                let context = Context::new(way, &service, name, &password)?;
                match (Handshake { way, context, legs: 0 }).step(Vec::new()) {
                    Ok(stepped) => return Ok(stepped),
                    Err(error) if error.error_type == ErrorKind::UnknownCredentials => fault = error,
                    Err(error) => return Err(error),
                }
            }
            Err(fault)
        });
        begun.await.map_err(|error| {
            let fault = format!("{way}, step 1: {}", words(&error));
            match error.error_type {
                // Of a password that is wrong, too.
                ErrorKind::KdcInvalidRequest => Fault::Break(format!("{fault}; check user, realm and password")),
                _ => Fault::Continue(fault),
            }
        })
    }

    pub(super) const fn scheme(&self) -> &'static str {
        self.way.scheme()
    }

    /// Makes the next token of what came with the scheme's name, if anything did.
    pub(super) async fn go_on(self, challenge: Option<&str>) -> Result<(Handshake, String), Fault> {
        let here = self.to_string();
        // What the proxy says behind a proof of the password is said of the password.
        let proven = matches!(self.way, Way::NegotiatedNtlm | Way::Ntlm) && self.legs > 1;
        let fault = |fault: &str| {
            let words = format!("{here}: {fault}");
            if proven { Fault::Break(words) } else { Fault::Continue(words) }
        };
        let Some(challenge) = challenge else { return Err(fault(self.refusal())) };
        if proven || self.legs == LEGS_MAX {
            return Err(fault("it asks for one step more, and there is none; ask who runs it"));
        }
        if challenge.len() > TOKEN_BYTES_MAX.div_ceil(3) * 4 {
            return Err(fault(&format!("its token has more than {TOKEN_BYTES_MAX} bytes; ask who runs it")));
        }
        let token = BASE64_STANDARD.decode(challenge);
        let token = token.map_err(|e| fault(&format!("its token is no base64 ({e}); ask who runs it")))?;
        let stepped = apart(move || self.step(token)).await;
        stepped.map_err(|error| fault(&format!("its token is of no use ({}); ask who runs it", words(&error))))
    }

    /// What it means that no token came.
    const fn refusal(&self) -> &'static str {
        match self.way {
            Way::Kerberos => "it does not take the ticket; ask who runs it for which name it has a key",
            Way::NegotiatedNtlm | Way::Ntlm if self.legs > 1 => {
                "it does not take this proof; check user and password, and write the domain as DOMAIN\\USER or USER@REALM"
            }
            Way::NegotiatedNtlm | Way::Ntlm => "it answers with no challenge (type 2); ask who runs it",
        }
    }

    fn step(mut self, token: Vec<u8>) -> sspi::Result<(Handshake, String)> {
        let token = match &mut self.context {
            Context::Ntlm(package, credentials) => advance(&mut **package, credentials, "", token),
            Context::Kerberos { package, credentials, service } => advance(&mut **package, credentials, service, token),
        }?;
        self.legs += 1;
        Ok((self, BASE64_STANDARD.encode(token)))
    }
}

/// The way and the step of it that was made last.
impl fmt::Display for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.way {
            Way::Kerberos => write!(f, "{}, step {}", self.way, self.legs),
            // Type 2 is the proxy's.
            Way::NegotiatedNtlm | Way::Ntlm => write!(f, "{}, after type {}", self.way, self.legs * 2 - 1),
        }
    }
}

impl Context {
    fn new(way: Way, service: &str, username: Username, password: &str) -> sspi::Result<Context> {
        let kdc = (way == Way::Kerberos).then(|| kdc::of(&username)).transpose()?;
        let identity = AuthIdentity { username, password: password.to_owned().into() };
        let Some(kdc) = kdc else {
            let package = Box::new(Ntlm::with_config(NtlmConfig::default()));
            return Ok(Context::Ntlm(package, Some(identity.into())));
        };
        let config = Box::new(KerberosConfig::new_with_kdc_url(&kdc, String::new()));
        let config = NegotiateConfig::new(config, Some(PACKAGES.to_owned()), String::new());
        let package = Box::new(Negotiate::new_client(config)?);
        let credentials = Some(CredentialsBuffers::try_from(Credentials::from(identity))?);
        Ok(Context::Kerberos { package, credentials, service: service.to_owned() })
    }
}

/// A user's name, and what else it may mean: to Active Directory USER@REALM is a name as a whole, to others a name in a realm.
fn names(way: Way, user: &str) -> sspi::Result<Vec<Username>> {
    let given = Username::parse(user)?;
    let other = match given.parts() {
        UsernameParts::UserPrincipalName(parts) if way == Way::Kerberos => {
            Username::new_down_level_logon_name(parts.account_name(), parts.suffix()).ok()
        }
        _ => None,
    };
    Ok(iter::once(given).chain(other).collect())
}

/// The beginning of what a package says: behind it come messages in full.
fn words(error: &Error) -> &str {
    error.description.split(". ").next().unwrap_or_default()
}

/// One step of a package.
fn advance<P: Sspi>(
    package: &mut P,
    credentials: &mut P::CredentialsHandle,
    service: &str,
    token: Vec<u8>,
) -> sspi::Result<Vec<u8>> {
    let mut input = [SecurityBuffer::new(token, BufferType::Token)];
    let mut output = [SecurityBuffer::new(Vec::new(), BufferType::Token)];
    let mut builder = package
        .initialize_security_context()
        .with_credentials_handle(credentials)
        .with_context_requirements(ClientRequestFlags::empty())
        .with_target_data_representation(DataRepresentation::Native)
        .with_target_name(service)
        .with_input(&mut input)
        .with_output(&mut output);
    package.initialize_security_context_impl(&mut builder)?.resolve_with_client(&Kdc)?;
    let [token] = output;
    Ok(token.buffer)
}

/// Runs what reads files, asks a KDC or hashes for long where it holds nobody up, and where a panic ends nothing else.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> sspi::Result<T> + Send + 'static) -> sspi::Result<T> {
    let ran = tokio::task::spawn_blocking(work).await;
    ran.unwrap_or_else(|_| Err(Error::new(ErrorKind::InternalError, "what was to make the next token broke off")))
}
