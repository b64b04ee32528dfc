//! Asks scheduled queries for those who are told the answers.
//!
//! Called by `telling` for each attempt, on a thread that may wait: nothing is kept of an answer, and one that is told again is asked again, as
//! of the same time. Invariants: a query has the limits of every other; of an answer no more is in memory than a file and a table take.

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

    /// Asks as of a slot's time; links lead to `external_url`. Blocks.
    ///
    /// # Errors
    /// What it means for whoever is to be told that there is no answer.
    pub fn report(&self, slot: &Slot, external_url: &str) -> Result<Report, Verdict> {
        let found = self.scheduled.iter().find(|scheduled| scheduled.schedule.query == slot.query);
        let gone = || Verdict::Refused(format!("the query {} is not scheduled any more", slot.query));
        let Scheduled { title, parameters, .. } = found.ok_or_else(gone)?;
        let asked = async {
            let at_us = slot.at_ms.saturating_mul(1_000);
            let answer = self.engine.saved(&slot.query, parameters, at_us).await?;
            read(answer, format!("{}-{}.csv", slot.query, day(slot))).await
        };
        let report = self.runtime.block_on(asked).map_err(|error| refusal(&error))?;
        let link = link(external_url, &slot.query, parameters);
        Ok(Report { title: title.clone(), time: slot.time(), link, ..report })
    }
}

/// The day of a slot, for the name of its file.
fn day(slot: &Slot) -> String {
    slot.time().chars().take_while(|c| *c != 'T').collect()
}

/// Where a query can be asked again, by those who may.
fn link(external_url: &str, query: &str, parameters: &[(String, String)]) -> String {
    let mut asked = Serializer::new(String::new());
    asked.extend_pairs(parameters).append_pair("format", "csv");
    format!("{external_url}/api/v1/sql/{query}?{}", asked.finish())
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
            return Ok(Report { columns, rows, ..Report::default() });
        }
    }
    bytes.append(&mut encoder.finish()?);
    Ok(Report { columns, rows, count: Some(count), file: Some(File { name, bytes }), ..Report::default() })
}

/// What an error means: asked again, the same query has an answer, or it never has.
fn refusal(error: &Error) -> Verdict {
    let why = format!("the query has no answer: {error}");
    match error.kind {
        ErrorKind::Invalid | ErrorKind::Canceled => Verdict::Refused(why),
        ErrorKind::Execution
        | ErrorKind::Timeout
        | ErrorKind::Overloaded
        | ErrorKind::Unavailable
        | ErrorKind::Internal => Verdict::Failed(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_asks_the_same_question() {
        let parameters =
            [("team", "a&b @here"), ("since", "now-7d")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let expected = "http://gauge.test/api/v1/sql/costs?team=a%26b+%40here&since=now-7d&format=csv";
        assert_eq!(link("http://gauge.test", "costs", &parameters), expected);
        let slot = Slot { query: "costs".into(), at_ms: 1_795_417_200_000 };
        assert_eq!(day(&slot), "2026-11-23");
    }

    #[test]
    fn what_may_have_an_answer_later_is_asked_again() {
        let of = |kind| refusal(&Error::new(kind, "why"));
        assert_eq!(of(ErrorKind::Invalid), Verdict::Refused("the query has no answer: why".to_owned()));
        assert!(matches!(of(ErrorKind::Canceled), Verdict::Refused(_)));
        assert!(matches!(of(ErrorKind::Overloaded), Verdict::Failed(_)));
        assert!(matches!(of(ErrorKind::Timeout), Verdict::Failed(_)));
    }
}
