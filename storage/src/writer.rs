//! One task per dataset: applies records to the head, publishes views, and commits.
//!
//! Fed by the log, in LSN order. Owns the table and the head. At most one commit and one sort are
//! under way, each on a task of its own, so that records are applied meanwhile.
//!
//! Invariants: an ack resolves only after the view that holds its rows is published; rows leave the head in the same swap that
//! brings their files in; a delete or a replacement stands between the records before it, which are committed first, and those
//! after it, which wait. What an append with a replacement does to several datasets is published in one moment.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use schemas::Dataset;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use crate::{
    Delete, Env, Error, ErrorKind, Latency, Replacement, Result, Rows, View, Write, commit,
    delta::{Change, Table, action::Add},
    error::Failure,
    head::{Head, Unsorted},
    ticket::{Moment, Slot, Ticket},
    wal::Segments,
};

/// What a writer is told.
pub(crate) enum Message {
    /// One batch of an append.
    Record(Record),
    /// Resolves when everything before it is visible.
    Barrier(Arc<Ticket>),
    /// Resolves when everything before it is committed.
    Flush(oneshot::Sender<Result<()>>),
    /// Files in place of others, with their rows or fewer; false if one of those is gone.
    Rewrite(Rewrite, oneshot::Sender<Result<bool>>),
    /// Which files that were removed before a time (ms) does no view read any more?
    Garbage(i64, oneshot::Sender<Result<Vec<String>>>),
    /// Removed files whose bytes are gone.
    Forget(Vec<String>),
    /// Which of these files does the table know nothing of?
    Unknown(Vec<String>, oneshot::Sender<Result<Vec<String>>>),
}

/// Files that take the place of others.
#[derive(Debug)]
pub(crate) struct Rewrite {
    /// Delta's name of the operation.
    pub operation: &'static str,
    /// Do the new files hold all rows of the old ones?
    pub rearranges: bool,
    pub adds: Vec<Add>,
    /// Log paths.
    pub removes: Vec<String>,
    /// Files that stay and get a mark, by log path.
    pub marks: BTreeMap<String, u64>,
}

/// What an append does to the dataset, durable at a position of the log.
pub(crate) struct Record {
    pub position: i64,
    pub writes: Vec<Write>,
    pub ticket: Arc<Ticket>,
}

/// What all writers share.
pub(crate) struct Shared {
    pub env: Env,
    /// The log as a source: `wal/<uuid>`.
    pub source: Arc<str>,
    pub segments: Arc<Segments>,
    pub disk: Arc<dyn crate::disk::Disk>,
    /// Committed log position by dataset; decides what the log may forget.
    pub committed: Mutex<BTreeMap<&'static str, i64>>,
    pub head_bytes: AtomicUsize,
    pub head_bytes_max: usize,
    pub flush_bytes: usize,
    pub flush_age_ms: i64,
    /// Held while views of several datasets are swapped as one.
    pub moment: Moment,
    /// Why writes are refused, once they are.
    pub failure: Arc<Failure>,
    pub metrics: Metrics,
}

/// What `/metrics` says of writers.
#[derive(Clone)]
pub(crate) struct Metrics {
    pub commit_seconds: Latency,
    pub commits_total: prometheus::IntCounterVec,
    pub committed_rows_total: prometheus::IntCounterVec,
    pub head_bytes: prometheus::IntGauge,
    pub files: prometheus::IntGaugeVec,
    pub file_bytes: prometheus::IntGaugeVec,
}

/// The task of one dataset.
pub(crate) struct Writer {
    dataset: &'static Dataset,
    shared: Arc<Shared>,
    /// Away while a commit is under way.
    table: Option<Table>,
    head: Head,
    view: Slot,
    /// Newest applied position of the log.
    applied: i64,
    committing: Option<JoinHandle<(Table, Committed)>>,
    checkpointing: Option<JoinHandle<()>>,
    sorting: Option<JoinHandle<(Unsorted, Result<Vec<Rows>>)>>,
    flushes: Vec<(i64, oneshot::Sender<Result<()>>)>,
    /// What waits for the table while a commit has it.
    waiting: VecDeque<Message>,
}

/// What a commit on a task of its own did.
enum Committed {
    /// Frozen rows went into files.
    Rows(Result<()>),
    /// Files took the place of others.
    Files(Result<()>, oneshot::Sender<Result<bool>>),
}

/// Messages applied before the view is published anew.
const MESSAGES_MAX: usize = 256;
/// A head is committed early once all heads together take this share of their budget.
const PRESSURE_PERCENT: usize = 50;

impl Writer {
    pub(crate) fn new(table: Table, view: Slot, shared: Arc<Shared>) -> Self {
        let applied = table.position(&shared.source);
        shared.committed.lock().insert(table.dataset.name, applied);
        let dataset = table.dataset;
        let writer = Self {
            dataset,
            shared,
            table: Some(table),
            head: Head::default(),
            view,
            applied,
            committing: None,
            checkpointing: None,
            sorting: None,
            flushes: Vec::new(),
            waiting: VecDeque::new(),
        };
        writer.publish();
        writer
    }

    /// Applies what the log holds above the table's position. Called before [`Writer::run`].
    pub(crate) async fn replay(&mut self, records: impl Iterator<Item = (i64, Vec<Write>)>) -> Result<()> {
        for (position, writes) in records.skip_while({
            let committed = self.applied;
            move |(position, _)| *position <= committed
        }) {
            self.apply(position, writes).await?;
        }
        self.publish();
        Ok(())
    }

    async fn apply(&mut self, position: i64, writes: Vec<Write>) -> Result<()> {
        for write in writes {
            match write {
                Write::Append(rows, lane) => self.push(rows, lane, position),
                Write::Delete(delete) => {
                    self.delete(&delete, position).await?;
                    self.publish();
                }
                Write::Replace(replacement) => self.replace(&replacement, position).await?,
            }
        }
        self.applied = position;
        Ok(())
    }

    /// Serves until all senders are gone.
    pub(crate) async fn run(mut self, mut inbox: mpsc::Receiver<Message>) {
        let mut tick = tokio::time::interval(Duration::from_millis(500));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut messages = Vec::with_capacity(MESSAGES_MAX);
        loop {
            tokio::select! {
                received = inbox.recv_many(&mut messages, MESSAGES_MAX) => {
                    if received == 0 {
                        break;
                    }
                    self.handle(&mut messages).await;
                }
                done = join(&mut self.committing), if self.committing.is_some() => self.committed(done),
                done = join(&mut self.sorting), if self.sorting.is_some() => self.sorted(done),
                _ = tick.tick() => {}
            }
            if self.health().is_err() {
                // No commit comes any more that would answer them.
                self.answer_flushes();
            }
            self.start_sort();
            if self.wants_commit() {
                self.start_commit();
            }
            self.serve_waiting();
        }
    }

    /// Serves what waits for the table, now that it is here.
    fn serve_waiting(&mut self) {
        while self.committing.is_none()
            && let Some(message) = self.waiting.pop_front()
        {
            // Only a commit that panicked does not bring the table back, and then storage takes no more writes.
            let Some(table) = &mut self.table else { return };
            match message {
                Message::Rewrite(rewrite, answer) => self.start_rewrite(rewrite, answer),
                Message::Garbage(before_ms, answer) => drop(answer.send(Ok(table.garbage(before_ms)))),
                Message::Forget(paths) => table.forget(&paths),
                Message::Unknown(paths, answer) => drop(answer.send(Ok(table.unknown(paths)))),
                _ => {}
            }
        }
    }

    fn start_rewrite(&mut self, rewrite: Rewrite, answer: oneshot::Sender<Result<bool>>) {
        let Some(mut table) = self.table.take() else { return };
        if let Err(error) = self.health() {
            self.table = Some(table);
            return drop(answer.send(Err(error)));
        }
        if !table.has_all(rewrite.removes.iter().chain(rewrite.marks.keys())) {
            self.table = Some(table);
            return drop(answer.send(Ok(false)));
        }
        let Rewrite { operation, rearranges, adds, removes, marks } = rewrite;
        let change = Change { operation, rearranges, adds, removes, marks, positions: BTreeMap::new() };
        let shared = Arc::clone(&self.shared);
        self.committing = Some(tokio::spawn(async move {
            let result = table.commit(change, &shared.env).await;
            shared.env.probe.reach("rewrite_committed");
            (table, Committed::Files(result, answer))
        }));
    }

    async fn handle(&mut self, messages: &mut Vec<Message>) {
        let mut applied = Vec::with_capacity(messages.len());
        for message in messages.drain(..) {
            match message {
                Message::Record(Record { position, writes, ticket }) => {
                    if ticket.is_together() || writes.iter().any(|write| matches!(write, Write::Delete(_))) {
                        // A delete takes as long as a rewrite; those before it need not wait for that.
                        self.acknowledge(&mut applied);
                    }
                    match self.apply(position, writes).await {
                        Ok(()) if ticket.is_together() => ticket.show(Arc::clone(&self.view), self.newest()).await,
                        Ok(()) => applied.push(ticket),
                        Err(error) => ticket.fail(error),
                    }
                }
                Message::Barrier(ticket) => applied.push(ticket),
                Message::Flush(answer) => {
                    if self.head.is_empty() || self.health().is_err() {
                        let _ = answer.send(self.health());
                    } else {
                        self.flushes.push((self.applied, answer));
                    }
                }
                other => self.waiting.push_back(other),
            }
        }
        self.acknowledge(&mut applied);
    }

    fn acknowledge(&mut self, applied: &mut Vec<Arc<Ticket>>) {
        self.publish();
        applied.drain(..).for_each(|ticket| ticket.applied());
    }

    fn push(&mut self, rows: arrow::array::RecordBatch, lane: crate::Lane, position: i64) {
        let bytes = self.head.push(rows, lane, position, self.shared.env.clock.now_ms());
        self.shared.head_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Makes the newest state visible.
    fn publish(&self) {
        let view = self.newest();
        *self.view.write() = view;
        let bytes = self.shared.head_bytes.load(Ordering::Relaxed);
        self.shared.metrics.head_bytes.set(bytes.try_into().unwrap_or(i64::MAX));
    }

    /// The newest state.
    fn newest(&self) -> Arc<View> {
        let before = Arc::clone(&self.view.read());
        let mut view = View { head: self.head.rows(), ..(*before).clone() };
        if let Some(table) = &self.table
            && table.version != before.version
        {
            view.version = table.version;
            view.files = Arc::new(table.files());
            view.positions = Arc::new(table.positions());
            let name = [self.dataset.name];
            let metrics = &self.shared.metrics;
            let bytes: u64 = view.files.iter().map(|file| file.size).sum();
            metrics.files.with_label_values(&name).set(view.files.len().try_into().unwrap_or(i64::MAX));
            metrics.file_bytes.with_label_values(&name).set(bytes.try_into().unwrap_or(i64::MAX));
        }
        Arc::new(view)
    }

    // === runs ===

    fn start_sort(&mut self) {
        if self.sorting.is_some() {
            return;
        }
        if let Some(unsorted) = self.head.unsorted() {
            let dataset = self.dataset;
            self.sorting = Some(tokio::task::spawn_blocking(move || {
                let runs = unsorted.sort(dataset);
                (unsorted, runs)
            }));
        }
    }

    fn sorted(&mut self, done: Result<(Unsorted, Result<Vec<Rows>>)>) {
        self.sorting = None;
        match done.and_then(|(unsorted, runs)| Ok((unsorted, runs?))) {
            Ok((unsorted, runs)) => {
                let change = self.head.settle(&unsorted, runs);
                self.account(change);
                self.publish();
            }
            Err(error) => self.fail(&error),
        }
    }

    fn account(&self, change: isize) {
        if change >= 0 {
            self.shared.head_bytes.fetch_add(change.unsigned_abs(), Ordering::Relaxed);
        } else {
            self.shared.head_bytes.fetch_sub(change.unsigned_abs(), Ordering::Relaxed);
        }
    }

    // === commits ===

    fn wants_commit(&self) -> bool {
        if self.committing.is_some() || self.head.bytes_waiting() == 0 || self.health().is_err() {
            return false;
        }
        let shared = &self.shared;
        let age_ms = self.head.oldest_ms().map_or(0, |oldest| shared.env.clock.now_ms() - oldest);
        let used = shared.head_bytes.load(Ordering::Relaxed);
        let pressed =
            used > shared.head_bytes_max / 100 * PRESSURE_PERCENT && self.head.bytes() > shared.head_bytes_max / 100;
        !self.flushes.is_empty()
            || shared.segments.pinned_by(self.dataset.name, self.position())
            || age_ms >= shared.flush_age_ms
            || self.head.bytes_waiting() >= shared.flush_bytes
            || pressed
    }

    fn start_commit(&mut self) {
        let Some(mut table) = self.table.take() else { return };
        let Some((rows, position)) = self.head.freeze(self.shared.flush_bytes.saturating_mul(2)) else {
            self.table = Some(table);
            return;
        };
        let positions = self.positions(position);
        let shared = Arc::clone(&self.shared);
        self.committing = Some(tokio::spawn(async move {
            let start_us = shared.env.clock.now_us();
            let count: usize = rows.iter().map(|rows| rows.batch.num_rows()).sum();
            let result = commit::append(&mut table, rows, positions, &shared.env).await;
            if result.is_ok() {
                let name = [table.dataset.name];
                shared.metrics.commit_seconds.observe_since(start_us);
                shared.metrics.commits_total.with_label_values(&name).inc();
                shared.metrics.committed_rows_total.with_label_values(&name).inc_by(count as u64);
            }
            (table, Committed::Rows(result))
        }));
    }

    fn positions(&self, position: i64) -> BTreeMap<Arc<str>, i64> {
        [(Arc::clone(&self.shared.source), position)].into()
    }

    fn committed(&mut self, done: Result<(Table, Committed)>) {
        self.committing = None;
        match done {
            Ok((table, Committed::Rows(result))) => {
                self.table = Some(table);
                if result.is_ok() {
                    let bytes = self.head.thaw();
                    self.account(-bytes.cast_signed());
                }
                let _ = self.finish(result);
                self.publish();
            }
            Ok((table, Committed::Files(result, answer))) => {
                self.table = Some(table);
                let result = self.finish(result);
                self.publish();
                // Upkeep may have been stopped; the commit stands.
                let _ = answer.send(result.map(|()| true));
            }
            Err(error) => self.fail(&error),
        }
        self.answer_flushes();
    }

    fn answer_flushes(&mut self) {
        let committed = self.position();
        let failed = self.health().is_err();
        let done = |(wanted, _): &mut (i64, _)| failed || committed >= *wanted;
        for (_, answer) in self.flushes.extract_if(.., done).collect::<Vec<_>>() {
            let _ = answer.send(self.health());
        }
    }

    /// Committed position of the log; 0 while a commit has the table.
    fn position(&self) -> i64 {
        self.table.as_ref().map_or(0, |table| table.position(&self.shared.source))
    }

    /// Lets the log forget what every dataset has committed.
    fn trim(&self) {
        let Some(table) = &self.table else { return };
        let mut committed = self.shared.committed.lock();
        committed.insert(self.dataset.name, table.position(&self.shared.source));
        self.shared.env.probe.reach("before_wal_trim");
        if let Err(error) = self.shared.segments.trim(self.shared.disk.as_ref(), &committed) {
            tracing::warn!(%error, "a log segment cannot be removed; trying again after the next commit");
        }
    }

    /// Waits until nothing is in the head and the table is here.
    async fn drain(&mut self) -> Result<()> {
        loop {
            self.health()?;
            if self.committing.is_some() {
                let done = join(&mut self.committing).await;
                self.committed(done);
            } else if self.head.is_empty() {
                return Ok(());
            } else {
                self.start_commit();
            }
        }
    }

    async fn delete(&mut self, delete: &Delete, position: i64) -> Result<()> {
        self.drain().await?;
        self.applied = position;
        let positions = self.positions(position);
        let Some(table) = &mut self.table else { return self.health() };
        let result = commit::delete(table, delete, positions, &self.shared.env).await;
        self.finish(result)
    }

    async fn replace(&mut self, replacement: &Replacement, position: i64) -> Result<()> {
        self.drain().await?;
        self.applied = position;
        let positions = self.positions(position);
        let Some(table) = &mut self.table else { return self.health() };
        let result = commit::replace(table, replacement, positions, &self.shared.env).await;
        self.finish(result)
    }

    /// After a commit, before it is published.
    fn finish(&mut self, result: Result<()>) -> Result<()> {
        match &result {
            Ok(()) => {
                self.trim();
                self.start_checkpoint();
            }
            Err(error) if error.kind == ErrorKind::Invalid => {}
            Err(error) => self.fail(error),
        }
        result
    }

    fn start_checkpoint(&mut self) {
        if self.checkpointing.as_ref().is_some_and(|job| !job.is_finished()) {
            return;
        }
        let now_ms = self.shared.env.clock.now_ms();
        self.checkpointing = self.table.as_mut().and_then(|table| table.checkpoint(now_ms)).map(tokio::spawn);
    }

    fn fail(&self, error: &Error) {
        tracing::error!(dataset = self.dataset.name, error = %error.chain(), "storage takes no more writes");
        self.shared.failure.set(error);
    }

    fn health(&self) -> Result<()> {
        self.shared.failure.check()
    }
}

/// The result of a job; pends while there is none.
async fn join<T>(job: &mut Option<JoinHandle<T>>) -> Result<T> {
    match job {
        Some(handle) => {
            handle.await.map_err(|error| Error::new(ErrorKind::Internal, "a storage job panicked").caused_by(error))
        }
        None => std::future::pending().await,
    }
}
