//! `incident timeline`: what happened, and who was told of it, in one list.
//!
//! Called by the command line; asks SQL over `alerts`, `notifications` and `silences`.

use anyhow::{Result, anyhow};
use clap::Args;

use crate::{sql::Way, times};

pub(crate) const EXAMPLES: &str = "\
Examples:
  streamgauge incident timeline --from 2026-11-28T02:00:00Z --to 2026-11-28T04:00:00Z
  streamgauge incident timeline --from 2026-11-28T02:00:00Z --to 2026-11-28T04:00:00Z --format csv > incident.csv

Each line is a change of an alert, a step of a notification, or a change of a silence.";

/// Options of `streamgauge incident timeline`.
#[derive(Debug, Args)]
pub struct Timeline {
    /// From when on: RFC 3339, or seconds since 1970.
    #[arg(long, value_name = "TIME")]
    from: String,
    /// Until when, and without it.
    #[arg(long, value_name = "TIME")]
    to: String,
    #[command(flatten)]
    way: Way,
}

impl Timeline {
    /// Asks and prints.
    ///
    /// # Errors
    /// If a time is none, or why there is no answer.
    pub fn run(self) -> Result<()> {
        let us = |name: &str, text: &str| {
            let ms = times::parse(text).map_err(|reason| anyhow!("{name}: {reason}"))?;
            Ok::<_, anyhow::Error>(ms.saturating_mul(1000))
        };
        let within = format!(
            "at >= to_timestamp_micros({}) AND at < to_timestamp_micros({})",
            us("--from", &self.from)?,
            us("--to", &self.to)?
        );
        self.way.run(&format!(
            "SELECT at, what, subject, event, detail FROM ( \
               SELECT at, 'alert' AS what, CAST(alertname AS VARCHAR) || ' ' || CAST(fingerprint AS VARCHAR) AS subject, \
                      CAST(state AS VARCHAR) AS event, CAST(reason AS VARCHAR) AS detail \
               FROM alerts WHERE run = '' AND reason <> 'snapshot' AND {within} \
               UNION ALL \
               SELECT at, 'notification', CAST(receiver AS VARCHAR) || ' ' || CAST(group_key AS VARCHAR), CAST(event AS VARCHAR), \
                      CAST(reason AS VARCHAR) || CASE WHEN error = '' THEN '' ELSE ': ' || error END \
                      || CASE WHEN cardinality(\"by\") > 0 THEN ' by ' || array_to_string(\"by\", ', ') ELSE '' END \
               FROM notifications WHERE {within} \
               UNION ALL \
               SELECT at, 'silence', CAST(id AS VARCHAR), CASE WHEN ends_at <= at THEN 'expired' ELSE 'set' END, \
                      CAST(created_by AS VARCHAR) || ': ' || CAST(matchers AS VARCHAR) || ' ' || comment \
               FROM silences WHERE {within} \
             ) ORDER BY at, what, event"
        ))
    }
}
