//! Texts with `{name}` and `{function:argument}` placeholders, nestable.
//!
//! `{channel}`, `{payload}`, `{id}` (one per connection), `{link}` (the same, 32 hexadecimal digits), `{n}` (counts the messages of a connection), `{len}` (payload
//! length), `{cap}` (last captured text), `{hex:8203}`, `{u16:X}` (X behind a 2-byte length), `{u8:X}`, `{var:X}` (X behind an MQTT
//! variable-length length), `{clen:X}` (decimal length of X, CRLF CRLF, X). A brace followed by anything else is literal, so
//! JSON needs no escapes.

/// What placeholders stand for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Context<'a> {
    /// Channel name.
    pub channel: &'a str,
    /// Payload of one message.
    pub payload: &'a [u8],
    /// One per connection.
    pub id: u64,
    /// Counts the messages of a connection, from 1.
    pub n: u64,
    /// What the last capture step kept.
    pub captured: &'a [u8],
}

const NAMES: [&str; 12] = ["channel", "payload", "id", "link", "n", "len", "cap", "hex", "u16", "u8", "var", "clen"];

/// A template with its placeholders filled in.
pub fn fill(template: &str, context: &Context<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    render(template.as_bytes(), context, &mut out);
    out
}

/// Appends a template with its placeholders filled in.
pub fn render(template: &[u8], context: &Context<'_>, out: &mut Vec<u8>) {
    let mut at = 0;
    while at < template.len() {
        match placeholder(template, at) {
            Some((name, argument, end)) => {
                apply(name, argument, context, out);
                at = end;
            }
            None => {
                out.push(template[at]);
                at += 1;
            }
        }
    }
}

/// Name, argument and end of a placeholder that begins at `at`.
fn placeholder(template: &[u8], at: usize) -> Option<(&str, &[u8], usize)> {
    let rest = template[at..].strip_prefix(b"{")?;
    let n = rest.iter().position(|b| !b.is_ascii_alphanumeric())?;
    let name = std::str::from_utf8(&rest[..n]).ok().filter(|name| NAMES.contains(name))?;
    match rest[n] {
        b'}' => Some((name, &[], at + n + 2)),
        b':' => {
            let mut depth = 1;
            let close = rest.iter().skip(n + 1).position(|b| {
                depth += i32::from(*b == b'{') - i32::from(*b == b'}');
                depth == 0
            })?;
            Some((name, &rest[n + 1..n + 1 + close], at + n + close + 3))
        }
        _ => None,
    }
}

fn apply(name: &str, argument: &[u8], context: &Context<'_>, out: &mut Vec<u8>) {
    match name {
        "channel" => out.extend_from_slice(context.channel.as_bytes()),
        "payload" => out.extend_from_slice(context.payload),
        "id" => out.extend_from_slice(context.id.to_string().as_bytes()),
        "link" => out.extend_from_slice(format!("{:032x}", context.id).as_bytes()),
        "n" => out.extend_from_slice(context.n.to_string().as_bytes()),
        "len" => out.extend_from_slice(context.payload.len().to_string().as_bytes()),
        "cap" => out.extend_from_slice(context.captured),
        "hex" => {
            let digits: Vec<u8> =
                argument.iter().filter_map(|b| char::from(*b).to_digit(16)).map(|d| d as u8).collect();
            out.extend(digits.chunks(2).map(|pair| pair[0] << 4 | pair.get(1).copied().unwrap_or(0)));
        }
        _ => {
            let mut inner = Vec::new();
            render(argument, context, &mut inner);
            prefix(name, inner.len(), out);
            out.append(&mut inner);
        }
    }
}

/// The length in front of an argument, in the form that `name` asks for.
fn prefix(name: &str, mut length: usize, out: &mut Vec<u8>) {
    match name {
        "u16" => out.extend_from_slice(&(length as u16).to_be_bytes()),
        "u8" => out.push(length as u8),
        "clen" => out.extend_from_slice(format!("{length}\r\n\r\n").as_bytes()),
        _ => loop {
            let low = (length & 127) as u8;
            length >>= 7;
            out.push(if length > 0 { low | 128 } else { low });
            if length == 0 {
                break;
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled_and_other_braces_stay() {
        let context = Context { channel: "abc", payload: b"hello", id: 7, n: 2, captured: b"K" };
        let cases: [(&str, &[u8]); 5] = [
            ("{\"c\":\"{channel}\",\"i\":{id},\"n\":{n}}", b"{\"c\":\"abc\",\"i\":7,\"n\":2}"),
            ("{hex:82}{var:{hex:0001}{u16:{channel}}{hex:00}}", b"\x82\x08\0\x01\0\x03abc\0"),
            ("PUB {channel} {len}\r\n{payload}\r\n", b"PUB abc 5\r\nhello\r\n"),
            ("{link}", b"00000000000000000000000000000007"),
            ("{clen:{payload}{cap}}", b"6\r\n\r\nhelloK"),
        ];
        for (template, expected) in cases {
            assert_eq!(fill(template, &context), expected, "{template}");
        }
    }
}
