//! Rebuilds the state of admission from what storage holds: which series are known, and what was written last of each.
//!
//! Called at start, before any request, and when storage has refused what was admitted. Reads `series` of yesterday and later, the heads, and as few of the newest
//! files as hold the last minutes; what is not read only makes rows take the late lane, never doubles them.
//!
//! Invariants: no row of a series is newer than its slot's last time; where that time is only a bound, nothing counts as a
//! repetition of it. Not here: the raw forms of labels, which are learned again from the first requests.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray as _, DictionaryArray, Int64Array, MapArray, RecordBatch, TimestampMicrosecondArray},
    compute::cast,
    datatypes::{DataType, Date32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType},
};
use storage::{Bound, DataFile, Storage, View};

use super::{
    admit::{Admission, Limits},
    labels::{self, Identity},
    reject::Reason,
    rules::Rules,
    series_index::{Last, NONE},
    window::Window,
};
use crate::{
    Error, ErrorKind, Result,
    stored::{column, read_file},
};

/// Files that reach into so much before the newest committed time are read for the last times of their series; older ones
/// only bound them. Two senders' clocks and a scrape interval differ by less.
const RECENT_US: i64 = 600_000_000;
/// Rows read at most for that, a few seconds of work. What lies beyond is treated like older files.
const ROWS_MAX: u64 = 50_000_000;

/// Admission that goes on where the log ends.
pub(crate) async fn admission(
    storage: &Storage,
    limits: Limits,
    rules: Arc<Rules>,
    window: &Window,
) -> Result<Admission> {
    let mut admission = Admission::new(limits, window).with_rules(rules);
    admission.generation = storage.generation();
    // What was appended before is in the views that are read.
    storage.append_in(admission.generation, storage.reserve(0).await?, Vec::new()).done().await?;
    known_series(storage, window, &mut admission).await?;
    last_times(storage, &mut admission).await?;
    let exemplars = storage.view(schemas::exemplars());
    if let Some(newest_us) = newest(&exemplars)? {
        admission.exemplars.raise_floor(milliseconds_up(newest_us));
    }
    metadata(storage, &mut admission).await?;
    Ok(admission)
}

fn metrics(batch: &RecordBatch) -> Result<DictionaryArray<Int32Type>> {
    Ok(column(batch, "metric", &schemas::dictionary())?.as_dictionary::<Int32Type>().clone())
}

fn series_ids(batch: &RecordBatch) -> Result<Int64Array> {
    Ok(column(batch, "series_id", &DataType::Int64)?.as_primitive::<Int64Type>().clone())
}

fn times(batch: &RecordBatch, name: &str) -> Result<TimestampMicrosecondArray> {
    Ok(column(batch, name, &schemas::timestamp())?.as_primitive::<TimestampMicrosecondType>().clone())
}

/// Largest time in a file; one without statistics may hold any.
fn time_max(view: &View, file: &DataFile) -> i64 {
    match file.bounds.get(view.dataset.time) {
        Some((_, Bound::Int(max))) => *max,
        _ => i64::MAX,
    }
}

/// Newest time in a view, or a bound of it.
fn newest(view: &View) -> Result<Option<i64>> {
    let mut newest = view.files.iter().map(|file| time_max(view, file)).max();
    for rows in &view.head {
        newest = newest.max(arrow::compute::max(&times(&rows.batch, view.dataset.time)?));
    }
    Ok(newest)
}

/// Milliseconds not before a time. Foreign files may hold times between milliseconds.
fn milliseconds_up(us: i64) -> i64 {
    us.div_euclid(1000).saturating_add(i64::from(us.rem_euclid(1000) > 0))
}

/// Enters the series of the days from [`SeriesIndex::known_from`](super::series_index::SeriesIndex) on.
async fn known_series(storage: &Storage, window: &Window, admission: &mut Admission) -> Result<()> {
    let from = admission.index.known_from;
    let view = storage.view(schemas::series());
    // ISO dates sort as text, so no date has to be parsed until a file is read.
    let from_text = Date32Type::to_naive_date_opt(from).map(|day| day.to_string()).unwrap_or_default();
    let mut full = false;
    for file in view.files.iter() {
        let Some(partition) = file.partition.as_deref().filter(|partition| **partition >= *from_text) else { continue };
        let text: ArrayRef = Arc::new(arrow::array::StringArray::from(vec![partition]));
        let day = cast(&text, &DataType::Date32)?.as_primitive::<Date32Type>().value(0);
        let mut enter = |batch: &RecordBatch| enter_series(batch, |_| day, from, admission, &mut full);
        read_file(storage, file, &["metric", "series_id", "labels"], &mut enter).await?;
    }
    for rows in &view.head {
        let days = column(&rows.batch, "day", &DataType::Date32)?;
        let days = days.as_primitive::<Date32Type>();
        enter_series(&rows.batch, |row| days.value(row), from, admission, &mut full)?;
    }
    if full {
        // Some series of these days are not known, so no series without a slot may count as new.
        admission.index.known_from = window.today + 2;
        tracing::warn!(
            series = admission.series(),
            "more series are stored than may be known; their samples take the late lane"
        );
    }
    Ok(())
}

fn enter_series(
    batch: &RecordBatch,
    day: impl Fn(usize) -> i32,
    from: i32,
    admission: &mut Admission,
    full: &mut bool,
) -> Result<()> {
    let (metrics, ids) = (metrics(batch)?, series_ids(batch)?);
    let metrics = metrics.downcast_dict::<arrow::array::StringArray>().ok_or_else(|| wrong_type("metric"))?;
    let labels = column(batch, "labels", &schemas::string_map())?;
    let labels: &MapArray = labels.as_map();
    let (names, values) = (labels.keys().as_string::<i32>(), labels.values().as_string::<i32>());
    let offsets = labels.value_offsets();
    for row in 0..batch.num_rows() {
        if day(row) < from {
            continue;
        }
        let metric = arrow::array::ArrayAccessor::value(&metrics, row);
        let entries = usize::try_from(offsets[row]).unwrap_or(0)..usize::try_from(offsets[row + 1]).unwrap_or(0);
        let canonical = labels::identity(metric, entries.map(|at| (names.value(at), values.value(at)))).canonical;
        match admission.index.enter_stored(metric, Identity { series_id: ids.value(row), canonical }) {
            Ok(slot) => admission.index.slots[slot as usize].add_day(day(row)),
            Err(reject) => *full |= reject.reason == Reason::SeriesLimit,
        }
    }
    Ok(())
}

fn wrong_type(column: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("stored rows have a column of another type: column={column}"))
}

/// The newest row of a series so far: later times win, then later writes.
#[derive(Clone, Copy)]
struct Newest {
    ts_us: i64,
    seq: i64,
    bits: u64,
    last: Last,
}

/// Sets the last time of every slot.
async fn last_times(storage: &Storage, admission: &mut Admission) -> Result<()> {
    let nothing = Newest { ts_us: i64::MIN, seq: i64::MIN, bits: 0, last: Last::Unknown };
    let mut newest = vec![nothing; admission.index.slots.len()];
    let views = [storage.view(schemas::samples()), storage.view(schemas::histograms())];
    let mut files: Vec<(i64, &View, &DataFile)> = Vec::new();
    for view in &views {
        files.extend(view.files.iter().map(|file| (time_max(view, file), &**view, &**file)));
        for rows in &view.head {
            newest_rows(&rows.batch, rows.seq, admission, &mut newest)?;
        }
    }
    files.sort_by_key(|(time_max, ..)| std::cmp::Reverse(*time_max));
    let recent_us = files.first().map_or(i64::MIN, |(time_max, ..)| time_max.saturating_sub(RECENT_US));
    let (mut rows, mut floor_us) = (0, i64::MIN);
    for (time_max, view, file) in files {
        rows += file.rows;
        if time_max < recent_us || rows > ROWS_MAX {
            floor_us = floor_us.max(time_max);
            continue;
        }
        let value = view.dataset.index_of("value").map(|_| "value");
        let columns: Vec<&str> = ["metric", "series_id", "ts"].into_iter().chain(value).collect();
        read_file(storage, file, &columns, |batch| newest_rows(batch, file.seq, admission, &mut newest)).await?;
    }
    for (slot, newest) in admission.index.slots.iter_mut().zip(newest) {
        let ts_ms = milliseconds_up(newest.ts_us.max(floor_us));
        // At or below the floor an unread row may be newer than the one found.
        let last = if newest.ts_us > floor_us { newest.last } else { Last::Unknown };
        (slot.last_ms, slot.last_bits, slot.last) = (ts_ms, newest.bits, last);
    }
    Ok(())
}

fn newest_rows(batch: &RecordBatch, seq: i64, admission: &Admission, newest: &mut [Newest]) -> Result<()> {
    let (metrics, ids, times) = (metrics(batch)?, series_ids(batch)?, times(batch, "ts")?);
    let names = metrics.values().as_string::<i32>();
    let known: Vec<Option<u32>> = names.iter().map(|name| admission.index.find_metric(name?)).collect();
    let values = batch.column_by_name("value").map(|values| values.as_primitive::<Float64Type>());
    let (keys, ids, times) = (metrics.keys().values(), ids.values(), times.values());
    for row in 0..batch.num_rows() {
        let next = row + 1;
        if next < ids.len() && keys[next] == keys[row] && ids[next] == ids[row] && times[next] >= times[row] {
            // Of a sorted run only the end matters.
            continue;
        }
        let metric = usize::try_from(keys[row]).ok().and_then(|key| known.get(key).copied().flatten());
        let slot = metric.map_or(NONE, |metric| admission.index.find(metric, ids[row]));
        let Some(newest) = newest.get_mut(slot as usize) else { continue };
        if (times[row], seq) >= (newest.ts_us, newest.seq) {
            // A histogram is not hashed again: one sent twice across a restart takes the late lane, where the second wins.
            let (bits, last) = values.map_or((0, Last::Unknown), |values| (values.value(row).to_bits(), Last::Sample));
            *newest = Newest { ts_us: times[row], seq, bits, last };
        }
    }
    Ok(())
}

/// Takes up the newest metadata of every family.
async fn metadata(storage: &Storage, admission: &mut Admission) -> Result<()> {
    let view = storage.view(schemas::metadata());
    for file in view.files.iter() {
        read_file(storage, file, &["metric", "type", "unit", "help", "seen_at"], |batch| {
            restore_metadata(batch, admission)
        })
        .await?;
    }
    view.head.iter().try_for_each(|rows| restore_metadata(&rows.batch, admission))
}

fn restore_metadata(batch: &RecordBatch, admission: &mut Admission) -> Result<()> {
    let text = |name: &str| column(batch, name, &DataType::Utf8);
    let columns: BTreeMap<&str, ArrayRef> =
        ["metric", "type", "unit", "help"].into_iter().map(|name| Ok((name, text(name)?))).collect::<Result<_>>()?;
    let value = |name: &str, row: usize| columns.get(name).map_or("", |column| column.as_string::<i32>().value(row));
    let seen = times(batch, "seen_at")?;
    for row in 0..batch.num_rows() {
        let texts = [value("type", row), value("unit", row), value("help", row)];
        admission.metadata.restore(value("metric", row), texts, seen.value(row));
    }
    Ok(())
}
