//! The `import` command: brings the history of a Prometheus into a running server.
//!
//! Called by `cli`. A source (`blocks`, `text`, `read`) goes through its series, oldest first, and hands them to `sink`, which makes
//! requests of remote write of them (`encode`), has them sent (`deliver`), notes what was acknowledged (`state`) and shows how far it
//! is (`progress`). Invariants: a source is only read; whatever breaks off can be done again, since the server stores equal samples
//! once. Not here: the formats (`ingest`).

mod blocks;
mod deliver;
mod encode;
mod head;
mod progress;
mod read;
mod sink;
mod state;
mod text;
mod times;

use std::{
    io::{self, Write},
    ops::Range,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Subcommand};
use ingest::remote_read::Matcher;
use query::Selector;

use self::{
    blocks::Blocks,
    deliver::Target,
    read::Remote,
    sink::{Outcome, Sink},
    state::State,
    text::Text,
};
use crate::{app, client::Access, config};

const EXAMPLES: &str = "\
Examples:
  streamgauge import prometheus /var/lib/prometheus/snapshots/20260131T120000Z-4f1c
  streamgauge import prometheus /var/lib/prometheus --start 2026-01-01T00:00:00Z --dry-run
  streamgauge import prometheus http://prometheus:9090 --match '{job=\"api\"}' --match up
  streamgauge import prometheus metrics.om --to https://gauge:4090 --token-env SG_TOKEN
  zcat metrics.om.gz | streamgauge import prometheus -

What is given tells how it is read:
  a folder    a data folder, a snapshot, or a single block
  a file, -   OpenMetrics text with timestamps, as `promtool tsdb create-blocks-from
              openmetrics` takes it
  an address  a server that speaks remote read; user:password@ goes before the host

The samples of the last hours are in no block yet; they are read from the log (`wal`). While
Prometheus runs, blocks may be merged away under the import: what is left out for that is
told, and the same command fetches it. A snapshot stands still; to take one, start Prometheus
with --web.enable-admin-api, and
  curl -X POST http://127.0.0.1:9090/api/v1/admin/tsdb/snapshot

The server takes samples within its retention only: set `storage.retention` as long as
the history before. What it refuses is counted, the first reasons are shown, and the exit
code is 1. Nothing is stored twice: give the same command again, and an import that broke
off goes on where it was.";

/// Options of `streamgauge import`.
#[derive(Debug, Args)]
pub struct Import {
    #[command(subcommand)]
    from: From,
}

#[derive(Debug, Subcommand)]
enum From {
    /// The history of a Prometheus: its data folder, a snapshot, OpenMetrics text, or a running one by remote read.
    #[command(after_help = EXAMPLES)]
    Prometheus(Box<Prometheus>),
}

#[derive(Debug, Args)]
struct Prometheus {
    /// Folder, file, `-` for stdin, or address of a Prometheus.
    #[arg(value_name = "PATH|URL")]
    source: String,
    /// Server that the history goes to.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:4090")]
    to: String,
    /// Samples from this time on: RFC 3339 or seconds since 1970 [default: the oldest].
    #[arg(long, value_name = "TIME", value_parser = times::parse)]
    start: Option<i64>,
    /// Samples before this time [default: the newest].
    #[arg(long, value_name = "TIME", value_parser = times::parse)]
    end: Option<i64>,
    /// Series to import; may be given several times [default: {__name__!=""}].
    #[arg(long = "match", value_name = "SELECTOR")]
    matches: Vec<String>,
    /// Count series and samples, send nothing.
    #[arg(long)]
    dry_run: bool,
    /// Requests that are sent at once.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64))]
    concurrency: u8,
    /// File that keeps how far the import is [default: one for each import in ~/.local/state/streamgauge].
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    #[command(flatten)]
    access: Access,
    /// File that holds the token for the Prometheus that is read from.
    #[arg(long, value_name = "FILE", conflicts_with = "source_token_env")]
    source_token_file: Option<PathBuf>,
    /// Environment variable that holds the token for the Prometheus that is read from.
    #[arg(long, value_name = "NAME")]
    source_token_env: Option<String>,
}

enum Source {
    Blocks(Blocks),
    Text(Text),
    Remote(Remote),
}

/// Which samples.
#[derive(Debug)]
struct Choice {
    times_ms: Range<i64>,
    selectors: Vec<Selector>,
}

impl Choice {
    fn takes_all(&self) -> bool {
        self.selectors.is_empty()
    }

    /// Is a series chosen? Its labels are in order of their names.
    fn takes(&self, labels: &[(&str, &str)]) -> bool {
        let value = |label: &str| labels.iter().find(|(name, _)| *name == label).map_or("", |(_, value)| *value);
        let takes =
            |selector: &Selector| selector.matchers().iter().all(|matcher| matcher.matches(value(matcher.label())));
        self.takes_all() || self.selectors.iter().any(takes)
    }

    /// What a server is to be asked for, a question each.
    fn matchers(&self) -> Vec<Vec<Matcher<'_>>> {
        if self.takes_all() {
            return vec![vec![Matcher { op: "!=", label: "__name__", value: "" }]];
        }
        self.selectors.iter().map(matchers).collect()
    }
}

fn matchers(selector: &Selector) -> Vec<Matcher<'_>> {
    let written = selector.matchers().iter().map(|matcher| matcher.as_written());
    written.map(|(label, op, value)| Matcher { op, label, value }).collect()
}

impl Import {
    /// Imports; how far it is goes to stderr, what came of it to stdout.
    ///
    /// # Errors
    /// Why it broke off; or that not everything was taken.
    pub fn run(self) -> Result<()> {
        let From::Prometheus(prometheus) = self.from;
        prometheus.run()
    }
}

impl Prometheus {
    fn run(&self) -> Result<()> {
        self.tell(&self.import()?)
    }

    fn import(&self) -> Result<Outcome> {
        let choice = self.choice()?;
        let source = self.source()?;
        let clock = app::env().clock;
        let mut sink = if self.dry_run {
            Sink::counting(&clock)
        } else {
            let target =
                Target { agent: self.access.agent(&self.to)?, url: self.to.clone(), token: self.access.token()? };
            let state = self.state()?;
            if let Some(path) = state.path() {
                let again = state.progress != state::Progress::default();
                let what = if again { "goes on where it was, by" } else { "keeps how far it is in" };
                eprintln!("this import {what} {}", path.display());
            }
            Sink::sending(&target, self.concurrency.into(), state, &clock)?
        };
        let ended = match &source {
            Source::Blocks(blocks) => blocks.run(&choice, &mut sink),
            Source::Text(text) => text.run(&choice, &mut sink),
            Source::Remote(remote) => remote.run(&choice, clock.now_us().div_euclid(1000), &mut sink),
        };
        sink.finish(ended)
    }

    fn choice(&self) -> Result<Choice> {
        let times_ms = self.start.unwrap_or(i64::MIN)..self.end.unwrap_or(i64::MAX);
        ensure!(!times_ms.is_empty(), "--start is not before --end: there is nothing between them");
        let selector =
            |text: &String| Selector::parse(text).with_context(|| format!("--match {text} selects no series"));
        let selectors = self.matches.iter().map(selector).collect::<Result<Vec<_>>>()?;
        // What everything matches costs nothing to leave out.
        let everything = |text: &String| text.split_whitespace().collect::<String>() == r#"{__name__!=""}"#;
        let selectors = if self.matches.iter().any(everything) { Vec::new() } else { selectors };
        Ok(Choice { times_ms, selectors })
    }

    fn source(&self) -> Result<Source> {
        read::check_scheme(&self.source)?;
        if read::is_url(&self.source) {
            return Ok(Source::Remote(Remote::new(
                self.access.agent(&self.source)?,
                &self.source,
                self.source_token()?,
            )));
        }
        if self.source == "-" {
            return Ok(Source::Text(Text::Stdin));
        }
        let path = Path::new(&self.source);
        let kind = path.metadata().with_context(|| format!("{} cannot be read", path.display()))?;
        if kind.is_dir() {
            return Ok(Source::Blocks(Blocks::find(path)?));
        }
        Ok(Source::Text(Text::File(path.to_owned())))
    }

    fn source_token(&self) -> Result<Option<String>> {
        let token = match (&self.source_token_file, &self.source_token_env) {
            (Some(file), _) => config::read(file)?,
            (None, Some(name)) => {
                config::variable(name).with_context(|| format!("environment variable {name} is not set"))?
            }
            (None, None) => return Ok(None),
        };
        Ok(Some(token.trim().to_owned()))
    }

    /// The state of this import, told from others by where from, where to and what.
    fn state(&self) -> Result<State> {
        let mut of = if read::is_url(&self.source) {
            read::split_user(&self.source).0
        } else if self.source == "-" {
            // Whoever pipes something else next time must not have its beginning passed over.
            if self.state.is_none() {
                return Ok(State::none());
            }
            "-".to_owned()
        } else {
            let path = Path::new(&self.source).canonicalize()?;
            let kind = path.metadata()?;
            let modified = kind.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            let version =
                if kind.is_file() { format!(" {} {}", kind.len(), modified.as_millis()) } else { String::new() };
            format!("{}{version}", path.display())
        };
        of.push_str(&format!(" > {}", self.to));
        for (name, time) in [("start", self.start), ("end", self.end)] {
            if let Some(time) = time {
                of.push_str(&format!(" {name}={time}"));
            }
        }
        self.matches.iter().for_each(|text| of.push_str(&format!(" match={text}")));
        State::open(of, self.state.as_deref())
    }

    fn tell(&self, outcome: &Outcome) -> Result<()> {
        let taken = outcome.taken;
        let mut out = io::stdout().lock();
        let what = format!("{} samples, {} histograms, {} exemplars", taken.samples, taken.histograms, taken.exemplars);
        let time = times::show_seconds(outcome.seconds);
        match outcome.series {
            Some(series) => writeln!(out, "{series} series: {what} ({time}); nothing was sent")?,
            None if outcome.nothing_new => writeln!(out, "nothing is left to do: all of it was imported before")?,
            None => writeln!(out, "imported {what} in {time}")?,
        }
        if outcome.refused > 0 || outcome.damaged > 0 {
            bail!(
                "not everything was taken, see above: refused={} left_out={}; to try all of it again, remove the state file",
                outcome.refused,
                outcome.damaged
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
