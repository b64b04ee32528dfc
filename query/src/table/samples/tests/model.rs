//! Any writes in any places, against a map that keeps what was written last.

use std::collections::{BTreeMap, BTreeSet};

use promql::STALE;
use proptest::prelude::*;

use super::*;

const METRICS: [&str; 3] = ["a", "ab", "b"];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    File,
    Foreign,
    Run,
    Batch,
}

/// Where rows are written: metric, id, time.
type Write = (Place, Vec<(usize, i64, i64)>);

fn writes() -> impl Strategy<Value = Vec<Write>> {
    let place = prop_oneof![
        3 => Just(Place::File),
        1 => Just(Place::Foreign),
        3 => Just(Place::Run),
        3 => Just(Place::Batch),
    ];
    // Few times, so that keys are written twice; over two days.
    let time = prop_oneof![3 => 0..12_i64, 1 => DAY - 3..DAY + 3];
    let rows = prop::collection::vec((0..METRICS.len(), 0..3_i64, time), 1..30);
    prop::collection::vec((place, rows), 1..12)
}

/// A bench with what was written, and what is to be found there.
async fn written(writes: Vec<Write>) -> (Bench, BTreeMap<(usize, i64, i64), f64>) {
    let (bench, mut model, mut value) = (Bench::new(), BTreeMap::new(), 0.0);
    for (place, mut rows) in writes {
        if matches!(place, Place::File | Place::Run) {
            rows.sort_unstable();
            rows.dedup();
        }
        if matches!(place, Place::File | Place::Foreign) {
            // A file is of one day.
            let day = rows[0].2 / DAY;
            rows.retain(|row| row.2 / DAY == day);
        }
        if place == Place::Foreign {
            // Nobody writes a key twice into one file.
            let mut seen = BTreeSet::new();
            rows.retain(|row| seen.insert(*row));
        }
        let distinct: BTreeSet<_> = rows.iter().collect();
        let is_new = distinct.len() == rows.len() && rows.iter().all(|row| !model.contains_key(row));
        let lane = if is_new { Lane::InOrder } else { Lane::Late };
        let mut next = || {
            value += 1.0;
            if value % 7.0 == 0.0 { f64::from_bits(STALE) } else { value }
        };
        let batch_rows: Vec<_> = rows.iter().map(|row| (*row, next())).collect();
        model.extend(batch_rows.iter().copied());
        let row =
            |((metric, id, ms), value): &((usize, i64, i64), f64)| (METRICS[*metric], *id, DAY_MS + ms, *value, None);
        let batch = batch(&batch_rows.iter().map(row).collect::<Vec<_>>());
        let dataset = schemas::samples();
        match place {
            Place::File => drop(bench.file(dataset, &batch, lane).await),
            Place::Foreign => drop(bench.file_as(dataset, &batch, data_file(lane, bench.seq(), false)).await),
            Place::Run => bench.head(dataset, batch, lane, true),
            Place::Batch => bench.head(dataset, batch, lane, false),
        }
    }
    (bench, model)
}

const LOOKBACK_MS: i64 = 2;

/// A series is present where its newest sample is neither too old nor a marker.
fn check_present(spans: &[Range<i64>], rows: &[(i64, u64, i64)]) {
    assert!(spans.windows(2).all(|pair| pair[0].end <= pair[1].start), "{spans:?}");
    let near = |row: &(i64, u64, i64)| row.0 - 1..row.0 + LOOKBACK_MS + 2;
    for at in rows.iter().flat_map(near) {
        let newest = rows.iter().rev().find(|row| row.0 <= at);
        let expected = newest.is_some_and(|row| row.0 > at - LOOKBACK_MS && row.1 != STALE);
        assert_eq!(spans.iter().any(|span| span.contains(&at)), expected, "{at} {spans:?} {rows:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn whatever_is_written_the_latest_is_read(
        writes in writes(),
        series in Just((0..4_i64).flat_map(|id| METRICS.map(|metric| (metric, id))).collect::<Vec<_>>()).prop_shuffle(),
        count in 1..12_usize,
        start in prop_oneof![0..12_i64, DAY - 3..DAY + 3],
        length in prop_oneof![0..12_i64, Just(DAY)],
        with_sql in prop::bool::weighted(0.2),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async move {
            let (bench, model) = written(writes).await;
            let series = &series[..count];
            let times_ms = DAY_MS + start..DAY_MS + start + length;
            let pool = pool(1 << 26);
            let table = table(&bench, schemas::samples());
            let found = table.read_floats(&read(series, times_ms.clone()), &pool).await.unwrap();
            let of = |(metric, id): &(&str, i64)| {
                let rows = model.iter().filter(|((m, i, ms), _)| {
                    METRICS[*m] == *metric && i == id && times_ms.contains(&(DAY_MS + ms))
                });
                rows.map(|((.., ms), value)| (DAY_MS + ms, value.to_bits(), NO_START)).collect::<Vec<_>>()
            };
            let expected: Vec<_> = series.iter().map(of).collect();
            assert_eq!(lists(&found), expected);
            // Without beginnings: from files, then from blocks in memory.
            let plain = Read { with_starts: false, ..read(series, times_ms.clone()) };
            for _ in 0..2 {
                assert_eq!(lists(&table.read_floats(&plain, &pool).await.unwrap()), expected);
            }
            if with_sql {
                assert_eq!(by_sql(&bench.engine(), series, times_ms).await, expected, "by SQL");
            }
            for _ in 0..2 {
                let present = table.read_present(&plain, LOOKBACK_MS, &pool).await.unwrap();
                assert_eq!(present.samples, expected.iter().map(Vec::len).sum::<usize>());
                for (spans, rows) in present.spans.iter().zip(&expected) {
                    check_present(spans, rows);
                }
            }
            drop(found);
            assert_eq!(pool.reserved(), 0);
        });
    }
}
