//! From an accepted connection to what it speaks: its first bytes are looked at, a WebSocket handshake is answered
//! here, everything else goes to hyper. A request there that opens a stream or asks for an upgrade takes the connection over.

mod http2;
mod identity;
mod legacy;
mod proxied;
mod refusal;
mod replay;

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use h2::ext::Protocol;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use throughline_wire::http1::check_head;
use throughline_wire::ws::handshake::{self, RequestHead};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::addresses::{Crowded, Guest};
use crate::http::{self, Body, cors};
use crate::metrics::Turned;
use crate::peer::{Client, Source};
use crate::probe::{self, Arrival, ProbeStream, RawHead, Way};
use crate::runtime::{Local, Phase, WebSocketStart};
use crate::shard::{Network, Purpose};
use crate::socket::Stream;
use crate::tls::{Agreed, HANDSHAKE_RECORD, TlsStream};
use crate::transport::{self, Outcome, StreamStart};
use crate::upgrade::{self, Accepted, Handshake};
use crate::waiting::{Awaited, Wait};
use replay::{Replay, Told};

/// Bytes read at a time while a request's head is awaited.
const HEAD_READ_BYTES: usize = 4096;

/// Serves a connection to its end, or until it has to make room for others.
pub(crate) async fn run(local: &Rc<Local>, socket: std::net::TcpStream) -> io::Result<()> {
    let wait = Rc::new(local.waiting.connection());
    tokio::select! {
        served = serve(local, socket, &wait) => served,
        over = wait.over() => {
            if let Some(times) = local.waited_for.happened(local.clock.now().monotonic) {
                let max = local.http.config.limits.waiting_connections_max;
                tracing::warn!(times, "limits.waiting_connections_max = {max} is reached; those waited for longest are closed");
            }
            Err(over)
        }
    }
}

async fn serve(local: &Rc<Local>, socket: std::net::TcpStream, wait: &Rc<Wait>) -> io::Result<()> {
    let tcp = TcpStream::from_std(socket)?;
    let limit = Duration::from_millis(local.http.config.timeouts.head_ms);
    let mut phase = local.phase.clone();
    let first = tokio::select! {
        first = tokio::time::timeout(limit, first_bytes(local, tcp)) => first,
        _ = phase.wait_for(|p| *p != Phase::Running) => return Ok(()),
    };
    let Ok(first) = first else {
        local.http.metrics.turned_away(Turned::Silent);
        return Err(io::Error::new(io::ErrorKind::TimedOut, "no request came in time (timeouts.head_ms)"));
    };
    let first = first?;
    if let Some((start, accepted, len)) = sniff(local, &first) {
        let First { stream, mut bytes, guest, .. } = first;
        bytes.drain(..len);
        return begin(local, stream, guest, (start, accepted), bytes).await;
    }
    let First { stream, source, guest, bytes, head } = first;
    if http2::is_preface(&bytes) && local.http.config.http2.enabled {
        let served = Box::pin(http2::serve(Rc::clone(local), stream, source, bytes, Rc::clone(wait))).await;
        drop(guest);
        return served;
    }
    // Kept apart, so that this task is small for the many that only become WebSocket connections.
    let raw = head.filter(|head| probe::is_inspection(&head.target)).map(Box::new);
    Box::pin(serve_http(local, stream, guest, (source, wait), (bytes, raw))).await
}

/// Answers a handshake and opens its link. `early` are bytes that came behind the request.
async fn begin(
    local: &Rc<Local>,
    mut stream: Stream,
    guest: Option<Guest>,
    (start, accepted): (WebSocketStart, Accepted),
    mut early: Vec<u8>,
) -> io::Result<()> {
    match accepted {
        Accepted::Numbered(accepted) => say(local, &mut stream, &accepted.response_head()).await?,
        Accepted::Draft(draft) => {
            if !Box::pin(legacy::shake_hands(local, &mut stream, *draft, &mut early)).await? {
                return end(local, &mut stream).await;
            }
        }
    }
    local.link(stream, start, &mut early, guest);
    Ok(())
}

/// Says something to a client that takes it in time.
async fn say(local: &Local, stream: &mut Stream, bytes: &[u8]) -> io::Result<()> {
    taken(local.http.config.timeouts.body_ms, async {
        stream.write_all(bytes).await?;
        stream.flush().await
    })
    .await
}

/// Ends what is said to a client that takes the rest in time.
async fn end(local: &Local, stream: &mut Stream) -> io::Result<()> {
    taken(local.http.config.timeouts.body_ms, stream.shutdown()).await
}

async fn taken(patience_ms: u64, taking: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    tokio::time::timeout(Duration::from_millis(patience_ms), taking).await.unwrap_or_else(|_| {
        let text = "the client took nothing of an answer in time (timeouts.body_ms)";
        Err(io::Error::new(io::ErrorKind::TimedOut, text))
    })
}

/// What a connection began with.
struct First {
    stream: Stream,
    source: Source,
    guest: Option<Guest>,
    bytes: Vec<u8>,
    /// A whole head of a request, which lies at the front of the bytes.
    head: Option<RequestHead>,
}

/// Reads until a request's head is whole, or is none.
async fn first_bytes(local: &Local, tcp: TcpStream) -> io::Result<First> {
    let mut bytes = Vec::new();
    let mut stream = Stream::Tcp(tcp);
    let mut more = read_some(local, &stream, &mut bytes).await?;
    let mut source = proxied::source(local, &stream, &mut bytes, &mut more).await?;
    let guest = admit(local, &mut stream, source).await?;
    if let Some(certificates) = &local.certificates {
        if bytes.first() == Some(&HANDSHAKE_RECORD) {
            let begun = Box::pin(begin_tls(local, stream, certificates.current(), std::mem::take(&mut bytes))).await;
            stream = begun.inspect_err(|_| local.http.metrics.turned_away(Turned::Tls))?;
            source.secure = true;
            more = read_some(local, &stream, &mut bytes).await?;
        } else if more && !certificates.plain() {
            local.http.metrics.turned_away(Turned::Plain);
            stream.write_all(&http::plain_response()).await?;
            stream.shutdown().await?;
            return Err(io::Error::other("a client without TLS was refused (tls.plain)"));
        }
    }
    loop {
        // What is no HTTP head gets its answer from hyper.
        let head = match handshake::parse_request_head(&bytes) {
            Ok(None) if more => {
                more = read_some(local, &stream, &mut bytes).await?;
                continue;
            }
            Ok(head) => head,
            Err(_) => None,
        };
        return Ok(First { stream, source, guest, bytes, head });
    }
}

/// Counts a connection at the address that it comes from, or refuses it there. A trusted proxy carries many clients.
async fn admit(local: &Local, stream: &mut Stream, source: Source) -> io::Result<Option<Guest>> {
    let Some(address) = source.address.filter(|_| !source.trusted) else { return Ok(None) };
    match local.http.addresses.admit(address) {
        Ok(guest) => Ok(guest),
        Err(Crowded) => Err(refusal::turn_away(local, stream, address).await),
    }
}

/// Reads what is there once something is; false at the end.
async fn read_some(local: &Local, stream: &Stream, bytes: &mut Vec<u8>) -> io::Result<bool> {
    loop {
        poll_fn(|cx| stream.poll_readable(cx)).await;
        let mut buffer = local.buffer.borrow_mut();
        match stream.read(&mut buffer[..HEAD_READ_BYTES]) {
            Ok(n) => {
                bytes.extend_from_slice(&buffer[..n]);
                return Ok(n > 0);
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(e) => return Err(e),
        }
    }
}

/// Makes a connection one that speaks TLS. Handshakes are computed one at a time on a shard: a crowd of them does not keep
/// others from their turn.
async fn begin_tls(local: &Local, stream: Stream, config: Arc<ServerConfig>, first: Vec<u8>) -> io::Result<Stream> {
    let Stream::Tcp(tcp) = stream else { return Ok(stream) };
    let tls = TlsStream::new(tcp, config, first)?;
    loop {
        let turn = local.handshakes.acquire().await;
        let complete = tls.handshake()?;
        tokio::task::yield_now().await;
        drop(turn);
        if complete {
            return Ok(Stream::Tls(Box::new(tls)));
        }
        tls.more(&local.buffer).await?;
    }
}

/// A WebSocket handshake that succeeds; all others are answered by the HTTP service.
/// With the length of its head.
fn sniff(local: &Local, first: &First) -> Option<(WebSocketStart, Accepted, usize)> {
    let head = first.head.as_ref()?;
    let (path, query) = head.target.split_once('?').map_or((&*head.target, None), |(path, query)| (path, Some(query)));
    let purpose = upgrade::purpose(path)?;
    if !first.bytes.get(..head.len).is_some_and(|head| check_head(head).is_ok_and(|framing| framing.is_upgrade())) {
        return None;
    }
    let mut headers: Vec<_> = head.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
    if head.version == 0 || !handshake::wants_websocket(headers.iter().copied()) {
        return None;
    }
    let client = identity::identify_head(local, first.source, &headers)?;
    let host = headers.iter_mut().find(|(name, _)| name.eq_ignore_ascii_case("host"));
    let host = host.map(|(_, host)| std::mem::replace(host, client.host.as_bytes()));
    legacy::restore_keys(&first.bytes, &mut headers);
    let method = &head.method;
    let handshake = Handshake {
        purpose,
        connect: false,
        http_1_0: false,
        method,
        path,
        query,
        prefix: &client.prefix,
        secure: client.secure,
        address: client.address,
        headers: &headers,
    };
    let accepted = upgrade::accept(&local.http, &handshake).ok()?;
    identity::count(local, &client);
    let way = Way { client: &client, tls: first.stream.agreed(), raw: true, host };
    Some((start(&handshake, &accepted, &way), accepted, head.len))
}

fn start(handshake: &Handshake<'_>, accepted: &Accepted, way: &Way<'_>) -> WebSocketStart {
    let (version, deflate) = (accepted.version(), accepted.deflate());
    let hello = probe::hello(handshake, accepted, way);
    WebSocketStart { purpose: handshake.purpose, version, deflate, network: Network::of(way.client.address), hello }
}

/// What a request makes of its connection: no request comes on it any more.
enum Takeover {
    /// With the request's body: the key bytes of hixie-76 may have been announced as one.
    WebSocket(WebSocketStart, Accepted, Awaited<Incoming>),
    Stream(StreamStart),
    Probe(Box<ProbeStream>),
}

/// A connection that speaks HTTP, as its requests see it.
struct Wire {
    came: Source,
    tls: Option<Agreed>,
    /// The head of the first request, where it is to be shown as it came.
    raw: Cell<Option<RawHead>>,
    wait: Rc<Wait>,
    takeover: Cell<Option<Takeover>>,
    told: Told,
}

async fn serve_http(
    local: &Rc<Local>,
    stream: Stream,
    guest: Option<Guest>,
    (came, wait): (Source, &Rc<Wait>),
    (first, raw): (Vec<u8>, Option<RawHead>),
) -> io::Result<()> {
    let timeouts = &local.http.config.timeouts;
    let (tls, raw, wait) = (stream.agreed(), Cell::new(raw), Rc::clone(wait));
    let wire = Rc::new(Wire { came, tls, raw, wait, takeover: Cell::new(None), told: Told::default() });
    let patience = Duration::from_millis(timeouts.body_ms);
    let io = TokioIo::new(Replay::http1(first, stream, patience, &wire.told));
    let service = service_fn(|request| {
        // Set before hyper reads on.
        wire.told.serving.set(true);
        Box::pin(answer(Rc::clone(local), Rc::clone(&wire), request))
    });
    let mut connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(timeouts.head_ms))
        .serve_connection(io, service);
    let mut phase = local.phase.clone();
    let mut stopping = pin!(phase.wait_for(|p| *p != Phase::Running));
    let mut told = false;
    let takeover = poll_fn(|cx| {
        if !told && stopping.as_mut().poll(cx).is_ready() {
            told = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        // A connection that ended has nothing to take over: an earlier answer may have been cut.
        if let Poll::Ready(ended) = connection.poll_without_shutdown(cx) {
            return Poll::Ready(ended.map(|()| None));
        }
        match wire.takeover.take() {
            // Answers to earlier requests come first.
            Some(takeover) if wire.told.behind.get() => wire.takeover.set(Some(takeover)),
            Some(takeover) => return Poll::Ready(Ok(Some(takeover))),
            None => {}
        }
        Poll::Pending
    });
    let takeover = takeover.await.map_err(io::Error::other)?;
    let parts = connection.into_parts();
    let (mut stream, held, refused) = parts.io.into_inner().into_parts();
    match takeover {
        None => match refused {
            Some(ambiguity) => refusal::answer(local, stream, ambiguity).await,
            None => end(local, &mut stream).await,
        },
        Some(Takeover::Stream(start)) => {
            local.stream_link(stream, start.with_head(), guest);
            Ok(())
        }
        Some(Takeover::Probe(probe)) => probe::run(local, &stream, &probe.with_head()).await,
        Some(Takeover::WebSocket(start, accepted, body)) => {
            let body = legacy::what_came(body);
            let early = [body.as_ref(), parts.read_buf.as_ref(), held.as_slice()].concat();
            begin(local, stream, guest, (start, accepted), early).await
        }
    }
}

/// While an answer is being made.
struct Serving(Rc<Wire>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.told.serving.set(false);
        self.0.wait.begin();
    }
}

async fn answer(
    local: Rc<Local>,
    wire: Rc<Wire>,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, std::convert::Infallible> {
    let wire = Serving(wire);
    let client = match identity::identify(&local, wire.0.came, &mut request) {
        Ok(client) => client,
        Err(refused) => return Ok(*refused),
    };
    // What follows a request for an upgrade may be no request, so the connection is of no further use.
    let last = request.headers().contains_key(header::UPGRADE);
    let whole = Rc::clone(&wire.0.wait);
    let request = request.map(|body| Awaited::new(body, move || whole.end()));
    let mut response = respond(local, Rc::clone(&wire.0), client, request).await;
    if last {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

async fn respond(
    local: Rc<Local>,
    wire: Rc<Wire>,
    client: Client,
    request: Request<Awaited<Incoming>>,
) -> Response<Body> {
    let raw = wire.raw.take();
    let path = request.uri().path();
    let takeover = if request.method() == Method::OPTIONS {
        return http::serve(request, &local.http).await;
    } else if let Some(purpose) = upgrade::purpose(path) {
        match handshake_by_hyper(&local, purpose, (&client, wire.tls), &request) {
            Ok((start, accepted)) => Takeover::WebSocket(start, accepted, request.into_body()),
            Err(refused) => return *refused,
        }
    } else if let Some(kind) = transport::Kind::of(path) {
        match transport::serve(&local, kind, client.address, request).await {
            Outcome::Stream(start) => Takeover::Stream(start),
            Outcome::Answer(response) => return response,
        }
    } else if let Some(kind) = probe::Kind::of(path) {
        match probe::serve(&local, kind, Arrival { client, tls: wire.tls, raw }, request).await {
            probe::Outcome::Stream(probe) => Takeover::Probe(probe),
            probe::Outcome::Answer(response) => return response,
        }
    } else {
        return http::serve(request, &local.http).await;
    };
    wire.takeover.set(Some(takeover));
    // Whoever polls the connection takes it from here.
    std::future::pending().await
}

fn handshake_by_hyper<B>(
    local: &Local,
    purpose: Purpose,
    (client, tls): (&Client, Option<Agreed>),
    request: &Request<B>,
) -> Result<(WebSocketStart, Accepted), Box<Response<Body>>> {
    // The map's own iterator cannot be cloned, and a handshake is looked through several times.
    let headers: Vec<_> = request.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    let http_1_0 = request.version() < Version::HTTP_11;
    let handshake = Handshake {
        purpose,
        connect: request.extensions().get::<Protocol>().is_some(),
        http_1_0,
        method: request.method().as_str(),
        path: request.uri().path(),
        prefix: &client.prefix,
        secure: client.secure,
        address: client.address,
        query: request.uri().query(),
        headers: &headers,
    };
    let accepted = upgrade::accept(&local.http, &handshake).map_err(|refused| {
        local.http.metrics.websocket_refused(refused.code());
        let mut response = refused.response(&local.http);
        cors::allow(request.headers(), &local.http.config.origins, response.headers_mut());
        Box::new(response)
    })?;
    let way = Way { client, tls, raw: false, host: probe::arrived_host(request.extensions()) };
    Ok((start(&handshake, &accepted, &way), accepted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_not_waited_for_without_end() {
        let (near, far) = crate::pipe::pair();
        let mut stream = Stream::Pipe(near);
        let said = taken(500, async { stream.write_all(&[0; 1 << 20]).await }).await;
        assert_eq!(said.unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop(far);
    }
}
