//! Sums, differences and counter resets.

use super::*;

fn sum_of(a: &Histogram, b: &Histogram) -> (Histogram, Merged) {
    let mut sum = a.clone();
    let merged = sum.add(b).unwrap();
    (sum, merged)
}

#[test]
fn a_sum_has_the_buckets_of_both() {
    let a = exponential(0, (0.5, 4.0), 10.0, (1, &[1.0, 0.0, 2.0]), (0, &[3.0]));
    let b = exponential(0, (0.5, 1.0), 2.5, (-1, &[6.0, 7.0, 1.0, 1.0]), (2, &[4.0]));
    let (sum, merged) = sum_of(&a, &b);
    // What of the second lies within the zero bucket is in its zero count already.
    let text = "{{count:30 sum:12.5 z_bucket:5 z_bucket_w:0.5 buckets:[7 2 1 2] n_buckets:[3 0 4]}}";
    assert_eq!((sum.test_expression().as_str(), merged), (text, Merged::default()));
    let mut difference = a.clone();
    difference.sub(&b).unwrap();
    let text = "{{count:-10 sum:7.5 z_bucket:3 z_bucket_w:0.5 buckets:[-7 0 -1 2] n_buckets:[3 0 -4]}}";
    assert_eq!(difference.test_expression(), text);
}

#[test]
fn equal_layouts_and_different_ones_add_up_the_same() {
    let a = positive(1, -2, &[1.0, 0.1, 0.0, 2.0]);
    let b = positive(1, -2, &[0.2, 0.7, 5.0, 0.0]);
    let mut apart = b.clone();
    apart.positive.spans = spans(&[(-2, 2), (0, 2)], &[]).spans;
    assert_eq!(sum_of(&a, &b).0, sum_of(&a, &apart).0);
}

#[test]
fn the_finer_histogram_becomes_as_coarse_as_the_other() {
    let fine = positive(1, 0, &[1.0, 2.0, 3.0, 4.0]);
    let coarse = positive(0, 0, &[10.0, 20.0]);
    let text = "{{count:40 sum:2 buckets:[11 25 4]}}";
    assert_eq!(sum_of(&fine, &coarse).0.test_expression(), text);
    assert_eq!(sum_of(&coarse, &fine).0.test_expression(), text);
}

#[test]
fn zero_buckets_widen_to_where_no_populated_bucket_is_cut() {
    let narrow = exponential(0, (0.25, 1.0), 1.0, (-1, &[2.0, 3.0, 4.0, 5.0]), (0, &[6.0]));
    for (threshold, zero_count, buckets) in [
        (0.5, "z_bucket:13 z_bucket_w:0.5", "buckets:[3 4 5] n_buckets:[6]"),
        // 0.7 is within (0.5,1], which is populated.
        (0.7, "z_bucket:22 z_bucket_w:1", "offset:1 buckets:[4 5]"),
        // A bucket of the negative side moves the threshold once more.
        (1.5, "z_bucket:26 z_bucket_w:2", "offset:2 buckets:[5]"),
    ] {
        let wide = exponential(0, (threshold, 10.0), 1.0, (0, &[]), (0, &[]));
        let text = format!("{{{{count:31 sum:2 {zero_count} {buckets}}}}}");
        assert_eq!(sum_of(&narrow, &wide).0.test_expression(), text, "threshold={threshold}");
        assert_eq!(sum_of(&wide, &narrow).0.test_expression(), text, "threshold={threshold}");
    }
}

#[test]
fn different_custom_bounds_leave_the_shared_ones() {
    let a = custom(&[1.0, 2.0, 3.0, 4.0], 5.0, &[1.0, 2.0, 3.0, 4.0, 5.0]);
    let b = custom(&[2.0, 4.0, 8.0], 5.0, &[10.0, 20.0, 30.0, 40.0]);
    let (sum, merged) = sum_of(&a, &b);
    assert!(merged.bounds_reconciled && !merged.hint_collision);
    let text = "{{schema:-53 count:115 sum:10 custom_values:[2 4] buckets:[13 27 75]}}";
    assert_eq!(sum.test_expression(), text);
    let mut difference = a.clone();
    assert!(difference.sub(&b).unwrap().bounds_reconciled);
    let text = "{{schema:-53 count:-85 custom_values:[2 4] buckets:[-7 -13 -65]}}";
    assert_eq!(difference.test_expression(), text);
    let (sum, merged) = sum_of(&a, &custom(&[5.0], 1.0, &[1.0, 0.0]));
    assert!(merged.bounds_reconciled);
    assert_eq!(sum.test_expression(), "{{schema:-53 count:16 sum:6 custom_values:[] buckets:[16]}}");
}

#[test]
fn custom_and_exponential_schemas_do_not_mix() {
    let (mut a, b) = (custom(&[1.0], 5.0, &[1.0, 2.0]), positive(0, 0, &[1.0]));
    let before = a.clone();
    assert_eq!(a.add(&b), Err(Mismatch::Schemas));
    assert_eq!(a.sub(&b), Err(Mismatch::Schemas));
    assert_eq!(a.kahan_add(&b, &mut None), Err(Mismatch::Schemas));
    assert_eq!(a, before);
}

#[test]
fn a_senseless_layout_that_has_to_become_coarser_is_an_error() {
    let (mut a, mut b) = (positive(0, 0, &[1.0]), positive(1, 0, &[1.0, 2.0]));
    b.positive.counts.pop();
    assert!(matches!(a.add(&b), Err(Mismatch::Layout(_))));
    assert!(matches!(b.add(&a), Err(Mismatch::Layout(_))));
}

#[test]
fn hints_of_a_sum_collide_only_if_they_contradict() {
    use ResetHint::{Gauge, NoReset, Reset, Unknown};
    for (a, b, hint, hint_collision) in [
        (Unknown, Unknown, Unknown, false),
        (Reset, Reset, Reset, false),
        (Reset, Unknown, Unknown, false),
        (Unknown, NoReset, Unknown, false),
        (Gauge, Reset, Gauge, false),
        (NoReset, Gauge, Gauge, false),
        (Reset, NoReset, Unknown, true),
        (NoReset, Reset, Unknown, true),
    ] {
        let of = |hint| Histogram { hint, ..Histogram::default() };
        let (sum, merged) = sum_of(&of(a), &of(b));
        assert_eq!((sum.hint, merged.hint_collision), (hint, hint_collision), "{a:?} {b:?}");
    }
}

#[test]
fn a_compensated_sum_of_histograms_keeps_what_rounding_loses() {
    let terms: Vec<_> =
        [1.0, 1e100, 1.0, -1e100].iter().map(|x| exponential(0, (0.5, *x), *x, (1, &[*x, *x]), (1, &[*x]))).collect();
    let (mut sum, mut compensation) = (terms[0].clone(), None);
    for term in &terms[1..] {
        sum.kahan_add(term, &mut compensation).unwrap();
    }
    sum.add(&compensation.unwrap()).unwrap();
    let text = "{{count:8 sum:2 z_bucket:2 z_bucket_w:0.5 offset:1 buckets:[2 2] n_offset:1 n_buckets:[2]}}";
    assert_eq!(sum.test_expression(), text);
}

#[test]
fn a_compensated_sum_follows_changes_of_the_layout() {
    let first = exponential(1, (0.25, 1.0), 1.0, (-2, &[1.0, 1.0, 1.0, 1.0]), (1, &[1.0]));
    let second = exponential(0, (1.0, 2.0), 1.0, (2, &[5.0]), (0, &[]));
    let third = exponential(2, (0.0, 0.0), 1.0, (5, &[1.0, 1.0, 1.0, 1.0]), (9, &[1.0]));
    let (mut plain, mut sum, mut compensation) = (first.clone(), first, None);
    for term in [&second, &third] {
        plain.add(term).unwrap();
        sum.kahan_add(term, &mut compensation).unwrap();
    }
    let compensation = compensation.unwrap();
    assert_eq!(compensation.positive.spans, sum.positive.spans);
    assert_eq!(compensation.zero_threshold, sum.zero_threshold);
    sum.add(&compensation).unwrap();
    plain.compact(0);
    sum.compact(0);
    assert_eq!(sum, plain);

    let mut sum = custom(&[1.0, 2.0], 1.0, &[1.0, 2.0, 3.0]);
    let mut compensation = None;
    sum.kahan_add(&custom(&[1.0, 2.0], 1.0, &[1e17]), &mut compensation).unwrap();
    let merged = sum.kahan_add(&custom(&[2.0], 1.0, &[-1e17, 4.0]), &mut compensation).unwrap();
    assert!(merged.bounds_reconciled);
    sum.add(&compensation.unwrap()).unwrap();
    // The third histogram was made without its 4 in the count, which a float of this size does not hold.
    assert_eq!(sum.test_expression(), "{{schema:-53 count:6 sum:3 custom_values:[2] buckets:[3 7]}}");
}

#[test]
fn a_counter_that_only_grows_was_not_reset() {
    let before = exponential(0, (0.5, 4.0), 10.0, (0, &[1.0, 0.0, 2.0]), (3, &[3.0]));
    let mut grown = exponential(0, (0.5, 4.0), -10.0, (-1, &[1.0, 1.0, 0.0, 2.0, 1.0]), (2, &[0.0, 3.0]));
    assert!(!grown.detect_reset(&before));
    grown.hint = ResetHint::Reset;
    assert!(grown.detect_reset(&before));
    let shrunk = |hint| Histogram { hint, ..Histogram::default() };
    assert!(shrunk(ResetHint::Unknown).detect_reset(&before));
    assert!(shrunk(ResetHint::Gauge).detect_reset(&before));
    assert!(!shrunk(ResetHint::NoReset).detect_reset(&before));
}

#[test]
fn whatever_shrinks_or_becomes_finer_is_a_reset() {
    let before = exponential(0, (0.5, 4.0), 10.0, (0, &[1.0, 5.0, 0.0, 2.0]), (3, &[3.0]));
    let changed = |change: &dyn Fn(&mut Histogram)| {
        let mut changed = before.clone();
        changed.count = 100.0;
        change(&mut changed);
        changed.detect_reset(&before)
    };
    for (name, change, reset) in [
        ("nothing", &(|_: &mut Histogram| ()) as &dyn Fn(&mut Histogram), false),
        ("the count", &|h| h.count = 14.0, true),
        ("the zero count", &|h| h.zero_count = 3.0, true),
        ("a bucket", &|h| h.positive.counts[1] = 4.0, true),
        ("an empty bucket is gone", &|h| h.positive = spans(&[(0, 2), (1, 1)], &[1.0, 5.0, 2.0]), false),
        ("a bucket is gone", &|h| h.positive = run(0, &[1.0, 5.0]), true),
        ("a side is gone", &|h| h.negative = Buckets::default(), true),
        ("a finer schema", &|h| h.schema = 1, true),
        ("a narrower zero bucket", &|h| h.zero_threshold = 0.25, true),
        (
            "a coarser schema",
            &|h| (h.schema, h.positive, h.negative) = (-1, run(0, &[1.0, 5.0, 2.0]), run(2, &[3.0])),
            false,
        ),
        (
            "less in a coarser schema",
            &|h| (h.schema, h.positive, h.negative) = (-1, run(0, &[1.0, 4.0, 2.0]), run(2, &[3.0])),
            true,
        ),
        ("a wider zero bucket", &|h| (h.zero_threshold, h.zero_count, h.positive.counts[0]) = (1.0, 5.0, 0.0), false),
        ("less in a wider zero bucket", &|h| (h.zero_threshold, h.zero_count) = (1.0, 4.5), true),
        ("a zero bucket that cuts a populated one", &|h| (h.zero_threshold, h.zero_count) = (1.5, 90.0), true),
        ("the sum", &|h| h.sum = -50.0, false),
    ] {
        assert_eq!(changed(change), reset, "{name}");
    }
}

#[test]
fn custom_histograms_are_compared_within_shared_bounds() {
    let before = custom(&[1.0, 2.0, 3.0], 5.0, &[1.0, 2.0, 3.0, 4.0]);
    for (now, reset) in [
        (custom(&[1.0, 2.0, 3.0], 5.0, &[1.0, 2.0, 3.0, 4.0]), false),
        (custom(&[1.0, 2.0, 3.0], 5.0, &[1.0, 2.0, 2.0, 9.0]), true),
        (custom(&[2.0, 3.0], 5.0, &[3.0, 3.0, 4.0]), false),
        (custom(&[2.0, 3.0], 5.0, &[2.0, 9.0, 4.0]), true),
        (custom(&[1.5, 3.0], 5.0, &[0.0, 6.0, 4.0]), false),
        (custom(&[1.5, 3.0], 5.0, &[1.0, 4.0, 9.0]), true),
        (custom(&[7.0], 5.0, &[0.0, 10.0]), false),
        (custom(&[7.0], 5.0, &[0.0, 9.0]), true),
    ] {
        assert_eq!(now.detect_reset(&before), reset, "{now}");
    }
    assert!(custom(&[1.0], 5.0, &[9.0]).detect_reset(&positive(0, 0, &[1.0])));
    assert!(positive(0, 0, &[90.0]).detect_reset(&before), "any exponential schema is finer than a custom one");
}
