//! The grammar of `Forwarded` (RFC 7239 section 4).

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use super::{BadForwarded, is_token};

/// What one proxy wrote, as it wrote it.
#[derive(Debug, Default)]
pub(super) struct Element {
    pub(super) node: Option<String>,
    pub(super) protocol: Option<String>,
    pub(super) host: Option<String>,
}

/// Appends the elements of one header's value.
pub(super) fn elements(mut text: &str, found: &mut Vec<Element>) -> Result<(), BadForwarded> {
    let mut element = Element::default();
    let mut empty = true;
    loop {
        text = text.trim_start_matches([' ', '\t']);
        match text.chars().next() {
            None | Some(',') => {
                // Lists may have empty elements (RFC 9110 section 5.6.1).
                if !core::mem::replace(&mut empty, true) {
                    found.push(core::mem::take(&mut element));
                }
                match text.strip_prefix(',') {
                    Some(rest) => text = rest,
                    None => return Ok(()),
                }
            }
            Some(';') if !empty => text = text.get(1..).unwrap_or_default(),
            Some(_) => {
                text = pair(text, &mut element)?;
                empty = false;
            }
        }
    }
}

/// Reads `name=value` and gives what is behind it: nothing, or what begins with a comma or a semicolon.
fn pair<'a>(text: &'a str, element: &mut Element) -> Result<&'a str, BadForwarded> {
    let (name, rest) = text.split_once('=').ok_or(BadForwarded::Syntax)?;
    if !is_token(name) {
        return Err(BadForwarded::Syntax);
    }
    let (value, rest) = match rest.strip_prefix('"') {
        Some(quoted) => unquoted(quoted)?,
        None => {
            let (value, rest) = rest.split_at(rest.find([',', ';', ' ', '\t']).unwrap_or(rest.len()));
            // Addresses of IPv6 and ports belong into quotes; that some proxies leave these out does no harm.
            if !is_token(&value.replace(['[', ']', ':'], "_")) {
                return Err(BadForwarded::Syntax);
            }
            (value.to_owned(), rest)
        }
    };
    let place = [("for", &mut element.node), ("proto", &mut element.protocol), ("host", &mut element.host)];
    if let Some((_, place)) = place.into_iter().find(|(known, _)| name.eq_ignore_ascii_case(known))
        && place.replace(value).is_some()
    {
        return Err(BadForwarded::Syntax);
    }
    let rest = rest.trim_start_matches([' ', '\t']);
    if rest.is_empty() || rest.starts_with([',', ';']) { Ok(rest) } else { Err(BadForwarded::Syntax) }
}

/// A text up to its closing quote, and what is behind that (RFC 9110 section 5.6.4).
fn unquoted(text: &str) -> Result<(String, &str), BadForwarded> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Ok((value, text.get(at + 1..).unwrap_or_default())),
            '\\' => value.push(characters.next().ok_or(BadForwarded::Syntax)?.1),
            c if c.is_control() && c != '\t' => return Err(BadForwarded::Syntax),
            c => value.push(c),
        }
    }
    Err(BadForwarded::Syntax)
}
