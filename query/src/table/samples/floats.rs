//! Float samples as flat columns: what a chunk keeps of them, and the answer.
//!
//! Times become milliseconds where they are decoded, while they are in the cache of the core; rows of the head's runs stay where they
//! are until they are copied into the answer. If one chunk has all rows in the order of the answer, it becomes the answer; and a series
//! whose rows are all in one block of a file is answered by saying where.

use std::{ops::Range, sync::Arc};

use arrow::array::{Array, AsArray, RecordBatch, TimestampMicrosecondArray};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{Float64Type, TimestampMicrosecondType};
use datafusion::{
    common::{DataFusionError, Result},
    execution::memory_pool::MemoryReservation,
};

use futures::future::try_join_all;
use promql::{Floats, NO_START, Place};

use super::{
    super::blocks::Block,
    Job,
    assemble::{BySeries, Sink, hand_on},
    chunk::{Chunk, Payload, times},
    head::count,
};

/// Rows to be copied from which on several threads do: some milliseconds of work.
const SHARED_ROWS: usize = 256 << 10;

/// Samples of series; those of each in ascending time, each time once.
#[derive(Debug)]
pub(crate) struct Found {
    pub floats: Vec<Arc<Floats>>,
    /// Where those of each series are, by its number.
    pub places: Vec<Place>,
    memory: MemoryReservation,
}

impl Found {
    /// Times, milliseconds, and values of a series.
    pub(crate) fn of(&self, series: usize) -> (&[i64], &[f64]) {
        let Place { floats, start, end } = self.places[series];
        let rows = start as usize..end as usize;
        self.floats.get(floats as usize).map_or((&[], &[]), |of| (&of.times()[rows.clone()], &of.values()[rows]))
    }

    /// How many samples there are.
    pub(crate) fn count(&self) -> usize {
        self.places.iter().map(|place| (place.end - place.start) as usize).sum()
    }

    /// Hands on the memory of the columns, for whoever takes them out.
    pub(crate) fn take_memory(&mut self) -> MemoryReservation {
        self.memory.take()
    }

    /// Makes an answer of chunks, oldest first.
    pub(super) async fn assemble(job: &Arc<Job>, mut chunks: Vec<Chunk<Columns>>, with_starts: bool) -> Result<Self> {
        // Of the same consumer, so that what is moved from a chunk to the answer stays with it.
        let memory = job.memory.new_empty();
        memory.try_grow(job.wanted.len() * size_of::<Place>())?;
        if let [chunk] = chunks.as_mut_slice()
            && let Some((places, flat)) = as_it_is(job, chunk)
        {
            memory.grow(job.memory.split(flat.times_ms.capacity() * width(with_starts)).free());
            job.budget.check(flat.times_ms.len())?;
            return Ok(Self { floats: vec![flat.finish()], places, memory });
        }
        let copied = copied_rows(job, &chunks);
        let all: usize = copied.iter().sum();
        memory.try_grow(all * width(with_starts))?;
        let count = job.wanted.len();
        let cores = tokio::runtime::Handle::current().metrics().num_workers();
        let shares = if all >= SHARED_ROWS { cores.clamp(1, count) } else { 1 };
        let of = Arc::new((BySeries::of(job, &chunks)?, chunks));
        let share = |nth: usize| {
            let series = count * nth / shares..count * (nth + 1) / shares;
            let flat = Flat::new(copied[series.clone()].iter().sum(), with_starts);
            let (job, of) = (Arc::clone(job), Arc::clone(&of));
            async move {
                let (by_series, chunks) = &*of;
                let mut gathered = Gathered::new(chunks, flat, (nth, shares));
                hand_on(&job, chunks, by_series, series, &mut gathered).await?;
                Ok((gathered.flat.finish(), gathered.places, gathered.rows))
            }
        };
        let gathered = match shares {
            1 => vec![share(0).await?],
            _ => try_join_all((0..shares).map(|nth| super::spawn(share(nth)))).await?,
        };
        job.budget.check(gathered.iter().map(|(.., rows)| rows).sum())?;
        let (mut floats, mut places) = (Vec::new(), Vec::with_capacity(count));
        for (flat, of_share, _) in gathered {
            floats.push(flat);
            places.extend(of_share);
        }
        floats.extend(of.1.iter().map(|chunk| match &chunk.rows {
            Columns::Block(block) => Arc::clone(&block.floats),
            // Only so that chunks keep their numbers.
            _ => Arc::default(),
        }));
        Ok(Self { floats, places, memory })
    }
}

/// Rows of each series that will be copied: those in several parts, and those that are not in a block.
fn copied_rows(job: &Job, chunks: &[Chunk<Columns>]) -> Vec<usize> {
    let mut parts = vec![0_u32; job.wanted.len()];
    for part in chunks.iter().flat_map(|chunk| &chunk.parts) {
        parts[part.series as usize] += 1;
    }
    let mut copied = vec![0; job.wanted.len()];
    for chunk in chunks {
        let is_block = matches!(chunk.rows, Columns::Block(_));
        for part in &chunk.parts {
            if !is_block || parts[part.series as usize] > 1 || !part.ascends() {
                copied[part.series as usize] += part.rows as usize;
            }
        }
    }
    copied
}

/// An answer as it grows: a series that has one part, in a block, stays there; others are copied.
struct Gathered<'a> {
    chunks: &'a [Chunk<Columns>],
    flat: Flat,
    places: Vec<Place>,
    /// Number of `flat` among the answer's floats, and of the first chunk.
    numbers: (usize, usize),
    /// Where in `flat` the series begins.
    begin: usize,
    /// The only rows so far, if they are of a block.
    whole: Option<(usize, Range<usize>)>,
    rows: usize,
}

impl<'a> Gathered<'a> {
    fn new(chunks: &'a [Chunk<Columns>], flat: Flat, numbers: (usize, usize)) -> Self {
        Self { chunks, flat, places: Vec::new(), numbers, begin: 0, whole: None, rows: 0 }
    }
}

impl Sink for Gathered<'_> {
    fn put(&mut self, chunk: usize, rows: Range<usize>) -> Result<()> {
        self.rows += rows.len();
        let is_first = self.whole.is_none() && self.flat.times_ms.len() == self.begin;
        if is_first && matches!(self.chunks[chunk].rows, Columns::Block(_)) {
            self.whole = Some((chunk, rows));
            return Ok(());
        }
        if let Some((chunk, rows)) = self.whole.take() {
            self.flat.add(&self.chunks[chunk].rows, rows);
        }
        self.flat.add(&self.chunks[chunk].rows, rows);
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        let place = match self.whole.take() {
            Some((chunk, rows)) => place(self.numbers.1 + chunk, rows)?,
            None => place(self.numbers.0, self.begin..self.flat.times_ms.len())?,
        };
        self.begin = self.flat.times_ms.len();
        self.places.push(place);
        Ok(())
    }
}

fn place(floats: usize, rows: Range<usize>) -> Result<Place> {
    let number = |number: usize| {
        u32::try_from(number).map_err(|_| DataFusionError::ResourcesExhausted("too many samples at once".to_owned()))
    };
    Ok(Place { floats: number(floats)?, start: number(rows.start)?, end: number(rows.end)? })
}

/// Bytes a row.
fn width(with_starts: bool) -> usize {
    if with_starts { 24 } else { 16 }
}

/// Takes the rows of a chunk that has them as the answer has them.
fn as_it_is(job: &Job, chunk: &mut Chunk<Columns>) -> Option<(Vec<Place>, Flat)> {
    let Columns::Owned(flat) = &mut chunk.rows else { return None };
    let (mut places, mut end) = (Vec::with_capacity(job.wanted.len()), 0);
    for part in &chunk.parts {
        // A series that comes again, or too late, is one for which there is a place already.
        let series = part.series as usize;
        if series < places.len() || !part.ascends() || part.start as usize != end {
            return None;
        }
        end = part.range().end;
        places.resize(series, Place::default());
        places.push(place(0, part.range()).ok()?);
    }
    if end != flat.times_ms.len() {
        return None;
    }
    places.resize(job.wanted.len(), Place::default());
    Some((places, std::mem::take(flat)))
}

/// What a chunk keeps of float samples.
pub(crate) enum Columns {
    /// Decoded for this read.
    Owned(Flat),
    /// Decoded for whoever wants them.
    Block(Arc<Block>),
    /// Of rows of the head.
    Shared {
        /// Microseconds.
        times_us: ScalarBuffer<i64>,
        values: ScalarBuffer<f64>,
        starts: Option<TimestampMicrosecondArray>,
    },
}

/// Columns of one length.
#[derive(Debug, Default)]
pub(crate) struct Flat {
    times_ms: Vec<i64>,
    values: Vec<f64>,
    starts_ms: Option<Vec<i64>>,
}

impl Flat {
    fn new(rows: usize, with_starts: bool) -> Self {
        Self {
            times_ms: Vec::with_capacity(rows),
            values: Vec::with_capacity(rows),
            starts_ms: with_starts.then(|| Vec::with_capacity(rows)),
        }
    }

    fn add(&mut self, from: &Columns, rows: Range<usize>) {
        match from {
            Columns::Owned(flat) => {
                self.times_ms.extend_from_slice(&flat.times_ms[rows.clone()]);
                self.values.extend_from_slice(&flat.values[rows.clone()]);
                if let (Some(to), Some(from)) = (&mut self.starts_ms, &flat.starts_ms) {
                    to.extend_from_slice(&from[rows]);
                }
            }
            Columns::Block(block) => {
                self.times_ms.extend_from_slice(&block.floats.times()[rows.clone()]);
                self.values.extend_from_slice(&block.floats.values()[rows]);
            }
            Columns::Shared { times_us, values, starts } => {
                self.add_micros(&times_us[rows.clone()], &values[rows.clone()]);
                if let (Some(to), Some(from)) = (&mut self.starts_ms, starts) {
                    add_starts(to, from, rows);
                }
            }
        }
    }

    /// Times, milliseconds, and values.
    pub(super) fn columns(&self) -> (&[i64], &[f64]) {
        (&self.times_ms, &self.values)
    }

    fn finish(self) -> Arc<Floats> {
        let Self { times_ms, values, starts_ms } = self;
        let starts = starts_ms.filter(|starts| starts.iter().any(|start| *start != NO_START));
        Arc::new(Floats::new(times_ms, values, starts.unwrap_or_default()))
    }

    fn add_micros(&mut self, times_us: &[i64], values: &[f64]) {
        self.times_ms.extend(times_us.iter().map(|us| us.div_euclid(1_000)));
        self.values.extend_from_slice(values);
    }
}

fn add_starts(to: &mut Vec<i64>, from: &TimestampMicrosecondArray, rows: Range<usize>) {
    if from.null_count() == from.len() {
        to.resize(to.len() + rows.len(), NO_START);
        return;
    }
    let start = |row: usize| if from.is_null(row) { NO_START } else { from.value(row).div_euclid(1_000) };
    to.extend(rows.map(start));
}

/// Values of a batch.
pub(super) fn values(batch: &RecordBatch) -> Result<&[f64]> {
    Ok(rest(batch)?.0)
}

/// Values and beginnings of a batch.
fn rest(batch: &RecordBatch) -> Result<(&ScalarBuffer<f64>, Option<&TimestampMicrosecondArray>)> {
    let wrong = || DataFusionError::Internal("samples have no values, or no beginnings".to_owned());
    let values = batch.column(1).as_primitive_opt::<Float64Type>().filter(|values| values.null_count() == 0);
    let starts = batch.columns().get(2).map(|starts| starts.as_primitive_opt::<TimestampMicrosecondType>());
    let starts = starts.map(|starts| starts.ok_or_else(wrong)).transpose()?;
    Ok((values.ok_or_else(wrong)?.values(), starts))
}

impl Payload for Columns {
    fn with_room(job: &Job, rows: usize) -> Result<Self> {
        let with_starts = job.columns.fields().len() > 2;
        job.memory.try_grow(rows * width(with_starts))?;
        Ok(Self::Owned(Flat::new(rows, with_starts)))
    }

    fn append(&mut self, job: &Job, batch: &RecordBatch, kept: &[Range<usize>]) -> Result<()> {
        let Self::Owned(flat) = self else {
            return Err(DataFusionError::Internal("rows of the head cannot be changed".to_owned()));
        };
        let (length, room) = (flat.times_ms.len(), flat.times_ms.capacity());
        let wanted = length + count(kept);
        if wanted > room {
            let wanted = wanted.max(2 * room);
            job.memory.try_grow((wanted - room) * width(flat.starts_ms.is_some()))?;
            flat.times_ms.reserve_exact(wanted - length);
            flat.values.reserve_exact(wanted - length);
            flat.starts_ms.iter_mut().for_each(|starts| starts.reserve_exact(wanted - length));
        }
        let (times_us, (values, starts)) = (times(batch)?, rest(batch)?);
        for rows in kept {
            flat.add_micros(&times_us[rows.clone()], &values[rows.clone()]);
            if let (Some(to), Some(from)) = (&mut flat.starts_ms, starts) {
                add_starts(to, from, rows.clone());
            }
        }
        Ok(())
    }

    fn shared(batch: RecordBatch) -> Result<Self> {
        let times_us = batch.column(0).as_primitive_opt::<TimestampMicrosecondType>();
        let times_us = times_us.ok_or_else(|| DataFusionError::Internal("samples have no times".to_owned()))?;
        let (values, starts) = rest(&batch)?;
        Ok(Self::Shared { times_us: times_us.values().clone(), values: values.clone(), starts: starts.cloned() })
    }

    fn gather(job: &Job, batches: &[RecordBatch], places: &[(usize, usize)]) -> Result<Self> {
        let mut gathered = Self::with_room(job, places.len())?;
        let Self::Owned(flat) = &mut gathered else { return Ok(gathered) };
        let from = batches.iter().map(|batch| Ok((times(batch)?, rest(batch)?))).collect::<Result<Vec<_>>>()?;
        for (batch, row) in places {
            let (times_us, (values, starts)) = &from[*batch];
            flat.times_ms.push(times_us[*row].div_euclid(1_000));
            flat.values.push(values[*row]);
            if let (Some(to), Some(from)) = (&mut flat.starts_ms, starts) {
                add_starts(to, from, *row..*row + 1);
            }
        }
        Ok(gathered)
    }

    fn of_block(block: &Arc<Block>) -> Option<Self> {
        Some(Self::Block(Arc::clone(block)))
    }

    fn time_ms(&self, row: usize) -> i64 {
        match self {
            Self::Owned(flat) => flat.times_ms[row],
            Self::Block(block) => block.floats.times()[row],
            Self::Shared { times_us, .. } => times_us[row].div_euclid(1_000),
        }
    }
}
