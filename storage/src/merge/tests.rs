//! Merging against a map that keeps what was written last.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicBool},
};

use bytes::Bytes;
use object_store::{ObjectStore, ObjectStoreExt, memory::InMemory, path::Path};
use proptest::prelude::*;
use schemas::Dataset;

use super::{Cut, Job, merge_files, merge_runs};
use crate::{
    DataFile, ErrorKind, Lane, Result, commit,
    parquet_file::{self, Encoded},
    sort::{Equal, sort},
    test_rows::{Sample, samples, samples_of, series, series_of},
};

const WHOLE: Cut = Cut { soft: usize::MAX, hard: usize::MAX };

/// Merges files of these rows, oldest first; gives the files that came out.
fn merged(dataset: &'static Dataset, batches: &[arrow::array::RecordBatch], cut: Cut) -> Result<Vec<Bytes>> {
    Ok(merged_without(dataset, batches, cut, None)?.0)
}

/// The same without some keys; gives the number of rows they had, too.
fn merged_without(
    dataset: &'static Dataset,
    batches: &[arrow::array::RecordBatch],
    cut: Cut,
    without: Option<arrow::array::RecordBatch>,
) -> Result<(Vec<Bytes>, u64)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let mut files = Vec::new();
        for (i, batch) in batches.iter().enumerate() {
            let sorted = sort(dataset, &[batch], Equal::Keep).unwrap();
            let Encoded { bytes, rows, .. } = parquet_file::encode(dataset, [Ok(sorted.clone())]).unwrap();
            let path = Path::from(format!("{i}.parquet"));
            store.put(&path, bytes.clone().into()).await.unwrap();
            files.push(Arc::new(file(path, bytes.len() as u64, rows)));
        }
        commit::blocking(move || {
            let mut out = Vec::new();
            let stopping = AtomicBool::new(false);
            let left_out = merge_files(dataset, &store, &files, Job { cut, stopping: &stopping, without }, |file| {
                out.push(file.bytes);
                Ok(())
            })?;
            Ok((out, left_out))
        })
        .await
    })
}

fn file(path: Path, size: u64, rows: u64) -> DataFile {
    DataFile {
        path,
        size,
        rows,
        partition: None,
        bounds: BTreeMap::new(),
        lane: Lane::InOrder,
        seq: 0,
        sorted: true,
        level: 0,
        trimmed: None,
        written_ms: 0,
        known_at: 0,
    }
}

fn rows(files: &[Bytes]) -> Vec<Sample> {
    files
        .iter()
        .flat_map(|bytes| samples_of(&commit::read(schemas::samples(), bytes.clone(), Some("2026-01-01")).unwrap()))
        .collect()
}

type Key = (String, i64, i64);

/// Files of distinct keys each.
fn files() -> impl Strategy<Value = Vec<BTreeMap<Key, u32>>> {
    let key = ("[a-c]{1,2}", prop_oneof![0i64..3, any::<i64>()], 0i64..12);
    prop::collection::vec(prop::collection::btree_map(key, any::<u32>(), 1..40), 1..7)
}

proptest! {
    #[test]
    fn the_row_of_a_key_that_was_written_last_stays(files in files(), cut in prop_oneof![Just(usize::MAX), Just(1)]) {
        let sample = |(key, value): (&Key, &u32)| (key.0.clone(), key.1, key.2, f64::from(*value));
        let batches: Vec<_> = files.iter().map(|rows| samples(&rows.iter().map(sample).collect::<Vec<_>>())).collect();
        let out = merged(schemas::samples(), &batches, Cut { soft: cut, hard: cut }).unwrap();
        let expected: BTreeMap<Key, u32> = files.into_iter().flatten().collect();
        prop_assert_eq!(rows(&out), expected.iter().map(sample).collect::<Vec<_>>());
        // Rows wait in chunks until a file is begun, and only what was begun is cut.
        prop_assert_eq!(out.len(), 1);
        let sorted = |batch| sort(schemas::samples(), &[batch], Equal::Keep).unwrap();
        let whole = merge_runs(schemas::samples(), batches.iter().map(sorted).collect()).unwrap();
        prop_assert_eq!(rows(&[whole.bytes]), expected.iter().map(sample).collect::<Vec<_>>());
    }
}

proptest! {
    #[test]
    fn rows_of_the_keys_that_are_left_out_are_left_out_and_counted(
        files in files(),
        out in prop::collection::btree_set(("[a-d]{1,2}", prop_oneof![0i64..3, any::<i64>()]), 0..8),
        some in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..8),
    ) {
        let sample = |(key, value): (&Key, &u32)| (key.0.clone(), key.1, key.2, f64::from(*value));
        let batches: Vec<_> = files.iter().map(|rows| samples(&rows.iter().map(sample).collect::<Vec<_>>())).collect();
        // Keys there are, and keys there are not.
        let mut out = out;
        for (file, row) in some {
            let rows = &files[file.index(files.len())];
            let (metric, id, _) = rows.keys().nth(row.index(rows.len())).unwrap().clone();
            out.insert((metric, id));
        }
        let keys: Vec<Sample> = out.iter().map(|(metric, id)| (metric.clone(), *id, 0, 0.0)).collect();
        let keys = samples(&keys).project(&[0, 1]).unwrap();
        let is_out = |key: &Key| out.contains(&(key.0.clone(), key.1));
        let (merged, left_out) = merged_without(schemas::samples(), &batches, WHOLE, Some(keys)).unwrap();
        let gone = files.iter().flatten().filter(|(key, _)| is_out(key)).count();
        prop_assert_eq!(left_out, gone as u64);
        let expected: BTreeMap<Key, u32> = files.into_iter().flatten().filter(|(key, _)| !is_out(key)).collect();
        prop_assert_eq!(rows(&merged), expected.iter().map(sample).collect::<Vec<_>>());
    }
}

#[test]
fn nested_columns_come_through_and_a_key_without_a_time_is_kept_once() {
    let batches = [series(&[(1, "up", 5), (1, "up", 7)]), series(&[(1, "down", 5), (1, "up", 5)])];
    let out = merged(schemas::series(), &batches, WHOLE).unwrap();
    let rows = commit::read(schemas::series(), out[0].clone(), Some("1970-01-02")).unwrap();
    assert_eq!(series_of(&rows), [(1, "down".into(), 5), (1, "up".into(), 5), (1, "up".into(), 7)]);
    assert_eq!(rows.column_by_name("labels"), batches_labels(&rows).as_ref());
}

/// The labels that rows of `series` of the tests have.
fn batches_labels(rows: &arrow::array::RecordBatch) -> Option<arrow::array::ArrayRef> {
    let again: Vec<_> = series_of(rows);
    let again: Vec<_> = again.iter().map(|(day, metric, id)| (*day, metric.as_str(), *id)).collect();
    series(&again).column_by_name("labels").cloned()
}

#[test]
fn large_inputs_are_cut_between_metrics_and_within_the_largest() {
    let metric = |name: &str, series: i64| -> Vec<Sample> {
        let value = |id: i64, at: i64| {
            (name.to_owned(), id, at, f64::from(u32::try_from(id * 7919 % 65_521 + at).unwrap()).sqrt())
        };
        (0..series).flat_map(|id| (0..100).map(move |at| value(id, at))).collect()
    };
    let batches: Vec<_> =
        [("a", 900), ("b", 900), ("big", 9000), ("c", 900)].map(|(name, n)| samples(&metric(name, n))).into();
    let out = merged(schemas::samples(), &batches, Cut { soft: 300_000, hard: 2_000_000 }).unwrap();
    let all = rows(&out);
    assert_eq!(all.len(), 100 * (3 * 900 + 9000));
    assert!(all.is_sorted_by(|a, b| (&a.0, a.1, a.2) < (&b.0, b.1, b.2)));
    assert!(out.len() > 3, "{}", out.len());
    for pair in out.windows(2) {
        let (before, after) = (rows(&pair[..1]), rows(&pair[1..]));
        let (last, first) = (before.last().unwrap(), after.first().unwrap());
        assert_ne!((&last.0, last.1), (&first.0, first.1), "a series lies in one file");
        assert!(last.0 != first.0 || first.0 == "big", "{} is cut in two", first.0);
    }
}

#[test]
fn an_unsorted_input_is_an_error_and_not_an_unsorted_output() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let outcome = runtime.block_on(async {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let shuffled = samples(&[("b".into(), 1, 1, 1.0), ("a".into(), 1, 1, 1.0)]);
        let Encoded { bytes, rows, .. } = parquet_file::encode(schemas::samples(), [Ok(shuffled.clone())]).unwrap();
        store.put(&Path::from("x.parquet"), bytes.clone().into()).await.unwrap();
        let files = [Arc::new(file(Path::from("x.parquet"), bytes.len() as u64, rows))];
        let stop = AtomicBool::new(false);
        let job = move || {
            let job = Job { cut: WHOLE, stopping: &stop, without: None };
            merge_files(schemas::samples(), &store, &files, job, |_| Ok(()))
        };
        commit::blocking(job).await
    });
    let error = outcome.unwrap_err();
    assert!(error.kind == ErrorKind::Corrupt && error.to_string().contains("x.parquet"), "{error}");
}
