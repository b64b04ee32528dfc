//! Reads rows of wanted series from a file: a task for about so many rows as keep a core busy for some milliseconds.
//!
//! Of a file that was written sorted, the rows of each series are known (`ranges`), so only the pages of the columns that are wanted
//! are fetched and decoded, and where a series' rows fill whole pages, those outside the range of times are left out. A file of a
//! foreign engine is read from its beginning to its end.

use std::{ops::Range, sync::Arc};

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, TimeUnit};
use datafusion::common::{DataFusionError, Result};
use futures::TryStreamExt;
use parquet::{
    arrow::{
        ParquetRecordBatchStreamBuilder, ProjectionMask,
        arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, RowSelection},
    },
    file::{metadata::PageIndexPolicy, page_index::column_index::ColumnIndexMetaData},
};
use storage::DataFile;

use super::{
    super::blocks::{self, Block},
    Job, TASK_ROWS,
    chunk::{Chunk, Part, Parts, Payload, Shape, times},
    floats,
    head::Matches,
    stretches::{self, Stretch, cut},
};
use crate::table::{Reader, ranges::Opened};

/// Rows decoded at once: they stay in the cache of a core until they are copied.
const BATCH_ROWS: usize = 8_192;
/// Blocks of a task.
const BLOCKS_AT_ONCE: usize = 4;
/// Rows of a series from which it is worth looking whether whole pages are outside the range.
const PAGES_FROM: u64 = 4_096;

/// Reads some rows of a file.
pub(super) struct FileTask {
    job: Arc<Job>,
    reader: Arc<Reader>,
    file: Arc<DataFile>,
    metadata: ArrowReaderMetadata,
    rank: u32,
    rows: FileRows,
}

enum FileRows {
    /// Those of series; are all times within the range?
    Stretches(Vec<Stretch>, bool),
    /// The same, by block.
    Blocks(Vec<(u64, Vec<Stretch>)>, bool),
    /// All, to be looked at one by one.
    All,
}

impl FileTask {
    /// The tasks that read a file.
    pub(super) async fn of(reader: &Arc<Reader>, job: &Arc<Job>, file: &Arc<DataFile>, rank: u32) -> Result<Vec<Self>> {
        let mut found = Vec::new();
        if file.sorted {
            let ranges = match reader.known_ranges(file) {
                Some(known) => known,
                // The first time it takes a while; other files are read meanwhile.
                None => {
                    let (reader, file) = (Arc::clone(reader), Arc::clone(file));
                    super::spawn(async move { reader.ranges(&file).await }).await?
                }
            };
            found = stretches::of_file(&job.wanted, &ranges);
            if found.is_empty() {
                return Ok(Vec::new());
            }
            job.memory.try_grow(found.len() * (size_of::<Stretch>() + size_of::<Part>()))?;
        }
        let whole = file.sorted && is_within(file, job);
        if whole {
            // Counted before anything is read.
            job.budget.take(rows_of(&found))?;
        }
        // What the columns are, the datasets say. Without the page index, stretches would be read by whole column chunks.
        let options =
            ArrowReaderOptions::new().with_skip_arrow_metadata(true).with_page_index_policy(PageIndexPolicy::Optional);
        let metadata = ArrowReaderMetadata::load_async(&mut Opened(reader.open(file)?), options).await?;
        let task = |rows| Self {
            job: Arc::clone(job),
            reader: Arc::clone(reader),
            file: Arc::clone(file),
            metadata: metadata.clone(),
            rank,
            rows,
        };
        if !file.sorted {
            return Ok(vec![task(FileRows::All)]);
        }
        if !whole {
            let pages = Pages::of(&metadata, job.dataset.time);
            found.retain_mut(|(_, rows)| {
                if rows.end - rows.start >= PAGES_FROM {
                    *rows = pages.within(rows.clone(), &job.times_us);
                }
                !rows.is_empty()
            });
        }
        if job.by_block {
            let blocks = by_block(found);
            return Ok(blocks
                .chunks(BLOCKS_AT_ONCE)
                .map(|some| task(FileRows::Blocks(some.to_vec(), whole)))
                .collect());
        }
        Ok(portions(found).into_iter().map(|some| task(FileRows::Stretches(some, whole))).collect())
    }

    /// Reads them.
    pub(super) async fn run<P: Payload>(self) -> Result<Vec<Chunk<P>>> {
        match &self.rows {
            FileRows::Stretches(rows, whole) => Ok(vec![self.stretches(rows, *whole).await?]),
            FileRows::Blocks(blocks, whole) => {
                let mut chunks = Vec::with_capacity(blocks.len());
                for (block, stretches) in blocks {
                    chunks.push(self.block(*block, stretches, *whole).await?);
                }
                Ok(chunks)
            }
            FileRows::All => Ok(vec![self.all().await?]),
        }
    }

    /// Rows of one block: of the block as a whole if it is in memory or worth being there, else as they are.
    async fn block<P: Payload>(&self, number: u64, stretches: &[Stretch], whole: bool) -> Result<Chunk<P>> {
        let blocks = &self.reader.blocks;
        let block = match blocks.get(&self.file.path, number) {
            Some(block) => block,
            None if blocks.is_worth(&self.file.path, number, rows_of(stretches)) => {
                let block = Arc::new(self.decode(number).await?);
                blocks.put(self.file.path.clone(), number, Arc::clone(&block));
                block
            }
            None => return self.stretches(stretches, whole).await,
        };
        let Some(rows) = P::of_block(&block) else { return self.stretches(stretches, whole).await };
        let (first, times_ms, job) = (number * blocks::ROWS, block.floats.times(), &self.job);
        let range_ms = job.times_us.start.div_euclid(1_000)..job.times_us.end.div_euclid(1_000);
        let (mut parts, mut count) = (Parts::default(), 0);
        for (series, rows) in stretches {
            let rows = place(rows.start - first)..place(rows.end - first);
            let ascends = block.ascends(&rows);
            let rows = if whole || !ascends { rows } else { cut(times_ms, rows, &range_ms) };
            // What is cut off as a whole may be cut off at the end of the block, where no row is.
            if rows.is_empty() {
                continue;
            }
            let (Some(from), Some(to)) = (times_ms.get(rows.start), times_ms.get(rows.end - 1)) else {
                return Err(self.wrong());
            };
            if !ascends {
                // Rows that Prometheus would not have: they are looked at one by one.
                return self.stretches(stretches, whole).await;
            }
            count += rows.len();
            let number = |row: usize| u32::try_from(row).unwrap_or(u32::MAX);
            let (first, last) = (from.saturating_mul(1_000), to.saturating_mul(1_000));
            parts.push(Part {
                series: *series,
                chunk: 0,
                start: number(rows.start),
                rows: number(rows.len()),
                first,
                last,
            });
        }
        if !whole {
            job.budget.take(count)?;
        }
        Ok(Chunk { rank: self.rank, parts: parts.0, rows })
    }

    /// Decodes all rows of a block.
    async fn decode(&self, number: u64) -> Result<Block> {
        let rows = number * blocks::ROWS..((number + 1) * blocks::ROWS).min(self.file_rows());
        let count = place(rows.end.saturating_sub(rows.start));
        let selection = RowSelection::from_consecutive_ranges(
            std::iter::once(place(rows.start)..place(rows.end)),
            place(self.file_rows()),
        );
        let builder = ParquetRecordBatchStreamBuilder::new_with_metadata(
            Opened(self.reader.open(&self.file)?),
            self.metadata.clone(),
        );
        let mask = ProjectionMask::columns(builder.parquet_schema(), ["ts", "value"]);
        let mut batches = builder
            .with_projection(mask)
            .with_row_selection(selection)
            .with_batch_size(count.clamp(1, BATCH_ROWS))
            .build()?;
        let shape = Shape::new(batches.schema(), &self.job.columns)?;
        let (mut times_ms, mut values) = (Vec::with_capacity(count), Vec::with_capacity(count));
        while let Some(batch) = batches.try_next().await? {
            let batch = shape.fit(&batch)?;
            times_ms.extend(times(&batch)?.iter().map(|us| us.div_euclid(1_000)));
            values.extend_from_slice(floats::values(&batch)?);
            tokio::task::yield_now().await;
        }
        if times_ms.len() != count {
            return Err(self.wrong());
        }
        Ok(Block::new(times_ms, values))
    }

    async fn stretches<P: Payload>(&self, stretches: &[Stretch], whole: bool) -> Result<Chunk<P>> {
        let job = &self.job;
        let count = rows_of(stretches);
        let builder = ParquetRecordBatchStreamBuilder::new_with_metadata(
            Opened(self.reader.open(&self.file)?),
            self.metadata.clone(),
        );
        let names = job.columns.fields().iter().map(|field| field.name().as_str());
        let mask = ProjectionMask::columns(builder.parquet_schema(), names);
        let ranges = stretches.iter().map(|(_, rows)| place(rows.start)..place(rows.end));
        let selection = RowSelection::from_consecutive_ranges(ranges, place(self.file_rows()));
        let mut batches = builder
            .with_projection(mask)
            .with_row_selection(selection)
            .with_batch_size(count.clamp(1, BATCH_ROWS))
            .build()?;
        let shape = Shape::new(batches.schema(), &job.columns)?;
        let mut rows = P::with_room(job, if whole { count } else { 0 })?;
        let (mut parts, mut length, mut kept) = (Parts::default(), 0, Vec::new());
        let mut ahead = stretches.iter().map(|(series, rows)| (*series, place(rows.end - rows.start)));
        let (mut series, mut left) = (0, 0);
        while let Some(batch) = batches.try_next().await? {
            let batch = shape.fit(&batch)?;
            let times_us = times(&batch)?;
            kept.clear();
            let (mut row, before) = (0, length);
            while row < times_us.len() {
                if left == 0 {
                    (series, left) = ahead.next().ok_or_else(|| self.wrong())?;
                }
                let end = times_us.len().min(row + left);
                left -= end - row;
                let some = cut(times_us, row..end, &job.times_us);
                row = end;
                if !some.is_empty() {
                    parts.add(series, length, &times_us[some.clone()])?;
                    length += some.len();
                    kept.push(some);
                }
            }
            if !whole {
                job.budget.take(length - before)?;
            }
            rows.append(job, &batch, &kept)?;
            tokio::task::yield_now().await;
        }
        if left > 0 || ahead.next().is_some() {
            return Err(self.wrong());
        }
        Ok(Chunk { rank: self.rank, parts: parts.0, rows })
    }

    /// Looks at every row.
    async fn all<P: Payload>(&self) -> Result<Chunk<P>> {
        let job = &self.job;
        let builder = ParquetRecordBatchStreamBuilder::new_with_metadata(
            Opened(self.reader.open(&self.file)?),
            self.metadata.clone(),
        );
        let names = job.columns.fields().iter().map(|field| field.name().as_str());
        let mask = ProjectionMask::columns(builder.parquet_schema(), names.chain(["metric", "series_id"]));
        let mut batches = builder.with_projection(mask).with_batch_size(BATCH_ROWS).build()?;
        let shape = Shape::new(batches.schema(), &job.columns)?;
        let identity = Schema::new(vec![
            Field::new("metric", schemas::dictionary(), false),
            Field::new("series_id", DataType::Int64, false),
        ]);
        let identity = Shape::new(batches.schema(), &Arc::new(identity))?;
        let (mut matches, lookup) = (Matches::default(), job.wanted.lookup());
        while let Some(batch) = batches.try_next().await? {
            let (of, batch) = (identity.fit(&batch)?, shape.fit(&batch)?);
            matches.add(job, &lookup, [of.column(0), of.column(1)], batch)?;
            tokio::task::yield_now().await;
        }
        matches.into_chunk(job, self.rank)
    }

    fn file_rows(&self) -> u64 {
        let groups = self.metadata.metadata().row_groups();
        groups.iter().map(|group| u64::try_from(group.num_rows()).unwrap_or(0)).sum()
    }

    fn wrong(&self) -> DataFusionError {
        DataFusionError::Internal(format!("file has other rows than were asked for file={}", self.file.path))
    }
}

/// Are all times of a file within the range?
fn is_within(file: &DataFile, job: &Job) -> bool {
    let is_within = |(least, greatest)| least >= job.times_us.start && greatest < job.times_us.end;
    file.times_us(job.dataset).is_some_and(is_within)
}

/// Cuts stretches at the ends of blocks, and sorts them by block.
fn by_block(stretches: Vec<Stretch>) -> Vec<(u64, Vec<Stretch>)> {
    let mut blocks: Vec<(u64, Vec<Stretch>)> = Vec::new();
    for (series, mut rows) in stretches {
        while !rows.is_empty() {
            let block = rows.start / blocks::ROWS;
            let end = rows.end.min((block + 1) * blocks::ROWS);
            match blocks.last_mut() {
                Some((last, stretches)) if *last == block => stretches.push((series, rows.start..end)),
                _ => blocks.push((block, vec![(series, rows.start..end)])),
            }
            rows.start = end;
        }
    }
    blocks
}

/// Cuts stretches into portions for a task each.
fn portions(stretches: Vec<Stretch>) -> Vec<Vec<Stretch>> {
    let (mut portions, mut rows) = (Vec::new(), TASK_ROWS);
    for stretch in stretches {
        if rows >= TASK_ROWS {
            portions.push(Vec::new());
            rows = 0;
        }
        rows += rows_of(std::slice::from_ref(&stretch));
        if let Some(portion) = portions.last_mut() {
            portion.push(stretch);
        }
    }
    portions
}

fn rows_of(stretches: &[Stretch]) -> usize {
    place(stretches.iter().map(|(_, rows)| rows.end - rows.start).sum())
}

fn place(row: u64) -> usize {
    usize::try_from(row).unwrap_or(usize::MAX)
}

/// Pages of the column of times: first row, least and greatest time.
struct Pages(Vec<(u64, i64, i64)>);

impl Pages {
    /// Those of a file; none if it has no index of pages.
    fn of(metadata: &ArrowReaderMetadata, time: &str) -> Self {
        Self(Self::try_of(metadata, time).unwrap_or_default())
    }

    fn try_of(metadata: &ArrowReaderMetadata, time: &str) -> Option<Vec<(u64, i64, i64)>> {
        let is_micros = |field: &Field| matches!(field.data_type(), DataType::Timestamp(TimeUnit::Microsecond, _));
        metadata.schema().field_with_name(time).ok().filter(|field| is_micros(field))?;
        let leaf = metadata.parquet_schema().columns().iter().position(|column| column.path().parts() == [time])?;
        let of_file = metadata.metadata();
        let (values, places) = (of_file.column_index()?, of_file.offset_index()?);
        let (mut pages, mut first) = (Vec::new(), 0);
        for ((group, values), places) in of_file.row_groups().iter().zip(values).zip(places) {
            let ColumnIndexMetaData::INT64(values) = values.get(leaf)? else { return None };
            for (nth, page) in places.get(leaf)?.page_locations().iter().enumerate() {
                let bound = |value: Option<&i64>, unknown: i64| value.copied().unwrap_or(unknown);
                let row = first + u64::try_from(page.first_row_index).ok()?;
                let greatest = bound(values.max_value(nth), i64::MAX);
                pages.push((row, bound(values.min_value(nth), i64::MIN), greatest));
            }
            first += u64::try_from(group.num_rows()).ok()?;
        }
        Some(pages)
    }

    /// Rows of one series without those at both ends that are outside the range, by whole pages. A page that the series shares with
    /// another tells nothing; but what comes before a page of times that are too early is earlier still.
    fn within(&self, mut rows: Range<u64>, times_us: &Range<i64>) -> Range<u64> {
        let Self(pages) = self;
        let first = pages.partition_point(|(row, ..)| *row < rows.start);
        let last = pages.partition_point(|(row, ..)| *row <= rows.end).saturating_sub(1);
        let own = pages.get(first..last).unwrap_or_default();
        let kept = own.partition_point(|(_, least, _)| *least < times_us.end);
        if let Some((row, ..)) = own.get(kept) {
            rows.end = *row;
        }
        let skipped = own.partition_point(|(.., greatest)| *greatest < times_us.start);
        if skipped > 0
            && let Some((row, ..)) = pages.get(first + skipped)
        {
            rows.start = (*row).min(rows.end);
        }
        rows
    }
}

/// Metrics and ids of rows.
pub(super) fn identity<'a>(
    metrics: &'a dyn Array,
    ids: &'a dyn Array,
) -> Option<(&'a arrow::array::StringArray, &'a [i32], &'a [i64])> {
    let metrics = metrics.as_dictionary_opt::<Int32Type>()?;
    let names = metrics.values().as_string_opt::<i32>()?;
    Some((names, metrics.keys().values(), ids.as_primitive_opt::<Int64Type>()?.values()))
}
