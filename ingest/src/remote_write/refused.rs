//! Which metrics run into the limits of series: counted in a table of fixed size, shown in `/metrics`, told in the log.
//!
//! Filled from the reports of requests. Invariant: neither a label nor a name that a sender makes up makes the table, the
//! metrics or the log grow.

use super::reject::Reason;

/// Metrics named at a time. Whoever looks for a cause starts with the first; a page of them says no more.
pub(crate) const METRICS_MAX: usize = 20;
/// Bytes of a name that are shown; longer ones are made by machines.
const NAME_BYTES_MAX: usize = 200;
/// The log says it at most so often.
const LOG_EVERY_MS: i64 = 60_000;

/// Series that a request could not begin for a limit.
#[derive(Clone, Debug, Default)]
pub struct Refused {
    /// By the limit of all series.
    pub by_tenant: u64,
    /// By the limit of one metric.
    pub by_metric: u64,
    /// Metrics they would have been of, with their number: the first ones, where there are many.
    pub metrics: Vec<(Box<str>, u64)>,
}

impl Refused {
    pub(crate) fn add(&mut self, metric: &str, reason: Reason) {
        match reason {
            Reason::SeriesLimit => self.by_tenant += 1,
            Reason::MetricLimit => self.by_metric += 1,
            _ => return,
        }
        let name = &metric[..metric.floor_char_boundary(NAME_BYTES_MAX)];
        if let Some((_, count)) = self.metrics.iter_mut().rev().find(|(known, _)| **known == *name) {
            *count += 1;
        } else if self.metrics.len() < METRICS_MAX {
            self.metrics.push((name.into(), 1));
        }
    }

    /// Together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by_tenant + self.by_metric
    }
}

/// The metrics that were refused most, since the start.
#[derive(Debug, Default)]
pub(crate) struct Worst {
    /// A name and how often, at most.
    metrics: Vec<(Box<str>, u64)>,
    /// Refused since the log said so.
    untold: u64,
    told_ms: Option<i64>,
}

impl Worst {
    /// Counts what was refused; `show` is told names with their number, and names that are no more shown with none.
    ///
    /// A name that is new to a full table takes the place and the number of the least one: those that are refused all the
    /// time stay, and a number says how often at most.
    pub(crate) fn add(&mut self, refused: &Refused, mut show: impl FnMut(&str, Option<u64>)) {
        self.untold += refused.total();
        for (name, count) in &refused.metrics {
            let entry = if let Some(at) = self.metrics.iter().position(|(known, _)| known == name) {
                &mut self.metrics[at]
            } else if self.metrics.len() < METRICS_MAX {
                self.metrics.push((name.clone(), 0));
                let last = self.metrics.len() - 1;
                &mut self.metrics[last]
            } else {
                let Some(least) = self.metrics.iter_mut().min_by_key(|(_, count)| *count) else { return };
                show(&least.0, None);
                least.0 = name.clone();
                least
            };
            entry.1 += count;
            show(name, Some(entry.1));
        }
    }

    /// Number to tell in the log now, if it is time to.
    pub(crate) fn tell(&mut self, now_ms: i64) -> Option<u64> {
        let rested = self.told_ms.is_none_or(|told_ms| now_ms.abs_diff(told_ms) >= LOG_EVERY_MS.unsigned_abs());
        if self.untold == 0 || !rested {
            return None;
        }
        self.told_ms = Some(now_ms);
        Some(std::mem::take(&mut self.untold))
    }
}
