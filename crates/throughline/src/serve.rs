//! `throughline serve`.

use std::io;

use throughline_server::StartError;
use throughline_server::config::{Config, LogLevel};

use crate::arguments::Serve;
use crate::failure::Failure;

pub(crate) fn run(arguments: &Serve) -> Result<(), Failure> {
    let mut config = configuration(arguments)?;
    config.restored = arguments.restored;
    log(config.log);
    throughline_server::run(config).map_err(|error| match error {
        // The files are part of the configuration.
        StartError::Tls(error) => Failure::usage(error),
        error => Failure::failed(error),
    })
}

fn configuration(arguments: &Serve) -> Result<Config, Failure> {
    let file = arguments.config.as_deref().map(|path| path.display().to_string());
    let text = match &arguments.config {
        Some(path) => std::fs::read_to_string(path)
            .map_err(|e| Failure::usage(format_args!("configuration file {} cannot be read: {e}", path.display())))?,
        None => String::new(),
    };
    let flags = [("listen", &arguments.listen), ("data", &arguments.data)];
    let overrides: Vec<(&str, &str)> =
        flags.iter().filter_map(|(path, value)| Some((*path, value.as_deref()?))).collect();
    Config::load(file.as_deref().map(|file| (file, text.as_str())), &overrides).map_err(Failure::usage)
}

/// Log lines go to standard error; colours only where they are seen.
fn log(level: LogLevel) {
    let colours = io::IsTerminal::is_terminal(&io::stderr());
    tracing_subscriber::fmt().with_max_level(level.tracing()).with_writer(io::stderr).with_ansi(colours).init();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(text: &str, listen: Option<&str>) -> Result<Config, Failure> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let config = Some(file.path().to_owned());
        configuration(&Serve { listen: listen.map(str::to_owned), data: None, restored: false, config })
    }

    #[test]
    fn flags_go_before_the_file() {
        let text = "listen = \"127.0.0.1:1\"\ndata = \"elsewhere\"";
        assert_eq!(loaded(text, None).map(|c| c.listen).unwrap(), "127.0.0.1:1");
        let config = loaded(text, Some("127.0.0.1:2")).unwrap();
        assert_eq!((config.listen.as_str(), config.data.as_str()), ("127.0.0.1:2", "elsewhere"));
    }

    #[test]
    fn a_bad_file_is_a_usage_error_that_names_the_place() {
        let Err(Failure::Usage(text)) = loaded("listn = 1", None) else { panic!("accepted") };
        assert!(text.contains("listn"), "{text}");
        let missing = Serve { listen: None, data: None, restored: false, config: Some("/no/such/file.toml".into()) };
        let Err(Failure::Usage(text)) = configuration(&missing) else { panic!("accepted") };
        assert!(text.contains("/no/such/file.toml"), "{text}");
    }
}
