//! What links write to: a connection of the operating system, or the answers of polls.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::sync::Arc;
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::shard::Sock;
use crate::transport::PollSlot;

/// See the module's text.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Poll(Arc<PollSlot>),
}

impl Stream {
    /// Reads once. A read that does not fill the buffer has emptied the socket, and the runtime is told so: otherwise
    /// every message costs a second system call that finds nothing.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let Stream::Tcp(tcp) = self else { return Ok(0) };
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

    /// True when there may be something to read; false when there never will be.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<bool> {
        match self {
            Stream::Tcp(tcp) => tcp.poll_read_ready(cx).map(|ready| ready.is_ok()),
            Stream::Poll(_) => Poll::Ready(false),
        }
    }

    /// Ready when a write may take something.
    pub(crate) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Stream::Tcp(tcp) => tcp.poll_write_ready(cx).map(drop),
            Stream::Poll(slot) => slot.poll_writable(cx),
        }
    }

    /// Ready when a link on polls is over.
    pub(crate) fn poll_over(&self, cx: &Context<'_>) -> Poll<()> {
        match self {
            Stream::Tcp(_) => Poll::Ready(()),
            Stream::Poll(slot) => slot.poll_over(cx),
        }
    }
}

impl Sock for Stream {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(tcp) => tcp.try_write(bytes),
            Stream::Poll(slot) => slot.write([bytes]),
        }
    }

    fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Stream::Tcp(tcp) => tcp.try_write_vectored(slices),
            Stream::Poll(slot) => slot.write(slices.iter().map(|slice| &**slice)),
        }
    }

    fn shutdown(&self) {
        match self {
            // An error means that the connection is gone already.
            Stream::Tcp(tcp) => drop(SockRef::from(tcp).shutdown(Shutdown::Write)),
            Stream::Poll(slot) => slot.finish(),
        }
    }

    fn abort(&self) {
        match self {
            Stream::Tcp(tcp) => drop(SockRef::from(tcp).shutdown(Shutdown::Both)),
            Stream::Poll(slot) => slot.abort(),
        }
    }
}
