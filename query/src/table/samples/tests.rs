//! What is read is what SQL over the same view answers: the same rows, each once, the latest written, bit by bit.

mod model;

use std::collections::BTreeMap;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, ListArray, RecordBatch, TimestampMicrosecondArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimestampMicrosecondType};
use datafusion::{
    common::DataFusionError,
    execution::{
        memory_pool::{GreedyMemoryPool, MemoryPool},
        object_store::ObjectStoreUrl,
        runtime_env::RuntimeEnv,
    },
};
use promql::{NO_START, Place};
use schemas::Dataset;
use storage::Lane;

use super::*;
use crate::{
    Engine,
    table::Reader,
    testing::{Bench, DAY_MS, HOUR_MS, data_file},
};

const DAY: i64 = 24 * HOUR_MS;
const MINUTE: i64 = 60_000;

/// Metric, id, milliseconds, value, beginning in milliseconds.
type Row = (&'static str, i64, i64, f64, Option<i64>);
/// Milliseconds, bits of the value, beginning.
type Sample = (i64, u64, i64);

fn batch(rows: &[Row]) -> RecordBatch {
    let plain: Vec<_> = rows.iter().map(|(metric, id, ms, value, _)| (*metric, *id, *ms, *value)).collect();
    let mut columns = crate::testing::samples(&plain).columns().to_vec();
    let starts = rows.iter().map(|row| row.4.map(|ms| ms * 1_000));
    columns[4] = Arc::new(starts.collect::<TimestampMicrosecondArray>().with_timezone("UTC"));
    RecordBatch::try_new(Arc::clone(&schemas::samples().schema), columns).unwrap()
}

/// Rows of series of a metric, every `step` ms of a range, in sort order.
fn run(metric: &'static str, ids: Range<i64>, times_ms: Range<i64>, step: usize) -> Vec<Row> {
    let row =
        |id, ms: i64| (metric, id, ms, (ms % 1_000_003) as f64 + id as f64 / 8.0, (id % 2 == 0).then_some(ms / 2));
    ids.flat_map(|id| times_ms.clone().step_by(step).map(move |ms| row(id, ms))).collect()
}

fn table(bench: &Bench, dataset: &'static Dataset) -> Table {
    let url = ObjectStoreUrl::parse("streamgauge://tables/").unwrap();
    let reader = Reader::new(url, Arc::clone(&bench.store) as _, &RuntimeEnv::default(), [64 << 20; 2]);
    Table::new(bench.view(dataset), Arc::new(reader))
}

fn pool(bytes: usize) -> Arc<dyn MemoryPool> {
    Arc::new(GreedyMemoryPool::new(bytes))
}

fn read<'a>(series: &'a [(&'a str, i64)], times_ms: Range<i64>) -> Read<'a> {
    Read { series, times_ms, with_starts: true, samples_max: 100_000_000 }
}

fn lists(found: &Found) -> Vec<Vec<Sample>> {
    let of = |place: &Place| {
        // Of no chunk if there are none.
        let Some(floats) = found.floats.get(place.floats as usize) else { return Vec::new() };
        let start = |at: usize| floats.starts().get(at).copied().unwrap_or(NO_START);
        let rows = place.start as usize..place.end as usize;
        rows.map(|at| (floats.times()[at], floats.values()[at].to_bits(), start(at))).collect()
    };
    let lists: Vec<Vec<Sample>> = found.places.iter().map(of).collect();
    assert_eq!(lists.iter().map(Vec::len).sum::<usize>(), found.count());
    lists
}

/// The same without beginnings.
fn plain(lists: Vec<Vec<Sample>>) -> Vec<Vec<Sample>> {
    let of = |(time, value, _): Sample| (time, value, NO_START);
    lists.into_iter().map(|list| list.into_iter().map(of).collect()).collect()
}

async fn by_sql(engine: &Engine, series: &[(&str, i64)], times_ms: Range<i64>) -> Vec<Vec<Sample>> {
    let sql = format!(
        "SELECT metric, series_id, ts, value, start_ts FROM samples WHERE ts >= to_timestamp_millis({}) \
         AND ts < to_timestamp_millis({}) ORDER BY metric, series_id, ts",
        times_ms.start, times_ms.end
    );
    let mut found: BTreeMap<(String, i64), Vec<Sample>> = BTreeMap::new();
    for batch in engine.sql(&sql).await.unwrap().collect().await.unwrap() {
        let ids = batch.column(1).as_primitive::<Int64Type>();
        let times = batch.column(2).as_primitive::<TimestampMicrosecondType>();
        let values = batch.column(3).as_primitive::<Float64Type>();
        let starts = batch.column(4).as_primitive::<TimestampMicrosecondType>();
        for row in 0..batch.num_rows() {
            let key = (batch.column(0).as_string_view().value(row).to_owned(), ids.value(row));
            let start = if starts.is_null(row) { NO_START } else { starts.value(row) / 1_000 };
            found.entry(key).or_default().push((times.value(row) / 1_000, values.value(row).to_bits(), start));
        }
    }
    series.iter().map(|(metric, id)| found.remove(&((*metric).to_owned(), *id)).unwrap_or_default()).collect()
}

async fn assert_same(bench: &Bench, series: &[(&str, i64)], ranges: &[Range<i64>]) {
    let config = crate::Config { rows_max: 100_000_000, ..crate::Config::default() };
    let (table, engine) = (table(bench, schemas::samples()), bench.engine_with(config));
    for times_ms in ranges {
        let pool = pool(1 << 30);
        let read = read(series, times_ms.clone());
        let expected = by_sql(&engine, series, times_ms.clone()).await;
        let found = lists(&table.read_floats(&read, &pool).await.unwrap());
        assert_lists(&read, found, &expected);
        // First of files, then some of blocks that are worth decoding, then of those in memory.
        let (read, expected) = (Read { with_starts: false, ..read }, plain(expected));
        for _ in 0..3 {
            let found = lists(&table.read_floats(&read, &pool).await.unwrap());
            assert_lists(&read, found, &expected);
        }
    }
}

fn assert_lists(read: &Read<'_>, found: Vec<Vec<Sample>>, expected: &[Vec<Sample>]) {
    for ((series, found), expected) in read.series.iter().zip(found).zip(expected) {
        assert!(found == *expected, "{series:?} {:?}\n{found:?}\n{expected:?}", read.times_ms);
    }
}

/// Three days: one sorted run, one of hours, and one that is half in the head; late rows in files and in the head; one file of a
/// foreign engine.
async fn mixed() -> Bench {
    let bench = Bench::new();
    let dataset = schemas::samples();
    let whole = |start: i64, end: i64| {
        let runs = ["a", "b", "c", "d"].map(|metric| run(metric, 0..3, start..end, 15_000));
        batch(&runs.concat())
    };
    bench.file(dataset, &whole(DAY_MS, DAY_MS + DAY), Lane::InOrder).await;
    for hour in 0..6 {
        let start = DAY_MS + DAY + hour * HOUR_MS;
        bench.file(dataset, &whole(start, start + HOUR_MS), Lane::InOrder).await;
    }
    let at = DAY_MS + DAY + HOUR_MS;
    let late = [("a", 1, at, -1.0, None), ("a", 1, at + 7, -2.0, Some(3)), ("c", 0, at + 15_000, f64::NAN, None)];
    bench.file(dataset, &batch(&late), Lane::Late).await;
    let foreign = [("d", 2, DAY_MS + 2 * DAY - 1, 5.0, None), ("a", 1, DAY_MS + 2 * DAY - 2, 6.0, Some(1))];
    bench.file_as(dataset, &batch(&foreign), data_file(Lane::InOrder, bench.seq(), false)).await;
    bench.head(dataset, batch(&[("a", 1, at, -3.0, None), ("b", 2, at + 1, -4.0, None)]), Lane::Late, true);
    let today = DAY_MS + 2 * DAY;
    for minute in 0..10 {
        let start = today + minute * MINUTE;
        bench.head(dataset, whole(start, start + MINUTE), Lane::InOrder, true);
    }
    let stale = f64::from_bits(promql::STALE);
    bench.head(dataset, batch(&[("b", 0, today + 1, 1.0, None), ("a", 1, today + 3, 2.0, None)]), Lane::Late, false);
    let now = today + 10 * MINUTE;
    let mut unsorted = vec![("d", 0, now, stale, None), ("a", 1, now, f64::from_bits(0xfff8_0000_0000_0abc), None)];
    bench.head(dataset, batch(&unsorted), Lane::InOrder, false);
    unsorted.iter_mut().for_each(|row| row.2 += 1);
    unsorted.push(("nothing", 1, now, 0.0, None));
    bench.head(dataset, batch(&unsorted), Lane::InOrder, false);
    bench.head(dataset, batch(&[("a", 1, now, 8.0, None), ("a", 1, now, 9.0, Some(9))]), Lane::Late, false);
    bench
}

#[tokio::test(flavor = "multi_thread")]
async fn files_head_and_late_rows_are_what_sql_answers() {
    let bench = mixed().await;
    // In no order; some that are not there, between, before and after those that are.
    let series = [
        ("c", 0),
        ("a", 1),
        ("zz", 1),
        ("d", 2),
        ("a", 0),
        ("b", 2),
        ("a", -5),
        ("b", 0),
        ("bb", 1),
        ("d", 0),
        ("d", 9),
    ];
    let second = DAY_MS + DAY;
    let ranges = [
        DAY_MS - DAY..DAY_MS + 9 * DAY,
        DAY_MS..DAY_MS + DAY,
        DAY_MS + 15_000..DAY_MS + 30_000,
        DAY_MS + 15_001..DAY_MS + 30_001,
        second + HOUR_MS..second + HOUR_MS + 1,
        second + HOUR_MS + 1..second + 3 * HOUR_MS,
        second - 2..second + 1,
        second + DAY - 2..second + DAY + 4 * MINUTE,
        second + DAY + 10 * MINUTE..second + DAY + 10 * MINUTE + 1,
        second + DAY + HOUR_MS..second + 2 * DAY,
        i64::MIN..i64::MIN,
    ];
    assert_same(&bench, &series, &ranges[..10]).await;
    let found = table(&bench, schemas::samples()).read_floats(&read(&series, ranges[10].clone()), &pool(1 << 20)).await;
    assert_eq!(lists(&found.unwrap()), vec![Vec::new(); series.len()]);
    let found = table(&bench, schemas::samples()).read_floats(&read(&series, i64::MIN..i64::MAX), &pool(1 << 30)).await;
    assert_eq!(lists(&found.unwrap()), by_sql(&bench.engine(), &series, ranges[0].clone()).await, "all times");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_read_by_many_tasks_is_what_sql_answers() {
    let bench = Bench::new();
    let runs = ["a", "b"].map(|metric| run(metric, 0..40, DAY_MS..DAY_MS + DAY, 5_000));
    bench.file(schemas::samples(), &batch(&runs.concat()), Lane::InOrder).await;
    let series: Vec<_> = (0..40).flat_map(|id| [("b", id), ("a", id)]).collect();
    assert_same(&bench, &series, &[DAY_MS..DAY_MS + DAY, DAY_MS + HOUR_MS..DAY_MS + 20 * HOUR_MS]).await;
    // In the order of the file, and few enough for one task.
    let series: Vec<_> = (3..8).map(|id| ("a", id)).chain([("aa", 1), ("b", 39)]).collect();
    assert_same(&bench, &series, &[DAY_MS..DAY_MS + DAY, DAY_MS + HOUR_MS..DAY_MS + 2 * HOUR_MS]).await;
}

#[tokio::test]
async fn beginnings_are_read_only_if_asked_for() {
    let bench = mixed().await;
    let table = table(&bench, schemas::samples());
    let series = [("a", 1)];
    let asked = Read { with_starts: false, ..read(&series, DAY_MS..DAY_MS + 3 * DAY) };
    let found = table.read_floats(&asked, &pool(1 << 30)).await.unwrap();
    assert!(found.floats.iter().all(|floats| floats.starts().is_empty()));
    assert_eq!(found.count(), by_sql(&bench.engine(), &series, DAY_MS..DAY_MS + 3 * DAY).await[0].len());
}

#[tokio::test]
async fn what_is_wholly_in_the_range_is_counted_before_it_is_read() {
    let bench = Bench::new();
    bench.file(schemas::samples(), &batch(&run("a", 0..2, DAY_MS..DAY_MS + HOUR_MS, 1_000)), Lane::InOrder).await;
    let table = table(&bench, schemas::samples());
    let series = [("a", 0), ("a", 1)];
    let asked = |samples_max| Read { samples_max, ..read(&series, DAY_MS..DAY_MS + DAY) };
    assert_eq!(table.read_floats(&asked(7_200), &pool(1 << 30)).await.unwrap().count(), 7_200);
    bench.store.reads();
    assert!(table.read_floats(&asked(7_199), &pool(1 << 30)).await.is_err());
    assert!(bench.store.reads().is_empty());
}

#[tokio::test]
async fn pages_of_other_times_stay_closed() {
    let bench = Bench::new();
    let rows = [run("a", 0..2, DAY_MS..DAY_MS + DAY, 1_000), run("b", 0..2, DAY_MS..DAY_MS + DAY, 1_000)];
    bench.file(schemas::samples(), &batch(&rows.concat()), Lane::InOrder).await;
    let series = [("a", 1), ("b", 0)];
    let noon = DAY_MS + 12 * HOUR_MS;
    assert_same(&bench, &series, &[noon..noon + 1_000, noon..noon + HOUR_MS, noon + 1..DAY_MS + DAY]).await;
    let table = table(&bench, schemas::samples());
    for round in 0..2 {
        bench.store.reads();
        table.read_floats(&read(&series, noon..noon + HOUR_MS), &pool(1 << 30)).await.unwrap();
        let reads = bench.store.reads();
        // Two pages of each column and series at most; and a dictionary.
        assert!(round == 0 || reads.len() <= 2 * (2 * 3 + 1), "{reads:?}");
    }
}

#[tokio::test]
async fn files_that_cannot_hold_a_row_stay_closed() {
    let bench = mixed().await;
    let table = table(&bench, schemas::samples());
    for (series, times_ms, files) in [
        ([("aaa", 1)], DAY_MS..DAY_MS + DAY, 1),
        ([("zz", 1)], DAY_MS..DAY_MS + 3 * DAY, 0),
        ([("b", 1)], DAY_MS + DAY + HOUR_MS..DAY_MS + DAY + 2 * HOUR_MS, 2),
        ([("b", 1)], DAY_MS + 2 * DAY..DAY_MS + 3 * DAY, 0),
    ] {
        bench.store.reads();
        table.read_floats(&read(&series, times_ms.clone()), &pool(1 << 30)).await.unwrap();
        let read: std::collections::BTreeSet<_> = bench.store.reads().into_iter().map(|(path, _)| path).collect();
        assert_eq!(read.len(), files, "{series:?} {times_ms:?} {read:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_taken_before_it_is_used_and_given_back() {
    let bench = mixed().await;
    let table = table(&bench, schemas::samples());
    let series = [("b", 0), ("a", 1), ("c", 2)];
    let read = read(&series, DAY_MS..DAY_MS + 3 * DAY);
    let enough = pool(16 << 20);
    let mut found = table.read_floats(&read, &enough).await.unwrap();
    let bytes = found.count() * 24;
    assert!((bytes..2 * bytes).contains(&enough.reserved()), "{} {bytes}", enough.reserved());
    let memory = found.take_memory();
    drop(found);
    assert!(enough.reserved() >= bytes);
    drop(memory);
    assert_eq!(enough.reserved(), 0);
    for bytes in [0, 1_000, bytes / 4, bytes] {
        let little = pool(bytes);
        let error = table.read_floats(&read, &little).await.unwrap_err();
        assert!(matches!(error.find_root(), DataFusionError::ResourcesExhausted(_)), "{error}");
        settled(&little).await;
    }
}

/// Tasks that were stopped give back their memory when the runtime gets to them.
async fn settled(pool: &Arc<dyn MemoryPool>) {
    for _ in 0..1_000 {
        if pool.reserved() == 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    panic!("{} bytes are still reserved", pool.reserved());
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_samples_are_refused_before_they_are_read() {
    let bench = mixed().await;
    let table = table(&bench, schemas::samples());
    let series = [("b", 1), ("a", 0)];
    let of = |times_ms: Range<i64>, samples_max| Read { samples_max, ..read(&series, times_ms) };
    for (times_ms, rows) in [
        (DAY_MS..DAY_MS + DAY, 2 * 5_760),
        (DAY_MS + HOUR_MS..DAY_MS + 2 * HOUR_MS, 2 * 240),
        (DAY_MS + 2 * DAY..DAY_MS + 3 * DAY, 2 * 40),
    ] {
        let pool = pool(1 << 30);
        let found = table.read_floats(&of(times_ms.clone(), rows), &pool).await.unwrap();
        assert_eq!(found.count(), rows);
        let error = table.read_floats(&of(times_ms.clone(), rows - 1), &pool).await.unwrap_err();
        let error = Error::from(error);
        assert_eq!(error.kind, ErrorKind::Execution);
        assert!(error.to_string().starts_with("query processing would load too many samples into memory"), "{error}");
    }
    // Rows that replace others are no more rows, if they are not more than twice as many.
    let series = [("a", 1)];
    let at = DAY_MS + DAY + HOUR_MS;
    let once = Read { samples_max: 2, ..read(&series, at..at + 1) };
    assert_eq!(table.read_floats(&once, &pool(1 << 20)).await.unwrap().of(0).1, [-3.0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_is_given_up_stops() {
    let bench = mixed().await;
    let table = table(&bench, schemas::samples());
    let series = [("a", 0), ("a", 1), ("b", 0), ("c", 2)];
    let (read, pool) = (read(&series, DAY_MS..DAY_MS + 3 * DAY), pool(1 << 30));
    for polls in 0..20 {
        let mut reading = Box::pin(table.read_floats(&read, &pool));
        for _ in 0..polls {
            if futures::poll!(&mut reading).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(reading);
        settled(&pool).await;
    }
}

/// Rows of `histograms`, each with its number in all columns that hold numbers.
fn histograms(rows: &[(&'static str, i64, i64, i32)]) -> RecordBatch {
    let plain: Vec<_> = rows.iter().map(|(metric, id, ms, _)| (*metric, *id, *ms, 0.0)).collect();
    let keys = crate::testing::samples(&plain);
    let dataset = schemas::histograms();
    let columns = dataset.schema.fields().iter().map(|field| -> ArrayRef {
        if let Some(key) = keys.column_by_name(field.name()).filter(|_| field.name() != "start_ts") {
            return Arc::clone(key);
        }
        let numbers = || rows.iter().map(|row| row.3);
        match field.data_type() {
            DataType::Int64 => Arc::new(numbers().map(i64::from).collect::<Int64Array>()),
            DataType::Float64 => Arc::new(numbers().map(f64::from).collect::<Float64Array>()),
            DataType::Int32 => Arc::new(numbers().collect::<arrow::array::Int32Array>()),
            DataType::List(item) => {
                let lengths = numbers()
                    .map(|n| if *item.data_type() == DataType::Int64 { usize::try_from(n % 3).unwrap() } else { 0 });
                let offsets = OffsetBuffer::from_lengths(lengths.collect::<Vec<_>>());
                let values: ArrayRef = match item.data_type() {
                    DataType::Int64 => Arc::new((0..i64::from(*offsets.last().unwrap())).collect::<Int64Array>()),
                    other => arrow::array::new_empty_array(other),
                };
                Arc::new(ListArray::new(Arc::clone(item), offsets, values, None))
            }
            other => arrow::array::new_null_array(other, rows.len()),
        }
    });
    RecordBatch::try_new(Arc::clone(&dataset.schema), columns.collect()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_histograms_are_what_sql_answers() {
    let bench = Bench::new();
    let dataset = schemas::histograms();
    let rows = |metric, start: i64, value| -> Vec<_> {
        (0..3).flat_map(|id| (0..100).map(move |n| (metric, id, start + i64::from(n) * 1_000, n + value))).collect()
    };
    let both = |start, value| histograms(&[rows("a", start, value), rows("b", start, value)].concat());
    bench.file(dataset, &both(DAY_MS, 0), Lane::InOrder).await;
    bench.file(dataset, &both(DAY_MS + DAY, 1), Lane::InOrder).await;
    let late = histograms(&[("a", 1, DAY_MS + 1_000, 77), ("b", 2, DAY_MS + 5, 78)]);
    bench.file(dataset, &late, Lane::Late).await;
    bench.file_as(dataset, &both(DAY_MS + HOUR_MS, 9), data_file(Lane::InOrder, bench.seq(), false)).await;
    bench.head(dataset, both(DAY_MS + DAY + HOUR_MS, 2), Lane::InOrder, true);
    bench.head(dataset, histograms(&[("b", 2, DAY_MS + 6, 79), ("a", 1, DAY_MS + 1_000, 80)]), Lane::Late, false);
    let (table, engine) = (table(&bench, dataset), bench.engine());
    let series = [("a", 1), ("b", 2), ("c", 1)];
    for times_ms in [DAY_MS..DAY_MS + 3 * DAY, DAY_MS + 2..DAY_MS + 6, DAY_MS + 7 * DAY..DAY_MS + 8 * DAY] {
        let found = table.read_histogram_rows(&read(&series, times_ms.clone()), &pool(1 << 30)).await.unwrap();
        let columns: Vec<_> = found
            .batches
            .first()
            .map_or_else(Vec::new, |b| b.schema().fields().iter().map(|f| f.name().clone()).collect());
        let mut count = 0;
        for (number, (metric, id)) in series.iter().enumerate() {
            let sql = format!(
                "SELECT {} FROM histograms WHERE metric = '{metric}' AND series_id = {id} \
                 AND ts >= to_timestamp_millis({}) AND ts < to_timestamp_millis({}) ORDER BY ts",
                if columns.is_empty() { "*".to_owned() } else { columns.join(", ") },
                times_ms.start,
                times_ms.end
            );
            let expected = engine.sql(&sql).await.unwrap().collect().await.unwrap();
            let length: usize = expected.iter().map(RecordBatch::num_rows).sum();
            let until = |end| found.series.partition_point(|series| (*series as usize) < end);
            let rows = until(number)..until(number + 1);
            assert_eq!(rows.len(), length, "{metric} {id} {times_ms:?}");
            assert!(found.series.is_sorted());
            count += length;
            if length > 0 {
                let expected = concat_batches(&expected[0].schema(), &expected).unwrap();
                let found = concat_batches(&found.batches[0].schema(), &found.batches).unwrap();
                assert_eq!(found.slice(rows.start, rows.len()).columns(), expected.columns());
            }
        }
        assert_eq!(found.series.len(), count);
        assert_eq!(found.batches.iter().map(RecordBatch::num_rows).sum::<usize>(), count);
        assert!(columns.is_empty() || columns[0] == "ts" && columns.len() == dataset.columns.len() - 2);
    }
    let error = table.read_histogram_rows(&read(&series, DAY_MS..DAY_MS + DAY), &pool(2_000)).await.unwrap_err();
    assert!(matches!(error.find_root(), DataFusionError::ResourcesExhausted(_)), "{error}");
}
