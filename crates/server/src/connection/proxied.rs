//! PROXY headers: who has to begin with one, and who must not.

use std::fmt;
use std::io;

use throughline_wire::proxy_protocol::{begins, parse};

use super::read_some;
use crate::config::listed;
use crate::metrics::Turned;
use crate::peer::Source;
use crate::runtime::Local;
use crate::socket::Stream;

/// Takes the PROXY header off the front of a connection that has to have one, and refuses one from anybody else. `more` is
/// false once the peer has ended what it says. Gives whom the connection comes from.
pub(super) async fn source(local: &Local, stream: &Stream, bytes: &mut Vec<u8>, more: &mut bool) -> io::Result<Source> {
    let proxies = &local.http.config.proxies;
    let source = Source::of(stream.peer(), proxies);
    let expected = source.address.is_some_and(|address| listed(&proxies.proxy_protocol_from, address));
    loop {
        let header = match expected {
            true => parse(bytes).map_err(|bad| refuse(local, source, &bad))?,
            false => match begins(bytes) {
                Some(true) => return Err(refuse(local, source, &"it begins with a PROXY header and is not listed")),
                Some(false) => return Ok(source),
                None => None,
            },
        };
        if let Some(header) = header {
            bytes.drain(..header.len);
            if bytes.is_empty() {
                *more = *more && read_some(local, stream, bytes).await?;
            }
            return Ok(source.told(header, proxies));
        }
        if !*more {
            // Whoever only looks whether the port is open sends nothing.
            let cut = expected && !bytes.is_empty();
            return if cut { Err(refuse(local, source, &"its PROXY header is cut")) } else { Ok(source) };
        }
        *more = read_some(local, stream, bytes).await?;
    }
}

fn refuse(local: &Local, source: Source, why: &dyn fmt::Display) -> io::Error {
    local.http.metrics.turned_away(Turned::ProxyHeader);
    let peer = source.address.map_or_else(|| "an unknown address".to_owned(), |address| address.to_string());
    let text = format!(
        "a connection from {peer} is refused: {why} (proxies.proxy_protocol_from lists the addresses that begin every connection \
         with a PROXY header)"
    );
    if let Some(times) = local.headers_refused.happened(local.clock.now().monotonic) {
        tracing::warn!(times, "{text}");
    }
    io::Error::new(io::ErrorKind::InvalidData, text)
}
