//! `rules backtest` and `rules replay`: what rules would have done, asked of a server or found out over a data folder, and printed.
//!
//! Called by the command line. Both ways give the same news, which are read here: progress goes to stderr if somebody looks, what came of
//! it to stdout. Not here: how rules are replayed (`glue::replay`).

use std::{
    fs,
    io::{self, BufRead, BufReader, IsTerminal, Write},
    path::PathBuf,
    sync::Arc,
};

use alerting::replay::Tally;
use anyhow::{Context, Result, anyhow, bail};
use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, StringArray},
    datatypes::{Field, Schema},
};
use clap::Args;
use query::format::{Encoder, table};
use serde_json::json;

use crate::{
    cli::{self, Format},
    client::Client,
    folder::{Folder, told},
    glue::replay::{self, Asked, Ended, File, Fired, News},
    http::replay::{Backtest as OfFiles, OfRun},
    times,
};

pub(crate) const BACKTEST_EXAMPLES: &str = "\
Examples:
  streamgauge rules backtest new.yaml --from 2026-11-01T00:00:00Z --to 2026-11-28T00:00:00Z
  streamgauge rules backtest rules/*.yaml --from 2026-11-27T00:00:00Z --to 2026-11-28T00:00:00Z --each
  streamgauge rules backtest new.yaml --from 1795737600 --to 1795824000 --data-dir ./streamgauge-data --format csv

Evaluates rules that need not be in force over what is stored, at their slots, and says what would have fired, how often and
for how long, and what receivers would have been sent. Nothing is written, nobody is told. What one rule records others of
these files find. Alerts begin when the time does, as if nothing had been known before.";

pub(crate) const REPLAY_EXAMPLES: &str = "\
Examples:
  streamgauge rules replay --from 2026-11-27T00:00:00Z --to 2026-11-28T00:00:00Z
  streamgauge rules replay --group disks --run after-the-move --from 2026-11-27T00:00:00Z --to 2026-11-28T00:00:00Z
  streamgauge sql \"SELECT at, state, labels FROM alerts WHERE run = 'after-the-move' ORDER BY at\"

Does with the rules in force what `rules backtest` does with files, and writes what would have become of alerts into the table
`alerts` under the name of the run, beside what happened (`run = ''`). Nobody is told, no series is written.";

/// Longest line of an answer: what came of some thousands of rules.
const LINE_BYTES_MAX: u64 = 256 << 20;

/// Options of `streamgauge rules backtest`.
#[derive(Debug, Args)]
pub struct Backtest {
    /// Files with rules.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Pass over fields that are not known.
    #[arg(long)]
    ignore_unknown_fields: bool,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    folder: Folder,
    #[command(flatten)]
    client: Client,
}

/// Options of `streamgauge rules replay`.
#[derive(Debug, Args)]
pub struct Replay {
    /// Only groups of this name; may be given several times.
    #[arg(long = "group", value_name = "NAME")]
    groups: Vec<String>,
    /// Only rules of this name; may be given several times.
    #[arg(long = "rule", value_name = "NAME")]
    rules: Vec<String>,
    /// Name of the run [default: one is made].
    #[arg(long, value_name = "NAME")]
    run: Option<String>,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    client: Client,
}

/// Over which time, and how it is printed.
#[derive(Debug, Args)]
struct How {
    /// From when on: RFC 3339, or seconds since 1970.
    #[arg(long, value_name = "TIME")]
    from: String,
    /// Until when, and without it.
    #[arg(long, value_name = "TIME")]
    to: String,
    /// Print each firing instead of what each rule comes to.
    #[arg(long)]
    each: bool,
    /// How it is printed; JSON is all of it in one object, ndjson what is told as it goes.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

impl Backtest {
    /// Evaluates, and prints what came of it.
    ///
    /// # Errors
    /// If a file is wrong, or why there is no answer.
    pub fn run(self) -> Result<()> {
        let mut files = Vec::new();
        for path in &self.files {
            let name = path.display().to_string();
            files.push(File { text: fs::read_to_string(path).with_context(|| name.clone())?, name });
        }
        let mut printer = Printer::new(&self.how);
        if self.folder.is_given() {
            self.read(&files, &mut printer)?;
            return printer.end();
        }
        let How { from, to, .. } = &self.how;
        let (from, to) = (from.clone(), to.clone());
        let asked = OfFiles { from, to, files, ignore_unknown_fields: self.ignore_unknown_fields };
        follow(&self.client, "/api/v1/rules/backtest", &json!(asked), &mut printer)
    }

    /// Over a data folder, without a server.
    fn read(&self, files: &[File], printer: &mut Printer) -> Result<()> {
        let settings = self.folder.settings()?.alerting;
        let groups = replay::groups(files, self.ignore_unknown_fields, settings.evaluation_interval_ms);
        let groups = groups.map_err(|wrong| anyhow!("{wrong}"))?;
        let asked = Asked {
            groups,
            from_ms: times::parse(&self.how.from).map_err(|reason| anyhow!("--from: {reason}"))?,
            to_ms: times::parse(&self.how.to).map_err(|reason| anyhow!("--to: {reason}"))?,
            query_offset_ms: settings.query_offset_ms,
            external_labels: settings.external_labels,
            external_url: settings.external_url.unwrap_or_default(),
        };
        let runtime = cli::runtime()?;
        let engine = runtime.block_on(self.folder.engine())?;
        let mut failed = None;
        let mut tell = |news: News| printer.take(news).map_err(|error| failed = Some(error)).is_ok();
        let ended = replay::replay((&engine, runtime.handle()), &asked, None, None, &mut tell);
        if let Some(error) = failed {
            return Err(error);
        }
        printer.take(News::Ended(Box::new(ended?)))
    }
}

impl Replay {
    /// Replays, and prints what came of it.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn run(self) -> Result<()> {
        let Self { groups, rules, run, how, client } = self;
        let mut printer = Printer::new(&how);
        let (from, to) = (how.from.clone(), how.to.clone());
        let asked = OfRun { from, to, groups, rules, run: run.unwrap_or_default() };
        follow(&client, "/api/v1/rules/replay", &json!(asked), &mut printer)
    }
}

/// Asks a server, and takes its news until it has ended.
fn follow(client: &Client, path: &str, asked: &serde_json::Value, printer: &mut Printer) -> Result<()> {
    let request = client.post(path)?.header("Content-Type", "application/json");
    let body = client.answered(request.send(asked.to_string()))?;
    let mut lines = BufReader::new(body.into_with_config().limit(u64::MAX).reader());
    loop {
        let mut line = String::new();
        let bytes = io::Read::take(&mut lines, LINE_BYTES_MAX).read_line(&mut line).context("the answer broke off")?;
        if bytes == 0 {
            return printer.end();
        }
        printer.take(serde_json::from_str(&line).context("no answer of ours")?)?;
    }
}

/// Prints news as they come, or what they come to.
struct Printer {
    format: Format,
    each: bool,
    is_watched: bool,
    fired: Vec<Fired>,
    ended: Option<Ended>,
}

impl Printer {
    fn new(how: &How) -> Self {
        let is_watched = io::stderr().is_terminal();
        Self { format: how.format, each: how.each, is_watched, fired: Vec::new(), ended: None }
    }

    fn take(&mut self, news: News) -> Result<()> {
        if self.format == Format::Ndjson {
            writeln!(io::stdout().lock(), "{}", json!(news))?;
        }
        match news {
            News::Progress { done, total, at_ms } if self.is_watched => {
                let percent = done.saturating_mul(100) / total.max(1);
                write!(io::stderr(), "\r{percent:>3} %  {}", times::show(at_ms))?;
            }
            News::Progress { .. } => {}
            News::Firing(fired) => self.fired.push(fired),
            News::Ended(ended) => self.ended = Some(*ended),
            News::Failed(reason) => {
                self.clear();
                bail!("{reason}");
            }
        }
        Ok(())
    }

    /// Takes progress from the screen.
    fn clear(&self) {
        if self.is_watched {
            eprint!("\r{:40}\r", "");
        }
    }

    fn end(&mut self) -> Result<()> {
        self.clear();
        let ended = self.ended.take().context("the answer broke off before the end: the server may have stopped")?;
        let mut out = io::stdout().lock();
        match (self.format, self.each) {
            (Format::Ndjson, _) => {}
            (Format::Json, _) => writeln!(out, "{}", json!({ "ended": ended, "firings": self.fired }))?,
            (format, true) => print(&mut out, &firings(&self.fired)?, format)?,
            (format, false) => {
                print(&mut out, &rules(&ended.rules)?, format)?;
                if format == Format::Table && !ended.told.is_empty() {
                    print(&mut out, &receivers(&ended)?, format)?;
                }
            }
        }
        out.flush()?;
        notes(&ended);
        Ok(())
    }
}

/// What is to be known beside the numbers, on stderr.
fn notes(ended: &Ended) {
    for rule in &ended.rules {
        if let Some((at_ms, why)) = &rule.last_failure {
            let Tally { group, rule, failures, evaluations, .. } = rule;
            let at = times::show(*at_ms);
            eprintln!(
                "group {group:?}, rule {rule:?}: {failures} of {evaluations} evaluations failed, last at {at}: {why}"
            );
        }
        if let Some(warning) = &rule.warning {
            eprintln!("group {:?}, rule {:?}: {warning}", rule.group, rule.rule);
        }
    }
    ended.warnings.iter().for_each(|warning| eprintln!("{warning}"));
    if ended.firings_left > 0 {
        eprintln!("{} more firings are counted and not told one by one", ended.firings_left);
    }
    if let Some(run) = &ended.run {
        eprintln!("changes of alerts are in the table `alerts`, where run = '{run}'");
    }
}

/// A table of texts and numbers.
fn batch(columns: Vec<(&str, ArrayRef)>) -> Result<RecordBatch> {
    let fields: Vec<Field> =
        columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

fn texts<T>(rows: &[T], text: impl Fn(&T) -> String) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(rows.iter().map(text)))
}

fn numbers<T>(rows: &[T], number: impl Fn(&T) -> u64) -> ArrayRef {
    let number = |row: &T| i64::try_from(number(row)).unwrap_or(i64::MAX);
    Arc::new(rows.iter().map(number).collect::<Int64Array>())
}

fn time(ms: Option<i64>) -> String {
    ms.map(times::show).unwrap_or_default()
}

fn rules(rules: &[Tally]) -> Result<RecordBatch> {
    let seconds = |ms: i64| ms.max(0).unsigned_abs() / 1000;
    batch(vec![
        ("group", texts(rules, |rule| rule.group.clone())),
        ("rule", texts(rules, |rule| rule.rule.clone())),
        ("kind", texts(rules, |rule| if rule.is_alert { "alert" } else { "record" }.to_owned())),
        ("firings", numbers(rules, |rule| rule.firings)),
        ("alerts", numbers(rules, |rule| rule.alerts)),
        ("at_once", numbers(rules, |rule| rule.at_once)),
        ("firing_seconds", numbers(rules, |rule| seconds(rule.firing_ms))),
        ("any_firing_seconds", numbers(rules, |rule| seconds(rule.any_firing_ms))),
        ("lapsed", numbers(rules, |rule| rule.lapsed)),
        ("first", texts(rules, |rule| time(rule.first_ms))),
        ("last", texts(rules, |rule| time(rule.last_ms))),
        ("samples", numbers(rules, |rule| rule.written)),
        ("evaluations", numbers(rules, |rule| rule.evaluations)),
        ("failures", numbers(rules, |rule| rule.failures)),
    ])
}

fn firings(fired: &[Fired]) -> Result<RecordBatch> {
    let labels = |fired: &Fired| {
        let labels = fired.firing.labels.iter().map(|(name, value)| format!("{name}={}", promql::quoted(value)));
        format!("{{{}}}", labels.collect::<Vec<_>>().join(", "))
    };
    let seconds = |fired: &Fired| (fired.firing.to_ms - fired.firing.from_ms).max(0).unsigned_abs() / 1000;
    batch(vec![
        ("from", texts(fired, |fired| times::show(fired.firing.from_ms))),
        (
            "to",
            texts(fired, |fired| if fired.firing.goes_on { String::new() } else { times::show(fired.firing.to_ms) }),
        ),
        ("seconds", numbers(fired, seconds)),
        ("group", texts(fired, |fired| fired.group.clone())),
        ("rule", texts(fired, |fired| fired.rule.clone())),
        ("labels", texts(fired, labels)),
    ])
}

fn receivers(ended: &Ended) -> Result<RecordBatch> {
    let told = &ended.told;
    batch(vec![
        ("receiver", texts(told, |told| told.receiver.clone())),
        ("kind", texts(told, |told| told.kind.clone())),
        ("messages", numbers(told, |told| told.messages)),
        ("repeats", numbers(told, |told| told.repeats)),
        ("groups", numbers(told, |told| told.groups)),
    ])
}

fn print(out: &mut impl Write, batch: &RecordBatch, format: Format) -> Result<()> {
    let schema = batch.schema();
    if format == Format::Table {
        return Ok(writeln!(out, "{}", table(&schema, std::slice::from_ref(batch)).map_err(told)?)?);
    }
    let (mut encoder, begun) = Encoder::begin(query::format::Format::Csv, &schema).map_err(told)?;
    out.write_all(&begun)?;
    out.write_all(&encoder.rows(batch).map_err(told)?)?;
    Ok(out.write_all(&encoder.finish().map_err(told)?)?)
}
