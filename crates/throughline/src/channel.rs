//! `throughline channel`.

use std::fmt::Display;
use std::io::{self, Write};

use throughline_client::{Channel, ChannelSpec, HttpError, Realm, RealmUrl, ReplyError};

use crate::arguments::{Channel as Command, Create};
use crate::failure::Failure;
use crate::talk;

pub(crate) async fn run(url: &RealmUrl, command: Command) -> Result<(), Failure> {
    let realm = Realm::new(url.clone());
    match command {
        Command::Create(create) => create_channel(&realm, create).await,
        Command::List { json } => {
            let channels = realm.channels().await.map_err(failed)?;
            let out = &mut io::stdout().lock();
            if json { list_json(out, &channels) } else { list(out, &channels) }.map_err(Failure::output)
        }
        Command::Show { name, json } => {
            let channel = realm.channel(&name).await.map_err(|error| unknown(&name, error))?;
            let out = &mut io::stdout().lock();
            if json { list_json(out, &[channel]) } else { show(out, &channel) }.map_err(Failure::output)
        }
        Command::Delete { name } => {
            realm.delete_channel(&name).await.map_err(failed)?;
            talk::say(format_args!("deleted {name}"));
            Ok(())
        }
    }
}

fn failed(error: HttpError) -> Failure {
    Failure::failed(error)
}

/// The realm names the way that HTTP has; who sits here has another.
fn unknown(name: &str, error: HttpError) -> Failure {
    match error {
        HttpError::Refused { error: ReplyError { code, .. }, .. } if code == "unknown_channel" => {
            let text =
                format!("there is no channel {name:?}; `throughline channel create {name} --type TYPE` makes it");
            Failure::Failed(format!("{text}, `throughline channel list` shows those that are there ({code})"))
        }
        error => failed(error),
    }
}

async fn create_channel(realm: &Realm, create: Create) -> Result<(), Failure> {
    let Create { name, kind, capacity, bytes, ttl } = create;
    let new = realm.create_channel(&name, &ChannelSpec { kind, capacity, bytes, ttl }).await.map_err(failed)?;
    if new {
        talk::say(format_args!("created {name}"));
    } else {
        talk::say(format_args!("{name} exists with these attributes"));
    }
    Ok(())
}

fn list_json(out: &mut impl Write, channels: &[Channel]) -> io::Result<()> {
    for channel in channels {
        writeln!(out, "{}", channel.json.trim())?;
    }
    out.flush()
}

fn limit(value: Option<u64>) -> String {
    value.map_or_else(|| "-".to_owned(), |n| n.to_string())
}

fn list(out: &mut impl Write, channels: &[Channel]) -> io::Result<()> {
    const HEAD: [&str; 8] = ["NAME", "TYPE", "CAPACITY", "BYTES", "TTL", "FIRST", "LAST", "EVENTS"];
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(channels.iter().map(|c| {
        let kind = c.kind.name().to_owned();
        let (first, last) = (c.first.to_string(), c.last.to_string());
        [c.name.clone(), kind, limit(c.capacity), limit(c.bytes), limit(c.ttl), first, last, c.events.to_string()]
    }));
    let mut widths = [0; HEAD.len()];
    for row in &rows {
        widths.iter_mut().zip(row).for_each(|(width, cell)| *width = cell.len().max(*width));
    }
    for row in &rows {
        let cells = row.iter().zip(widths).enumerate().map(|(column, (cell, width))| {
            // Words to the left, numbers to the right.
            if column < 2 { format!("{cell:width$}") } else { format!("{cell:>width$}") }
        });
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  "))?;
    }
    out.flush()
}

fn show(out: &mut impl Write, channel: &Channel) -> io::Result<()> {
    let mut line = |name: &str, value: &dyn Display| writeln!(out, "{name:10}{value}");
    line("name", &channel.name)?;
    line("type", &channel.kind.name())?;
    line("capacity", &limit(channel.capacity))?;
    line("bytes", &limit(channel.bytes))?;
    line("ttl", &limit(channel.ttl))?;
    line("epoch", &channel.epoch)?;
    line("first", &channel.first)?;
    line("last", &channel.last)?;
    line("events", &channel.events)?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use throughline_client::{ChannelType, Eid, Epoch};

    fn orders() -> Channel {
        Channel {
            name: "orders".to_owned(),
            kind: ChannelType::Persistent,
            capacity: Some(1000),
            bytes: None,
            ttl: None,
            epoch: Epoch(255),
            first: Eid(1),
            last: Eid(12),
            events: 12,
            json: "{\"name\":\"orders\"}".to_owned(),
        }
    }

    fn written(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_list_is_a_table() {
        let text = written(|out| list(out, &[orders()]));
        assert_eq!(
            text,
            "NAME    TYPE        CAPACITY  BYTES  TTL  FIRST  LAST  EVENTS\n\
             orders  persistent      1000      -    -      1    12      12\n"
        );
    }

    #[test]
    fn one_channel_is_a_column() {
        let text = written(|out| show(out, &orders()));
        assert!(text.contains("epoch     00000000000000ff\n"), "{text}");
        assert_eq!(written(|out| list_json(out, &[orders()])), "{\"name\":\"orders\"}\n");
    }
}
