//! Tables of histograms, and what Prometheus 3.16 (its Go module is v0.316.0) makes of them.

use super::float::{almost_equal, kahan_step};
use super::*;

mod estimates;
mod merging;
mod notation;

/// A histogram of one run of buckets a side. The count is that of the buckets.
fn exponential(schema: i32, zero: (f64, f64), sum: f64, positive: (i32, &[f64]), negative: (i32, &[f64])) -> Histogram {
    let (positive, negative) = (run(positive.0, positive.1), run(negative.0, negative.1));
    let count = positive.counts.iter().chain(&negative.counts).fold(zero.1, |count, bucket| count + bucket);
    let (zero_threshold, zero_count) = zero;
    Histogram { schema, zero_threshold, zero_count, count, sum, positive, negative, ..Histogram::default() }
}

fn positive(schema: i32, offset: i32, counts: &[f64]) -> Histogram {
    exponential(schema, (0.0, 0.0), 1.0, (offset, counts), (0, &[]))
}

fn custom(bounds: &[f64], sum: f64, counts: &[f64]) -> Histogram {
    Histogram { schema: CUSTOM, custom_values: bounds.into(), ..exponential(0, (0.0, 0.0), sum, (0, counts), (0, &[])) }
}

fn run(offset: i32, counts: &[f64]) -> Buckets {
    let spans = match u32::try_from(counts.len()).unwrap() {
        0 => vec![],
        length => vec![Span { offset, length }],
    };
    Buckets { spans, counts: counts.to_vec() }
}

fn spans(spans: &[(i32, u32)], counts: &[f64]) -> Buckets {
    let spans = spans.iter().map(|&(offset, length)| Span { offset, length }).collect();
    Buckets { spans, counts: counts.to_vec() }
}

#[test]
fn the_default_is_empty() {
    let empty = Histogram::default();
    assert_eq!(empty.to_string(), "{count:0, sum:0}");
    assert_eq!(empty.test_expression(), "{{}}");
    assert_eq!(empty.buckets().count(), 0);
    assert!(!empty.is_stale() && !empty.is_custom() && !empty.has_overflow());
}

#[test]
fn only_one_nan_is_the_stale_marker() {
    let of = |sum| Histogram { sum, ..Histogram::default() };
    assert!(of(f64::from_bits(0x7ff0_0000_0000_0002)).is_stale());
    assert!(!of(f64::NAN).is_stale());
}

#[test]
fn bounds_are_powers_of_the_schemas_factor() {
    for (schema, index, bound) in [
        (0, 0, 1.0),
        (0, 3, 8.0),
        (0, -1, 0.5),
        (2, 1, 1.189_207_115_002_721),
        (2, 2, f64::from_bits(0x3ff6_a09e_667f_3bcc)),
        (2, -5, 0.420_448_207_626_857_2),
        (8, 1, 1.002_711_275_050_202_5),
        (-1, 1, 4.0),
        (-4, 1, 65_536.0),
        (-4, -1, 1.0 / 65_536.0),
        (0, 1024, f64::MAX),
        (0, 1025, f64::INFINITY),
        (-4, 64, f64::MAX),
        (-4, 65, f64::INFINITY),
        (8, 1024 * 256, f64::MAX),
        (8, 1024 * 256 - 1, 1.792_832_273_450_112_2e308),
        (8, 1024 * 256 + 1, f64::INFINITY),
        (0, -1074, f64::from_bits(1)),
        (0, -1076, 0.0),
        (3, i32::MAX, f64::INFINITY),
        (3, i32::MIN, 0.0),
    ] {
        assert_eq!(bounds::bound(index, schema, &[]), bound, "schema={schema} index={index}");
    }
    for (index, bound) in [(-1, f64::NEG_INFINITY), (0, 2.0), (1, 3.0), (2, f64::INFINITY), (7, f64::INFINITY)] {
        assert_eq!(bounds::bound(index, CUSTOM, &[2.0, 3.0]), bound, "index={index}");
    }
}

#[test]
fn buckets_come_in_order_and_end_where_the_zero_bucket_begins() {
    let histogram = exponential(0, (0.75, 4.0), 1.0, (0, &[1.0, 0.0, 2.0]), (0, &[3.0, 5.0]));
    let all: Vec<_> = histogram.buckets().map(|bucket| bucket.to_string()).collect();
    assert_eq!(all, ["[-2,-1):5", "[-1,-0.75):3", "[-0.75,0.75]:4", "(0.75,1]:1", "(1,2]:0", "(2,4]:2"]);
    let mut reversed: Vec<_> = histogram.buckets_reversed().map(|bucket| bucket.to_string()).collect();
    reversed.reverse();
    assert_eq!(reversed, all);
    assert_eq!(histogram.negative_buckets().map(|bucket| bucket.index).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(histogram.positive_buckets_reversed().map(|bucket| bucket.index).collect::<Vec<_>>(), [2, 1, 0]);
}

#[test]
fn indexes_go_on_over_spans_without_buckets() {
    let side = spans(&[(-2, 0), (-1, 1), (0, 2), (3, 0), (1, 1)], &[1.0, 2.0, 3.0, 4.0]);
    let forward: Vec<_> = side.cells().map(|cell| (cell.index, cell.count)).collect();
    assert_eq!(forward, [(-3, 1.0), (-2, 2.0), (-1, 3.0), (4, 4.0)]);
    let mut backward: Vec<_> = side.cells_reversed().map(|cell| (cell.index, cell.count)).collect();
    backward.reverse();
    assert_eq!(backward, forward);
}

#[test]
fn json_names_inclusive_bounds_and_leaves_empty_buckets_out() {
    let histogram = exponential(0, (0.5, 4.0), 1.0, (0, &[1.0, 0.0, 2.0]), (0, &[3.0]));
    let buckets = [(1, -1.0, -0.5, 3.0), (3, -0.5, 0.5, 4.0), (0, 0.5, 1.0, 1.0), (0, 2.0, 4.0, 2.0)];
    assert_eq!(histogram.json_buckets(), buckets);
    let first = custom(&[2.0], 1.0, &[1.0, 1.0]).json_buckets();
    assert_eq!(first, [(3, f64::NEG_INFINITY, 2.0, 1.0), (0, 2.0, f64::INFINITY, 1.0)]);
}

#[test]
fn test_expressions_name_what_is_there() {
    let mut gappy = exponential(1, (0.25, 2.0), -3.5, (0, &[]), (2, &[1.0]));
    gappy.positive = spans(&[(-1, 1), (2, 2)], &[1.0, 0.0, 2.5]);
    gappy.hint = ResetHint::NoReset;
    let text = "{{schema:1 count:3 sum:-3.5 z_bucket:2 z_bucket_w:0.25 counter_reset_hint:not_reset \
                offset:-1 buckets:[1 0 0 0 2.5] n_offset:2 n_buckets:[1]}}";
    assert_eq!(gappy.test_expression(), text);
    let custom = custom(&[1.0, 2.5], 1e7, &[1.0, 0.0, 2.0]);
    let text = "{{schema:-53 count:3 sum:1e+07 custom_values:[1 2.5] buckets:[1 0 2]}}";
    assert_eq!(custom.test_expression(), text);
}

#[test]
fn compaction_drops_empty_buckets_and_bridges_small_gaps() {
    let scattered = spans(&[(-4, 3), (1, 2), (0, 0), (2, 4)], &[0.0, 1.0, 0.0, 0.0, 2.0, 3.0, 0.0, 0.0, 4.0]);
    for (empty_max, expected) in [
        (0, spans(&[(-3, 1), (3, 1), (2, 1), (2, 1)], &[1.0, 2.0, 3.0, 4.0])),
        (2, spans(&[(-3, 1), (3, 7)], &[1.0, 2.0, 0.0, 0.0, 3.0, 0.0, 0.0, 4.0])),
        (3, spans(&[(-3, 11)], &[1.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 3.0, 0.0, 0.0, 4.0])),
    ] {
        let mut histogram = Histogram { positive: scattered.clone(), ..Histogram::default() };
        histogram.compact(empty_max);
        assert_eq!(histogram.positive, expected, "empty_max={empty_max}");
    }
    let mut empty = positive(0, 4, &[0.0, 0.0]);
    empty.compact(3);
    assert_eq!(empty.positive, Buckets::default());
}

#[test]
fn a_coarser_schema_joins_buckets() {
    let mut fine = positive(2, 0, &[]);
    fine.positive = spans(&[(-2, 3), (6, 2)], &[1.0, 3.0, 5.0, 2.0, 4.0]);
    let coarse = fine.copy_to_schema(0).unwrap();
    assert_eq!(coarse.positive, spans(&[(0, 1), (1, 1)], &[9.0, 6.0]));
    assert_eq!(fine.copy_to_schema(2).unwrap(), fine);
    assert!(fine.copy_to_schema(3).is_err());
    assert_eq!(fine.copy_to_schema(CUSTOM), Err(Mismatch::Schemas));
    assert_eq!(custom(&[1.0], 1.0, &[1.0]).copy_to_schema(0), Err(Mismatch::Schemas));
    fine.positive.counts.pop();
    assert!(matches!(fine.copy_to_schema(1), Err(Mismatch::Layout(_))));
}

#[test]
fn scaling_takes_everything_but_the_layout() {
    let histogram = exponential(0, (0.5, 4.0), 10.0, (0, &[1.0, 2.0]), (3, &[3.0]));
    let mut product = histogram.clone();
    product.mul(2.0);
    let text = "{{count:20 sum:20 z_bucket:8 z_bucket_w:0.5 buckets:[2 4] n_offset:3 n_buckets:[6]}}";
    assert_eq!(product.test_expression(), text);
    product.div(4.0);
    assert_eq!((product.count, product.zero_count, product.hint), (5.0, 2.0, ResetHint::Unknown));
    let mut negative = histogram.clone();
    negative.neg();
    assert_eq!((negative.count, negative.sum, negative.hint), (-10.0, -10.0, ResetHint::Gauge));
    let mut infinite = histogram;
    infinite.div(0.0);
    assert_eq!(infinite.to_string(), "{count:+Inf, sum:+Inf, [-0.5,0.5]:+Inf}");
    assert!(infinite.has_overflow());
}

#[test]
fn equality_is_of_bits_and_of_layouts() {
    let histogram = exponential(0, (0.5, 4.0), f64::NAN, (0, &[1.0, 2.0]), (3, &[3.0]));
    assert!(histogram.equals(&histogram.clone()));
    assert!(histogram != histogram.clone(), "NaN is not NaN for structural equality");
    let with = |change: &dyn Fn(&mut Histogram)| {
        let mut changed = histogram.clone();
        change(&mut changed);
        changed
    };
    assert!(histogram.equals(&with(&|h| h.hint = ResetHint::Gauge)));
    assert!(histogram.equals(&with(&|h| h.positive.spans = spans(&[(-1, 0), (1, 2), (5, 0)], &[]).spans)));
    assert!(!histogram.equals(&with(&|h| h.positive = run(0, &[1.0, 2.0, 0.0]))), "an empty bucket counts");
    assert!(!histogram.equals(&with(&|h| h.sum = -f64::NAN)));
    assert!(!histogram.equals(&with(&|h| h.zero_count = f64::from_bits(h.zero_count.to_bits() + 1))));
}

#[test]
fn almost_equal_is_relative_and_knows_the_stale_marker() {
    let stale = f64::from_bits(crate::samples::STALE);
    for (a, b, equal) in [
        (1.0, 1.000_000_9, true),
        (1.0, 1.000_003, false),
        (1e300, 1.000_000_9e300, true),
        (0.0, 1e-300, false),
        (0.0, -0.0, true),
        (f64::NAN, -f64::NAN, true),
        (stale, stale, true),
        (stale, f64::NAN, false),
        (f64::INFINITY, f64::INFINITY, true),
        (f64::INFINITY, f64::NEG_INFINITY, false),
    ] {
        assert_eq!(almost_equal(a, b, 1e-6), equal, "{a} {b}");
    }
}

#[test]
fn a_compensated_sum_keeps_what_rounding_loses() {
    let (sum, lost) = [1.0, 1e100, 1.0, -1e100].iter().fold((0.0, 0.0), |(sum, lost), x| kahan_step(*x, sum, lost));
    assert_eq!(sum + lost, 2.0);
    assert_eq!(kahan_step(f64::MAX, f64::MAX, 1.0), (f64::INFINITY, 0.0));
}

#[test]
fn deltas_of_integers_become_counts() {
    let spans = vec![Span { offset: -1, length: 3 }];
    let integers = IntegerHistogram {
        schema: 2,
        zero_threshold: 0.25,
        zero_count: 3,
        count: 14,
        sum: 2.5,
        positive: (spans.clone(), vec![2, 3, -4]),
        negative: (vec![Span { offset: 0, length: 1 }], vec![3]),
        ..IntegerHistogram::default()
    };
    let text = "{{schema:2 count:14 sum:2.5 z_bucket:3 z_bucket_w:0.25 offset:-1 buckets:[2 5 1] n_buckets:[3]}}";
    assert_eq!(Histogram::from(integers.clone()).test_expression(), text);
    let listed = Histogram::from(IntegerHistogram { schema: CUSTOM, custom_values: [1.0, 2.0].into(), ..integers });
    assert_eq!((listed.zero_count, listed.negative.counts.len(), listed.custom_values.len()), (0.0, 0, 2));
}

#[test]
fn senseless_layouts_do_not_panic() {
    let senseless = [
        spans(&[(i32::MAX, u32::MAX), (i32::MIN, 7)], &[1.0, 2.0]),
        spans(&[(i32::MIN, 1), (-5, 3), (2, 0)], &[1.0, 2.0, 3.0, 4.0, 5.0]),
        spans(&[], &[1.0]),
        spans(&[(3, 4)], &[]),
    ];
    for schema in [i32::MIN, -53, -9, -4, 0, 8, 52, i32::MAX] {
        for side in &senseless {
            let other = exponential(3, (2.0, 1.0), f64::NAN, (-9, &[1.0, 2.0]), (0, &[1.0]));
            let (positive, negative) = (side.clone(), side.clone());
            let zero_threshold = f64::NAN;
            let mut histogram = Histogram { schema, positive, negative, zero_threshold, count: 9.0, ..other.clone() };
            let mut compensation = None;
            let _ = (histogram.to_string(), histogram.json_buckets());
            let _ = (histogram.detect_reset(&other), other.detect_reset(&histogram), histogram.equals(&other));
            let _ = (histogram.quantile(0.3), histogram.quantile(0.7), histogram.fraction(-1.0, 1.0));
            let _ = (other.clone().add(&histogram), other.clone().kahan_add(&histogram, &mut compensation));
            let _ = (histogram.clone().sub(&other), histogram.clone().kahan_add(&other, &mut None));
            histogram.keep_above(0.5);
            histogram.compact(1);
        }
    }
}
