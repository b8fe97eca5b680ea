//! The header `Sec-WebSocket-Extensions` (RFC 6455 section 9.1) and the parameters of permessage-deflate
//! (RFC 7692 section 7.1).

use alloc::format;
use alloc::string::String;
use core::str;

use super::{Agreed, Settings, WINDOW_BITS_MAX, WINDOW_BITS_MIN};
use crate::ws::handshake::{is_token, split_outside_quotes};

const NAME: &str = "permessage-deflate";

/// The header breaks the grammar of RFC 6455 section 9.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ws) struct BadExtensions;

/// One element of the list, with its parameters as far as permessage-deflate knows them.
#[derive(Clone, Copy, Debug, Default)]
struct Element {
    /// It is permessage-deflate, and its parameters are known ones with good values, each given once.
    usable: bool,
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    /// Given, maybe without a value.
    client_max_window_bits: Option<Option<u8>>,
}

fn parse_element(text: &str) -> Result<Element, BadExtensions> {
    let mut parts = split_outside_quotes(text, b';').map(|part| part.trim_matches([' ', '\t']));
    let name = parts.next().unwrap_or_default();
    if !is_token(name) {
        return Err(BadExtensions);
    }
    let mut element = Element { usable: name.eq_ignore_ascii_case(NAME), ..Element::default() };
    for part in parts {
        let (name, value) = match part.split_once('=') {
            Some((name, value)) => (name.trim_end_matches([' ', '\t']), Some(value.trim_start_matches([' ', '\t']))),
            None => (part, None),
        };
        let value = value.map(unquote).transpose()?;
        if !is_token(name) {
            return Err(BadExtensions);
        }
        element.usable &= element.set(name, value).is_some();
    }
    Ok(element)
}

/// The value of a parameter, which is a token or a quoted token.
fn unquote(value: &str) -> Result<&str, BadExtensions> {
    let bare = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
    if is_token(bare) { Ok(bare) } else { Err(BadExtensions) }
}

fn window_bits(value: &str) -> Option<u8> {
    let bits: u8 = value.parse().ok()?;
    let plain = value.bytes().all(|b| b.is_ascii_digit()) && !value.starts_with('0');
    (plain && (8..=WINDOW_BITS_MAX).contains(&bits)).then_some(bits)
}

impl Element {
    /// `None` if the parameter is unknown, repeated or has a bad value.
    fn set(&mut self, name: &str, value: Option<&str>) -> Option<()> {
        let flag = |seen: &mut bool| (value.is_none() && !core::mem::replace(seen, true)).then_some(());
        match name {
            "server_no_context_takeover" => flag(&mut self.server_no_context_takeover),
            "client_no_context_takeover" => flag(&mut self.client_no_context_takeover),
            "server_max_window_bits" => {
                let bits = window_bits(value?)?;
                self.server_max_window_bits.replace(bits).is_none().then_some(())
            }
            "client_max_window_bits" => {
                let bits = match value {
                    Some(value) => Some(window_bits(value)?),
                    None => None,
                };
                self.client_max_window_bits.replace(bits).is_none().then_some(())
            }
            _ => None,
        }
    }
}

/// Takes the first offer that can be fulfilled. `headers` are the values of all `Sec-WebSocket-Extensions` headers.
pub(in crate::ws) fn agree<'a>(
    headers: impl Iterator<Item = &'a [u8]>,
    settings: &Settings,
) -> Result<Option<(Agreed, String)>, BadExtensions> {
    let mut agreed = None;
    for header in headers {
        let header = str::from_utf8(header).map_err(|_| BadExtensions)?;
        for text in elements(header) {
            let offer = parse_element(text)?;
            if agreed.is_none() && offer.usable && offer.server_max_window_bits != Some(8) {
                agreed = Some(answer(&offer, settings));
            }
        }
    }
    Ok(agreed)
}

/// The elements of a list; empty ones count for nothing (RFC 9110 section 5.6.1).
fn elements(header: &str) -> impl Iterator<Item = &str> {
    split_outside_quotes(header, b',').map(|text| text.trim_matches([' ', '\t'])).filter(|text| !text.is_empty())
}

fn answer(offer: &Element, settings: &Settings) -> (Agreed, String) {
    let client_context_takeover = settings.client_context_takeover && !offer.client_no_context_takeover;
    let mut text = String::from("permessage-deflate; server_no_context_takeover");
    if !client_context_takeover {
        text.push_str("; client_no_context_takeover");
    }
    if let Some(bits) = offer.server_max_window_bits {
        text.push_str(&format!("; server_max_window_bits={bits}"));
    }
    let agreed = Agreed {
        server_max_window_bits: offer.server_max_window_bits.unwrap_or(WINDOW_BITS_MAX),
        client_max_window_bits: WINDOW_BITS_MAX,
        client_context_takeover,
    };
    (agreed, text)
}

/// Checks a server's answer to the offer of [`crate::ws::handshake::ClientHandshake`]: at most permessage-deflate, with
/// `server_no_context_takeover`, which the offer asked for, and if it has a window for the client, with its size.
pub(in crate::ws) fn check_answer<'a>(
    headers: impl Iterator<Item = &'a [u8]>,
    offered: bool,
) -> Result<Option<Agreed>, BadExtensions> {
    let mut agreed = None;
    for header in headers {
        let header = str::from_utf8(header).map_err(|_| BadExtensions)?;
        for text in elements(header) {
            let element = parse_element(text)?;
            let good = offered
                && agreed.is_none()
                && element.usable
                && element.server_no_context_takeover
                && element.client_max_window_bits != Some(None);
            if !good {
                return Err(BadExtensions);
            }
            agreed = Some(Agreed {
                server_max_window_bits: element
                    .server_max_window_bits
                    .map_or(WINDOW_BITS_MAX, |bits| bits.max(WINDOW_BITS_MIN)),
                client_max_window_bits: element.client_max_window_bits.flatten().unwrap_or(WINDOW_BITS_MAX),
                client_context_takeover: !element.client_no_context_takeover,
            });
        }
    }
    Ok(agreed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_to_the_offer() {
        let agreed = |server_max_window_bits, client_max_window_bits, client_context_takeover| {
            Ok(Some(Agreed { server_max_window_bits, client_max_window_bits, client_context_takeover }))
        };
        let table = [
            ("permessage-deflate; server_no_context_takeover", agreed(15, 15, true)),
            ("permessage-deflate; server_no_context_takeover; client_no_context_takeover", agreed(15, 15, false)),
            ("permessage-deflate; server_no_context_takeover; client_max_window_bits=9", agreed(15, 9, true)),
            ("permessage-deflate; server_no_context_takeover; client_max_window_bits=8", agreed(15, 8, true)),
            ("permessage-deflate; server_no_context_takeover; server_max_window_bits=10", agreed(10, 15, true)),
            ("permessage-deflate; server_no_context_takeover; client_max_window_bits", Err(BadExtensions)),
            ("permessage-deflate; server_no_context_takeover; client_max_window_bits=16", Err(BadExtensions)),
            ("permessage-deflate", Err(BadExtensions)),
            ("x-other", Err(BadExtensions)),
            ("", Ok(None)),
        ];
        for (answer, expected) in table {
            assert_eq!(check_answer([answer.as_bytes()].into_iter(), true), expected, "{answer}");
        }
        let unasked = b"permessage-deflate; server_no_context_takeover";
        assert_eq!(check_answer([&unasked[..]].into_iter(), false), Err(BadExtensions));
    }
}
