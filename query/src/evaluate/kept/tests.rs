//! Whatever happens to the tables, an answer is the one that is evaluated anew.

use storage::Lane;

use crate::{
    Engine, When,
    testing::{Bench, DAY_MS, HOUR_MS, Sample, samples, series},
};

const QUERIES: [&str; 5] = [
    "sum by (job) (seen_total)",
    "rate(seen_total[5m])",
    "max_over_time(seen_total[10m] offset 5m)",
    "seen_total offset -5m",
    "sum(seen_total @ 0)",
];

/// Samples of two series every 15 s. Their name is that of a counter, since answers with notes are not kept.
fn run(times_ms: std::ops::Range<i64>, value: f64) -> Vec<Sample> {
    let of = |id| move |ms: i64| ("seen_total", id, ms, value + (ms / 15_000 * id) as f64);
    let times = || times_ms.clone().step_by(15_000);
    times().map(of(1)).chain(times().map(of(2))).collect()
}

async fn bench() -> Bench {
    let bench = Bench::new();
    let rows = [("seen_total", 1, &[("job", "a")][..]), ("seen_total", 2, &[("job", "b")])];
    bench.file(schemas::series(), &series(DAY_MS, &rows), Lane::InOrder).await;
    bench.file(schemas::samples(), &samples(&run(DAY_MS..DAY_MS + HOUR_MS, 1.0)), Lane::InOrder).await;
    bench
}

/// The answer as JSON, and how many samples were read for it.
async fn ask(engine: &Engine, text: &str, times_ms: std::ops::Range<i64>, anew: bool) -> (String, usize) {
    let query = engine.parse(text).unwrap();
    let when = When { end_ms: times_ms.end, step_ms: 30_000, anew, ..When::at(times_ms.start) };
    let found = engine.promql(&query, when).await.unwrap();
    let samples = found.samples;
    (crate::json(found, times_ms.start).collect(), samples)
}

/// Asks all queries, kept and anew; gives how many samples were read for those that may be kept, and of those anew.
async fn compare(engine: &Engine, times_ms: std::ops::Range<i64>, what: &str) -> (usize, usize) {
    let mut read = (0, 0);
    for text in QUERIES {
        let kept = ask(engine, text, times_ms.clone(), false).await;
        let anew = ask(engine, text, times_ms.clone(), true).await;
        assert_eq!(kept.0, anew.0, "{what}: {text}");
        if !text.contains('@') {
            read = (read.0 + kept.1, read.1 + anew.1);
        } else {
            assert_eq!(kept.1, anew.1, "{what}: {text} depends on a fixed time");
        }
    }
    read
}

const fn times(from_minutes: i64, to_minutes: i64) -> std::ops::Range<i64> {
    DAY_MS + from_minutes * 60_000..DAY_MS + to_minutes * 60_000
}

#[tokio::test]
async fn only_what_was_written_since_is_evaluated() {
    let bench = bench().await;
    let engine = bench.engine();
    for round in ["first", "second"] {
        let (kept, anew) = compare(&engine, times(0, 60), round).await;
        assert_eq!(kept, anew, "{round}: nothing is kept of what was asked once");
    }
    assert_eq!(compare(&engine, times(0, 60), "again").await.0, 0);
    assert_eq!(compare(&engine, times(10, 50), "a part").await.0, 0);

    bench.head(
        schemas::samples(),
        samples(&run(DAY_MS + HOUR_MS..DAY_MS + HOUR_MS + 300_000, 1.0)),
        Lane::InOrder,
        true,
    );
    let (kept, anew) = compare(&engine, times(5, 65), "later").await;
    assert!(kept > 0 && kept * 3 < anew, "{kept} of {anew}");
    assert_eq!(compare(&engine, times(5, 65), "later again").await.0, 0);

    // The same rows again, in a file: from its first row on they might be others.
    bench
        .file(schemas::samples(), &samples(&run(DAY_MS + HOUR_MS..DAY_MS + HOUR_MS + 300_000, 1.0)), Lane::InOrder)
        .await;
    let (kept, anew) = compare(&engine, times(5, 65), "flushed").await;
    assert!(kept > 0 && kept * 3 < anew, "{kept} of {anew}");
}

#[tokio::test]
async fn a_late_sample_is_in_the_steps_that_see_it() {
    let bench = bench().await;
    let engine = bench.engine();
    for round in ["first", "second", "third"] {
        compare(&engine, times(0, 60), round).await;
    }
    let late = [("seen_total", 1, DAY_MS + 30 * 60_000, 5e6)];
    bench.head(schemas::samples(), samples(&late), Lane::Late, false);
    let (kept, anew) = compare(&engine, times(0, 60), "late").await;
    assert!(kept > 0 && kept < anew, "{kept} of {anew}");
    assert!(ask(&engine, "seen_total", times(0, 60), false).await.0.contains("5000000"));
}

#[tokio::test]
async fn what_is_merged_is_as_it_was_and_what_is_deleted_is_gone() {
    let bench = bench().await;
    let engine = bench.engine();
    for round in ["first", "second", "third"] {
        compare(&engine, times(0, 60), round).await;
    }
    let rows = run(DAY_MS..DAY_MS + HOUR_MS, 1.0);
    bench.merged(schemas::samples(), &samples(&rows)).await;
    assert_eq!(compare(&engine, times(0, 60), "merged").await.0, 0);

    let left: Vec<Sample> = rows.into_iter().filter(|row| row.1 == 2).collect();
    bench.merged(schemas::samples(), &samples(&left)).await;
    let (kept, anew) = compare(&engine, times(0, 60), "deleted").await;
    assert_eq!(kept, anew);
    assert!(!ask(&engine, "seen_total", times(0, 60), false).await.0.contains(r#""job":"a""#));
}

#[tokio::test]
async fn what_was_deleted_on_its_way_from_the_head_to_a_file_is_gone() {
    let bench = bench().await;
    let later = DAY_MS + HOUR_MS..DAY_MS + HOUR_MS + 600_000;
    bench.head(schemas::samples(), samples(&run(later, 1.0)), Lane::InOrder, true);
    let engine = bench.engine();
    for round in ["first", "second", "third"] {
        compare(&engine, times(0, 70), round).await;
    }
    // Committed as a file, which a delete then takes away: all files that were there are there, and no others.
    {
        let mut views = bench.views.lock();
        let view = views.get_mut("samples").unwrap();
        view.head.clear();
        view.version = view.version.map(|version| version + 2);
    }
    let (kept, anew) = compare(&engine, times(0, 70), "deleted").await;
    assert!(kept < anew, "what was in files before is as it was: {kept} of {anew}");
    assert!(ask(&engine, "seen_total", times(66, 70), false).await.0.contains(r#""result":[]"#));
}

#[tokio::test]
async fn a_range_may_end_between_two_steps() {
    let bench = bench().await;
    let engine = bench.engine();
    let between = times(0, 40).start..times(0, 40).end + 7_000;
    for round in ["first", "second"] {
        compare(&engine, between.clone(), round).await;
    }
    assert_eq!(compare(&engine, between.clone(), "third").await.0, 0);
    assert_eq!(compare(&engine, between.start + 30_000..between.end, "later").await.0, 0);
}

#[tokio::test]
async fn memory_for_answers_is_bounded() {
    let bench = bench().await;
    let engine = bench.engine_with(crate::Config { metadata_cache_bytes: 16 * 16 * 1024, ..crate::Config::default() });
    for at in 0..20 {
        for _ in 0..3 {
            ask(&engine, &format!("sum(seen_total) + {at}"), times(0, 60), false).await;
        }
        let state = engine.answers().state.lock();
        assert!(state.bytes <= 16 * 1024 && !state.known.is_empty(), "{}", state.bytes);
        assert_eq!(state.bytes, state.known.values().map(|entry| entry.bytes).sum::<usize>());
    }
}
