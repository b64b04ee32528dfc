//! Logs: `tracing` events as text or JSON lines on stderr.
//!
//! Called once by `main`. Invariant: nothing that is logged holds a token, a key or the text of a statement, but that of
//! one that was slow; types that hold such things print themselves redacted, and the access log has paths, not query strings.

use std::{
    fmt,
    io::{self, IsTerminal},
};

use anyhow::{Context, Result, anyhow};
use clap::ValueEnum;
use serde::Deserialize;
use tracing_subscriber::EnvFilter;

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line, for machines.
    Json,
}

impl Format {
    /// Its name in settings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

/// Settings of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// How a line looks.
    pub format: Format,
    /// What is logged: a level, or levels by module, as in `info,storage=debug`.
    pub level: String,
}

/// An error that is in the log already and is not to be told again.
#[derive(Debug)]
pub struct Logged;

impl fmt::Display for Logged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("failed; the log says why")
    }
}

impl std::error::Error for Logged {}

/// Starts logging for the whole process.
///
/// # Errors
/// If the level cannot be read, or logging was started before.
pub fn start(config: &Config) -> Result<()> {
    let subscriber = tracing_subscriber::fmt().with_writer(io::stderr).with_env_filter(filter(&config.level)?);
    let started = match config.format {
        Format::Text => subscriber.with_ansi(io::stderr().is_terminal()).try_init(),
        Format::Json => subscriber.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init(),
    };
    started.map_err(|error| anyhow!(error)).context("logging cannot be started")
}

/// Reads a level. Stricter than the library, which takes a word that is no level for the name of a module.
///
/// # Errors
/// What is wrong, and how levels are written.
pub fn filter(level: &str) -> Result<EnvFilter> {
    let known = |part: &str| {
        let level = part.rsplit('=').next().unwrap_or(part).trim();
        ["off", "error", "warn", "info", "debug", "trace"].contains(&level.to_ascii_lowercase().as_str())
    };
    let filter = EnvFilter::try_new(level).ok().filter(|_| level.split(',').all(known));
    filter.with_context(|| {
        format!("`{level}` is no log level: write error, warn, info, debug or trace, or by module `info,storage=debug`")
    })
}

#[cfg(test)]
mod tests {
    use super::filter;

    #[test]
    fn a_word_that_is_no_level_is_refused() {
        for good in ["info", "DEBUG", "off", "info,storage=debug", "warn,hyper=off"] {
            assert!(filter(good).is_ok(), "{good}");
        }
        for bad in ["loud", "", "info,storage", "storage=loud", "info,,debug"] {
            assert!(filter(bad).is_err(), "{bad}");
        }
    }
}
