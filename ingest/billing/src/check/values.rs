//! Looks at one value: is it what its column holds, written as FOCUS has it?
//!
//! Called for each value of each row, so nothing here allocates.
//!
//! Not here: JSON (`objects`), and what values of one row say of each other (`rows`).

use arrow::datatypes::i256;
use chrono::{Datelike, NaiveDate};

use super::lists::{self, UNITS};
use crate::{
    decimal::{self, MONEY_SCALE, QUANTITY_SCALE},
    time,
};

/// Texts that stand for nothing, in lower case. `NA` and `unknown` are none: they are names too.
const PLACEHOLDERS: [&str; 13] = [
    "null",
    "(null)",
    "<null>",
    "n/a",
    "#n/a",
    "none",
    "nil",
    "nan",
    "undefined",
    "not applicable",
    "not available",
    "\\n",
    "-",
];
/// Bytes of the longest of them, with a few blanks behind.
const PLACEHOLDER_BYTES_MAX: usize = 20;

/// How far a cost may be from price times quantity: unit prices and costs are rounded on their own. As Microsoft's toolkit has it.
const TOLERANCE: i128 = 10_i128.pow(PRODUCT_SCALE - 8);
/// And this part of the cost, for prices that are given to a few digits.
const TOLERANCE_PART: i128 = 1_000_000;
/// Decimals of a price times a quantity.
const PRODUCT_SCALE: u32 = MONEY_SCALE + QUANTITY_SCALE;

/// Does the text stand for nothing? Nearly all texts are told apart by their first byte and length, where they are looked at.
#[inline]
pub(super) fn is_placeholder(text: &str) -> bool {
    let Some(first) = text.as_bytes().first() else { return false };
    let is_blank = matches!(first, b' ' | b'\t');
    let may_be = matches!(first, b'n' | b'N' | b'(' | b'<' | b'#' | b'u' | b'U' | b'\\' | b'-');
    (is_blank || (may_be && text.len() <= PLACEHOLDER_BYTES_MAX)) && stands_for_nothing(text)
}

fn stands_for_nothing(text: &str) -> bool {
    let text = text.trim();
    text.is_empty() || PLACEHOLDERS.iter().any(|known| known.eq_ignore_ascii_case(text))
}

/// Is it a number as FOCUS writes it: digits, with a point, a minus sign and an exponent behind `E` where needed, and no plus sign?
pub(super) fn is_number(text: &str) -> bool {
    let bytes = text.as_bytes();
    let bytes = bytes.strip_prefix(b"-").unwrap_or(bytes);
    let (mut digits, mut points) = (0, 0);
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'0'..=b'9' => digits += 1,
            b'.' if points == 0 => points = 1,
            b'e' | b'E' if digits > 0 => {
                let exponent = bytes.get(at + 1..).unwrap_or_default();
                let exponent = exponent.strip_prefix(b"-").unwrap_or(exponent);
                return !exponent.is_empty() && exponent.iter().all(u8::is_ascii_digit);
            }
            _ => return false,
        }
    }
    digits > 0
}

/// Is a number 0?
pub(super) fn is_zero(number: &str) -> bool {
    let mantissa = number.bytes().take_while(|byte| !matches!(byte, b'e' | b'E'));
    !mantissa.into_iter().any(|byte| matches!(byte, b'1'..=b'9'))
}

/// Is a number below 0?
pub(super) fn is_negative(number: &str) -> bool {
    number.starts_with('-') && !is_zero(number)
}

/// Does a cost equal price times quantity, as near as rounding lets it? None if one of them is no number that can be compared.
pub(super) fn is_product(cost: &str, price: &str, quantity: &str) -> Option<bool> {
    let read = |text, scale| decimal::parse(text, scale).ok().map(|parsed| parsed.value);
    let (cost, price, quantity) =
        (read(cost, MONEY_SCALE)?, read(price, MONEY_SCALE)?, read(quantity, QUANTITY_SCALE)?);
    let unit = 10_i128.pow(QUANTITY_SCALE);
    // Most fit 128 bits.
    if let (Some(product), Some(cost)) = (price.checked_mul(quantity), cost.checked_mul(unit))
        && let Some(off) = product.checked_sub(cost)
    {
        return Some(
            off.unsigned_abs() <= TOLERANCE.unsigned_abs().max(cost.unsigned_abs() / TOLERANCE_PART.unsigned_abs()),
        );
    }
    let wide = i256::from_i128;
    let product = wide(price).checked_mul(wide(quantity))?;
    let cost = wide(cost).checked_mul(wide(unit))?;
    let off = product.checked_sub(cost)?.wrapping_abs();
    Some(off <= wide(TOLERANCE).max(cost.wrapping_abs().wrapping_div(wide(TOLERANCE_PART))))
}

/// Are two amounts of money the same, as near as rounding lets them? None if one of them is no number that can be compared.
pub(super) fn is_same_money(one: &str, other: &str) -> Option<bool> {
    is_product(one, other, "1")
}

/// The moment that a text tells, microseconds since the epoch, and whether it is written `2024-09-01T00:00:00Z`.
pub(super) fn moment(text: &str) -> (Option<i64>, bool) {
    match exact_moment(text.as_bytes()) {
        Some(us) => (Some(us), true),
        None => (time::micros(text), false),
    }
}

/// The moment in a text that is written as FOCUS has it: most are another one than that of the row before.
fn exact_moment(text: &[u8]) -> Option<i64> {
    /// Days from the first of January of the year 1, which is day 1, to 1970.
    const EPOCH_DAY: i32 = 719_163;
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', n1, n2, b':', s1, s2, b'Z'] = text else {
        return None;
    };
    let number = |digits: &[u8]| {
        let digit = |sum: u32, byte: &u8| byte.is_ascii_digit().then(|| sum * 10 + u32::from(byte - b'0'));
        digits.iter().try_fold(0, digit)
    };
    let year = i32::try_from(number(&[*y1, *y2, *y3, *y4])?).ok()?;
    let day = NaiveDate::from_ymd_opt(year, number(&[*m1, *m2])?, number(&[*d1, *d2])?)?;
    let (hour, minute, second) = (number(&[*h1, *h2])?, number(&[*n1, *n2])?, number(&[*s1, *s2])?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = i64::from(hour * 3600 + minute * 60 + second);
    Some((i64::from(day.num_days_from_ce() - EPOCH_DAY) * 86_400 + seconds) * 1_000_000)
}

/// Is it midnight at the begin of a month?
pub(super) fn is_month_start(us: i64) -> bool {
    time::month_start(us) == Some(us)
}

/// Is it a currency: of ISO 4217, or, where one may be virtual, whatever does not look like a misspelt one?
pub(super) fn is_currency(text: &str, may_be_virtual: bool) -> bool {
    let is_code = lists::is_currency(text);
    is_code || (may_be_virtual && !lists::is_currency(&text.trim().to_ascii_uppercase()))
}

/// Is it a unit as FOCUS recommends: a whole number in front if any, and units that it lists in its own case?
pub(super) fn is_unit(text: &str) -> bool {
    let (quantity, unit) = match text.split_once(' ') {
        Some((quantity, unit)) if quantity.starts_with(|c: char| c.is_ascii_digit()) => (quantity, unit),
        _ => ("", text),
    };
    let starts_with_digit = unit.starts_with(|c: char| c.is_ascii_digit());
    let is_whole = quantity.bytes().all(|byte| byte.is_ascii_digit()) && !starts_with_digit && !unit.is_empty();
    is_whole && unit.split(['-', ' ', '/']).all(is_unit_word)
}

fn is_unit_word(word: &str) -> bool {
    let is = |listed: &str| listed.eq_ignore_ascii_case(word);
    let singular = word.strip_suffix(['s', 'S']).filter(|word| word.len() > 2);
    let is_listed = |word: &str| UNITS.contains(&word);
    let is_near = |word: &str| UNITS.iter().any(|unit| unit.eq_ignore_ascii_case(word));
    // Single letters may be anything; a listed unit in another case is a slip.
    word.len() < 2
        || is_listed(word)
        || singular.is_some_and(is_listed) && word.ends_with('s')
        || !(UNITS.iter().any(|unit| is(unit)) || singular.is_some_and(is_near))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_focus_has_them() {
        for good in ["0", "-0.5", "12.50", "1.81E-8", "1e5", "-3E10", ".5", "5."] {
            assert!(is_number(good), "{good}");
        }
        for bad in
            ["", "-", ".", "+1", "1,000", "$1", "1 ", " 1", "1E+5", "1E", "E5", "1.2.3", "1/2", "0x1", "1-2", "--1"]
        {
            assert!(!is_number(bad), "{bad}");
        }
        assert!(is_zero("-0.00E5") && !is_zero("0.001") && !is_negative("-0.0") && is_negative("-1E-9"));
    }

    #[test]
    fn what_stands_for_nothing_is_told_from_names() {
        for nothing in
            ["NULL", "null", "(null)", "N/A", "n/a ", "None", "nan", "  ", "\t", "Not Applicable", " NULL", "\\N", "-"]
        {
            assert!(is_placeholder(nothing), "{nothing:?}");
        }
        for name in ["NA", "Unknown", "Nonesuch", "nullable", "-1", "(none) of it", "us-east-1", "#1", "0", ""] {
            assert!(!is_placeholder(name), "{name:?}");
        }
    }

    #[test]
    fn a_cost_is_price_times_quantity_but_for_rounding() {
        for (cost, price, quantity, wanted) in [
            ("0.699233", "0.233", "3.001", true),
            ("-400", "2", "-200", true),
            ("0.00001605990", "0.008", "0.00200749000", true),
            ("0.00000001", "0", "1", true),
            ("0.00000002", "0", "1", false),
            ("1000000.5", "1", "1000000", true),
            ("1000002", "1", "1000000", false),
            ("10", "3.33", "3", false),
            // Wider than 128 bits.
            ("99999999999999", "99999.9999999999", "1000000000", true),
            ("89999999999999", "99999.9999999999", "1000000000", false),
            ("-150", "120", "1", false),
            ("1.5E3", "$1,500.00", "1E0", true),
        ] {
            assert_eq!(is_product(cost, price, quantity), Some(wanted), "{cost} = {price} x {quantity}");
        }
        assert_eq!((is_product("x", "1", "1"), is_same_money("1", "1.000000001")), (None, Some(true)));
    }

    #[test]
    fn moments_are_in_utc_and_to_the_second() {
        assert_eq!(moment("2024-02-29T23:59:59Z"), (Some(1_709_251_199_000_000), true));
        for bad in [
            "2024-09-01 00:00:00",
            "2024-09-01",
            "2024-09-01T00:00Z",
            "2024-09-01T00:00:00.000Z",
            "2024-09-01T00:00:00+00:00",
        ] {
            assert_eq!((moment(bad).0.is_some(), moment(bad).1), (true, false), "{bad}");
        }
        for bad in ["2023-02-29T00:00:00Z", "2024-09-01T24:00:00Z", "soon"] {
            assert_eq!(moment(bad), (None, false), "{bad}");
        }
        assert!(is_month_start(1_725_148_800_000_000) && !is_month_start(1_725_148_800_000_001));
    }

    #[test]
    fn currencies_may_be_virtual_where_that_is_allowed() {
        assert!(is_currency("EUR", false) && !is_currency("Token", false) && !is_currency("usd", false));
        assert!(is_currency("Token", true) && !is_currency("usd", true) && !is_currency("USD ", true));
    }

    #[test]
    fn units_are_as_focus_lists_them() {
        for good in [
            "Hours",
            "GB",
            "GB-Hours",
            "1000 Requests",
            "Hour",
            "LCU-Hours",
            "Normalized Hour",
            "GiB",
            "Gb",
            "GB-Month",
            "10 GB/Hour",
        ] {
            assert!(is_unit(good), "{good}");
        }
        for bad in ["hours", "gb", "HOURS", "GB-hours", "0.5 Hours", "100", "1K Requests", "1,000 Tokens"] {
            assert!(!is_unit(bad), "{bad}");
        }
    }
}
