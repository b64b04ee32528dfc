//! Rows that go before the retention of their dataset is over, by rules of whoever opened storage.
//!
//! A rule selects rows by key, and they go once their day is over by more than the rule's days. Storage knows of a rule what makes
//! it that one and when it is due; which keys of a day it selects is asked when the day's files are merged, or rewritten because
//! another rule is due. Each file of a day's run bears the mark of the rules by which it was made, in the commit that put it in:
//! a crash leaves the file and its mark or neither, and rules that change give another mark.
//!
//! Called by upkeep and its plans. Not here: leaving rows out ([`merge`](crate::merge)), what keys there are.

use std::{error::Error as StdError, sync::Arc};

use arrow::array::RecordBatch;
use futures::future::BoxFuture;
use schemas::Dataset;
use xxhash_rust::xxh3::Xxh3Default;

use super::plan::DAY_MS;
use crate::{Error, ErrorKind, Result, Storage};

/// A rule by which rows go before the retention of their dataset is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrimRule {
    /// What makes it this rule. Files from which the rows of a rule are gone are not asked for rows of one with the same id.
    pub id: Arc<str>,
    /// Days that its rows are kept after their day.
    pub days: u32,
}

/// Rules by which rows go before the retention of their dataset is over, and who knows what they select.
pub trait Trim: Send + Sync {
    /// The rules for a dataset that is partitioned by days, in the order in which they count.
    fn rules(&self, dataset: &'static Dataset) -> Vec<TrimRule>;

    /// Keys of one day of a dataset whose rows go when the rules at `due` are: the two leading sort columns, in their order, each
    /// key once. All rows of the day that are in files have been in a view when this is asked.
    fn keys<'a>(
        &'a self,
        dataset: &'static Dataset,
        partition: &'a str,
        due: &'a [usize],
    ) -> BoxFuture<'a, Result<RecordBatch, Box<dyn StdError + Send + Sync>>>;
}

/// The rules that are due for a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Due {
    /// Where they stand among all.
    pub rules: Vec<usize>,
    /// Stands for them and for those before them that are not due, which may keep what they select.
    pub mark: u64,
}

/// The rules that are due for the day that starts at `day_ms`, if any is.
pub(super) fn due(rules: &[TrimRule], day_ms: i64, now_ms: i64) -> Option<Due> {
    let is_due = |rule: &TrimRule| day_ms + DAY_MS * (i64::from(rule.days) + 1) <= now_ms;
    let due: Vec<usize> = (0..rules.len()).filter(|at| is_due(&rules[*at])).collect();
    let last = *due.last()?;
    let mut mark = Xxh3Default::new();
    for rule in &rules[..=last] {
        mark.update(&rule.id.len().to_le_bytes());
        mark.update(rule.id.as_bytes());
        mark.update(&[u8::from(is_due(rule))]);
    }
    Some(Due { rules: due, mark: mark.digest() })
}

/// Rules as upkeep asks for them.
#[derive(Clone)]
pub(super) struct Rules(Option<Arc<dyn Trim>>);

impl Rules {
    pub(super) fn of(storage: &Storage) -> Self {
        Self(storage.trim().lock().clone())
    }

    /// None any more.
    pub(super) fn suspend(&mut self) {
        self.0 = None;
    }

    pub(super) fn rules(&self, dataset: &'static Dataset) -> Vec<TrimRule> {
        self.0.as_ref().map(|trim| trim.rules(dataset)).unwrap_or_default()
    }

    /// Keys of a day whose rows go.
    pub(super) async fn keys(&self, dataset: &'static Dataset, partition: &str, due: &Due) -> Result<RecordBatch> {
        let Some(trim) = &self.0 else {
            return Err(Error::new(ErrorKind::Internal, "rules are due that are not there"));
        };
        trim.keys(dataset, partition, &due.rules).await.map_err(|error| {
            let message = format!(
                "what the rules of retention select cannot be found; it goes later, dataset={} partition={partition}",
                dataset.name
            );
            Error::new(ErrorKind::Unavailable, message).caused_by(error)
        })
    }
}

impl Storage {
    /// Has upkeep follow rules from now on, until storage closes.
    pub fn trim_by(&self, rules: Arc<dyn Trim>) {
        *self.trim().lock() = Some(rules);
    }
}

#[cfg(test)]
mod tests;
