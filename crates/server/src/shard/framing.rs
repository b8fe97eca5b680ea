//! The forms of a message on the wire.

use throughline_wire::http::Form;
use throughline_wire::ws::deflate::Agreed;

/// How a link wants its messages. Links that want the same share the bytes of every event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Framing {
    /// WebSocket frames.
    Plain,
    /// WebSocket frames, deflated with a window of 9 to 15 bits.
    Deflated(u8),
    /// Text between `00` and `FF`: the drafts before version numbers.
    Hixie,
    /// The body of an HTTP answer.
    Http {
        form: Form,
        /// Each message is a chunk; otherwise the body ends with its connection, or is sent by someone else.
        chunked: bool,
    },
}

impl Framing {
    /// The framing of a WebSocket that agreed on `deflate`.
    pub(crate) fn of(deflate: Option<&Agreed>) -> Framing {
        deflate.map_or(Framing::Plain, |agreed| Framing::Deflated(agreed.server_max_window_bits.clamp(9, 15)))
    }

    /// For what goes to one link only: not worth compressing.
    pub(crate) fn control(self) -> Framing {
        match self {
            Framing::Deflated(_) => Framing::Plain,
            other => other,
        }
    }
}
