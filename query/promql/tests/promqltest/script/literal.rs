//! Numbers, durations and strings as Go reads them.
//!
//! Called by the modules that read lines; each function takes the text of one literal, but [`string`], which finds its end itself.

/// The units, the largest first, and their milliseconds.
const UNITS: [(&str, i64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// A number with or without a sign: decimal, `0x`, octal after a `0`, a fraction, `Inf` or `NaN`.
pub(super) fn number(text: &str) -> Result<f64, String> {
    if let Some(integer) = integer(text) {
        return Ok(integer);
    }
    let value: f64 = text.parse().map_err(|_| format!("{text:?} is not a number"))?;
    let is_named = text.trim_start_matches(['+', '-']).starts_with(|c: char| c.is_ascii_alphabetic());
    if value.is_infinite() && !is_named { Err(format!("{text:?} is out of range")) } else { Ok(value) }
}

#[expect(clippy::cast_precision_loss, reason = "values of PromQL are floats")]
fn integer(text: &str) -> Option<f64> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => ("-", &text[1..]),
        b'+' => ("", &text[1..]),
        _ => ("", text),
    };
    if digits.starts_with(['+', '-', '_']) || digits.ends_with('_') || digits.contains("__") {
        return None;
    }
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    let digits = digits.replace('_', "");
    if digits.starts_with(['+', '-']) {
        return None;
    }
    i64::from_str_radix(&format!("{sign}{digits}"), radix).ok().map(|integer| integer as f64)
}

/// Milliseconds of a duration: numbers with units, larger ones first, each at most once; or `0`.
pub(super) fn duration_ms(text: &str) -> Result<i64, String> {
    if text == "0" {
        return Ok(0);
    }
    let malformed = || format!("{text:?} is not a duration");
    let (mut total_ms, mut rest, mut units) = (0_i64, text, UNITS.as_slice());
    if text.is_empty() {
        return Err(malformed());
    }
    while !rest.is_empty() {
        let (count, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()));
        let (unit, after) = after.split_at(after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len()));
        let at = units.iter().position(|(name, _)| *name == unit).ok_or_else(malformed)?;
        let part_ms =
            count.parse::<i64>().ok().and_then(|count| count.checked_mul(units[at].1)).ok_or_else(malformed)?;
        total_ms = total_ms.checked_add(part_ms).ok_or_else(malformed)?;
        units = &units[at + 1..];
        rest = after;
    }
    Ok(total_ms)
}

/// What stands between the quotes at the start of a text, and what follows them.
pub(super) fn string(text: &str) -> Result<(String, &str), String> {
    let open = text.chars().next().filter(|c| matches!(c, '"' | '\'' | '`'));
    let open = open.ok_or_else(|| format!("expected a quoted string at {text:?}"))?;
    let unclosed = || format!("the string {text} is not closed");
    let inner = &text[1..];
    if open == '`' {
        let (inner, after) = inner.split_once('`').ok_or_else(unclosed)?;
        return Ok((inner.to_owned(), after));
    }
    let (mut bytes, mut rest) = (Vec::new(), inner);
    loop {
        let c = rest.chars().next().ok_or_else(unclosed)?;
        rest = &rest[c.len_utf8()..];
        if c == open {
            let text = String::from_utf8(bytes).map_err(|error| format!("{text} is not UTF-8: {error}"))?;
            return Ok((text, rest));
        } else if c == '\\' {
            rest = escaped(rest, &mut bytes).ok_or_else(|| format!("a wrong escape in {text}"))?;
        } else {
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
}

/// Reads what a backslash stands before; gives the rest.
fn escaped<'t>(after: &'t str, out: &mut Vec<u8>) -> Option<&'t str> {
    let c = after.chars().next()?;
    let rest = &after[c.len_utf8()..];
    let byte = match c {
        'a' => 7,
        'b' => 8,
        't' => b'\t',
        'n' => b'\n',
        'v' => 11,
        'f' => 12,
        'r' => b'\r',
        '\\' | '"' | '\'' => u8::try_from(c).ok()?,
        'x' => {
            out.push(u8::from_str_radix(rest.get(..2)?, 16).ok()?);
            return rest.get(2..);
        }
        '0'..='7' => {
            out.push(u8::from_str_radix(after.get(..3)?, 8).ok()?);
            return after.get(3..);
        }
        'u' | 'U' => {
            let digits = if c == 'u' { 4 } else { 8 };
            let c = char::from_u32(u32::from_str_radix(rest.get(..digits)?, 16).ok()?)?;
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            return rest.get(digits..);
        }
        _ => return None,
    };
    out.push(byte);
    Some(rest)
}
