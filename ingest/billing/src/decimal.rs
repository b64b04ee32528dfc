//! Turns the text of an amount into a whole number at a fixed scale, and back. No float is ever between the two.
//!
//! Called by every provider's mapping for money and quantities, and by the report for its sums. What has more decimals than the scale is
//! rounded half-even; what is lost by it is returned, exactly, so that sums can be told as the file has them.
//!
//! Invariants: `value × 10^38 + lost`, at the scale and 38 more decimals, is the number in the text. Not here: which amount means what.

use arrow::datatypes::i256;
use memchr::memchr2;

/// Decimals of an amount of money or a price.
pub const MONEY_SCALE: u32 = 22;
/// Decimals of a quantity.
pub const QUANTITY_SCALE: u32 = 15;
/// Decimals beyond the scale that are told exactly. The remainder of a rounding has at most so many digits that it fits 128 bits.
pub const LOST_DIGITS: u32 = 38;
/// Decimals of sums of what the file says, before rounding.
pub const EXACT_SCALE: u32 = MONEY_SCALE + LOST_DIGITS;
/// First number that does not fit: a decimal of 128 bits has 38 digits.
pub(crate) const LIMIT: u128 = 10_u128.pow(38);
/// Powers of ten: to work one out is a loop of multiplications of 128 bits, for each amount of each row.
const POWERS: [i128; 39] = {
    let (mut powers, mut at) = ([1; 39], 1);
    while at < powers.len() {
        powers[at] = powers[at - 1] * 10;
        at += 1;
    }
    powers
};
/// Digits that fit an exponent: more are no amount.
const EXPONENT_DIGITS_MAX: usize = 4;

const NO_NUMBER: &str = "no decimal number: digits with an optional sign, point and exponent; commas are understood as in $1,234 and 1,234.50 alone";
const TOO_LARGE: &str = "too large: it has more than 38 digits";
const TOO_FINE: &str = "too fine: it has more than 38 decimals beyond those that are kept";

/// A number at a fixed scale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// The number, rounded half-even.
    pub value: i128,
    /// What the text has more than `value`, with [`LOST_DIGITS`] more decimals than the scale.
    pub lost: i128,
}

/// Reads a number.
///
/// # Errors
/// What is wrong with the text.
pub fn parse(text: &str, scale: u32) -> Result<Parsed, &'static str> {
    if let Some(value) = plain(text.as_bytes(), scale) {
        return Ok(Parsed { value, lost: 0 });
    }
    let bytes = text.as_bytes().trim_ascii();
    let (is_negative, bytes) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, bytes),
    };
    let shown = as_shown(bytes);
    let bytes = shown.as_deref().unwrap_or(bytes);
    let (digits, exponent) = match memchr2(b'e', b'E', bytes) {
        None => (bytes, 0),
        Some(at) => {
            let (digits, exponent) = bytes.split_at(at);
            (digits, self::exponent(exponent.get(1..).unwrap_or_default())?)
        }
    };
    let (digits, decimals) = mantissa(digits)?;
    let parsed = rescale(digits, i64::from(scale) + exponent - decimals)?;
    Ok(if is_negative { Parsed { value: -parsed.value, lost: -parsed.lost } } else { parsed })
}

/// What a quantity costs at a price for a block of so many, rounded half-even.
///
/// # Errors
/// That it is too large.
pub fn cost(price: i128, quantity: i128, block: u64) -> Result<i128, &'static str> {
    let product = i256::from_i128(price).checked_mul(i256::from_i128(quantity)).ok_or(TOO_LARGE)?;
    let unit = i256::from_i128(10_i128.pow(QUANTITY_SCALE) * i128::from(block.max(1)));
    rounded(product, unit)
}

/// `product / unit`, rounded half-even; nothing, if the unit is.
fn rounded(product: i256, unit: i256) -> Result<i128, &'static str> {
    if unit == i256::ZERO {
        return Ok(0);
    }
    let (kept, rest) = (product.wrapping_div(unit), product.wrapping_rem(unit));
    let kept = kept.to_i128().filter(|kept| kept.unsigned_abs() < LIMIT - 1).ok_or(TOO_LARGE)?;
    let twice = rest.wrapping_abs().wrapping_mul(i256::from_i128(2));
    let is_up = twice > unit || (twice == unit && kept % 2 != 0);
    let step = if product.is_negative() { -1 } else { 1 };
    Ok(if is_up { kept + step } else { kept })
}

/// `amount × part / whole`, rounded half-even; nothing of nothing.
///
/// # Errors
/// That it is too large.
pub fn share(amount: i128, part: i128, whole: i128) -> Result<i128, &'static str> {
    let product = i256::from_i128(amount).checked_mul(i256::from_i128(part)).ok_or(TOO_LARGE)?;
    let product = if whole < 0 { product.wrapping_neg() } else { product };
    rounded(product, i256::from_i128(whole).wrapping_abs())
}

/// A quantity in blocks of so many, rounded half-even.
#[must_use]
pub fn divide(quantity: i128, block: u64) -> i128 {
    let block = i128::from(block.max(1));
    let (kept, rest) = (quantity / block, quantity % block);
    let twice = rest.abs() * 2;
    let is_up = twice > block || (twice == block && kept % 2 != 0);
    if is_up { kept + quantity.signum() } else { kept }
}

/// Writes a number of a scale without zeros at its end.
#[must_use]
pub fn text(value: i256, scale: u32) -> String {
    let digits = value.to_string();
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits.as_str()), |digits| ("-", digits));
    let scale = usize::try_from(scale).unwrap_or_default();
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let (whole, decimals) = digits.split_at(digits.len() - scale);
    let decimals = decimals.trim_end_matches('0');
    let point = if decimals.is_empty() { "" } else { "." };
    format!("{sign}{whole}{point}{decimals}")
}

/// The number in a short text of digits, a point and a small negative exponent, which most amounts are; none if it is anything else, or is to
/// be rounded.
fn plain(bytes: &[u8], scale: u32) -> Option<i128> {
    // So many digits fit a word of 64 bits.
    const BYTES_MAX: usize = 19;
    if bytes.len() > BYTES_MAX {
        return None;
    }
    let (is_negative, bytes) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, bytes),
    };
    // Digits are told apart from the point by arithmetic that cannot overflow: 19 of them fit.
    let (mut word, mut digits, mut whole, mut exponent) = (0_u64, 0_u32, u32::MAX, 0_u32);
    for (i, byte) in bytes.iter().enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit <= 9 {
            word = word.wrapping_mul(10).wrapping_add(u64::from(digit));
            digits = digits.wrapping_add(1);
        } else if *byte == b'.' && whole == u32::MAX {
            whole = digits;
        } else if matches!(byte, b'E' | b'e') {
            exponent = negative_exponent(bytes.get(i + 1..)?)?;
            break;
        } else {
            return None;
        }
    }
    let decimals = digits.saturating_sub(whole).wrapping_add(exponent);
    let up = scale.checked_sub(decimals).filter(|_| digits > 0)?;
    let power = *POWERS.get(up as usize)?;
    let value = i128::from(word).wrapping_mul(power);
    // A word has less than 20 digits, so that a power of 18 cannot take it beyond 38.
    let fits = up <= 18 || u128::from(word) < LIMIT / power.unsigned_abs();
    fits.then_some(if is_negative { -value } else { value })
}

/// The exponent `-8`, of at most two digits.
fn negative_exponent(bytes: &[u8]) -> Option<u32> {
    let digits = bytes.strip_prefix(b"-")?;
    let is_short = matches!(digits.len(), 1 | 2) && digits.iter().all(u8::is_ascii_digit);
    is_short.then(|| digits.iter().fold(0, |value, digit| value * 10 + u32::from(digit - b'0')))
}

/// Digits and point of an amount as spreadsheets show it, `$10,000.00`; `None` if it is not so. A comma that could be a decimal one, as in
/// `1,234`, is not understood.
fn as_shown(bytes: &[u8]) -> Option<Vec<u8>> {
    let sign = ["$", "\u{20ac}", "\u{a3}"].iter().find_map(|sign| bytes.strip_prefix(sign.as_bytes()));
    let digits = sign.unwrap_or(bytes).trim_ascii_start();
    if sign.is_none() && memchr::memchr(b',', digits).is_none() {
        return None;
    }
    let point = memchr::memchr(b'.', digits);
    let (whole, fraction) = digits.split_at(point.unwrap_or(digits.len()));
    let groups: Vec<&[u8]> = whole.split(|byte| *byte == b',').collect();
    let is_grouped = groups.len() > 1;
    let are_even = (1..=3).contains(&groups[0].len()) && groups[1..].iter().all(|group| group.len() == 3);
    if is_grouped && (!are_even || (sign.is_none() && point.is_none())) {
        return None;
    }
    Some(groups.concat().into_iter().chain(fraction.iter().copied()).collect())
}

/// Value of the digits, and how many of them stand behind the point.
fn mantissa(bytes: &[u8]) -> Result<(u128, i64), &'static str> {
    // A word of 64 bits takes 19 digits, and most amounts have no more.
    const WORD_DIGITS: u32 = 19;
    if !bytes.iter().any(u8::is_ascii_digit) {
        return Err(NO_NUMBER);
    }
    let point = memchr::memchr(b'.', bytes);
    let bytes = if point.is_some() { trim_zeros(bytes) } else { bytes };
    let (mut value, mut word, mut digits) = (0_u128, 0_u64, 0_u32);
    for (i, byte) in bytes.iter().enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            if Some(i) == point {
                continue;
            }
            return Err(NO_NUMBER);
        }
        if digits == WORD_DIGITS {
            if value > 0 {
                return Err(TOO_LARGE);
            }
            (value, word, digits) = (u128::from(word), 0, 0);
        }
        word = word * 10 + u64::from(digit);
        digits += u32::from(word > 0 || value > 0);
    }
    let decimals = point.map_or(0, |at| bytes.len() - at - 1);
    let value = value * 10_u128.pow(digits) + u128::from(word);
    Ok((value, i64::try_from(decimals).map_err(|_| TOO_FINE)?))
}

fn trim_zeros(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().rev().take_while(|byte| **byte == b'0').count();
    bytes.get(..bytes.len() - zeros).unwrap_or_default()
}

fn exponent(bytes: &[u8]) -> Result<i64, &'static str> {
    let (is_negative, digits) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, bytes),
    };
    if digits.is_empty() || digits.len() > EXPONENT_DIGITS_MAX || !digits.iter().all(u8::is_ascii_digit) {
        return Err(NO_NUMBER);
    }
    let value = digits.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0'));
    Ok(if is_negative { -value } else { value })
}

/// `digits × 10^shift`, rounded to a whole number.
fn rescale(mut digits: u128, mut shift: i64) -> Result<Parsed, &'static str> {
    if digits == 0 {
        return Ok(Parsed::default());
    }
    if let Ok(up) = u32::try_from(shift) {
        let value = 10_u128.checked_pow(up).and_then(|power| digits.checked_mul(power)).ok_or(TOO_LARGE)?;
        return fits(value).map(|value| Parsed { value, lost: 0 });
    }
    while shift < -i64::from(LOST_DIGITS) && digits.is_multiple_of(10) {
        (digits, shift) = (digits / 10, shift + 1);
    }
    let down = u32::try_from(-shift).ok().filter(|down| *down <= LOST_DIGITS).ok_or(TOO_FINE)?;
    let power = 10_u128.pow(down);
    let (kept, rest) = (digits / power, digits % power);
    let half = power / 2;
    let is_up = rest > half || (rest == half && kept % 2 == 1);
    let unit = 10_i128.pow(LOST_DIGITS - down);
    let rest = signed(rest)?;
    let lost = if is_up { rest - signed(power)? } else { rest };
    Ok(Parsed { value: fits(kept + u128::from(is_up))?, lost: lost * unit })
}

fn fits(value: u128) -> Result<i128, &'static str> {
    if value < LIMIT { signed(value) } else { Err(TOO_LARGE) }
}

fn signed(value: u128) -> Result<i128, &'static str> {
    i128::try_from(value).map_err(|_| TOO_LARGE)
}

#[cfg(test)]
mod tests;
