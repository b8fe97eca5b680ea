//! Asking a KDC (RFC 4120, 7.2.2).

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use sspi::kerberos::client::principal::{get_client_principal_name, get_client_principal_realm};
use sspi::network_client::NetworkClient;
use sspi::{Error, ErrorKind, NetworkProtocol, NetworkRequest, Username, detect_kdc_host};

/// Longest wait for an answer, milliseconds: a program that ends waits for it.
const PATIENCE_MS: u64 = 5_000;
/// Largest answer, bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Of a KDC that says no other.
const PORT: u16 = 88;

/// The address of the KDC for a user's realm.
pub(super) fn of(user: &Username) -> sspi::Result<String> {
    const WAY_OUT: &str = "name one in krb5.conf (KRB5_CONFIG) or SSPI_KDC_URL";
    let unknown = |fault| Error::new(ErrorKind::NoAuthenticatingAuthority, fault);
    let name = get_client_principal_name(user);
    let realm = get_client_principal_realm(name.name, name.realm_domain);
    if realm.is_empty() {
        return Err(unknown("no realm is known for the user; write USER@REALM".to_owned()));
    }
    detect_kdc_host(&realm).ok_or_else(|| unknown(format!("no KDC is known for the realm {realm}; {WAY_OUT}")))
}

/// Whom a package asks for tickets.
pub(super) struct Kdc;

impl NetworkClient for Kdc {
    fn send(&self, request: &NetworkRequest) -> sspi::Result<Vec<u8>> {
        let fault = |e: io::Error| {
            let host = request.url.host_str().unwrap_or_default();
            Error::new(ErrorKind::NoAuthenticatingAuthority, format!("no answer from the KDC on {host}: {e}"))
        };
        ask(request).map_err(fault)
    }
}

/// Sends a message with its length in front, and gives the answer in the same form.
fn ask(request: &NetworkRequest) -> io::Result<Vec<u8>> {
    if request.protocol != NetworkProtocol::Tcp {
        return Err(io::Error::other("only KDCs at tcp:// addresses are asked"));
    }
    let host = request.url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let mut talk = Talk::open(host, request.url.port().unwrap_or(PORT))?;
    talk.stream.write_all(&request.data)?;
    let mut prefix = [0; 4];
    talk.read_exact(&mut prefix)?;
    let length = u32::from_be_bytes(prefix) as usize;
    if length > ANSWER_BYTES_MAX {
        return Err(io::Error::other(format!("it announces {length} bytes, and {ANSWER_BYTES_MAX} are taken")));
    }
    let mut answer = prefix.to_vec();
    answer.resize(prefix.len() + length, 0);
    talk.read_exact(&mut answer[prefix.len()..])?;
    Ok(answer)
}

/// A connection that ends in time, however slowly bytes come.
struct Talk {
    stream: TcpStream,
    until: Instant,
}

impl Talk {
    fn open(host: &str, port: u16) -> io::Result<Talk> {
        let until = Instant::now() + Duration::from_millis(PATIENCE_MS);
        let mut fault = io::ErrorKind::AddrNotAvailable.into();
        for address in (host, port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, left(until)?) {
                Ok(stream) => {
                    stream.set_write_timeout(Some(left(until)?))?;
                    return Ok(Talk { stream, until });
                }
                Err(e) => fault = e,
            }
        }
        Err(fault)
    }
}

impl Read for Talk {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(left(self.until)?))?;
        self.stream.read(bytes)
    }
}

fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}
