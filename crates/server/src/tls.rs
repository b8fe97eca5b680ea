//! TLS on a connection: rustls' state machine, with buffers only while there is something in them.
//!
//! A connection that is quiet holds the keys and nothing else: bytes are read into the shard's buffer, decrypted, and handed
//! out; what is written is encrypted and handed to the socket in the same call. What is left over (a record that has
//! not come whole, records that the socket did not take) is kept, at most some tens of KiB.

mod certificates;

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::net::Shutdown;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{ProtocolVersion, ServerConfig};
use socket2::SockRef;
use tokio::net::TcpStream;

use crate::socket::read_tcp;

pub(crate) use certificates::Certificates;
pub use certificates::TlsError;

/// The first byte of a TLS connection: a handshake record (RFC 8446, 5.1).
pub(crate) const HANDSHAKE_RECORD: u8 = 0x16;
/// Bytes encrypted at a time; what the socket does not take of them waits with the connection.
const WRITE_BYTES_MAX: usize = 32 * 1024;
/// What a record adds to what it carries, at most (RFC 8446, 5.2).
const RECORD_OVERHEAD: usize = 64;
/// Bytes that one record carries.
const RECORD_BYTES: usize = 16 * 1024;

/// A connection that speaks TLS.
pub(crate) struct TlsStream {
    tcp: TcpStream,
    state: RefCell<State>,
}

/// What a connection agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Agreed {
    /// Version of TLS.
    pub(crate) version: &'static str,
    /// What was agreed on inside it (ALPN).
    pub(crate) alpn: Option<&'static str>,
}

struct State {
    tls: UnbufferedServerConnection,
    /// From the peer: less than a record.
    incoming: Vec<u8>,
    /// Decrypted, and not read yet.
    plain: Rest,
    /// Encrypted, and not taken by the socket yet.
    outgoing: Rest,
    established: bool,
    /// The peer will send nothing more.
    ended: bool,
    /// We will: the socket is shut down when it has taken everything.
    closing: bool,
}

/// Bytes that are used up from the front.
#[derive(Debug, Default)]
struct Rest {
    bytes: Vec<u8>,
    used: usize,
}

impl Rest {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn get(&self) -> &[u8] {
        self.bytes.get(self.used..).unwrap_or_default()
    }

    /// Gives the memory back once all is used.
    fn advance(&mut self, n: usize) {
        self.used += n;
        if self.used >= self.bytes.len() {
            *self = Rest::default();
        }
    }
}

impl fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream").field("tcp", &self.tcp).finish_non_exhaustive()
    }
}

impl TlsStream {
    /// A connection whose first bytes were read already.
    pub(crate) fn new(tcp: TcpStream, config: Arc<ServerConfig>, first: Vec<u8>) -> io::Result<TlsStream> {
        let tls = UnbufferedServerConnection::new(config).map_err(fault)?;
        let (plain, outgoing) = (Rest::default(), Rest::default());
        let state = State { tls, incoming: first, plain, outgoing, established: false, ended: false, closing: false };
        Ok(TlsStream { tcp, state: RefCell::new(state) })
    }

    pub(crate) fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// What was agreed on; `None` before the handshake is complete.
    pub(crate) fn agreed(&self) -> Option<Agreed> {
        let state = self.state.borrow();
        let version = match state.tls.protocol_version()? {
            ProtocolVersion::TLSv1_2 => "1.2",
            ProtocolVersion::TLSv1_3 => "1.3",
            _ => return None,
        };
        let alpn = match state.tls.alpn_protocol() {
            Some(b"h2") => Some("h2"),
            Some(b"http/1.1") => Some("http/1.1"),
            _ => None,
        };
        Some(Agreed { version, alpn })
    }

    /// Takes the handshake as far as what has come allows; true when it is complete and our part of it was sent.
    pub(crate) fn handshake(&self) -> io::Result<bool> {
        let mut state = self.state.borrow_mut();
        let outcome = state.process();
        // Also when it failed: the alert tells the peer why.
        let sent = state.flush(&self.tcp);
        outcome?;
        Ok(sent? && state.established)
    }

    /// Waits until the handshake can go on, and reads what came for it.
    pub(crate) async fn more(&self, buffer: &RefCell<Vec<u8>>) -> io::Result<()> {
        if !self.state.borrow().outgoing.is_empty() {
            return self.tcp.writable().await;
        }
        self.tcp.readable().await?;
        let mut buffer = buffer.borrow_mut();
        let n = match read_tcp(&self.tcp, &mut buffer[..RECORD_BYTES.min(4096)]) {
            Ok(0) => {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the peer left during the TLS handshake"));
            }
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => 0,
            Err(e) => return Err(e),
        };
        self.state.borrow_mut().incoming.extend_from_slice(&buffer[..n]);
        Ok(())
    }

    /// Reads decrypted bytes. `buffer` holds the encrypted ones on their way.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.state.borrow_mut();
        loop {
            if !state.plain.is_empty() {
                let n = state.plain.get().len().min(buffer.len());
                buffer[..n].copy_from_slice(&state.plain.get()[..n]);
                state.plain.advance(n);
                return Ok(n);
            }
            if state.ended {
                return Ok(0);
            }
            let n = read_tcp(&self.tcp, buffer)?;
            state.ended |= n == 0;
            state.incoming.extend_from_slice(&buffer[..n]);
            let outcome = state.process();
            // Answers of TLS itself, and the alert where it failed. What does not go out now goes with what is written next.
            let _ = state.flush(&self.tcp);
            outcome?;
        }
    }

    /// Ready when there may be something to read.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<bool> {
        let state = self.state.borrow();
        if !state.plain.is_empty() || state.ended {
            return Poll::Ready(true);
        }
        self.tcp.poll_read_ready(cx).map(|ready| ready.is_ok())
    }

    pub(crate) fn write<'a>(&self, slices: impl Iterator<Item = &'a [u8]>) -> io::Result<usize> {
        let mut state = self.state.borrow_mut();
        if state.closing {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if !state.flush(&self.tcp)? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let n = state.encrypt(slices)?;
        state.flush(&self.tcp)?;
        Ok(n)
    }

    /// True while the socket has not taken everything that was written.
    pub(crate) fn is_behind(&self) -> bool {
        !self.state.borrow().outgoing.is_empty()
    }

    /// Has the socket take what waits; `WouldBlock` when some is left.
    pub(crate) fn flush(&self) -> io::Result<()> {
        if self.state.borrow_mut().flush(&self.tcp)? { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }

    /// Says that nothing more will be written (RFC 8446, 6.1: `close_notify`).
    pub(crate) fn shutdown(&self) {
        let mut state = self.state.borrow_mut();
        if !state.closing {
            state.closing = true;
            state.say_close();
        }
        // An error means that the connection is gone already.
        let _ = state.flush(&self.tcp);
    }
}

impl State {
    /// Takes in what has come whole.
    fn process(&mut self) -> io::Result<()> {
        loop {
            let State { tls, incoming, plain, outgoing, .. } = self;
            let UnbufferedStatus { mut discard, state } = tls.process_tls_records(incoming);
            let mut failed = None;
            let more = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        match record {
                            Ok(record) => {
                                discard += record.discard;
                                plain.bytes.extend_from_slice(record.payload);
                            }
                            Err(e) => failed = Some(e),
                        }
                    }
                    true
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    append(&mut outgoing.bytes, 0, |out| match data.encode(out) {
                        Err(EncodeError::InsufficientSize(size)) => Err(Some(size.required_size)),
                        Err(EncodeError::AlreadyEncoded) => Err(None),
                        Ok(n) => Ok(n),
                    })?;
                    true
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    true
                }
                Ok(ConnectionState::WriteTraffic(_)) => {
                    self.established = true;
                    false
                }
                Ok(ConnectionState::PeerClosed) => {
                    self.ended = true;
                    true
                }
                Ok(_) => false,
                Err(e) => {
                    failed = Some(e);
                    false
                }
            };
            self.incoming.drain(..discard.min(self.incoming.len()));
            if let Some(error) = failed {
                self.alert();
                return Err(fault(error));
            }
            if !more {
                break;
            }
        }
        if self.incoming.is_empty() {
            self.incoming = Vec::new();
        }
        Ok(())
    }

    /// Puts the alert about what went wrong behind what waits for the socket.
    fn alert(&mut self) {
        self.ended = true;
        let State { tls, outgoing, .. } = self;
        while let Ok(ConnectionState::EncodeTlsData(mut data)) = tls.process_tls_records(&mut []).state {
            let encoded = append(&mut outgoing.bytes, 0, |out| match data.encode(out) {
                Err(EncodeError::InsufficientSize(size)) => Err(Some(size.required_size)),
                Err(EncodeError::AlreadyEncoded) => Err(None),
                Ok(n) => Ok(n),
            });
            if encoded.is_err() {
                return;
            }
        }
    }

    /// Encrypts some of `slices` behind what waits for the socket; how many bytes.
    fn encrypt<'a>(&mut self, slices: impl Iterator<Item = &'a [u8]>) -> io::Result<usize> {
        let mut gathered = Vec::new();
        let mut slices = slices.filter(|slice| !slice.is_empty());
        let Some(first) = slices.next() else { return Ok(0) };
        let mut text = &first[..first.len().min(WRITE_BYTES_MAX)];
        if text.len() < WRITE_BYTES_MAX
            && let Some(second) = slices.next()
        {
            gathered.extend_from_slice(text);
            for slice in std::iter::once(second).chain(slices) {
                let room = WRITE_BYTES_MAX - gathered.len();
                gathered.extend_from_slice(&slice[..slice.len().min(room)]);
                if gathered.len() == WRITE_BYTES_MAX {
                    break;
                }
            }
            text = &gathered;
        }
        let room = text.len() + (text.len() / RECORD_BYTES + 1) * RECORD_OVERHEAD;
        self.write_traffic(room, |traffic, out| traffic.encrypt(text, out))?;
        Ok(text.len())
    }

    fn say_close(&mut self) {
        // Where it cannot be said any more, the end of the connection says it.
        let _ = self.write_traffic(RECORD_OVERHEAD, |traffic, out| traffic.queue_close_notify(out));
    }

    fn write_traffic(
        &mut self,
        room: usize,
        mut write: impl FnMut(
            &mut rustls::unbuffered::WriteTraffic<'_, rustls::server::ServerConnectionData>,
            &mut [u8],
        ) -> Result<usize, EncryptError>,
    ) -> io::Result<()> {
        self.process()?;
        let State { tls, incoming, outgoing, .. } = self;
        let ConnectionState::WriteTraffic(mut traffic) = tls.process_tls_records(incoming).state.map_err(fault)? else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        append(&mut outgoing.bytes, room, |out| match write(&mut traffic, out) {
            Err(EncryptError::InsufficientSize(size)) => Err(Some(size.required_size)),
            Err(EncryptError::EncryptExhausted) => Err(None),
            Ok(n) => Ok(n),
        })
    }

    /// Has the socket take what waits; true when nothing is left.
    fn flush(&mut self, tcp: &TcpStream) -> io::Result<bool> {
        while !self.outgoing.is_empty() {
            match tcp.try_write(self.outgoing.get()) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => self.outgoing.advance(n),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        if self.closing {
            SockRef::from(tcp).shutdown(Shutdown::Write)?;
        }
        Ok(true)
    }
}

/// Has `encode` write behind the end of `out`, with as much room as it asks for.
fn append(
    out: &mut Vec<u8>,
    room: usize,
    mut encode: impl FnMut(&mut [u8]) -> Result<usize, Option<usize>>,
) -> io::Result<()> {
    let begin = out.len();
    out.resize(begin + room, 0);
    loop {
        match encode(&mut out[begin..]) {
            Ok(n) => {
                out.truncate(begin + n);
                return Ok(());
            }
            Err(Some(required)) if required > out.len() - begin => out.resize(begin + required, 0),
            Err(_) => {
                out.truncate(begin);
                return Err(io::Error::other("TLS: nothing more can be encrypted with this connection's keys"));
            }
        }
    }
}

fn fault(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
