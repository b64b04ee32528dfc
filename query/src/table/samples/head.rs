//! Finds rows of wanted series in the head: in sorted runs by searching, in batches as they came by looking at every row.
//!
//! Rows of a run are not copied here: a chunk shares its columns. Rows of batches come one by one, so they are gathered by series
//! first, and are then few parts and not one for each row.

use std::{ops::Range, sync::Arc};

use arrow::array::{ArrayRef, RecordBatch};
use datafusion::common::{DataFusionError, Result};
use storage::Rows;

use super::{
    Job, TASK_ROWS,
    choose::Source,
    chunk::{Chunk, Part, Parts, Payload, times},
    decode::identity,
    stretches::{cut, in_run},
    wanted::Lookup,
};

/// Finds rows in some of the head.
pub(super) struct HeadTask {
    job: Arc<Job>,
    sources: Vec<(u32, Vec<Arc<Rows>>)>,
}

impl HeadTask {
    /// The tasks that read the head's part of some sources.
    pub(super) fn of(job: &Arc<Job>, sources: Vec<(u32, Source)>) -> Vec<Self> {
        let (mut tasks, mut rows): (Vec<Self>, _) = (Vec::new(), TASK_ROWS);
        for (rank, source) in sources {
            let Source::Head(batches) = source else { continue };
            if rows >= TASK_ROWS {
                tasks.push(Self { job: Arc::clone(job), sources: Vec::new() });
                rows = 0;
            }
            rows += batches.iter().map(|rows| rows.batch.num_rows()).sum::<usize>();
            if let Some(task) = tasks.last_mut() {
                task.sources.push((rank, batches));
            }
        }
        tasks
    }

    /// Finds them.
    pub(super) async fn run<P: Payload>(self) -> Result<Vec<Chunk<P>>> {
        let job = &self.job;
        let indices = job.columns.fields().iter().map(|field| Ok(job.dataset.schema.index_of(field.name())?));
        let indices = indices.collect::<Result<Vec<_>>>()?;
        let mut chunks = Vec::new();
        for (rank, batches) in &self.sources {
            if let [run] = batches.as_slice()
                && run.sorted
            {
                chunks.extend(of_run(job, *rank, &run.batch, run.batch.project(&indices)?)?);
            } else {
                let lookup = job.wanted.lookup();
                let mut matches = Matches::default();
                for rows in batches {
                    let column = |name| rows.batch.column_by_name(name).ok_or_else(wrong);
                    let batch = rows.batch.project(&indices)?;
                    matches.look(job, &lookup, [column("metric")?, column("series_id")?], batch)?;
                }
                drop(lookup);
                if !matches.places.is_empty() {
                    chunks.push(matches.into_chunk(job, *rank)?);
                }
            }
            tokio::task::yield_now().await;
        }
        Ok(chunks)
    }
}

/// Rows of a sorted run, `batch` being those of its columns that are wanted.
fn of_run<P: Payload>(job: &Job, rank: u32, run: &RecordBatch, batch: RecordBatch) -> Result<Option<Chunk<P>>> {
    let (times_us, mut parts, mut count) = (times(&batch)?, Parts::default(), 0);
    in_run(&job.wanted, run, |series, rows| {
        let rows = cut(times_us, rows, &job.times_us);
        count += rows.len();
        parts.add(series, rows.start, &times_us[rows])
    })?;
    if count == 0 {
        return Ok(None);
    }
    job.budget.take(count)?;
    job.memory.try_grow(parts.0.capacity() * size_of::<Part>())?;
    Ok(Some(Chunk { rank, parts: parts.0, rows: P::shared(batch)? }))
}

/// Rows found one by one.
#[derive(Default)]
pub(super) struct Matches {
    /// Batches that have some.
    batches: Vec<RecordBatch>,
    /// Number of the series, which batch, which row.
    places: Vec<(u32, usize, usize)>,
}

impl Matches {
    /// Looks at the rows of a batch that is not kept, and copies those that are wanted.
    pub(super) fn add(
        &mut self,
        job: &Job,
        lookup: &Lookup<'_>,
        identity: [&ArrayRef; 2],
        batch: RecordBatch,
    ) -> Result<()> {
        let before = self.places.len();
        self.look(job, lookup, identity, batch)?;
        let Some(last) = self.batches.last_mut().filter(|_| self.places.len() > before) else { return Ok(()) };
        let rows = self.places[before..].iter().map(|(.., row)| *row as u64);
        let rows = arrow::array::UInt64Array::from_iter_values(rows);
        *last = arrow::compute::take_record_batch(last, &rows)?;
        for (nth, (.., row)) in self.places[before..].iter_mut().enumerate() {
            *row = nth;
        }
        // One batch too late; it was decoded already.
        job.memory.try_grow(last.get_array_memory_size())
    }

    /// Looks at the rows of a batch that is kept by others.
    fn look(
        &mut self,
        job: &Job,
        lookup: &Lookup<'_>,
        [metrics, ids]: [&ArrayRef; 2],
        batch: RecordBatch,
    ) -> Result<()> {
        let (names, keys, ids) = identity(metrics, ids).ok_or_else(wrong)?;
        let Some(known) = lookup.metrics(names.iter()) else { return Ok(()) };
        let (nth, before) = (self.batches.len(), self.places.len());
        for (row, ((key, id), us)) in keys.iter().zip(ids).zip(times(&batch)?).enumerate() {
            let metric = usize::try_from(*key).ok().and_then(|key| known.get(key));
            if let Some(metric) = metric
                && let Some(series) = lookup.number(*metric, *id)
                && job.times_us.contains(us)
            {
                self.places.push((series, nth, row));
            }
        }
        let found = self.places.len() - before;
        if found > 0 {
            self.batches.push(batch);
            job.memory.try_grow(found * 2 * size_of::<(u32, usize, usize)>())?;
            job.budget.take(found)?;
        }
        Ok(())
    }

    /// The rows, series by series.
    pub(super) fn into_chunk<P: Payload>(self, job: &Job, rank: u32) -> Result<Chunk<P>> {
        let Self { batches, places } = self;
        let places = by_series(places, job.wanted.len());
        let all = batches.iter().map(times).collect::<Result<Vec<_>>>()?;
        let (mut parts, mut times_us, mut start) = (Parts::default(), Vec::new(), 0);
        for some in places.chunk_by(|a, b| a.0 == b.0) {
            times_us.clear();
            times_us.extend(some.iter().map(|(_, batch, row)| all[*batch][*row]));
            parts.add(some[0].0, start, &times_us)?;
            start += some.len();
        }
        job.memory.try_grow(parts.0.capacity() * size_of::<Part>())?;
        let places: Vec<(usize, usize)> = places.into_iter().map(|(_, batch, row)| (batch, row)).collect();
        Ok(Chunk { rank, parts: parts.0, rows: P::gather(job, &batches, &places)? })
    }
}

/// Places in the order of series, those of one series in the order they had.
fn by_series(mut places: Vec<(u32, usize, usize)>, series: usize) -> Vec<(u32, usize, usize)> {
    if places.len() < series / 16 {
        places.sort_by_key(|(series, ..)| *series);
        return places;
    }
    let mut next = vec![0; series + 1];
    for (series, ..) in &places {
        next[*series as usize + 1] += 1;
    }
    for at in 1..next.len() {
        next[at] += next[at - 1];
    }
    let mut sorted = vec![(0, 0, 0); places.len()];
    for place in places {
        let at: &mut usize = &mut next[place.0 as usize];
        sorted[*at] = place;
        *at += 1;
    }
    sorted
}

fn wrong() -> DataFusionError {
    DataFusionError::Internal("rows have no metrics and ids of series".to_owned())
}

/// Rows in ranges.
pub(super) fn count(kept: &[Range<usize>]) -> usize {
    kept.iter().map(Range::len).sum()
}
