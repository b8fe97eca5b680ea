//! The shapes of a downlink.

use alloc::vec::Vec;

use super::script::write_script_string;

/// Bytes at the start of every stream that mean nothing: some proxies and browsers show nothing before so many came.
pub const PADDING_BYTES: usize = 2048;

/// How messages stand in the body of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// A line of text each: `http-stream`, and polls.
    Lines,
    /// An event of a `text/event-stream` each: `event-source`.
    EventStream,
    /// A script element each, in a document that never ends: `iframe-stream`.
    Script,
}

impl Form {
    /// Every form.
    pub const ALL: [Form; 3] = [Form::Lines, Form::EventStream, Form::Script];

    /// As the query parameter `as` names it.
    pub const fn name(self) -> &'static str {
        match self {
            Form::Lines => "lines",
            Form::EventStream => "event-stream",
            Form::Script => "script",
        }
    }

    /// The form called `name`.
    pub fn named(name: &str) -> Option<Form> {
        Form::ALL.into_iter().find(|form| form.name() == name)
    }

    /// The body's type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Form::Lines => "text/plain; charset=utf-8",
            Form::EventStream => "text/event-stream; charset=utf-8",
            Form::Script => "text/html; charset=utf-8",
        }
    }

    /// Appends a message, which is JSON without line breaks.
    pub fn write(self, message: &[u8], out: &mut Vec<u8>) {
        match self {
            Form::Lines => {
                out.extend_from_slice(message);
                out.push(b'\n');
            }
            Form::EventStream => {
                out.extend_from_slice(b"data: ");
                out.extend_from_slice(message);
                out.extend_from_slice(b"\n\n");
            }
            Form::Script => {
                out.extend_from_slice(b"<script>m(");
                write_script_string(message, out);
                out.extend_from_slice(b")</script>\n");
            }
        }
    }

    /// Appends the start of a body: at least [`PADDING_BYTES`], without a message. For [`Form::Script`] it is the
    /// document that hands each message to the page around it: `link` names the link to that page, and `origin`, the
    /// page's origin, keeps every other page from listening. The other forms use neither.
    pub fn write_start(self, link: &str, origin: &str, out: &mut Vec<u8>) {
        let pad = |count: usize, out: &mut Vec<u8>| out.resize(out.len() + count, b' ');
        match self {
            Form::Lines => {
                pad(PADDING_BYTES - 1, out);
                out.push(b'\n');
            }
            Form::EventStream => {
                out.push(b':');
                pad(PADDING_BYTES - 3, out);
                out.extend_from_slice(b"\n\n");
            }
            Form::Script => {
                let start = out.len();
                out.extend_from_slice(b"<!doctype html><meta charset=\"utf-8\"><title>.</title><script>function m(d){");
                out.extend_from_slice(b"parent.postMessage({throughline:");
                write_script_string(link.as_bytes(), out);
                out.extend_from_slice(b",data:d},");
                write_script_string(origin.as_bytes(), out);
                out.extend_from_slice(b")}</script>");
                let written = out.len() - start;
                pad(PADDING_BYTES.saturating_sub(written + 1), out);
                out.push(b'\n');
            }
        }
    }
}
