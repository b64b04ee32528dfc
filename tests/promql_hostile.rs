//! PromQL that means harm, or does not know better: each query ends soon, with an answer that is right or an error that
//! says which limit it met; memory stays within what the settings say; and meanwhile whoever writes is answered.
//!
//! The server has half a gigabyte for 70,000 series. Queries go one after another first, so that one which is slow or
//! wrong is named, and then several at a time, where they may also be told that there is no room.

#![allow(clippy::disallowed_methods, reason = "tests measure real time")]

use std::{
    fs,
    io::Write as _,
    net::TcpStream,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    form::form,
    process,
    server::{Server, eventually, now_ms},
    wire::{self, v1},
};

/// Series of metric `load`, with a label of their own each.
const LOAD: u32 = 50_000;
/// Series of metric `peer`, one for each shard of `load`.
const PEERS: u32 = 20_000;
/// Samples of a series of `load`, a minute apart.
const MINUTES: u32 = 5;
/// Series of the writer that goes on.
const LIVE: u32 = 200;
const SERIES_A_REQUEST: u32 = 2_000;
/// What the server is told to make do with.
const MEMORY_MIB: u64 = 512;
/// What the process has beside its budget: its code and stacks. On two cores, 285 MiB are taken in all.
const BESIDE_MIB: u64 = 64;
/// Longest wait for a write while queries run.
const WRITE_MAX: Duration = Duration::from_secs(10);
/// Longest wait for the end of a query. On an idle machine all but a few take less than a tenth of a second.
const QUERY_MAX: Duration = Duration::from_secs(30);
/// Clients that ask at the same time.
const CLIENTS: u32 = 4;

/// A server with many series.
struct Target {
    server: Server,
    /// Seconds; `load` and `peer` have their last samples here.
    at: i64,
    _folder: TempDir,
}

/// A query, over a range of so many seconds in steps or at a moment, and what comes of it.
struct Case {
    query: String,
    range: Option<(i64, &'static str)>,
    ends: Ends,
}

#[derive(Clone)]
enum Ends {
    /// Status, type and a part of the text.
    Refused(u16, &'static str, &'static str),
    /// One row or number of this value.
    Value(String),
    /// So many rows.
    Rows(usize),
}

/// A case at a moment.
fn at(query: impl Into<String>, ends: Ends) -> Case {
    Case { query: query.into(), range: None, ends }
}

/// A case over a range.
fn over(query: impl Into<String>, seconds: i64, step: &'static str, ends: Ends) -> Case {
    Case { query: query.into(), range: Some((seconds, step)), ends }
}

fn invalid(why: &'static str) -> Ends {
    Ends::Refused(400, "bad_data", why)
}

fn too_much(why: &'static str) -> Ends {
    Ends::Refused(422, "execution", why)
}

fn value(value: impl ToString) -> Ends {
    Ends::Value(value.to_string())
}

/// `inner` wrapped so many times.
fn nested(times: usize, before: &str, inner: &str, after: &str) -> String {
    [before.repeat(times), inner.to_owned(), after.repeat(times)].concat()
}

/// What `part` makes of the numbers, with `between` between them.
fn joined(count: usize, between: &str, part: impl Fn(usize) -> String) -> String {
    (0..count).map(part).collect::<Vec<_>>().join(between)
}

impl Target {
    /// Starts a server and fills it.
    fn start() -> Self {
        Self::start_with("")
    }

    /// The same with more settings.
    fn start_with(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = folder.path().join("gauge.yaml");
        fs::write(&settings, format!("memory: {MEMORY_MIB}MiB\n{more}")).unwrap();
        let server = Server::start(folder.path(), &["--config", settings.to_str().unwrap()]);
        let target = Self { server, at: now_ms() / 1000, _folder: folder };
        let load = |id: u32| {
            let (name, shard) = (id.to_string(), (id % PEERS).to_string());
            let sample = |ago: u32| ((target.at - 60 * i64::from(ago)) * 1000, f64::from(id) + 0.25 * f64::from(ago));
            let samples: Vec<_> = (0..MINUTES).rev().map(sample).collect();
            v1::series(&[("__name__", "load"), ("id", &name), ("shard", &shard)], &samples)
        };
        let peer = |id: u32| {
            let shard = id.to_string();
            v1::series(&[("__name__", "peer"), ("kind", "peer"), ("shard", &shard)], &[(target.at * 1000, 2.0)])
        };
        for first in (0..LOAD).step_by(SERIES_A_REQUEST as usize) {
            target.write((first..first + SERIES_A_REQUEST).map(load).collect());
        }
        for first in (0..PEERS).step_by(SERIES_A_REQUEST as usize) {
            target.write((first..first + SERIES_A_REQUEST).map(peer).collect());
        }
        target
    }

    fn write(&self, timeseries: Vec<v1::TimeSeries>) {
        let body = wire::snappy(&v1::WriteRequest { timeseries, metadata: Vec::new() });
        let begun = Instant::now();
        let answer = self.server.call("POST", wire::PATH, None, &body);
        let took = begun.elapsed();
        assert_eq!(answer.status, 204, "{}", answer.body);
        assert!(took < WRITE_MAX, "a write took {took:?}");
    }

    /// Writes until it is over; how many times.
    fn go_on_writing(&self, over: &AtomicBool) -> u32 {
        let mut written = 0;
        while !over.load(Ordering::Relaxed) {
            written += 1;
            let (now, value) = (now_ms(), f64::from(written));
            let live = |id: u32| v1::series(&[("__name__", "live"), ("id", &id.to_string())], &[(now, value)]);
            self.write((0..LIVE).map(live).collect());
            thread::sleep(Duration::from_millis(50));
        }
        written
    }

    /// Posts a query with more parameters; status and answer, which is text if it is no JSON.
    fn ask(&self, case: &Case, more: &[(&str, &str)]) -> (u16, Value) {
        let (end, start) = (self.at.to_string(), (self.at - case.range.map_or(0, |(seconds, _)| seconds)).to_string());
        let (path, times) = match case.range {
            Some((_, step)) => ("query_range", vec![("start", start.as_str()), ("end", &end), ("step", step)]),
            None => ("query", vec![("time", end.as_str())]),
        };
        let params = form(&[&[("query", case.query.as_str())], times.as_slice(), more].concat());
        let post = process::agent(Duration::from_secs(120)).post(self.server.url(&format!("/api/v1/{path}")));
        let answer = post.header("Content-Type", "application/x-www-form-urlencoded").send(params);
        let mut answer = answer.unwrap_or_else(|error| panic!("{}: {error}", case.named()));
        let text = answer.body_mut().with_config().limit(1 << 28).read_to_string().expect("a body of text");
        (answer.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// Asks, and looks at how it ends; a server that has enough to do may say so if `crowded`.
    fn check(&self, case: &Case, crowded: bool) {
        let begun = Instant::now();
        let (status, body) = self.ask(case, &[]);
        let took = begun.elapsed();
        let what = || format!("{}: {status} {}", case.named(), beginning(&body.to_string()));
        assert!(took < QUERY_MAX, "took {took:?}: {}", what());
        let text = body["error"].as_str().unwrap_or_default();
        if crowded && (status == 503 || (status == 422 && text.contains("memory"))) {
            return;
        }
        let result = &body["data"]["result"];
        match &case.ends {
            Ends::Refused(refused, error_type, why) => {
                assert_eq!((status, body["errorType"].as_str()), (*refused, Some(*error_type)), "{}", what());
                assert!(text.contains(why), "`{why}` is not said: {}", what());
                assert!(text.len() < 2_000, "a long query makes no long error: {}", what());
            }
            Ends::Value(value) => {
                let found = if body["data"]["resultType"] == "scalar" { &result[1] } else { &result[0]["value"][1] };
                assert_eq!((status, found.as_str()), (200, Some(value.as_str())), "{}", what());
            }
            Ends::Rows(rows) => {
                assert_eq!((status, result.as_array().map(Vec::len)), (200, Some(*rows)), "{}", what());
            }
        }
    }

    /// Memory that the server had at most, MiB.
    fn peak_mib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.server.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() / 1024
    }

    /// Is memory within its bound, and is a usual query answered as ever?
    fn is_well(&self) {
        let peak = self.peak_mib();
        assert!(peak <= MEMORY_MIB + BESIDE_MIB, "memory is bounded: {peak} MiB");
        self.check(&at("sum(load)", value(sum_of_load())), false);
        self.check(&at("sum(load * on (shard) group_left peer)", value(2 * sum_of_load())), false);
    }
}

impl Case {
    fn named(&self) -> String {
        format!("{} {:?}", beginning(&self.query), self.range)
    }
}

fn beginning(text: &str) -> String {
    text.chars().take(300).collect()
}

fn sum_of_load() -> u64 {
    u64::from(LOAD) * (u64::from(LOAD) - 1) / 2
}

/// Texts that are too long, too deep or too many of something.
fn shapes() -> Vec<Case> {
    let deep = || invalid("nesting_max=200");
    vec![
        at(nested(5_000, "(", "1", ")"), deep()),
        at(nested(120_000, "(", "1", ")"), deep()),
        at(nested(5_000, "abs(", "load", ")"), deep()),
        at(nested(5_000, "sum(", "load", ")"), deep()),
        at(nested(5_000, "max_over_time(", "load", "[1m:1s])"), deep()),
        at("(".repeat(200_000), deep()),
        at("-".repeat(5_000) + "load", invalid("depth_max=500")),
        at(joined(20_000, "+", |_| "load".into()), invalid("depth_max=500")),
        at(joined(20_000, " or ", |_| "load".into()), invalid("depth_max=500")),
        at(format!("load{{id=\"{}\"}}", "x".repeat(300_000)), invalid("bytes_max=262144")),
        at(format!("load{{{}}}", joined(1_001, ",", |n| format!("id!=\"{n}\""))), invalid("matchers_max=1000")),
        at(format!("load{{{}}}", joined(201, ",", |n| format!("id!~\"{n}.\""))), invalid("regexes_max=200")),
        at("load{id=~\"(a{1000}){1000}\"}", invalid("exceeds size limit of 10485760 bytes")),
        at("load{id=~\"((a{100}){100}){100}\"}", invalid("exceeds size limit of 10485760 bytes")),
        at("-".repeat(100_000) + "1", value(1)),
        at(nested(190, "abs(", "sum(load)", ")"), value(sum_of_load())),
        at(joined(450, "+", |_| "sum(load)".into()), value(450 * sum_of_load())),
        at(format!("count(load{{id=~\"{}\"}})", joined(33_000, "|", |n| n.to_string())), value(33_000)),
        at(format!("count(load{{id=~\"{}\"}})", joined(20_000, "|", |n| format!("x.*{n}"))), Ends::Rows(0)),
        at(format!("count(load{{{}}})", joined(999, ",", |n| format!("id!=\"{n}\""))), value(LOAD - 999)),
    ]
}

/// Times that are too long or too many.
fn times() -> Vec<Case> {
    let (steps, samples) =
        (|| invalid("exceeded maximum resolution of 11,000 points"), || too_much("samples_max=50000000"));
    let ten_years = 10 * 365 * 86_400;
    vec![
        over("load", ten_years, "1", steps()),
        over("1", ten_years, "0.001", steps()),
        over("load", 11_000, "1", samples()),
        over("sum by (id) (load)", 11_000, "1", samples()),
        over("quantile_over_time(0.99, load[5m])", 11_000, "1", samples()),
        at("sum_over_time(load[10y:1s])", samples()),
        at("quantile_over_time(0.99, load[1d:1s])", samples()),
        at("count_over_time(vector(1)[10y:1s])", samples()),
        at("count_over_time(vector(1)[100y:1ms])", samples()),
        at(nested(100, "max_over_time(", "load", "[1m:1s])"), samples()),
        at("sum_over_time(vector(1)[290y:1y] @ 9223372036854775.8)", value(290)),
        at("count(quantile_over_time(0.99, load[10y]))", value(LOAD)),
        at("sum(count_over_time(load[290y]))", value(LOAD * MINUTES)),
        at("load offset 290y", Ends::Rows(0)),
        over("count(rate(load[10y]))", 300, "60", Ends::Rows(1)),
    ]
}

/// Series that are too many.
fn crowds() -> Vec<Case> {
    let all = (LOAD + PEERS) as usize;
    let memory = || too_much("raise `memory`");
    let duplicates = || too_much("found duplicate series for the match group");
    let few = r#"{__name__=~"load|peer"}"#;
    vec![
        at(format!("count by (__name__, id, shard, kind) ({few})"), Ends::Rows(all)),
        at(format!("count(count by (__name__, id, shard, kind) ({few}))"), value(all)),
        at(format!("sum without (nothing) ({few})"), Ends::Rows(all)),
        over(format!("sum by (__name__, id, shard, kind) ({few})"), 300, "1", memory()),
        over(format!("topk(70000, {few})"), 300, "1", memory()),
        at(joined(450, " + ", |n| format!("load{{id!=\"{n}\"}}")), too_much("query needs more memory")),
        at("count(count_values(\"v\", load))", value(LOAD)),
        at("count(label_replace(load, \"copy\", \"$1-$1-$1\", \"id\", \"(.*)\"))", value(LOAD)),
        at("count(label_join(load, \"all\", \"-\", \"id\", \"shard\", \"id\"))", value(LOAD)),
        at("load * on (shard) load", duplicates()),
        at("load * on (shard) group_left load", duplicates()),
        at("load * on () group_right load", too_much("found duplicate series for the match group {}")),
        at("peer * on (kind) group_left () load", duplicates()),
        at("count(load * on (shard) group_left (kind) peer)", value(LOAD)),
        at("count(load and on (shard) peer)", value(LOAD)),
        at("load unless on (shard) peer", Ends::Rows(0)),
        at("count(load or on (id) peer)", value(all)),
    ]
}

fn cases() -> Vec<Case> {
    shapes().into_iter().chain(times()).chain(crowds()).collect()
}

#[test]
fn hostile_queries_end_and_those_who_write_do_not_notice() {
    let target = Target::start();
    let (cases, over, next) = (cases(), AtomicBool::new(false), AtomicU32::new(0));
    let written = thread::scope(|scope| {
        let writer = scope.spawn(|| target.go_on_writing(&over));
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            cases.iter().for_each(|case| target.check(case, false));
            thread::scope(|scope| {
                let ask = || {
                    while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                        target.check(case, true);
                    }
                };
                (0..CLIENTS).for_each(|_| drop(scope.spawn(ask)));
            });
        }));
        // The writer ends also where a check has failed.
        over.store(true, Ordering::Relaxed);
        let written = writer.join().unwrap();
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        written
    });
    assert!(written > 20, "the writer came to its turn, written={written}");
    target.is_well();
    let live = |query: &str| {
        let (status, body) = target.ask(&at(query, Ends::Rows(1)), &[]);
        assert_eq!(status, 200, "{body}");
        body["data"]["result"][0]["value"][1].clone()
    };
    // What was acknowledged is there, to the last.
    assert_eq!(live("count(last_over_time(live[1h] offset -1h))"), json!(LIVE.to_string()));
    assert_eq!(live("min(last_over_time(live[2h] offset -1h))"), json!(written.to_string()));
    let log = target.server.log_text();
    assert!(log.contains("listening") && !log.contains("panicked"), "a query met a defect");
}

#[test]
fn a_body_larger_than_any_query_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let body = form(&[("query", &"1 ".repeat(1_200_000))]);
    // A server that does not read on may close before all is sent; then there is no answer to be seen.
    let refused = eventually(|| {
        let post = process::agent(Duration::from_secs(60)).post(server.url("/api/v1/query"));
        post.header("Content-Type", "application/x-www-form-urlencoded").send(&body).ok()
    });
    assert_eq!(refused.expect("an answer").status(), 413);
    assert_eq!(server.get("/api/v1/query?query=1", None).status, 200);
}

/// Settings that a text names in backticks.
fn named_settings(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[test]
fn an_error_names_the_setting_that_raises_its_limit() {
    let (target, few) = (Target::start(), Target::start_with("promql: {series_max: 1000}\n"));
    let defaults: Value = serde_saphyr::from_str(include_str!("../src/defaults.yaml")).unwrap();
    let long = joined(450, " + ", |n| format!("load{{id!=\"{n}\"}}"));
    for (case, more, setting) in [
        (at("sum_over_time(load[10y:1s])", Ends::Rows(0)), &[][..], "promql.samples_max"),
        (over("load", 315_360_000, "1", Ends::Rows(0)), &[], "promql.points_max"),
        (over("sum without (a) (load)", 300, "1", Ends::Rows(0)), &[], "memory"),
        (at(long, Ends::Rows(0)), &[], "memory"),
        (at("count(load)", Ends::Rows(0)), &[("timeout", "0s")], "sql.timeout"),
        (at("count(load) > 0", Ends::Rows(0)), &[], "promql.series_max"),
    ] {
        let target = if setting == "promql.series_max" { &few } else { &target };
        let (_, body) = target.ask(&case, more);
        let text = body["error"].as_str().unwrap_or_default();
        assert!(named_settings(text).contains(&setting), "{setting} is not named: {text}");
        for name in named_settings(text) {
            let is_there = defaults.pointer(&format!("/{}", name.replace('.', "/"))).is_some();
            assert!(is_there, "`{name}` is no setting: {text}");
        }
    }
}

#[test]
fn texts_that_a_query_makes_are_counted() {
    let target = Target::start();
    let doubled = (0..30)
        .fold("load{id=\"7\"}".to_owned(), |inner, _| format!(r#"label_replace({inner}, "id", "$1$1", "id", "(.*)")"#));
    let long = "s".repeat(40_000);
    target.check(&at(format!("count({doubled})"), too_much("too long")), false);
    for query in [
        format!(r#"count(label_replace(load, "a", "{long}$1", "id", "(.*)"))"#),
        format!(r#"count(label_join(load, "a", "{long}", "id", "shard"))"#),
    ] {
        target.check(&at(query, too_much("`memory`")), false);
    }
    target.is_well();
}

#[test]
fn what_a_query_holds_beside_cells_is_counted() {
    let target = Target::start();
    let seconds = |days: u32| format!("stddev_over_time(vector(1)[{days}d:1s])");
    for case in [at(seconds(200), value(0)), over("count_values(\"v\", load)", 300, "1", too_much("`memory`"))] {
        target.check(&case, true);
        let peak = target.peak_mib();
        assert!(peak <= MEMORY_MIB, "{}: {peak} MiB", case.named());
    }
    target.is_well();
}

#[test]
fn a_query_that_took_too_long_makes_room_for_others() {
    let target = Target::start();
    let names = joined(40_000, ",", |n| format!("a{n:x}"));
    let text = "ab".repeat(4_000);
    let long = |n: u32| v1::series(&[("__name__", "long"), ("v", &format!("{text}{n}"))], &[(target.at * 1000, 1.0)]);
    (0..20).for_each(|part| target.write((part * 100..part * 100 + 100).map(long).collect()));
    for case in [
        over("stddev_over_time(vector(1)[60d:1s])", 11_000, "1", Ends::Rows(0)),
        at(r#"count(long{v=~"(.*a){20}b.{3000}c"})"#, Ends::Rows(0)),
        at(r#"count(label_replace(long, "a", "$1", "v", ".*(a[ab]{9000}x)"))"#, Ends::Rows(0)),
        at(format!("load * on (shard) group_left ({names}) peer"), Ends::Rows(0)),
    ] {
        // As many as there are threads for queries, which are as many as processors.
        thread::scope(|scope| {
            for _ in 0..thread::available_parallelism().unwrap().get() {
                scope.spawn(|| target.ask(&case, &[("timeout", "1s")]));
            }
        });
        let begun = Instant::now();
        target.check(&at("1 + 1", value(2)), false);
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?} after {}", begun.elapsed(), case.named());
    }
}

#[test]
fn times_before_all_times_are_no_defect() {
    let target = Target::start();
    for query in ["load[10y:1s]", "vector(1)[290y:1y]"] {
        let (status, body) =
            target.ask(&at(format!("sum_over_time({query} @ -9223372036854775.8)"), Ends::Rows(0)), &[]);
        assert!(matches!(status, 200 | 400 | 422), "{query}: {status} {body}");
    }
}

#[test]
fn steps_of_a_subquery_are_counted_before_they_are_made() {
    let target = Target::start();
    for range in ["10y:1s", "100y:1ms"] {
        for inner in ["vector(time())", "(1 * load)", "absent(nothing)", "round(nothing, time())", "hour()"] {
            target.check(&at(format!("count_over_time({inner}[{range}])"), too_much("samples_max=50000000")), false);
            let peak = target.peak_mib();
            assert!(peak <= MEMORY_MIB, "{inner}[{range}]: {peak} MiB");
        }
    }
    target.is_well();
}

#[test]
fn an_answer_that_nobody_reads_gives_its_memory_back() {
    let target = Target::start_with("sql: {timeout: 3s}\n");
    let (start, end) = ((target.at - 300).to_string(), target.at.to_string());
    let query = "sum by (id, shard) (load)";
    let body = form(&[("query", query), ("start", &start), ("end", &end), ("step", "5")]);
    let head = "POST /api/v1/query_range HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n";
    let asking = |_| {
        let mut stream = TcpStream::connect(target.server.url("").replace("http://", "")).unwrap();
        write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        thread::sleep(Duration::from_millis(500));
        stream
    };
    let silent: Vec<TcpStream> = (0..16).map(asking).collect();
    let case = over("count(sum by (id, shard) (load))", 300, "5", Ends::Rows(1));
    assert!(eventually(|| (target.ask(&case, &[]).0 == 200).then_some(())).is_some(), "there is memory again");
    drop(silent);
}
