//! Numbers and strings as Go writes them, which is how PromQL does.
//!
//! The lexer has found where a literal ends and refused malformed escapes; here it becomes a value. The printer and the texts of
//! errors quote with [`quoted`].

/// The value of a number: decimal, with a fraction or an exponent, `0x` hexadecimal, octal after a `0`, `Inf` or `NaN`.
pub(super) fn number(written: &str) -> Result<f64, &'static str> {
    let is_separator = |(at, _)| written.as_bytes().get(at + 1).is_some_and(u8::is_ascii_hexdigit);
    if !written.match_indices('_').all(is_separator) {
        return Err("invalid syntax");
    }
    let digits = written.replace('_', "");
    if let Some(integer) = integer(&digits) {
        return Ok(integer);
    }
    let value: f64 = digits.parse().map_err(|_| "invalid syntax")?;
    let is_named = digits.starts_with(|c: char| c.is_ascii_alphabetic());
    if value.is_infinite() && !is_named { Err("value out of range") } else { Ok(value) }
}

/// A whole number, unless it is none or does not fit: it may be a fraction then, and `019` is 19, though `017` is 15.
#[expect(clippy::cast_precision_loss, reason = "values of PromQL are floats")]
fn integer(digits: &str) -> Option<f64> {
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    i64::from_str_radix(digits, radix).ok().map(|integer| integer as f64)
}

/// What stands between the quotes of a string the lexer has passed; `None` if its escapes make bytes that are not UTF-8.
pub(super) fn unquoted(written: &str) -> Option<String> {
    let inner = written.get(1..written.len() - 1)?;
    if written.starts_with('`') {
        return Some(inner.to_owned());
    }
    let (mut bytes, mut rest) = (Vec::with_capacity(inner.len()), inner);
    while let Some((plain, after)) = rest.split_once('\\') {
        bytes.extend_from_slice(plain.as_bytes());
        rest = escaped(after, &mut bytes)?;
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).ok()
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
        'x' | '0'..='7' => {
            let (digits, radix) = if c == 'x' { (rest.get(..2)?, 16) } else { (after.get(..3)?, 8) };
            out.push(u8::from_str_radix(digits, radix).ok()?);
            return rest.get(2..);
        }
        'u' | 'U' => {
            let digits = if c == 'u' { 4 } else { 8 };
            let c = char::from_u32(u32::from_str_radix(rest.get(..digits)?, 16).ok()?)?;
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            return rest.get(digits..);
        }
        // A backslash or the quote.
        _ => u8::try_from(c).ok()?,
    };
    out.push(byte);
    Some(rest)
}

/// A text in double quotes, as Go's `%q` writes it.
#[must_use]
pub fn quoted(text: &str) -> String {
    quoted_with('"', text.chars())
}

/// A character in single quotes; for the end of the text the character Go shows there.
pub(super) fn quoted_char(c: Option<char>) -> String {
    quoted_with('\'', [c.unwrap_or(char::REPLACEMENT_CHARACTER)])
}

fn quoted_with(quote: char, chars: impl IntoIterator<Item = char>) -> String {
    let mut out = String::from(quote);
    for c in chars {
        match c {
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0b' => out.push_str("\\v"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            _ if c == quote => out.extend(['\\', c]),
            _ if is_printable(c) => out.push(c),
            '\0'..='\x7f' => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            '\u{80}'..='\u{ffff}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            _ => out.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
    }
    out.push(quote);
    out
}

/// Letters, marks, digits, punctuation, symbols and the blank, which is what Rust's debug output does not escape either.
pub(super) fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    // Behind another character, as Rust escapes marks that stand alone.
    format!("a{c}").escape_debug().count() == 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_go_reads_them() {
        let values = [
            ("017", 15.0),
            ("019", 19.0),
            ("0x1_F", 31.0),
            ("1_000.5", 1000.5),
            (".5", 0.5),
            ("5.", 5.0),
            ("1e3", 1000.0),
            ("INF", f64::INFINITY),
            ("9223372036854775808", 9_223_372_036_854_775_808.0),
            ("0", 0.0),
        ];
        for (written, value) in values {
            assert_eq!(number(written), Ok(value), "{written}");
        }
        assert!(number("nan").is_ok_and(f64::is_nan));
        assert_eq!(number("1e400"), Err("value out of range"));
        assert_eq!(number("1_"), Err("invalid syntax"));
        assert_eq!(number("0xffffffffffffffff"), Err("invalid syntax"));
    }

    #[test]
    fn a_quoted_text_is_read_back() {
        for text in ["", "a\"b'c`\\", "\x07\x08\x0b\x0c\n\r\t\0\x7f", "ü\u{a0}\u{301}\u{e000}\u{10ffff}"] {
            assert_eq!(unquoted(&quoted(text)).as_deref(), Some(text), "{}", quoted(text));
        }
        assert_eq!(quoted("\0\u{301}\u{a0}"), "\"\\x00\u{301}\\u00a0\"");
        assert_eq!(unquoted(r#""\xff""#), None);
        assert_eq!(unquoted(r"'\xc3\xbc\374'"), None);
        assert_eq!(unquoted(r"'\xc3\274\u00fc\U0001f600\''").as_deref(), Some("üü😀'"));
    }
}
