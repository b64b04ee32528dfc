//! Quantiles, fractions, means and what trimming leaves. The figures are what Prometheus computes.

use super::super::quantile::Estimate;
use super::NanObservations::{ExcludedFromFraction, NanQuantile, SkewedQuantile};
use super::*;

const INF: f64 = f64::INFINITY;
const NAN: f64 = f64::NAN;

fn named(name: &str) -> Histogram {
    let counts = [3.0, 0.0, 5.0, 2.0];
    match name {
        "positive" => exponential(0, (0.001, 2.0), 18.4, (1, &counts), (0, &[])),
        "negative" => exponential(0, (0.001, 2.0), -18.4, (0, &[]), (1, &counts)),
        "both" => exponential(2, (0.5, 4.0), 7.25, (0, &[1.0, 2.0, 3.0]), (0, &[3.0, 1.0, 2.0, 6.0])),
        "custom" => custom(&[1.0, 2.0, 5.0, 10.0], 40.0, &[4.0, 3.0, 2.0, 1.0, 2.0]),
        "below" => custom(&[-4.0, -1.0, 3.0], -10.0, &[4.0, 3.0, 2.0, 1.0]),
        "nan" => Histogram { count: 15.0, sum: NAN, ..positive(1, 1, &[3.0, 5.0, 2.0]) },
        _ => panic!("no histogram of this name: {name}"),
    }
}

fn assert_same(value: f64, expected: f64, what: &str) {
    let same = value.to_bits() == expected.to_bits() || (value.is_nan() && expected.is_nan());
    assert!(same, "{what}: {value} is not {expected}");
}

#[test]
fn quantiles_are_interpolated_to_the_last_bit() {
    for (name, q, value, nan_observations) in [
        ("positive", 0.0, 0.0, None),
        ("positive", 0.1, 0.0006000000000000001, None),
        ("positive", 0.3, 1.447269237440378, None),
        ("positive", 0.5, 4.59479341998814, None),
        ("positive", 0.8, 7.568461173804767, None),
        ("positive", 1.0, 16.0, None),
        ("negative", 0.0, -16.0, None),
        ("negative", 0.1, -10.556063286183154, None),
        ("negative", 0.3, -6.408559020716977, None),
        ("negative", 0.5, -4.59479341998814, None),
        ("negative", 0.8, -1.096824979694626, None),
        ("negative", 1.0, 0.0, None),
        ("both", 0.0, -1.6817928305074288, None),
        ("both", 0.1, -1.578258294677283, None),
        ("both", 0.3, -1.3425725027802633, None),
        ("both", 0.5, -0.8908987181403392, None),
        ("both", 0.8, 1.053361035954836, None),
        ("both", 1.0, f64::from_bits(0x3ff6_a09e_667f_3bcc), None),
        ("custom", 0.0, 0.0, None),
        ("custom", 0.1, 0.30000000000000004, None),
        ("custom", 0.3, 0.8999999999999999, None),
        ("custom", 0.5, 1.6666666666666665, None),
        ("custom", 0.8, 8.000000000000004, None),
        ("custom", 1.0, 10.0, None),
        ("below", 0.0, -4.0, None),
        ("below", 0.1, -4.0, None),
        ("below", 0.3, -4.0, None),
        ("below", 0.5, -3.0, None),
        ("below", 0.8, 1.0000000000000009, None),
        ("below", 1.0, 3.0, None),
        ("nan", 0.0, 1.0, Some(SkewedQuantile)),
        ("nan", 0.1, 1.189207115002721, Some(SkewedQuantile)),
        ("nan", 0.3, 1.5691681957935013, Some(SkewedQuantile)),
        ("nan", 0.5, 1.931872657849691, Some(SkewedQuantile)),
        ("nan", 0.8, NAN, Some(NanQuantile)),
        ("nan", 1.0, NAN, Some(NanQuantile)),
    ] {
        let estimate = named(name).quantile(q);
        assert_same(estimate.value, value, &format!("{name} q={q}"));
        assert_eq!(estimate.nan_observations, nan_observations, "{name} q={q}");
    }
}

#[test]
fn quantiles_without_an_answer() {
    let histogram = named("both");
    for (q, value) in [(-0.1, -INF), (1.1, INF), (NAN, NAN)] {
        assert_same(histogram.quantile(q).value, value, &format!("q={q}"));
    }
    assert_same(Histogram::default().quantile(0.5).value, NAN, "no observations");
    let without_buckets = Histogram { count: 3.0, ..Histogram::default() };
    assert_same(without_buckets.quantile(0.5).value, 0.0, "no buckets");
}

#[test]
fn infinities_that_make_the_sum_nan_skew_nothing() {
    let histogram = Histogram { sum: NAN, ..named("positive") };
    assert_eq!(histogram.quantile(0.9).nan_observations, None);
    assert_eq!(histogram.fraction(0.0, 4.0), Estimate::from(5.0 / 12.0));
}

#[test]
fn fractions_are_interpolated_to_the_last_bit() {
    for (name, lower, upper, value, nan_observations) in [
        ("positive", -1.0, 1.0, 0.16666666666666666, None),
        ("positive", 1.0, 3.0, 0.25, None),
        ("positive", -3.0, 0.25, 0.16666666666666666, None),
        ("positive", -INF, 2.5, 0.4166666666666667, None),
        ("positive", 0.0, INF, 1.0, None),
        ("negative", -1.0, 1.0, 0.16666666666666666, None),
        ("negative", 1.0, 3.0, 0.0, None),
        ("negative", -3.0, 0.25, 0.4166666666666667, None),
        ("negative", -INF, 2.5, 1.0, None),
        ("negative", 0.0, INF, 0.0, None),
        ("both", -1.0, 1.0, 0.36363636363636365, None),
        ("both", 1.0, 3.0, 0.22727272727272727, None),
        ("both", -3.0, 0.25, 0.6818181818181818, None),
        ("both", -INF, 2.5, 1.0, None),
        ("both", 0.0, INF, 0.36363636363636365, None),
        ("custom", -1.0, 1.0, 0.3333333333333333, None),
        ("custom", 1.0, 3.0, 0.3055555555555556, None),
        ("custom", -3.0, 0.25, 0.08333333333333333, None),
        ("custom", -INF, 2.5, 0.611111111111111, None),
        ("custom", 0.0, INF, 1.0, None),
        ("below", -1.0, 1.0, 0.1, None),
        ("below", 1.0, 3.0, 0.1, None),
        ("below", -3.0, 0.25, 0.2625, None),
        ("below", -INF, 2.5, 0.875, None),
        ("below", 0.0, INF, 0.25, None),
        ("nan", -1.0, 1.0, 0.0, Some(ExcludedFromFraction)),
        ("nan", 1.0, 3.0, 0.6666666666666666, Some(ExcludedFromFraction)),
        ("nan", -3.0, 0.25, 0.0, Some(ExcludedFromFraction)),
        ("nan", -INF, 2.5, 0.6191808253032965, Some(ExcludedFromFraction)),
        ("nan", 0.0, INF, 0.6666666666666666, Some(ExcludedFromFraction)),
    ] {
        let estimate = named(name).fraction(lower, upper);
        assert_same(estimate.value, value, &format!("{name} {lower} {upper}"));
        assert_eq!(estimate.nan_observations, nan_observations, "{name} {lower} {upper}");
    }
}

#[test]
fn fractions_without_an_answer() {
    let histogram = named("both");
    for (lower, upper, value) in [(NAN, 1.0, NAN), (1.0, NAN, NAN), (1.0, 1.0, 0.0), (2.0, 1.0, 0.0)] {
        assert_same(histogram.fraction(lower, upper).value, value, &format!("{lower} {upper}"));
    }
    assert_same(Histogram::default().fraction(0.0, 1.0).value, NAN, "no observations");
}

#[test]
fn mean_and_spread_are_estimated() {
    for (name, avg, stdvar, stddev) in [
        ("positive", 1.533_333_333_333_333_2, 23.422_782_606_125_935, 4.839_708_938_162_08),
        ("negative", -1.533_333_333_333_333_2, 23.422_782_606_125_935, 4.839_708_938_162_08),
        ("both", 0.329_545_454_545_454_53, 1.715_177_411_666_079_6, 1.309_647_819_708_061_7),
        ("custom", 3.333_333_333_333_333_5, INF, INF),
        ("nan", NAN, NAN, NAN),
    ] {
        let histogram = named(name);
        assert_same(histogram.avg(), avg, name);
        assert_same(histogram.stdvar(), stdvar, name);
        assert_same(histogram.stddev(), stddev, name);
    }
}

#[test]
fn trimming_keeps_a_part_of_the_bucket_it_cuts() {
    for (name, limit, below, above) in [
        (
            "positive",
            0.0005,
            "{count:1, sum:0.00025, [-0.001,0.001]:1}",
            "{count:11, sum:55.15507893255071, [-0.001,0.001]:1, (1,2]:3, (4,8]:5, (8,16]:2}",
        ),
        (
            "positive",
            1.5,
            "{count:3.754887502163469, sum:2.1502894681439044, [-0.001,0.001]:2, (1,2]:1.754887502163469}",
            "{count:8.24511249783653, sum:53.06828635282329, (1,2]:1.245112497836531, (4,8]:5, (8,16]:2}",
        ),
        (
            "negative",
            -1.5,
            "{count:8.24511249783653, sum:-53.06828635282329, [-16,-8):2, [-8,-4):5, [-2,-1):1.245112497836531}",
            "{count:3.754887502163469, sum:-2.1502894681439044, [-2,-1):1.754887502163469, [-0.001,0.001]:2}",
        ),
        (
            "negative",
            0.25,
            "{count:12, sum:-18.4, [-16,-8):2, [-8,-4):5, [-2,-1):3, [-0.001,0.001]:2}",
            "{count:0, sum:0}",
        ),
        (
            "both",
            0.25,
            "{count:15, sum:-16.063463924028934, [-1.6817928305074288,-1.414213562373095):6, [-1.414213562373095,-1.189207115002721):2, [-1.189207115002721,-1):1, [-1,-0.8408964152537144):3, [-0.5,0.5]:3}",
            "{count:7, sum:7.363538172488215, [-0.5,0.5]:1, (0.8408964152537144,1]:1, (1,1.189207115002721]:2, (1.189207115002721,1.414213562373095]:3}",
        ),
        (
            "custom",
            0.25,
            "{count:1, sum:0.125, [-Inf,1]:1}",
            "{count:11, sum:40.875, [-Inf,1]:3, (1,2]:3, (2,5]:2, (5,10]:1, (10,+Inf]:2}",
        ),
        (
            "custom",
            1.5,
            "{count:5.5, sum:3.875, [-Inf,1]:4, (1,2]:1.5}",
            "{count:6.5, sum:37.125, (1,2]:1.5, (2,5]:2, (5,10]:1, (10,+Inf]:2}",
        ),
        (
            "custom",
            6.0,
            "{count:9.2, sum:14.6, [-Inf,1]:4, (1,2]:3, (2,5]:2, (5,10]:0.2}",
            "{count:2.8, sum:26.4, (5,10]:0.8, (10,+Inf]:2}",
        ),
        (
            "below",
            -1.5,
            "{count:6.5, sum:-22.875, [-Inf,-4]:4, (-4,-1]:2.5}",
            "{count:3.5, sum:4.375, (-4,-1]:0.5, (-1,3]:2, (3,+Inf]:1}",
        ),
        ("below", 6.0, "{count:9, sum:-21.5, [-Inf,-4]:4, (-4,-1]:3, (-1,3]:2}", "{count:1, sum:6, (3,+Inf]:1}"),
        (
            "nan",
            1.5,
            "{count:3.849625007211564, sum:4.805079195122132, (1,1.414213562373095]:3, (1.414213562373095,2]:0.849625007211564}",
            "{count:6.150374992788436, sum:11.945488817983767, (1.414213562373095,2]:4.150374992788436, (2,2.82842712474619]:2}",
        ),
    ] {
        let (mut kept_below, mut kept_above) = (named(name), named(name));
        kept_below.keep_below(limit);
        kept_above.keep_above(limit);
        assert_eq!(kept_below.to_string(), below, "{name} limit={limit}");
        assert_eq!(kept_above.to_string(), above, "{name} limit={limit}");
    }
}

#[test]
fn trimming_nothing_changes_nothing() {
    for name in ["positive", "negative", "both"] {
        let (mut below, mut above) = (named(name), named(name));
        below.keep_below(1000.0);
        above.keep_above(-1000.0);
        assert_eq!((below, above), (named(name), named(name)), "{name}");
    }
}

#[test]
fn trimming_within_a_bucket_without_end_drops_it() {
    let (mut below, mut above) = (named("below"), named("below"));
    below.keep_below(1000.0);
    above.keep_above(-1000.0);
    assert_eq!(below.to_string(), "{count:9, sum:-21.5, [-Inf,-4]:4, (-4,-1]:3, (-1,3]:2}");
    assert_eq!(above.to_string(), "{count:6, sum:-2.5, (-4,-1]:3, (-1,3]:2, (3,+Inf]:1}");
}
