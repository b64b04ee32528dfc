//! Tables in buckets are as good as tables in a folder: the same answers, nothing lost and nothing doubled, whatever dies.
//!
//! A real S3 server (SeaweedFS) and the real binary; between them, where it is the point, a network that fails in every way
//! there is a name for, and is away for longer than memory lasts. `STREAMGAUGE_S3_KILLS=50` and `STREAMGAUGE_S3_HARM_SECONDS=300` run it for longer, `STREAMGAUGE_SEED`
//! sets what is random.

#![allow(clippy::disallowed_methods, reason = "the test is the outside world: it reads the clock")]

use std::{
    collections::BTreeMap,
    fs,
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{Command, Output},
    sync::atomic::{AtomicBool, AtomicI64, Ordering},
    thread,
    time::Duration,
};

use object_store::{ObjectStore as _, ObjectStoreExt as _, PutMode, PutOptions, aws::AmazonS3Builder, path};
use serde_json::json;

use crate::support::{
    process::{self, Home, SIGABRT},
    proxy::{Fault, Proxy},
    random::Random,
    seaweed::{self, KEY, SECRET, Seaweed},
    server::{eventually, now_ms},
    wire::{self, v1},
};

const DAY_MS: i64 = 86_400_000;

/// Settings of a server whose tables are in buckets: samples in one, series in another.
fn settings(port: u16) -> String {
    format!(
        "data: s3://gauge/prod\nroots: {{series: s3://gauge-eu/residents}}\n\
         s3: {{endpoint: 'http://127.0.0.1:{port}', sse: AES256, request_timeout: 3s}}\ncache: {{bytes: 256MiB}}\n\
         storage: {{flush_bytes: 1MiB, flush_age: 1s, wal_segment_bytes: 1MiB}}\nsql: {{rows_max: 10000000}}\n"
    )
}

fn seed() -> u64 {
    let seed = process::setting("STREAMGAUGE_SEED", now_ms().unsigned_abs());
    println!("STREAMGAUGE_SEED={seed}");
    seed
}

/// Both buckets, empty.
fn buckets(folder: &Path) -> Option<Seaweed> {
    let seaweed = Seaweed::start(folder)?;
    ["gauge", "gauge-eu"].iter().for_each(|name| seaweed.bucket(name));
    Some(seaweed)
}

// === the same answers ===

#[test]
fn tables_in_buckets_answer_as_tables_in_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let Some(seaweed) = buckets(folder.path()) else { return };
    let homes = ["folder", "bucket"].map(|name| folder.path().join(name));
    homes.iter().for_each(|home| fs::create_dir(home).unwrap());
    let local = Home::new(&homes[0], "storage: {flush_age: 1h}\n");
    let remote = Home::new(&homes[1], &settings(seaweed.port).replace("flush_age: 1s", "flush_age: 1h"));
    let env = seaweed::credentials();
    let _local = local.start(&[]).expect("the server starts");
    let server = remote.start(&env).expect("the server starts");
    let start_ms = now_ms() - 5 * DAY_MS;
    for part in 0..3 {
        for home in [&local, &remote] {
            assert!(matches!(
                home.write(&process::agent(Duration::from_secs(30)), &request(start_ms, part)),
                Ok(200..=299)
            ));
            home.flush();
        }
    }
    let same = |when: &str| {
        for question in QUESTIONS {
            let (expected, found) = (local.sql(question), remote.sql(question));
            assert!(expected.len() > 1 && expected == found, "{when}: {question}\n{expected:?}\n{found:?}");
        }
    };
    same("fresh");
    let hits = metric(&remote, "streamgauge_cache_blocks_total{outcome=\"hit\"}");
    assert!(hits > 0, "what was just put is asked for and not found in the cache");
    fs::remove_dir_all(remote.data().join("cache")).unwrap();
    same("with the cache wiped while the server runs");
    assert!(server.terminate().success());
    fs::remove_dir_all(remote.data().join("cache")).unwrap();
    let server = remote.start(&env).expect("the server starts again");
    same("after a restart without a cache");
    assert!(metric(&remote, "streamgauge_cache_blocks_total{outcome=\"miss\"}") > 0);
    for counter in [
        "streamgauge_store_requests_total{operation=\"put\",outcome=\"ok\"}",
        "streamgauge_store_requests_total{operation=\"get\",outcome=\"ok\"}",
        "streamgauge_store_bytes_total{direction=\"written\"}",
        "streamgauge_store_bytes_total{direction=\"read\"}",
        "streamgauge_store_put_seconds_count",
    ] {
        assert!(metric(&remote, counter) > 0, "{counter}");
    }
    each_dataset_is_in_its_bucket(&seaweed, &remote);
    offline_reads_what_the_server_reads(&local, &remote);
    python_reads_the_bucket(&seaweed, &local);
    assert!(server.terminate().success());
    another_root_is_refused(&remote);
    let log = fs::read_to_string(remote.folder.join("streamgauge.log")).unwrap();
    assert!(!log.contains(SECRET) && log.contains("s3://gauge/prod"), "{log}");
}

const QUESTIONS: [&str; 4] = [
    "SELECT metric, CAST(day AS VARCHAR) AS date, count(*), count(DISTINCT series_id), sum(value), min(ts), max(ts) FROM samples \
     GROUP BY metric, day ORDER BY metric, day",
    "SELECT metric, labels['instance'] AS instance, max(value) FROM metrics GROUP BY 1, 2 ORDER BY 1, 2",
    "SELECT timestamp, value FROM metrics WHERE metric = 'requests_total' AND labels['instance'] = 'host-7' ORDER BY timestamp",
    "SELECT CAST(day AS VARCHAR) AS date, metric, count(*) FROM series GROUP BY day, metric ORDER BY day, metric",
];

/// So many that files have more to them than a footer.
const SERIES_OF_A_METRIC: i64 = 300;

/// A third of the samples of four days; values are whole, so that sums are exact in any order.
fn request(start_ms: i64, part: i64) -> Vec<u8> {
    let mut timeseries = Vec::new();
    for (at, name) in (0..).zip(["requests_total", "temperature_celsius"]) {
        for series in 0..SERIES_OF_A_METRIC {
            let value = |hour: i64| f64::from(u32::try_from(at * 100_000 + series * 1000 + hour).unwrap());
            let points: Vec<_> =
                (part * 32..part * 32 + 32).map(|hour| (start_ms + hour * 3_600_000, value(hour))).collect();
            timeseries.push(v1::series(&[("__name__", name), ("instance", &format!("host-{series}"))], &points));
        }
    }
    wire::snappy(&v1::WriteRequest { timeseries, metadata: Vec::new() })
}

fn metric(home: &Home, name: &str) -> u64 {
    let mut answer = process::agent(Duration::from_secs(10)).get(home.url("/metrics")).call().unwrap();
    let text = answer.body_mut().read_to_string().unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.unwrap_or_else(|| panic!("no {name} in\n{text}"))
}

fn each_dataset_is_in_its_bucket(seaweed: &Seaweed, home: &Home) {
    assert!(seaweed.names("gauge/prod/default").contains(&"samples".to_owned()));
    assert!(!seaweed.names("gauge/prod/default").contains(&"series".to_owned()));
    assert_eq!(seaweed.names("gauge-eu/residents/default"), ["series"]);
    assert!(fs::read_dir(home.data().join("tables")).unwrap().next().is_none(), "nothing is in the folder");
}

/// The `sql` command on the data folder, beside the running server.
fn offline(home: &Home, question: &str, config: Option<&Path>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_streamgauge"));
    command.arg("sql").arg("--data-dir").arg(home.data()).args(["--format", "csv", question]);
    if let Some(config) = config {
        command.arg("--config").arg(config).envs(seaweed::credentials());
    }
    command.output().expect("the binary runs")
}

fn offline_reads_what_the_server_reads(local: &Home, remote: &Home) {
    let config = remote.folder.join("streamgauge.yaml");
    for question in QUESTIONS {
        let expected = offline(local, question, None);
        let found = offline(remote, question, Some(&config));
        assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
        assert_eq!(String::from_utf8_lossy(&found.stdout), String::from_utf8_lossy(&expected.stdout));
    }
    let refused = offline(remote, QUESTIONS[0], None);
    let reason = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && reason.contains("s3://gauge") && reason.contains("--config"), "{reason}");
}

/// The settings of another root over the same data folder.
fn another_root_is_refused(home: &Home) {
    let config = home.folder.join("streamgauge.yaml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("s3://gauge/prod", "s3://gauge/other")).unwrap();
    assert!(home.start(&seaweed::credentials()).is_err(), "a log is taken to tables it does not belong to");
    let log = fs::read_to_string(home.folder.join("streamgauge.log")).unwrap();
    assert!(log.contains("tables=s3://gauge/prod") && log.contains("settings=s3://gauge/other"), "{log}");
    fs::write(&config, text).unwrap();
}

fn python_reads_the_bucket(seaweed: &Seaweed, local: &Home) {
    const INSTALL: &str = "pip install deltalake duckdb";
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/read_delta.py");
    let mut command = Command::new("python3");
    command.args([script, "s3://gauge/prod/default", "samples"]).envs(seaweed::credentials());
    command.env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", seaweed.port));
    command.envs([("AWS_ALLOW_HTTP", "true"), ("AWS_REGION", "us-east-1")]);
    let Ok(output) = command.output() else { return process::skipped("python3 is not installed", INSTALL) };
    let errors = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(77) {
        return process::skipped(errors.trim(), INSTALL);
    }
    assert!(output.status.success(), "{errors}");
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let expected = local.sql(
        "SELECT metric, CAST(day AS VARCHAR) AS date, count(*), count(DISTINCT series_id), CAST(sum(value) AS VARCHAR), \
         CAST(min(ts) AS BIGINT), CAST(max(ts) AS BIGINT) FROM samples GROUP BY metric, day ORDER BY metric, day",
    );
    let rows = found["samples"]["deltalake"].as_array().unwrap().iter().map(|row| {
        let cell = |cell: &serde_json::Value| cell.as_str().map_or_else(|| cell.to_string(), ToOwned::to_owned);
        row.as_array().unwrap().iter().map(cell).collect::<Vec<_>>().join(",")
    });
    assert_eq!(json!(rows.collect::<Vec<_>>()), json!(expected));
}

// === a put that must not overwrite ===

#[test]
fn of_many_puts_that_must_not_overwrite_one_wins() {
    let folder = tempfile::tempdir().unwrap();
    let Some(seaweed) = buckets(folder.path()) else { return };
    let builder = AmazonS3Builder::new().with_bucket_name("gauge").with_allow_http(true);
    let builder = builder.with_endpoint(format!("http://127.0.0.1:{}", seaweed.port));
    let store = builder.with_access_key_id(KEY).with_secret_access_key(SECRET).build().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for round in 0..10 {
        let path = path::Path::from(format!("default/samples/_delta_log/{round:020}.json"));
        let options = || PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let puts = (0..16_u8).map(|writer| store.put_opts(&path, vec![writer; 100].into(), options()));
        let outcomes = runtime.block_on(futures::future::join_all(puts));
        let won: Vec<usize> = (0..outcomes.len()).filter(|writer| outcomes[*writer].is_ok()).collect();
        assert_eq!(won.len(), 1, "round {round}: {won:?} all believe that they made the commit");
        for outcome in outcomes {
            assert!(matches!(outcome, Ok(_) | Err(object_store::Error::AlreadyExists { .. })), "{outcome:?}");
        }
        let found = runtime.block_on(async { store.get(&path).await?.bytes().await }).unwrap();
        assert_eq!(found[..], [u8::try_from(won[0]).unwrap(); 100]);
    }
}

// === nothing lost, nothing doubled ===

const SERIES: i64 = 4;
const SAMPLES: i64 = 5;
const STEP_MS: i64 = 250;

/// A sender that sends batch after batch, each until it is acknowledged.
struct Ledger {
    base_ms: i64,
    acknowledged: AtomicI64,
    stop: AtomicBool,
    ended: AtomicBool,
}

impl Ledger {
    fn new() -> Self {
        Self {
            base_ms: now_ms() - 3 * DAY_MS,
            acknowledged: AtomicI64::new(0),
            stop: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        }
    }

    /// Sends until told to stop; the last batch is acknowledged as well.
    fn send(&self, home: &Home) {
        let agent = process::agent(Duration::from_secs(20));
        for batch in 0.. {
            let timeseries = (0..SERIES).map(|series| {
                let points: Vec<_> = (0..SAMPLES).map(|i| self.sample(series, batch * SAMPLES + i)).collect();
                v1::series(&[("__name__", &format!("ledger_{series}")), ("job", "s3")], &points)
            });
            let body = wire::snappy(&v1::WriteRequest { timeseries: timeseries.collect(), metadata: Vec::new() });
            let sent = eventually(|| {
                let answer = home.write(&agent, &body);
                answer.is_ok_and(|status| status < 300).then_some(())
            });
            assert!(sent.is_some(), "batch {batch} is not taken for a minute");
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            thread::sleep(Duration::from_millis(5));
        }
        self.ended.store(true, Ordering::Relaxed);
    }

    /// Tells the sender to stop, and waits until its last batch is acknowledged.
    fn end(&self) {
        self.stop.store(true, Ordering::Relaxed);
        eventually(|| self.ended.load(Ordering::Relaxed).then_some(())).expect("the sender ends");
    }

    /// Time and value, of which every bit counts, and both of which follow from the place.
    fn sample(&self, series: i64, slot: i64) -> (i64, f64) {
        let noise = Random((series << 48 ^ slot).unsigned_abs()).next();
        (self.base_ms + slot * STEP_MS, f64::from_bits(0x3ff0_0000_0000_0000 | (noise >> 12)))
    }

    /// Compares what SQL finds with what was acknowledged.
    fn check(&self, sql: impl Fn(&str) -> Vec<String>) {
        let batches = self.acknowledged.load(Ordering::Relaxed);
        assert!(batches > 20, "{batches} batches show nothing");
        for series in 0..SERIES {
            let question =
                format!("SELECT CAST(timestamp AS BIGINT), value FROM metrics WHERE metric = 'ledger_{series}'");
            let mut found = BTreeMap::new();
            for row in sql(&question) {
                let (ts_us, value) = row.split_once(',').expect("two columns");
                let ts_ms = ts_us.parse::<i64>().unwrap() / 1000;
                let before = found.insert(ts_ms, value.parse::<f64>().unwrap().to_bits());
                assert!(before.is_none(), "ledger_{series} has two samples at {ts_ms}");
            }
            let sent = (0..batches * SAMPLES).map(|slot| self.sample(series, slot));
            let expected: BTreeMap<i64, u64> = sent.map(|(ts_ms, value)| (ts_ms, value.to_bits())).collect();
            let missing = expected.keys().filter(|ts_ms| !found.contains_key(ts_ms)).count();
            assert_eq!(missing, 0, "of {} samples of ledger_{series}", expected.len());
            assert!(found == expected, "ledger_{series} has samples that were not sent, or with another value");
        }
        assert_eq!(sql("SELECT count(*) FROM samples"), [(batches * SAMPLES * SERIES).to_string()]);
    }
}

/// Stops the sender whatever fails, else the scope would wait for it.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Commits of a table are numbered without a gap.
fn check_log(seaweed: &Seaweed, folder: &str) {
    let names = seaweed.names(&format!("{folder}/_delta_log"));
    let mut versions: Vec<u64> = names.iter().filter_map(|name| name.strip_suffix(".json")?.parse().ok()).collect();
    versions.sort_unstable();
    assert!(versions.len() > 2, "{names:?}");
    assert_eq!(versions, (0..versions.len() as u64).collect::<Vec<_>>());
}

#[test]
fn what_was_acknowledged_survives_kill_9_with_tables_in_buckets() {
    let folder = tempfile::tempdir().unwrap();
    let Some(seaweed) = buckets(folder.path()) else { return };
    let mut random = Random(seed());
    let (home, ledger) = (Home::new(folder.path(), &settings(seaweed.port)), Ledger::new());
    let [key, secret] = seaweed::credentials();
    thread::scope(|scope| {
        let _stop = StopOnDrop(&ledger.stop);
        let mut server = home.start(&[key, secret]).expect("the server starts");
        scope.spawn(|| ledger.send(&home));
        for kill in 0..process::setting("STREAMGAUGE_S3_KILLS", 6) {
            thread::sleep(Duration::from_millis(500 + random.below(1500)));
            server.kill();
            let at =
                format!("{}:{}", ["parquet_put", "delta_committed"][usize::from(kill % 4 == 1)], 1 + random.below(3));
            let crash = ("STREAMGAUGE_CRASH_AT", at.as_str());
            if kill % 2 == 1 {
                let status = match home.start(&[key, secret, crash]) {
                    Ok(mut server) => server.ended(Duration::from_secs(30)).expect("the point is reached"),
                    Err(status) => status,
                };
                assert_eq!(status.signal(), Some(SIGABRT), "at {at} the server ends with {status}");
            }
            server = home.start(&[key, secret]).expect("the server starts again");
            println!("kill {kill}: batches acknowledged={}", ledger.acknowledged.load(Ordering::Relaxed));
        }
        ledger.end();
        ledger.check(|question| home.sql(question));
        home.flush();
        ledger.check(|question| home.sql(question));
        assert!(server.terminate().success());
    });
    let _server = home.start(&[key, secret]).expect("the server starts from files alone");
    ledger.check(|question| home.sql(question));
    check_log(&seaweed, "gauge/prod/default/samples");
    check_log(&seaweed, "gauge-eu/residents/default/series");
}

/// Asks again and again. There may be no answer; one that comes holds whole batches, and at least those acknowledged before.
fn ask_meanwhile(home: &Home, ledger: &Ledger, duration: Duration) {
    let (begun_ms, batch) = (now_ms(), (SAMPLES * SERIES).unsigned_abs());
    let (mut answers, mut refusals) = (0, 0);
    while now_ms() - begun_ms < i64::try_from(duration.as_millis()).unwrap() {
        let least = ledger.acknowledged.load(Ordering::Relaxed).unsigned_abs() * batch;
        // A condition that only the rows themselves can answer.
        match home.ask("SELECT count(*) FROM samples WHERE value >= 1 AND value < 2", "csv") {
            Ok(text) => {
                let text = String::from_utf8(text).unwrap();
                let rows: u64 = text.lines().nth(1).unwrap().parse().unwrap();
                assert!(rows >= least && rows.is_multiple_of(batch), "{rows} rows of at least {least}");
                answers += 1;
            }
            Err(reason) => {
                assert!(reason.contains("unavailable") || reason.contains("timeout"), "{reason}");
                refusals += 1;
            }
        }
        thread::sleep(Duration::from_millis(200));
    }
    println!("questions answered={answers} refused={refusals}");
    assert!(answers > 0, "no question was answered");
}

#[test]
fn a_network_that_fails_loses_nothing_and_doubles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let Some(seaweed) = buckets(folder.path()) else { return };
    let proxy = Proxy::start(seaweed.port, seed());
    // Without a cache, so that reads meet the network as well.
    let settings = settings(proxy.port).replace("bytes: 256MiB", "bytes: 0");
    let (home, ledger) = (Home::new(folder.path(), &settings), Ledger::new());
    let env = seaweed::credentials();
    thread::scope(|scope| {
        let _stop = StopOnDrop(&ledger.stop);
        let server = home.start(&env).expect("the server starts");
        scope.spawn(|| ledger.send(&home));
        // The commit is there, and nobody says so: in each way that this can happen.
        for fault in [Fault::AnswerLost, Fault::Hang, Fault::Broken, Fault::SlowDown, Fault::Cut] {
            proxy.next_put("_delta_log", fault);
        }
        for fault in [Fault::AnswerLost, Fault::Hang, Fault::SlowDown] {
            proxy.next_put(".parquet", fault);
        }
        proxy.harm(20);
        let harmed = Duration::from_secs(process::setting("STREAMGAUGE_S3_HARM_SECONDS", 20));
        ask_meanwhile(&home, &ledger, harmed);
        // Away for a while: what comes meanwhile is in the log and visible.
        proxy.down(true);
        let before = ledger.acknowledged.load(Ordering::Relaxed);
        thread::sleep(Duration::from_secs(8));
        let during = ledger.acknowledged.load(Ordering::Relaxed);
        assert!(during > before, "writes stop when the bucket is away");
        assert!(proxy.count(Fault::Outage, "", "") > 0, "nobody noticed the outage");
        proxy.down(false);
        thread::sleep(harmed / 4);
        proxy.harm(0);
        ledger.end();
        home.flush();
        ledger.check(|question| home.sql(question));
        println!(
            "{:?}, commits whose answer was lost: {}",
            proxy.summary(),
            proxy.count(Fault::AnswerLost, "PUT", "_delta_log")
        );
        for fault in [Fault::AnswerLost, Fault::Hang, Fault::Broken, Fault::SlowDown, Fault::Cut] {
            assert!(proxy.count(fault, "PUT", "_delta_log") > 0, "no commit met {fault:?}");
        }
        let reads = |fault| proxy.count(fault, "GET", ".parquet");
        assert!([Fault::Broken, Fault::SlowDown, Fault::Cut].map(reads).iter().sum::<u64>() > 0, "no read met a fault");
        assert!(server.terminate().success());
    });
    let _server = home.start(&env).expect("the server starts from files alone");
    ledger.check(|question| home.sql(question));
    check_log(&seaweed, "gauge/prod/default/samples");
    check_log(&seaweed, "gauge-eu/residents/default/series");
}

// === an outage longer than memory lasts ===

const WIDE: i64 = 2_000;
const DEEP: i64 = 20;
/// With at least 28 bytes a sample these are more than a budget of 128 MiB has for rows in memory (30 %).
const REQUESTS: i64 = 60;

/// Request `n`: points of many series, each of which has its number as value.
fn wide(start_ms: i64, n: i64) -> Vec<u8> {
    let series = |id: i64| {
        let value = f64::from(u32::try_from(id).unwrap());
        let points: Vec<_> = (n * DEEP..(n + 1) * DEEP).map(|slot| (start_ms + slot * 1000, value)).collect();
        v1::series(&[("__name__", "outage"), ("id", &id.to_string())], &points)
    };
    wire::snappy(&v1::WriteRequest { timeseries: (0..WIDE).map(series).collect(), metadata: Vec::new() })
}

/// Is every sample of the first `requests` there once?
fn check_wide(home: &Home, requests: i64) {
    let groups = "SELECT ts, count(*) AS rows, sum(value) AS sum FROM samples GROUP BY ts";
    let whole = format!("rows = {WIDE} AND sum = {}", WIDE * (WIDE - 1) / 2);
    let found = home.sql(&format!("SELECT count(*), count(*) FILTER (WHERE {whole}) FROM ({groups})"));
    assert_eq!(found, [format!("{0},{0}", requests * DEEP)]);
}

#[test]
fn an_outage_longer_than_memory_lasts_is_ridden_out_on_the_local_disk() {
    const { assert!(WIDE * DEEP * (REQUESTS - 10) * 28 > (128 << 20) / 100 * 30) };
    let folder = tempfile::tempdir().unwrap();
    let Some(seaweed) = buckets(folder.path()) else { return };
    let proxy = Proxy::start(seaweed.port, seed());
    let home = Home::new(folder.path(), &format!("memory: 128MiB\n{}", settings(proxy.port)));
    let [key, secret] = seaweed::credentials();
    let server = home.start(&[key, secret]).expect("the server starts");
    let (agent, start_ms) = (process::agent(Duration::from_secs(30)), now_ms() - 3_600_000);
    let refused = AtomicI64::new(0);
    let write = |n: i64| {
        let body = wide(start_ms, n);
        let taken = eventually(|| {
            let taken = home.write(&agent, &body).is_ok_and(|status| status == 204);
            refused.fetch_add(i64::from(!taken), Ordering::Relaxed);
            taken.then_some(())
        });
        assert!(taken.is_some(), "request {n} is not taken for a minute");
    };
    let spool = |name: &str| metric(&home, &format!("streamgauge_store_spool_{name}{{root=\"s3://gauge/prod\"}}"));
    write(0);
    home.flush();
    proxy.down(true);
    // The bucket has some seconds; then what is committed waits on the disk.
    write(1);
    eventually(|| (spool("files") > 0).then_some(())).expect("nothing waits on the disk");
    (2..REQUESTS).for_each(write);
    check_wide(&home, REQUESTS);
    home.flush();
    check_wide(&home, REQUESTS);
    assert!(proxy.count(Fault::Outage, "", "") > 0, "nobody noticed the outage");
    println!("waiting files={} bytes={} writes refused={refused:?}", spool("files"), spool("bytes"));
    assert!(spool("bytes") > 0 && spool("uploads_total") == 0);
    server.kill();
    // Back, and killed again between an upload and the removal of what was uploaded.
    proxy.down(false);
    let crash = ("STREAMGAUGE_CRASH_AT", "spool_uploaded:3");
    let status = match home.start(&[key, secret, crash]) {
        Ok(mut server) => server.ended(Duration::from_secs(30)).expect("the point is reached"),
        Err(status) => status,
    };
    assert_eq!(status.signal(), Some(SIGABRT), "the server ends with {status}");
    let server = home.start(&[key, secret]).expect("the server starts again");
    check_wide(&home, REQUESTS);
    eventually(|| (spool("files") == 0).then_some(())).expect("the spool is uploaded");
    write(REQUESTS);
    home.flush();
    check_wide(&home, REQUESTS + 1);
    assert!(server.terminate().success());
    let left: Vec<_> = fs::read_dir(home.data().join("spool")).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?}");
    // From the buckets alone.
    fs::remove_dir_all(home.data()).unwrap();
    let _server = home.start(&[key, secret]).expect("the server starts on an empty folder");
    check_wide(&home, REQUESTS + 1);
    check_log(&seaweed, "gauge/prod/default/samples");
    check_log(&seaweed, "gauge-eu/residents/default/series");
}
