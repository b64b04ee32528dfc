//! Asks scheduled queries for those who are told the answers.
//!
//! Called by `telling` for each attempt, on a thread that may wait: nothing is kept of an answer, and one that is told again is asked again, as
//! of the same time. Invariants: a query has the limits of every other; of an answer no more is in memory than a file and a table take; a query
//! that has no answer is told as that: at once if it never has one, else when it was asked for an hour.

use alerting::{
    notify::report::{FILE_BYTES_MAX, File, ROWS_MAX, Report},
    outbox::Verdict,
    schedule::Slot,
};
use form_urlencoded::Serializer;
use futures::StreamExt as _;
use query::{
    Answer, Engine, Error, ErrorKind,
    format::{Encoder, Format, texts},
};
use tokio::runtime::Handle;

use crate::config::queries::Scheduled;

/// So long is asked what may still have an answer, and tried to bring its file; then is told what there is, milliseconds.
const ASKED_MS_MAX: i64 = 3_600_000;

/// Scheduled queries, and whom to ask.
pub struct Questions {
    engine: Engine,
    runtime: Handle,
    scheduled: Vec<Scheduled>,
}

impl Questions {
    /// Asks an engine, on a runtime.
    #[must_use]
    pub fn new(engine: Engine, runtime: Handle, scheduled: Vec<Scheduled>) -> Self {
        Self { engine, runtime, scheduled }
    }

    /// Asks as of a slot's time what somebody is owed for some time, milliseconds; links lead to `external_url`. Blocks.
    ///
    /// # Errors
    /// What it means for whoever is to be told that there is nothing to tell yet, or ever.
    pub fn report(&self, slot: &Slot, owed_ms: i64, external_url: &str) -> Result<Report, Verdict> {
        let found = self.scheduled.iter().find(|scheduled| scheduled.schedule.query == slot.query);
        let gone = || Verdict::Refused(format!("the query {} is not scheduled any more", slot.query));
        let Scheduled { schedule, title, parameters, .. } = found.ok_or_else(gone)?;
        let (times, is_late) = (&schedule.times, owed_ms >= ASKED_MS_MAX);
        let asked = async {
            let at_us = slot.at_ms.saturating_mul(1_000);
            let answer = self.engine.saved(&slot.query, parameters, at_us).await?;
            read(answer, format!("{}-{}.csv", slot.query, times.day(slot.at_ms))).await
        };
        let report = self.runtime.block_on(asked).or_else(|error| unanswered(&error, is_late))?;
        let link = link(external_url, &slot.query, parameters);
        Ok(Report { title: title.clone(), time: times.shown(slot.at_ms), link, is_late, ..report })
    }
}

/// Where a query can be asked again: on the page, which asks a browser for a token where there are tokens.
fn link(external_url: &str, query: &str, parameters: &[(String, String)]) -> String {
    let mut asked = Serializer::new(String::new());
    asked.append_pair("saved", query).extend_pairs(parameters);
    format!("{external_url}/sql?{}", asked.finish())
}

/// Reads an answer to its end, or until it is too large for a file.
async fn read(answer: Answer, name: String) -> query::Result<Report> {
    let Answer { schema, mut stream } = answer;
    let columns = schema.fields().iter().map(|field| field.name().clone()).collect();
    let (mut encoder, mut bytes) = Encoder::begin(Format::Csv, &schema)?;
    let (mut rows, mut count) = (Vec::new(), 0);
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(Error::from)?;
        rows.extend(texts(&batch, ROWS_MAX - rows.len())?);
        count += batch.num_rows() as u64;
        bytes.append(&mut encoder.rows(&batch)?);
        if bytes.len() > FILE_BYTES_MAX {
            let lacks_file = Some(format!("the answer is larger than {} MiB", FILE_BYTES_MAX >> 20));
            return Ok(Report { columns, rows, lacks_file, ..Report::default() });
        }
    }
    bytes.append(&mut encoder.finish()?);
    Ok(Report { columns, rows, count: Some(count), file: Some(File { name, bytes }), ..Report::default() })
}

/// What an error means: that there is no answer, or none yet.
fn unanswered(error: &Error, is_late: bool) -> Result<Report, Verdict> {
    let may_pass = match error.kind {
        ErrorKind::Invalid | ErrorKind::Canceled => false,
        ErrorKind::Execution
        | ErrorKind::Timeout
        | ErrorKind::Overloaded
        | ErrorKind::Unavailable
        | ErrorKind::Internal => true,
    };
    if may_pass && !is_late {
        return Err(Verdict::Failed(format!("the query has no answer: {error}")));
    }
    Ok(Report { failure: Some(error.to_string()), ..Report::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_asks_the_same_question() {
        let parameters =
            [("team", "a&b @here"), ("since", "now-7d")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let expected = "http://gauge.test/sql?saved=costs&team=a%26b+%40here&since=now-7d";
        assert_eq!(link("http://gauge.test", "costs", &parameters), expected);
    }

    #[test]
    fn what_may_have_an_answer_later_is_asked_again_for_an_hour() {
        let of = |kind, is_late| unanswered(&Error::new(kind, "why"), is_late);
        let told = Ok(Report { failure: Some("why".to_owned()), ..Report::default() });
        for kind in [ErrorKind::Invalid, ErrorKind::Canceled] {
            assert_eq!(of(kind, false), told);
        }
        for kind in [ErrorKind::Overloaded, ErrorKind::Timeout, ErrorKind::Unavailable] {
            assert_eq!(of(kind, false), Err(Verdict::Failed("the query has no answer: why".to_owned())));
            assert_eq!(of(kind, true), told);
        }
    }
}
