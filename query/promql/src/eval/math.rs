//! Functions of one number, and binary operators on numbers.

use crate::{
    ast::Operator,
    date::{Date, days_in_month},
    value::{ABSENT, is_present},
};

/// A function of each float of a vector, if it is one.
pub(super) fn function(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "abs" => f64::abs,
        "ceil" => f64::ceil,
        "floor" => f64::floor,
        "exp" => f64::exp,
        "sqrt" => f64::sqrt,
        "ln" => f64::ln,
        "log2" => f64::log2,
        "log10" => f64::log10,
        "sin" => f64::sin,
        "cos" => f64::cos,
        "tan" => f64::tan,
        "asin" => f64::asin,
        "acos" => f64::acos,
        "atan" => f64::atan,
        "sinh" => f64::sinh,
        "cosh" => f64::cosh,
        "tanh" => f64::tanh,
        "asinh" => f64::asinh,
        "acosh" => f64::acosh,
        "atanh" => f64::atanh,
        "rad" => |value| value * (std::f64::consts::PI / 180.0),
        "deg" => |value| value * (180.0 / std::f64::consts::PI),
        "sgn" => |value| {
            if value < 0.0 {
                -1.0
            } else if value > 0.0 {
                1.0
            } else {
                value
            }
        },
        _ => return None,
    })
}

/// A function of the calendar, of seconds since 1970, if it is one.
pub(super) fn of_calendar(name: &str) -> Option<fn(f64) -> f64> {
    #[expect(clippy::cast_possible_truncation, reason = "the cast saturates, and no date is beyond it")]
    fn date(seconds: f64) -> Date {
        // Go's conversion of what is too large gives the least of integers; dates beyond a few billion years are not meant.
        Date::of((seconds as i64).clamp(-(1 << 56), 1 << 56))
    }
    #[expect(clippy::cast_precision_loss, reason = "years within 2^53")]
    fn number(value: i64) -> f64 {
        value as f64
    }
    Some(match name {
        "minute" => |seconds| number(date(seconds).minute),
        "hour" => |seconds| number(date(seconds).hour),
        "day_of_week" => |seconds| number(date(seconds).weekday),
        "day_of_month" => |seconds| number(date(seconds).day),
        "day_of_year" => |seconds| number(date(seconds).day_of_year),
        "days_in_month" => |seconds| {
            let date = date(seconds);
            number(days_in_month(date.year, date.month))
        },
        "month" => |seconds| number(date(seconds).month),
        "year" => |seconds| number(date(seconds).year),
        _ => return None,
    })
}

/// The result of an operator on numbers; of a comparison, 1 or 0.
pub(super) fn operate(op: Operator, left: f64, right: f64) -> f64 {
    match op {
        Operator::Add => left + right,
        Operator::Sub => left - right,
        Operator::Mul => left * right,
        Operator::Div => left / right,
        Operator::Mod => left % right,
        Operator::Pow => left.powf(right),
        Operator::Atan2 => left.atan2(right),
        _ if compare(op, left, right) => 1.0,
        _ => 0.0,
    }
}

/// An operator along two rows of floats, into a third; where one is absent, nothing is put.
pub(super) fn along(op: Operator, returns_bool: bool, left: &[f64], right: &[f64], out: &mut [f64]) {
    /// A loop for each operator, so that it is not chosen anew for each cell.
    fn each(left: &[f64], right: &[f64], out: &mut [f64], of: impl Fn(f64, f64) -> f64) {
        for ((left, right), out) in left.iter().zip(right).zip(out) {
            if is_present(*left) && is_present(*right) {
                *out = of(*left, *right);
            }
        }
    }
    match op {
        Operator::Add => each(left, right, out, |left, right| left + right),
        Operator::Sub => each(left, right, out, |left, right| left - right),
        Operator::Mul => each(left, right, out, |left, right| left * right),
        Operator::Div => each(left, right, out, |left, right| left / right),
        _ if !op.is_comparison() => each(left, right, out, |left, right| operate(op, left, right)),
        _ if returns_bool => each(left, right, out, |left, right| operate(op, left, right)),
        _ => each(left, right, out, |left, right| if compare(op, left, right) { left } else { ABSENT }),
    }
}

/// Is a comparison true?
pub(super) fn compare(op: Operator, left: f64, right: f64) -> bool {
    match op {
        Operator::Equal => left == right,
        Operator::NotEqual => left != right,
        Operator::Greater => left > right,
        Operator::Less => left < right,
        Operator::GreaterEqual => left >= right,
        Operator::LessEqual => left <= right,
        _ => false,
    }
}

/// The greater of two, NaN if one is; Go's `math.Max`.
pub(super) fn greater(left: f64, right: f64) -> f64 {
    if left.is_infinite() && left > 0.0 || right.is_infinite() && right > 0.0 {
        return f64::INFINITY;
    }
    if left.is_nan() || right.is_nan() { f64::NAN } else { left.max(right) }
}

/// The lesser of two, NaN if one is; Go's `math.Min`.
pub(super) fn lesser(left: f64, right: f64) -> f64 {
    -greater(-left, -right)
}
