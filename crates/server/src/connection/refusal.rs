//! Answers to requests that no HTTP library gets to see.

use std::io;
use std::time::Duration;

use throughline_wire::http1::Ambiguity;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::{end, say};
use crate::http::refused_response;
use crate::runtime::Local;
use crate::socket::Stream;

/// How long a client may take to end its connection when it was told that it is refused.
const LINGER: Duration = Duration::from_secs(1);
/// Bytes that it may still send.
const LINGER_BYTES_MAX: usize = 256 * 1024;

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
