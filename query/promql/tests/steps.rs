//! A query over a range is the query at each of its steps: the same rows, to the bit, whatever is shared between steps, between parts
//! of the query, and among threads.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

use std::{collections::BTreeMap, sync::atomic::AtomicBool};

use promql::{
    Answer, Columns, Control, Features, Gather, Kept, Labels, Matcher, Options, Outcome, Point, Query, STALE, Samples,
    Symbols, Want,
};

const STEP_MS: i64 = 20_000;
const STEPS: i64 = 400;
const LOOKBACK_MS: i64 = 300_000;

const QUERIES: [&str; 23] = [
    "sum by (job) (rate(requests_total[5m]))",
    "avg without (instance) (increase(requests_total[2m]))",
    "sum(delta(load[3m] offset 1m))",
    "count by (job) (load)",
    "count(load)",
    "count by (job) (load offset 3m) + count by (job) (load @ 500)",
    "count(load) / count(load > 0)",
    "min by (instance) (load)",
    "max without (job) (load offset 7m)",
    "group by (job) (load)",
    "stddev by (job) (load)",
    "stdvar(load)",
    "avg(load)",
    "sum(max_over_time(load[4m]))",
    "sum by (job) (quantile_over_time(0.3, load[5m]))",
    "max(avg_over_time(load[90s]))",
    "sum by (__name__) (load)",
    "sum by (__name__) (last_over_time(load[1m]))",
    "sum by (job) (irate(requests_total[1m]))",
    "sum(resets(requests_total[10m])) + sum(changes(load[10m]))",
    "sum(rate(requests_total[5m])) / (1 + sum(rate(requests_total[5m])))",
    "sum by (job) (load) / ignoring (job) group_left () sum(load) + 0 * sum by (job) (load)",
    "max_over_time(sum(load)[5m:20s]) - sum(load) + sum(load @ 100)",
];

/// Numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Labels, times and values.
type Series = (Labels, Vec<i64>, Vec<f64>);

struct World {
    symbols: Symbols,
    series: Vec<Series>,
}

/// Series with gaps, resets, staleness markers, NaN, and times of their own.
fn world() -> World {
    let mut random = Random(7);
    let (mut symbols, mut all) = (Symbols::default(), Vec::new());
    for at in 0..60u64 {
        for name in ["requests_total", "load"] {
            let (job, instance) = (format!("job-{}", at % 4), format!("host-{at}"));
            let labels = [("__name__", name), ("instance", instance.as_str()), ("job", job.as_str())];
            let labels = Labels::of(labels, &mut symbols);
            let (mut times, mut values, mut value) = (Vec::new(), Vec::new(), 0.0);
            let mut time = -900_000 + i64::try_from(random.below(15_000)).unwrap();
            while time <= STEP_MS * STEPS + 60_000 {
                value = match (random.below(40), name) {
                    // Every third counter never begins anew.
                    (0, _) if at % 3 > 0 => 0.0,
                    (_, "load") => random.below(1_000_000) as f64 / 997.0 - 300.0,
                    _ => value + random.below(100_000) as f64 / 1_000.0,
                };
                times.push(time);
                values.push(match random.below(60) {
                    0 => f64::from_bits(STALE),
                    1 if name == "load" => f64::NAN,
                    _ => value,
                });
                let gap = if random.below(50) == 0 { random.below(900_000) } else { 15_000 + random.below(20) };
                time += i64::try_from(gap).unwrap().max(1);
            }
            all.push((labels, times, values));
        }
    }
    World { symbols, series: all }
}

type Rows = BTreeMap<Vec<(String, String)>, Vec<(i64, u64)>>;

fn answer(world: &World, text: &str, range: (i64, i64), threads: usize, by_presence: bool) -> (Symbols, Answer) {
    let options = Options {
        start_ms: range.0,
        end_ms: range.1,
        step_ms: STEP_MS,
        is_instant: range.0 == range.1,
        lookback_ms: LOOKBACK_MS,
        subquery_step_ms: 60_000,
        samples_max: 50_000_000,
        threads,
        features: Features::default(),
    };
    let planned = Query::parse(text).unwrap().plan(options).unwrap();
    let mut symbols = world.symbols.clone();
    let wanted = |want: &Want| {
        let mut gather = Gather::default();
        for (labels, times, values) in &world.series {
            let value = |matcher: &Matcher| labels.texts(&symbols).find(|l| l.0 == matcher.label()).map_or("", |l| l.1);
            if want.matchers.iter().all(|matcher| matcher.matches(value(matcher))) {
                let first = times.partition_point(|time| *time <= want.after_ms);
                let last = times.partition_point(|time| *time <= want.to_ms);
                gather.add(labels.clone(), (&times[first..last], &values[first..last], &[]), Vec::new());
            }
        }
        gather.finish()
    };
    let mut samples: Vec<Samples> = planned.wants().iter().map(wanted).collect();
    for (_, samples) in planned.wants().iter().zip(&mut samples).filter(|(want, _)| want.presence && by_presence) {
        let spans = (0..samples.labels.len()).map(|at| present(samples.floats_of(at))).collect();
        *samples = Samples { labels: samples.labels.clone(), present: Some(spans), ..Samples::default() };
    }
    let control = Control { stop: &AtomicBool::new(false), reserve: &|_| true };
    let answer = planned.evaluate(&samples, &mut symbols, control).unwrap();
    (symbols, answer)
}

/// When a series has a sample that is not too old.
fn present((times, values): (&[i64], &[f64])) -> Vec<std::ops::Range<i64>> {
    let mut spans = Vec::new();
    for (at, (time, value)) in times.iter().zip(values).enumerate() {
        let end = times.get(at + 1).map_or(time + LOOKBACK_MS, |next| (time + LOOKBACK_MS).min(*next));
        if value.to_bits() != STALE {
            spans.push(*time..end);
        }
    }
    spans
}

fn columns(world: &World, text: &str, range: (i64, i64)) -> (Symbols, Columns) {
    match answer(world, text, range, 2, false) {
        (symbols, Answer { result: Outcome::Matrix(columns) | Outcome::Vector(columns), .. }) => (symbols, columns),
        (_, answer) => panic!("{text} {answer:?}"),
    }
}

fn evaluate(world: &World, text: &str, range: (i64, i64), threads: usize) -> (Rows, Vec<String>) {
    // What is only counted is, with an even number of threads, known by when it is present.
    let (symbols, answer) = answer(world, text, range, threads, threads.is_multiple_of(2));
    let (Outcome::Matrix(columns) | Outcome::Vector(columns)) = &answer.result else { panic!("{text}") };
    (shown(columns, &symbols), answer.infos)
}

fn shown(columns: &Columns, symbols: &Symbols) -> Rows {
    let mut rows = Rows::new();
    for (row, labels) in columns.labels.iter().enumerate() {
        let labels = labels.texts(symbols).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let points = columns.points(row).map(|(time, point)| match point {
            Point::Float(value) => (time, value.to_bits()),
            Point::Histogram(histogram) => panic!("{histogram:?}"),
        });
        rows.insert(labels, points.collect());
    }
    rows
}

#[test]
fn a_range_is_what_its_steps_are() {
    let world = world();
    for text in QUERIES {
        let (whole, _) = evaluate(&world, text, (0, STEP_MS * (STEPS - 1)), 3);
        let mut steps = Rows::new();
        for step in 0..STEPS {
            let (rows, _) = evaluate(&world, text, (STEP_MS * step, STEP_MS * step), 1);
            for (labels, points) in rows {
                steps.entry(labels).or_default().extend(points);
            }
        }
        assert!(!whole.is_empty(), "{text}");
        assert_eq!(whole.keys().collect::<Vec<_>>(), steps.keys().collect::<Vec<_>>(), "{text}");
        for (labels, points) in &whole {
            let differs = points.iter().zip(&steps[labels]).find(|(left, right)| left != right);
            assert_eq!(differs, None, "{text} {labels:?}");
            assert_eq!(points.len(), steps[labels].len(), "{text} {labels:?}");
        }
        for threads in [1, 2, 7] {
            assert_eq!(
                evaluate(&world, text, (0, STEP_MS * (STEPS - 1)), threads).0,
                whole,
                "{text} threads={threads}"
            );
        }
    }
}

#[test]
fn steps_that_were_kept_and_later_ones_are_the_whole() {
    let world = world();
    for text in QUERIES {
        let end_ms = STEP_MS * 150;
        let (mut symbols, whole) = columns(&world, text, (STEP_MS * 20, end_ms));
        let (first_symbols, first) = columns(&world, text, (0, STEP_MS * 100));
        let kept = Kept::of(&first, &first_symbols).unwrap();
        assert_eq!((kept.start_ms(), kept.end_ms()), (0, STEP_MS * 100));
        for until in [30, 99, 100] {
            let (later_symbols, later) = columns(&world, text, (STEP_MS * (until + 1), end_ms));
            // As the texts of one query are.
            let later = Kept::of(&later, &later_symbols).unwrap();
            let later = later.followed_by(later.start_ms(), end_ms, None, &mut symbols).unwrap();
            let joined = kept.followed_by(STEP_MS * 20, STEP_MS * until, Some(&later), &mut symbols).unwrap();
            assert_eq!(shown(&joined, &symbols), shown(&whole, &symbols), "{text} {until}");
            assert_eq!(joined.labels, whole.labels, "{text} {until}");
        }
        let (_, other) = columns(&world, text, (STEP_MS * 50, end_ms));
        assert!(kept.followed_by(0, STEP_MS * 40, Some(&other), &mut symbols).is_none(), "it begins later");
    }
}

#[test]
fn what_is_evaluated_once_is_told_at_each_of_its_places() {
    let text = "sum(rate(load[5m])) + sum(rate(load[5m])) + sum(rate( load[5m] ))";
    let (_, infos) = evaluate(&world(), text, (0, STEP_MS * 300), 2);
    let places: Vec<&str> = infos.iter().filter_map(|info| info.rsplit(' ').next()).collect();
    assert_eq!(places, ["(1:10)", "(1:32)", "(1:55)"], "{infos:?}");
}
