//! Durations as text, and computed.

use super::super::{
    Syntax,
    ast::{Node, Span},
    parser::parse,
};
use super::*;

/// The duration of `x[...]`.
fn duration(text: &str) -> Duration {
    match parse(&format!("x[{text}]"), Syntax::default()).map(|expr| expr.node) {
        Ok(Node::Range(range)) => range.range,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn units_stand_in_order_and_once() {
    assert_eq!(read("1y2w3d4h5m6s7ms"), Ok(31_536_000_000 + 1_209_600_000 + 259_200_000 + 14_706_007));
    assert_eq!((read("0"), read("90m"), read("0s")), (Ok(0), Ok(5_400_000), Ok(0)));
    for malformed in ["", "5", "m", "5m1h", "5m5m", "1.5h", "-5m", "5 m", "5M", "1h5", "5µs"] {
        let kind = parse_duration(malformed).map_err(|error| error.kind);
        assert_eq!(kind, Err(crate::ErrorKind::Invalid), "{malformed}");
    }
    assert_eq!(read("292y").map(format).as_deref(), Ok("292y"));
    assert_eq!(read("293y"), Err("duration out of range".to_owned()));
    assert_eq!(read("5hs"), Err("unknown unit \"hs\" in duration \"5hs\"".to_owned()));
}

#[test]
fn durations_are_written_as_they_are_easiest_to_read() {
    for (milliseconds, written) in [
        (0, "0s"),
        (1, "1ms"),
        (90_061_001, "1d1h1m1s1ms"),
        (7_776_000_000, "90d"),
        (1_209_600_000, "2w"),
        (31_536_000_000, "1y"),
        (31_536_000_000 + 604_800_000, "372d"),
        (31_536_000_000 + 1000, "365d1s"),
        (-5_400_000, "-1h30m"),
    ] {
        assert_eq!(format(milliseconds), written);
    }
}

#[test]
fn durations_are_computed_from_the_step_and_the_range() {
    for (text, seconds) in [
        ("1h30m", 5400.0),
        ("90", 90.0),
        ("step() * 2 + 1", 121.0),
        ("range() / 2 - 30s", 1770.0),
        ("min_of(step(), 5s) ^ 2", 25.0),
        ("max_of(step(), range() % 7)", 60.0),
        ("-(-2 ^ 2) + 1", 5.0),
    ] {
        assert_eq!(duration(text).positive_seconds(60_000, 3_600_000), Ok(seconds), "{text}");
    }
    assert_eq!(duration("step() - 2m").seconds(60_000, 0), Ok(-60.0));
}

#[test]
fn what_is_no_duration_in_the_end_is_refused_with_its_place() {
    for (text, message) in [
        ("step() - 1m", "duration must be greater than 0"),
        ("1m / range()", "division by zero"),
        ("1m % range()", "modulo by zero"),
        ("(-8) ^ 0.5", "duration is NaN or infinite"),
        ("step() ^ 1000", "duration is NaN or infinite"),
        ("step() * 10y", "duration is out of range"),
        ("min_of(1m, (-8) ^ 0.5)", "duration is NaN or infinite"),
    ] {
        let at = Span { start: 2, end: 2 + text.len() };
        assert_eq!(duration(text).positive_seconds(60_000, 0), Err(Wrong::new(message, at)), "{text}");
    }
}

#[test]
fn literals_are_rounded_and_results_are_cut() {
    let milliseconds = |text: &str| {
        let duration = duration(text);
        duration.seconds(0, 0).map(|seconds| duration.milliseconds(seconds))
    };
    assert_eq!(milliseconds("1.001"), Ok(1001));
    assert_eq!(milliseconds("1.001 * 1"), Ok(1000));
}
