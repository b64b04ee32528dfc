//! What was acknowledged survives `kill -9`: once, and whole.
//!
//! Writers send batches one after the other, as Prometheus does: each until it is acknowledged, and then into an
//! fsynced ledger. Meanwhile the server is killed at random moments, or ends itself at named points of its write path
//! (`STREAMGAUGE_CRASH_AT=<point>:<nth hit>`), and is started again. Some batches are given up after a failure, so
//! that at the end there are batches that were never acknowledged: those may be missing, but not in part.
//!
//! `STREAMGAUGE_KILLS=200` runs it for longer (about ten minutes), `STREAMGAUGE_SEED` sets the random moments.

#![allow(clippy::disallowed_methods, reason = "the test is the outside world: it reads the clock")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::Write as _,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, SystemTime},
};

use crate::support::{
    process::{self, Home, SIGABRT},
    random::Random,
    wire::{self, v1},
};

const WRITERS: u64 = 3;
/// Series of each writer.
const SERIES: u64 = 4;
/// Samples of a series in a batch; the last one is late: it lies among those of an earlier batch.
const SLOTS: i64 = 8;
/// By how many batches the late sample is late.
const LATE: i64 = 5;
/// Time between two samples of a series.
const STEP_MS: i64 = 250;
/// Batches after which a series gets other labels, so that new series appear all the time.
const GENERATION: i64 = 100;
/// A pause after each batch, so that a run of 200 kills still fits into memory when it is checked.
const PAUSE: Duration = Duration::from_millis(8);
/// Commits about every second; segments short enough to be cut off often.
const SETTINGS: &str = "\
storage:
  flush_bytes: 1MiB
  flush_age: 1s
  wal_segment_bytes: 1MiB
sql:
  rows_max: 10000000
";
/// Points at which the server ends itself, and how late at most: log points are hit by every batch, the others by
/// every commit.
const POINTS: [(&str, u64); 5] =
    [("wal_written", 100), ("wal_synced", 100), ("parquet_put", 4), ("delta_committed", 4), ("before_wal_trim", 2)];

/// What all threads share.
struct Run {
    home: Home,
    base_ms: i64,
    stop: AtomicBool,
    acknowledged: AtomicU64,
    abandoned: AtomicU64,
}

#[test]
fn what_was_acknowledged_survives_kill_9_once_and_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut random = Random(process::setting("STREAMGAUGE_SEED", now_ms().unsigned_abs()));
    println!("STREAMGAUGE_SEED={}", random.0);
    let run = Run {
        home: Home::new(folder.path(), SETTINGS),
        // Several days back, so that batches of a long run cross midnight; within retention, and never ahead of now.
        base_ms: now_ms() - 12 * 86_400_000,
        stop: AtomicBool::new(false),
        acknowledged: AtomicU64::new(0),
        abandoned: AtomicU64::new(0),
    };
    let ledgers: Vec<PathBuf> = (0..WRITERS).map(|writer| folder.path().join(format!("ledger-{writer}"))).collect();
    thread::scope(|scope| {
        // Whatever fails, the writers are told to stop, else the scope would wait for them for ever.
        let _stop = StopOnDrop(&run.stop);
        for (writer, ledger) in (0..WRITERS).zip(&ledgers) {
            let (run, random) = (&run, Random(random.next()));
            scope.spawn(move || write_batches(run, writer, ledger, random));
        }
        for kill in 0..process::setting("STREAMGAUGE_KILLS", 20) {
            kill_once(&run, kill, &mut random);
        }
    });
    println!(
        "batches acknowledged={} abandoned={}",
        run.acknowledged.load(Ordering::Relaxed),
        run.abandoned.load(Ordering::Relaxed)
    );
    let acknowledged = read_ledgers(&ledgers);
    // The last kill has left a tail in the log: read it with nothing running, then after recovery, then from files
    // alone.
    check(&acknowledged, run.base_ms, |sql| run.home.sql_offline(sql));
    let server = run.home.start(&[]).expect("the server recovers");
    check(&acknowledged, run.base_ms, |sql| run.home.sql(sql));
    let status = server.terminate();
    assert!(status.success(), "a server told to end exits with {status}");
    check(&acknowledged, run.base_ms, |sql| run.home.sql_offline(sql));
}

/// Starts the server, has it die, and looks at what it left: every second time at a random moment, else at a named
/// point.
fn kill_once(run: &Run, kill: u64, random: &mut Random) {
    let before = run.acknowledged.load(Ordering::Relaxed);
    if kill.is_multiple_of(2) {
        let server = run.home.start(&[]).unwrap_or_else(|status| panic!("the server does not start again: {status}"));
        thread::sleep(Duration::from_millis(50 + random.below(900)));
        server.kill();
    } else {
        let (point, nth_max) = POINTS[usize::try_from(kill / 2).expect("small") % POINTS.len()];
        let nth = 1 + random.below(nth_max);
        let at = format!("{point}:{nth}");
        let status = match run.home.start(&[("STREAMGAUGE_CRASH_AT", &at)]) {
            Ok(mut server) => server
                .ended(Duration::from_secs(30))
                .unwrap_or_else(|| panic!("crash point {at} was never reached: {}", server.log_tail())),
            Err(status) => status,
        };
        assert_eq!(status.signal(), Some(SIGABRT), "at crash point {at} the server ends with {status}");
    }
    let acknowledged = run.acknowledged.load(Ordering::Relaxed);
    println!("kill {kill}: batches acknowledged={acknowledged} (+{})", acknowledged - before);
    if kill % 5 == 4 {
        check_counts(run, acknowledged);
    }
}

/// A cheap look at the folder of a dead server: nothing twice, nothing acknowledged missing.
fn check_counts(run: &Run, acknowledged: u64) {
    let count = |sql: &str| -> u64 { run.home.sql_offline(sql)[0].parse().expect("a count") };
    let rows = count("SELECT count(*) FROM samples WHERE metric LIKE 'ledger_%'");
    let distinct =
        "SELECT count(*) FROM (SELECT DISTINCT metric, series_id, ts FROM samples WHERE metric LIKE 'ledger_%')";
    assert_eq!(rows, count(distinct), "samples are stored twice");
    let least = acknowledged * SERIES * (SLOTS.unsigned_abs() - 1);
    assert!(rows >= least, "acknowledged samples are missing rows={rows} least={least}");
}

/// Sends batch after batch until told to stop. A failed batch is sent again until it is acknowledged; one in four is
/// given up.
fn write_batches(run: &Run, writer: u64, ledger: &Path, mut random: Random) {
    let mut ledger = File::create(ledger).expect("a ledger");
    let agent = process::agent(Duration::from_secs(20));
    for batch in 0.. {
        let samples = batch_of(writer, batch, run.base_ms);
        let body = encode(writer, &samples, run.base_ms);
        let mut failures = 0;
        loop {
            if run.stop.load(Ordering::Relaxed) {
                return;
            }
            if run.home.write(&agent, &body).is_ok_and(|status| status < 300) {
                let lines: String = samples.iter().map(|s| format!("{batch} {s}\n")).collect();
                ledger.write_all(lines.as_bytes()).expect("room for the ledger");
                ledger.sync_data().expect("a disk that syncs");
                run.acknowledged.fetch_add(1, Ordering::Relaxed);
                break;
            }
            failures += 1;
            if failures == 1 && random.below(4) == 0 {
                run.abandoned.fetch_add(1, Ordering::Relaxed);
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
        thread::sleep(PAUSE);
    }
}

/// One sample. Everything about it follows from the metric and the time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Sample {
    writer: u64,
    series: u64,
    ts_ms: i64,
    bits: u64,
}

impl std::fmt::Display for Sample {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {} {}", self.writer, self.series, self.ts_ms, self.bits)
    }
}

/// The samples of a batch: for each series the slots of its own stretch of time but the last, then the last slot of an
/// earlier batch.
fn batch_of(writer: u64, batch: i64, base_ms: i64) -> Vec<Sample> {
    let mut samples = Vec::new();
    for series in 0..SERIES {
        let in_order = (0..SLOTS - 1).map(|slot| batch * SLOTS + slot);
        let late = (batch >= LATE).then_some((batch - LATE) * SLOTS + SLOTS - 1);
        for slot in in_order.chain(late) {
            let ts_ms = base_ms + slot * STEP_MS;
            samples.push(Sample { writer, series, ts_ms, bits: value(writer, series, ts_ms).to_bits() });
        }
    }
    samples
}

/// The batch to which the sample of a time belongs.
fn batch_at(ts_ms: i64, base_ms: i64) -> i64 {
    let slot = (ts_ms - base_ms) / STEP_MS;
    let stretch = slot / SLOTS;
    if slot % SLOTS == SLOTS - 1 { stretch + LATE } else { stretch }
}

/// A value between 1 and 2 of which every bit counts.
fn value(writer: u64, series: u64, ts_ms: i64) -> f64 {
    let noise = Random(ts_ms.unsigned_abs() ^ (writer << 60) ^ (series << 56)).next();
    f64::from_bits(0x3ff0_0000_0000_0000 | (noise >> 12))
}

fn metric(writer: u64, series: u64) -> String {
    format!("ledger_w{writer}_s{series}")
}

fn encode(writer: u64, samples: &[Sample], base_ms: i64) -> Vec<u8> {
    let mut by_series: BTreeMap<(u64, i64), Vec<(i64, f64)>> = BTreeMap::new();
    for sample in samples {
        let generation = (sample.ts_ms - base_ms) / STEP_MS / SLOTS / GENERATION;
        by_series.entry((sample.series, generation)).or_default().push((sample.ts_ms, f64::from_bits(sample.bits)));
    }
    let series = |((series, generation), points): (&(u64, i64), &Vec<(i64, f64)>)| {
        let (name, generation) = (metric(writer, *series), generation.to_string());
        v1::series(&[("__name__", &name), ("generation", &generation), ("job", "ledger")], points)
    };
    let timeseries = by_series.iter().map(series).collect();
    wire::snappy(&v1::WriteRequest { timeseries, metadata: Vec::new() })
}

/// Acknowledged samples, as the ledgers on disk have them.
fn read_ledgers(ledgers: &[PathBuf]) -> BTreeSet<Sample> {
    let mut samples = BTreeSet::new();
    for ledger in ledgers {
        for line in fs::read_to_string(ledger).expect("a ledger").lines() {
            let mut numbers = line.split(' ').map(|number| number.parse::<u64>().expect("a number"));
            let mut next = || numbers.next().expect("five numbers a line");
            let (_batch, writer, series) = (next(), next(), next());
            assert!(samples.insert(Sample { writer, series, ts_ms: next().cast_signed(), bits: next() }));
        }
    }
    samples
}

/// Compares what SQL gives with the ledger: every acknowledged sample is there, no sample is there twice, no value is
/// wrong, and every batch that is there at all is there in whole.
fn check(acknowledged: &BTreeSet<Sample>, base_ms: i64, sql: impl Fn(&str) -> Vec<String>) {
    assert!(!acknowledged.is_empty(), "nothing was acknowledged: the test has shown nothing");
    let mut stored = BTreeSet::new();
    let mut batches: BTreeMap<(u64, i64), usize> = BTreeMap::new();
    for (writer, series) in (0..WRITERS).flat_map(|writer| (0..SERIES).map(move |series| (writer, series))) {
        let name = metric(writer, series);
        for row in sql(&format!("SELECT CAST(timestamp AS BIGINT), value FROM metrics WHERE metric = '{name}'")) {
            let (ts_us, number) = row.split_once(',').expect("two columns");
            let ts_ms = ts_us.parse::<i64>().expect("microseconds") / 1000;
            let bits = number.parse::<f64>().expect("a value").to_bits();
            assert_eq!(bits, value(writer, series, ts_ms).to_bits(), "{name} has a wrong value at {ts_ms}");
            assert!(stored.insert(Sample { writer, series, ts_ms, bits }), "{name} has two samples at {ts_ms}");
            *batches.entry((writer, batch_at(ts_ms, base_ms))).or_default() += 1;
        }
    }
    let missing: Vec<_> = acknowledged.difference(&stored).take(5).collect();
    assert!(missing.is_empty(), "acknowledged samples are missing, among them {missing:?}");
    for ((writer, batch), rows) in batches {
        let whole = batch_of(writer, batch, base_ms).len();
        assert_eq!(rows, whole, "batch {batch} of writer {writer} is there in part");
    }
    let rows = sql("SELECT count(*) FROM samples WHERE metric LIKE 'ledger_%'");
    assert_eq!(rows, [stored.len().to_string()], "samples and metrics disagree");
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn now_ms() -> i64 {
    i64::try_from(SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_millis()).expect("fits for long")
}
