//! Decodes alerts that are posted, one after the other.
//!
//! Invariants: an alert that is wrong does not cost its neighbours; of a body that is no JSON to its end nothing is taken, because its
//! sender does not know what arrived.

use std::fmt;

use axum::http::StatusCode;
use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{Refused, time};
use crate::{Error, Labels, Mode, alerts::Posted, config::tree::is_label_name};

/// Alerts of one request. Prometheus sends 256 at once; this is what a large one has in all.
const ALERTS_MAX: usize = 250_000;
/// Wrong alerts whose errors are told.
const NAMED_MAX: usize = 10;

/// What was posted.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// What can be read.
    pub posted: Vec<Posted>,
    /// What is wrong with the others.
    pub wrong: Wrong,
}

/// Errors of alerts, the first of them in words.
#[derive(Debug, Default)]
pub(super) struct Wrong {
    named: Vec<String>,
    count: usize,
}

impl Wrong {
    pub fn push(&mut self, why: impl FnOnce() -> String) {
        self.count += 1;
        if self.named.len() < NAMED_MAX {
            self.named.push(why());
        }
    }

    /// The answer, if something is wrong.
    pub fn refused(self) -> Result<(), Refused> {
        let Self { named, count } = self;
        if count == 0 {
            return Ok(());
        }
        let more = count - named.len();
        let more = if more == 0 { String::new() } else { format!("; and {more} more") };
        Err(Refused::bad(format!("{}{more}", named.join("; "))))
    }
}

/// Reads a body.
pub(super) fn read(body: &[u8]) -> Result<Batch, Refused> {
    let batch: Batch = serde_json::from_slice(body)
        .map_err(|error| Refused::bad(format!("the body is not a JSON array of alerts: {error}")))?;
    if batch.posted.len() + batch.wrong.count > ALERTS_MAX {
        let message = format!("these are too many alerts; send less at once alerts_max={ALERTS_MAX}");
        return Err(Refused(StatusCode::PAYLOAD_TOO_LARGE, message));
    }
    Ok(batch)
}

impl<'de> Deserialize<'de> for Batch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Each)
    }
}

struct Each;

impl<'de> Visitor<'de> for Each {
    type Value = Batch;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of alerts")
    }

    /// `null` is what Go makes of no alerts.
    fn visit_unit<E: de::Error>(self) -> Result<Batch, E> {
        Ok(Batch::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Batch, A::Error> {
        let mut batch = Batch::default();
        let mut nth = 0_usize;
        while let Some(raw) = seq.next_element::<&RawValue>()? {
            nth += 1;
            // The rest is read for its syntax alone.
            if nth > ALERTS_MAX {
                batch.wrong.count += 1;
                continue;
            }
            match alert(raw.get()) {
                Ok(posted) => batch.posted.push(posted),
                Err(why) => batch.wrong.push(|| format!("alert {nth} of the body: {why}")),
            }
        }
        Ok(batch)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", expecting = "an alert")]
struct Written {
    labels: Labels,
    annotations: Option<Labels>,
    #[serde(default, deserialize_with = "time::optional")]
    starts_at: Option<i64>,
    #[serde(default, deserialize_with = "time::optional")]
    ends_at: Option<i64>,
    #[serde(rename = "generatorURL")]
    generator_url: Option<String>,
}

fn alert(text: &str) -> Result<Posted, Error> {
    let written: Written = serde_json::from_str(text).map_err(|error| Error::invalid(error.to_string()))?;
    let Written { labels, annotations, starts_at, ends_at, generator_url } = written;
    let annotations = annotations.unwrap_or_default();
    if labels.is_empty() {
        return Err(Error::invalid("an alert needs at least one label"));
    }
    if labels.iter().chain(annotations.iter()).any(|(name, _)| !is_label_name(name, Mode::Fallback)) {
        return Err(Error::invalid("labels and annotations need a name"));
    }
    Ok(Posted {
        labels,
        annotations,
        starts_ms: starts_at,
        ends_ms: ends_at,
        generator_url: generator_url.unwrap_or_default().into(),
    })
}
