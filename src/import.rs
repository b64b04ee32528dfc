//! The `import` command: brings in the history of a Prometheus, and bills.
//!
//! Called by `cli`. A source (`blocks`, `text`, `read`) goes through its series, oldest first, and hands them to `sink`, which makes
//! requests of remote write of them (`encode`), has them sent (`deliver`), notes what was acknowledged (`state`) and shows how far it
//! is (`progress`). Invariants: a source is only read; whatever breaks off can be done again, since the server stores equal samples
//! once. Not here: the formats (`ingest`).

pub mod billing;
mod blocks;
mod deliver;
pub(crate) mod encode;
mod head;
mod labels;
mod progress;
mod read;
mod reference;
mod sink;
mod state;
mod text;

use std::{
    io::{self, Read, Write},
    ops::Range,
    path::PathBuf,
};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Subcommand};
use ingest::remote_read::Matcher;
use query::Selector;
use sha2::{Digest, Sha256};
use storage::Clock;

pub(crate) use self::sink::{Outcome, Sink};
use self::{
    blocks::Blocks,
    deliver::{Deliver, Target},
    labels::Relabel,
    read::Remote,
    state::State,
    text::Text,
};
use crate::{
    address::{self, Address},
    app,
    client::Access,
    config, times,
};

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
Prometheus runs, blocks may be merged away under the import, which then fetches what they were
merged into as well. A snapshot stands still; to take one, start Prometheus with
--web.enable-admin-api, and
  curl -X POST http://127.0.0.1:9090/api/v1/admin/tsdb/snapshot

Blocks lack the labels that Prometheus adds when it sends (`external_labels`): give them with
--label, or what is imported and what is sent become different series. The label that tells
the replicas of an HA pair apart is dropped: with it, an import would have to be elected.

The server takes samples within its retention only: set `storage.retention` as long as
the history before. What it refuses is counted, the first reasons are shown, and the exit
code is 1. Nothing is stored twice: give the same command again, and an import that broke
off goes on where it was; what was refused or could not be read is tried again.";

/// So much of a text on stdin tells it from others.
const BEGIN_BYTES: u64 = 64 << 10;

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
    /// Billing exports of clouds and others.
    #[command(after_help = billing::EXAMPLES)]
    Billing(Box<billing::Billing>),
    /// Accounts: who they belong to. CSV: SubAccountId, Name, Path, Owner, Environment, ValidFrom, ValidUntil.
    Accounts(reference::Reference),
    /// Exchange rates by month. CSV: Month, FromCurrency, ToCurrency, Rate.
    Rates(reference::Reference),
    /// Invoices, which costs must add up to. CSV: InvoiceId, InvoiceIssuerName, BillingAccountId, BillingCurrency, BilledCost.
    Invoices(reference::Reference),
}

/// Sends what a source of this program hands over to a server without tokens, several requests at once; how far it is is not kept.
///
/// # Errors
/// That of the source; why not everything could be sent.
pub(crate) fn send(
    base: &str,
    at_once: usize,
    clock: &Clock,
    source: impl FnOnce(&mut Sink) -> Result<()>,
) -> Result<Outcome> {
    let target = Target { agent: Access::default().agent(base)?, base: base.to_owned(), authorization: None };
    let deliver = Deliver::start(&target, at_once, clock)?;
    let mut sink = Sink::sending(deliver, Relabel::default(), State::none(), clock);
    let ended = source(&mut sink);
    sink.finish(ended)
}

#[derive(Debug, Args)]
struct Prometheus {
    /// Folder, file, `-` for stdin, or address of a Prometheus.
    #[arg(value_name = "PATH|URL")]
    source: String,
    /// Server that the history goes to; user:password@ goes before the host.
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
    /// Label to take off all series; may be given several times, '' keeps all.
    #[arg(long, value_name = "NAME", default_value = "__replica__")]
    drop_label: Vec<String>,
    /// Label to add to the series that lack it; may be given several times.
    #[arg(long, value_name = "NAME=VALUE")]
    label: Vec<String>,
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

/// Where the history is.
enum Place {
    Address(Address),
    Stdin,
    Path(PathBuf),
}

/// What reads it.
enum Source<'a> {
    Blocks(Blocks),
    Text(Text<'a>),
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
        match self.from {
            From::Prometheus(prometheus) => prometheus.run(),
            From::Billing(billing) => billing.run(),
            From::Accounts(file) => file.run(schemas::accounts()),
            From::Rates(file) => file.run(schemas::exchange_rates()),
            From::Invoices(file) => file.run(schemas::invoices()),
        }
    }
}

impl Prometheus {
    fn run(&self) -> Result<()> {
        self.tell(&self.import(io::stdin().lock())?)
    }

    fn import(&self, mut stdin: impl Read) -> Result<Outcome> {
        let choice = self.choice()?;
        let relabel = Relabel::parse(&self.drop_label, &self.label)?;
        let (place, to) = (self.place()?, Address::parse(&self.to, "--to")?);
        let mut begin = Vec::new();
        if matches!(place, Place::Stdin) && self.state.is_some() && !self.dry_run {
            stdin.by_ref().take(BEGIN_BYTES).read_to_end(&mut begin).context("stdin cannot be read")?;
        }
        let digest = format!("sha256:{:x}", Sha256::digest(&begin));
        let source = self.source(&place, io::Cursor::new(begin).chain(stdin))?;
        let clock = app::env().clock;
        let mut sink = if self.dry_run {
            Sink::counting(relabel, &clock)
        } else {
            let state = self.state(&place, &to, digest)?;
            let token = self.access.token()?.map(|token| format!("Bearer {token}"));
            let Address { base, basic } = to;
            let target = Target { agent: self.access.agent(&base)?, base, authorization: token.or(basic) };
            if let Some(path) = state.path() {
                let again = state.progress != state::Progress::default();
                let what = if again { "goes on where it was, by" } else { "keeps how far it is in" };
                eprintln!("this import {what} {}", path.display());
            }
            Sink::sending(Deliver::start(&target, self.concurrency.into(), &clock)?, relabel, state, &clock)
        };
        let ended = match source {
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

    fn place(&self) -> Result<Place> {
        if address::is_meant(&self.source) {
            return Ok(Place::Address(Address::parse(&self.source, "the source")?));
        }
        Ok(if self.source == "-" { Place::Stdin } else { Place::Path(PathBuf::from(&self.source)) })
    }

    fn source<'a>(&self, place: &Place, stdin: impl Read + 'a) -> Result<Source<'a>> {
        let path = match place {
            Place::Address(address) => {
                let agent = self.access.agent(&address.base)?;
                return Ok(Source::Remote(Remote::new(agent, address, self.source_token()?)));
            }
            Place::Stdin => return Ok(Source::Text(Text::Stdin(Box::new(stdin)))),
            Place::Path(path) => path,
        };
        // Who forgot to write the scheme of an address may have written a password.
        let shown = if self.source.contains('@') { "the source".into() } else { path.display().to_string() };
        let kind = path.metadata().with_context(|| format!("{shown} cannot be read"))?;
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

    /// The state of this import, told from others by where from, where to and what. Stdin is known by how it begins.
    fn state(&self, place: &Place, to: &Address, begin: String) -> Result<State> {
        let mut of = match place {
            Place::Address(address) => address.base.clone(),
            // Whoever pipes something else next time must not have its beginning passed over.
            Place::Stdin if self.state.is_none() => return Ok(State::none()),
            Place::Stdin => "-".to_owned(),
            Place::Path(path) => {
                let path = path.canonicalize()?;
                let kind = path.metadata()?;
                let modified = kind.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
                let version =
                    if kind.is_file() { format!(" {} {}", kind.len(), modified.as_millis()) } else { String::new() };
                format!("{}{version}", path.display())
            }
        };
        of.push_str(&format!(" > {}", to.base));
        for (name, time) in [("start", self.start), ("end", self.end)] {
            if let Some(time) = time {
                of.push_str(&format!(" {name}={time}"));
            }
        }
        for (name, texts) in [("match", &self.matches), ("drop", &self.drop_label), ("label", &self.label)] {
            texts.iter().for_each(|text| of.push_str(&format!(" {name}={text}")));
        }
        State::open(of, matches!(place, Place::Stdin).then_some(begin), self.state.as_deref())
    }

    fn tell(&self, outcome: &Outcome) -> Result<()> {
        let taken = outcome.taken;
        let mut out = io::stdout().lock();
        let what = format!("{} samples, {} histograms, {} exemplars", taken.samples, taken.histograms, taken.exemplars);
        let time = times::show_seconds(outcome.seconds);
        match outcome.series {
            _ if outcome.nothing_selected => writeln!(
                out,
                "nothing is selected: the source has no samples from --start to --end of series that --match selects"
            )?,
            Some(series) => writeln!(out, "{series} series: {what} ({time}); nothing was sent")?,
            None if outcome.nothing_new => writeln!(out, "nothing is left to do: all of it was imported before")?,
            None => writeln!(out, "imported {what} in {time}")?,
        }
        if outcome.refused > 0 || outcome.damaged > 0 {
            bail!(
                "not everything was taken, see above; the same command tries again what is missing: refused={} left_out={}",
                outcome.refused,
                outcome.damaged
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
