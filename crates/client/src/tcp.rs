//! Opening TCP connections.

use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use crate::error::ConnectError;
use crate::url::RealmUrl;

/// Connects to the realm's host, trying each of its addresses in turn. `TCP_NODELAY` is set: writes are coalesced here.
pub(crate) async fn connect(url: &RealmUrl, timeout_ms: u64) -> Result<TcpStream, ConnectError> {
    let attempt = timeout(Duration::from_millis(timeout_ms), connect_any(url));
    attempt.await.unwrap_or_else(|_| {
        let authority = url.authority().to_owned();
        Err(ConnectError::TimedOut { authority, waited_for: "connection", after_ms: timeout_ms })
    })
}

async fn connect_any(url: &RealmUrl) -> Result<TcpStream, ConnectError> {
    let resolve = |source| ConnectError::Resolve { host: url.host().to_owned(), source };
    let addresses = lookup_host((url.host(), url.port())).await.map_err(resolve)?;
    let mut last = None;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Without it messages only wait longer; nothing else depends on it.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(e) => last = Some(e),
        }
    }
    match last {
        Some(source) => Err(ConnectError::Connect { authority: url.authority().to_owned(), source }),
        None => Err(resolve(std::io::Error::other("the name has no address"))),
    }
}
