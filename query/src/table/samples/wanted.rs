//! The series that are wanted, in the order of files, each with its number.
//!
//! Made once a read. Sorted rows are searched by walking through both; rows in no order are looked up one by one.

use datafusion::common::{DataFusionError, Result};
use hashbrown::HashMap;

/// No metric that is wanted.
const NONE: u32 = u32::MAX;

/// Series in order of metric and id.
pub(super) struct Wanted {
    /// Each metric, and which of `ids` is its first.
    metrics: Vec<(Box<str>, usize)>,
    ids: Vec<i64>,
    /// Number of each.
    numbers: Vec<u32>,
}

impl Wanted {
    /// Of series, whose numbers are their places.
    pub(super) fn new(series: &[(&str, i64)]) -> Result<Self> {
        let count = u32::try_from(series.len())
            .map_err(|_| DataFusionError::ResourcesExhausted("more series than can be numbered".to_owned()))?;
        let mut numbers: Vec<u32> = (0..count).collect();
        if !series.is_sorted() {
            numbers.sort_unstable_by_key(|number| series[*number as usize]);
        }
        let mut metrics: Vec<(Box<str>, usize)> = Vec::new();
        let mut ids = Vec::with_capacity(series.len());
        for number in &numbers {
            let (metric, id) = series[*number as usize];
            if metrics.last().is_none_or(|(last, _)| **last != *metric) {
                metrics.push((metric.into(), ids.len()));
            }
            ids.push(id);
        }
        Ok(Self { metrics, ids, numbers })
    }

    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Each metric with the ids and numbers of its series, in order.
    pub(super) fn metrics(&self) -> impl Iterator<Item = (&str, &[i64], &[u32])> {
        let ends = self.metrics.iter().skip(1).map(|(_, first)| *first).chain([self.ids.len()]);
        self.metrics
            .iter()
            .zip(ends)
            .map(|((name, first), end)| (name.as_ref(), &self.ids[*first..end], &self.numbers[*first..end]))
    }

    /// Is a metric between two, both inclusive?
    pub(super) fn any_between(&self, least: &str, greatest: &str) -> bool {
        let at = self.metrics.partition_point(|(name, _)| **name < *least);
        self.metrics.get(at).is_some_and(|(name, _)| **name <= *greatest)
    }

    /// For rows in no order.
    pub(super) fn lookup(&self) -> Lookup<'_> {
        let (mut metrics, mut numbers) =
            (HashMap::with_capacity(self.metrics.len()), HashMap::with_capacity(self.len()));
        for (at, (name, ids, of_ids)) in (0..).zip(self.metrics()) {
            metrics.insert(name, at);
            numbers.extend(ids.iter().zip(of_ids).map(|(id, number)| ((at, *id), *number)));
        }
        Lookup { metrics, numbers }
    }
}

/// Finds series one by one.
pub(super) struct Lookup<'a> {
    metrics: HashMap<&'a str, u32>,
    numbers: HashMap<(u32, i64), u32>,
}

impl Lookup<'_> {
    /// What stands for each value of a dictionary of metrics; nothing if none of them is wanted.
    pub(super) fn metrics<'a>(&self, values: impl Iterator<Item = Option<&'a str>>) -> Option<Vec<u32>> {
        let known: Vec<u32> =
            values.map(|name| name.and_then(|name| self.metrics.get(name)).copied().unwrap_or(NONE)).collect();
        known.iter().any(|metric| *metric != NONE).then_some(known)
    }

    /// Number of a series, if it is wanted.
    pub(super) fn number(&self, metric: u32, id: i64) -> Option<u32> {
        if metric == NONE {
            return None;
        }
        self.numbers.get(&(metric, id)).copied()
    }
}
