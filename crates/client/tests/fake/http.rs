//! The HTTP side of a scripted server: requests as they come, on however many connections.

use std::collections::VecDeque;

use throughline_wire::message::{Carriage, ClientMessage, ServerMessage};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Takes requests until it is dropped.
pub(crate) struct HttpServer {
    url: String,
    requests: mpsc::UnboundedReceiver<Request>,
    /// Those that came before the one that a test waited for.
    early: VecDeque<Request>,
    acceptor: JoinHandle<()>,
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

impl HttpServer {
    pub(crate) async fn start() -> HttpServer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sender, requests) = mpsc::unbounded_channel();
        let acceptor = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (read, write) = stream.into_split();
                tokio::spawn(serve(read, write, sender.clone()));
            }
        });
        HttpServer { url, requests, early: VecDeque::new(), acceptor }
    }

    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }

    /// The next request to this resource, which has to come; others are kept for later.
    pub(crate) async fn next(&mut self, resource: &str) -> Request {
        if let Some(at) = self.early.iter().position(|request| request.resource() == resource) {
            return self.early.remove(at).unwrap();
        }
        loop {
            let request = self.requests.recv().await.unwrap();
            if request.resource() == resource {
                return request;
            }
            self.early.push_back(request);
        }
    }
}

async fn serve(mut read: OwnedReadHalf, mut write: OwnedWriteHalf, sender: mpsc::UnboundedSender<Request>) {
    let mut input = Vec::new();
    loop {
        let Some((target, body)) = request(&mut read, &mut input).await else { return };
        let (give_back, back) = oneshot::channel();
        if sender.send(Request { target, body, write, give_back }).is_err() {
            return;
        }
        match back.await {
            Ok(half) => write = half,
            Err(_) => return,
        }
    }
}

/// Reads a request's head and as much body as it announces; `None` at the end of the connection.
async fn request(read: &mut OwnedReadHalf, input: &mut Vec<u8>) -> Option<(String, String)> {
    loop {
        if let Some(end) = input.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(input[..end].to_vec()).unwrap();
            let length = head.to_ascii_lowercase();
            let length = length.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            let whole = end + 4 + length.unwrap_or(0);
            if input.len() >= whole {
                let body = String::from_utf8(input[end + 4..whole].to_vec()).unwrap();
                input.drain(..whole);
                return Some((head.split(' ').nth(1).unwrap().to_owned(), body));
            }
        }
        if read.read_buf(input).await.unwrap_or(0) == 0 {
            return None;
        }
    }
}

/// A request without an answer. Dropping it closes its connection.
pub(crate) struct Request {
    pub(crate) target: String,
    pub(crate) body: String,
    write: OwnedWriteHalf,
    give_back: oneshot::Sender<OwnedWriteHalf>,
}

impl Request {
    /// The path below `/throughline/v1/`.
    pub(crate) fn resource(&self) -> &str {
        let path = self.target.split('?').next().unwrap();
        path.strip_prefix("/throughline/v1/").unwrap_or(path)
    }

    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        let query = self.target.split_once('?')?.1;
        query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }

    /// The messages of its body.
    pub(crate) fn messages(&self) -> Vec<ClientMessage> {
        let lines = self.body.lines();
        lines.map(|line| ClientMessage::decode(Carriage::Text(line.as_bytes())).unwrap()).collect()
    }

    /// Answers as the realm does.
    pub(crate) async fn answer(self, body: &str) {
        let head = "HTTP/1.1 200 OK\r\nThroughline: 1\r\nContent-Type: text/plain; charset=utf-8";
        self.raw(&format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len())).await;
    }

    /// Answers with these bytes; the connection goes on.
    pub(crate) async fn raw(mut self, response: &str) {
        self.write.write_all(response.as_bytes()).await.unwrap();
        // The connection may have ended meanwhile.
        let _ = self.give_back.send(self.write);
    }

    /// Acknowledges a piece.
    pub(crate) async fn taken(self) {
        let n = self.query("n").unwrap();
        let answer = format!("{{\"type\":\"taken\",\"n\":{n}}}");
        self.answer(&answer).await;
    }

    /// Answers a poll.
    pub(crate) async fn polled(self, number: u64, messages: &[ServerMessage]) {
        self.answer(&answer(number, messages)).await;
    }

    /// Begins a stream.
    pub(crate) async fn stream(mut self) -> Stream {
        let head = "HTTP/1.1 200 OK\r\nThroughline: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
        self.write.write_all(head.as_bytes()).await.unwrap();
        let mut stream = Stream { write: self.write };
        stream.chunk(&format!("{}\n", " ".repeat(2047))).await;
        stream
    }
}

/// A stream that has begun. Dropping it cuts it.
pub(crate) struct Stream {
    write: OwnedWriteHalf,
}

impl Stream {
    pub(crate) async fn chunk(&mut self, text: &str) {
        let chunk = format!("{:x}\r\n{text}\r\n", text.len());
        self.write.write_all(chunk.as_bytes()).await.unwrap();
    }

    pub(crate) async fn send(&mut self, messages: &[ServerMessage]) {
        self.chunk(&lines(messages)).await;
    }

    /// Ends it as HTTP prescribes.
    pub(crate) async fn end(mut self) {
        self.write.write_all(b"0\r\n\r\n").await.unwrap();
    }
}

/// The answer to a poll.
pub(crate) fn answer(number: u64, messages: &[ServerMessage]) -> String {
    let head = format!("{{\"type\":\"answer\",\"number\":{number},\"messages\":{}}}\n", messages.len());
    head + &lines(messages)
}

/// The messages as lines of text.
pub(crate) fn lines(messages: &[ServerMessage]) -> String {
    let mut out = Vec::new();
    for message in messages {
        message.encode(&mut out);
        out.push(b'\n');
    }
    String::from_utf8(out).unwrap()
}
