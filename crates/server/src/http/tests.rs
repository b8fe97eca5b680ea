use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use http_body_util::{BodyExt, Full};
use hyper::body::Frame;
use hyper::header::{CONTENT_LENGTH, ETAG, HOST};
use throughline_engine::memory::MemoryStore;

use super::*;

mod documentation;
mod origins;
mod requests;

const NOW: u64 = 1_700_000_000_000;

struct Realm {
    context: Context,
    store: Arc<MemoryStore>,
}

struct Answer {
    status: u16,
    head: hyper::HeaderMap,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.head.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Realm {
    fn new(toml: &str) -> Realm {
        let config = Config::load(Some(("test.toml", toml)), &[]).unwrap();
        Realm::on(Arc::new(config), MemoryStore::automatic())
    }

    fn on(config: Arc<Config>, store: Arc<MemoryStore>) -> Realm {
        let engine =
            Engine::open(config.engine_settings(), store.clone(), &config.configured_channels(), 1, NOW).unwrap();
        let context = Context::new(engine, config, Arc::new(Metrics::new()), || NOW);
        Realm { context, store }
    }

    /// The same realm after a crash.
    fn restarted(&self) -> Realm {
        Realm::on(Arc::clone(&self.context.config), self.store.reopen())
    }

    async fn send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.send_body(method, target, headers, Full::new(Bytes::copy_from_slice(body))).await
    }

    async fn send_body<B>(&self, method: &str, target: &str, headers: &[(&str, &str)], body: B) -> Answer
    where
        B: hyper::body::Body<Data = Bytes>,
    {
        let mut request = Request::builder().method(method).uri(target).header(HOST, "localhost:9000");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = serve(request.body(body).unwrap(), &self.context).await;
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        assert_eq!(head.headers.get("throughline").map(HeaderValue::as_bytes), Some(&b"1"[..]), "{method} {target}");
        Answer { status: head.status.as_u16(), head: head.headers, body: String::from_utf8(body.to_vec()).unwrap() }
    }
}

/// A body that never ends, in pieces of one size.
struct Endless(Bytes);

impl hyper::body::Body for Endless {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::convert::Infallible>>> {
        Poll::Ready(Some(Ok(Frame::data(self.0.clone()))))
    }
}

/// A body of which one piece comes, or none, and never the rest.
struct Slow(Option<Bytes>);

impl hyper::body::Body for Slow {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::convert::Infallible>>> {
        self.0.take().map_or(Poll::Pending, |piece| Poll::Ready(Some(Ok(Frame::data(piece)))))
    }
}

/// A body in pieces; the last comes first.
struct Pieces(Vec<&'static str>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::convert::Infallible>>> {
        Poll::Ready(self.0.pop().map(|piece| Ok(Frame::data(Bytes::from(piece)))))
    }
}
