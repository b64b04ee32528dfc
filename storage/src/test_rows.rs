//! Rows, environments and stores for the tests of this crate.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

use arrow::array::{
    ArrayRef, AsArray, Date32Array, DictionaryArray, Float64Array, Int64Array, MapBuilder, RecordBatch, StringBuilder,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};

use crate::{Clock, Config, Env, Probe, Random, Tables};

pub(crate) const DAY_US: i64 = 86_400_000_000;

/// One sample: metric, series, time in microseconds, value.
pub(crate) type Sample = (String, i64, i64, f64);

/// A clock, microseconds: 2026-09-21, 14:13.
pub(crate) fn clock() -> Arc<AtomicI64> {
    Arc::new(AtomicI64::new(1_790_000_000_000_000))
}

/// An environment whose clock hardly moves and whose randomness counts.
pub(crate) fn env(seed: u64) -> Env {
    env_at(seed, clock())
}

/// The same with a clock that others move, too. Waiting takes no time: it moves the clock.
pub(crate) fn env_at(seed: u64, now: Arc<AtomicI64>) -> Env {
    let bits = AtomicU64::new(seed << 32);
    let skipped = Arc::clone(&now);
    let skip = move |duration: std::time::Duration| {
        skipped.fetch_add(duration.as_micros().try_into().unwrap(), Ordering::Relaxed);
    };
    Env {
        clock: Clock::new(move || now.fetch_add(1, Ordering::Relaxed)).skipping(skip),
        random: Random::new(move || u128::from(bits.fetch_add(1, Ordering::Relaxed)) << 64 | u128::from(seed)),
        probe: Probe::default(),
    }
}

/// Settings of small storage without upkeep of its own.
pub(crate) fn config(data_dir: &Path) -> Config {
    Config {
        data_dir: data_dir.to_owned(),
        tables: Tables::default(),
        tenant: "default".into(),
        flush_bytes: 1 << 20,
        flush_age_ms: i64::MAX,
        head_bytes_max: 64 << 20,
        // So small that every append has a segment of its own, and trimming shows.
        wal_segment_bytes: 4096,
        upkeep: false,
        retention_days: BTreeMap::new(),
    }
}

pub(crate) fn samples(rows: &[Sample]) -> RecordBatch {
    let metric: DictionaryArray<Int32Type> = rows.iter().map(|row| row.0.as_str()).collect();
    let time: Vec<i64> = rows.iter().map(|row| row.2).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(metric),
        Arc::new(rows.iter().map(|row| row.1).collect::<Int64Array>()),
        Arc::new(TimestampMicrosecondArray::from(time).with_timezone("UTC")),
        Arc::new(rows.iter().map(|row| row.3).collect::<Float64Array>()),
        Arc::new(TimestampMicrosecondArray::from(vec![None; rows.len()]).with_timezone("UTC")),
    ];
    RecordBatch::try_new(Arc::clone(&schemas::samples().schema), columns).unwrap()
}

pub(crate) fn samples_of(batch: &RecordBatch) -> Vec<Sample> {
    let metric = batch.column(0).as_dictionary::<Int32Type>();
    let names = metric.values().as_string::<i32>();
    let (id, time) =
        (batch.column(1).as_primitive::<Int64Type>(), batch.column(2).as_primitive::<TimestampMicrosecondType>());
    let value = batch.column(3).as_primitive::<arrow::datatypes::Float64Type>();
    (0..batch.num_rows())
        .map(|i| (names.value(metric.key(i).unwrap()).to_owned(), id.value(i), time.value(i), value.value(i)))
        .collect()
}

/// Rows of `series`: day, metric, id; one label.
pub(crate) fn series(rows: &[(i32, &str, i64)]) -> RecordBatch {
    let metric: DictionaryArray<Int32Type> = rows.iter().map(|row| row.1).collect();
    let names = arrow::array::MapFieldNames { entry: "key_value".into(), key: "key".into(), value: "value".into() };
    let value_field = arrow::datatypes::Field::new("value", arrow::datatypes::DataType::Utf8, false);
    let mut labels = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new())
        .with_values_field(Arc::new(value_field));
    for row in rows {
        labels.keys().append_value("id");
        labels.values().append_value(row.2.to_string());
        labels.append(true).unwrap();
    }
    let labels = arrow::compute::cast(&labels.finish(), &schemas::string_map()).unwrap();
    let time: Vec<i64> = rows.iter().map(|row| i64::from(row.0) * DAY_US).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Date32Array::from(rows.iter().map(|row| row.0).collect::<Vec<i32>>())),
        Arc::new(metric),
        Arc::new(rows.iter().map(|row| row.2).collect::<Int64Array>()),
        labels,
        Arc::new(TimestampMicrosecondArray::from(time).with_timezone("UTC")),
    ];
    RecordBatch::try_new(Arc::clone(&schemas::series().schema), columns).unwrap()
}

pub(crate) fn series_of(batch: &RecordBatch) -> Vec<(i32, String, i64)> {
    let day = batch.column(0).as_primitive::<arrow::datatypes::Date32Type>();
    let metric = batch.column(1).as_dictionary::<Int32Type>();
    let names = metric.values().as_string::<i32>();
    let id = batch.column(2).as_primitive::<Int64Type>();
    (0..batch.num_rows()).map(|i| (day.value(i), names.value(metric.key(i).unwrap()).to_owned(), id.value(i))).collect()
}
