//! Prometheus itself as the oracle of PromQL: both servers get the same samples, are asked the same, and give the same
//! answers.
//!
//! Ours has half of the samples in files and half in memory, and some came late. Queries are picked by hand (`queries`)
//! or made at random (`generator`); each is asked at instants and over ranges whose steps are those of the samples,
//! longer, and no divisor of the range. Debian's Prometheus is 2.42, and we answer as Prometheus 3 does: the series
//! (`data`) and the generator keep away from where these differ, and say so there.
//!
//! `STREAMGAUGE_PROMQL_QUERIES=10000 STREAMGAUGE_PROMQL_SEED=2` asks more and others.

use std::{cmp::Ordering, collections::BTreeMap, fmt, thread, time::Duration};

use serde_json::Value;

use crate::support::{
    process::{self, Home, free_port},
    random::Random,
    server::now_ms,
    wire::{self, v1},
};

mod data;
mod generator;
mod queries;

use data::{STEP_S, STEPS, Series};
use generator::Generator;
use queries::{Query, WRONG};

/// How many differences are shown.
const SHOWN_MAX: usize = 12;
/// Longest text of an answer that is shown.
const SHOWN_CHARS: usize = 400;
/// How far numbers may be apart that are nearly the same, of their size.
const NEAR: f64 = 1e-9;
/// The same where terms cancel out: they are a thousand at most, and the error is of their size.
const NEAR_ZERO: f64 = 1e-12;
/// Steps of one message.
const SENT: usize = 40;
/// Two answers at a time: one for each core of a small machine.
const ASKING: usize = 2;
/// Subqueries and ranges of queries fall on the same samples whenever the test runs: a multiple of all steps.
const ALIGNED_S: i64 = 360;

/// Times a query is asked for, in seconds.
#[derive(Clone, Copy)]
enum When {
    At(i64),
    Range { start: i64, end: i64, step: i64 },
}

/// The servers, and the time after the last sample.
struct Peers {
    ours: String,
    theirs: String,
    end: i64,
}

/// What was asked of both.
#[derive(Default)]
struct Asked {
    total: usize,
    /// Answers with something in them.
    filled: usize,
    differences: Vec<String>,
}

#[test]
fn promql_has_the_answers_that_prometheus_has() {
    if !process::installed("prometheus") {
        return process::skipped("prometheus is not installed", "apt-get install -y prometheus");
    }
    let folder = tempfile::tempdir().expect("a folder");
    // As a receiver of remote write, which takes what is late.
    let settings = "storage: { tsdb: { out_of_order_time_window: 3h } }\n";
    let options = ["--web.enable-remote-write-receiver"];
    let (_prometheus, theirs) = process::prometheus(folder.path(), free_port(), settings, &options);
    let home = Home::new(folder.path(), "storage: { flush_age: 10m }\n");
    let _server = home.start(&[]).expect("the server starts");
    let mut random = Random(process::setting("STREAMGAUGE_PROMQL_SEED", 1));
    let end = now_ms() / 1000 / ALIGNED_S * ALIGNED_S;
    send(&data::series(&mut random), end, &home, &theirs);

    let peers = Peers { ours: home.url(""), theirs, end };
    let mut queries = queries::all();
    queries.extend(WRONG.iter().map(|text| Query { text: (*text).to_owned(), near: false, sorted: false }));
    let mut generator = Generator(random);
    let made = process::setting("STREAMGAUGE_PROMQL_QUERIES", 400);
    queries.extend((0..made).map(|_| generator.query()));
    let asked = peers.ask_all(&queries);

    println!("asked={} filled={} differences={}", asked.total, asked.filled, asked.differences.len());
    assert!(asked.filled * 10 > asked.total * 7, "{} of {} answers have something in them", asked.filled, asked.total);
    let shown = asked.differences.iter().take(SHOWN_MAX).cloned().collect::<Vec<_>>().join("\n");
    assert!(asked.differences.is_empty(), "{} of {} differ:\n{shown}", asked.differences.len(), asked.total);
}

impl Peers {
    fn ask_all(&self, queries: &[Query]) -> Asked {
        let share = queries.len().div_ceil(ASKING);
        thread::scope(|scope| {
            let workers: Vec<_> = queries.chunks(share).map(|queries| scope.spawn(|| self.ask_some(queries))).collect();
            let mut all = Asked::default();
            for worker in workers {
                let asked = worker.join().expect("answers are compared");
                all.total += asked.total;
                all.filled += asked.filled;
                all.differences.extend(asked.differences);
            }
            all
        })
    }

    fn ask_some(&self, queries: &[Query]) -> Asked {
        let agent = process::agent(Duration::from_secs(60));
        let mut asked = Asked::default();
        for query in queries {
            let early = (self.end - 3045).to_string();
            let late = (self.end - 1200).to_string();
            let text = query.text.replace("EARLY", &early).replace("LATE", &late);
            for when in self.times() {
                let theirs = ask(&agent, &self.theirs, &text, when);
                let ours = ask(&agent, &self.ours, &text, when);
                asked.total += 1;
                asked.filled += usize::from(is_filled(&ours));
                let found = if WRONG.contains(&query.text.as_str()) && ours["status"] == "success" {
                    Err("it has an answer".to_owned())
                } else {
                    compared(query, matches!(when, When::At(_)), &theirs, &ours)
                };
                if let Err(what) = found {
                    let (theirs, ours) = (shortened(&theirs), shortened(&ours));
                    asked.differences.push(format!("{text}\n  {when}: {what}\n  prometheus: {theirs}\n  ours: {ours}"));
                    // At the other times it is most likely the same.
                    break;
                }
            }
        }
        asked
    }

    /// Multiples of the samples' step, which are no times of samples. Nothing looks back to before the first sample,
    /// and the last range goes on when there are none any more.
    fn times(&self) -> [When; 5] {
        let (begin, end) = (self.end - 4200, self.end);
        [
            When::At(end - 1800),
            When::At(begin + 1515),
            When::Range { start: end - 900, end: end - 300, step: 15 },
            When::Range { start: begin, end, step: 60 },
            When::Range { start: begin - 15, end: end + 690, step: 105 },
        ]
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(time) => write!(f, "at {time}"),
            Self::Range { start, end, step } => write!(f, "from {start} to {end} by {step}"),
        }
    }
}

fn ask(agent: &ureq::Agent, url: &str, query: &str, when: When) -> Value {
    let (path, times) = match when {
        When::At(time) => ("query", vec![("time", time)]),
        When::Range { start, end, step } => ("query_range", vec![("start", start), ("end", end), ("step", step)]),
    };
    let times = times.into_iter().map(|(name, value)| (name, value.to_string()));
    let form = [("query", query.to_owned())].into_iter().chain(times);
    let answer = agent.post(format!("{url}/api/v1/{path}")).send_form(form);
    let body = answer.expect("an answer").body_mut().with_config().limit(1 << 28).read_to_vec().expect("a body");
    serde_json::from_slice(&body).expect("json")
}

fn is_filled(answer: &Value) -> bool {
    answer["data"]["result"].as_array().is_some_and(|rows| !rows.is_empty())
}

fn shortened(answer: &Value) -> String {
    let of = if answer["status"] == "success" { &answer["data"] } else { answer };
    let text = of.to_string();
    let short: String = text.chars().take(SHOWN_CHARS).collect();
    if short.len() < text.len() { short + "…" } else { short }
}

/// What is different.
fn compared(query: &Query, is_instant: bool, theirs: &Value, ours: &Value) -> Result<(), String> {
    same("status", &theirs["status"], &ours["status"])?;
    if theirs["status"] != "success" {
        return same("errorType", &theirs["errorType"], &ours["errorType"]);
    }
    let (theirs, ours) = (&theirs["data"], &ours["data"]);
    if theirs == ours {
        return Ok(());
    }
    same("resultType", &theirs["resultType"], &ours["resultType"])?;
    let kind = &theirs["resultType"];
    let (theirs, ours) = (&theirs["result"], &ours["result"]);
    if kind == "scalar" || kind == "string" {
        return same_point(query, theirs, ours);
    }
    let (mut theirs, mut ours) = (rows(theirs), rows(ours));
    same("number of series", &theirs.len().into(), &ours.len().into())?;
    if is_instant {
        if query.sorted {
            let mut pairs = theirs.iter().zip(&ours);
            pairs.try_for_each(|(theirs, ours)| same_number(query, &theirs["value"][1], &ours["value"][1]))?;
        }
        theirs.sort_by(|one, other| by_labels(one, other));
        ours.sort_by(|one, other| by_labels(one, other));
    }
    for (theirs, ours) in theirs.into_iter().zip(ours) {
        same("labels", &theirs["metric"], &ours["metric"])?;
        let (their, our) = (points(theirs), points(ours));
        let of_series = |what| format!("{}: {what}", ours["metric"]);
        same("number of points", &their.len().into(), &our.len().into()).map_err(of_series)?;
        for (theirs, ours) in their.iter().zip(our) {
            same_point(query, theirs, ours).map_err(of_series)?;
        }
    }
    Ok(())
}

fn same(what: &str, theirs: &Value, ours: &Value) -> Result<(), String> {
    if theirs == ours { Ok(()) } else { Err(format!("{what}: {theirs} against {ours}")) }
}

fn same_point(query: &Query, theirs: &Value, ours: &Value) -> Result<(), String> {
    same("time", &theirs[0], &ours[0])?;
    same_number(query, &theirs[1], &ours[1]).map_err(|what| format!("at {}: {what}", theirs[0]))
}

fn same_number(query: &Query, theirs: &Value, ours: &Value) -> Result<(), String> {
    if query.near {
        let number = |value: &Value| value.as_str().expect("a text").parse::<f64>().expect("a number");
        let (their, our) = (number(theirs), number(ours));
        let size = f64::max(their.abs(), our.abs());
        if size.is_finite() && (their - our).abs() <= f64::max(NEAR * size, NEAR_ZERO) {
            return Ok(());
        }
    }
    same("value", theirs, ours)
}

fn rows(result: &Value) -> Vec<&Value> {
    result.as_array().expect("series").iter().collect()
}

fn points(row: &Value) -> Vec<&Value> {
    row["values"].as_array().map_or_else(|| vec![&row["value"]], |values| values.iter().collect())
}

fn by_labels(one: &Value, other: &Value) -> Ordering {
    let labels = |row: &Value| -> BTreeMap<String, String> {
        let labels = row["metric"].as_object().expect("labels");
        labels.iter().map(|(name, value)| (name.clone(), value.to_string())).collect()
    };
    labels(one).cmp(&labels(other))
}

/// Sends everything to both, a part at a time: Prometheus takes nothing that is much older than what it has. Of every
/// fifth series some samples come later than the next ones.
fn send(series: &[Series], end: i64, home: &Home, theirs: &str) {
    let agent = process::agent(Duration::from_secs(60));
    let parts = STEPS.div_ceil(SENT);
    let is_late = |of: usize, step: usize| of.is_multiple_of(5) && (step * 7 + of).is_multiple_of(11);
    for part in 0..=parts {
        let begin = part * SENT;
        let on_time = |of: usize, step: usize| (begin..begin + SENT).contains(&step) && !is_late(of, step);
        let late = |of: usize, step: usize| (begin.saturating_sub(SENT)..begin).contains(&step) && is_late(of, step);
        for chosen in [&on_time as &dyn Fn(usize, usize) -> bool, &late] {
            let timeseries = chosen_of(series, end, chosen);
            if timeseries.is_empty() {
                continue;
            }
            let body = wire::snappy(&v1::WriteRequest { timeseries, metadata: Vec::new() });
            for url in [theirs, &home.url("")] {
                let mut post = agent.post(format!("{url}{}", wire::PATH)).header("Content-Encoding", "snappy");
                for (name, value) in wire::V1_HEADERS {
                    post = post.header(name, value);
                }
                let mut answer = post.send(&body[..]).expect("an answer");
                let text = answer.body_mut().read_to_string().expect("a body");
                assert_eq!((answer.status().as_u16(), text.as_str()), (204, ""), "{url}");
            }
        }
        if part == parts / 2 {
            home.flush();
        }
    }
}

fn chosen_of(series: &[Series], end: i64, chosen: &dyn Fn(usize, usize) -> bool) -> Vec<v1::TimeSeries> {
    let begin = end - i64::try_from(STEPS).expect("few") * STEP_S;
    let mut timeseries = Vec::new();
    for (of, series) in series.iter().enumerate() {
        let samples = series.samples.iter().filter(|(step, _)| chosen(of, *step)).map(|(step, value)| {
            // Between two multiples of the step.
            let seconds = begin + i64::try_from(*step).expect("few") * STEP_S + 7;
            (seconds * 1000, *value)
        });
        let samples: Vec<_> = samples.collect();
        let labels: Vec<_> = series.labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
        if !samples.is_empty() {
            timeseries.push(v1::series(&labels, &samples));
        }
    }
    timeseries
}
