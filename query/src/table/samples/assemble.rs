//! Puts the parts of each series one after another, each time once.
//!
//! Parts come from sources that mostly hold different times: then they are put in order of time and copied. Where two overlap, or one
//! does not ascend, as it is with late rows, the series' rows are merged, and of rows of one time the one written last stays.
//!
//! Invariant: chunks are given oldest first, so of two rows of a series the later one is in the later chunk, or further down in the
//! same.

use std::ops::Range;

use datafusion::common::Result;

use datafusion::execution::memory_pool::MemoryReservation;

use super::{
    Job,
    chunk::{Chunk, Part, Payload},
};

/// Rows after which others may run.
const YIELD_ROWS: usize = 1 << 20;

/// Takes rows, series by series in the order of their numbers.
pub(super) trait Sink {
    /// Rows of a chunk that follow those before.
    fn put(&mut self, chunk: usize, rows: Range<usize>) -> Result<()>;

    /// The series has no more rows.
    fn end(&mut self) -> Result<()>;
}

/// Hands rows of chunks to a sink.
pub(super) async fn assemble<P: Payload>(job: &Job, chunks: &[Chunk<P>], sink: &mut (impl Sink + Send)) -> Result<()> {
    hand_on(job, chunks, &BySeries::of(job, chunks)?, 0..job.wanted.len(), sink).await
}

/// Parts of chunks, series by series.
pub(super) struct BySeries {
    parts: Vec<Part>,
    /// Where those of each series end.
    ends: Vec<usize>,
    _memory: MemoryReservation,
}

impl BySeries {
    pub(super) fn of<P>(job: &Job, chunks: &[Chunk<P>]) -> Result<Self> {
        let series = job.wanted.len();
        let count: usize = chunks.iter().map(|chunk| chunk.parts.len()).sum();
        let memory = job.memory.new_empty();
        memory.try_grow(count * size_of::<Part>() + series * size_of::<usize>())?;
        let (parts, ends) = by_series(chunks, series, count);
        Ok(Self { parts, ends, _memory: memory })
    }

    /// Those of a series.
    fn of_series(&self, number: usize) -> &[Part] {
        let begin = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.parts[begin..self.ends[number]]
    }
}

/// Hands rows of some series to a sink.
pub(super) async fn hand_on<P: Payload>(
    job: &Job,
    chunks: &[Chunk<P>],
    by_series: &BySeries,
    series: Range<usize>,
    sink: &mut (impl Sink + Send),
) -> Result<()> {
    let (mut length, mut waiting) = (0, 0);
    let mut parts = Vec::new();
    for number in series {
        parts.clear();
        parts.extend_from_slice(by_series.of_series(number));
        if parts.iter().all(Part::ascends) && !follow(&parts) {
            parts.sort_by_key(|part| part.first);
        }
        if follow(&parts) {
            for part in &parts {
                sink.put(part.chunk as usize, part.range())?;
                length += part.rows as usize;
            }
        } else {
            let rows: usize = parts.iter().map(|part| part.rows as usize).sum();
            let scratch = job.memory.new_empty();
            scratch.try_grow(2 * rows * size_of::<Row>())?;
            parts.sort_by_key(|part| (part.chunk, part.start));
            length += merge(chunks, &parts, sink)?;
        }
        // What was copied, or was there to look at.
        if length - waiting >= YIELD_ROWS {
            waiting = length;
            tokio::task::yield_now().await;
        }
        sink.end()?;
    }
    Ok(())
}

/// All parts in the order of series, and where those of each series end.
fn by_series<P>(chunks: &[Chunk<P>], series: usize, count: usize) -> (Vec<Part>, Vec<usize>) {
    let mut next = vec![0_usize; series];
    let all = || (0..).zip(chunks).flat_map(|(nth, chunk)| chunk.parts.iter().map(move |part| (nth, part)));
    for (_, part) in all() {
        next[part.series as usize] += 1;
    }
    let mut before = 0;
    for place in &mut next {
        (*place, before) = (before, before + *place);
    }
    let mut parts = vec![Part { series: 0, chunk: 0, start: 0, rows: 0, first: 0, last: 0 }; count];
    for (nth, part) in all() {
        let place = &mut next[part.series as usize];
        parts[*place] = Part { chunk: nth, ..*part };
        *place += 1;
    }
    (parts, next)
}

/// Does each part begin after the one before has ended, and each ascend?
fn follow(parts: &[Part]) -> bool {
    match parts {
        [one] => one.ascends(),
        parts => parts.windows(2).all(|pair| pair[0].is_before(&pair[1])),
    }
}

/// Time, chunk and row.
type Row = (i64, u32, u32);

/// Puts the rows of parts that overlap, oldest written first; says how many are left.
fn merge<P: Payload>(chunks: &[Chunk<P>], parts: &[Part], sink: &mut impl Sink) -> Result<usize> {
    let mut rows: Vec<Row> = Vec::with_capacity(parts.iter().map(|part| part.rows as usize).sum());
    for part in parts {
        let of = &chunks[part.chunk as usize].rows;
        rows.extend((part.start..part.start + part.rows).map(|row| (of.time_ms(row as usize), part.chunk, row)));
    }
    // Stable, so rows of one time stay in the order of writing; and quick with parts that ascend.
    rows.sort_by_key(|(time, ..)| *time);
    let (mut count, mut waiting) = (0, None::<(u32, Range<usize>)>);
    for same in rows.chunk_by(|a, b| a.0 == b.0) {
        let Some((_, chunk, row)) = same.last() else { continue };
        let row = *row as usize;
        count += 1;
        match &mut waiting {
            Some((last, range)) if last == chunk && range.end == row => range.end += 1,
            _ => {
                if let Some((chunk, range)) = waiting.replace((*chunk, row..row + 1)) {
                    sink.put(chunk as usize, range)?;
                }
            }
        }
    }
    if let Some((chunk, range)) = waiting {
        sink.put(chunk as usize, range)?;
    }
    Ok(count)
}
