//! Lines that `promtool` takes are taken, others refused with their place.

use proptest::prelude::*;

use super::*;

fn read(text: &str) -> Sample<'_> {
    match line(text.as_bytes()) {
        Ok(Line::Sample(sample)) => sample,
        other => panic!("{text}: {other:?}"),
    }
}

fn labels<'a>(labels: &'a Labels<'a>) -> Vec<(&'a str, &'a str)> {
    labels.iter().map(|(name, value)| (&**name, &**value)).collect()
}

#[test]
fn a_sample_has_labels_by_name_value_and_time() {
    let sample = read(r#"http_requests_total{method="get",code="200",} 1027 1395066363.25"#);
    let expected = [("__name__", "http_requests_total"), ("code", "200"), ("method", "get")];
    assert_eq!(labels(&sample.labels), expected);
    assert_eq!((sample.ts_ms, sample.bits), (1_395_066_363_250, 1027f64.to_bits()));
    assert_eq!(labels(&read("up 1 0").labels), [("__name__", "up")]);
    assert_eq!(read("up{} 1 -1.5").ts_ms, -1500);
}

#[test]
fn names_may_be_quoted() {
    let sample = read(r#"{"http.requests","k8s.pod"="a b",x="\\n\n\"é\q"} 1 1"#);
    let expected = [("__name__", "http.requests"), ("k8s.pod", "a b"), ("x", "\\n\n\"é\\q")];
    assert_eq!(labels(&sample.labels), expected);
}

#[test]
fn values_are_what_go_reads() {
    for (text, bits) in [
        ("NaN", NAN_BITS),
        ("nan", NAN_BITS),
        ("+Inf", f64::INFINITY.to_bits()),
        ("-Inf", f64::NEG_INFINITY.to_bits()),
        ("-0", (-0.0f64).to_bits()),
        ("1e-3", 0.001f64.to_bits()),
        ("+5.", 5f64.to_bits()),
    ] {
        assert_eq!(read(&format!("a {text} 1")).bits, bits, "{text}");
    }
}

#[test]
fn times_are_rounded_so_that_what_was_printed_comes_back() {
    for ms in (1_700_000_000_000..1_700_000_001_000).chain([1, 999, 253_402_300_799_999]) {
        let text = format!("a 1 {}.{:03}", ms / 1000, ms % 1000);
        assert_eq!(read(&text).ts_ms, ms);
        #[allow(clippy::cast_precision_loss)]
        let as_printed_by_go = format!("a 1 {:e}", ms as f64 / 1000.0);
        assert_eq!(read(&as_printed_by_go).ts_ms, ms);
    }
}

#[test]
fn an_exemplar_has_its_own_time_or_that_of_its_sample() {
    let exemplar = read(r#"a_bucket{le="1"} 3 10 # {trace_id="x",b=""} 0.5 9.5"#).exemplar.unwrap();
    assert_eq!(labels(&exemplar.labels), [("trace_id", "x")]);
    assert_eq!((exemplar.value, exemplar.ts_ms), (0.5, 9500));
    assert_eq!(read("a_total 3 10 # {} 0.5").exemplar.unwrap().ts_ms, 10_000);
}

#[test]
fn what_is_said_of_a_metric_is_read() {
    let about = |text: &'static str| match line(text.as_bytes()) {
        Ok(Line::About(about)) => about,
        other => panic!("{other:?}"),
    };
    assert_eq!(about("# TYPE a_b counter"), About::Type("a_b".into(), 1));
    assert_eq!(about(r#"# HELP "a.b" Two\nlines."#), About::Help("a.b".into(), "Two\nlines.".into()));
    assert_eq!(about("# UNIT a_seconds seconds"), About::Unit("a_seconds".into(), "seconds".into()));
    assert_eq!(about("# HELP a"), About::Help("a".into(), "".into()));
    assert_eq!(line(b"# EOF"), Ok(Line::End));
    assert_eq!(line(b"# a remark"), Ok(Line::Nothing));
    assert_eq!(line(b""), Ok(Line::Nothing));
}

#[test]
fn what_is_wrong_has_a_place() {
    for (text, column, what) in [
        ("up 1", 5, "the time is missing"),
        ("up 1 # {} 1", 6, "the time is missing"),
        ("up x 1", 4, "no number"),
        ("up 1 x", 6, "no number"),
        ("up 1 NaN", 6, "no time"),
        ("up 1 1700000000000000", 6, "milliseconds?"),
        ("up", 3, "value are missing"),
        ("{a=\"b\"} 1 1", 8, "name of the metric is missing"),
        ("9a 1 1", 1, "name of a metric is missing"),
        ("a{b=c} 1 1", 5, "not quoted"),
        ("a{b=\"c} 1 1", 6, "has no end"),
        ("a{b=\"c\" d=\"e\"} 1 1", 9, "`,` or `}`"),
        ("a{b=\"c\",b=\"d\"} 1 1", 15, "twice"),
        ("a{b} 1 1", 4, "`=`"),
        ("a 1 1 x", 7, "no exemplar"),
        ("a 1 1 # {} 1 2 3", 16, "follows the exemplar"),
        ("# TYPE a nothing", 10, "type"),
    ] {
        let fault = line(text.as_bytes()).unwrap_err();
        assert!(fault.what.contains(what), "{text}: {fault}");
        assert_eq!(fault.column, column, "{text}: {fault}");
    }
    assert_eq!(line(b"a{b=\"\xff\"} 1 1").unwrap_err(), Fault { column: 6, what: "no UTF-8" });
}

proptest! {
    #[test]
    fn no_line_makes_it_panic(text in r#"[a#{}"=\\, 0-9.ETHP-]{0,40}"#, bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = line(text.as_bytes());
        let _ = line(&bytes);
    }
}
