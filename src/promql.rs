//! The `promql` command: asks a running server, or reads a data folder by itself, and prints series, values, and how they went.
//!
//! Called by `cli`. Both ways print the same: an answer is Prometheus' JSON wherever it comes from, and is read here.
//! Not here: PromQL (`query`), opening a data folder (`folder`).

pub(crate) mod answer;
mod spark;

use std::io::{self, Read, Write};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use query::{When, duration_ms};

use self::answer::Answer;
use crate::{
    app,
    cli::{self, Format},
    client::Client,
    folder::{Folder, told},
    times,
};

/// Longest query that is read from stdin.
const QUERY_BYTES_MAX: u64 = 1 << 20;
/// Longest answer that is taken from a server; it is held to be laid out.
const ANSWER_BYTES_MAX: u64 = 4 << 30;
/// Steps of a range for which none is given, as in Prometheus' own pages.
const STEPS: i64 = 250;

/// Options of `streamgauge promql`.
#[derive(Debug, Args)]
pub struct Promql {
    /// The expression, or `-` to read it from stdin.
    #[arg(value_name = "EXPR")]
    query: String,
    /// At this moment: RFC 3339 or seconds since 1970 [default: now].
    #[arg(long, value_name = "TIME", value_parser = times::parse, conflicts_with_all = ["range", "start", "end", "step"])]
    time: Option<i64>,
    /// Over so long, such as 6h, up to the end.
    #[arg(long, value_name = "DURATION", value_parser = duration, conflicts_with = "start")]
    range: Option<i64>,
    /// From this time on.
    #[arg(long, value_name = "TIME", value_parser = times::parse)]
    start: Option<i64>,
    /// Up to this time [default: now].
    #[arg(long, value_name = "TIME", value_parser = times::parse)]
    end: Option<i64>,
    /// Time between two values of a range, such as 1m [default: a 250th of the range, a second at least].
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    step: Option<i64>,
    /// How an answer is printed; JSON is what the server says, word for word.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    folder: Folder,
    #[command(flatten)]
    client: Client,
}

impl Promql {
    /// Asks and prints; warnings go to stderr.
    ///
    /// # Errors
    /// Why there is no answer; what the server said, in its words.
    pub fn run(self) -> Result<()> {
        let query = self.query()?;
        let range = self.range()?;
        let text = if self.folder.is_given() {
            cli::runtime()?.block_on(self.read(&query, range))?
        } else {
            self.ask(&query, range)?
        };
        let mut out = io::stdout().lock();
        if self.format == Format::Json {
            writeln!(out, "{}", text.trim_end())?;
            return Ok(out.flush()?);
        }
        let answer = Answer::read(&text)?;
        for note in answer.notes() {
            eprintln!("{note}");
        }
        match self.format {
            Format::Csv => answer.csv(&mut out)?,
            Format::Ndjson => answer.ndjson(&mut out)?,
            Format::Table | Format::Json => answer.table(&mut out, range)?,
        }
        Ok(out.flush()?)
    }

    fn query(&self) -> Result<String> {
        if self.query != "-" {
            return Ok(self.query.clone());
        }
        let mut text = String::new();
        let bytes = io::stdin().take(QUERY_BYTES_MAX + 1).read_to_string(&mut text)?;
        ensure!(u64::try_from(bytes)? <= QUERY_BYTES_MAX, "the query is longer than {QUERY_BYTES_MAX} bytes");
        Ok(text)
    }

    /// The times of a query over a range; none of one at a moment.
    fn range(&self) -> Result<Option<When>> {
        let end_ms = self.end.unwrap_or_else(now_ms);
        let start_ms = match (self.start, self.range) {
            (Some(start_ms), _) => start_ms,
            (None, Some(range_ms)) => end_ms.saturating_sub(range_ms),
            (None, None) if self.end.is_some() || self.step.is_some() => {
                bail!("say since when, with --range or --start")
            }
            (None, None) => return Ok(None),
        };
        ensure!(start_ms <= end_ms, "the range ends before it begins");
        let step_ms = self.step.unwrap_or_else(|| ((end_ms - start_ms) / STEPS / 1000 * 1000).max(1000));
        Ok(Some(When { start_ms, end_ms, step_ms, ..When::at(start_ms) }))
    }

    async fn read(&self, query: &str, range: Option<When>) -> Result<String> {
        let engine = self.folder.engine().await?;
        let when = range.unwrap_or_else(|| When::at(self.time.unwrap_or_else(now_ms)));
        let query = engine.parse(query).map_err(told)?;
        if range.is_some() {
            query::check_range(&query, when, &engine).map_err(told)?;
        }
        let found = engine.promql(&query, when).await.map_err(told)?;
        Ok(query::json(found, when.start_ms).collect())
    }

    fn ask(&self, query: &str, range: Option<When>) -> Result<String> {
        let mut form: Vec<(&str, String)> = vec![("query", query.to_owned())];
        let seconds = |ms: i64| answer::seconds(ms).to_string();
        let path = match range {
            Some(When { start_ms, end_ms, step_ms, .. }) => {
                form.extend([("start", seconds(start_ms)), ("end", seconds(end_ms)), ("step", seconds(step_ms))]);
                "/api/v1/query_range"
            }
            None => {
                form.extend(self.time.map(|time_ms| ("time", seconds(time_ms))));
                "/api/v1/query"
            }
        };
        let body = self.client.answered(self.client.post(path)?.send_form(form))?;
        body.into_with_config().limit(ANSWER_BYTES_MAX).read_to_string().context("the answer broke off")
    }
}

fn now_ms() -> i64 {
    app::env().clock.now_us() / 1000
}

/// Milliseconds of a duration that is longer than nothing.
fn duration(text: &str) -> Result<i64, String> {
    let ms = duration_ms("duration", text).map_err(|error| error.to_string())?;
    if ms > 0 { Ok(ms) } else { Err("must be longer than nothing".to_owned()) }
}

#[cfg(test)]
mod tests;
