//! Answers to requests that no HTTP library gets to see.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use throughline_wire::http1::Ambiguity;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::{end, say};
use crate::http::{crowded_response, refused_response};
use crate::metrics::Turned;
use crate::runtime::Local;
use crate::socket::Stream;

/// How long a client may take to end its connection when it was told that it is refused.
const LINGER: Duration = Duration::from_secs(1);
/// Bytes that it may still send.
const LINGER_BYTES_MAX: usize = 256 * 1024;

/// Tells a client whose address has too many connections so. Gives what the connection ends with.
pub(super) async fn turn_away(local: &Local, stream: &mut Stream, address: IpAddr) -> io::Error {
    local.http.metrics.turned_away(Turned::Crowded);
    let max = local.http.config.limits.connections_per_address_max;
    if let Some(times) = local.crowded.happened(local.clock.now().monotonic) {
        tracing::warn!(
            times,
            "limits.connections_per_address_max = {max} is reached by {address}; a connection is refused"
        );
    }
    // A client that does not take it is refused all the same.
    let _ = say(local, stream, &crowded_response()).await;
    io::Error::other("the client's address has too many connections (limits.connections_per_address_max)")
}

/// Tells the client why its request is refused, and ends the connection.
pub(super) async fn answer(local: &Local, mut stream: Stream, ambiguity: Ambiguity) -> io::Result<()> {
    local.http.metrics.http_requests.inc();
    local.http.metrics.http_failed("bad_request".into());
    local.http.metrics.requests_refused.inc();
    tracing::debug!("a request is refused: {ambiguity}");
    say(local, &mut stream, &refused_response(ambiguity)).await?;
    end(local, &mut stream).await?;
    // A connection that is closed with bytes unread is reset, and the answer may be lost with it.
    let mut read = 0;
    let ended = async {
        let mut bytes = [0; 1024];
        while read < LINGER_BYTES_MAX {
            match AsyncReadExt::read(&mut stream, &mut bytes).await {
                Ok(n @ 1..) => read += n,
                _ => break,
            }
        }
    };
    timeout(LINGER, ended).await.unwrap_or_default();
    Ok(())
}
