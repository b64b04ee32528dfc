//! The scripts are read as Prometheus reads them, and what differs is told.

use super::notation::{self, Item};
use super::*;

/// Gives what it was told to give and keeps what it was asked.
#[derive(Default)]
struct Canned {
    loaded: Vec<LoadedSeries>,
    asked: Vec<String>,
    instant: Option<Outcome>,
    range: Option<Outcome>,
    pins: bool,
}

impl Backend for Canned {
    fn clear(&mut self) -> Result<(), String> {
        self.loaded.clear();
        Ok(())
    }

    fn load(&mut self, series: Vec<LoadedSeries>) -> Result<(), String> {
        self.loaded.extend(series);
        Ok(())
    }

    fn instant(&mut self, query: &str, at_ms: i64) -> Result<Outcome, String> {
        self.asked.push(format!("{query} {at_ms}"));
        self.instant.clone().ok_or_else(|| "boom".to_owned())
    }

    fn range(&mut self, query: &str, start_ms: i64, end_ms: i64, step_ms: i64) -> Result<Outcome, String> {
        self.asked.push(format!("{query} {start_ms} {end_ms} {step_ms}"));
        self.range.clone().ok_or_else(|| "boom".to_owned())
    }

    fn pinned(&mut self, query: &str, at_ms: i64) -> Option<Vec<(String, i64)>> {
        self.pins.then(|| vec![(format!("{query} @ {at_ms}"), 7)])
    }
}

fn named(name: &str) -> Labels {
    vec![("__name__".to_owned(), name.to_owned())]
}

fn outcome(value: Value) -> Option<Outcome> {
    Some(Outcome { value, warnings: Vec::new(), infos: Vec::new() })
}

fn vector(points: &[(&str, f64)]) -> Option<Outcome> {
    outcome(Value::Vector(points.iter().map(|(name, value)| (named(name), 0, Point::Float(*value))).collect()))
}

fn matrix(series: &[(&str, &[(i64, f64)])]) -> Option<Outcome> {
    let points = |points: &[(i64, f64)]| points.iter().map(|(t_ms, value)| (*t_ms, Point::Float(*value))).collect();
    outcome(Value::Matrix(series.iter().map(|(name, at)| (named(name), points(at))).collect()))
}

fn loaded(text: &str) -> Result<Vec<LoadedSeries>, String> {
    let mut backend = Canned::default();
    run(text, &mut backend).map(|_| backend.loaded)
}

/// What is wrong with an answer, for the lines below `eval instant at 0 q`.
fn wrong_with(lines: &str, answer: Option<Outcome>) -> Option<String> {
    let mut backend = Canned { instant: answer, range: matrix(&[]), ..Canned::default() };
    let report = run(&format!("eval instant at 0 q\n{lines}\n"), &mut backend).unwrap();
    report.failures.into_iter().find(|failure| failure.mode == Mode::Plain).map(|failure| failure.what)
}

fn floats(items: &[Item]) -> Vec<Option<f64>> {
    let float = |item: &Item| match item {
        Item::Float(value) => Some(*value),
        _ => None,
    };
    items.iter().map(float).collect()
}

#[test]
fn values_repeat_and_grow_from_the_first_on() {
    let values = |text: &str| floats(&notation::series(&format!("m {text}")).unwrap().1);
    assert_eq!(values("1+2x2 5"), [Some(1.0), Some(3.0), Some(5.0), Some(5.0)]);
    assert_eq!(values("1-2x2"), [Some(1.0), Some(-1.0), Some(-3.0)]);
    assert_eq!(values("-1x1\t1e+3  .5 1_000"), [Some(-1.0), Some(-1.0), Some(1000.0), Some(0.5), Some(1000.0)]);
    assert_eq!(values("1 _ _x2 2 3x0"), [Some(1.0), None, None, None, Some(2.0), Some(3.0)]);
    assert_eq!(values("-Inf inf"), [Some(f64::NEG_INFINITY), Some(f64::INFINITY)]);
    assert_eq!(values("stale")[0].map(f64::to_bits), Some(STALE));
    assert!(values("NaN")[0].is_some_and(|value| value.is_nan() && value.to_bits() != STALE));
    assert!(values("").is_empty());
}

#[test]
fn wrong_values_are_refused() {
    for text in [
        "1+2",
        "1x",
        "Stale",
        "1,2",
        "0x1F",
        "1x5y",
        "1m",
        "{{count:1",
        "{{count:1 count:2}}",
        "{{width:1}}",
        "-stale",
        "stalex2",
    ] {
        assert!(notation::series(&format!("m {text}")).is_err(), "{text}");
    }
    for text in ["1 2", "m{a} 1", "m{a=\"b\" c=\"d\"} 1", "m{a=\"b} 1", "m{a=\"b\",a=\"c\"} 1", "m{} {1}", "m{}1"] {
        assert!(notation::series(text).is_err(), "{text}");
    }
}

#[test]
fn labels_are_sorted_and_unquoted() {
    let labels = |text: &str| notation::series(text).unwrap().0;
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        labels("a:b{z='1', B=\"\\\"\\n\\u00e9\", e=\"\",} 1"),
        [pair("B", "\"\né"), pair("__name__", "a:b"), pair("z", "1")]
    );
    assert_eq!(labels("{\"a b\", `c.d`=\"e\"} 1"), [pair("__name__", "a b"), pair("c.d", "e")]);
    assert_eq!(labels("http.温度{région=\"eu\"} 1"), [pair("__name__", "http.温度"), pair("région", "eu")]);
    assert!(labels("{} 1").is_empty());
}

#[test]
fn histograms_have_all_their_parts() {
    let text = "m {{schema:-1 sum:-3.5 count:Inf z_bucket:2 z_bucket_w:0.001 buckets:[5 -1 NaN ] offset:-3 n_buckets:[4] \
                n_offset:2 counter_reset_hint:not_reset}} {{ }}x1 {{schema:-53 custom_values:[1 +2.5] buckets:[1]}}";
    let items = notation::series(text).unwrap().1;
    let Item::Histogram(first, true) = &items[0] else { panic!("{:?}", items[0]) };
    assert_eq!((first.schema, first.sum, first.count, first.hint), (-1, -3.5, f64::INFINITY, ResetHint::NoReset));
    assert_eq!((first.zero_count, first.zero_threshold), (2.0, 0.001));
    assert_eq!(first.positive.spans, [Span { offset: -3, length: 3 }]);
    assert!(first.positive.counts[..2] == [5.0, -1.0] && first.positive.counts[2].is_nan());
    assert_eq!(first.negative, Buckets { spans: vec![Span { offset: 2, length: 1 }], counts: vec![4.0] });
    assert_eq!(
        items[1..3],
        [Item::Histogram(Histogram::default(), false), Item::Histogram(Histogram::default(), false)]
    );
    let Item::Histogram(last, false) = &items[3] else { panic!("{:?}", items[3]) };
    assert_eq!((last.schema, &*last.custom_values), (-53, [1.0, 2.5].as_slice()));
}

#[test]
fn histograms_grow_by_others() {
    let counts = |text: &str| {
        let items = notation::series(&format!("m {text}")).unwrap().1;
        let count = |item: &Item| match item {
            Item::Histogram(of, is_hinted) => (of.count, of.positive.counts.clone(), *is_hinted),
            item => panic!("{item:?}"),
        };
        items.iter().map(count).collect::<Vec<_>>()
    };
    assert_eq!(
        counts("{{count:1 buckets:[1]}}+{{count:2 buckets:[2] counter_reset_hint:unknown}}x2"),
        [(1.0, vec![1.0], true), (3.0, vec![3.0], true), (5.0, vec![5.0], true)]
    );
    assert_eq!(
        counts("{{count:5 buckets:[5] counter_reset_hint:gauge}}-{{count:2 buckets:[2]}}x1"),
        [(5.0, vec![5.0], false), (3.0, vec![3.0], false)]
    );
    assert!(notation::series("m {{schema:1 count:1}}+{{count:1}}x1").is_err());
    assert!(notation::series("m {{count:1}}+{{count:1}}").is_err());
}

#[test]
fn samples_have_times_and_start_times() {
    let series = loaded("load 1m\n m{a=\"b\"}@st _ -30s-1mx1 _x1 1m 0\n m{a=\"b\"} 1 2 _ 3 4 5").unwrap();
    let samples: Vec<_> = series[0].samples.iter().map(|sample| (sample.t_ms, sample.start_ms)).collect();
    assert_eq!(
        samples,
        [(0, None), (60_000, Some(30_000)), (180_000, None), (240_000, Some(300_000)), (300_000, Some(300_000))]
    );
    assert!(loaded("load 1m\n m@st 0\n n 1").is_err());
    assert!(loaded("load 1m\n m@st 0 0\n m 1").is_err());
    assert!(loaded("load 1m\n m@st 0").is_err());
}

#[test]
fn a_stale_marker_after_a_histogram_is_a_histogram() {
    let series = loaded("load 1m\n m {{count:1}} stale _ 1 stale\n\nload 1m\n m _x5 stale").unwrap();
    let is_histogram = |sample: &Sample| matches!(&sample.point, Point::Histogram(_));
    let kinds: Vec<_> = series.iter().flat_map(|series| &series.samples).map(is_histogram).collect();
    assert_eq!(kinds, [true, true, false, false, false]);
    let Point::Histogram(stale) = &series[0].samples[1].point else { panic!("{:?}", series[0].samples[1]) };
    assert_eq!(stale.sum.to_bits(), STALE);
}

#[test]
fn classic_histograms_become_custom_ones() {
    let text = "load_with_nhcb 1m\n x_bucket{le=\"+Inf\"} 5 6\n x_bucket{le=\"1\"} 2 2\n x_bucket{le=\"2\"} 2 _\n x_sum 9 _\n \
                x_count 5 6\n y 1";
    let series = loaded(text).unwrap();
    assert_eq!(series.len(), 7);
    let converted = &series[6];
    assert_eq!(converted.labels, named("x"));
    let Point::Histogram(first) = &converted.samples[0].point else { panic!("{converted:?}") };
    assert_eq!((first.schema, first.count, first.sum), (-53, 5.0, 9.0));
    assert_eq!(&*first.custom_values, [1.0, 2.0]);
    assert_eq!(first.positive.spans, [Span { offset: 0, length: 1 }, Span { offset: 1, length: 1 }]);
    assert_eq!(first.positive.counts, [2.0, 3.0]);
    let Point::Histogram(second) = &converted.samples[1].point else { panic!("{converted:?}") };
    assert_eq!((&*second.custom_values, second.sum), ([1.0].as_slice(), 0.0));
    assert!(loaded("load_with_nhcb 1m\n x_bucket{le=\"+Inf\"} 5\n x_count 6").is_err());
    assert!(loaded("load_with_nhcb 1m\n x_bucket{le=\"1\"} 5\n x_bucket{le=\"2\"} 4").is_err());
}

#[test]
fn floats_are_almost_equal_within_a_millionth() {
    let is_equal = compare::is_almost_equal;
    let stale = f64::from_bits(STALE);
    assert!(is_equal(1.0, 1.000_001) && is_equal(f64::NAN, -f64::NAN) && is_equal(stale, stale));
    assert!(is_equal(f64::INFINITY, f64::INFINITY) && is_equal(1.7e308, 1.700_000_1e308) && is_equal(0.0, -0.0));
    assert!(!is_equal(1.0, 1.000_003) && !is_equal(f64::NAN, stale) && !is_equal(f64::NAN, 1.0));
    assert!(!is_equal(0.0, 1e-300) && !is_equal(f64::INFINITY, f64::NEG_INFINITY) && !is_equal(1.0, -1.0));
}

#[test]
fn histograms_are_the_same_whatever_their_spans() {
    let plain = Histogram { count: 3.0, positive: buckets(&[(0, 4)], &[1.0, 0.0, 0.0, 2.0]), ..Histogram::default() };
    let split = Histogram { positive: buckets(&[(0, 1), (2, 1), (5, 0)], &[1.0, 2.0]), ..plain.clone() };
    let moved = Histogram { positive: buckets(&[(0, 1), (1, 1)], &[1.0, 2.0]), ..plain.clone() };
    let fuller = Histogram { positive: buckets(&[(0, 1), (2, 2)], &[1.0, 2.0, 1.0]), ..plain.clone() };
    let hinted = Histogram { hint: ResetHint::Gauge, ..plain.clone() };
    let is_same = compare::is_same_histogram;
    assert!(is_same(&plain, &split, true) && is_same(&plain, &hinted, false));
    assert!(!is_same(&plain, &hinted, true) && !is_same(&plain, &moved, false) && !is_same(&plain, &fuller, false));
    let changes: [fn(&mut Histogram); 5] = [
        |of| of.schema = 1,
        |of| of.count = 4.0,
        |of| of.sum = 1.0,
        |of| of.zero_threshold = 1e-9,
        |of| of.zero_count = 1.0,
    ];
    for change in changes {
        let mut changed = plain.clone();
        change(&mut changed);
        assert!(!is_same(&plain, &changed, false), "{changed:?}");
    }
    assert_eq!(show::histogram(&split), "{{count:3 buckets:[1 0 0 2]}}");
}

fn buckets(spans: &[(i32, u32)], counts: &[f64]) -> Buckets {
    let spans = spans.iter().map(|(offset, length)| Span { offset: *offset, length: *length }).collect();
    Buckets { spans, counts: counts.to_vec() }
}

#[test]
fn a_vector_has_the_series_that_are_expected() {
    assert_eq!(wrong_with("a 1\nb 2", vector(&[("b", 2.0), ("a", 1.0)])), None);
    assert_eq!(wrong_with("", vector(&[])), None);
    let wrong = wrong_with("a 1\nb 2\nc 3", vector(&[("b", 2.5), ("a", 1.0), ("d", 4.0)])).unwrap();
    assert_eq!(wrong, "d{}: expected nothing, got 4\nb{}: expected 2, got 2.5\nc{}: expected 3, got nothing");
    assert!(wrong_with("a {{}}", vector(&[("a", 0.0)])).is_some());
    assert!(wrong_with("a 1", vector(&[("a", 1.0), ("a", 1.0)])).is_some());
    assert!(wrong_with("1", vector(&[("a", 1.0)])).is_some());
}

#[test]
fn an_order_is_held() {
    let answer = || vector(&[("b", 2.0), ("a", 1.0)]);
    assert_eq!(wrong_with("expect ordered\nb 2\na 1", answer()), None);
    assert!(wrong_with("expect ordered\na 1\nb 2", answer()).unwrap().contains("at place"));
    assert!(wrong_with("expect ordered\na 1", matrix(&[])).is_some());
}

#[test]
fn scalars_and_texts_are_compared() {
    assert_eq!(wrong_with("0x10", outcome(Value::Scalar(0, 16.0))), None);
    assert!(wrong_with("16.1", outcome(Value::Scalar(0, 16.0))).is_some());
    assert!(wrong_with("a 16", outcome(Value::Scalar(0, 16.0))).is_some());
    let text = |text: &str| outcome(Value::String(text.to_owned()));
    assert_eq!(wrong_with("expect string \"a\\\"b\"", text("a\"b")), None);
    assert_eq!(wrong_with("expect string `a\\b`", text("a\\b")), None);
    assert!(wrong_with("expect string \"a\"", text("b")).is_some());
}

#[test]
fn a_range_vector_has_its_times() {
    let lines = "expect range vector from 10s to 30s step 10s\na 1 _ 3";
    assert_eq!(wrong_with(lines, matrix(&[("a", &[(10_000, 1.0), (30_000, 3.0)])])), None);
    assert!(wrong_with(lines, matrix(&[("a", &[(10_000, 1.0), (20_000, 3.0)])])).is_some());
    assert!(wrong_with(lines, matrix(&[("a", &[(10_000, 1.0)])])).is_some());
    assert!(wrong_with("expect range vector from 10s to 30s step 10s\na 1 2 3 4", matrix(&[("a", &[])])).is_some());
    let (mut backend, text) = (Canned::default(), format!("eval instant at 5m a[1m]\n{lines}"));
    run(&text, &mut backend).unwrap();
    assert_eq!(backend.asked, ["a[1m] 30000"]);
}

#[test]
fn failures_are_expected_by_their_text() {
    assert!(wrong_with("a 1", None).unwrap().contains("boom"));
    for lines in ["expect fail", "expect fail msg: boom", "expect fail regex: b.+m"] {
        assert_eq!(wrong_with(lines, None), None, "{lines}");
        assert!(wrong_with(lines, vector(&[])).is_some(), "{lines}");
    }
    assert!(run("eval instant at 0 q\nexpect fail\nexpect fail", &mut Canned::default()).is_err());
    assert!(wrong_with("expect fail msg: bo", None).is_some());
    assert!(wrong_with("expect fail regex: ^o", None).is_some());
    let old = |line: &str| {
        let text = format!("eval_fail instant at 0 q\n{line}\neval range from 0 to 1m step 1m q\n");
        run(&text, &mut Canned::default()).unwrap().failures.iter().map(|failure| failure.line).collect::<Vec<_>>()
    };
    assert_eq!(old("expected_fail_message boom"), [3]);
    assert_eq!(old("expected_fail_regexp ^o"), [1, 3]);
}

#[test]
fn annotations_are_expected_by_their_text() {
    let with = |lines: &str, warnings: &[&str]| {
        let warnings = warnings.iter().map(|text| (*text).to_owned()).collect();
        wrong_with(lines, Some(Outcome { value: Value::Vector(Vec::new()), warnings, infos: Vec::new() }))
    };
    for lines in ["", "expect warn", "expect warn msg: w 1", "expect warn regex: ^w", "expect no_info"] {
        assert_eq!(with(lines, &["w 1"]), None, "{lines}");
    }
    for lines in ["expect no_warn", "expect warn msg: w", "expect warn regex: v", "expect warn\nexpect warn msg: x"] {
        assert!(with(lines, &["w 1"]).is_some(), "{lines}");
    }
    assert!(with("expect info", &["w 1"]).is_some() && with("expect warn", &[]).is_some());
    assert!(with("expect warn msg: w 1", &["w 1", "w 2"]).unwrap().contains("w 2"));
    assert!(run("eval instant at 0 q\nexpect warn\nexpect no_warn", &mut Canned::default()).is_err());
}

#[test]
fn an_instant_query_is_asked_again_around_its_time_and_pinned() {
    let (instant, range) = (vector(&[("a", 1.0)]), matrix(&[("a", &[(0, 9.0), (60_000, 1.0), (120_000, 9.0)])]));
    let mut backend = Canned { instant, range, pins: true, ..Canned::default() };
    let report = run("eval instant at 1m q\n a 1", &mut backend).unwrap();
    assert_eq!(backend.asked, ["q 60000", "q 0 120000 60000", "q @ 60000 7", "q @ 60000 -59993 60007 60000"]);
    // There is nothing at the seventh millisecond, where the pinned query was asked.
    let failures: Vec<_> = report.failures.iter().map(|of| (of.line, of.query.as_str(), of.mode)).collect();
    assert_eq!(failures, [(1, "q", Mode::Pinned)]);
    let evaluated: Vec<_> =
        report.evaluated.iter().map(|of| (of.line, of.query.as_str(), of.mode, of.passed)).collect();
    assert_eq!(evaluated, [(1, "q", Mode::Plain, true), (1, "q", Mode::AsRange, true), (1, "q", Mode::Pinned, false)]);

    let mut backend = Canned { instant: vector(&[("a", 1.0)]), ..Canned::default() };
    let report = run("eval instant at 1m q\n a 1\n\neval instant at 1m q + end()\n a 1", &mut backend).unwrap();
    assert_eq!(
        report.failures.iter().map(|failure| (failure.line, failure.mode)).collect::<Vec<_>>(),
        [(1, Mode::AsRange)]
    );
    assert_eq!(report.evaluations, 2);
}

#[test]
fn a_pinned_query_is_asked_before_and_after_its_time() {
    assert_eq!(pinned_times(60_000), [-600_000, 0, 12_000, 60_000, 600_000]);
    assert_eq!(pinned_times(0), [-1000, 0, 1000]);
}

#[test]
fn a_range_is_compared_step_by_step() {
    let text = "eval range from 0 to 2m step 1m q\n a 1 _ 3\n b 4";
    let failures = |range| run(text, &mut Canned { range, ..Canned::default() }).unwrap().failures;
    assert!(failures(matrix(&[("a", &[(0, 1.0), (120_000, 3.0)]), ("b", &[(0, 4.0)])])).is_empty());
    let wrong = failures(matrix(&[("a", &[(0, 1.0), (120_000, 3.5)]), ("b", &[(0, 4.0)])]));
    assert_eq!(
        wrong[0].what,
        "a{}: expected 3 @120000, got 3.5 @120000\n  expected [1 @0, 3 @120000]\n  got      [1 @0, 3.5 @120000]"
    );
    let unsorted = failures(matrix(&[("b", &[(0, 4.0)]), ("a", &[(0, 1.0), (120_000, 3.0)])]));
    assert!(unsorted[0].what.contains("not sorted"));
}

#[test]
fn a_script_that_cannot_be_read_names_the_line() {
    for (text, line) in [
        ("clear\nbogus", "line 2"),
        ("load x\n", "line 1"),
        ("load 1m\n m 1\n m 1,\n", "line 3"),
        ("# a\n\neval instant at q\n", "line 3"),
        ("eval instant at 0 q\n a 1 2\n", "line 2"),
        ("eval range from 2m to 1m step 1m q\n", "line 1"),
        ("eval_odd instant at 0 q\n", "line 1"),
    ] {
        let error = run(text, &mut Canned::default()).unwrap_err();
        assert!(error.starts_with(line), "{text:?} {error}");
    }
}
