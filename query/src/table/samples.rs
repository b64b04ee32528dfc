//! Reads samples of known series without a plan: the leaf from which PromQL takes its rows.
//!
//! Called with series, each of which has a number, and a range of times. Files and head rows that can hold some are put in the order
//! in which they were written (`choose`); where rows of each series stand is known of a file, and found in a run of the head by
//! searching (`stretches`); tasks read those rows and nothing else, cut them to the range (`decode`, `head`), and hand back chunks of
//! rows and which parts of them are of which series (`chunk`); those parts are put one after another (`assemble`). Floats become three
//! flat columns; `histograms` reads whole rows the same way; of series that are only counted, `present` says when they have samples.
//!
//! Invariants: the answer has the rows that SQL over the same view gives, staleness markers among them, values with their bits; of
//! rows of one series and time the one written last. That two rows have one key is not looked up, it is seen: where parts of a series
//! do not follow one another in time, they are merged. Memory is taken from the queries' pool before it is used, but for the pages
//! under way, as DataFusion's own scans do: [`READS_MAX`] tasks of some [`TASK_ROWS`] rows at most.
//! Not here: which series there are (`series`), and what their samples mean (`promql`).

mod assemble;
mod choose;
mod chunk;
mod decode;
mod floats;
mod head;
mod histograms;
mod present;
mod stretches;
mod wanted;

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use arrow::datatypes::SchemaRef;
use datafusion::{
    common::{DataFusionError, Result},
    execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation},
};
use futures::{FutureExt, StreamExt, TryStreamExt, future::BoxFuture};
use schemas::Dataset;
use tokio_util::task::AbortOnDropHandle;

use super::Table;
use crate::{Error, ErrorKind};

use self::{
    choose::{Source, Sources},
    chunk::{Chunk, Payload},
    decode::FileTask,
    head::HeadTask,
    wanted::Wanted,
};
pub(crate) use self::{floats::Found, histograms::Histograms, present::Present};

/// Rows a task decodes, about: some milliseconds, so that a large file keeps all cores busy and a small one does not pay for many
/// tasks. One series is not cut.
const TASK_ROWS: usize = 512 << 10;
/// Tasks of one read under way, per core; a bucket makes them wait more than they work.
const READS_PER_CORE: usize = 2;
/// The least and the most of these.
const READS_MIN: usize = 4;
const READS_MAX: usize = 16;
/// Tasks, and series in all, up to which a read stays on its thread: what a panel with one line reads.
const TASKS_INLINE: usize = 8;
const SERIES_INLINE: usize = 16;

/// What is read of a table.
#[derive(Debug)]
pub(crate) struct Read<'a> {
    /// Metric and id of series, each once. The place here is the number of the series in the answer. Sorted is cheapest.
    pub series: &'a [(&'a str, i64)],
    /// Half-open, milliseconds.
    pub times_ms: Range<i64>,
    /// When the counters began, too?
    pub with_starts: bool,
    /// Rows the answer may have.
    pub samples_max: usize,
}

/// What all tasks of one read have in common.
struct Job {
    dataset: &'static Dataset,
    /// What is read: the time first.
    columns: SchemaRef,
    wanted: Wanted,
    times_us: Range<i64>,
    budget: Budget,
    /// Are blocks of files of use?
    by_block: bool,
    /// Memory of the chunks.
    memory: MemoryReservation,
}

/// Counts rows, so that too many are noticed before they are read.
struct Budget {
    samples_max: usize,
    /// As many rows are read at most. If rows may replace others, that are twice as many as the answer may have.
    rows_max: usize,
    rows: AtomicUsize,
}

impl Budget {
    fn take(&self, rows: usize) -> Result<()> {
        if self.rows.fetch_add(rows, Ordering::Relaxed).saturating_add(rows) > self.rows_max {
            return Err(self.exceeded());
        }
        Ok(())
    }

    /// Refuses an answer that is too long.
    fn check(&self, rows: usize) -> Result<()> {
        if rows > self.samples_max { Err(self.exceeded()) } else { Ok(()) }
    }

    fn exceeded(&self) -> DataFusionError {
        let message = format!(
            "query processing would load too many samples into memory in query execution; ask for fewer series or less time \
             samples_max={}",
            self.samples_max
        );
        Error::new(ErrorKind::Execution, message).into()
    }
}

impl Table {
    /// Reads the float samples of some series.
    ///
    /// # Errors
    /// `Execution` if they are more than `samples_max`, `ResourcesExhausted` if the pool has no room, or what reading met.
    pub(crate) async fn read_floats(&self, read: &Read<'_>, pool: &Arc<dyn MemoryPool>) -> Result<Found> {
        let columns: &[&str] = if read.with_starts { &["ts", "value", "start_ts"] } else { &["ts", "value"] };
        let (job, chunks) = self.read_chunks(read, columns, pool).await?;
        Found::assemble(&job, chunks, read.with_starts).await
    }

    /// Reads when some series have a sample that is less than `lookback_ms` old; gives how many samples that are, too.
    ///
    /// # Errors
    /// As [`Table::read_floats`].
    pub(crate) async fn read_present(
        &self,
        read: &Read<'_>,
        lookback_ms: i64,
        pool: &Arc<dyn MemoryPool>,
    ) -> Result<Present> {
        let (job, chunks) = self.read_chunks(read, &["ts", "value"], pool).await?;
        Present::assemble(&job, &chunks, lookback_ms).await
    }

    /// Reads the rows of some series whole, but for what names the series.
    ///
    /// # Errors
    /// As [`Table::read_floats`].
    pub(crate) async fn read_histogram_rows(&self, read: &Read<'_>, pool: &Arc<dyn MemoryPool>) -> Result<Histograms> {
        let time = self.dataset().time;
        let rest = self.dataset().columns.iter().map(|column| column.name);
        let is_wanted =
            |name: &&str| !["metric", "series_id", time].contains(name) && (read.with_starts || *name != "start_ts");
        let columns: Vec<&str> = std::iter::once(time).chain(rest.filter(is_wanted)).collect();
        let (job, chunks) = self.read_chunks(read, &columns, pool).await?;
        Histograms::assemble(&job, chunks).await
    }

    /// Chunks that hold the rows of some series, oldest first.
    async fn read_chunks<P: Payload>(
        &self,
        read: &Read<'_>,
        columns: &[&str],
        pool: &Arc<dyn MemoryPool>,
    ) -> Result<(Arc<Job>, Vec<Chunk<P>>)> {
        let dataset = self.dataset();
        if *dataset.sort != ["metric", "series_id", dataset.time] {
            let message = format!("rows of a dataset are not kept by series dataset={}", dataset.name);
            return Err(DataFusionError::Internal(message));
        }
        let indices = columns.iter().map(|name| Ok(dataset.schema.index_of(name)?)).collect::<Result<Vec<_>>>()?;
        let wanted = Wanted::new(read.series)?;
        let times_us = read.times_ms.start.saturating_mul(1_000)..read.times_ms.end.saturating_mul(1_000);
        let Sources { oldest_first, may_replace } = choose::sources(&self.view, &wanted, &times_us);
        let rows_max = if may_replace { read.samples_max.saturating_mul(2) } else { read.samples_max };
        let job = Arc::new(Job {
            dataset,
            columns: Arc::new(dataset.schema.project(&indices)?),
            wanted,
            times_us,
            budget: Budget { samples_max: read.samples_max, rows_max, rows: AtomicUsize::new(0) },
            by_block: *columns == ["ts", "value"],
            memory: MemoryConsumer::new(dataset.name).register(pool),
        });
        let mut chunks = self.run(&job, oldest_first).await?;
        chunks.sort_by_key(|chunk: &Chunk<P>| chunk.rank);
        Ok((job, chunks))
    }

    /// Makes tasks of sources and runs them, as many at once as is good for both cores and buckets.
    async fn run<P: Payload>(&self, job: &Arc<Job>, sources: Vec<(u32, Source)>) -> Result<Vec<Chunk<P>>> {
        let cores = tokio::runtime::Handle::current().metrics().num_workers();
        let at_once = (READS_PER_CORE * cores).clamp(READS_MIN, READS_MAX);
        let (files, head): (Vec<_>, Vec<_>) = sources.into_iter().partition(|(_, s)| matches!(s, Source::File(_)));
        let open = |(rank, source): (u32, Source)| {
            let reader = Arc::clone(&self.reader);
            let job = Arc::clone(job);
            async move {
                match source {
                    Source::File(file) => FileTask::of(&reader, &job, &file, rank).await,
                    Source::Head(_) => Ok(Vec::new()),
                }
            }
        };
        let opened = futures::stream::iter(files).map(open).buffered(at_once);
        let of_files: Vec<FileTask> = opened.try_concat().await?;
        let of_head = HeadTask::of(job, head);

        let mut tasks: Vec<BoxFuture<'static, Result<Vec<Chunk<P>>>>> = Vec::new();
        tasks.extend(of_head.into_iter().map(|task| task.run::<P>().boxed()));
        tasks.extend(of_files.into_iter().map(|task| task.run::<P>().boxed()));
        // To hand a few small tasks to other threads takes longer than the tasks.
        if tasks.len() > TASKS_INLINE || job.wanted.len() > SERIES_INLINE {
            tasks = tasks.into_iter().map(|task| spawn(task).boxed()).collect();
        }
        futures::stream::iter(tasks).buffer_unordered(at_once).try_concat().await
    }
}

/// Runs work on the threads of the runtime it is called on; dropping what comes back stops it.
async fn spawn<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    match AbortOnDropHandle::new(tokio::spawn(work)).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            // Told by whoever catches the panics of the query.
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(DataFusionError::ExecutionJoin(Box::new(error))),
        },
    }
}

#[cfg(test)]
mod tests;
