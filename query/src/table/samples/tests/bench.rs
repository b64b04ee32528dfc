//! How fast it is; run by hand: `cargo test --release -p query --lib samples::tests::bench -- --ignored --nocapture`.

use std::time::Instant;

use super::*;

#[allow(clippy::disallowed_methods, reason = "measures")]
async fn measure(what: &str, table: &Table, read: &Read<'_>) {
    let pool = pool(4 << 30);
    let mut times: Vec<f64> = Vec::new();
    let mut rows = 0;
    for _ in 0..15 {
        let begin = Instant::now();
        rows = table.read_floats(read, &pool).await.unwrap().count();
        times.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    let first = times[0];
    times.sort_by(f64::total_cmp);
    let median = times[times.len() / 2];
    println!(
        "{what}: rows={rows} first={first:.2} ms median={median:.2} ms ns/row={:.1}",
        median * 1e6 / rows.max(1) as f64
    );
}

#[test]
#[ignore = "a measurement"]
fn speed() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::spawn(all()).await.unwrap() });
}

async fn all() {
    const NAMES: [&str; 10] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    let bench = Bench::new();
    let dataset = schemas::samples();
    let runs =
        |ids: i64, start: i64, end: i64| batch(&NAMES.map(|name| run(name, 0..ids, start..end, 15_000)).concat());
    // A day that is over: 500 series, 2.9 million rows; a day of two-hour files; a head of 60 runs.
    bench.file(dataset, &runs(50, DAY_MS, DAY_MS + DAY), Lane::InOrder).await;
    for hour in (0..24).step_by(2) {
        let start = DAY_MS + DAY + hour * HOUR_MS;
        bench.file(dataset, &runs(50, start, start + 2 * HOUR_MS), Lane::InOrder).await;
    }
    let only_files = table(&bench, dataset);
    let all: Vec<_> = NAMES.iter().flat_map(|name| (0..50).map(move |id| (*name, id))).collect();
    let one = [("e", 7)];
    let metric: Vec<_> = (0..50).map(|id| ("e", id)).collect();
    let second = DAY_MS + DAY;
    for (name, series) in [("one", &one[..]), ("metric", &metric), ("all", &all)] {
        for (times, times_ms) in [
            ("day of one file", DAY_MS..second),
            ("hour of one file", DAY_MS + 5 * HOUR_MS..DAY_MS + 6 * HOUR_MS),
            ("day of 12 files", second..second + DAY),
            ("hour of 12 files", second + 5 * HOUR_MS..second + 6 * HOUR_MS),
        ] {
            let read = Read { with_starts: false, ..read(series, times_ms) };
            measure(&format!("{name} {times}"), &only_files, &read).await;
        }
    }
    let bench = Bench::new();
    // 20,000 series, a row every 15 s; runs of 120,000 rows, and 40,000 rows not sorted.
    for nth in 0..50 {
        let start = DAY_MS + nth * 90_000;
        bench.head(dataset, runs(2_000, start, start + 90_000), Lane::InOrder, true);
    }
    for nth in 0..2 {
        for name in NAMES {
            let start = DAY_MS + 50 * 90_000 + nth * 15_000;
            bench.head(dataset, batch(&run(name, 0..2_000, start..start + 15_000, 15_000)), Lane::InOrder, false);
        }
    }
    let head = table(&bench, dataset);
    let all: Vec<_> = NAMES.iter().flat_map(|name| (0..2_000).map(move |id| (*name, id))).collect();
    let few: Vec<_> = NAMES.iter().flat_map(|name| (0..2_000).step_by(50).map(move |id| (*name, id))).collect();
    let metric: Vec<_> = (0..2_000).map(|id| ("e", id)).collect();
    for (name, series) in [("one", &one[..]), ("metric", &metric), ("few", &few), ("all", &all)] {
        for (times, times_ms) in [("all", DAY_MS..second), ("5 min", DAY_MS + 4_200_000..DAY_MS + 4_500_000)] {
            let read = Read { with_starts: false, ..read(series, times_ms) };
            measure(&format!("head {name} {times}"), &head, &read).await;
        }
    }
}
