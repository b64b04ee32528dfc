//! When series have samples, for who only counts them: nothing is copied, and of a block without gaps no row is looked at.

use std::ops::Range;

use datafusion::{common::Result, execution::memory_pool::MemoryReservation};
use promql::STALE;

use super::{
    Job,
    assemble::{Sink, assemble},
    chunk::Chunk,
    floats::Columns,
};

/// When each series, by its number, has a sample that is not too old.
#[derive(Debug)]
pub(crate) struct Present {
    /// Milliseconds, half-open, in ascending time.
    pub spans: Vec<Vec<Range<i64>>>,
    /// How many samples there are.
    pub samples: usize,
    pub memory: MemoryReservation,
}

impl Present {
    pub(super) async fn assemble(job: &Job, chunks: &[Chunk<Columns>], lookback_ms: i64) -> Result<Self> {
        let memory = job.memory.new_empty();
        // One span each; few series have more.
        memory.try_grow(job.wanted.len() * (size_of::<Vec<Range<i64>>>() + size_of::<Range<i64>>()))?;
        let spans = Vec::with_capacity(job.wanted.len());
        let mut gathered = Gathered { chunks, lookback_ms, spans, of_series: Vec::new(), samples: 0, memory };
        assemble(job, chunks, &mut gathered).await?;
        let Gathered { spans, samples, memory, .. } = gathered;
        job.budget.check(samples)?;
        Ok(Self { spans, samples, memory })
    }
}

struct Gathered<'a> {
    chunks: &'a [Chunk<Columns>],
    lookback_ms: i64,
    spans: Vec<Vec<Range<i64>>>,
    /// Those of the series whose rows are coming.
    of_series: Vec<Range<i64>>,
    samples: usize,
    memory: MemoryReservation,
}

impl Gathered<'_> {
    /// Samples from one time to another, none of them too old before the next.
    fn add(&mut self, first_ms: i64, last_ms: i64) {
        let until_ms = last_ms.saturating_add(self.lookback_ms);
        match self.of_series.last_mut() {
            Some(span) if first_ms <= span.end => span.end = until_ms,
            _ => self.of_series.push(first_ms..until_ms),
        }
    }

    fn add_row(&mut self, time_ms: i64, value: f64) {
        if value.to_bits() != STALE {
            self.add(time_ms, time_ms);
        } else if let Some(span) = self.of_series.last_mut() {
            // There is nothing from here on.
            span.end = span.end.min(time_ms);
        }
    }
}

impl Sink for Gathered<'_> {
    fn put(&mut self, chunk: usize, rows: Range<usize>) -> Result<()> {
        self.samples += rows.len();
        match &self.chunks[chunk].rows {
            Columns::Block(block) => {
                let (times, values) = (block.floats.times(), block.floats.values());
                if block.gap_ms <= self.lookback_ms && !block.floats.has_stale() && !rows.is_empty() {
                    self.add(times[rows.start], times[rows.end - 1]);
                } else {
                    rows.for_each(|row| self.add_row(times[row], values[row]));
                }
            }
            Columns::Owned(flat) => {
                let (times, values) = flat.columns();
                rows.for_each(|row| self.add_row(times[row], values[row]));
            }
            Columns::Shared { times_us, values, .. } => {
                rows.for_each(|row| self.add_row(times_us[row].div_euclid(1_000), values[row]));
            }
        }
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        // The first has its place already. Of samples that are further apart than they may be old there are as many spans.
        self.memory.try_grow(self.of_series.len().saturating_sub(1) * size_of::<Range<i64>>())?;
        // As large as it is, and no larger.
        self.spans.push(self.of_series.as_slice().into());
        self.of_series.clear();
        Ok(())
    }
}
