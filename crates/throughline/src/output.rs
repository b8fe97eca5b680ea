//! Events on standard output.

use std::io::{self, BufWriter, Stdout, Write};

use throughline_client::Event;
use throughline_wire::message::encode_event_object;

/// Bytes gathered before they are written when events come fast.
const BUFFER_BYTES: usize = 256 << 10;

/// Prints events in one form. What is printed is seen after [`flush`](Printer::flush), or when the buffer is full.
pub(crate) struct Printer<W: Write = Stdout> {
    out: BufWriter<W>,
    json: bool,
    line: Vec<u8>,
}

impl<W: Write> Printer<W> {
    pub(crate) fn new(out: W, json: bool) -> Printer<W> {
        Printer { out: BufWriter::with_capacity(BUFFER_BYTES, out), json, line: Vec::new() }
    }

    pub(crate) fn event(&mut self, event: &Event) -> io::Result<()> {
        if !self.json {
            self.out.write_all(event.body.data.as_bytes())?;
            return self.out.write_all(b"\n");
        }
        self.line.clear();
        encode_event_object(event, &mut self.line);
        self.line.push(b'\n');
        self.out.write_all(&self.line)
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Prints one line on standard output.
pub(crate) fn print(line: impl std::fmt::Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use throughline_client::{Body, Data, Eid};

    fn printed(json: bool, data: Data) -> Vec<u8> {
        let body = Body { tag: Some("t".into()), ..Body::new(data) };
        let mut out = Vec::new();
        let mut printer = Printer::new(&mut out, json);
        printer.event(&Event { eid: Eid(7), time: 5, body }).unwrap();
        printer.flush().unwrap();
        drop(printer);
        out
    }

    #[test]
    fn data_alone() {
        assert_eq!(printed(false, Data::text("a\nb")), b"a\nb\n");
        assert_eq!(printed(false, Data::bytes(vec![0, 255])), b"\0\xff\n");
    }

    #[test]
    fn json_lines() {
        let text = printed(true, Data::text("a\nb"));
        assert_eq!(String::from_utf8(text).unwrap(), "{\"eid\":\"7\",\"time\":5,\"tag\":\"t\",\"data\":\"a\\nb\"}\n");
        let bytes = printed(true, Data::bytes(vec![0, 255]));
        assert_eq!(String::from_utf8(bytes).unwrap(), "{\"eid\":\"7\",\"time\":5,\"tag\":\"t\",\"base64\":\"AP8=\"}\n");
    }
}
