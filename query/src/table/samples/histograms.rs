//! Rows of series kept whole, as batches: native histograms, whose columns are lists.
//!
//! The same rows are found in the same way as of floats; they are copied more often, which costs less than to decode them.

use std::ops::Range;

use arrow::array::{RecordBatch, UInt64Array};
use arrow::compute::{interleave_record_batch, take_record_batch};
use datafusion::{common::Result, execution::memory_pool::MemoryReservation};

use super::{
    Job,
    assemble::{Sink, assemble},
    chunk::{Chunk, Payload, times},
};

/// Rows of a batch of the answer.
const BATCH_ROWS: usize = 4_096;

/// Rows of series, one series after another; those of each in ascending time, each time once.
#[derive(Debug)]
pub(crate) struct Histograms {
    /// Number of the series of each row, over all batches; ascending.
    pub series: Vec<u32>,
    /// The rows: column `ts` first, then those of the dataset but for `metric` and `series_id`.
    pub batches: Vec<RecordBatch>,
    memory: MemoryReservation,
}

impl Histograms {
    /// Hands on the memory of the rows, for whoever takes them out.
    pub(crate) fn take_memory(&mut self) -> MemoryReservation {
        self.memory.take()
    }

    /// Makes an answer of chunks, oldest first.
    pub(super) async fn assemble(job: &Job, chunks: Vec<Chunk<Batches>>) -> Result<Self> {
        let memory = job.memory.new_empty();
        let rows: usize = chunks.iter().flat_map(|chunk| &chunk.parts).map(|part| part.rows as usize).sum();
        memory.try_grow(rows * size_of::<u32>())?;
        let scratch = memory.new_empty();
        scratch.try_grow((job.wanted.len() + 1) * size_of::<usize>() + rows * size_of::<(usize, usize)>())?;
        let (mut all, mut firsts) = (Vec::new(), Vec::with_capacity(chunks.len()));
        for chunk in &chunks {
            firsts.push(all.len());
            all.extend(&chunk.rows.batches);
        }
        let places = Vec::with_capacity(rows);
        let mut gathered = Gathered { chunks: &chunks, firsts, places, series: 0, of: Vec::with_capacity(rows) };
        assemble(job, &chunks, &mut gathered).await?;
        let Gathered { mut places, of: series, .. } = gathered;
        job.budget.check(places.len())?;
        let mut batches = Vec::with_capacity(places.len().div_ceil(BATCH_ROWS));
        for places in places.chunks_mut(BATCH_ROWS) {
            let batch = interleave(&all, places)?;
            // One batch too late, and it is a small one.
            memory.try_grow(batch.get_array_memory_size())?;
            batches.push(batch);
            tokio::task::yield_now().await;
        }
        Ok(Self { series, batches, memory })
    }
}

/// Places of rows in the batches of all chunks, and the number of the series of each.
struct Gathered<'a> {
    chunks: &'a [Chunk<Batches>],
    /// Which of all batches is the first of each chunk.
    firsts: Vec<usize>,
    places: Vec<(usize, usize)>,
    series: u32,
    of: Vec<u32>,
}

impl Sink for Gathered<'_> {
    fn put(&mut self, chunk: usize, rows: Range<usize>) -> Result<()> {
        for row in rows {
            let (batch, row) = self.chunks[chunk].rows.place(row);
            self.places.push((self.firsts[chunk] + batch, row));
            self.of.push(self.series);
        }
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        self.series += 1;
        Ok(())
    }
}

/// Rows of some of many batches.
fn interleave(all: &[&RecordBatch], places: &mut [(usize, usize)]) -> Result<RecordBatch> {
    let mut used: Vec<usize> = places.iter().map(|(batch, _)| *batch).collect();
    used.sort_unstable();
    used.dedup();
    for (batch, _) in &mut *places {
        *batch = used.partition_point(|known| *known < *batch);
    }
    let some: Vec<&RecordBatch> = used.into_iter().map(|batch| all[batch]).collect();
    Ok(interleave_record_batch(&some, places)?)
}

/// Batches of a chunk.
#[derive(Default)]
pub(crate) struct Batches {
    batches: Vec<RecordBatch>,
    /// Rows up to the end of each.
    ends: Vec<usize>,
}

impl Batches {
    fn push(&mut self, batch: RecordBatch) {
        self.ends.push(self.ends.last().map_or(0, |end| *end) + batch.num_rows());
        self.batches.push(batch);
    }

    /// Batch and row in it.
    fn place(&self, row: usize) -> (usize, usize) {
        let batch = self.ends.partition_point(|end| *end <= row);
        let before = batch.checked_sub(1).map_or(0, |before| self.ends[before]);
        (batch, row - before)
    }
}

impl Payload for Batches {
    fn with_room(_job: &Job, _rows: usize) -> Result<Self> {
        Ok(Self::default())
    }

    fn append(&mut self, job: &Job, batch: &RecordBatch, kept: &[Range<usize>]) -> Result<()> {
        let rows = UInt64Array::from_iter_values(kept.iter().cloned().flatten().map(|row| row as u64));
        if rows.values().is_empty() {
            return Ok(());
        }
        // A copy, so that what was cut off does not stay.
        let batch = take_record_batch(batch, &rows)?;
        job.memory.try_grow(batch.get_array_memory_size())?;
        self.push(batch);
        Ok(())
    }

    fn shared(batch: RecordBatch) -> Result<Self> {
        let mut shared = Self::default();
        shared.push(batch);
        Ok(shared)
    }

    fn gather(job: &Job, batches: &[RecordBatch], places: &[(usize, usize)]) -> Result<Self> {
        let mut gathered = Self::default();
        if !places.is_empty() {
            let batch = interleave_record_batch(&batches.iter().collect::<Vec<_>>(), places)?;
            job.memory.try_grow(batch.get_array_memory_size())?;
            gathered.push(batch);
        }
        Ok(gathered)
    }

    fn time_ms(&self, row: usize) -> i64 {
        let (batch, row) = self.place(row);
        times(&self.batches[batch]).ok().and_then(|times| times.get(row)).map_or(i64::MIN, |us| us.div_euclid(1_000))
    }
}
