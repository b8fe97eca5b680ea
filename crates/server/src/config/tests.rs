use throughline_engine::ChannelKind;

use super::*;

fn load(text: &str) -> Result<Config, ConfigError> {
    Config::load(Some(("realm.toml", text)), &[])
}

/// The one fault that a text has.
fn fault(text: &str) -> String {
    let error = load(text).unwrap_err();
    assert_eq!(error.problems().len(), 1, "{error}");
    error.to_string()
}

#[test]
fn nothing_gives_the_defaults() {
    let config = Config::load(None, &[]).unwrap();
    assert_eq!(config.listen, "127.0.0.1:9000");
    assert_eq!(config.data, "./data");
    assert_eq!(config.limits.event_bytes_max, 1 << 20);
    assert_eq!(config.timeouts.heartbeat_ms, 10_000);
    assert!(config.auto_create && config.websocket.compression);
    assert_eq!(config.log, LogLevel::Info);
    assert!(config.origins.allowed.is_empty() && config.configured_channels().is_empty());
    assert_eq!(config.engine_settings(), throughline_engine::Settings::default());
    assert_eq!(config.store_settings(), throughline_store::StoreSettings::new("./data"));
    assert_eq!(config.session_settings(), ServerSettings::default());
}

#[test]
fn every_default_and_example_is_legal_and_they_differ() {
    for setting in SETTINGS {
        assert_ne!(setting.default, setting.example, "{}", setting.path);
        for text in [setting.default, setting.example] {
            let (table, name) = setting
                .path
                .rsplit_once('.')
                .map_or((String::new(), setting.path), |(table, name)| (format!("[{table}]\n"), name));
            load(&format!("{table}{name} = {text}\n")).unwrap();
        }
        assert!(setting.summary().len() > 20, "{}: {:?}", setting.path, setting.summary());
    }
}

#[test]
fn flags_go_before_the_file() {
    let file = Some(("realm.toml", "listen = \"0.0.0.0:1\"\ndata = \"/file\"\n"));
    let config = Config::load(file, &[("listen", "[::]:2"), ("limits.event_bytes_max", "2048")]).unwrap();
    assert_eq!((config.listen.as_str(), config.data.as_str()), ("[::]:2", "/file"));
    assert_eq!(config.limits.event_bytes_max, 2048);
    let error = Config::load(None, &[("listen", "")]).unwrap_err();
    assert_eq!(error.to_string(), "--listen: listen = : expected a text in quotes");
    let error = Config::load(None, &[("shards", "many")]).unwrap_err();
    assert_eq!(error.to_string(), "--shards: shards = many: expected a whole number of threads, 0 to 1024");
}

#[test]
fn values_are_read_from_tables_in_any_notation() {
    let config = load("limits.event_bytes_max = 0x1_0000\nlimits = {publishes_max = 7}\n");
    assert!(config.is_err(), "a table cannot be opened again");
    let config =
        load("limits.event_bytes_max = 0x1_0000\nlimits.publishes_max = 7\nwebsocket = { compression = false }")
            .unwrap();
    assert_eq!((config.limits.event_bytes_max, config.limits.publishes_max), (65_536, 7));
    assert!(!config.websocket.compression);
}

/// A text with one fault, and what is said of it.
const FAULTS: &[(&str, &str)] = &[
    ("lisen = \"a\"", "realm.toml line 1: unknown setting \"lisen\"; did you mean \"listen\"?"),
    (
        "\n[limits]\nevent_byte_max = 5",
        "realm.toml line 3: unknown setting \"limits.event_byte_max\"; did you mean \"limits.event_bytes_max\"?",
    ),
    (
        "[limit]\nevent_bytes_max = 5",
        "realm.toml line 1: unknown setting \"limit\"; docs/configuration.md lists all settings",
    ),
    (
        "channels.retained = 1",
        "realm.toml line 1: unknown setting \"channels.retained\"; docs/configuration.md lists all settings",
    ),
    ("shards = \"two\"", "realm.toml line 1: shards = \"two\": expected a whole number of threads, 0 to 1024"),
    ("shards = -1", "realm.toml line 1: shards = -1: expected a whole number of threads, 0 to 1024"),
    ("shards = 1.5", "realm.toml line 1: shards = 1.5: expected a whole number of threads, 0 to 1024"),
    ("shards = 4096", "realm.toml line 1: shards = 4096: too large: at most 1024 threads are allowed"),
    (
        "[limits]\n\nevent_bytes_max = 1",
        "realm.toml line 3: limits.event_bytes_max = 1: too small: at least 1024 bytes are needed",
    ),
    ("limits = 5", "realm.toml line 1: unknown setting \"limits\"; docs/configuration.md lists all settings"),
    ("listen = 9000", "realm.toml line 1: listen = 9000: expected a text in quotes"),
    ("auto_create = \"yes\"", "realm.toml line 1: auto_create = \"yes\": expected true or false"),
    (
        "log = \"loud\"",
        "realm.toml line 1: log = \"loud\": expected one of \"error\", \"warn\", \"info\", \"debug\", \"trace\"",
    ),
    (
        "origins.allowed = \"*\"",
        "realm.toml line 1: origins.allowed = \"*\": expected a list of origins in quotes, such as [\"https://app.example.com\"]",
    ),
    (
        "origins.allowed = [\"app\"]",
        "realm.toml line 1: origins.allowed = [\"app\"]: \"app\": expected scheme://host or scheme://host:port without a path, \"null\" or \"*\"",
    ),
    (
        "[limits]\npublish_bytes_max = 65536",
        "realm.toml line 2: limits.publish_bytes_max = 65536: too small for one event of limits.event_bytes_max = 1048576 bytes",
    ),
    (
        "[limits]\nevent_bytes_max = 2097152\npending_bytes_max = 1048576",
        "realm.toml line 3: limits.pending_bytes_max = 1048576: too small for one event of limits.event_bytes_max = 2097152 bytes",
    ),
    (
        "[limits]\npoll_bytes_max = 1048576",
        "realm.toml line 2: limits.poll_bytes_max = 1048576: too small for 16 events of limits.event_bytes_max = 1048576 bytes",
    ),
    (
        "[limits]\npartial_bytes_max = 1048576",
        "realm.toml line 2: limits.partial_bytes_max = 1048576: too small for 8 events of limits.event_bytes_max = 1048576 bytes",
    ),
    (
        "[limits]\nevent_bytes_max = 16777216",
        "realm.toml line 2: limits.event_bytes_max = 16777216: limits.publish_bytes_max has to have room for one event, so set it too, to 16777216 or more",
    ),
    ("[[channel]]\ntype = \"persistent\"", "realm.toml line 1: [[channel]] needs a name: name = \"prices\""),
    (
        "[[channel]]\nname = \"a b\"",
        "realm.toml line 2: name = \"a b\": a channel name holds ' '; allowed are A-Z a-z 0-9 _ - . : and / between segments",
    ),
    (
        "[[channel]]\nname = \"a\"\ncapacty = 1",
        "realm.toml line 3: [[channel]] has no \"capacty\"; did you mean \"capacity\"?",
    ),
    (
        "[[channel]]\nname = \"a\"\ntype = \"durable\"",
        "realm.toml line 3: type = \"durable\": expected one of \"transient\", \"reliable\", \"persistent\", \"mixed\"",
    ),
    (
        "[channel]\nname = \"a\"",
        "realm.toml line 1: unknown setting \"channel\"; each channel is a [[channel]], in two pairs of brackets",
    ),
    (
        "listen = \"9000\"",
        "realm.toml line 1: listen = \"9000\": expected HOST:PORT, as 127.0.0.1:9000 (this machine) or 0.0.0.0:9000 (all networks)",
    ),
    ("[[channel]]\nname = \"a\"\n[[channel]]\nname = \"a\"", "realm.toml line 3: channel \"a\" is configured twice"),
    ("channel = [1]", "realm.toml line 1: \"channel\" is a list of tables: write [[channel]] and name = \"...\""),
];

#[test]
fn faults_name_place_value_and_way_out() {
    for (text, expected) in FAULTS {
        assert_eq!(fault(text), *expected, "{text}");
    }
    assert!(fault("a = \"b\n").starts_with("realm.toml line 1: "));
    assert!(fault("shards = 1\nshards = 2").starts_with("realm.toml line 2: "));
}

#[test]
fn every_fault_is_told_at_once() {
    let error = load("shards = 5000\nlisten = 1\ncolour = 2").unwrap_err();
    assert_eq!(error.problems().len(), 3, "{error}");
}

#[test]
fn configured_channels_take_what_they_leave_out_from_the_defaults() {
    let config = load(
        "[channels.defaults]\ntype = \"persistent\"\ncapacity = 5\n\n[[channel]]\nname = \"a/b\"\nttl_ms = 60\n\n\
         [[channel]]\nname = \"c\"\ntype = \"transient\"\ncapacity = 0\nbytes = 0\n",
    )
    .unwrap();
    let a =
        ChannelAttributes { kind: ChannelKind::Persistent, capacity: Some(5), bytes: Some(64 << 20), ttl: Some(60) };
    let c = ChannelAttributes { kind: ChannelKind::Transient, capacity: None, bytes: None, ttl: None };
    assert_eq!(config.configured_channels(), [("a/b".to_owned(), a), ("c".to_owned(), c)]);
    assert_eq!(config.engine_settings().defaults, ChannelAttributes { ttl: None, ..a });
}

#[test]
fn the_document_is_up_to_date_and_its_examples_are_legal() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    let rendered = render();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &rendered).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == rendered,
        "docs/configuration.md is out of date: run UPDATE=1 cargo test -p throughline-server config"
    );
    let blocks: Vec<_> = rendered.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(blocks.len(), SETTINGS.len() + 1);
    for block in blocks {
        load(block).unwrap();
    }
}
