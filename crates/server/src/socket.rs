//! What links write to: a connection of the operating system, with TLS or without, a stream of
//! HTTP/2, or the answers of polls.

use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use rustix::net::SendFlags;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use crate::pipe::Pipe;
use crate::shard::Sock;
use crate::tls::{Agreed, TlsStream};
use crate::transport::PollSlot;

/// See the module's text.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Tls(Box<TlsStream>),
    Pipe(Pipe),
    Poll(Arc<PollSlot>),
}

/// Reads once. A read that does not fill the buffer has emptied the socket, and the runtime is told so: otherwise
/// every message costs a second system call that finds nothing.
pub(crate) fn read_tcp(tcp: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let mut short = None;
    let full = tcp.try_io(Interest::READABLE, || {
        let n = rustix::io::read(tcp, &mut *buffer)?;
        if n == 0 || n == buffer.len() {
            return Ok(n);
        }
        short = Some(n);
        Err(io::ErrorKind::WouldBlock.into())
    });
    short.map_or(full, Ok)
}

/// Writes once. The runtime is asked only when the socket takes nothing, which it then awaits: to ask it before every write
/// costs a cache miss for each link.
fn write_tcp(tcp: &TcpStream, write: impl Fn() -> rustix::io::Result<usize>) -> io::Result<usize> {
    match write() {
        Err(Errno::WOULDBLOCK) => tcp.try_io(Interest::WRITABLE, || Ok(write()?)),
        written => Ok(written?),
    }
}

impl Stream {
    /// Reads once.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(tcp) => read_tcp(tcp, buffer),
            Stream::Tls(tls) => tls.read(buffer),
            Stream::Pipe(pipe) => pipe.read(buffer),
            Stream::Poll(_) => Ok(0),
        }
    }

    /// True when there may be something to read; false when there never will be.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<bool> {
        match self {
            Stream::Tcp(tcp) => tcp.poll_read_ready(cx).map(|ready| ready.is_ok()),
            Stream::Tls(tls) => tls.poll_readable(cx),
            Stream::Pipe(pipe) => pipe.poll_readable(cx),
            Stream::Poll(_) => Poll::Ready(false),
        }
    }

    /// Ready when a write may take something.
    pub(crate) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Stream::Poll(slot) => slot.poll_writable(cx),
            Stream::Pipe(pipe) => pipe.poll_writable(cx),
            _ => self.tcp().map_or(Poll::Ready(()), |tcp| tcp.poll_write_ready(cx).map(drop)),
        }
    }

    /// Ready when a link on polls is over.
    pub(crate) fn poll_over(&self, cx: &Context<'_>) -> Poll<()> {
        match self {
            Stream::Poll(slot) => slot.poll_over(cx),
            _ => Poll::Ready(()),
        }
    }

    /// The other end of the connection.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        self.tcp()?.peer_addr().ok()
    }

    /// What TLS agreed on, where it is spoken.
    pub(crate) fn agreed(&self) -> Option<Agreed> {
        if let Stream::Tls(tls) = self { tls.agreed() } else { None }
    }

    /// The connection below, where there is one of its own.
    fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Stream::Tcp(tcp) => Some(tcp),
            Stream::Tls(tls) => Some(tls.tcp()),
            Stream::Pipe(_) | Stream::Poll(_) => None,
        }
    }
}

impl Sock for Stream {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(tcp) => write_tcp(tcp, || rustix::net::send(tcp, bytes, SendFlags::NOSIGNAL)),
            Stream::Tls(tls) => tls.write([bytes].into_iter()),
            Stream::Pipe(pipe) => pipe.write([bytes]),
            Stream::Poll(slot) => slot.write([bytes]),
        }
    }

    fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Stream::Tcp(tcp) => write_tcp(tcp, || rustix::io::writev(tcp, slices)),
            Stream::Tls(tls) => tls.write(slices.iter().map(|slice| &**slice)),
            Stream::Pipe(pipe) => pipe.write(slices.iter().map(|slice| &**slice)),
            Stream::Poll(slot) => slot.write(slices.iter().map(|slice| &**slice)),
        }
    }

    fn is_behind(&self) -> bool {
        matches!(self, Stream::Tls(tls) if tls.is_behind())
    }

    fn flush(&self) -> io::Result<()> {
        if let Stream::Tls(tls) = self { tls.flush() } else { Ok(()) }
    }

    fn is_untaken(&self) -> bool {
        matches!(self, Stream::Poll(slot) if slot.is_untaken())
    }

    fn shutdown(&self) {
        match self {
            // An error means that the connection is gone already.
            Stream::Tcp(tcp) => drop(SockRef::from(tcp).shutdown(Shutdown::Write)),
            Stream::Tls(tls) => tls.shutdown(),
            Stream::Pipe(pipe) => pipe.finish(),
            Stream::Poll(slot) => slot.finish(),
        }
    }

    fn abort(&self) {
        match self {
            Stream::Pipe(pipe) => pipe.abort(),
            Stream::Poll(slot) => slot.abort(),
            _ => drop(self.tcp().map(|tcp| SockRef::from(tcp).shutdown(Shutdown::Both))),
        }
    }
}

/// Does `act` until it does not want to wait for the connection.
fn waiting<T>(
    cx: &mut Context<'_>,
    ready: impl Fn(&mut Context<'_>) -> Poll<io::Result<()>>,
    mut act: impl FnMut() -> io::Result<T>,
) -> Poll<io::Result<T>> {
    loop {
        match act() {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => ready!(ready(cx))?,
            outcome => return Poll::Ready(outcome),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Stream::Tcp(tcp) = this {
            return Pin::new(tcp).poll_read(cx, buf);
        }
        let ready = |cx: &mut Context<'_>| this.poll_readable(cx).map(|_| Ok(()));
        waiting(cx, ready, || {
            // Decrypting needs room that was written before.
            let n = this.read(buf.initialize_unfilled())?;
            buf.advance(n);
            Ok(())
        })
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let ready = |cx: &mut Context<'_>| this.poll_writable(cx).map(Ok);
        waiting(cx, ready, || Sock::write_vectored(this, slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let ready = |cx: &mut Context<'_>| this.poll_writable(cx).map(Ok);
        waiting(cx, ready, || Sock::flush(this))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Sock::shutdown(&*self);
        self.poll_flush(cx)
    }
}
