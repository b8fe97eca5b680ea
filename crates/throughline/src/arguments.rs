//! What can be typed.

use std::path::PathBuf;

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use throughline_client::doctor::IDLE_S_MAX;
use throughline_client::{ChannelType, Eid, From, Options, RealmUrl, TRANSPORTS, Transport};
use throughline_wire::event::{TAG_BYTES_MAX, check_channel_name};

use crate::period::milliseconds;
use crate::properties::Property;

const STATUSES: &str = "\
Exit status:
  0  done (also: ended by Ctrl-C, or because nobody reads the output any more)
  1  failed; standard error says why, in one line
  2  the command line makes no sense";

/// Messaging over whatever the network lets through: serve a realm, publish to its channels, subscribe to them.
#[derive(Debug, Parser)]
#[command(name = "throughline", version, about, after_help = STATUSES)]
pub(crate) struct Arguments {
    /// The realm's address, or its reverse proxy's: http://HOST:PORT[/PREFIX]
    #[arg(long, global = true, env = "THROUGHLINE_URL", default_value = "http://127.0.0.1:9000", value_name = "URL")]
    pub(crate) url: RealmUrl,
    /// The forward proxy, as http://HOST:PORT, https:// or socks5://, with USER:PASSWORD@ if it wants them; or none. By default
    /// as HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY say
    #[arg(long, global = true, value_name = "URL", hide_env_values = true)]
    pub(crate) proxy: Option<String>,
    /// Root certificates (PEM) to trust beside the system's, for example of a proxy that inspects TLS
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) ca: Vec<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Commands that talk to no realm, so that where one is says nothing to them.
const APART: [&str; 2] = ["serve", "proxy-config"];

impl Arguments {
    /// What was typed; ends the program with help, or with a text that says what makes no sense.
    pub(crate) fn typed() -> Arguments {
        let mut command = command();
        let matches = command.get_matches_mut();
        Arguments::from_arg_matches(&matches).unwrap_or_else(|e| e.format(&mut command).exit())
    }
}

/// The definition below; the help of each command lists what means something to it.
fn command() -> clap::Command {
    let mut command = Arguments::command();
    // Only now every command has the arguments that stand anywhere.
    command.build();
    APART.into_iter().fold(command, |command, name| {
        command.mut_subcommand(name, |apart| {
            ["url", "proxy", "ca"].into_iter().fold(apart, |apart, id| apart.mut_arg(id, |arg| arg.hide(true)))
        })
    })
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a realm until it is told to stop (Ctrl-C or SIGTERM)
    Serve(Serve),
    /// Publish events to a channel
    Publish(Publish),
    /// Print the events of a channel as they come
    Subscribe(Subscribe),
    /// Create, list, show and delete channels
    #[command(subcommand)]
    Channel(Channel),
    /// Print a configuration for a proxy in front of a realm, or on the way to it; without a name, list what there is
    ProxyConfig(ProxyConfig),
    /// Tell what the path to a realm does to each transport, and what to do about it
    Doctor(Doctor),
}

const DOCTOR_EXAMPLES: &str = "\
Examples:
  throughline doctor https://realm.example.org
  throughline doctor --proxy http://proxy.example.org:3128 http://realm.example.org:9000/live
  throughline doctor --origin https://www.example.org --json | jq .findings

Every transport is tried, every version of WebSocket, with TLS and without, through the forward proxy and past it. It takes
as long as connections are left silent (--idle), or some seconds more where something swallows what is sent.

Exit status:
  0  sessions get through, over whatever transport
  1  none gets through, or it could not be told
  2  the command line makes no sense";

#[derive(Args, Debug)]
#[command(after_help = DOCTOR_EXAMPLES)]
pub(crate) struct Doctor {
    /// The realm's address; without it, that of --url
    #[arg(value_name = "URL")]
    pub(crate) address: Option<RealmUrl>,
    /// Print everything that was observed and found as a JSON object (docs/doctor.md)
    #[arg(long)]
    pub(crate) json: bool,
    /// Leave connections silent for so long; 0 leaves that out, and polls that are held long
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(0..=IDLE_S_MAX))]
    pub(crate) idle: u64,
    /// Ask as a page of this origin does: SCHEME://HOST, and :PORT where it is not the usual one
    #[arg(long, value_name = "ORIGIN", value_parser = origin)]
    pub(crate) origin: Option<String>,
}

const PROXY_CONFIG_EXAMPLES: &str = "\
Examples:
  throughline proxy-config
  throughline proxy-config nginx --listen 0.0.0.0:443 --certificate full.pem --key key.pem > nginx.conf
  throughline proxy-config haproxy --prefix /live";

#[derive(Args, Debug)]
#[command(after_help = PROXY_CONFIG_EXAMPLES)]
pub(crate) struct ProxyConfig {
    /// Which proxy
    pub(crate) name: Option<String>,
    /// Where the proxy listens
    #[arg(long, default_value = "0.0.0.0:8080", value_name = "HOST:PORT")]
    pub(crate) listen: String,
    /// Where the realm listens
    #[arg(long, default_value = "127.0.0.1:9000", value_name = "HOST:PORT")]
    pub(crate) upstream: String,
    /// What the proxy puts in front of the realm's paths, and takes away again
    #[arg(long, default_value = "", value_name = "PATH")]
    pub(crate) prefix: String,
    /// Certificates (PEM): the proxy speaks TLS with clients. HAProxy takes the key from the same file
    #[arg(long, value_name = "FILE")]
    pub(crate) certificate: Option<String>,
    /// Their key (PEM), for all but HAProxy
    #[arg(long, value_name = "FILE", requires = "certificate")]
    pub(crate) key: Option<String>,
}

const SERVE_EXAMPLES: &str = "\
Examples:
  throughline serve
      a realm on http://127.0.0.1:9000 that keeps its data in ./data
  throughline serve --listen 0.0.0.0:8080 --data /var/lib/throughline
  throughline serve --config throughline.toml
      every setting is in docs/configuration.md

When the realm is ready, `listening on http://HOST:PORT` is printed. Log lines go to standard error.";

#[derive(Args, Debug)]
#[command(after_help = SERVE_EXAMPLES)]
pub(crate) struct Serve {
    /// Address and port to listen on; port 0 takes a free one [default: 127.0.0.1:9000]
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) listen: Option<String>,
    /// Directory of the on-disk store; created when missing [default: ./data]
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) data: Option<String>,
    /// The data come from a backup (docs/operations.md): tell clients that channels on disk have a new history. For the first
    /// start after restoring only
    #[arg(long)]
    pub(crate) restored: bool,
    /// Configuration file (TOML); --listen and --data go before what it says
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

const PUBLISH_EXAMPLES: &str = "\
Examples:
  throughline publish prices 42.5
  echo -n '{\"id\":7}' | throughline publish orders --tag new
  tail -n +1 -f service.log | throughline publish logs --lines
      each line is an event; goes on over restarts of the realm, loses and doubles nothing
  throughline publish prices 42.5 --property symbol=ACME --property 'size:={\"long\":\"100\"}'
  throughline publish frames --bytes < frame.jpg

The EID of the event is printed; with --lines, at the end, the number of events acknowledged. Data that are
UTF-8 are published as text, others as bytes.";

#[derive(Args, Debug)]
#[command(after_help = PUBLISH_EXAMPLES)]
pub(crate) struct Publish {
    /// The channel
    #[arg(value_parser = channel_name)]
    pub(crate) channel: String,
    /// The event's data; without it, all of standard input
    #[arg(conflicts_with = "lines")]
    pub(crate) data: Option<String>,
    /// Publish each line of standard input as it comes; succeed once all are acknowledged
    #[arg(long)]
    pub(crate) lines: bool,
    /// Publish as bytes even what is UTF-8
    #[arg(long)]
    pub(crate) bytes: bool,
    /// A label of at most 255 bytes
    #[arg(long, value_parser = tag)]
    pub(crate) tag: Option<String>,
    /// Time to live: milliseconds, or with a unit as in 90s (ms, s, m, h, d); it can only shorten the channel's
    #[arg(long, value_name = "TIME", value_parser = milliseconds)]
    pub(crate) ttl: Option<u64>,
    /// A property: NAME=TEXT, or NAME:=JSON in the typed form of PROTOCOL.md section 3.1; repeatable
    #[arg(long = "property", value_name = "NAME=VALUE")]
    pub(crate) properties: Vec<Property>,
    /// On a channel of type mixed: keep the event on disk
    #[arg(long)]
    pub(crate) persistent: bool,
    #[command(flatten)]
    pub(crate) way: Way,
}

const SUBSCRIBE_EXAMPLES: &str = "\
Examples:
  throughline subscribe prices
      what is published from now on
  throughline subscribe logs --from all --count 1000 > logs.txt
      the first thousand events that are kept, then ends
  throughline subscribe orders --from 1234 --json | jq .properties

Without --json the data are printed, each followed by a line end; bytes as they are. With --json each event is an
object on a line: eid, time, tag, properties, ttl, and data (text) or base64 (bytes).
Events that could not be delivered are reported on standard error: missed 3..7 (capacity).";

#[derive(Args, Debug)]
#[command(after_help = SUBSCRIBE_EXAMPLES)]
pub(crate) struct Subscribe {
    /// The channel
    #[arg(value_parser = channel_name)]
    pub(crate) channel: String,
    /// Where to begin: new, all, or an EID
    #[arg(long, default_value = "new", value_name = "POSITION", value_parser = position)]
    pub(crate) from: From,
    /// End after so many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// Print each event as a JSON object on a line
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) way: Way,
}

/// The way to the realm.
#[derive(Args, Clone, Debug)]
pub(crate) struct Way {
    /// Use this transport only: websocket, http-stream or long-poll; repeatable. Without it, whatever gets through
    #[arg(long = "transport", value_name = "NAME", value_parser = transport)]
    transports: Vec<Transport>,
}

impl Way {
    /// A session's options.
    pub(crate) fn options(&self, url: &RealmUrl) -> Options {
        let mut options = Options::default();
        options.route = url.route().clone();
        if !self.transports.is_empty() {
            options.transports.clone_from(&self.transports);
        }
        options
    }
}

const CREATE_EXAMPLES: &str = "\
Examples:
  throughline channel create orders --type persistent
  throughline channel create prices --type reliable --capacity 1000 --ttl 1h

Creating a channel that exists with the same attributes succeeds; with others it fails.";

#[derive(Debug, Subcommand)]
pub(crate) enum Channel {
    /// Create a channel
    #[command(after_help = CREATE_EXAMPLES)]
    Create(Create),
    /// List all channels
    List {
        /// Print each channel as a JSON object on a line
        #[arg(long)]
        json: bool,
    },
    /// Show one channel
    Show {
        /// The channel
        #[arg(value_parser = channel_name)]
        name: String,
        /// Print it as a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Delete a channel with all its events, for good
    Delete {
        /// The channel
        #[arg(value_parser = channel_name)]
        name: String,
    },
}

#[derive(Args, Debug)]
pub(crate) struct Create {
    /// The channel
    #[arg(value_parser = channel_name)]
    pub(crate) name: String,
    /// transient (nothing is kept), reliable (kept in memory), persistent (on disk), mixed (each event says)
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) kind: ChannelType,
    /// Keep at most so many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) capacity: Option<u64>,
    /// Keep at most so many bytes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) bytes: Option<u64>,
    /// Keep events at most so long: milliseconds, or with a unit as in 7d (ms, s, m, h, d)
    #[arg(long, value_name = "TIME", value_parser = milliseconds)]
    pub(crate) ttl: Option<u64>,
}

fn channel_name(text: &str) -> Result<String, String> {
    check_channel_name(text).map_err(|e| e.to_string())?;
    Ok(text.to_owned())
}

fn transport(text: &str) -> Result<Transport, String> {
    let found = TRANSPORTS.into_iter().find(|transport| transport.name() == text);
    found.ok_or_else(|| "expected websocket, http-stream or long-poll".to_owned())
}

fn tag(text: &str) -> Result<String, String> {
    if text.len() > TAG_BYTES_MAX {
        return Err(format!("a tag has at most {TAG_BYTES_MAX} bytes, this one has {}", text.len()));
    }
    Ok(text.to_owned())
}

/// An origin as browsers write it: nothing behind host and port.
fn origin(text: &str) -> Result<String, String> {
    let url: RealmUrl =
        text.parse().map_err(|_| "expected SCHEME://HOST[:PORT], as https://www.example.org".to_owned())?;
    if url.prefix().is_empty() && text.starts_with("http") {
        Ok(url.to_string())
    } else {
        Err("expected http or https, and nothing behind the host and its port".to_owned())
    }
}

fn position(text: &str) -> Result<From, String> {
    match text {
        "new" => Ok(From::New),
        "all" => Ok(From::All),
        eid => match eid.parse::<Eid>() {
            Ok(eid) if eid != Eid::NONE => Ok(From::Eid(eid)),
            _ => Err("expected new, all, or an EID (a number from 1 on)".to_owned()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(std::iter::once("throughline").chain(line.split_whitespace()))
    }

    #[test]
    fn the_definition_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn where_the_realm_is_stands_in_the_help_of_those_that_talk_to_it() {
        for name in ["serve", "proxy-config", "publish", "subscribe", "channel", "doctor"] {
            let mut command = command();
            let help = command.find_subcommand_mut(name).unwrap().render_help().to_string();
            assert_eq!(help.contains("--url"), !APART.contains(&name), "{help}");
            assert_eq!(help.contains("--ca"), !APART.contains(&name), "{help}");
        }
    }

    #[test]
    fn publish_takes_data_or_lines() {
        let Ok(Arguments { command: Command::Publish(p), .. }) =
            parse("publish prices 42 --tag t --ttl 5 --property a=b --property n:=1.5 --persistent")
        else {
            panic!("not parsed")
        };
        assert_eq!((p.channel.as_str(), p.data.as_deref(), p.tag.as_deref()), ("prices", Some("42"), Some("t")));
        assert_eq!((p.ttl, p.properties.len(), p.persistent, p.lines), (Some(5), 2, true, false));
        assert!(parse("publish prices --lines").is_ok());
        assert!(parse("publish prices 42 --lines").is_err());
    }

    #[test]
    fn the_doctor_has_an_address_and_an_origin() {
        let doctor = |line: &str| match parse(line).map(|arguments| arguments.command) {
            Ok(Command::Doctor(doctor)) => Some(doctor),
            _ => None,
        };
        let full = doctor("doctor https://h/p --idle 0 --origin https://www.test --json").unwrap();
        assert_eq!((full.address.unwrap().to_string().as_str(), full.idle, full.json), ("https://h/p", 0, true));
        assert_eq!(full.origin.as_deref(), Some("https://www.test"));
        assert!(doctor("doctor").is_some_and(|doctor| doctor.address.is_none() && doctor.idle == 20));
        for bad in
            ["--origin www.test", "--origin https://www.test/page", "--origin ws://h", "--idle 3601", "--idle -1"]
        {
            assert!(doctor(&format!("doctor http://h {bad}")).is_none(), "{bad}");
        }
    }

    #[test]
    fn positions() {
        let from = |line: &str| match parse(line) {
            Ok(Arguments { command: Command::Subscribe(s), .. }) => Some(s.from),
            _ => None,
        };
        assert_eq!(from("subscribe c"), Some(From::New));
        assert_eq!(from("subscribe c --from all"), Some(From::All));
        assert_eq!(from("subscribe c --from 7"), Some(From::Eid(Eid(7))));
        for bad in ["0", "07", "-1", "old", "18446744073709551616"] {
            assert_eq!(from(&format!("subscribe c --from {bad}")), None, "{bad}");
        }
    }

    #[test]
    fn transports() {
        let url = "http://h:1".parse().unwrap();
        let of = |line: &str| match parse(line).map(|a| a.command) {
            Ok(Command::Subscribe(s)) => s.way.options(&url).transports,
            Ok(Command::Publish(p)) => p.way.options(&url).transports,
            other => panic!("{line}: {other:?}"),
        };
        assert_eq!(of("subscribe c"), TRANSPORTS);
        assert_eq!(of("subscribe c --transport long-poll"), [Transport::LongPoll]);
        let both = [Transport::WebSocket, Transport::HttpStream];
        assert_eq!(of("publish c 1 --transport websocket --transport http-stream"), both);
    }

    #[test]
    fn what_makes_no_sense_is_a_usage_error() {
        for line in [
            "",
            "publish",
            "publish a//b 1",
            "publish c 1 --ttl 0",
            "publish c 1 --property novalue",
            "publish c 1 --property n:=null",
            "subscribe c --count 0",
            "subscribe c --transport jsonp-poll",
            "channel create c",
            "channel create c --type durable",
            "channel create c --type mixed --capacity 0",
            "--url ftp://example.org subscribe c",
            "--url localhost:9000 subscribe c",
        ] {
            let error = parse(line).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn the_address_stands_anywhere() {
        for line in
            ["--url http://h:1/p channel list", "channel list --url http://h:1/p", "channel --url http://h:1/p list"]
        {
            assert_eq!(parse(line).map(|a| a.url.to_string()).unwrap(), "http://h:1/p", "{line}");
        }
    }
}
