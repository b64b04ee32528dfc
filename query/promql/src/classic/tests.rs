//! Tables of classic histograms, and what Prometheus 3.16 makes of them.

use super::*;

const INF: f64 = f64::INFINITY;
const NAN: f64 = f64::NAN;

fn quantile(q: f64, buckets: &[(f64, f64)]) -> Quantile {
    bucket_quantile(q, &mut buckets.to_vec())
}

#[test]
fn quantiles_are_interpolated_linearly() {
    let usual = [(1.0, 2.0), (2.0, 6.0), (4.0, 9.0), (INF, 10.0)];
    let below_zero = [(-2.0, 3.0), (1.0, 9.0), (INF, 9.0)];
    for (q, buckets, value) in [
        (0.5, usual.as_slice(), 1.75),
        (0.1, &usual, 0.5),
        (0.0, &usual, 0.0),
        (0.75, &usual, 3.0),
        (0.95, &usual, 4.0),
        (1.0, &usual, 4.0),
        (0.2, &below_zero, -2.0),
        (2.0 / 3.0, &below_zero, -0.5),
        (1.0, &below_zero, 1.0),
        (0.25, &[(INF, 12.0), (0.5, 3.0), (1.0, 5.0)], 0.5),
        (0.5, &[(1.0, 2.0), (1.0, 2.0), (INF, 4.0)], 0.5),
    ] {
        assert_eq!(quantile(q, buckets).value, value, "q={q} {buckets:?}");
    }
}

#[test]
fn quantiles_without_an_answer() {
    let usual = [(1.0, 2.0), (INF, 10.0)];
    for (q, buckets, value) in [
        (-0.1, usual.as_slice(), -INF),
        (1.1, &usual, INF),
        (NAN, &usual, NAN),
        (0.5, &[], NAN),
        (0.5, &[(1.0, 2.0), (2.0, 3.0)], NAN),
        (0.5, &[(INF, 3.0)], NAN),
        (0.5, &[(1.0, 0.0), (INF, 0.0)], NAN),
        (0.5, &[(NAN, 1.0), (1.0, 0.0), (INF, 1.0)], NAN),
    ] {
        let got = quantile(q, buckets).value;
        assert!(got == value || (got.is_nan() && value.is_nan()), "q={q} {buckets:?}: {got}");
    }
}

#[test]
fn counts_that_fall_are_lifted_and_reported() {
    let Quantile { value, mended } = quantile(0.5, &[(1.0, 4.0), (2.0, 1.0), (4.0, 8.0), (8.0, 6.5), (INF, 10.0)]);
    assert_eq!(value, 2.5);
    assert!(mended.forced_monotonic && !mended.has_small_delta);
    assert_eq!((mended.min_bucket, mended.max_bucket, mended.max_diff), (2.0, 8.0, 3.0));
}

#[test]
fn differences_of_rounding_are_taken_back_without_a_report() {
    let (up, down) = (4.0 * (1.0 + 1e-13), 4.0 * (1.0 - 1e-13));
    let mut buckets = vec![(1.0, 4.0), (2.0, up), (3.0, down), (INF, 8.0)];
    let Quantile { value, mended } = bucket_quantile(0.5, &mut buckets);
    assert_eq!(value, 1.0);
    assert!(mended.has_small_delta && !mended.forced_monotonic);
    assert_eq!((mended.min_bucket, mended.max_bucket, mended.max_diff), (INF, -INF, 0.0));
    assert_eq!(buckets, [(1.0, 4.0), (2.0, 4.0), (3.0, 4.0), (INF, 8.0)]);
}

#[test]
fn fractions_are_interpolated_linearly() {
    let usual = [(1.0, 2.0), (2.0, 6.0), (4.0, 8.0), (INF, 10.0)];
    let below_zero = [(-2.0, 3.0), (1.0, 9.0), (INF, 12.0)];
    for (lower, upper, buckets, value) in [
        (-INF, INF, usual.as_slice(), 1.0),
        (0.0, 1.0, &usual, 0.2),
        (0.5, 1.5, &usual, 0.3),
        (1.0, 3.0, &usual, 0.5),
        (3.0, 100.0, &usual, 0.1),
        (4.0, INF, &usual, 0.2),
        (-5.0, -1.0, &usual, 0.0),
        (2.0, 1.0, &usual, 0.0),
        (-INF, -2.0, &below_zero, 0.25),
        (-3.0, -0.5, &below_zero, 0.25),
        (-0.5, 1.0, &below_zero, 0.25),
    ] {
        let got = bucket_fraction(lower, upper, &mut buckets.to_vec());
        assert!((got - value).abs() < 1e-15, "{lower} {upper} {buckets:?}: {got} is not {value}");
    }
}

#[test]
fn fractions_without_an_answer() {
    let usual = [(1.0, 2.0), (INF, 10.0)];
    for (lower, upper, buckets) in [
        (0.0, 1.0, [].as_slice()),
        (0.0, 1.0, &[(1.0, 2.0)]),
        (0.0, 1.0, &[(1.0, 0.0), (INF, 0.0)]),
        (NAN, 1.0, &usual),
        (0.0, NAN, &usual),
    ] {
        assert!(bucket_fraction(lower, upper, &mut buckets.to_vec()).is_nan(), "{lower} {upper} {buckets:?}");
    }
}
