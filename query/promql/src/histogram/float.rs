//! Arithmetic on `f64` as Go does it, so that answers agree with Prometheus to the last bit.
//!
//! Compensated sums, `log2` and `exp2`, scaling by powers of two, and the equality of PromQL's tests. The platform's
//! `log2` and `exp2` round a few inputs differently from Go's. The series and constants are those of FreeBSD's msun, which Go took
//! over too: Copyright (C) 1993, 2004 by Sun Microsystems, Inc. All rights reserved. Permission to use, copy, modify, and distribute
//! this software is freely granted, provided that this notice is preserved.

use std::f64::consts::{FRAC_1_SQRT_2, LOG2_E};

use crate::samples::is_stale;

const LN_2_HIGH: f64 = f64::from_bits(0x3fe6_2e42_fee0_0000);
const LN_2_LOW: f64 = f64::from_bits(0x3dea_39ef_3579_3c76);

/// One step of a Kahan sum in Neumaier's form: the new sum and the new compensation. A sum that is infinite has none.
#[must_use]
pub(crate) fn kahan_step(increment: f64, sum: f64, compensation: f64) -> (f64, f64) {
    let total = sum + increment;
    if total.is_infinite() {
        (total, 0.0)
    } else if sum.abs() >= increment.abs() {
        (total, compensation + ((sum - total) + increment))
    } else {
        (total, compensation + ((increment - total) + sum))
    }
}

/// Equality within a relative error, as PromQL's tests want it: any NaN equals any other, but the stale marker only itself.
#[must_use]
pub(crate) fn almost_equal(a: f64, b: f64, epsilon: f64) -> bool {
    if is_stale(a) || is_stale(b) {
        return is_stale(a) && is_stale(b);
    }
    if (a.is_nan() && b.is_nan()) || a == b {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < epsilon * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < epsilon
}

/// `fraction` × 2^`exponent`, rounded once. The fraction lies within 1/2 and 2.
pub(super) fn ldexp(fraction: f64, exponent: i64) -> f64 {
    // The first step of two is exact, as it stays far from both ends of the range. The limits are beyond any `f64`.
    match exponent {
        ..-1200 => fraction * 0.0,
        -1200..-1000 => fraction * power_of_two(-1000) * power_of_two(exponent + 1000),
        -1000..=1000 => fraction * power_of_two(exponent),
        1001..=1100 => fraction * power_of_two(1000) * power_of_two(exponent - 1000),
        _ => fraction * f64::INFINITY,
    }
}

fn power_of_two(exponent: i64) -> f64 {
    f64::from_bits((exponent + 1023).cast_unsigned() << 52)
}

/// A fraction of at least 1/2 and less than 1, and an exponent. Zero, infinities and NaN come back as they are.
fn frexp(value: f64) -> (f64, i64) {
    if value == 0.0 || !value.is_finite() {
        return (value, 0);
    }
    let (value, shift) = if value.is_subnormal() { (value * power_of_two(52), -52) } else { (value, 0) };
    let bits = value.to_bits();
    let exponent = (bits >> 52 & 0x7ff).cast_signed() - 0x3fe;
    (f64::from_bits(bits & !(0x7ff << 52) | 0x3fe << 52), exponent + shift)
}

/// The natural logarithm of a fraction of at least 1/2 and less than 1.
fn ln_of_fraction(fraction: f64) -> f64 {
    const L: [f64; 7] = [
        6.666_666_666_666_735e-1,
        3.999_999_999_940_942e-1,
        2.857_142_874_366_239e-1,
        2.222_219_843_214_978_4e-1,
        1.818_357_216_161_805e-1,
        1.531_383_769_920_937_3e-1,
        1.479_819_860_511_658_6e-1,
    ];
    let (f, k) = if fraction <= FRAC_1_SQRT_2 { (fraction * 2.0 - 1.0, -1.0) } else { (fraction - 1.0, 0.0) };
    let s = f / (2.0 + f);
    let s2 = s * s;
    let s4 = s2 * s2;
    let odd = s2 * (L[0] + s4 * (L[2] + s4 * (L[4] + s4 * L[6])));
    let even = s4 * (L[1] + s4 * (L[3] + s4 * L[5]));
    let half_square = 0.5 * f * f;
    k * LN_2_HIGH - ((half_square - (s * (half_square + (odd + even)) + k * LN_2_LOW)) - f)
}

/// The logarithm to base 2. A power of two has an exact one.
pub(super) fn log2(value: f64) -> f64 {
    let (fraction, exponent) = frexp(value);
    #[expect(clippy::cast_precision_loss, reason = "an exponent has at most four digits")]
    let exponent = exponent as f64;
    match fraction {
        0.5 => exponent - 1.0,
        0.0 => f64::NEG_INFINITY,
        _ if fraction < 0.0 => f64::NAN,
        _ if !fraction.is_finite() => fraction,
        _ => ln_of_fraction(fraction) * LOG2_E + exponent,
    }
}

/// 2 to the power of `value`.
pub(super) fn exp2(value: f64) -> f64 {
    const P: [f64; 5] = [
        1.666_666_666_666_666_6e-1,
        -2.777_777_777_701_559_3e-3,
        6.613_756_321_437_934e-5,
        -1.653_390_220_546_525_2e-6,
        4.138_136_797_057_238_5e-8,
    ];
    if value.is_nan() {
        return value;
    }
    if value > 1_023.999_999_999_999_9 {
        return f64::INFINITY;
    }
    if value < -1074.0 {
        return 0.0;
    }
    let whole = if value > 0.0 { (value + 0.5).trunc() } else { (value - 0.5).trunc() };
    let rest = value - whole;
    let (high, low) = (rest * LN_2_HIGH, -rest * LN_2_LOW);
    let r = high - low;
    let t = r * r;
    let c = r - t * (P[0] + t * (P[1] + t * (P[2] + t * (P[3] + t * P[4]))));
    let fraction = 1.0 - ((low - (r * c) / (2.0 - c)) - high);
    #[expect(clippy::cast_possible_truncation, reason = "within -1074..=1024, as tested above")]
    ldexp(fraction, whole as i64)
}
