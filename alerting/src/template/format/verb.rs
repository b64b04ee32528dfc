//! One verb on one plain value: digits, signs, quotes and padding.
//!
//! Nothing comes out where the verb does not suit the value.

use super::Spec;
use crate::template::float as strconv;

/// A text, filled up to the width.
pub(super) fn padded(text: &str, spec: Spec) -> String {
    let missing = spec.width.unwrap_or(0).saturating_sub(text.chars().count());
    if spec.minus {
        return format!("{text}{}", " ".repeat(missing));
    }
    format!("{}{text}", if spec.zero { "0" } else { " " }.repeat(missing))
}

pub(super) fn truth(truth: bool, verb: char, spec: Spec) -> Option<String> {
    matches!(verb, 't' | 'v').then(|| padded(if truth { "true" } else { "false" }, spec))
}

pub(super) fn text(text: &str, verb: char, spec: Spec) -> Option<String> {
    let cut = |text: &str| -> String {
        match spec.precision {
            Some(precision) => text.chars().take(precision).collect(),
            None => text.to_owned(),
        }
    };
    match verb {
        'v' if spec.sharp_v => Some(padded(&quote(text, spec.plus), spec)),
        'v' | 's' => Some(padded(&cut(text), spec)),
        'q' => {
            let text = cut(text);
            let raw = spec.sharp
                && !text.contains(['`', '\u{feff}', '\u{7f}'])
                && text.chars().all(|c| c == '\t' || !c.is_control());
            Some(padded(&if raw { format!("`{text}`") } else { quote(&text, spec.plus) }, spec))
        }
        'x' | 'X' => Some(padded(&hex(text, verb, spec), spec)),
        _ => None,
    }
}

fn hex(text: &str, verb: char, spec: Spec) -> String {
    let bytes = &text.as_bytes()[..spec.precision.unwrap_or(text.len()).min(text.len())];
    let prefix = if spec.sharp { if verb == 'x' { "0x" } else { "0X" } } else { "" };
    let mut out = String::new();
    for (nth, byte) in bytes.iter().enumerate() {
        if nth == 0 || spec.space {
            if nth > 0 {
                out.push(' ');
            }
            out.push_str(prefix);
        }
        out.push_str(&if verb == 'x' { format!("{byte:02x}") } else { format!("{byte:02X}") });
    }
    out
}

/// A text in double quotes, as Go writes it.
fn quote(text: &str, ascii: bool) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    text.chars().for_each(|c| quote_char(c, '"', ascii, &mut out));
    out.push('"');
    out
}

fn quote_char(c: char, quote: char, ascii: bool, out: &mut String) {
    let code = u32::from(c);
    match c {
        '\x07' => out.push_str("\\a"),
        '\x08' => out.push_str("\\b"),
        '\x0c' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\x0b' => out.push_str("\\v"),
        _ if c == quote || c == '\\' => out.extend(['\\', c]),
        _ if is_printable(c) && (!ascii || c.is_ascii()) => out.push(c),
        _ if code < 0x20 || code == 0x7f => out.push_str(&format!("\\x{code:02x}")),
        _ if code < 0x1_0000 => out.push_str(&format!("\\u{code:04x}")),
        _ => out.push_str(&format!("\\U{code:08x}")),
    }
}

/// Letters, marks, numbers, signs, and of spaces only the ASCII one.
pub(in super::super) fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    // After a letter, so that a combining mark counts.
    let mut text = String::from("a");
    text.push(c);
    !c.is_whitespace() && text.escape_debug().nth(1) == Some(c)
}

pub(super) fn int(number: i64, verb: char, spec: Spec) -> Option<String> {
    let (radix, prefix) = match verb {
        'v' | 'd' => (10, ""),
        'b' => (2, "0b"),
        'o' => (8, "0"),
        'O' => (8, "0o"),
        'x' => (16, "0x"),
        'X' => (16, "0X"),
        'c' => return Some(padded(&character(number).to_string(), spec)),
        'q' => {
            let mut out = String::from("'");
            quote_char(character(number), '\'', spec.plus, &mut out);
            out.push('\'');
            return Some(padded(&out, spec));
        }
        'U' => return Some(unicode(number, spec)),
        _ => return None,
    };
    let magnitude = number.unsigned_abs();
    let mut digits = match radix {
        2 => format!("{magnitude:b}"),
        8 => format!("{magnitude:o}"),
        16 if verb == 'x' => format!("{magnitude:x}"),
        16 => format!("{magnitude:X}"),
        _ => magnitude.to_string(),
    };
    let sign = match number {
        ..0 => "-",
        _ if spec.plus => "+",
        _ if spec.space => " ",
        _ => "",
    };
    let least = match spec.precision {
        Some(0) if number == 0 => return Some(padded("", Spec { zero: false, ..spec })),
        Some(precision) => precision,
        None if spec.zero && !spec.minus => spec.width.unwrap_or(0).saturating_sub(sign.len()),
        None => 0,
    };
    digits.insert_str(0, &"0".repeat(least.saturating_sub(digits.len())));
    let prefix = match verb {
        'O' => prefix,
        'o' if spec.sharp && digits.starts_with('0') => "",
        _ if spec.sharp => prefix,
        _ => "",
    };
    Some(padded(&format!("{sign}{prefix}{digits}"), Spec { zero: false, ..spec }))
}

fn character(number: i64) -> char {
    u32::try_from(number).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER)
}

fn unicode(number: i64, spec: Spec) -> String {
    let least = spec.precision.unwrap_or(4).max(4);
    let mut out = format!("U+{number:0least$X}");
    if spec.sharp
        && let Some(c) = u32::try_from(number).ok().and_then(char::from_u32).filter(|c| is_printable(*c))
    {
        out.push_str(&format!(" '{c}'"));
    }
    padded(&out, Spec { zero: false, ..spec })
}

pub(super) fn float(number: f64, verb: char, spec: Spec) -> Option<String> {
    let (format, usual) = match verb {
        'v' => ('g', None),
        'g' | 'G' | 'x' | 'X' | 'b' => (verb, None),
        'e' | 'E' | 'f' => (verb, Some(6)),
        'F' => ('f', Some(6)),
        _ => return None,
    };
    let precision = spec.precision.or(usual);
    let written = strconv::write(number, format, precision);
    let (sign, body) = match written.strip_prefix(['+', '-']) {
        Some(body) => (&written[..1], body),
        None => ("+", &*written),
    };
    let is_finite = number.is_finite();
    let body = if spec.sharp && verb != 'b' && is_finite { with_point(body, format, precision) } else { body.into() };

    let sign = match sign {
        "-" => "-",
        _ if spec.plus => "+",
        _ if spec.space => " ",
        // Infinity keeps its sign.
        _ if number.is_infinite() => "+",
        _ => "",
    };
    let spec = Spec { zero: spec.zero && is_finite && !spec.minus, ..spec };
    if spec.zero && !sign.is_empty() {
        let width = spec.width.map(|width| width.saturating_sub(sign.len()));
        return Some(format!("{sign}{}", padded(&body, Spec { width, ..spec })));
    }
    Some(padded(&format!("{sign}{body}"), spec))
}

/// `%#g`: always a point, and no zero taken off.
fn with_point(body: &str, format: char, precision: Option<usize>) -> String {
    let exponent = if matches!(format, 'x' | 'X') { ['p', 'P'] } else { ['e', 'E'] };
    let (mantissa, tail) = body.split_at(body.find(exponent).unwrap_or(body.len()));
    let mut mantissa = mantissa.to_owned();
    if !mantissa.contains('.') {
        mantissa.push('.');
    }
    if matches!(format, 'g' | 'G' | 'x' | 'X') {
        let wanted = precision.unwrap_or(6);
        let digits: String = mantissa.chars().filter(char::is_ascii_hexdigit).collect();
        // Of a hexadecimal float the zero of its `0x` counts.
        let all = digits.bytes().all(|b| b == b'0') || matches!(format, 'x' | 'X');
        let significant = if all { digits.len() } else { digits.trim_start_matches('0').len() };
        mantissa.push_str(&"0".repeat(wanted.saturating_sub(significant)));
    }
    mantissa + tail
}
