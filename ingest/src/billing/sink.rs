//! Where rows of a load go: into staged files of `costs`, and summed up into those of `costs_daily` and `costs_hourly`.
//!
//! Called by loads with each batch, and, for sums alone, when the rules of tags have changed. Invariant: nothing of it is seen before all
//! of it is appended. Not here: what sums are (`summary`), how files are staged (`storage`).

use std::sync::Arc;

use arrow::{
    array::{DictionaryArray, RecordBatch},
    datatypes::Int32Type,
};
use schemas::Dataset;
use storage::{Batch, Staging, Write};

use super::{
    Inner, Request, Tags,
    changes::{Changes, Side},
    covers::Covers,
    summary,
};
use crate::Result;

const HOUR_US: i64 = 3_600_000_000;
const DAY_US: i64 = 24 * HOUR_US;

/// Mandatory tags of rows, each a column.
type FoundTags = [DictionaryArray<Int32Type>];

/// Where rows go.
pub(super) struct Sink<'a> {
    inner: &'a Inner,
    /// Rules in force when the load began.
    tags: Arc<Tags>,
    /// Costs, counted or not; none if nothing is to be loaded.
    costs: Option<Staging>,
    /// Sums of what is counted.
    sums: Vec<Sums>,
    changes: Changes,
    pub covers: Covers,
    is_counted: bool,
}

/// Sums of one granularity.
pub(super) struct Sums {
    dataset: &'static Dataset,
    summary: summary::Summary,
    staging: Option<Staging>,
}

impl<'a> Sink<'a> {
    pub(super) fn new(inner: &'a Inner, scope: &str, request: &Request) -> Self {
        let (dry_run, is_counted) = (request.dry_run, !request.reading.uncounted);
        let stage = |dataset| (!dry_run).then(|| inner.storage.stage(dataset));
        Self {
            inner,
            tags: inner.tags.now(),
            costs: stage(if is_counted { schemas::costs() } else { schemas::costs_uncounted() }),
            sums: if is_counted { Sums::both(scope, stage) } else { Vec::new() },
            changes: Changes::default(),
            covers: Covers::default(),
            is_counted,
        }
    }

    pub(super) async fn add(&mut self, rows: RecordBatch) -> Result<()> {
        if self.is_counted {
            self.covers.add(&rows);
            let (tags, tag_rules) = (self.tags.of_rows(&rows)?, self.tags.version());
            for sums in &mut self.sums {
                if let Some(handed) = sums.add(&rows, &tags, tag_rules).await? {
                    self.changes.add(&handed, Side::New, None)?;
                }
            }
        }
        if let Some(costs) = &mut self.costs {
            costs.push(rows).await?;
        }
        Ok(())
    }

    /// What the rows come to, once all are added.
    pub(super) async fn changes(&mut self) -> Result<Changes> {
        for sums in &mut self.sums {
            if let Some(handed) = sums.take(self.tags.version()).await? {
                self.changes.add(&handed, Side::New, None)?;
            }
        }
        Ok(std::mem::take(&mut self.changes))
    }

    /// The files, in the place of those of the scope, wherever it has some.
    pub(super) async fn replacements(self, scope: &str) -> Result<Vec<Batch>> {
        let storage = &self.inner.storage;
        let sums = self.sums.into_iter().filter_map(|sums| sums.staging);
        let mut staged: Vec<Staging> = self.costs.into_iter().chain(sums).collect();
        let [costs, uncounted] = [schemas::costs(), schemas::costs_uncounted()];
        // What was counted and is not any more, or the other way round, leaves where it was.
        let others = if self.is_counted {
            vec![uncounted]
        } else {
            vec![costs, schemas::costs_daily(), schemas::costs_hourly()]
        };
        let has_some = |dataset: &&'static Dataset| {
            storage.view(dataset).files.iter().any(|file| file.scope(dataset) == Some(scope))
        };
        staged.extend(others.into_iter().filter(has_some).map(|dataset| storage.stage(dataset)));
        let mut batches = Vec::new();
        for staging in staged {
            batches.push(Batch { dataset: staging.dataset(), write: Write::Replace(staging.finish(scope).await?) });
        }
        Ok(batches)
    }
}

impl Sums {
    /// Sums by day and by hour, staged by `stage`.
    pub(super) fn both(scope: &str, stage: impl Fn(&'static Dataset) -> Option<Staging>) -> Vec<Self> {
        let sums = |(dataset, step_us)| {
            let summary = summary::Summary::new(dataset, step_us, scope);
            Self { dataset, summary, staging: stage(dataset) }
        };
        [(schemas::costs_daily(), DAY_US), (schemas::costs_hourly(), HOUR_US)].map(sums).into()
    }

    /// Adds rows of `costs` with their tags, and gives what there is no room for any more.
    pub(super) fn fold(&mut self, rows: &RecordBatch, tags: &FoundTags, rules: i64) -> Result<Option<RecordBatch>> {
        self.summary.add(rows, tags, rules)
    }

    /// Adds rows of `costs` with their tags; gives sums by day that were handed on, because there were too many.
    pub(super) async fn add(
        &mut self,
        rows: &RecordBatch,
        tags: &FoundTags,
        rules: i64,
    ) -> Result<Option<RecordBatch>> {
        match self.fold(rows, tags, rules)? {
            Some(full) => self.hand_on(full).await,
            None => Ok(None),
        }
    }

    /// Hands the rest on; gives it, if it is by day.
    async fn take(&mut self, rules: i64) -> Result<Option<RecordBatch>> {
        let rest = self.summary.take(rules)?;
        self.hand_on(rest).await
    }

    /// Hands the rest on and gives what is staged.
    pub(super) async fn finish(mut self, rules: i64) -> Result<(&'static Dataset, Option<Staging>)> {
        self.take(rules).await?;
        Ok((self.dataset, self.staging))
    }

    pub(super) async fn hand_on(&mut self, rows: RecordBatch) -> Result<Option<RecordBatch>> {
        if rows.num_rows() == 0 {
            return Ok(None);
        }
        let is_daily = self.dataset.name == schemas::costs_daily().name;
        let daily = is_daily.then(|| rows.clone());
        if let Some(staging) = &mut self.staging {
            staging.push(rows).await?;
        }
        Ok(daily)
    }
}
