//! Opening TCP connections.

use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use crate::error::ConnectError;

/// Connects to a host, trying each of its addresses in turn, each for its share of the time: one that swallows
/// everything must not hide those behind it. `TCP_NODELAY` is set: writes are coalesced here.
pub(super) async fn connect(host: &str, port: u16, timeout_ms: u64) -> Result<TcpStream, ConnectError> {
    let attempt = timeout(Duration::from_millis(timeout_ms), connect_any(host, port, timeout_ms));
    attempt.await.unwrap_or_else(|_| {
        let authority = authority(host, port);
        Err(ConnectError::TimedOut { authority, waited_for: "connection", after_ms: timeout_ms })
    })
}

/// Host and port, as URLs have them.
pub(super) fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

async fn connect_any(host: &str, port: u16, timeout_ms: u64) -> Result<TcpStream, ConnectError> {
    let resolve = |source| ConnectError::Resolve { host: host.to_owned(), source };
    let addresses: Vec<_> = lookup_host((host, port)).await.map_err(resolve)?.collect();
    let share = Duration::from_millis(timeout_ms / addresses.len().max(1) as u64);
    let mut last = None;
    for (n, address) in addresses.iter().enumerate() {
        // The last one has whatever time is left.
        let patience = if n + 1 < addresses.len() { share } else { Duration::MAX };
        let attempt = timeout(patience, TcpStream::connect(address)).await;
        match attempt.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())) {
            Ok(stream) => {
                // Without it messages only wait longer; nothing else depends on it.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(e) => last = Some(e),
        }
    }
    match last {
        Some(source) => Err(ConnectError::Connect { authority: authority(host, port), source }),
        None => Err(resolve(std::io::Error::other("the name has no address"))),
    }
}
