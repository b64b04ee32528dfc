//! Keeps tables fast and small: merges files, drops what is past its retention, deletes what nothing reads.
//!
//! One task per process, started with storage, and the same by hand. A merge reads files of a view, writes their rows as new files
//! that no table knows yet, and asks the dataset's writer to put those in their place; if one of the old files has gone meanwhile,
//! the new ones are deleted and the plan is made again. So a rewrite can neither lose a row nor double one, and a crash leaves
//! files that the next sweep finds.
//!
//! Invariants: all commits go through the writers; one merge at a time, on one thread, in bounded memory; a file is deleted when a
//! commit removed it long enough ago and no view holds it, or when no commit has named it for a day; tables rest while anything of
//! their root waits for its bucket.
//! Not here: what to merge ([`plan`]), how ([`merge`](crate::merge)), what to delete ([`sweep`]), which rows go early ([`trim`]).

mod plan;
mod sweep;
mod trim;

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use arrow::array::RecordBatch;
use schemas::Dataset;
use serde::Serialize;
use tokio::sync::mpsc;

pub use self::trim::{Trim, TrimRule};
use self::{
    plan::{Plan, When, Work},
    trim::Rules,
};
use crate::{
    DataFile, Delete, Error, ErrorKind, Lane, Latency, Result, Storage,
    commit::{self, Folder, Kind, blocking},
    delta::action::{Add, DAY_RUN},
    folder,
    merge::{self, Cut, Job},
    parquet_file::Encoded,
    writer::{Message, Rewrite},
};

/// Files of this size are few enough for a day, large enough to be read in long stretches, and small enough to be held in memory
/// while they are encoded; one metric may make a larger one, so that it lies in one file as long as that is sensible.
const CUT: Cut = Cut { soft: 128 << 20, hard: 512 << 20 };
/// The least that the same becomes where there is little memory.
const CUT_MIN: Cut = Cut { soft: 16 << 20, hard: 32 << 20 };
/// How often the plans are made; they cost a look at the file lists.
const EVERY: Duration = Duration::from_secs(10);
/// How often files are deleted, in looks.
const SWEEP_EVERY: u32 = 360;
/// Files encoded and not yet put.
const PUTS_MAX: usize = 1;
/// How often a plan is made again because its files went.
const REPLANS_MAX: u32 = 20;

/// What upkeep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Upkept {
    /// Commits that put merged files in the place of others.
    pub merges: u64,
    /// Commits that took out or marked as done what rules of retention select, of files that were merged before.
    pub trims: u64,
    /// Rows left out of merged files by rules of retention.
    pub rows_trimmed: u64,
    /// Partitions past their retention that were dropped.
    pub dropped: u64,
    /// Files that were taken out of the tables.
    pub files_removed: u64,
    /// Files that were put in.
    pub files_added: u64,
    /// Bytes of the former.
    pub bytes_removed: u64,
    /// Bytes of the latter.
    pub bytes_added: u64,
    /// Files deleted from the store.
    pub files_deleted: u64,
}

/// A step of upkeep, for whoever watches.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// The dataset.
    pub dataset: &'static str,
    /// Value of the partition column, if there is one.
    pub partition: Option<String>,
    /// `merge`, `trim` or `drop`.
    pub work: &'static str,
    /// Files that were taken out.
    pub files_removed: usize,
    /// Files that were put in.
    pub files_added: usize,
    /// Files of all datasets that still wait to be rewritten.
    pub files_left: usize,
}

/// What `/metrics` says of upkeep.
#[derive(Clone)]
pub(crate) struct Metrics {
    pub merge_seconds: Latency,
    pub merges_total: prometheus::IntCounterVec,
    pub rewritten_bytes_total: prometheus::IntCounterVec,
    pub dropped_partitions_total: prometheus::IntCounterVec,
    pub trimmed_rows_total: prometheus::IntCounterVec,
    pub deleted_files_total: prometheus::IntCounterVec,
    pub pending_files: prometheus::IntGaugeVec,
    pub failures_total: prometheus::IntCounter,
}

/// State of upkeep between its runs; one run at a time holds it.
pub(crate) struct Upkeep {
    metrics: Metrics,
    retention_days: BTreeMap<String, u32>,
    sweeps: u32,
}

impl Upkeep {
    pub(crate) fn new(metrics: Metrics, retention_days: BTreeMap<String, u32>) -> Self {
        Self { metrics, retention_days, sweeps: 0 }
    }

    /// Works as long as storage is open.
    pub(crate) async fn run(storage: Storage) {
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            if storage.stopping().load(Ordering::Relaxed) {
                return;
            }
            let mut upkeep = storage.upkeep().await;
            let done = upkeep.work(&storage, false, &mut |_| {}).await;
            upkeep.sweeps += 1;
            let swept = if upkeep.sweeps % SWEEP_EVERY == 0 { upkeep.sweep(&storage).await.map(drop) } else { Ok(()) };
            if let Err(error) = done.map(drop).and(swept)
                && !storage.stopping().load(Ordering::Relaxed)
            {
                upkeep.metrics.failures_total.inc();
                tracing::warn!(error = %error.chain(), "upkeep failed; trying again");
            }
        }
    }

    /// Does all there is to do; by hand (`now`), also what could wait. Rules of retention of which it cannot be told what they
    /// select hold nothing else up: the error comes at the end.
    pub(crate) async fn work(
        &mut self,
        storage: &Storage,
        now: bool,
        watch: &mut (dyn FnMut(Step) + Send),
    ) -> Result<Upkept> {
        let mut upkept = Upkept::default();
        let (mut rules, mut failure) = (Rules::of(storage), None);
        for dataset in storage.datasets() {
            let mut replans = 0;
            // What a merge writes would wait as well, and take the room of what cannot.
            while !storage.spools().waits(dataset.name) {
                let plans = self.plans(storage, dataset, &rules, now);
                let pending: usize = plans.iter().map(|plan| plan.files.len()).sum();
                self.metrics
                    .pending_files
                    .with_label_values(&[dataset.name])
                    .set(pending.try_into().unwrap_or(i64::MAX));
                let Some(plan) = plans.into_iter().next() else { break };
                let without = match keys(&rules, dataset, &plan).await {
                    Ok(without) => without,
                    Err(error) => {
                        failure = Some(error);
                        rules.suspend();
                        continue;
                    }
                };
                match self.carry_out(storage, dataset, (&plan, without), &mut upkept).await? {
                    Some(files_added) => watch(Step {
                        dataset: dataset.name,
                        partition: plan.partition.as_deref().map(str::to_owned),
                        work: plan.work.name(),
                        files_removed: plan.files.len(),
                        files_added,
                        files_left: pending - plan.files.len(),
                    }),
                    None if replans < REPLANS_MAX => replans += 1,
                    None => break,
                }
            }
        }
        failure.map_or(Ok(upkept), Err)
    }

    fn plans(&self, storage: &Storage, dataset: &'static Dataset, rules: &Rules, now: bool) -> Vec<Plan> {
        let retention_days = self.retention_days.get(dataset.name).copied().unwrap_or(dataset.retention_days);
        let rules = rules.rules(dataset);
        let when = When { now_ms: storage.env().clock.now_ms(), retention_days, rules: &rules, now };
        plan::plans(dataset, &storage.view(dataset).files, when)
    }

    /// Number of files added; `None` if a file of the plan has gone.
    async fn carry_out(
        &self,
        storage: &Storage,
        dataset: &'static Dataset,
        (plan, without): (&Plan, Option<RecordBatch>),
        upkept: &mut Upkept,
    ) -> Result<Option<usize>> {
        let start_us = storage.env().clock.now_us();
        let folder = Folder { dataset, store: storage.store(), root: folder::table_root(storage.tenant(), dataset) };
        let (files, marked) = touched(dataset, plan, without.as_ref())?;
        let (adds, rows_trimmed) = match kind(plan, &files) {
            Some(kind) => merged(storage, &folder, (plan, files.clone()), kind, without).await?,
            None => (Vec::new(), 0),
        };
        let removes = files.iter().map(|file| folder.log_path(file)).collect();
        let mark = |file: &Arc<DataFile>| Some((folder.log_path(file), plan.due.as_ref()?.mark));
        let marks = marked.iter().filter_map(mark).collect();
        let (files_added, bytes_added) = (adds.len(), adds.iter().map(Add::bytes).sum::<u64>());
        let put: Vec<String> = adds.iter().map(|add| add.path.clone()).collect();
        let deletes = plan.work == Work::Drop || rows_trimmed > 0;
        let operation = if deletes { "DELETE" } else { "OPTIMIZE" };
        let rewrite = Rewrite { operation, rearranges: !deletes, adds, removes, marks };
        let committed = storage.ask(dataset.name, |answer| Message::Rewrite(rewrite, answer)).await?;
        if !committed {
            discard(&folder, put).await;
            return Ok(None);
        }
        let name = [dataset.name];
        match plan.work {
            Work::Drop => {
                upkept.dropped += 1;
                self.metrics.dropped_partitions_total.with_label_values(&name).inc();
            }
            Work::Trim => upkept.trims += 1,
            Work::Gather(..) | Work::Whole => {
                upkept.merges += 1;
                self.metrics.merges_total.with_label_values(&name).inc();
                self.metrics.merge_seconds.observe_since(start_us);
            }
        }
        self.metrics.rewritten_bytes_total.with_label_values(&name).inc_by(bytes_added);
        self.metrics.trimmed_rows_total.with_label_values(&name).inc_by(rows_trimmed);
        upkept.rows_trimmed += rows_trimmed;
        upkept.files_removed += files.len() as u64;
        upkept.files_added += files_added as u64;
        upkept.bytes_removed += files.iter().map(|file| file.size).sum::<u64>();
        upkept.bytes_added += bytes_added;
        tracing::debug!(
            dataset = dataset.name,
            partition = plan.partition.as_deref(),
            files = plan.files.len(),
            rows_trimmed,
            "upkept"
        );
        Ok(Some(files_added))
    }

    /// Deletes what nothing reads.
    pub(crate) async fn sweep(&self, storage: &Storage) -> Result<u64> {
        let mut deleted = 0;
        for dataset in storage.datasets().into_iter().filter(|dataset| !storage.spools().waits(dataset.name)) {
            let folder =
                Folder { dataset, store: storage.store(), root: folder::table_root(storage.tenant(), dataset) };
            let files = match sweep::table(storage, &folder).await {
                // The bucket went away meanwhile, and then nothing is deleted from it.
                Err(_) if storage.spools().waits(dataset.name) => continue,
                swept => swept?,
            };
            self.metrics.deleted_files_total.with_label_values(&[dataset.name]).inc_by(files);
            deleted += files;
        }
        Ok(deleted)
    }
}

/// Keys of the rows that a plan leaves out, if rules are due.
async fn keys(rules: &Rules, dataset: &'static Dataset, plan: &Plan) -> Result<Option<RecordBatch>> {
    match (&plan.due, &plan.partition) {
        (Some(due), Some(partition)) => Ok(Some(rules.keys(dataset, partition, due).await?)),
        _ => Ok(None),
    }
}

type Files = Vec<Arc<DataFile>>;

/// Files of a plan that are read or dropped, and those that only get a mark, as they hold no row that goes.
fn touched(dataset: &'static Dataset, plan: &Plan, without: Option<&RecordBatch>) -> Result<(Files, Files)> {
    match (plan.work, without) {
        (Work::Trim, Some(keys)) => {
            let delete = Delete { keys: keys.clone(), start_us: i64::MIN, end_us: i64::MAX };
            let holds = commit::may_hold(dataset, &delete)?;
            Ok(plan.files.iter().cloned().partition(|file| holds(file)))
        }
        _ => Ok((plan.files.clone(), Vec::new())),
    }
}

/// What the files are that a plan's files become; `None` if there will be none.
fn kind(plan: &Plan, files: &Files) -> Option<Kind> {
    let seqs = files.iter().map(|file| file.seq);
    let trimmed = plan.due.as_ref().map(|due| due.mark);
    match plan.work {
        Work::Drop => None,
        Work::Gather(Lane::InOrder, level) => Some(Kind { lane: Lane::InOrder, seq: seqs.min()?, level, trimmed }),
        Work::Gather(Lane::Late, level) => Some(Kind { lane: Lane::Late, seq: seqs.max()?, level, trimmed }),
        Work::Whole | Work::Trim => Some(Kind { lane: Lane::InOrder, seq: seqs.max()?, level: DAY_RUN, trimmed }),
    }
}

/// Merges files of a plan into files that no table knows yet; gives the number of rows that were left out, too.
async fn merged(
    storage: &Storage,
    folder: &Folder,
    (plan, files): (&Plan, Files),
    kind: Kind,
    without: Option<RecordBatch>,
) -> Result<(Vec<Add>, u64)> {
    let (encoded, mut to_put) = mpsc::channel::<Encoded>(PUTS_MAX);
    let (dataset, store) = (folder.dataset, Arc::clone(&folder.store));
    let (stopping, cut) = (Arc::clone(storage.stopping()), cut(storage.head_bytes_max()));
    let work = blocking(move || {
        let job = Job { cut, stopping: &stopping, without };
        merge::merge_files(dataset, &store, &files, job, |file| encoded.blocking_send(file).map_err(|_| stopped()))
    });
    let put = async {
        let mut adds = Vec::new();
        while let Some(file) = to_put.recv().await {
            adds.push(folder.put(plan.partition.as_deref(), kind, &file, storage.env()).await);
        }
        storage.env().probe.reach("merge_put");
        adds
    };
    let (merged, adds) = tokio::join!(work, put);
    match merged {
        Ok(left_out) => Ok((adds, left_out)),
        Err(error) => {
            discard(folder, adds.into_iter().map(|add| add.path).collect()).await;
            Err(error)
        }
    }
}

/// Where files are cut: one is encoded while the one before is put, and both may take as much as all rows that are not in files.
fn cut(head_bytes_max: usize) -> Cut {
    Cut { soft: (head_bytes_max / 4).clamp(CUT_MIN.soft, CUT.soft), hard: head_bytes_max.clamp(CUT_MIN.hard, CUT.hard) }
}

/// Deletes files that no commit will name, or leaves them to a later sweep.
async fn discard(folder: &Folder, log_paths: Vec<String>) {
    if let Err(error) = sweep::delete(folder, log_paths).await {
        tracing::debug!(dataset = folder.dataset.name, error = %error.chain(), "files of no use are deleted later");
    }
}

/// Upkeep ends early because storage closes.
fn stopped() -> Error {
    Error::new(ErrorKind::Unavailable, "the server is stopping; upkeep goes on at the next start")
}

#[cfg(test)]
mod tests;
