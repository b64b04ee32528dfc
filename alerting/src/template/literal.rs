//! Numbers, characters and quoted texts as Go writes them.

use super::ast::Number;

/// The text of a quoted or a raw string.
pub(super) fn text(written: &str) -> Option<String> {
    let inside = |quote: char| written.strip_prefix(quote)?.strip_suffix(quote);
    if let Some(raw) = inside('`') {
        return Some(raw.replace('\r', ""));
    }
    let mut rest = inside('"')?;
    // An escape may write half a character; what is no UTF-8 in the end becomes the sign for it.
    let mut out = Vec::with_capacity(rest.len());
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c == '\\' {
            let escaped = escape(&mut rest, '"')?;
            escaped.write(&mut out);
        } else {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    Some(String::from_utf8_lossy(&out).into_owned())
}

enum Escaped {
    Char(char),
    Byte(u8),
}

impl Escaped {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Char(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            Self::Byte(byte) => out.push(*byte),
        }
    }
}

/// What a backslash before `rest` means.
fn escape(rest: &mut &str, quote: char) -> Option<Escaped> {
    let c = rest.chars().next()?;
    *rest = &rest[c.len_utf8()..];
    let mut digits = |length: usize, radix: u32| -> Option<u32> {
        let taken = rest.get(..length)?;
        let number = taken.bytes().all(|b| char::from(b).is_digit(radix));
        *rest = &rest[length..];
        number.then(|| u32::from_str_radix(taken, radix).ok()).flatten()
    };
    Some(Escaped::Char(match c {
        'a' => '\x07',
        'b' => '\x08',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        '\\' => '\\',
        _ if c == quote => c,
        'x' => return Some(Escaped::Byte(u8::try_from(digits(2, 16)?).ok()?)),
        'u' => char::from_u32(digits(4, 16)?)?,
        'U' => char::from_u32(digits(8, 16)?)?,
        '0'..='7' => {
            let first = c.to_digit(8)?;
            return Some(Escaped::Byte(u8::try_from(first * 64 + digits(2, 8)?).ok()?));
        }
        _ => return None,
    }))
}

/// A number or a character.
pub(super) fn number(written: &str) -> Result<Number, String> {
    let bad = || format!("illegal number syntax: {written:?}");
    if let Some(inside) = written.strip_prefix('\'') {
        let c = character(inside).ok_or_else(|| format!("malformed character constant: {written}"))?;
        return Ok(Number {
            written: written.into(),
            int: Some(c),
            #[expect(clippy::cast_precision_loss, reason = "a character has 21 bits")]
            float: Some(c as f64),
            is_float: false,
        });
    }
    if written.ends_with('i') {
        return Err(format!("complex numbers are not known here: {written:?}"));
    }
    let int = integer(written);
    let float = match int {
        #[expect(clippy::cast_precision_loss, reason = "so does Go")]
        Some(int) => Some(int as f64),
        None => float(written),
    };
    if int.is_none() && float.is_none() {
        return Err(bad());
    }
    let is_hex = written.trim_start_matches(['+', '-']).get(..2).is_some_and(|two| two.eq_ignore_ascii_case("0x"));
    if int.is_none() && !written.contains(['.', 'e', 'E', 'p', 'P']) {
        return Err(format!("integer overflow: {written:?}"));
    }
    let is_float = int.is_none() || (!is_hex && written.contains(['.', 'e', 'E', 'p', 'P']));
    // A float that is whole may be taken for an integer.
    #[expect(clippy::cast_possible_truncation, reason = "the range is asked for")]
    let whole = |float: f64| (float.fract() == 0.0 && float.abs() < 9.2e18).then_some(float as i64);
    Ok(Number { written: written.into(), int: int.or_else(|| float.and_then(whole)), float, is_float })
}

fn character(inside: &str) -> Option<i64> {
    let mut rest = inside.strip_suffix('\'')?;
    let c = rest.chars().next()?;
    rest = &rest[c.len_utf8()..];
    let value = match c {
        '\\' => match escape(&mut rest, '\'')? {
            Escaped::Char(c) => i64::from(u32::from(c)),
            Escaped::Byte(byte) => i64::from(byte),
        },
        '\'' => return None,
        _ => i64::from(u32::from(c)),
    };
    rest.is_empty().then_some(value)
}

/// Digits without their underscores, which may only stand between digits or after the prefix.
fn digits(written: &str, prefixed: bool) -> Option<String> {
    if !written.contains('_') {
        return Some(written.to_owned());
    }
    let wrong = written.ends_with('_') || written.contains("__") || (written.starts_with('_') && !prefixed);
    (!wrong).then(|| written.replace('_', ""))
}

fn integer(written: &str) -> Option<i64> {
    let unsigned = written.strip_prefix(['+', '-']).unwrap_or(written);
    let lower = unsigned.to_ascii_lowercase();
    let (radix, body, prefixed) = if let Some(body) = lower.strip_prefix("0x") {
        (16, body, true)
    } else if let Some(body) = lower.strip_prefix("0b") {
        (2, body, true)
    } else if let Some(body) = lower.strip_prefix("0o") {
        (8, body, true)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, &lower[1..], true)
    } else {
        (10, &*lower, false)
    };
    let digits = digits(body, prefixed)?;
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let magnitude = i128::from(u64::from_str_radix(&digits, radix).ok()?);
    i64::try_from(if written.starts_with('-') { -magnitude } else { magnitude }).ok()
}

fn float(written: &str) -> Option<f64> {
    let unsigned = written.strip_prefix(['+', '-']).unwrap_or(written);
    let lower = unsigned.to_ascii_lowercase();
    let magnitude = match lower.strip_prefix("0x") {
        Some(hex) => hex_float(hex)?,
        None => {
            let digits = digits(&lower, false)?;
            if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
                return None;
            }
            digits.parse().ok().filter(|number: &f64| number.is_finite())?
        }
    };
    Some(if written.starts_with('-') { -magnitude } else { magnitude })
}

/// `1.8p3`: hexadecimal digits, times two to the power.
fn hex_float(written: &str) -> Option<f64> {
    let (mantissa, exponent) = written.split_once('p')?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}").replace('_', "");
    let mantissa = u64::from_str_radix(&digits, 16).ok()?;
    let exponent = exponent.parse::<i32>().ok()? - 4 * i32::try_from(fraction.len()).ok()?;
    #[expect(clippy::cast_precision_loss, reason = "a float has the bits that it has")]
    let value = mantissa as f64 * 2f64.powi(exponent);
    value.is_finite().then_some(value)
}
